package activities

import (
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
	"github.com/meterflow/meterflow/internal/store"
)

// sortByCause makes one case of each cause: a gateway whose meters are all silent, a meter without a reading, a reading in doubt with
// all its blocking findings, and each further finding that a person must look at.
func (v *validator) sortByCause(all []judged) []store.NewCase {
	if v.gatewaySilent(all) {
		return []store.NewCase{v.silentGateway(all)}
	}
	var cases []store.NewCase
	for _, j := range all {
		if j.reading == nil {
			cases = append(cases, v.meterCase(j, store.KindMissing, true, store.NewMember{Numbers: map[string]string{"outcome": j.meter.Outcome, "error": j.meter.Error}}))
			continue
		}
		if c, ok := v.doubtful(j); ok {
			cases = append(cases, c)
		}
		for _, f := range j.findings {
			if !f.Blocking && f.OpensCase() {
				version := j.reading.Version
				cases = append(cases, v.meterCase(j, string(f.Rule), false, store.NewMember{Version: &version, Numbers: f.Numbers}))
			}
		}
	}
	return cases
}

// gatewaySilent says that nothing behind the gateway answered: then the gateway is the cause, not its meters. A single meter says
// nothing about its gateway.
func (v *validator) gatewaySilent(all []judged) bool {
	for _, j := range all {
		if j.reading != nil || (j.meter.Outcome != "silent" && j.meter.Outcome != "planned") {
			return false
		}
	}
	return len(all) > 1
}

func (v *validator) silentGateway(all []judged) store.NewCase {
	c := store.NewCase{
		Site: v.site.ID, Kind: store.KindGatewaySilent, Cause: v.cause(store.KindGatewaySilent, string(v.gateway)), Blocking: true,
		Cycle: &v.cycle.ID, Gateway: &v.gateway, DueAfter: hours(v.policy.Reading.DecisionDueHours),
	}
	for _, j := range all {
		c.Members = append(c.Members, store.NewMember{
			Meter: j.meter.ID, FreezeAt: v.cycle.FreezeAt, Rule: string(metering.RuleMissing), Numbers: map[string]string{"error": j.meter.Error},
		})
		if j.conn.Account != "" {
			c.Refs = append(c.Refs, string(j.conn.Account))
		}
	}
	return c
}

// doubtful is the case of a reading that a rule blocks: one case with all blocking findings, so that one decision settles the reading.
func (v *validator) doubtful(j judged) (store.NewCase, bool) {
	var leading *metering.Finding
	var all []metering.Finding
	for _, f := range j.findings {
		if !f.Blocking {
			continue
		}
		if leading == nil {
			leading = &f
		}
		all = append(all, f)
	}
	if leading == nil {
		return store.NewCase{}, false
	}
	doubt := *j.reading
	doubt.Doubtful = true
	numbers := map[string]any{}
	for name, value := range leading.Numbers {
		numbers[name] = value
	}
	if len(all) > 1 {
		numbers["findings"] = all
	}
	return v.meterCase(j, string(leading.Rule), true, store.NewMember{Doubt: &doubt, Numbers: numbers}), true
}

func (v *validator) meterCase(j judged, kind string, blocking bool, member store.NewMember) store.NewCase {
	member.Meter, member.FreezeAt, member.Rule = j.meter.ID, v.cycle.FreezeAt, kind
	c := store.NewCase{
		Site: v.site.ID, Kind: kind, Cause: v.cause(kind, string(j.meter.ID)), Blocking: blocking,
		Cycle: &v.cycle.ID, Gateway: &v.gateway, Meter: &j.meter.ID, DueAfter: hours(v.policy.Reading.DecisionDueHours), Members: []store.NewMember{member},
	}
	if j.conn.Account != "" {
		account := j.conn.Account
		c.Account = &account
	}
	return c
}

func (v *validator) cause(rule, subject string) string {
	return string(v.cycle.ID) + "/" + rule + "/" + subject
}

// limits are the validation limits of a service at a site.
func (p ValidationPolicy) limits(s billing.Service) metering.Limits {
	if s == billing.Water {
		return p.Water
	}
	return p.Power
}

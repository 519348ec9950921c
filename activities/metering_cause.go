package activities

import (
	"github.com/meterflow/meterflow/internal/metering"
	"github.com/meterflow/meterflow/internal/store"
)

// sortByCause makes one case of each cause: a site or gateway whose meters are all silent, the same rule on several meters of the gateway,
// a meter without a reading, a reading in doubt with all its blocking findings, and each further finding that a person must look at.
func (v *validator) sortByCause(all []judged) []store.NewCase {
	if v.gatewaySilent(all) {
		return []store.NewCase{v.silent(all)}
	}
	boxes, silent := v.silentBoxes(all)
	var cases []store.NewCase
	for _, j := range all {
		if silent[j.meter.Box] {
			continue
		}
		if j.reading == nil {
			cases = append(cases, v.missing(j))
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
	return append(boxes, v.joinSpread(cases, all)...)
}

// silentBoxes makes one case of each multi-circuit box none of whose circuits answered: one device is dead, not so many meters.
func (v *validator) silentBoxes(all []judged) (cases []store.NewCase, silent map[string]bool) {
	circuits := map[string][]judged{}
	var names []string
	for _, j := range all {
		if j.meter.Box == "" {
			continue
		}
		if circuits[j.meter.Box] == nil {
			names = append(names, j.meter.Box)
		}
		circuits[j.meter.Box] = append(circuits[j.meter.Box], j)
	}
	silent = map[string]bool{}
	for _, box := range names {
		if len(circuits[box]) < 2 || !noneAnswered(circuits[box]) {
			continue
		}
		silent[box] = true
		c := v.missing(circuits[box][0])
		c.Cause, c.Meter, c.Account, c.Members, c.Refs = v.cause(store.KindMissing, "box/"+box), nil, nil, nil, []string{box}
		for _, j := range circuits[box] {
			c.Members = append(c.Members, v.missing(j).Members...)
			if j.conn.Account != "" {
				c.Refs = append(c.Refs, string(j.conn.Account))
			}
		}
		cases = append(cases, c)
	}
	return cases, silent
}

func noneAnswered(all []judged) bool {
	for _, j := range all {
		if j.reading != nil || (j.meter.Outcome != "silent" && j.meter.Outcome != "planned") {
			return false
		}
	}
	return true
}

func (v *validator) missing(j judged) store.NewCase {
	numbers := map[string]any{"outcome": j.meter.Outcome, "error": j.meter.Error}
	if len(j.findings) > 1 {
		numbers["findings"] = j.findings
	}
	return v.meterCase(j, store.KindMissing, true, store.NewMember{Numbers: numbers})
}

// joinSpread makes one case of those that the same rule opened on several meters of the gateway: one cause, one decision.
func (v *validator) joinSpread(cases []store.NewCase, all []judged) []store.NewCase {
	least := 0
	for _, j := range all {
		if n := j.limits.SpreadMeters; least == 0 || n < least {
			least = n
		}
	}
	count := map[string]int{}
	for _, c := range cases {
		count[c.Kind]++
	}
	var joined []store.NewCase
	spread := map[string]int{} // kind → its place in joined
	for _, c := range cases {
		if least == 0 || count[c.Kind] < least {
			joined = append(joined, c)
			continue
		}
		if c.Account != nil {
			c.Refs = append(c.Refs, string(*c.Account))
		}
		at, begun := spread[c.Kind]
		if !begun {
			c.Cause, c.Meter, c.Account = v.cause(c.Kind, string(v.gateway)), nil, nil
			spread[c.Kind] = len(joined)
			joined = append(joined, c)
			continue
		}
		joined[at].Members = append(joined[at].Members, c.Members...)
		joined[at].Refs = append(joined[at].Refs, c.Refs...)
	}
	return joined
}

// gatewaySilent says that nothing behind the gateway answered: then the gateway is the cause, not its meters. A single meter says
// nothing about its gateway.
func (v *validator) gatewaySilent(all []judged) bool {
	if !noneAnswered(all) {
		return false
	}
	return len(all) > 1 || len(all) == 1 && v.siteSilent
}

// silent is the case of a gateway, or of the whole site when no gateway of it answered.
func (v *validator) silent(all []judged) store.NewCase {
	gateway := v.gateway
	c := store.NewCase{
		Site: v.site.ID, Kind: store.KindGatewaySilent, Cause: v.cause(store.KindGatewaySilent, string(v.gateway)), Blocking: true,
		Cycle: &v.cycle.ID, Gateway: &gateway, DueAfter: hours(v.policy.Reading.DecisionDueHours),
	}
	if v.siteSilent {
		c.Kind, c.Cause, c.Gateway = store.KindSiteSilent, v.cause(store.KindSiteSilent, string(v.site.ID)), nil
		c.Refs = append(c.Refs, string(v.gateway))
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
	gateway := v.gateway
	c := store.NewCase{
		Site: v.site.ID, Kind: kind, Cause: v.cause(kind, string(j.meter.ID)), Blocking: blocking,
		Cycle: &v.cycle.ID, Gateway: &gateway, Meter: &j.meter.ID, DueAfter: hours(v.policy.Reading.DecisionDueHours), Members: []store.NewMember{member},
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

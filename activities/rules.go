package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
	"github.com/meterflow/meterflow/internal/store"
)

// What pages and the API fill in for a rule group.
type (
	// RuleSet is the limits and methods of a rule group.
	RuleSet = metering.Limits
	// RuleLevel is one level of use in a RuleSet.
	RuleLevel = metering.Level
	// RuleMethod names a way to fill a gap.
	RuleMethod = metering.Method
)

// DefaultRules are the rules of a service at a site where no group fits: the site's policy over the defaults.
func DefaultRules(policy json.RawMessage, service billing.Service) (RuleSet, error) {
	p := DefaultPolicy()
	if err := json.Unmarshal(policy, &p); err != nil {
		return RuleSet{}, billing.Errorf(billing.CodeInvalidInput, "the site's policy can't be read: %v", err)
	}
	return p.Validation.limits(service), nil
}

// ParseRules reads a stored or sent rule set. Unknown fields and limits that are missing or negative are refused with the place.
func ParseRules(raw json.RawMessage) (RuleSet, error) {
	var rules RuleSet
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&rules); err != nil {
		return rules, billing.Errorf(billing.CodeInvalidInput, "the rules can't be read: %v", err)
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(raw, &given); err != nil {
		return rules, billing.Errorf(billing.CodeInvalidInput, "the rules can't be read: %v", err)
	}
	whole, err := json.Marshal(rules)
	if err != nil {
		return rules, err
	}
	var wanted map[string]json.RawMessage
	if err := json.Unmarshal(whole, &wanted); err != nil {
		return rules, err
	}
	for name := range wanted {
		if _, ok := given[name]; !ok {
			return rules, billing.Errorf(billing.CodeInvalidInput, "the limit %s is missing: give every limit, so that none is forgotten", name)
		}
	}
	return rules, rules.Validate()
}

// ruleBook are the rules that judge a site's readings of one freeze instant.
type ruleBook struct {
	groups   []ruleGroup
	fallback ValidationPolicy
}

type ruleGroup struct {
	store.GroupRules
	limits metering.Limits
}

func loadRules(ctx context.Context, s *store.Store, p Policy, site billing.SiteID, freeze time.Time) (ruleBook, error) {
	groups, err := s.RulesInForce(ctx, site, freeze)
	if err != nil {
		return ruleBook{}, err
	}
	b := ruleBook{fallback: p.Validation}
	for _, g := range groups {
		limits, err := ParseRules(g.Rules)
		if err != nil {
			return b, billing.Errorf(billing.CodeInvalidInput, "rule group %s, version %d: %w", g.ID, g.Version, err)
		}
		b.groups = append(b.groups, ruleGroup{g, limits})
	}
	return b, nil
}

// of is the rule set for a kind of meter: of the group that says most of it, else of the site's policy.
func (b ruleBook) of(m store.Meter, class billing.CustomerClass) metering.Limits {
	limits, best := b.fallback.limits(m.Service), -1
	for _, g := range b.groups {
		if weight, ok := g.Fits(m.Service, m.Profile, class); ok && weight > best {
			limits, best = g.limits, weight
		}
	}
	return limits
}

// limits are the validation limits of a service at a site.
func (p ValidationPolicy) limits(s billing.Service) metering.Limits {
	if s == billing.Water {
		return p.Water
	}
	return p.Power
}

package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// RuleGroup is the kind of meters at a site that one rule set judges.
type RuleGroup struct {
	ID       string                `json:"id"`
	Site     billing.SiteID        `json:"site"`
	Name     string                `json:"name"`
	Service  billing.Service       `json:"service"`
	Profile  string                `json:"profile,omitempty" doc:"Kind of meter; absent fits any."`
	Class    billing.CustomerClass `json:"class,omitempty" doc:"Class of customer; absent fits any."`
	Versions []RuleVersion         `json:"versions" doc:"Newest first."`
}

// RuleVersion is a rule set with the days on which it holds.
type RuleVersion struct {
	Version     int             `json:"version"`
	From        string          `json:"from" format:"date"`
	To          string          `json:"to,omitempty" doc:"The first day on which it holds no more; absent until the next version begins."`
	Rules       json.RawMessage `json:"rules" doc:"All limits, as a site's policy names them."`
	MadeBy      billing.UserID  `json:"made_by"`
	MadeAt      time.Time       `json:"made_at"`
	Reason      string          `json:"reason"`
	WithdrawnBy billing.UserID  `json:"withdrawn_by,omitempty"`
}

// SubMeter says that a service point is measured once more by a master.
type SubMeter struct {
	ID     int64           `json:"id"`
	Master billing.MeterID `json:"master"`
	Sub    billing.MeterID `json:"sub"`
	From   time.Time       `json:"from"`
	To     *time.Time      `json:"to,omitempty"`
}

// StaleBill is an issued bill that rests on a reading which was changed since.
type StaleBill struct {
	Bill     billing.BillID    `json:"bill"`
	Account  billing.AccountID `json:"account"`
	Meter    billing.MeterID   `json:"meter"`
	FreezeAt time.Time         `json:"freeze_at"`
	Billed   []int64           `json:"billed" doc:"Raw registers as billed."`
	Newest   []int64           `json:"newest" doc:"Raw registers as they stand now."`
	Reason   string            `json:"reason"`
}

// RuleDates are the days on which a rule set holds.
type RuleDates struct {
	From string `json:"from" format:"date" doc:"The first day; after today."`
	To   string `json:"to,omitempty" doc:"The first day on which it holds no more."`
}

func (d RuleDates) version(rules json.RawMessage) (store.RuleVersion, error) {
	v := store.RuleVersion{Rules: rules}
	if _, err := workflows.ParseRules(rules); err != nil {
		return v, err
	}
	var err error
	if v.FromDay, err = billing.ParseDate(d.From); err != nil || d.To == "" {
		return v, err
	}
	v.ToDay, err = billing.ParseDate(d.To)
	return v, err
}

type newRuleGroup struct {
	Body struct {
		Reasoned
		RuleDates
		Site    billing.SiteID        `json:"site"`
		Name    string                `json:"name" minLength:"1"`
		Service billing.Service       `json:"service" enum:"power,water"`
		Profile string                `json:"profile,omitempty"`
		Class   billing.CustomerClass `json:"class,omitempty" enum:"household,commercial,important"`
		Rules   json.RawMessage       `json:"rules" doc:"All limits, as a site's policy names them."`
	}
}

// RulePath is the address of a rule group.
type RulePath struct {
	ID string `path:"id"`
}

type newRuleVersion struct {
	RulePath
	Body struct {
		Reasoned
		RuleDates
		Rules json.RawMessage `json:"rules" doc:"All limits, as a site's policy names them."`
	}
}

type withdrawRules struct {
	RulePath
	Version int `path:"version"`
	Body    struct{ Reasoned }
}

type newSubMeter struct {
	Body struct {
		Reasoned
		Master billing.MeterID `json:"master"`
		Sub    billing.MeterID `json:"sub"`
		From   time.Time       `json:"from"`
	}
}

func (s *server) ruleOperations() {
	add(s, operation{method: http.MethodGet, path: "/rules", id: "list-rules", tag: "rules", may: auth.View, summary: "Rule groups with all versions."}, s.rules)
	add(s, operation{method: http.MethodPost, path: "/rules", id: "add-rule-group", tag: "rules", may: auth.MasterData, done: http.StatusCreated, summary: "Make a rule group with its first version."}, s.addRules)
	add(s, operation{method: http.MethodPost, path: "/rules/{id}/versions", id: "add-rule-version", tag: "rules", may: auth.MasterData, done: http.StatusCreated, summary: "Publish rules that begin on a later day."}, s.addRuleVersion)
	add(s, operation{method: http.MethodPost, path: "/rules/{id}/versions/{version}/withdraw", id: "withdraw-rule-version", tag: "rules", may: auth.MasterData, summary: "Take back a version that has not begun."}, s.withdrawRules)
	add(s, operation{method: http.MethodGet, path: "/sub-meters", id: "list-sub-meters", tag: "rules", may: auth.View, summary: "Sub-meters of master meters."}, s.subMeters)
	add(s, operation{method: http.MethodPost, path: "/sub-meters", id: "add-sub-meter", tag: "rules", may: auth.MasterData, done: http.StatusCreated, summary: "Put a meter under a master."}, s.addSubMeter)
	add(s, operation{method: http.MethodGet, path: "/bills/stale", id: "list-stale-bills", tag: "bills", may: auth.View, summary: "Issued bills whose readings were changed since: a correction has to follow."}, s.staleBills)
}

func (s *server) rules(ctx context.Context, in *Page) (*body[List[RuleGroup]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := s.Store.RuleGroups(ctx, sites)
	if err != nil {
		return nil, err
	}
	var all []RuleGroup
	for _, g := range groups {
		one, err := s.ruleGroup(ctx, g.ID)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return listOf(all, len(all), func(g RuleGroup) RuleGroup { return g }), nil
}

func (s *server) ruleGroup(ctx context.Context, id string) (RuleGroup, error) {
	g, versions, err := s.Store.RuleGroup(ctx, id)
	if err != nil {
		return RuleGroup{}, err
	}
	out := RuleGroup{ID: g.ID, Site: g.Site, Name: g.Name, Service: g.Service, Profile: g.Profile, Class: g.Class, Versions: []RuleVersion{}}
	for _, v := range versions {
		one := RuleVersion{Version: v.Version, From: v.FromDay.String(), Rules: v.Rules, MadeBy: v.MadeBy, MadeAt: utc(v.MadeAt), Reason: v.Reason, WithdrawnBy: v.WithdrawnBy}
		if !v.ToDay.IsZero() {
			one.To = v.ToDay.String()
		}
		out.Versions = append(out.Versions, one)
	}
	return out, see(ctx, g.Site)
}

func (s *server) addRules(ctx context.Context, in *newRuleGroup) (*body[RuleGroup], error) {
	b := in.Body
	if err := may(ctx, auth.MasterData, b.Site); err != nil {
		return nil, err
	}
	v, err := b.version(b.Rules)
	if err != nil {
		return nil, err
	}
	g := store.RuleGroup{Site: b.Site, Name: b.Name, Service: b.Service, Profile: b.Profile, Class: b.Class}
	id, err := s.Store.AddRuleGroup(ctx, by(ctx, b.Reason), g, v)
	if err != nil {
		return nil, err
	}
	out, err := s.ruleGroup(ctx, id)
	return &body[RuleGroup]{out}, err
}

// mayChangeRules checks that the group is the person's to change.
func (s *server) mayChangeRules(ctx context.Context, id string) error {
	g, _, err := s.Store.RuleGroup(ctx, id)
	if err != nil {
		return err
	}
	return may(ctx, auth.MasterData, g.Site)
}

func (s *server) addRuleVersion(ctx context.Context, in *newRuleVersion) (*body[RuleGroup], error) {
	if err := s.mayChangeRules(ctx, in.ID); err != nil {
		return nil, err
	}
	v, err := in.Body.version(in.Body.Rules)
	if err != nil {
		return nil, err
	}
	v.Group = in.ID
	if err := s.Store.AddRuleVersion(ctx, by(ctx, in.Body.Reason), v); err != nil {
		return nil, err
	}
	out, err := s.ruleGroup(ctx, in.ID)
	return &body[RuleGroup]{out}, err
}

func (s *server) withdrawRules(ctx context.Context, in *withdrawRules) (*body[RuleGroup], error) {
	if err := s.mayChangeRules(ctx, in.ID); err != nil {
		return nil, err
	}
	if err := s.Store.WithdrawRuleVersion(ctx, by(ctx, in.Body.Reason), in.ID, in.Version); err != nil {
		return nil, err
	}
	out, err := s.ruleGroup(ctx, in.ID)
	return &body[RuleGroup]{out}, err
}

func (s *server) subMeters(ctx context.Context, in *Page) (*body[List[SubMeter]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	subs, err := s.Store.SubPoints(ctx, sites)
	if err != nil {
		return nil, err
	}
	return listOf(subs, len(subs), func(p store.SubPoint) SubMeter {
		return SubMeter{ID: p.ID, Master: p.MasterOf, Sub: p.SubOf, From: utc(p.FromAt), To: utcOrNil(p.ToAt)}
	}), nil
}

func (s *server) addSubMeter(ctx context.Context, in *newSubMeter) (*body[List[SubMeter]], error) {
	m, err := s.Store.Meter(ctx, in.Body.Master)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.MasterData, m.Site); err != nil {
		return nil, err
	}
	if err := s.Store.AddSubPoint(ctx, by(ctx, in.Body.Reason), in.Body.Master, in.Body.Sub, in.Body.From); err != nil {
		return nil, err
	}
	return s.subMeters(ctx, &Page{})
}

func (s *server) staleBills(ctx context.Context, in *Page) (*body[List[StaleBill]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	bills, err := s.Store.StaleBills(ctx, sites, nil)
	if err != nil {
		return nil, err
	}
	return listOf(bills, len(bills), func(b store.StaleBill) StaleBill {
		return StaleBill{Bill: b.Bill, Account: b.Account, Meter: b.Meter, FreezeAt: utc(b.FreezeAt), Billed: b.Billed, Newest: b.Newest, Reason: b.Reason}
	}), nil
}

package meters

import (
	"context"
	"net/http"
	"strconv"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// allow lets commands reach a meter whose register map was never verified: the administrator decides, and a manager agrees with name and
// password at this screen.
func (h handler) allow(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	m, err := h.Store.Meter(ctx, billing.MeterID(page.Param(r, "id")))
	if err != nil {
		return page.Done{}, err
	}
	if err := page.See(ctx, m.Site); err != nil {
		return page.Done{}, err
	}
	actor := page.Actor(ctx)
	if err := auth.Can(actor, auth.AllowCommands, m.Site); err != nil {
		return page.Done{}, err
	}
	mapped, err := workflows.RegisterMapOf(m.Profile)
	if err != nil {
		return page.Done{}, err
	}
	if mapped.Verified {
		return page.Done{}, billing.Errorf(billing.CodeConflict, "the register map %s is verified: commands need no allowance", m.Profile)
	}
	in := page.Read(r)
	until := in.Day("until")
	reason := in.Reason()
	in.Second(actor.UserID, billing.Errorf(billing.CodeSelfApproval, "Allowing commands takes two persons: a manager has to agree."))
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	agrees, err := h.Second(r)
	if err != nil {
		return page.Done{}, err
	}
	if auth.Can(agrees, auth.OrderCut, m.Site) != nil {
		return page.Done{}, billing.Errorf(billing.CodeForbidden, "the second person may not order cuts at this site: ask a manager")
	}
	_, err = h.Store.AllowCommands(ctx, store.By{Actor: string(actor.UserID), Reason: reason}, store.Allowance{
		Meter: m.ID, Profile: mapped.Name, Version: mapped.Version, Reason: reason, AgreedBy: agrees.UserID, UntilAt: until.AddDays(1).Start(page.SiteZone(ctx, m.Site)),
	})
	return page.Done{To: page.Home("meter", string(m.ID)), Said: locale.T(ctx, "meters.allowed", string(m.ID), until.String())}, err
}

// forbid ends an allowance before its time.
func (h handler) forbid(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	m, err := h.Store.Meter(ctx, billing.MeterID(page.Param(r, "id")))
	if err != nil {
		return page.Done{}, err
	}
	if err := page.See(ctx, m.Site); err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.StopCommands, m.Site); err != nil {
		return page.Done{}, err
	}
	id, _ := strconv.ParseInt(page.Param(r, "allowance"), 10, 64) // what is no number is the number of none
	a, err := h.Store.Allowance(ctx, id)
	if err == nil && a.Meter != m.ID {
		err = billing.Errorf(billing.CodeNotFound, "there is no such record")
	}
	if err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	reason := in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	err = h.Store.EndAllowance(ctx, store.By{Actor: string(page.Actor(ctx).UserID), Reason: reason}, a.ID)
	return page.Done{To: page.Home("meter", string(m.ID)), Said: locale.T(ctx, "meters.forbidden", string(m.ID))}, err
}

// trustView is what the page says of a register map that was never verified: who allowed commands, and the form for it.
type trustView struct {
	allowances components.Table
	actions    []components.Action
}

// trustOf is nil when the meter's map is verified and no allowance was ever given.
func trustOf(r *http.Request, k known) *trustView {
	ctx := r.Context()
	mapped, err := workflows.RegisterMapOf(k.row.Profile)
	verified := err == nil && mapped.Verified
	if verified && len(k.allowances) == 0 {
		return nil
	}
	v := &trustView{allowances: allowanceTable(ctx, k)}
	for _, a := range k.allowances {
		if a.Standing(k.now) {
			v.actions = append(v.actions, forbidAction(r, k, a))
		}
	}
	if !verified && len(v.actions) == 0 && k.row.State == "fitted" {
		v.actions = append(v.actions, allowAction(r, k))
	}
	return v
}

func allowanceTable(ctx context.Context, k known) components.Table {
	t := components.Table{ID: "allowances", Caption: locale.T(ctx, "meters.trust"), Cols: []components.Col{
		{Label: locale.T(ctx, "meters.from")}, {Label: locale.T(ctx, "meters.allowed_until")}, {Label: locale.T(ctx, "meters.allowed_by")},
		{Label: locale.T(ctx, "meters.allowed_why"), WideOnly: true}, {Label: locale.T(ctx, "meters.profile"), WideOnly: true}, {Label: locale.T(ctx, "meters.allowed_state")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "meters.none_allowed"), Body: locale.T(ctx, "meters.none_allowed_body")}}
	for _, a := range k.allowances {
		state := components.Muted(locale.T(ctx, "meters.allowance_over"))
		if a.Standing(k.now) {
			state = components.Badge(components.Watch, locale.T(ctx, "meters.allowance_stands"))
		}
		t.Rows = append(t.Rows, components.Row{ID: strconv.FormatInt(a.ID, 10), Cells: []templ.Component{
			components.When(a.FromAt), components.When(a.UntilAt), components.Text(string(a.AllowedBy) + " + " + string(a.AgreedBy)), components.Text(a.Reason),
			components.Code(a.Profile + " v" + strconv.Itoa(a.Version)), state,
		}})
	}
	return t
}

func allowAction(r *http.Request, k known) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "allow")
	today := billing.DateOf(k.now, page.SiteZone(ctx, k.row.Site))
	v := components.Action{
		ID: "allow", Title: locale.T(ctx, "meters.allow"), URL: page.Home("meter", string(k.row.ID)) + "/allow", Submit: locale.T(ctx, "meters.allow"), Error: f.Error(), Tone: components.Danger,
		Consequence: components.Text(locale.T(ctx, "meters.allow_then", k.row.Profile)),
		Fields: append([]components.Field{
			{Kind: components.DateField, Name: "until", Label: locale.T(ctx, "meters.allowed_until"), Value: f.Value("until", today.AddDays(7).String()), Error: f.Problem("until"),
				Hint: locale.T(ctx, "meters.allow_until_hint"), Required: true},
			components.ReasonField(locale.T(ctx, "meters.allowed_why"), f.Value("reason", ""), f.Problem("reason")),
		}, page.SecondFields(ctx, f, locale.T(ctx, "meters.allow_second_hint"))...),
	}
	if err := auth.Can(page.Actor(ctx), auth.AllowCommands, k.row.Site); err != nil {
		v.Disabled = page.Sentence(ctx, err)
	}
	return v
}

func forbidAction(r *http.Request, k known, a store.Allowance) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "forbid")
	v := components.Action{
		ID: "forbid", Title: locale.T(ctx, "meters.forbid"), URL: page.Home("meter", string(k.row.ID)) + "/allowances/" + strconv.FormatInt(a.ID, 10) + "/end",
		Submit: locale.T(ctx, "meters.forbid"), Error: f.Error(), Consequence: components.Text(locale.T(ctx, "meters.forbid_then")),
		Fields: []components.Field{components.ReasonField(locale.T(ctx, "meters.allowed_why"), f.Value("reason", ""), f.Problem("reason"))},
	}
	if err := auth.Can(page.Actor(ctx), auth.StopCommands, k.row.Site); err != nil {
		v.Disabled = page.Sentence(ctx, err)
	}
	return v
}

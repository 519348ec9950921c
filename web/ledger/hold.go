package ledger

import (
	"context"
	"net/http"
	"strings"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// holds lists the open holds of the sites: those that wait for the person, or all of them.
func (h handler) holds(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	var me billing.UserID
	active := holdsPath
	if l.One("waiting", "mine") != "" {
		me, active = page.Actor(ctx).UserID, waitingPath
	}
	rows, total, err := h.Store.HoldPage(ctx, page.Sites(ctx), me, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	v := listView{head: components.Head{Title: locale.T(ctx, "ledger.open_holds"), Subtitle: locale.T(ctx, "ledger.open_holds_note")}, live: "holds", table: openHolds(ctx, rows), pager: l.Pager(len(rows), total), tabs: tabs(ctx, active)}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "ledger.open_holds"), Nav: path, Body: list(v)})
}

// openHolds lists holds with what is awaited; each opens the books of its account, where it is decided.
func openHolds(ctx context.Context, holds []store.Hold) components.Table {
	t := components.Table{ID: "holds", Caption: locale.T(ctx, "ledger.open_holds"), Cols: []components.Col{
		{Label: locale.T(ctx, "ledger.hold")}, {Label: locale.T(ctx, "ledger.customer_account")}, {Label: locale.T(ctx, "ledger.purpose")},
		{Label: locale.T(ctx, "ledger.amount"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number}, {Label: locale.T(ctx, "ledger.awaits")},
		{Label: locale.T(ctx, "ledger.placed_by"), WideOnly: true}, {Label: locale.T(ctx, "ledger.placed_at"), WideOnly: true}, {Label: locale.T(ctx, "ledger.expires")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "ledger.no_open_holds"), Body: locale.T(ctx, "ledger.no_open_holds_body")}}
	for _, h := range holds {
		awaits, people := locale.T(ctx, "ledger.approve"), h.PlacedBy
		if h.ApprovedBy != "" {
			awaits, people = locale.T(ctx, "ledger.pay_out"), h.PlacedBy+" · "+h.ApprovedBy
		}
		t.Rows = append(t.Rows, components.Row{ID: h.ID, Href: CustomerHref(h.Account), Cells: []templ.Component{
			components.Code(h.ID), components.Text(string(h.Account)), components.Lines(components.Text(locale.State(ctx, locale.HoldPurpose, h.Purpose)), h.Subject), components.Money(h.Amount),
			components.Text(awaits), components.Text(people), components.When(h.PlacedAt), components.When(h.ExpiresAt),
		}})
	}
	return t
}

func holdTable(ctx context.Context, holds []store.Hold) components.Table {
	t := components.Table{ID: "holds", Caption: locale.T(ctx, "ledger.holds"), Cols: []components.Col{
		{Label: locale.T(ctx, "ledger.hold")}, {Label: locale.T(ctx, "ledger.purpose")}, {Label: locale.T(ctx, "ledger.amount"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
		{Label: locale.T(ctx, "ledger.state")}, {Label: locale.T(ctx, "ledger.expires"), WideOnly: true}, {Label: locale.T(ctx, "ledger.placed_by"), WideOnly: true},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "ledger.no_holds"), Body: locale.T(ctx, "ledger.no_holds_body")}}
	for _, h := range holds {
		people := h.PlacedBy
		for _, who := range []string{h.ApprovedBy, h.SettledBy} {
			if who != "" {
				people += " · " + who
			}
		}
		row := components.Row{ID: h.ID, Href: page.TraceHref(h.ID), Cells: []templ.Component{
			components.Code(h.ID), components.Lines(components.Text(locale.State(ctx, locale.HoldPurpose, h.Purpose)), h.Subject), components.Money(h.Amount),
			components.StateBadge(locale.Hold, h.State), components.When(h.ExpiresAt), components.Text(people),
		}}
		if h.State == store.HoldPosted && h.Posted != h.Amount {
			row.Cells[2] = components.Lines(components.Money(h.Amount), locale.T(ctx, "ledger.posted_part", locale.Money(h.Posted)))
		}
		if h.EntryID != nil {
			row.Href = entryHref(*h.EntryID)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// holdActions are the forms of an account's holds: a new one, and each open one's settlement.
func holdActions(r *http.Request, s books) []components.Action {
	var list []components.Action
	for _, h := range s.holds {
		if h.State == store.HoldOpen {
			list = append(list, settleAction(r, h))
		}
	}
	return append(list, placeAction(r, s))
}

func settleAction(r *http.Request, h store.Hold) components.Action {
	ctx := r.Context()
	var f page.Form
	if page.Param(r, "hold") == h.ID { // only the form that was just refused keeps what was typed
		f = page.FormOf(r, "settle-hold")
	}
	facts := []components.Fact{
		{ID: "settle-amount", Label: locale.T(ctx, "ledger.amount"), Value: components.Money(h.Amount), Hint: h.Subject},
		{ID: "settle-by", Label: locale.T(ctx, "ledger.placed_by"), Value: components.Text(h.PlacedBy), Hint: locale.T(ctx, "ledger.other_person")},
	}
	a := components.Action{ID: "settle-" + h.ID, Title: locale.T(ctx, "ledger.settle", h.ID), URL: holdPath + h.ID, Error: f.Error(), Tone: components.Danger,
		More: []components.Button{{Label: locale.T(ctx, "ledger.release"), Name: "release", Value: "1"}}}
	if h.ApprovedBy == "" {
		a.Submit, a.Hidden = locale.T(ctx, "ledger.approve"), []components.Hidden{{Name: "approve", Value: "1"}}
	} else {
		facts = append(facts, components.Fact{ID: "settle-approved", Label: locale.T(ctx, "ledger.approved_by"), Value: components.Text(h.ApprovedBy), Hint: locale.T(ctx, "ledger.third_person")})
		a.Submit, a.Fields = locale.T(ctx, "ledger.pay_out"), payFields(ctx, f, h)
	}
	a.Consequence = components.Facts(facts)
	a.Fields = append(a.Fields, components.ReasonField(locale.T(ctx, "ledger.reason"), f.Value("reason", ""), f.Problem("reason")))
	if err := auth.Can(page.Actor(ctx), auth.SettleHold, h.Site); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}

func payFields(ctx context.Context, f page.Form, h store.Hold) []components.Field {
	var ways []components.Option
	for _, c := range locale.Words(locale.Channel) {
		ways = append(ways, components.Option{Value: c, Label: locale.State(ctx, locale.Channel, c)})
	}
	return []components.Field{
		{Kind: components.MoneyField, Name: "amount", Label: locale.T(ctx, "ledger.pay_amount"), Value: f.Value("amount", h.Amount.String()), Error: f.Problem("amount"),
			Unit: locale.T(ctx, "unit.yuan"), Hint: locale.T(ctx, "ledger.pay_hint"), Required: true},
		{Kind: components.SelectField, Name: "channel", Label: locale.T(ctx, "ledger.channel"), Value: f.Value("channel", "transfer"), Error: f.Problem("channel"), Options: ways, Required: true},
	}
}

func placeAction(r *http.Request, s books) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "hold")
	var purposes []components.Option
	for _, p := range locale.Words(locale.HoldPurpose) {
		purposes = append(purposes, components.Option{Value: p, Label: locale.State(ctx, locale.HoldPurpose, p)})
	}
	today := billing.DateOf(page.Now(ctx), page.SiteZone(ctx, s.account.Site))
	a := components.Action{ID: "hold", Title: locale.T(ctx, "ledger.place"), URL: accountPath, Submit: locale.T(ctx, "ledger.place"), Error: f.Error(),
		Hidden:      []components.Hidden{f.Nonce(), {Name: "code", Value: string(s.account.Code)}},
		Consequence: components.Facts([]components.Fact{{ID: "place-available", Label: locale.T(ctx, "ledger.available"), Value: components.Money(s.credit.Available())}}),
		Fields: []components.Field{
			{Kind: components.MoneyField, Name: "amount", Label: locale.T(ctx, "ledger.amount"), Value: f.Value("amount", ""), Error: f.Problem("amount"), Unit: locale.T(ctx, "unit.yuan"), Required: true},
			{Kind: components.SelectField, Name: "purpose", Label: locale.T(ctx, "ledger.purpose"), Value: f.Value("purpose", "refund"), Error: f.Problem("purpose"), Options: purposes, Required: true},
			{Kind: components.TextField, Name: "subject", Label: locale.T(ctx, "ledger.subject"), Value: f.Value("subject", ""), Error: f.Problem("subject"), Hint: locale.T(ctx, "ledger.subject_hint"), Required: true, MaxLength: 100},
			{Kind: components.DateField, Name: "until", Label: locale.T(ctx, "ledger.expires"), Value: f.Value("until", today.AddDays(14).String()), Error: f.Problem("until"), Required: true},
			components.ReasonField(locale.T(ctx, "ledger.reason"), f.Value("reason", ""), f.Problem("reason")),
		}}
	if err := auth.Can(page.Actor(ctx), auth.PlaceHold, s.account.Site); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}

func (h handler) placeHold(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	a, err := h.Store.BookAccount(ctx, store.LedgerCode(strings.TrimSpace(r.PostFormValue("code"))))
	if err != nil {
		return page.Done{}, err
	}
	if err := page.See(ctx, a.Site); err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.PlaceHold, a.Site); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	amount, purpose, subject := in.Money("amount"), in.OneOf("purpose", locale.Words(locale.HoldPurpose)...), in.Required("subject")
	until, reason := in.Day("until"), in.Reason()
	ends := until.AddDays(1).Start(page.SiteZone(ctx, a.Site))
	if !until.IsZero() && !ends.After(page.Now(ctx)) {
		in.Refuse("until", billing.Errorf(billing.CodeInvalidInput, "The hold would have ended already: choose a later day."))
	}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	hold, err := h.Store.PlaceHold(ctx, by(ctx, reason), store.HoldFor(a.Account, amount, purpose, subject, "hold/"+in.Nonce(), ends))
	if err != nil {
		return page.Done{}, err
	}
	return page.Done{To: CustomerHref(a.Account), Said: locale.T(ctx, "ledger.held_now", hold.ID, locale.Money(hold.Amount))}, nil
}

// settleHold approves a hold, or pays out one that is approved; the form's second button releases it instead.
func (h handler) settleHold(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	hold, err := h.Store.Hold(ctx, page.Param(r, "hold"))
	if err != nil {
		return page.Done{}, err
	}
	if err := page.See(ctx, hold.Site); err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.SettleHold, hold.Site); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	reason, done := in.Reason(), page.Done{To: CustomerHref(hold.Account)}
	if in.Text("release") != "" {
		if err := in.Err(); err != nil {
			return page.Done{}, err
		}
		done.Said = locale.T(ctx, "ledger.released", hold.ID)
		_, err := h.Store.VoidHold(ctx, by(ctx, reason), hold.ID)
		return done, err
	}
	if in.Text("approve") != "" {
		if err := in.Err(); err != nil {
			return page.Done{}, err
		}
		done.Said = locale.T(ctx, "ledger.approved_now", hold.ID)
		_, err := h.Store.ApproveHold(ctx, by(ctx, reason), hold.ID)
		return done, err
	}
	amount, channel := in.Money("amount"), in.OneOf("channel", locale.Words(locale.Channel)...)
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	done.Said = locale.T(ctx, "ledger.paid_out", hold.ID, locale.Money(amount))
	_, err = h.Store.PayOutHold(ctx, by(ctx, reason), hold.ID, amount, channel)
	return done, err
}

package recharges

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// showView is one recharge with its whole story.
type showView struct {
	head     components.Head
	notice   *components.NoticeView
	facts    []components.Fact
	credit   []components.Fact
	commands []store.Command
	history  components.Table
	timeline components.TimelineView
	actions  []components.Action
}

func head(ctx context.Context, rc store.RechargeRow) components.Head {
	v := components.Head{
		Title: string(rc.ID), Subtitle: string(rc.Account) + " · " + rc.Customer + " · " + rc.Address, BackHref: path, BackLabel: locale.T(ctx, "recharges.title"),
		Badge: components.StateBadge(locale.Recharge, rc.State),
	}
	if rc.State == billing.RechargeCredited {
		v.Actions = components.ButtonLink(href(rc.ID)+"/receipt", locale.T(ctx, "recharges.receipt"), false)
	}
	return v
}

func facts(ctx context.Context, rc store.RechargeRow, a store.AccountRow) []components.Fact {
	fs := []components.Fact{
		{ID: "amount", Label: locale.T(ctx, "recharges.amount"), Value: components.Money(rc.Amount), Hint: locale.T(ctx, "unit.yuan")},
		{ID: "evidence", Label: locale.T(ctx, "recharges.evidence"), Value: components.Text(locale.State(ctx, locale.Channel, rc.Channel)), Hint: rc.Evidence},
		{ID: "account", Label: locale.T(ctx, "recharges.account"), Value: components.Link("/accounts/"+string(rc.Account), string(rc.Account)), Hint: locale.State(ctx, locale.CreditMode, a.CreditMode)},
		{ID: "balance", Label: locale.T(ctx, "recharges.balance_now"), Value: components.Money(a.Balance), Hint: lasts(ctx, a)},
		person("entered", locale.T(ctx, "recharges.entered_by"), rc.EnteredName, &rc.EnteredAt, ctx),
		{ID: "supply", Label: locale.T(ctx, "recharges.supply"), Value: components.StateBadge(locale.Supply, a.Supply)},
		person("approved1", locale.T(ctx, "recharges.first_approval"), rc.Approved1Name, rc.Approved1At, ctx),
		person("approved2", locale.T(ctx, "recharges.second_approval"), rc.Approved2Name, rc.Approved2At, ctx),
	}
	switch rc.State {
	case billing.RechargeEntered, billing.RechargeApprovedOnce:
		fs = append(fs, components.Fact{ID: "expires", Label: locale.T(ctx, "recharges.expires"), Value: components.When(rc.ExpiresAt), Hint: locale.Ago(ctx, rc.ExpiresAt, page.Now(ctx))})
	case billing.RechargeRejected:
		fs = append(fs, person("rejected", locale.T(ctx, "recharges.rejected_by"), rc.RejectedName, rc.SettledAt, ctx),
			components.Fact{ID: "reason", Label: locale.T(ctx, "recharges.reason"), Value: components.Text(rc.Reason)})
	case billing.RechargeCredited:
		fs = append(fs, components.Fact{ID: "receipt", Label: locale.T(ctx, "recharges.receipt_no"), Value: components.Code(rc.ReceiptNo)},
			components.Fact{ID: "settled", Label: locale.T(ctx, "recharges.credited_at"), Value: components.When(*rc.SettledAt)})
	}
	return fs
}

// person is a fact about who did something and when; nobody is an en dash.
func person(id, label, name string, at *time.Time, ctx context.Context) components.Fact {
	if name == "" {
		return components.Fact{ID: id, Label: label}
	}
	f := components.Fact{ID: id, Label: label, Value: components.Text(name)}
	if at != nil {
		f.Hint = locale.DateTime(ctx, *at)
	}
	return f
}

// creditFacts are what the credit moved: the ledger's balance, and for a meter its own count and balance, before and after.
func creditFacts(ctx context.Context, rc store.RechargeRow, commands []store.Command, m *store.Movement) []components.Fact {
	var fs []components.Fact
	if m != nil {
		fs = append(fs, components.Fact{ID: "before", Label: locale.T(ctx, "recharges.before"), Value: components.Money(m.Balance - m.Amount)},
			components.Fact{ID: "after", Label: locale.T(ctx, "recharges.after"), Value: components.Money(m.Balance)})
	}
	if rc.Meter == "" {
		return fs
	}
	fs = append(fs, components.Fact{ID: "meter", Label: locale.T(ctx, "recharges.meter"), Value: meterLink(rc.Meter)})
	c, ok := delivered(commands)
	if !ok {
		return fs
	}
	return append(fs,
		components.Fact{ID: "count", Label: locale.T(ctx, "recharges.purchase_count"), Value: components.Text(whole(c.CountBefore) + " → " + whole(c.CountAfter))},
		components.Fact{ID: "meter-before", Label: locale.T(ctx, "recharges.meter_before"), Value: optionalMoney(c.RemainingBefore)},
		components.Fact{ID: "meter-after", Label: locale.T(ctx, "recharges.meter_after"), Value: optionalMoney(c.RemainingAfter)})
}

// delivered is the delivery that counts: the verified one, else the newest.
func delivered(commands []store.Command) (store.Command, bool) {
	for _, c := range commands {
		if c.State == billing.CommandVerified {
			return c, true
		}
	}
	if len(commands) == 0 {
		return store.Command{}, false
	}
	return commands[0], true
}

func whole(n *int64) string {
	if n == nil {
		return "–"
	}
	return locale.Count(*n)
}

func optionalMoney(fen *int64) templ.Component {
	if fen == nil {
		return nil
	}
	return components.Money(*fen)
}

func historyTable(ctx context.Context, rc store.RechargeRow, rows []store.RechargeRow) components.Table {
	others := slices.DeleteFunc(rows, func(o store.RechargeRow) bool { return o.ID == rc.ID })
	return pastTable(ctx, others)
}

// actions are what can be done now: approving and rejecting while it waits. A button that can't be used says why.
func actions(r *http.Request, rc store.RechargeRow, a store.AccountRow) []components.Action {
	ctx := r.Context()
	if rc.State != billing.RechargeEntered && rc.State != billing.RechargeApprovedOnce {
		return nil
	}
	f := page.FormOf(r, "approve")
	title, last := locale.T(ctx, "recharges.approve_first"), rc.State == billing.RechargeApprovedOnce
	if last {
		title = locale.T(ctx, "recharges.approve_second")
	}
	approve := components.Action{ID: "approve", Title: title, URL: href(rc.ID) + "/approve", Submit: title, Key: "a", Error: f.Error(), Hidden: []components.Hidden{f.Nonce()},
		Consequence: components.Facts(consequence(ctx, rc, a, last))}
	if err := mayApprove(ctx, rc.Recharge); err != nil {
		approve.Disabled = page.Sentence(ctx, err)
	}
	if auth.Can(page.Actor(ctx), auth.ApproveRecharge, rc.Site) != nil {
		return []components.Action{approve}
	}
	f = page.FormOf(r, "reject")
	reject := components.Action{ID: "reject", Title: locale.T(ctx, "recharges.reject"), URL: href(rc.ID) + "/reject", Submit: locale.T(ctx, "recharges.reject"), Error: f.Error(),
		Tone:   components.Danger,
		Fields: []components.Field{components.ReasonField(locale.T(ctx, "recharges.reason"), f.Value("reason", ""), f.Problem("reason"))}}
	return []components.Action{approve, reject}
}

// consequence is what an approval brings about.
func consequence(ctx context.Context, rc store.RechargeRow, a store.AccountRow, last bool) []components.Fact {
	fs := []components.Fact{{ID: "act-amount", Label: locale.T(ctx, "recharges.amount"), Value: components.Money(rc.Amount)}}
	if !last {
		return append(fs, components.Fact{ID: "act-next", Label: locale.T(ctx, "recharges.then"), Value: components.StateBadge(locale.Recharge, billing.RechargeApprovedOnce)})
	}
	fs = append(fs, components.Fact{ID: "act-balance", Label: locale.T(ctx, "recharges.balance_now"), Value: components.Money(a.Balance)},
		components.Fact{ID: "act-after", Label: locale.T(ctx, "recharges.balance_then"), Value: components.Money(a.Balance + rc.Amount)})
	if rc.Meter != "" {
		fs = append(fs, components.Fact{ID: "act-meter", Label: locale.T(ctx, "recharges.written_to"), Value: components.Text(string(rc.Meter))})
	}
	return fs
}

// doubt says what an unproved delivery waits for.
func doubt(ctx context.Context, rc store.RechargeRow) *components.NoticeView {
	if rc.State != billing.RechargeInDoubt {
		return nil
	}
	return &components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "recharges.doubt"), Body: locale.T(ctx, "recharges.doubt_body"),
		LinkHref: "/exceptions?kind=credit_in_doubt&state=open", LinkLabel: locale.T(ctx, "recharges.doubt_link")}
}

// receiptView is the paper: each copy with its name.
type receiptView struct {
	id, issuer, number string
	roll               bool
	facts              []components.Fact
}

func receiptFacts(ctx context.Context, rc store.RechargeRow, commands []store.Command, m *store.Movement) []components.Fact {
	fs := []components.Fact{
		{ID: "r-account", Label: locale.T(ctx, "recharges.account"), Value: components.Text(string(rc.Account))},
		{ID: "r-customer", Label: locale.T(ctx, "recharges.customer"), Value: components.Text(rc.Customer)},
		{ID: "r-address", Label: locale.T(ctx, "recharges.address"), Value: components.Text(rc.Address)},
		{ID: "r-service", Label: locale.T(ctx, "recharges.service"), Value: components.Text(locale.State(ctx, locale.Service, rc.Service))},
		{ID: "r-amount", Label: locale.T(ctx, "recharges.amount") + " (" + locale.T(ctx, "unit.yuan") + ")", Value: components.Money(rc.Amount)},
	}
	if locale.Lang(ctx) == locale.ZH {
		fs = append(fs, components.Fact{ID: "r-words", Label: locale.T(ctx, "recharges.in_words"), Value: components.Text(inWords(rc.Amount))})
	}
	fs = append(fs, components.Fact{ID: "r-channel", Label: locale.T(ctx, "recharges.channel"), Value: components.Text(locale.State(ctx, locale.Channel, rc.Channel)), Hint: rc.Evidence})
	if m != nil {
		fs = append(fs, components.Fact{ID: "r-balance", Label: locale.T(ctx, "recharges.after"), Value: components.Money(m.Balance)})
	}
	if c, ok := delivered(commands); ok && c.CountAfter != nil {
		fs = append(fs, components.Fact{ID: "r-count", Label: locale.T(ctx, "recharges.purchase_count"), Value: components.Count(*c.CountAfter)})
	}
	return append(fs,
		components.Fact{ID: "r-recharge", Label: locale.T(ctx, "recharges.number"), Value: components.Code(string(rc.ID))},
		components.Fact{ID: "r-at", Label: locale.T(ctx, "recharges.credited_at"), Value: components.When(*rc.SettledAt)},
		components.Fact{ID: "r-clerk", Label: locale.T(ctx, "recharges.entered_by"), Value: components.Text(rc.EnteredName)},
		components.Fact{ID: "r-approvers", Label: locale.T(ctx, "recharges.approved_by"), Value: components.Text(rc.Approved1Name + ", " + rc.Approved2Name)})
}

package runs

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// runView is the page of one run.
type runView struct {
	head     components.Head
	notices  []components.NoticeView
	progress *components.ProgressView // nil while nothing runs
	totals   components.Table
	changes  components.Table
	stops    components.Table
	signed   []components.Fact
	actions  []components.Action
	bills    billsView
	timeline components.TimelineView
}

func runOf(r *http.Request, run store.RunRow, blocking []store.BlockingCase) (runView, error) {
	ctx := r.Context()
	var t store.RunTotals
	if err := json.Unmarshal(run.Totals, &t); err != nil {
		return runView{}, err
	}
	head := components.Head{
		Title: locale.T(ctx, "runs.of", page.SiteName(ctx, run.Site), periodText(ctx, run.Run)), Subtitle: string(run.ID),
		BackHref: base, BackLabel: locale.T(ctx, "runs.title"), Badge: components.StateBadge(locale.Run, run.State),
	}
	if run.Bills > 0 {
		head.Actions = runPapers(page.Home("run", string(run.ID)))
	}
	return runView{
		head: head, notices: append(blockNotices(ctx, run, blocking), heldNotices(ctx, run)...), stops: stopTable(ctx, run, t), totals: totalsTable(ctx, run, t), changes: changesTable(ctx, t),
		signed: signatures(ctx, run), actions: append(actionsOf(r, run), cancelActions(r, run)...),
	}, nil
}

// open says whether the run's bills can still change.
func open(run store.RunRow) bool {
	return run.IssuedBy == nil && (run.State == billing.RunAwaitingVerification || run.State == billing.RunVerified)
}

// blockNotices lead to the exceptions that doubt the run's readings.
func blockNotices(ctx context.Context, run store.RunRow, blocking []store.BlockingCase) []components.NoticeView {
	if run.State == billing.RunIssued || run.State == billing.RunCancelled {
		return nil
	}
	var list []components.NoticeView
	const most = 5
	for i, c := range blocking {
		if i == most {
			list = append(list, components.NoticeView{Tone: components.Watch, Title: locale.T(ctx, "runs.more_blocking", len(blocking)-most), LinkHref: "/exceptions", LinkLabel: locale.T(ctx, "runs.decide")})
			break
		}
		list = append(list, components.NoticeView{
			Tone: components.Watch, Title: locale.T(ctx, "runs.blocking", string(c.ID)), Body: locale.T(ctx, "runs.blocking_accounts", len(c.Accounts)),
			LinkHref: page.Home("case", string(c.ID)), LinkLabel: locale.T(ctx, "runs.decide"),
		})
	}
	return list
}

// totalsTable holds the run against the period before, one line per number.
func totalsTable(ctx context.Context, run store.RunRow, t store.RunTotals) components.Table {
	table := components.Table{ID: "totals", Caption: locale.T(ctx, "runs.totals"), Cols: []components.Col{
		{Label: locale.T(ctx, "runs.what")}, {Label: locale.T(ctx, "runs.this"), Align: components.Number, Lead: true},
		{Label: locale.T(ctx, "runs.last"), Align: components.Number}, {Label: locale.T(ctx, "runs.change"), Align: components.Number},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "runs.no_totals"), Body: locale.T(ctx, "runs.no_totals_body")}}
	if run.State == billing.RunRating || run.State == billing.RunBlocked {
		return table
	}
	last := store.PeriodTotals{}
	if t.Last != nil {
		last = *t.Last
	}
	row := func(id, label string, this, before, change templ.Component) {
		if t.Last == nil {
			before, change = components.Muted("–"), components.Muted("–")
		}
		table.Rows = append(table.Rows, components.Row{ID: id, Cells: []templ.Component{components.Text(label), this, before, change}})
	}
	row("bills", locale.T(ctx, "runs.bills"), components.Count(t.Bills), components.Count(last.Bills), signedCount(t.Bills-last.Bills))
	if t.Last != nil {
		row("new", locale.T(ctx, "runs.new"), components.Count(t.New), components.Muted("–"), components.Muted("–"))
		row("gone", locale.T(ctx, "runs.gone"), components.Count(t.Gone), components.Muted("–"), components.Muted("–"))
	}
	row("held", locale.T(ctx, "runs.held"), components.Count(t.Held), components.Muted("–"), components.Muted("–"))
	for _, s := range []billing.Service{billing.Power, billing.Water} {
		this, before := t.Quantity[s], last.Quantity[s]
		if this == 0 && before == 0 {
			continue
		}
		row("quantity-"+string(s), locale.T(ctx, "runs.quantity_of", locale.State(ctx, locale.Service, s)), components.Quantity(this, s.Scale(), s.Unit()),
			components.Quantity(before, s.Scale(), s.Unit()), percentOf(this-before, before))
	}
	row("total", locale.T(ctx, "runs.total_yuan"), components.Money(t.TotalFen), components.Money(last.TotalFen), percentOf(int64(t.TotalFen-last.TotalFen), int64(last.TotalFen)))
	row("charged", locale.T(ctx, "runs.charged"), components.Money(t.ChargedFen), components.Muted("–"), components.Muted("–"))
	row("rest", locale.T(ctx, "runs.rest"), components.MoneySigned(t.TotalFen-t.ChargedFen), components.Muted("–"), components.Muted("–"))
	return table
}

func signedCount(n int) templ.Component {
	if n > 0 {
		return components.Text("+" + locale.Count(n))
	}
	return components.Text(locale.Count(n))
}

// percentOf is part/whole in percent with one decimal and its sign, cut; a dash when there is nothing to compare with.
func percentOf(part, whole int64) templ.Component {
	if whole == 0 {
		return components.Muted("–")
	}
	text := locale.Quantity(permille(part, whole), 1) + " %"
	if part > 0 {
		text = "+" + text
	}
	return components.Text(text)
}

// permille brings both down first where the product would not fit.
func permille(part, whole int64) int64 {
	for part > 1<<52 || part < -1<<52 {
		part, whole = part/2, whole/2
	}
	return part * 1000 / max(whole, 1)
}

func changesTable(ctx context.Context, t store.RunTotals) components.Table {
	table := components.Table{ID: "changes", Caption: locale.T(ctx, "runs.changes"), Cols: []components.Col{
		{Label: locale.T(ctx, "runs.account")}, {Label: locale.T(ctx, "runs.use"), Align: components.Number}, {Label: locale.T(ctx, "runs.use_last"), Align: components.Number, WideOnly: true},
		{Label: locale.T(ctx, "runs.amount"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
		{Label: locale.T(ctx, "runs.amount_last"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number, WideOnly: true},
		{Label: locale.T(ctx, "runs.change"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number, Lead: true},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "runs.no_changes"), Body: locale.T(ctx, "runs.no_changes_body")}}
	for _, c := range t.Changes {
		table.Rows = append(table.Rows, components.Row{ID: string(c.Bill), Href: page.Home("bill", string(c.Bill)), Cells: []templ.Component{
			components.Text(string(c.Account)), components.Quantity(c.Quantity, c.Service.Scale(), c.Service.Unit()), components.Quantity(c.Before, c.Service.Scale(), c.Service.Unit()),
			components.Money(c.TotalFen), components.Money(c.LastFen), components.MoneySigned(c.TotalFen - c.LastFen),
		}})
	}
	return table
}

// signatures say who did what and when.
func signatures(ctx context.Context, run store.RunRow) []components.Fact {
	verified := components.Fact{ID: "verified", Label: locale.T(ctx, "runs.verifier"), Value: name(run.VerifiedName)}
	if run.VerifiedAt != nil {
		verified.Hint = locale.DateTime(ctx, *run.VerifiedAt)
	}
	issued := components.Fact{ID: "issued", Label: locale.T(ctx, "runs.issuer"), Value: name(run.IssuedName)}
	if run.IssuedAt != nil {
		issued.Hint = locale.DateTime(ctx, *run.IssuedAt)
	}
	return []components.Fact{{ID: "opened", Label: locale.T(ctx, "runs.opened"), Value: components.When(run.OpenedAt)}, verified, issued}
}

func actionsOf(r *http.Request, run store.RunRow) []components.Action {
	switch {
	case run.State == billing.RunAwaitingVerification:
		return []components.Action{verifyAction(r, run), issueAction(r, run)}
	case run.State == billing.RunVerified && run.IssuedBy == nil:
		return []components.Action{issueAction(r, run)}
	default:
		return nil
	}
}

func consequence(ctx context.Context, run store.RunRow) templ.Component {
	return components.Facts([]components.Fact{
		{ID: "bills", Label: locale.T(ctx, "runs.bills"), Value: components.Count(run.Bills)},
		{ID: "held", Label: locale.T(ctx, "runs.held"), Value: components.Count(run.Held)},
		{ID: "total", Label: locale.T(ctx, "runs.total_yuan"), Value: components.Money(run.TotalFen)},
	})
}

func verifyAction(r *http.Request, run store.RunRow) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "verify")
	a := components.Action{
		ID: "verify", Title: locale.T(ctx, "runs.verify"), URL: page.Home("run", string(run.ID)) + "/verify", Submit: locale.T(ctx, "runs.verify_now"), Key: "v",
		Consequence: consequence(ctx, run), Error: f.Error(),
	}
	if err := auth.Can(page.Actor(ctx), auth.VerifyRun, run.Site); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}

func issueAction(r *http.Request, run store.RunRow) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "issue")
	a := components.Action{
		ID: "issue", Title: locale.T(ctx, "runs.issue"), URL: page.Home("run", string(run.ID)) + "/issue", Submit: locale.T(ctx, "runs.issue_now"), Key: "i",
		Error: f.Error(), Confirm: locale.T(ctx, "runs.issue_sure", run.Bills, locale.Money(run.TotalFen)),
	}
	switch err := auth.Can(page.Actor(ctx), auth.IssueRun, run.Site); {
	case err != nil:
		a.Disabled = page.Sentence(ctx, err)
	case run.VerifiedBy == nil:
		a.Disabled = locale.T(ctx, "runs.issue_first_verify")
	case *run.VerifiedBy == page.Actor(ctx).UserID:
		a.Disabled = locale.T(ctx, "runs.issue_other", run.VerifiedName)
	default:
		a.Consequence = consequence(ctx, run)
	}
	return a
}

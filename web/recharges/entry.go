package recharges

import (
	"context"
	"net/http"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// formView is the counter: find the account, see whose it is and what it has, type what was paid.
type formView struct {
	lookup  components.Field
	account []components.Fact
	choices components.Table
	entry   *components.Action
	history components.Table
}

// maxLookup is the longest text to find an account by, in characters; maxChoices how many accounts are offered.
const (
	maxLookup  = 64
	maxChoices = 20
)

func (h handler) form(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f := page.FormOf(r, "enter")
	typed := page.ListOf(r).Get("account")
	if f.Tried() {
		typed = f.Value("account", "")
	}
	v := formView{lookup: components.Field{Kind: components.SearchField, Name: "account", Label: locale.T(ctx, "recharges.lookup"), Value: typed,
		Hint: locale.T(ctx, "recharges.lookup_hint"), MaxLength: maxLookup, Focus: typed == ""}}
	found, err := h.lookUp(ctx, typed)
	if err != nil {
		return err
	}
	switch {
	case len(found) == 1:
		if err := h.chose(ctx, &v, f, found[0]); err != nil {
			return err
		}
	case f.Tried():
		v.entry = entryAction(ctx, f, nil)
	case len(found) > 1:
		v.choices = choiceTable(ctx, found)
	case typed != "":
		v.lookup.Error = page.Sentence(ctx, billing.Errorf(billing.CodeNotFound, "There is no account %q: check the number on the customer's card or bill.", typed))
		v.lookup.Focus = true
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "recharges.new"), Nav: path, Body: form(v)})
}

// lookUp finds the account of that number, else those whose number, name, phone or address holds the text.
func (h handler) lookUp(ctx context.Context, text string) ([]store.AccountRow, error) {
	if text == "" || len(text) > 4*maxLookup {
		return nil, nil
	}
	exact, err := h.known(ctx, billing.AccountID(text))
	if err == nil {
		return []store.AccountRow{exact}, nil
	}
	if billing.CodeOf(err) != billing.CodeNotFound {
		return nil, err
	}
	rows, _, err := h.Store.AccountPage(ctx, store.AccountFilter{Sites: page.Actor(ctx).Sites, Text: text}, maxChoices, 0)
	return rows, err
}

// chose fills the form for one account.
func (h handler) chose(ctx context.Context, v *formView, f page.Form, a store.AccountRow) error {
	history, _, err := h.Store.RechargePage(ctx, store.RechargeFilter{Sites: page.Actor(ctx).Sites, Account: a.ID}, historyLength, 0)
	if err != nil {
		return err
	}
	v.lookup.Value, v.lookup.Hint = string(a.ID), ""
	v.account, v.entry = accountFacts(ctx, a), entryAction(ctx, f, &a)
	v.history = pastTable(ctx, history)
	return nil
}

func accountFacts(ctx context.Context, a store.AccountRow) []components.Fact {
	fs := []components.Fact{
		{ID: "account", Label: locale.T(ctx, "recharges.account"), Value: components.Link("/accounts/"+string(a.ID), string(a.ID)), Hint: locale.State(ctx, locale.Service, a.Service) + " · " + locale.State(ctx, locale.CreditMode, a.CreditMode)},
		{ID: "customer", Label: locale.T(ctx, "recharges.customer"), Value: components.Text(a.Name), Hint: a.Address},
		{ID: "balance", Label: locale.T(ctx, "recharges.balance"), Value: components.Money(a.Balance), Hint: lasts(ctx, a)},
		{ID: "supply", Label: locale.T(ctx, "recharges.supply"), Value: components.StateBadge(locale.Supply, a.Supply)},
		{ID: "meter", Label: locale.T(ctx, "recharges.meter"), Value: meterLink(a.Meter)},
	}
	if a.Pending > 0 {
		fs = append(fs, components.Fact{ID: "pending", Label: locale.T(ctx, "recharges.pending"), Value: components.Money(a.Pending), Hint: locale.T(ctx, "recharges.pending_hint")})
	}
	return fs
}

func meterLink(id billing.MeterID) templ.Component {
	if id == "" {
		return nil
	}
	return components.Link("/meters/"+string(id), string(id))
}

func lasts(ctx context.Context, a store.AccountRow) string {
	if a.Balance <= a.CutLimit {
		return locale.T(ctx, "recharges.used_up")
	}
	if days, ok := a.Lasts(); ok {
		return locale.T(ctx, "recharges.lasts", days, locale.Money(a.Daily()))
	}
	return ""
}

// entryAction is the form itself; a is nil when the account that was typed isn't known.
func entryAction(ctx context.Context, f page.Form, a *store.AccountRow) *components.Action {
	number := components.Field{Kind: components.TextField, Name: "account", Label: locale.T(ctx, "recharges.account"), Value: f.Value("account", ""),
		Error: f.Problem("account"), Required: true, Focus: true, MaxLength: maxLookup}
	if a != nil {
		number.Value, number.ReadOnly, number.Focus = string(a.ID), true, false
		number.Hint = a.Name
	}
	ways := make([]components.Option, 0, len(channels))
	for _, c := range channels {
		ways = append(ways, components.Option{Value: c, Label: locale.State(ctx, locale.Channel, c)})
	}
	action := components.Action{
		ID: "enter", Title: locale.T(ctx, "recharges.enter"), URL: path, Submit: locale.T(ctx, "recharges.enter"), Error: f.Error(), Hidden: []components.Hidden{f.Nonce()},
		Fields: []components.Field{
			number,
			{Kind: components.MoneyField, Name: "amount", Label: locale.T(ctx, "recharges.amount"), Value: f.Value("amount", ""), Error: f.Problem("amount"),
				Unit: locale.T(ctx, "unit.yuan"), Required: true, Focus: a != nil, Placeholder: "100.00", MaxLength: 20},
			{Kind: components.ChoiceField, Name: "channel", Label: locale.T(ctx, "recharges.channel"), Value: f.Value("channel", "cash"), Error: f.Problem("channel"),
				Required: true, Options: ways},
			{Kind: components.TextField, Name: "evidence", Label: locale.T(ctx, "recharges.evidence"), Value: f.Value("evidence", ""), Error: f.Problem("evidence"),
				Hint: locale.T(ctx, "recharges.evidence_hint"), MaxLength: maxEvidence, Autocomplete: "off"},
		},
	}
	site := billing.SiteID("")
	if a != nil {
		site = a.Site
	}
	if err := auth.Can(page.Actor(ctx), auth.EnterRecharge, site); err != nil {
		action.Disabled = page.Sentence(ctx, err)
	}
	return &action
}

func choiceTable(ctx context.Context, found []store.AccountRow) components.Table {
	t := components.Table{ID: "choices", Caption: locale.T(ctx, "recharges.choose"), Cols: []components.Col{
		{Label: locale.T(ctx, "recharges.account")}, {Label: locale.T(ctx, "recharges.customer")}, {Label: locale.T(ctx, "recharges.address")},
		{Label: locale.T(ctx, "recharges.service")}, {Label: locale.T(ctx, "recharges.balance"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
	}}
	for _, a := range found {
		t.Rows = append(t.Rows, components.Row{ID: string(a.ID), Href: path + "/new?account=" + string(a.ID), Cells: []templ.Component{
			components.Text(string(a.ID)), components.Lines(components.Text(a.Name), a.Phone), components.Text(a.Address),
			components.Text(locale.State(ctx, locale.Service, a.Service)), components.Money(a.Balance),
		}})
	}
	return t
}

// pastTable is what was recharged on an account lately.
func pastTable(ctx context.Context, rows []store.RechargeRow) components.Table {
	t := components.Table{ID: "history", Caption: locale.T(ctx, "recharges.history"), Cols: []components.Col{
		{Label: locale.T(ctx, "recharges.number")}, {Label: locale.T(ctx, "recharges.entered_at")},
		{Label: locale.T(ctx, "recharges.amount"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
		{Label: locale.T(ctx, "recharges.channel")}, {Label: locale.T(ctx, "recharges.state")},
	}}
	for _, rc := range rows {
		t.Rows = append(t.Rows, components.Row{ID: string(rc.ID), Href: href(rc.ID), Cells: []templ.Component{
			components.Text(string(rc.ID)), components.When(rc.EnteredAt), components.Money(rc.Amount),
			components.Lines(components.Text(locale.State(ctx, locale.Channel, rc.Channel)), rc.Evidence), components.StateBadge(locale.Recharge, rc.State),
		}})
	}
	return t
}

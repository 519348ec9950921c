package accounts

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// showView is one account with its whole story.
type showView struct {
	head        components.Head
	notices     []components.NoticeView
	facts       []components.Fact
	balance     components.Balance
	usage       components.Usage
	asOf        asOfView
	open        components.Table
	fittings    components.Table
	protections components.Table
	terms       components.Table
	quantities  *components.Table // nil where the price needs none
	bills       components.Table
	adjustments components.Table
	plans       components.Table
	recharges   components.Table
	messages    components.Table
	more        map[string]string // addresses of the whole lists
	timeline    components.TimelineView
	actions     []components.Action
}

func viewOf(r *http.Request, s story) showView {
	ctx := r.Context()
	a := s.row
	v := showView{
		head: head(ctx, a), notices: notices(ctx, a, s.meter.Profile), facts: facts(ctx, a), balance: balanceChart(ctx, s), usage: usageChart(ctx, s), asOf: s.asOf,
		open: openTable(ctx, s), fittings: fittingTable(ctx, s), protections: protectionTable(ctx, s), terms: termsTable(ctx, s), bills: billTable(ctx, s), adjustments: adjustmentTable(ctx, s), plans: planTable(ctx, s), recharges: rechargeTable(ctx, s),
		messages: messageTable(ctx, s), timeline: page.Timeline(ctx, "account", string(a.ID), s.events), actions: actions(r, s),
		more: map[string]string{"recharges": "/recharges?q=" + string(a.ID), "messages": "/messages?q=" + string(a.ID)},
	}
	if s.needsQuantities(billing.DateOf(page.Now(ctx), page.SiteZone(ctx, a.Site))) {
		t := quantityTable(ctx, s)
		v.quantities = &t
	}
	return v
}

func head(ctx context.Context, a store.AccountRow) components.Head {
	v := components.Head{
		Title: string(a.ID) + " " + a.Name, Subtitle: a.Address + " · " + page.SiteName(ctx, a.Site), BackHref: path, BackLabel: locale.T(ctx, "accounts.title"),
		Badge: components.StateBadge(locale.Supply, a.Supply),
	}
	if auth.Can(page.Actor(ctx), auth.EnterRecharge, a.Site) == nil {
		v.Actions = components.ButtonLink("/recharges/new?account="+string(a.ID), locale.T(ctx, "accounts.recharge"), true)
		return v
	}
	v.Actions = page.CorrectLink(ctx, a.Site, string(a.ID))
	return v
}

// causes are the words for why supply is off.
var causes = map[string]string{
	store.CutForCredit: locale.Key("accounts.cut_credit"), store.CutByMeter: locale.Key("accounts.cut_meter"), store.CutByPerson: locale.Key("accounts.cut_person"),
}

func cause(ctx context.Context, a store.AccountRow) string {
	if key, ok := causes[a.CutCause]; ok {
		return locale.T(ctx, key)
	}
	return a.CutCause
}

// notices say first what is not as it should be, and what protects the customer.
func notices(ctx context.Context, a store.AccountRow, profile string) []components.NoticeView {
	var list []components.NoticeView
	switch a.Supply {
	case billing.SupplyOff:
		list = append(list, components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "accounts.is_off", locale.DateTime(ctx, a.SupplySince)), Body: cause(ctx, a)})
	case billing.SupplyAllowed:
		list = append(list, components.NoticeView{Tone: components.Watch, Title: locale.T(ctx, "accounts.is_allowed", locale.DateTime(ctx, a.SupplySince)), Body: locale.T(ctx, "accounts.is_allowed_body")})
	case billing.SupplyUnknown:
		list = append(list, components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "accounts.is_unknown"), Body: locale.T(ctx, "accounts.is_unknown_body"),
			LinkHref: "/exceptions?kind=supply_unknown&state=open", LinkLabel: locale.T(ctx, "accounts.see_cases")})
	}
	if a.UnchargedAt != nil {
		list = append(list, components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "accounts.is_uncharged", locale.DateTime(ctx, *a.UnchargedAt)), Body: locale.Sentence(ctx, a.Uncharged) + " " + locale.T(ctx, "accounts.is_uncharged_body")})
	}
	if a.Protected != nil {
		list = append(list, components.NoticeView{Tone: components.Good, Title: locale.T(ctx, "accounts.is_protected", locale.DateTime(ctx, *a.Protected)), Body: locale.T(ctx, "accounts.is_protected_body")})
	}
	if a.CreditMode == billing.CreditMeter && profile != "" && !workflows.CanHoldOn(profile) {
		list = append(list, components.NoticeView{Tone: components.Watch, Title: locale.T(ctx, "accounts.no_hold"), Body: locale.T(ctx, "accounts.no_hold_body")})
	}
	if a.LifeSupport {
		list = append(list, components.NoticeView{Tone: components.Good, Title: locale.T(ctx, "accounts.life_support"), Body: locale.T(ctx, "accounts.life_support_body")})
	}
	return list
}

func facts(ctx context.Context, a store.AccountRow) []components.Fact {
	tariff := a.TariffZH
	if locale.Lang(ctx) == locale.EN {
		tariff = a.TariffEN
	}
	fs := []components.Fact{
		{ID: "balance", Label: locale.T(ctx, "accounts.balance"), Value: components.Money(a.Balance), Hint: lastsHint(ctx, a)},
		{ID: "supply", Label: locale.T(ctx, "accounts.supply"), Value: components.StateBadge(locale.Supply, a.Supply), Hint: locale.T(ctx, "accounts.supply_since", locale.DateTime(ctx, a.SupplySince))},
		{ID: "customer", Label: locale.T(ctx, "accounts.customer"), Value: components.Text(a.Name), Hint: a.Phone + " · " + locale.State(ctx, locale.Class, a.Class)},
		{ID: "tariff", Label: locale.T(ctx, "accounts.tariff"), Value: components.Text(tariff), Hint: locale.State(ctx, locale.Service, a.Service)},
		{ID: "credit", Label: locale.T(ctx, "accounts.credit"), Value: components.Text(locale.State(ctx, locale.CreditMode, a.CreditMode)), Hint: creditHint(ctx, a)},
		{ID: "limit", Label: locale.T(ctx, "accounts.limit"), Value: components.Money(a.CutLimit), Hint: contract(ctx, a)},
		{ID: "address", Label: locale.T(ctx, "accounts.address"), Value: components.Text(a.Address), Hint: string(a.ServicePoint)},
		{ID: "opened", Label: locale.T(ctx, "accounts.opened"), Value: components.Text(a.OpenedOn.String())},
	}
	if a.Held > 0 {
		fs = append(fs, components.Fact{ID: "available", Label: locale.T(ctx, "accounts.available"), Value: components.Money(a.Available()), Hint: locale.T(ctx, "accounts.available_hint", locale.Money(a.Held))})
	}
	if a.Pending > 0 {
		fs = append(fs, components.Fact{ID: "pending", Label: locale.T(ctx, "accounts.pending"), Value: components.Money(a.Pending), Hint: locale.T(ctx, "accounts.pending_hint")})
	}
	switch {
	case a.Guarded:
		fs = append(fs, components.Fact{ID: "guarded", Label: locale.T(ctx, "accounts.guarded"), Value: components.Badge(components.Watch, locale.T(ctx, "accounts.guarded_on")), Hint: locale.T(ctx, "accounts.guarded_hint")})
	case a.HeldBy != "":
		fs = append(fs, components.Fact{ID: "guarded", Label: locale.T(ctx, "accounts.guarded"), Value: components.Badge(components.Watch, locale.T(ctx, "meters.hold_ordered")), Hint: locale.T(ctx, "meters.hold_ordered_why", string(a.HeldBy))})
	}
	return fs
}

func lastsHint(ctx context.Context, a store.AccountRow) string {
	n, ok := a.Lasts()
	switch {
	case !a.PrepaidContract:
		return "" // nothing ends at the limit
	case a.Balance <= a.CutLimit:
		return locale.T(ctx, "accounts.used_up")
	case !ok:
		return locale.T(ctx, "accounts.lasts_unknown")
	}
	return locale.T(ctx, "accounts.lasts_for", n, locale.Money(a.Daily()))
}

func creditHint(ctx context.Context, a store.AccountRow) string {
	if a.CreditMode == billing.CreditMeter {
		return locale.T(ctx, "accounts.shadow")
	}
	return ""
}

func contract(ctx context.Context, a store.AccountRow) string {
	if a.PrepaidContract {
		return locale.T(ctx, "accounts.prepaid")
	}
	return locale.T(ctx, "accounts.not_prepaid")
}

// kinds are the words for movements of credit; one that has no word is shown as it is stored.
var kinds = map[string]string{
	"opening": locale.Key("accounts.move_opening"), "recharge_credited": locale.Key("accounts.move_recharge"), "daily_charge": locale.Key("accounts.move_charge"),
	"bill_issued": locale.Key("accounts.move_bill"), "adjustment": locale.Key("accounts.move_adjustment"), "reversal": locale.Key("accounts.move_reversal"), "": locale.Key("accounts.move_before"),
}

func movement(ctx context.Context, m store.Movement) string {
	word := string(m.Kind)
	if key, ok := kinds[word]; ok {
		word = locale.T(ctx, key)
	}
	if m.Kind == "" {
		return word
	}
	return word + " " + locale.MoneySigned(m.Amount)
}

func balanceChart(ctx context.Context, s story) components.Balance {
	b := components.Balance{ID: "balance", Title: locale.T(ctx, "accounts.balance_chart"), Limit: int64(s.row.CutLimit), HasLimit: true, Until: page.Now(ctx),
		Empty: components.EmptyView{Title: locale.T(ctx, "accounts.no_movements"), Body: locale.T(ctx, "accounts.no_movements_body")}}
	for _, m := range s.movements {
		b.Points = append(b.Points, components.BalancePoint{At: m.BusinessAt, Fen: int64(m.Balance), Note: movement(ctx, m)})
	}
	return b
}

func usageChart(ctx context.Context, s story) components.Usage {
	u := components.Usage{ID: "use", Title: locale.T(ctx, "accounts.use_chart"), Unit: s.row.Service.Unit(), Scale: s.row.Service.Scale(),
		Empty: components.EmptyView{Title: locale.T(ctx, "accounts.no_use"), Body: locale.T(ctx, "accounts.no_use_body")}}
	zone := page.SiteZone(ctx, s.row.Site)
	for _, d := range s.use {
		quality := string(d.Quality)
		if quality == "" {
			quality = "missing"
		}
		u.Bars = append(u.Bars, components.UsageBar{Day: d.Day.Start(zone), Raw: d.Raw * int64(s.meter.Ratio), Quality: quality, Doubtful: d.Doubtful})
	}
	return u
}

// actions are what can be done now.
func actions(r *http.Request, s story) []components.Action {
	ctx := r.Context()
	a := s.row
	var list []components.Action
	if a.Supply != billing.SupplyOn || a.Wanted != billing.SupplyOn {
		list = append(list, restoreAction(r, a))
	}
	for _, p := range s.protections {
		if !over(p, page.Now(ctx)) {
			list = append(list, endAction(r, s, p))
		}
	}
	list = append(list, termsActions(r, s)...)
	return append(list, protectAction(r, a))
}

func restoreAction(r *http.Request, a store.AccountRow) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "restore")
	v := components.Action{ID: "restore", Title: locale.T(ctx, "accounts.restore"), URL: href(a.ID) + "/restore", Submit: locale.T(ctx, "accounts.restore"), Error: f.Error(),
		Confirm: locale.T(ctx, "accounts.restore_sure", string(a.ID)),
		Consequence: components.Facts([]components.Fact{
			{ID: "act-balance", Label: locale.T(ctx, "accounts.balance"), Value: components.Money(a.Balance)},
			{ID: "act-cause", Label: locale.T(ctx, "accounts.cut_cause"), Value: components.Text(cause(ctx, a))},
			{ID: "act-then", Label: locale.T(ctx, "accounts.then"), Value: components.Text(locale.T(ctx, "accounts.restore_then"))},
		}),
		Fields: []components.Field{components.ReasonField(locale.T(ctx, "accounts.reason"), f.Value("reason", ""), f.Problem("reason"))}}
	if err := auth.Can(page.Actor(ctx), auth.OrderRestore, a.Site); err != nil {
		v.Disabled = page.Sentence(ctx, err)
	}
	return v
}

func protectAction(r *http.Request, a store.AccountRow) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "protect")
	today := billing.DateOf(page.Now(ctx), page.SiteZone(ctx, a.Site))
	var options []components.Option
	for _, k := range locale.Words(locale.Protection) {
		options = append(options, components.Option{Value: k, Label: locale.State(ctx, locale.Protection, k)})
	}
	v := components.Action{ID: "protect", Title: locale.T(ctx, "accounts.protect"), URL: href(a.ID) + "/protect", Submit: locale.T(ctx, "accounts.protect"), Error: f.Error(),
		Consequence: components.Text(locale.T(ctx, "accounts.protect_then")),
		Fields: []components.Field{
			{Kind: components.SelectField, Name: "kind", Label: locale.T(ctx, "accounts.protection_kind"), Value: f.Value("kind", ""), Error: f.Problem("kind"), Options: options, Required: true},
			{Kind: components.DateField, Name: "until", Label: locale.T(ctx, "accounts.until"), Value: f.Value("until", today.AddDays(7).String()), Error: f.Problem("until"),
				Hint: locale.T(ctx, "accounts.until_hint"), Required: true},
			components.ReasonField(locale.T(ctx, "accounts.reason"), f.Value("reason", ""), f.Problem("reason")),
		}}
	if err := auth.Can(page.Actor(ctx), auth.Protect, a.Site); err != nil {
		v.Disabled = page.Sentence(ctx, err)
	}
	return v
}

func idOf(p store.Protection) string { return strconv.FormatInt(p.ID, 10) }

// endAction is the form of one protection. After a refusal only the form that was tried keeps what was typed.
func endAction(r *http.Request, s story, p store.Protection) components.Action {
	ctx := r.Context()
	var f page.Form
	if tried := page.Param(r, "protection"); tried == "" || tried == idOf(p) {
		f = page.FormOf(r, "end-protection")
	}
	v := components.Action{ID: "end-" + idOf(p), Title: locale.T(ctx, "accounts.end_protection", locale.State(ctx, locale.Protection, p.Kind)),
		URL: href(s.row.ID) + "/protections/" + idOf(p) + "/end", Submit: locale.T(ctx, "accounts.end"), Error: f.Error(), Tone: components.Danger,
		Consequence: components.Facts([]components.Fact{
			{ID: "act-owner", Label: locale.T(ctx, "accounts.owner"), Value: components.Text(s.names[p.Owner])},
			{ID: "act-until", Label: locale.T(ctx, "accounts.until"), Value: components.When(p.UntilAt)},
			{ID: "act-why", Label: locale.T(ctx, "accounts.reason"), Value: components.Text(locale.Sentence(ctx, p.Reason))},
		}),
		Fields: slices.Concat([]components.Field{components.ReasonField(locale.T(ctx, "accounts.end_why"), f.Value("reason", ""), f.Problem("reason"))},
			page.SecondFields(ctx, f, locale.T(ctx, "accounts.second_hint")), page.ThirdFields(ctx, f, locale.T(ctx, "accounts.third_hint")))}
	if err := auth.Can(page.Actor(ctx), auth.EndProtection, s.row.Site); err != nil {
		v.Disabled = page.Sentence(ctx, err)
	}
	return v
}

// flagWords are what is open about an account, in a list.
func flagWords(ctx context.Context, a store.AccountRow, now time.Time) []templ.Component {
	var list []templ.Component
	if a.Arrears != "" {
		list = append(list, components.StateBadge(locale.Reminder, a.Arrears))
	}
	if a.OpenCases > 0 {
		list = append(list, components.Badge(components.Watch, locale.T(ctx, "accounts.cases", a.OpenCases)))
	}
	if a.Uncharged != "" {
		list = append(list, components.Badge(components.Danger, locale.T(ctx, "accounts.uncharged")))
	}
	if a.Pending > 0 {
		list = append(list, components.Badge(components.Running, locale.T(ctx, "accounts.paying")))
	}
	if a.LifeSupport || a.Protected != nil && now.Before(*a.Protected) {
		list = append(list, components.Badge(components.Good, locale.T(ctx, "accounts.shielded")))
	}
	return list
}

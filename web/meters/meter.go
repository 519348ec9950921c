package meters

import (
	"context"
	"net/http"
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

// known is what the page of a meter is made of.
type known struct {
	row        store.MeterRow
	gateway    store.Gateway
	reading    *store.Reading // newest; nil before the first
	use        []store.DayUse
	commands   []store.Command
	fittings   []store.Fitting
	cases      []store.CaseRow
	versions   []store.VersionRow
	allowances []store.Allowance
	exchanges  []store.MeterExchange
	pushes     []store.TariffPush
	waiting    int64 // litres of an exchanged meter that go with the next recharge
	now        time.Time
}

// meterView is the page of one meter.
type meterView struct {
	head      components.Head
	notices   []components.NoticeView
	live      []components.Fact // what it said last besides its registers
	registers components.Table
	supply    []components.Fact
	facts     []components.Fact
	usage     components.Usage
	commands  components.TimelineView
	pushes    *components.TimelineView // price changes; nil for a meter that never had one
	fittings  components.Table
	versions  components.Table
	timeline  components.TimelineView
	read      components.Action
	exchange  templ.Component // the way to its exchange; nil for those who may not
	trust     *trustView      // nil for a meter whose map is verified
}

func meterOf(ctx context.Context, k known) meterView {
	m := k.row
	head := components.Head{
		Title: string(m.ID), Subtitle: subtitle(ctx, m), BackHref: base, BackLabel: locale.T(ctx, "meters.title"), Badge: supply(ctx, m), Actions: page.MeterLinks(ctx, m.Site, m.ID),
	}
	return meterView{
		head: head, notices: noticesOf(ctx, k), live: liveFacts(ctx, k), registers: registerTable(ctx, m, k.reading), supply: supplyFacts(ctx, k),
		facts: deviceFacts(ctx, k), usage: UsageOf(ctx, m.Meter, k.use), commands: commandsOf(ctx, k.commands), pushes: pushesOf(ctx, k.pushes), fittings: fittingTable(ctx, m, k.fittings),
		versions: versionTable(ctx, m, k.versions),
	}
}

func subtitle(ctx context.Context, m store.MeterRow) string {
	text := locale.State(ctx, locale.Service, m.Service)
	if m.Address != "" {
		text += " · " + m.Address
	}
	return text
}

// noticesOf lead to the exceptions that are open, and say what of an exchange is under way.
func noticesOf(ctx context.Context, k known) []components.NoticeView {
	list := underWay(ctx, k.exchanges)
	for _, c := range k.cases {
		if c.State != billing.CaseOpen {
			continue
		}
		list = append(list, components.NoticeView{
			Tone: components.Watch, Title: locale.T(ctx, "meters.case_open", string(c.ID), locale.State(ctx, locale.Rule, c.Kind)), Body: locale.Waiting(ctx, c.OpenedAt, k.now),
			LinkHref: page.Home("case", string(c.ID)), LinkLabel: locale.T(ctx, "meters.case_decide"),
		})
	}
	return list
}

// registerWord is the word of a register by its place.
func registerWord(ctx context.Context, i int) string {
	words := locale.Words(locale.Register)
	if i >= len(words) {
		return billing.Register(i).String()
	}
	return locale.State(ctx, locale.Register, words[i])
}

func registerTable(ctx context.Context, m store.MeterRow, r *store.Reading) components.Table {
	t := components.Table{ID: "registers", Caption: locale.T(ctx, "meters.registers"), Cols: []components.Col{
		{Label: locale.T(ctx, "meters.register")}, {Label: locale.T(ctx, "meters.shows"), Unit: m.Service.Unit(), Align: components.Number},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "meters.no_reading"), Body: locale.T(ctx, "meters.no_reading_body")}}
	if r == nil {
		return t
	}
	for i, raw := range r.Registers {
		t.Rows = append(t.Rows, components.Row{ID: billing.Register(i).String(), Cells: []templ.Component{
			components.Text(registerWord(ctx, i)), components.Quantity(raw, m.Service.Scale(), ""),
		}})
	}
	if r.Reverse != nil {
		t.Rows = append(t.Rows, components.Row{ID: "reverse", Cells: []templ.Component{
			components.Lines(components.Text(locale.T(ctx, "meters.reverse")), locale.T(ctx, "meters.reverse_why")), components.Quantity(*r.Reverse, m.Service.Scale(), ""),
		}})
	}
	return t
}

func liveFacts(ctx context.Context, k known) []components.Fact {
	r := k.reading
	if r == nil {
		return nil
	}
	q := components.StateBadge(locale.Quality, r.Quality)
	if r.Doubtful {
		q = components.Badge(components.Danger, locale.T(ctx, "meters.doubtful"))
	}
	facts := []components.Fact{
		{ID: "read-at", Label: locale.T(ctx, "meters.freeze"), Value: components.When(r.FreezeAt), Hint: locale.Ago(ctx, r.FreezeAt, k.now)},
		{ID: "taken", Label: locale.T(ctx, "meters.taken"), Value: components.When(r.TakenAt), Hint: decodedBy(ctx, *r)},
		{ID: "quality", Label: locale.T(ctx, "meters.quality"), Value: q, Hint: qualityHint(ctx, *r)},
		{ID: "read-supply", Label: locale.T(ctx, "meters.relay"), Value: components.StateBadge(locale.Supply, r.Supply), Hint: forcedHint(ctx, r.Forced)},
	}
	if k.row.Service == billing.Power {
		facts = append(facts, components.Fact{ID: "power", Label: locale.T(ctx, "meters.power"), Value: components.Quantity(r.PowerW, 0, "W")})
	}
	if r.RemainingFen != nil {
		facts = append(facts, components.Fact{ID: "remaining", Label: locale.T(ctx, "meters.remaining"), Value: components.Money(*r.RemainingFen)})
	}
	if r.RemainingLitres != nil {
		facts = append(facts, components.Fact{ID: "volume", Label: locale.T(ctx, "meters.volume"), Value: components.Quantity(*r.RemainingLitres, billing.Water.Scale(), billing.Water.Unit())})
	}
	if r.PurchaseCount != nil {
		facts = append(facts, components.Fact{ID: "count", Label: locale.T(ctx, "meters.count"), Value: components.Count(*r.PurchaseCount)})
	}
	for _, a := range workflows.MeterAlarms(k.row.Profile, r.StatusWord) {
		facts = append(facts, components.Fact{ID: "alarm-" + a, Label: locale.T(ctx, "meters.alarm"), Value: components.Badge(components.Danger, locale.State(ctx, locale.MeterAlarm, a))})
	}
	return append(facts, deviceShows(ctx, *r)...)
}

// decodedBy says by which register map a reading was decoded.
func decodedBy(ctx context.Context, r store.Reading) string {
	if r.ProfileVersion == nil {
		return ""
	}
	return locale.T(ctx, "meters.decoded_by", mapLabel(r.Profile, *r.ProfileVersion))
}

func qualityHint(ctx context.Context, r store.Reading) string {
	switch {
	case r.Interpolated:
		return locale.T(ctx, "meters.interpolated")
	case r.Version > 1:
		return locale.T(ctx, "meters.version", r.Version)
	default:
		return ""
	}
}

func forcedHint(ctx context.Context, forced string) string {
	switch forced {
	case "on":
		return locale.T(ctx, "meters.forced_on")
	case "off":
		return locale.T(ctx, "meters.forced_off")
	default:
		return ""
	}
}

var causeKeys = map[string]string{
	store.CutForCredit: locale.Key("meters.cut_credit"), store.CutByMeter: locale.Key("meters.cut_meter"), store.CutByPerson: locale.Key("meters.cut_person"),
}

// supplyFacts say what is proved of the supply, what was ordered last, and why.
func supplyFacts(ctx context.Context, k known) []components.Fact {
	m := k.row
	if m.Account == "" || m.Supply == "" {
		return nil
	}
	state := components.Fact{ID: "supply", Label: locale.T(ctx, "meters.proved"), Value: components.StateBadge(locale.Supply, m.Supply)}
	if m.SupplySince != nil {
		state.Hint = locale.T(ctx, "meters.since", locale.DateTime(ctx, *m.SupplySince))
	}
	facts := []components.Fact{
		state, {ID: "wanted", Label: locale.T(ctx, "meters.wanted"), Value: components.StateBadge(locale.Supply, m.Wanted)},
		{ID: "why", Label: locale.T(ctx, "meters.why"), Value: components.Text(supplyWhy(ctx, m))},
		{ID: "balance", Label: locale.T(ctx, "meters.balance"), Value: components.Money(m.BalanceFen), Hint: locale.State(ctx, locale.CreditMode, m.CreditMode)},
	}
	if k.waiting > 0 {
		facts = append(facts, components.Fact{ID: "with-next", Label: locale.T(ctx, "meters.with_next"), Value: components.Quantity(k.waiting, billing.Water.Scale(), billing.Water.Unit()), Hint: locale.T(ctx, "meters.with_next_why")})
	}
	switch {
	case m.CreditMode == billing.CreditMeter && !workflows.CanHoldOn(m.Profile):
		facts = append(facts, components.Fact{ID: "guarded", Label: locale.T(ctx, "meters.guarded"), Value: components.Badge(components.Watch, locale.T(ctx, "meters.no_hold")), Hint: locale.T(ctx, "meters.no_hold_why")})
	case m.Guarded:
		facts = append(facts, components.Fact{ID: "guarded", Label: locale.T(ctx, "meters.guarded"), Value: components.Text(locale.T(ctx, "meters.guarded_why"))})
	case m.HeldBy != "":
		facts = append(facts, components.Fact{ID: "guarded", Label: locale.T(ctx, "meters.guarded"), Value: components.Badge(components.Watch, locale.T(ctx, "meters.hold_ordered")), Hint: locale.T(ctx, "meters.hold_ordered_why", string(m.HeldBy))})
	}
	return facts
}

func supplyWhy(ctx context.Context, m store.MeterRow) string {
	switch {
	case m.Supply == billing.SupplyUnknown:
		return locale.T(ctx, "meters.why_unknown")
	case m.Supply == billing.SupplyAllowed:
		return locale.T(ctx, "meters.why_allowed")
	case m.Supply != m.Wanted:
		return locale.T(ctx, "meters.why_differs")
	case m.Supply == billing.SupplyOff && causeKeys[m.CutCause] != "":
		return locale.T(ctx, causeKeys[m.CutCause])
	case m.Supply == billing.SupplyOff:
		return locale.T(ctx, "meters.why_off")
	default:
		return locale.T(ctx, "meters.why_on")
	}
}

func deviceFacts(ctx context.Context, k known) []components.Fact {
	m := k.row
	account := components.Muted("–")
	if m.Account != "" {
		account = components.Link(page.Home("account", string(m.Account)), string(m.Account)+" "+m.Customer)
	}
	unit := components.Fact{ID: "unit", Label: locale.T(ctx, "meters.unit"), Value: components.Count(m.Unit)}
	if m.Box != "" {
		unit.Value = components.Link(page.Home("gateway", string(m.Gateway))+"/boxes/"+m.Box, strconv.Itoa(m.Unit))
		unit.Hint = locale.T(ctx, "meters.in_box", m.Box, m.BoxCircuits, m.BoxBase, m.BoxBase+m.BoxCircuits-1)
	}
	return []components.Fact{
		{ID: "account", Label: locale.T(ctx, "meters.account"), Value: account},
		{ID: "serial", Label: locale.T(ctx, "meters.serial"), Value: components.Code(m.Serial)},
		{ID: "gateway", Label: locale.T(ctx, "meters.gateway"), Value: components.Link(page.Home("gateway", string(m.Gateway)), string(m.Gateway)+" · "+m.GatewayName), Hint: k.gateway.Address},
		unit,
		{ID: "profile", Label: locale.T(ctx, "meters.profile"), Value: components.Code(m.Profile)},
		{ID: "ratio", Label: locale.T(ctx, "meters.ratio"), Value: components.Count(m.Ratio), Hint: locale.T(ctx, "meters.digits", m.Digits)},
	}
}

// UsageOf is the chart of a meter's daily use, after its ratio.
func UsageOf(ctx context.Context, m store.Meter, days []store.DayUse) components.Usage {
	u := components.Usage{
		ID: "use-" + string(m.ID), Title: locale.T(ctx, "meters.use"), Unit: m.Service.Unit(), Scale: m.Service.Scale(),
		Empty: components.EmptyView{Title: locale.T(ctx, "meters.no_use"), Body: locale.T(ctx, "meters.no_use_body")},
	}
	for _, d := range days {
		bar := components.UsageBar{Day: d.Day.Start(locale.Zone(ctx)), Raw: d.Raw * int64(m.Ratio), Quality: string(d.Quality), Doubtful: d.Doubtful}
		if d.Quality == "" {
			bar.Quality = "missing"
		}
		u.Bars = append(u.Bars, bar)
	}
	return u
}

func fittingTable(ctx context.Context, m store.MeterRow, fittings []store.Fitting) components.Table {
	t := components.Table{ID: "fittings", Caption: locale.T(ctx, "meters.fittings"), Cols: []components.Col{
		{Label: locale.T(ctx, "meters.meter")}, {Label: locale.T(ctx, "meters.from")}, {Label: locale.T(ctx, "meters.to")},
		{Label: locale.T(ctx, "meters.ratio"), Align: components.Number, WideOnly: true},
		{Label: locale.T(ctx, "meters.opening"), Unit: m.Service.Unit(), Align: components.Number}, {Label: locale.T(ctx, "meters.closing"), Unit: m.Service.Unit(), Align: components.Number},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "meters.no_fitting"), Body: locale.T(ctx, "meters.no_fitting_body")}}
	for _, f := range fittings {
		to, closing := components.Badge(components.Good, locale.T(ctx, "meters.fitted_now")), components.Muted("–")
		if f.ToAt != nil {
			to = components.When(*f.ToAt)
		}
		if len(f.Closing) > 0 {
			closing = components.Quantity(f.Closing.Total(), m.Service.Scale(), "")
		}
		row := components.Row{ID: string(f.Meter), Cells: []templ.Component{
			components.Code(string(f.Meter)), components.When(f.FromAt), to, components.Count(f.Ratio), components.Quantity(f.Opening.Total(), m.Service.Scale(), ""), closing,
		}}
		if f.Meter != m.ID {
			row.Href = page.Home("meter", string(f.Meter))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// readOf is the form that asks the meter now.
func readOf(r *http.Request, m store.MeterRow) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "read")
	a := components.Action{
		ID: "read", Title: locale.T(ctx, "meters.read"), URL: page.Home("meter", string(m.ID)) + "/read", Submit: locale.T(ctx, "meters.read_now"), Key: "r", Error: f.Error(),
		Consequence: components.Text(locale.T(ctx, "meters.read_effect")),
	}
	if err := auth.Can(page.Actor(ctx), auth.StartCycle, m.Site); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	} else if m.State != "fitted" {
		a.Disabled = locale.T(ctx, "meters.read_removed")
	}
	return a
}

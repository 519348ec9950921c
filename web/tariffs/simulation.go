package tariffs

import (
	"context"
	"net/http"
	"strconv"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// simulationView is what the draft would have cost. used says that accounts pay by the tariff; current, that the result is of the
// revision on the page.
type simulationView struct {
	used, current bool
	notice        *components.NoticeView
	progress      *components.ProgressView
	facts         []components.Fact
	largest       components.Table
	spread        components.Table
	all           string // address of the list of all accounts; empty without a result
}

// largestShown is how many accounts with the largest changes stand on the page of a change.
const largestShown = 10

func (h handler) simulationOf(r *http.Request, c store.TariffChangeRow) (*simulationView, error) {
	ctx := r.Context()
	use, err := h.Store.TariffUse(ctx, c.Tariff)
	if err != nil {
		return nil, err
	}
	sim, err := h.Store.LatestSimulation(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	v := &simulationView{used: len(use) > 0}
	if sim == nil {
		return v, nil
	}
	v.current = sim.Revision == c.Revision && sim.State == "done"
	if sim.Revision != c.Revision {
		v.notice = &components.NoticeView{Tone: components.Watch, Title: locale.T(ctx, "tariffs.sim_stale", sim.Revision)}
	}
	switch sim.State {
	case "running":
		v.progress = &components.ProgressView{Label: locale.T(ctx, "tariffs.sim_running"), Done: sim.Done, Total: sim.Planned}
		return v, nil
	case "failed":
		v.notice = &components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "tariffs.sim_failed"), Body: locale.Sentence(ctx, sim.Error)}
		return v, nil
	}
	v.facts, v.all = simulationFacts(ctx, *sim), changeHref(c.ID)+"/simulation"
	rows, err := h.Store.LargestChanges(ctx, sim.ID, page.Actor(ctx).Sites, largestShown, 0)
	if err != nil {
		return nil, err
	}
	v.largest = accountTable(ctx, c.Service, rows)
	buckets, err := h.Store.Distribution(ctx, sim.ID)
	v.spread = spreadTable(ctx, buckets)
	return v, err
}

func simulationFacts(ctx context.Context, sim store.TariffSimulation) []components.Fact {
	last := sim.To.AddDays(-1)
	facts := []components.Fact{
		{ID: "sim-before", Label: locale.T(ctx, "tariffs.sim_before"), Value: components.Money(sim.BeforeFen)},
		{ID: "sim-after", Label: locale.T(ctx, "tariffs.sim_after"), Value: components.Money(sim.AfterFen)},
		{ID: "sim-difference", Label: locale.T(ctx, "tariffs.difference"), Value: components.MoneySigned(sim.AfterFen - sim.BeforeFen), Hint: percent(int64(sim.AfterFen-sim.BeforeFen), int64(sim.BeforeFen))},
		{ID: "sim-accounts", Label: locale.T(ctx, "tariffs.accounts"), Value: components.Count(sim.Done), Hint: string(sim.Tariff)},
		{ID: "sim-period", Label: locale.T(ctx, "tariffs.sim_period"), Value: components.Text(sim.From.String() + " – " + last.String())},
	}
	if sim.Skipped > 0 {
		facts = append(facts, components.Fact{ID: "sim-skipped", Label: locale.T(ctx, "tariffs.sim_skipped"), Value: components.Count(sim.Skipped), Hint: locale.T(ctx, "tariffs.sim_skipped_hint")})
	}
	return facts
}

// percent is part/whole with one decimal and its sign, cut; empty when there is nothing to compare with.
func percent(part, whole int64) string {
	if whole == 0 {
		return ""
	}
	for part > 1<<52 || part < -1<<52 {
		part, whole = part/2, whole/2
	}
	text := locale.Quantity(part*1000/max(whole, 1), 1) + " %"
	if part > 0 {
		return "+" + text
	}
	return text
}

func accountTable(ctx context.Context, s billing.Service, rows []store.SimulatedAccount) components.Table {
	yuan := locale.T(ctx, "unit.yuan")
	t := components.Table{ID: "accounts", Caption: locale.T(ctx, "tariffs.largest"), Cols: []components.Col{
		{Label: locale.T(ctx, "tariffs.account")}, {Label: locale.T(ctx, "tariffs.use"), Unit: s.Unit(), Align: components.Number},
		{Label: locale.T(ctx, "tariffs.sim_before"), Unit: yuan, Align: components.Number}, {Label: locale.T(ctx, "tariffs.sim_after"), Unit: yuan, Align: components.Number},
		{Label: locale.T(ctx, "tariffs.difference"), Unit: yuan, Align: components.Number}, {Label: "%", Align: components.Number},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "tariffs.sim_none"), Body: locale.T(ctx, "tariffs.sim_none_body")}}
	for _, a := range rows {
		t.Rows = append(t.Rows, components.Row{ID: string(a.Account), Href: page.Home("account", string(a.Account)), Cells: []templ.Component{
			components.Lines(components.Text(string(a.Account)), page.SiteName(ctx, a.Site)), components.Quantity(a.Quantity, s.Scale(), ""), components.Money(a.BeforeFen), components.Money(a.AfterFen),
			components.MoneySigned(a.AfterFen - a.BeforeFen), number(percent(int64(a.AfterFen-a.BeforeFen), int64(a.BeforeFen))),
		}})
	}
	return t
}

func spreadTable(ctx context.Context, buckets []store.ChangeBucket) components.Table {
	t := components.Table{ID: "spread", Caption: locale.T(ctx, "tariffs.spread"), Cols: []components.Col{
		{Label: locale.T(ctx, "tariffs.difference"), Unit: "%"}, {Label: locale.T(ctx, "tariffs.accounts"), Align: components.Number},
		{Label: locale.T(ctx, "tariffs.difference"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
	}}
	for i, b := range buckets {
		if b.Accounts == 0 {
			continue
		}
		t.Rows = append(t.Rows, components.Row{ID: strconv.Itoa(i), Cells: []templ.Component{components.Text(bucketText(b)), components.Count(b.Accounts), components.MoneySigned(b.Fen)}})
	}
	return t
}

func bucketText(b store.ChangeBucket) string {
	edge := func(n int) string {
		if n > 0 {
			return "+" + strconv.Itoa(n)
		}
		return locale.Count(n)
	}
	switch {
	case b.From == nil:
		return "< " + edge(*b.To)
	case b.To == nil:
		return "≥ " + edge(*b.From)
	default:
		return edge(*b.From) + " … " + edge(*b.To)
	}
}

// simulation lists all accounts of the newest result, the largest changes first.
func (h handler) simulation(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	c, err := h.changeOf(r)
	if err != nil {
		return err
	}
	sim, err := h.Store.LatestSimulation(ctx, c.ID)
	if err != nil {
		return err
	}
	if sim == nil {
		return billing.Errorf(billing.CodeNotFound, "this change was not simulated yet: simulate it on its page")
	}
	l := page.ListOf(r)
	rows, err := h.Store.LargestChanges(ctx, sim.ID, page.Actor(ctx).Sites, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	v := accountsView{head: components.Head{Title: locale.T(ctx, "tariffs.sim_all"), Subtitle: string(c.ID), BackHref: changeHref(c.ID), BackLabel: string(c.ID)},
		facts: simulationFacts(ctx, *sim), table: accountTable(ctx, c.Service, rows), pager: l.Pager(len(rows), sim.Done)}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "tariffs.sim_all"), Nav: path, Body: simulatedAccounts(v)})
}

type accountsView struct {
	head  components.Head
	facts []components.Fact
	table components.Table
	pager components.PagerView
}

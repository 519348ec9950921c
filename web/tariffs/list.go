package tariffs

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

// listView is all tariffs, with what is on its way.
type listView struct {
	tabs     []components.Tab
	table    components.Table
	open     components.Table
	mayDraft bool
}

// changesView is all changes.
type changesView struct {
	tabs   []components.Tab
	filter components.Filter
	table  components.Table
	pager  components.PagerView
}

func tariffTable(ctx context.Context, rows []store.TariffRow) components.Table {
	t := components.Table{ID: "tariffs", Caption: locale.T(ctx, "tariffs.title"), Cols: []components.Col{
		{Label: locale.T(ctx, "tariffs.tariff")}, {Label: locale.T(ctx, "tariffs.service")}, {Label: locale.T(ctx, "tariffs.accounts"), Align: components.Number},
		{Label: locale.T(ctx, "tariffs.since")}, {Label: locale.T(ctx, "tariffs.next")}, {Label: locale.T(ctx, "tariffs.on_its_way")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "tariffs.none"), Body: locale.T(ctx, "tariffs.none_body"), LinkHref: path + "/import", LinkLabel: locale.T(ctx, "tariffs.import")}}
	for _, row := range rows {
		way := components.Muted("–")
		if row.Change != nil && row.State != nil {
			way = changeLink(ctx, *row.Change, *row.State)
		}
		t.Rows = append(t.Rows, components.Row{ID: string(row.ID), Href: tariffHref(row.ID), Cells: []templ.Component{
			components.Lines(components.Text(nameOf(ctx, billing.Names{ZH: row.NameZH, EN: row.NameEN})), string(row.ID)),
			components.Text(locale.State(ctx, locale.Service, row.Service)), components.Count(row.Accounts), dayOrDash(row.Since), dayOrDash(row.Next), way,
		}})
	}
	return t
}

func changeLink(ctx context.Context, id billing.TariffChangeID, state billing.TariffState) templ.Component {
	return linked(changeHref(id), string(id), components.StateBadge(locale.TariffChange, state))
}

func dayOrDash(d billing.Date) templ.Component {
	if d.IsZero() {
		return components.Muted("–")
	}
	return oneLine(d.String())
}

func changeTable(ctx context.Context, rows []store.TariffChangeRow) components.Table {
	t := components.Table{ID: "changes", Caption: locale.T(ctx, "tariffs.changes"), Cols: []components.Col{
		{Label: locale.T(ctx, "tariffs.change")}, {Label: locale.T(ctx, "tariffs.tariff")}, {Label: locale.T(ctx, "tariffs.from")}, {Label: locale.T(ctx, "tariffs.state")},
		{Label: locale.T(ctx, "tariffs.made_by")}, {Label: locale.T(ctx, "tariffs.approved_by")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "tariffs.no_changes"), Body: locale.T(ctx, "tariffs.no_changes_body")}}
	for _, c := range rows {
		approvers := c.Approved1Name
		if c.Approved2Name != "" {
			approvers += ", " + c.Approved2Name
		}
		if approvers == "" {
			approvers = "–"
		}
		t.Rows = append(t.Rows, components.Row{ID: string(c.ID), Href: changeHref(c.ID), Cells: []templ.Component{
			components.Text(string(c.ID)), components.Lines(components.Text(nameOf(ctx, billing.Names{ZH: c.NameZH, EN: c.NameEN})), string(c.Tariff)),
			oneLine(c.From.String()), components.StateBadge(locale.TariffChange, c.State), components.Text(c.MadeName), components.Text(approvers),
		}})
	}
	return t
}

// tariffView is the page of one tariff.
type tariffView struct {
	head     components.Head
	facts    []components.Fact
	versions []versionView
	changes  components.Table
	timeline components.TimelineView
}

// versionView is one published version: the one in force is open, the others are folded.
type versionView struct {
	id, title, note string
	open            bool
	tables          []priceTable
	calendar        components.Table
}

func tariffOf(r *http.Request, t billing.Tariff, versions []store.PublishedVersion, use map[billing.SiteID]int, changes []store.TariffChangeRow) tariffView {
	ctx := r.Context()
	v := tariffView{
		head: components.Head{
			Title: nameOf(ctx, t.Name), Subtitle: string(t.ID) + " · " + locale.State(ctx, locale.Service, t.Service), BackHref: path, BackLabel: locale.T(ctx, "tariffs.title"),
			Actions: tariffLinks(t.ID, auth.Can(page.Actor(ctx), auth.EditTariff, "") == nil),
		},
		facts: useFacts(ctx, use), changes: changeTable(ctx, changes),
	}
	inForce, _, err := t.VersionAt(today(ctx))
	for _, p := range versions {
		view := versionView{id: "v-" + p.From.String(), title: locale.T(ctx, "tariffs.version", p.From.String()), note: publisher(ctx, p), tables: priceTables(ctx, t.Service, p.Version)}
		view.calendar = calendarTable(ctx, p.Version.Calendar)
		switch {
		case err == nil && p.From == inForce.From:
			view.open, view.title = true, view.title+" · "+locale.T(ctx, "tariffs.in_force")
		case p.From.After(today(ctx)):
			view.open, view.title = true, view.title+" · "+locale.T(ctx, "tariffs.ahead")
		}
		v.versions = append(v.versions, view)
	}
	return v
}

func useFacts(ctx context.Context, use map[billing.SiteID]int) []components.Fact {
	var facts []components.Fact
	for _, s := range page.OwnSites(ctx) {
		if n := use[s.ID]; n > 0 {
			facts = append(facts, components.Fact{ID: "use-" + string(s.ID), Label: page.SiteName(ctx, s.ID), Value: components.Count(n), Hint: locale.T(ctx, "tariffs.accounts")})
		}
	}
	if len(facts) == 0 {
		facts = append(facts, components.Fact{ID: "use", Label: locale.T(ctx, "tariffs.accounts"), Value: components.Count(0)})
	}
	return facts
}

// publisher says who made and approved a version.
func publisher(ctx context.Context, p store.PublishedVersion) string {
	if p.Change == nil {
		return locale.T(ctx, "tariffs.taken_over")
	}
	return locale.T(ctx, "tariffs.by", string(*p.Change), p.Maker, p.Approver1, p.Approver2)
}

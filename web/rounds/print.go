package rounds

import (
	"net/http"

	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// printView is the list on paper: what is walked to, with room for what is read.
type printView struct {
	id, issuer string
	facts      []components.Fact
	items      []store.RoundItem
}

func (h handler) print(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rd, err := h.one(r)
	if err != nil {
		return err
	}
	items, err := h.Store.RoundItems(ctx, rd.ID)
	if err != nil {
		return err
	}
	v := printView{id: string(rd.ID), issuer: page.SiteName(ctx, rd.Site), items: items, facts: []components.Fact{
		{ID: "p-route", Label: locale.T(ctx, "rounds.route"), Value: components.Text(rd.RouteName)},
		{ID: "p-due", Label: locale.T(ctx, "rounds.due"), Value: components.Day(rd.DueOn.Start(page.SiteZone(ctx, rd.Site)))},
		{ID: "p-reader", Label: locale.T(ctx, "rounds.reader"), Value: components.Text(rd.ReaderName)},
	}}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "rounds.print_title"), Nav: path, Body: paper(v)})
}

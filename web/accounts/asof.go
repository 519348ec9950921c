package accounts

import (
	"net/http"

	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/ledger"
	"github.com/meterflow/meterflow/web/page"
)

// asOfView is what the account held on a day, as it was known on a day, and the way to its books.
type asOfView struct {
	facts []components.Fact
	form  ledger.AsOfView
	books string
}

func (h handler) readAsOf(r *http.Request, a store.AccountRow) (asOfView, error) {
	ctx := r.Context()
	t, known, named := ledger.AsOf(r, page.SiteZone(ctx, a.Site))
	signed, err := h.Store.BalanceAsOf(ctx, store.CustomerCode(a.ID), t)
	if err != nil {
		return asOfView{}, err
	}
	clear := ""
	if named {
		clear = href(a.ID) + "#as-of"
	}
	return asOfView{
		facts: []components.Fact{{ID: "as-of", Label: ledger.Point(ctx, t, known), Value: components.Money(-signed)}},
		form:  ledger.AsOfFor(ctx, href(a.ID)+"#as-of", clear, t, known), books: ledger.CustomerHref(a.ID),
	}, nil
}

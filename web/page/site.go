package page

import (
	"net/http"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// ToFirstSite leads to the page below base of the chosen site, or of the person's first.
func ToFirstSite(base string) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		sites := Sites(r.Context())
		if len(sites) == 0 {
			return billing.Errorf(billing.CodeForbidden, "You work for no site; ask an administrator to add one to you.")
		}
		http.Redirect(w, r, base+"/"+string(sites[0]), http.StatusSeeOther)
		return nil
	}
}

// SiteOf reads the site that the address names, if it is one of the person's.
func (d Deps) SiteOf(r *http.Request) (store.Site, error) {
	id := billing.SiteID(Param(r, "site"))
	if err := See(r.Context(), id); err != nil {
		return store.Site{}, err
	}
	return d.Store.Site(r.Context(), id)
}

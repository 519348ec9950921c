package web

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/web/accounts"
	"github.com/meterflow/meterflow/web/adjustments"
	"github.com/meterflow/meterflow/web/admin"
	"github.com/meterflow/meterflow/web/areas"
	"github.com/meterflow/meterflow/web/batches"
	"github.com/meterflow/meterflow/web/corrections"
	"github.com/meterflow/meterflow/web/cutoffs"
	"github.com/meterflow/meterflow/web/cycles"
	"github.com/meterflow/meterflow/web/exceptions"
	"github.com/meterflow/meterflow/web/gateways"
	"github.com/meterflow/meterflow/web/latefees"
	"github.com/meterflow/meterflow/web/ledger"
	"github.com/meterflow/meterflow/web/limits"
	"github.com/meterflow/meterflow/web/messages"
	"github.com/meterflow/meterflow/web/meters"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/web/plans"
	"github.com/meterflow/meterflow/web/recharges"
	"github.com/meterflow/meterflow/web/reports"
	"github.com/meterflow/meterflow/web/rounds"
	"github.com/meterflow/meterflow/web/rules"
	"github.com/meterflow/meterflow/web/runs"
	"github.com/meterflow/meterflow/web/signin"
	"github.com/meterflow/meterflow/web/tariffs"
	"github.com/meterflow/meterflow/web/today"
	"github.com/meterflow/meterflow/web/trace"
)

// open is what people see who haven't signed in.
func open(r chi.Router, d page.Deps) {
	signin.Routes(r, d)
}

// signedIn are the pages of staff, one line per folder.
func signedIn(r chi.Router, d page.Deps) {
	r.Get(page.SitePath, d.Handle(func(w http.ResponseWriter, r *http.Request) error { return switchSite(w, r, d) }))
	r.Post(page.ClockPath, d.Act("clock", d.SteerClock, lastRefusal))
	r.Post(page.ColleaguesPath, d.Act("colleagues", d.SwitchColleagues, lastRefusal))
	r.Group(func(r chi.Router) {
		r.Use(allow(d, auth.SeeRounds))
		rounds.Routes(r, d)
	})
	r.Group(func(r chi.Router) {
		r.Use(readersToRounds, allow(d, auth.View))
		r.Get(page.EventsPath, newEvents(d.Store, d.Log).ServeHTTP)
		today.Routes(r, d)
		cycles.Routes(r, d)
		exceptions.Routes(r, d)
		rules.Routes(r, d)
		runs.Routes(r, d)
		limits.Routes(r, d)
		latefees.Routes(r, d)
		reports.Routes(r, d)
		corrections.Routes(r, d)
		adjustments.Routes(r, d)
		plans.Routes(r, d)
		meters.Routes(r, d)
		batches.Routes(r, d)
		areas.Routes(r, d)
		gateways.Routes(r, d)
		recharges.Routes(r, d)
		accounts.Routes(r, d)
		admin.Routes(r, d)
		tariffs.Routes(r, d)
		cutoffs.Routes(r, d)
		messages.Routes(r, d)
		trace.Routes(r, d)
		ledger.Routes(r, d)
	})
}

// readersToRounds leads a reader who has just signed in to the pages that are theirs.
func readersToRounds(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" && auth.FromContext(r.Context()).Role == billing.RoleReader {
			http.Redirect(w, r, "/rounds", http.StatusSeeOther)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// switchSite keeps the site to look at and goes back.
func switchSite(w http.ResponseWriter, r *http.Request, d page.Deps) error {
	if err := d.Sessions.ChooseSite(r.Context(), billing.SiteID(r.FormValue("to"))); err != nil {
		return err
	}
	http.Redirect(w, r, page.Local(r.FormValue("back")), http.StatusSeeOther)
	return nil
}

// lastRefusal shows the refusal of a form that stands in the frame, which has no page of its own to show it on.
func lastRefusal(_ http.ResponseWriter, r *http.Request) error { return page.Refused(r.Context()) }

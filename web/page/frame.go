package page

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
)

type frameKey struct{}

// frame is what is known about a request before its page is built.
type frame struct {
	path   string
	sites  []store.Site // the person's own
	chosen billing.SiteID
	clock  store.Clock
}

// Frame is the middleware of all pages for people who are signed in: it sends others to the sign-in page, and gives the page
// its sites, its clock and its zone.
func (d Deps) Frame(next http.Handler) http.Handler {
	return d.Handle(func(w http.ResponseWriter, r *http.Request) error {
		ctx := r.Context()
		actor := auth.FromContext(ctx)
		if !actor.SignedIn() {
			http.Redirect(w, r, signInHref(r), http.StatusSeeOther)
			return nil
		}
		all, err := d.Store.Sites(ctx)
		if err != nil {
			return err
		}
		clock, err := d.Store.Clock(ctx)
		if err != nil {
			return err
		}
		f := frame{path: pathOf(r), chosen: d.Sessions.Site(ctx), clock: clock}
		f.sites = slices.DeleteFunc(all, func(s store.Site) bool { return !actor.HasSite(s.ID) })
		ctx = locale.WithZone(context.WithValue(ctx, frameKey{}, f), f.zone())
		next.ServeHTTP(w, r.WithContext(ctx))
		return nil
	})
}

// pathOf is the address to come back to: a refused form is come back to by its page, not by its action.
func pathOf(r *http.Request) string {
	if r.Method == http.MethodGet {
		return r.URL.RequestURI()
	}
	if from, err := url.Parse(r.Referer()); err == nil && from.Host == r.Host && from.Path != "" {
		return from.RequestURI()
	}
	return "/"
}

func signInHref(r *http.Request) string {
	if r.Method != http.MethodGet || r.URL.Path == "/" {
		return SignInPath
	}
	return SignInPath + "?" + url.Values{"back": {r.URL.RequestURI()}}.Encode()
}

// SignInPath is where people who aren't signed in are sent.
const SignInPath = "/sign-in"

// zone is that of the chosen site, or of the first: an installation's sites mostly share one.
func (f frame) zone() *time.Location {
	for _, s := range f.sites {
		if s.ID == f.chosen || f.chosen == "" {
			return s.Zone
		}
	}
	return nil
}

func frameOf(ctx context.Context) frame {
	f, _ := ctx.Value(frameKey{}).(frame)
	return f
}

// Actor is who is signed in.
func Actor(ctx context.Context) auth.Actor { return auth.FromContext(ctx) }

// Sites are those that lists cover: the chosen one, or all of the person's.
func Sites(ctx context.Context) []billing.SiteID {
	f := frameOf(ctx)
	if f.chosen != "" {
		return []billing.SiteID{f.chosen}
	}
	ids := make([]billing.SiteID, 0, len(f.sites))
	for _, s := range f.sites {
		ids = append(ids, s.ID)
	}
	return ids
}

// OwnSites are all sites of the person, whatever is chosen, for choices in forms.
func OwnSites(ctx context.Context) []store.Site { return frameOf(ctx).sites }

// SiteName is the name of a site in the language of ctx; its id when it isn't one of the person's.
func SiteName(ctx context.Context, id billing.SiteID) string {
	for _, s := range frameOf(ctx).sites {
		if s.ID == id {
			return nameOf(ctx, s)
		}
	}
	return string(id)
}

func nameOf(ctx context.Context, s store.Site) string {
	if locale.Lang(ctx) == locale.EN {
		return s.NameEN
	}
	return s.NameZH
}

// SiteZone is the zone of one of the person's sites; that of the page for any other.
func SiteZone(ctx context.Context, id billing.SiteID) *time.Location {
	for _, s := range frameOf(ctx).sites {
		if s.ID == id {
			return s.Zone
		}
	}
	return locale.Zone(ctx)
}

// See refuses the page of a thing of a site that isn't the person's, in the words for one that doesn't exist.
func See(ctx context.Context, site billing.SiteID) error {
	actor := Actor(ctx)
	if err := auth.Can(actor, auth.View, ""); err != nil {
		return err
	}
	if !actor.HasSite(site) {
		return billing.Errorf(billing.CodeNotFound, "there is no such record")
	}
	return nil
}

// Now is the business instant at which the request began.
func Now(ctx context.Context) time.Time { return frameOf(ctx).clock.Now }

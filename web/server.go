// Package web is the HTTP server of a utility's people: sign-in, the pages below it, live events, health and metrics, and the
// place of the JSON API among them. It owns what holds for every request: sessions, language, refusal of requests from other sites, security headers,
// the log line, the page of a crash. It refuses to know any business rule; pages ask the store and tell the workflows.
package web

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/session"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/web/static"
	"github.com/meterflow/meterflow/workflows"
)

// Config is what the server needs.
type Config struct {
	Store     *store.Store
	Workflows *workflows.Client
	Log       *slog.Logger
	// Demo shows the clock's controls, the storybook and who may sign in.
	Demo bool
	// Sessions are shared with the API, so that who signed in on a page is signed in there.
	Sessions *session.Manager
	// MayDial refuses a gateway's address outside the networks that gateways may be in; nil allows any.
	MayDial func(hostPort string) error
	// API serves APIPrefix; nil leaves it away. It knows its sessions and refusals itself.
	API http.Handler
	// Metrics gets the server's own and is what /metrics shows; nil makes a new registry.
	Metrics *prometheus.Registry
	// Now is real time: for the length of a request and for counting wrong passwords.
	Now func() time.Time
}

// APIPrefix is where the JSON API is served.
const APIPrefix = "/api/v1"

// NewServer is the handler of everything that is served. Streams of live pages end with the request's context: give
// http.Server a BaseContext that ends when the program does.
func NewServer(c Config) http.Handler {
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	d := page.Deps{Store: c.Store, Workflows: c.Workflows, Sessions: c.Sessions, Log: c.Log, Demo: c.Demo, MayDial: c.MayDial}

	r := chi.NewRouter()
	r.Use(observe(c), crashPage(c.Log), securityHeaders)
	health(r, c)
	r.Handle(static.Prefix+"*", static.Handler())
	if c.API != nil {
		r.Mount(APIPrefix, c.API)
	}
	r.Group(func(r chi.Router) {
		r.Use(locale.Middleware, sameOrigin(d), c.Sessions.Load(d.Fail), private)
		r.Get("/lang", locale.Switch)
		open(r, d)
		r.Group(func(r chi.Router) {
			r.Use(d.Frame)
			signedIn(r, d)
		})
		r.NotFound(d.Frame(d.Handle(notFound)).ServeHTTP)
	})
	return r
}

func notFound(http.ResponseWriter, *http.Request) error {
	return billing.Errorf(billing.CodeNotFound, "there is no page at this address: check it, or start from Today")
}

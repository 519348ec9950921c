// Package web is the HTTP server of a utility's people: sign-in, the pages below it, the JSON API, live events, health and
// metrics. It owns what holds for every request: sessions, language, refusal of requests from other sites, security headers,
// the log line, the page of a crash. It refuses to know any business rule; pages ask the store and tell the workflows.
package web

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/web/session"
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
	// Secure says that people reach the server over HTTPS: the session cookie is then sent over nothing else.
	Secure bool
	// ReceiptSecret is what the message provider sends with its delivery receipts; empty refuses all of them.
	ReceiptSecret string
	// Metrics gets the server's own and is what /metrics shows; nil makes a new registry.
	Metrics *prometheus.Registry
	// Now is real time: for the length of a request and for counting wrong passwords.
	Now func() time.Time
}

// NewServer is the handler of everything that is served. Streams of live pages end with the request's context: give
// http.Server a BaseContext that ends when the program does.
func NewServer(c Config) http.Handler {
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	sessions := session.New(session.Config{Store: c.Store, Log: c.Log, Secure: c.Secure, Now: c.Now})
	d := page.Deps{Store: c.Store, Workflows: c.Workflows, Sessions: sessions, Log: c.Log, Demo: c.Demo}

	r := chi.NewRouter()
	r.Use(observe(c), crashPage(c.Log), securityHeaders, sameOrigin(d))
	health(r, c)
	r.Handle(static.Prefix+"*", static.Handler())
	r.Group(func(r chi.Router) {
		r.Use(locale.Middleware, sessions.Load(d.Fail), private)
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

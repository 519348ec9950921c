package web

import (
	"context"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/meterflow/meterflow/internal/billing"
)

// readyWithin bounds the questions of /readyz.
const readyWithin = 3 * time.Second

// health serves what machines ask: /healthz says that the process answers, /readyz that the database and the engine do too,
// /metrics counts. None of them holds data of a person.
func health(r chi.Router, c Config) {
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	r.Get("/readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
		defer cancel()
		if err := ready(ctx, c); err != nil {
			http.Error(w, billing.MessageOf(err), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ready\n"))
	})
	r.Handle("/metrics", promhttp.HandlerFor(c.Metrics, promhttp.HandlerOpts{}))
}

func ready(ctx context.Context, c Config) error {
	if err := c.Store.Pool.Ping(ctx); err != nil {
		return billing.Errorf(billing.CodeUnavailable, "the database doesn't answer")
	}
	if c.Workflows == nil || c.Workflows.T == nil {
		return billing.Errorf(billing.CodeUnavailable, "no workflow engine is connected")
	}
	if _, err := c.Workflows.T.CheckHealth(ctx, nil); err != nil {
		return billing.Errorf(billing.CodeUnavailable, "the workflow engine doesn't answer")
	}
	return nil
}

package web

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/web/page"
)

// recorder notes the status of an answer and whether any of it was sent.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection, for streams.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// observe logs each request and measures it by route, never by path: paths hold numbers without end.
func observe(c Config) func(http.Handler) http.Handler {
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "meterflow_http_request_seconds", Help: "How long requests took, by route.",
		Buckets: []float64{.005, .01, .025, .05, .1, .2, .5, 1, 5},
	}, []string{"method", "route", "status"})
	c.Metrics.MustRegister(took)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			begin := c.Now()
			rec := &recorder{ResponseWriter: w}
			next.ServeHTTP(rec, r)
			route, status := chi.RouteContext(r.Context()).RoutePattern(), rec.status
			if route == "" {
				route = "none"
			}
			if status == 0 {
				status = http.StatusOK
			}
			d := c.Now().Sub(begin)
			if route != page.EventsPath {
				took.WithLabelValues(r.Method, route, strconv.Itoa(status)).Observe(d.Seconds())
			}
			c.Log.LogAttrs(r.Context(), slog.LevelDebug, "request", slog.String("method", r.Method), slog.String("path", r.URL.Path),
				slog.Int("status", status), slog.Duration("took", d.Round(time.Microsecond)))
		})
	}
}

// crashPage turns a panic into a plain page that says nothing about it; the log says all.
func crashPage(log *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				crash := recover()
				if crash == nil {
					return
				}
				if crash == http.ErrAbortHandler { //nolint:errorlint // the documented sentinel, compared as net/http does
					panic(crash)
				}
				log.ErrorContext(r.Context(), "crash while serving", "method", r.Method, "path", r.URL.Path,
					"crash", fmt.Sprint(crash), "stack", string(debug.Stack()))
				if rec, ok := w.(*recorder); ok && rec.status != 0 {
					return // the answer is on its way; it ends short
				}
				http.Error(w, "Something went wrong on our side. Try again, and tell the administrator if it stays.\n"+
					"系统出了问题：请重试，仍不行请告知管理员。", http.StatusInternalServerError)
			}()
			next.ServeHTTP(w, r)
		})
	}
}

// securityHeaders let pages load nothing but what we serve, and no other page frame them.
func securityHeaders(next http.Handler) http.Handler {
	const policy = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; object-src 'none'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// private keeps pages out of shared and disk caches: they hold names, phones and balances.
func private(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// sameOrigin refuses actions that another site's page started in the person's browser. The API does so itself.
func sameOrigin(d page.Deps) func(http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(d.Handle(func(http.ResponseWriter, *http.Request) error {
		return billing.Errorf(billing.CodeForbidden, "this action came from another site and was not taken: open the page here and do it again")
	}))
	return guard.Handler
}

// allow refuses a page to roles that may not do the action anywhere.
func allow(d page.Deps, action auth.Action) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return d.Handle(func(w http.ResponseWriter, r *http.Request) error {
			if err := auth.Can(auth.FromContext(r.Context()), action, ""); err != nil {
				return err
			}
			next.ServeHTTP(w, r)
			return nil
		})
	}
}

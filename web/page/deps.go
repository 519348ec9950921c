package page

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/session"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Deps is what pages work with. Reads go to the store, decisions to the workflows.
type Deps struct {
	Store     *store.Store
	Workflows *workflows.Client
	Sessions  *session.Manager
	Log       *slog.Logger
	// Demo shows the controls of the business clock and the simulated colleagues.
	Demo bool
	// MayDial refuses a gateway's address outside the networks that gateways may be in; nil allows any.
	MayDial func(hostPort string) error
}

// Handler serves one page. An error becomes the page of its code, with its sentence.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Handle serves a GET.
func (d Deps) Handle(h Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			d.Fail(w, r, err)
		}
	}
}

// Done says where to go after an action, and the sentence to show there, already in the person's language.
type Done struct {
	To   string
	Said string
}

// maxForm bounds a posted form, in bytes: nothing that people type is longer.
const maxForm = 256 << 10

// Act serves the form of the named action: do tells a workflow and says where to go. What it refuses is shown beside the form,
// with what was typed, on the page that show draws.
func (d Deps) Act(action string, do func(r *http.Request) (Done, error), show Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		done, err := Done{}, parse(r)
		if err == nil {
			done, err = do(r)
		}
		if err == nil {
			if done.Said != "" {
				d.Sessions.Say(r.Context(), "good", done.Said)
			}
			http.Redirect(w, r, done.To, http.StatusSeeOther)
			return
		}
		d.logRefusal(r, err)
		r = r.WithContext(context.WithValue(r.Context(), refusedKey{}, refused{action: action, typed: r.PostForm, err: err}))
		if err := show(w, r); err != nil {
			d.Fail(w, r, err)
		}
	}
}

// Param is a part of the path; ids with slashes (cycles, runs) come through a wildcard "*".
func Param(r *http.Request, name string) string { return chi.URLParam(r, name) }

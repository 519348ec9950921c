// Package signin is the page on which people sign in, and the way out. It owns the form; package session checks the password.
package signin

import (
	"context"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/layout"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// Routes serves signing in and out.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(page.SignInPath, d.Handle(h.show))
	r.Post(page.SignInPath, d.Act("sign-in", h.signIn, h.show))
	r.Post(layout.SignOutPath, d.Act("sign-out", h.signOut, h.show))
}

type handler struct{ page.Deps }

// view is the form, and in a demo who may sign in.
type view struct {
	action components.Action
	demo   []store.User
}

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if page.Actor(ctx).SignedIn() && r.Method == http.MethodGet {
		http.Redirect(w, r, page.Local(r.FormValue("back")), http.StatusSeeOther)
		return nil
	}
	f := page.FormOf(r, "sign-in")
	v := view{action: components.Action{
		ID: "sign-in", Title: locale.T(ctx, "signin.title"), URL: page.SignInPath, Submit: locale.T(ctx, "signin.submit"), Error: f.Error(),
		Hidden: []components.Hidden{{Name: "back", Value: page.Local(r.FormValue("back"))}},
		Fields: []components.Field{
			{Kind: components.TextField, Name: "user", Label: locale.T(ctx, "signin.user"), Value: f.Value("user", ""), Error: f.Problem("user"),
				Required: true, Focus: f.Value("user", "") == "", Autocomplete: "username", MaxLength: maxName},
			{Kind: components.PasswordField, Name: "password", Label: locale.T(ctx, "signin.password"), Error: f.Problem("password"),
				Required: true, Focus: f.Value("user", "") != "", Autocomplete: "current-password"},
		},
	}}
	if h.Demo {
		var err error
		if v.demo, err = h.demoUsers(ctx); err != nil {
			return err
		}
	}
	return h.RenderPlain(w, r, page.View{Title: locale.T(ctx, "signin.title"), Narrow: true, Body: show(v)})
}

// maxName is the longest user name that is looked up, in bytes.
const maxName = 64

func (h handler) signIn(r *http.Request) (page.Done, error) {
	in := page.Read(r)
	user := in.Required("user")
	if len(user) > maxName {
		in.Refuse("user", billing.Errorf(billing.CodeInvalidInput, "this is no user name: check it"))
	}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	// The password is taken as typed: a space may be part of it.
	if _, err := h.Sessions.SignIn(r.Context(), billing.UserID(user), r.PostForm.Get("password"), r.RemoteAddr); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: page.Local(in.Text("back"))}, nil
}

func (h handler) signOut(r *http.Request) (page.Done, error) {
	return page.Done{To: page.SignInPath}, h.Sessions.SignOut(r.Context())
}

func (h handler) demoUsers(ctx context.Context) ([]store.User, error) {
	all, err := h.Store.Users(ctx)
	if err != nil {
		return nil, err
	}
	active := all[:0]
	for _, u := range all {
		if u.Active && u.Role != billing.RoleCustomer {
			active = append(active, u)
		}
	}
	return active, nil
}

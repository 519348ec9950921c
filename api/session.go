package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
)

// Person is who is signed in.
type Person struct {
	User  billing.UserID   `json:"user"`
	Name  string           `json:"name"`
	Role  billing.Role     `json:"role"`
	Sites []billing.SiteID `json:"sites"`
}

func personOf(a auth.Actor) Person {
	return Person{User: a.UserID, Name: a.Name, Role: a.Role, Sites: orNone(a.Sites)}
}

// body wraps what an operation answers.
type body[T any] struct{ Body T }

// none is the input of an operation that takes nothing.
type none struct{}

type signInInput struct {
	Body struct {
		User     string `json:"user" maxLength:"64"`
		Password string `json:"password" maxLength:"512"`
	}
	remote string
}

// Resolve takes the client's address from the request, for counting wrong passwords.
func (in *signInInput) Resolve(ctx huma.Context) []error {
	in.remote = ctx.RemoteAddr()
	return nil
}

func (s *server) sessionOperations() {
	add(s, operation{method: http.MethodPost, path: "/session", id: "sign-in", tag: "session", guard: openToAll,
		summary: "Sign in; the answer sets the session cookie."}, s.signIn)
	add(s, operation{method: http.MethodGet, path: "/session", id: "who-am-i", tag: "session", summary: "Who is signed in."}, s.whoAmI)
	add(s, operation{method: http.MethodDelete, path: "/session", id: "sign-out", tag: "session", done: http.StatusNoContent,
		summary: "Sign out."}, s.signOut)
}

func (s *server) signIn(ctx context.Context, in *signInInput) (*body[Person], error) {
	a, err := s.Sessions.SignIn(ctx, billing.UserID(strings.TrimSpace(in.Body.User)), in.Body.Password, in.remote)
	if err != nil {
		return nil, err
	}
	return &body[Person]{personOf(a)}, nil
}

func (s *server) whoAmI(ctx context.Context, _ *none) (*body[Person], error) {
	return &body[Person]{personOf(auth.FromContext(ctx))}, nil
}

func (s *server) signOut(ctx context.Context, _ *none) (*struct{}, error) {
	return nil, s.Sessions.SignOut(ctx)
}

// orNone makes an empty list of a nil one, so that JSON says [] and never null.
func orNone[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

package auth

import (
	"context"
	"slices"

	"github.com/meterflow/meterflow/internal/billing"
)

// Actor is the person behind a request. The zero Actor is nobody, and may do nothing.
type Actor struct {
	UserID billing.UserID
	Name   string
	Role   billing.Role
	// Sites are those whose data the person may see and act on.
	Sites []billing.SiteID
	// Customer is whose accounts a person with RoleCustomer sees; empty for staff.
	Customer billing.CustomerID
}

// SignedIn says whether the Actor is somebody.
func (a Actor) SignedIn() bool { return a.UserID != "" }

// HasSite says whether the person works for the site.
func (a Actor) HasSite(site billing.SiteID) bool { return slices.Contains(a.Sites, site) }

type ctxKey struct{}

// WithActor returns a context that carries the person.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, ctxKey{}, a)
}

// FromContext is the person of the context, and the zero Actor when nobody is signed in. Can refuses the zero Actor, so a
// forgotten check fails closed.
func FromContext(ctx context.Context) Actor {
	a, _ := ctx.Value(ctxKey{}).(Actor)
	return a
}

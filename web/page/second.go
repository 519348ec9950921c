package page

import (
	"context"
	"net/http"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
)

// SecondFields are a form's fields for a second person who agrees at the signed-in person's screen; hint says who may.
func SecondFields(ctx context.Context, f Form, hint string) []components.Field {
	return []components.Field{
		{Kind: components.TextField, Name: "second", Label: locale.T(ctx, "accounts.second"), Value: f.Value("second", ""), Error: f.Problem("second"),
			Hint: hint, Required: true, MaxLength: 64, Autocomplete: "off"},
		{Kind: components.PasswordField, Name: "password", Label: locale.T(ctx, "accounts.second_password"), Error: f.Problem("password"), Required: true, Autocomplete: "off"},
	}
}

// Second wants the fields of SecondFields to be filled in; alone refuses the signed-in person's own name.
func (in *Input) Second(self billing.UserID, alone error) {
	if billing.UserID(in.Required("second")) == self {
		in.Refuse("second", alone)
	}
	if in.values.Get("password") == "" { // taken as typed: a space may be part of it
		in.Refuse("password", billing.Errorf(billing.CodeInvalidInput, "fill in this field"))
	}
}

// Second checks the name and password of a second person who agrees at the signed-in person's screen: the fields "second" and
// "password" of a posted form.
func (d Deps) Second(r *http.Request) (auth.Actor, error) {
	in := Read(r)
	second, err := d.Sessions.Confirm(r.Context(), billing.UserID(in.Text("second")), r.PostForm.Get("password"), r.RemoteAddr)
	if billing.CodeOf(err) == billing.CodeUnauthenticated {
		// The code isn't "sign in first", because the first person is signed in.
		return auth.Actor{}, billing.Errorf(billing.CodeForbidden, "the second person's name or password is wrong: nothing was changed")
	}
	return second, err
}

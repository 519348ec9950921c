package page

import (
	"context"
	"net/http"
	"slices"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
)

// SecondFields are a form's fields for a second person who agrees at the signed-in person's screen; hint says who may.
func SecondFields(ctx context.Context, f Form, hint string) []components.Field {
	return agreeFields(f, "second", "password", locale.T(ctx, "accounts.second"), locale.T(ctx, "accounts.second_password"), hint)
}

// ThirdFields are those for a third person, beside SecondFields.
func ThirdFields(ctx context.Context, f Form, hint string) []components.Field {
	return agreeFields(f, "third", "third_password", locale.T(ctx, "accounts.third"), locale.T(ctx, "accounts.third_password"), hint)
}

func agreeFields(f Form, name, password, nameLabel, passwordLabel, hint string) []components.Field {
	return []components.Field{
		{Kind: components.TextField, Name: name, Label: nameLabel, Value: f.Value(name, ""), Error: f.Problem(name), Hint: hint, Required: true, MaxLength: 64, Autocomplete: "off"},
		{Kind: components.PasswordField, Name: password, Label: passwordLabel, Error: f.Problem(password), Required: true, Autocomplete: "off"},
	}
}

// Second wants the fields of SecondFields to be filled in; alone refuses the signed-in person's own name.
func (in *Input) Second(self billing.UserID, alone error) {
	in.agrees("second", "password", alone, self)
}

// Third wants the fields of ThirdFields to be filled in; alone refuses the signed-in person's own name, and the second person's.
func (in *Input) Third(self billing.UserID, alone error) {
	in.agrees("third", "third_password", alone, self, billing.UserID(in.Text("second")))
}

func (in *Input) agrees(name, password string, alone error, but ...billing.UserID) {
	if who := billing.UserID(in.Required(name)); who != "" && slices.Contains(but, who) {
		in.Refuse(name, alone)
	}
	if in.values.Get(password) == "" { // taken as typed: a space may be part of it
		in.Refuse(password, billing.Errorf(billing.CodeInvalidInput, "fill in this field"))
	}
}

// Second checks the name and password of a second person who agrees at the signed-in person's screen: the fields "second" and
// "password" of a posted form.
func (d Deps) Second(r *http.Request) (auth.Actor, error) {
	return d.confirm(r, "second", "password", billing.Errorf(billing.CodeForbidden, "the second person's name or password is wrong: nothing was changed"))
}

// Third is Second for the fields "third" and "third_password".
func (d Deps) Third(r *http.Request) (auth.Actor, error) {
	return d.confirm(r, "third", "third_password", billing.Errorf(billing.CodeForbidden, "the third person's name or password is wrong: nothing was changed"))
}

// confirm gives wrong instead of a code that says "sign in first", because the first person is signed in.
func (d Deps) confirm(r *http.Request, name, password string, wrong error) (auth.Actor, error) {
	who, err := d.Sessions.Confirm(r.Context(), billing.UserID(Read(r).Text(name)), r.PostForm.Get(password), r.RemoteAddr)
	if billing.CodeOf(err) == billing.CodeUnauthenticated {
		return auth.Actor{}, wrong
	}
	return who, err
}

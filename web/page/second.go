package page

import (
	"net/http"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
)

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

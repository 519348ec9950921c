package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/api"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/webtest"
)

// unverified gives a meter a register map that was never tried on a device.
func unverified(t *testing.T, s *webtest.Server, meter string) {
	t.Helper()
	_, err := s.Store.Pool.Exec(context.Background(), `UPDATE meters SET profile = 'acrel-ddsy1352' WHERE id = $1`, meter)
	require.NoError(t, err)
}

func TestAllowances(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	admin := s.SignIn(t, webtest.Administrator)
	path := "/api/v1/meters/MA1/allowances"
	allow := func(until, second, password, reason string) webtest.Answer {
		return admin.JSON("POST", path, fmt.Sprintf(`{"reason":%q,"until_at":%q,"second_user":%q,"second_password":%q}`, reason, until, second, password))
	}
	const soon = "2026-09-20T16:00:00Z"
	s.Unchanged(t, func() {
		refused(t, allow(soon, webtest.Manager, webtest.Password, "trial"), http.StatusConflict, billing.CodeConflict, "is verified")
	})
	unverified(t, s, "MA1")
	s.Unchanged(t, func() {
		refused(t, allow("2026-09-01T00:00:00Z", webtest.Manager, webtest.Password, "trial"), http.StatusUnprocessableEntity, billing.CodeInvalidInput, "today or later")
		refused(t, allow("2027-09-01T00:00:00Z", webtest.Manager, webtest.Password, "trial"), http.StatusUnprocessableEntity, billing.CodeInvalidInput, "three months at most")
		refused(t, allow(soon, webtest.Manager, "guess", "trial"), http.StatusUnauthorized, billing.CodeUnauthenticated, "wrong")
		refused(t, allow(soon, webtest.Administrator, webtest.Password, "trial"), http.StatusForbidden, billing.CodeSelfApproval, "colleague")
		refused(t, allow(soon, webtest.Supervisor, webtest.Password, "trial"), http.StatusForbidden, billing.CodeForbidden, "order a cut")
		refused(t, allow(soon, webtest.Manager, webtest.Password, ""), http.StatusUnprocessableEntity, billing.CodeInvalidInput, "reason")
	})
	a := allow(soon, webtest.Manager, webtest.Password, "trial on site")
	require.Equal(t, http.StatusCreated, a.Status, a.Body)
	var given api.Allowance
	require.NoError(t, json.Unmarshal([]byte(a.Body), &given))
	require.Equal(t, []string{"admin", "manager", "acrel-ddsy1352"}, []string{string(given.AllowedBy), string(given.AgreedBy), given.Profile})
	refused(t, allow(soon, webtest.Manager, webtest.Password, "again"), http.StatusConflict, billing.CodeConflict, "already")

	end := fmt.Sprintf("/api/v1/allowances/%d/end", given.ID)
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Clerk).JSON("POST", end, `{"reason":"x"}`).Status)
	require.Equal(t, http.StatusNotFound, admin.JSON("POST", "/api/v1/allowances/404/end", `{"reason":"x"}`).Status)
	require.Equal(t, http.StatusOK, s.SignIn(t, webtest.Manager).JSON("POST", end, `{"reason":"trial over"}`).Status)
	refused(t, admin.JSON("POST", end, `{"reason":"twice"}`), http.StatusConflict, billing.CodeClosed, "over already")
	require.Contains(t, admin.Get(path).Body, `"ended_by":"manager"`)
}

package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/api"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/webtest"
)

func recharge(t *testing.T, a webtest.Answer, status int) api.Recharge {
	t.Helper()
	require.Equal(t, status, a.Status, a.Body)
	var r api.Recharge
	require.NoError(t, json.Unmarshal([]byte(a.Body), &r))
	return r
}

func delivered(l api.List[api.Message]) bool {
	return l.Total == 1 && l.Items[0].State == billing.MessageDelivered
}

// TestRecharge_throughItsLife enters, approves and credits a recharge on real workflows, and holds each wrong step in between
// against its refusal: none of them changes anything.
func TestRecharge_throughItsLife(t *testing.T) {
	s := webtest.NewWithEngine(t)
	s.Account(t, webtest.Compound, "A1", 5_000)
	maker, second, third := s.SignIn(t, webtest.Clerk), s.SignIn(t, webtest.Clerk2), s.SignIn(t, webtest.Clerk3)
	const good = `{"account":"A1","amount":"100.00","channel":"cash","idempotency_key":"slip 1"}`

	entered := recharge(t, maker.JSON("POST", "/api/v1/recharges", good), http.StatusCreated)
	require.Equal(t, billing.RechargeEntered, entered.State)
	require.Equal(t, billing.Money(10_000), entered.AmountFen)
	path := "/api/v1/recharges/" + string(entered.ID)

	s.Unchanged(t, func() {
		again := recharge(t, maker.JSON("POST", "/api/v1/recharges", good), http.StatusCreated)
		require.Equal(t, entered.ID, again.ID, "the same request is the same recharge")
		other := `{"account":"A1","amount":"200.00","channel":"cash","idempotency_key":"slip 1"}`
		refused(t, maker.JSON("POST", "/api/v1/recharges", other), http.StatusConflict, billing.CodeConflict, "")
		huge := `{"account":"A1","amount":"9999999.00","channel":"cash"}`
		refused(t, maker.JSON("POST", "/api/v1/recharges", huge), http.StatusUnprocessableEntity, billing.CodeInvalidInput, "at most")
		slipless := `{"account":"A1","amount":"10.00","channel":"transfer"}`
		refused(t, maker.JSON("POST", "/api/v1/recharges", slipless), http.StatusUnprocessableEntity, billing.CodeInvalidInput, "slip")
		refused(t, maker.JSON("POST", path+"/approve", ""), http.StatusForbidden, billing.CodeSelfApproval, "")
	})
	require.Equal(t, billing.RechargeApprovedOnce, recharge(t, second.JSON("POST", path+"/approve", ""), http.StatusOK).State)
	s.Unchanged(t, func() {
		refused(t, second.JSON("POST", path+"/approve", ""), http.StatusConflict, billing.CodeAlreadyApproved, "")
		refused(t, maker.JSON("POST", path+"/approve", ""), http.StatusForbidden, billing.CodeSelfApproval, "")
	})
	recharge(t, third.JSON("POST", path+"/approve", ""), http.StatusOK)
	require.Eventually(t, func() bool {
		return recharge(t, third.Get(path), http.StatusOK).State == billing.RechargeCredited
	}, webtest.Patience, webtest.Pause)
	credited := recharge(t, third.Get(path), http.StatusOK)
	require.NotEmpty(t, credited.ReceiptNo)
	require.Equal(t, billing.UserID(webtest.Clerk2), credited.Approved1By)
	require.Equal(t, billing.UserID(webtest.Clerk3), credited.Approved2By)
	refused(t, third.JSON("POST", path+"/reject", `{"reason":"too late"}`), http.StatusConflict, billing.CodeClosed, "")
	refused(t, third.JSON("POST", path+"/approve", ""), http.StatusConflict, billing.CodeClosed, "")

	var messages api.List[api.Message]
	for waited := time.Duration(0); waited < webtest.Patience && !delivered(messages); waited += webtest.Pause {
		time.Sleep(webtest.Pause)
		require.NoError(t, json.Unmarshal([]byte(third.Get("/api/v1/messages?account=A1").Body), &messages))
	}
	require.True(t, delivered(messages), "the provider's receipt comes back over HTTP: %+v", messages)

	var account api.AccountDetail
	require.NoError(t, json.Unmarshal([]byte(third.Get("/api/v1/accounts/A1").Body), &account))
	require.Equal(t, billing.Money(15_000), account.BalanceFen)
	var books api.TrialBalance
	require.NoError(t, json.Unmarshal([]byte(third.Get("/api/v1/ledger/trial-balance").Body), &books))
	require.True(t, books.Balanced)
	require.Equal(t, billing.Money(15_000), books.CustomersFen)
	var trace api.Trace
	require.NoError(t, json.Unmarshal([]byte(third.Get("/api/v1/trace?verify=true&q="+credited.ReceiptNo).Body), &trace))
	require.Equal(t, string(entered.ID), trace.Found[0].ID)
	require.True(t, *trace.Intact)
	require.GreaterOrEqual(t, len(trace.Events), 4)
}

func TestRecharge_rejected(t *testing.T) {
	s := webtest.NewWithEngine(t)
	s.Account(t, webtest.Compound, "A1", 5_000)
	maker, second := s.SignIn(t, webtest.Clerk), s.SignIn(t, webtest.Clerk2)
	entered := recharge(t, maker.JSON("POST", "/api/v1/recharges", `{"account":"A1","amount":"0.01","channel":"cash"}`), http.StatusCreated)
	path := "/api/v1/recharges/" + string(entered.ID)
	rejected := recharge(t, second.JSON("POST", path+"/reject", `{"reason":"the slip is another customer's"}`), http.StatusOK)
	require.Equal(t, billing.RechargeRejected, rejected.State)
	refused(t, second.JSON("POST", path+"/approve", ""), http.StatusConflict, billing.CodeClosed, "")
	require.Equal(t, billing.Money(5_000), balance(t, s, "A1"))
}

func TestCase_decidedOnceOnly(t *testing.T) {
	s := webtest.NewWithEngine(t)
	s.Rows(t)
	_, err := s.Store.Pool.Exec(context.Background(), `UPDATE cases SET state = 'resolved', decision = 'accept', decided_by = 'sup2', resolved_at = '2026-09-09T23:00Z'`)
	require.NoError(t, err)
	b := s.SignIn(t, webtest.Supervisor)
	s.Unchanged(t, func() {
		a := b.JSON("POST", "/api/v1/cases/X1/decision", `{"decision":"accept","reason":"looks fine"}`)
		refused(t, a, http.StatusConflict, billing.CodeClosed, "decided already")
	})
}

func balance(t *testing.T, s *webtest.Server, account string) (fen billing.Money) {
	t.Helper()
	require.NoError(t, s.Store.Pool.QueryRow(context.Background(), `SELECT balance_fen FROM balances WHERE account_id = $1`, account).Scan(&fen))
	return fen
}

package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/api"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/webtest"
)

// refused holds an answer against the code and a part of the sentence.
func refused(t *testing.T, a webtest.Answer, status int, code billing.Code, sentence string) {
	t.Helper()
	require.Equal(t, status, a.Status, a.Body)
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"))
	var p api.Problem
	require.NoError(t, json.Unmarshal([]byte(a.Body), &p), a.Body)
	require.Equal(t, code, p.Code, a.Body)
	require.Equal(t, status, p.Status)
	require.Contains(t, p.Detail, sentence)
}

func TestRefusals_ofInput(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	clerk := s.SignIn(t, webtest.Clerk)
	enter := func(account, amount, more string) string {
		return `{"account":"` + account + `","amount":"` + amount + `","channel":"cash"` + more + `}`
	}
	for _, c := range []struct{ name, method, path, body, code, sentence string }{
		{"amount of zero", "POST", "/recharges", enter("A1", "0", ""), "invalid_input", "more than zero"},
		{"amount of 0.00", "POST", "/recharges", enter("A1", "0.00", ""), "invalid_input", "more than zero"},
		{"negative amount", "POST", "/recharges", enter("A1", "-5.00", ""), "invalid_input", "more than zero"},
		{"three decimals", "POST", "/recharges", enter("A1", "12.345", ""), "invalid_input", "more than two decimals"},
		{"no number", "POST", "/recharges", enter("A1", "twelve", ""), "invalid_input", "is not a number"},
		{"exponent", "POST", "/recharges", enter("A1", "1e3", ""), "invalid_input", "is not a number"},
		{"no amount", "POST", "/recharges", enter("A1", "", ""), "invalid_input", "is empty"},
		{"too large", "POST", "/recharges", enter("A1", "99999999999999999999", ""), "invalid_input", "too large"},
		{"amount as a number", "POST", "/recharges", `{"account":"A1","amount":12.5,"channel":"cash"}`, "invalid_input", "amount: expected string"},
		{"unknown account", "POST", "/recharges", enter("A999", "10.00", ""), "not_found", "check the number"},
		{"account of another site", "POST", "/recharges", enter("B1", "10.00", ""), "not_found", "no such record"},
		{"unknown channel", "POST", "/recharges", `{"account":"A1","amount":"1","channel":"barter"}`, "invalid_input", "channel: expected value to be one of"},
		{"two keys", "POST", "/recharges", enter("A1", "10.00", `,"idempotency_key":"other"`), "invalid_input", "send one of them"},
		{"unknown field", "POST", "/recharges", enter("A1", "10.00", `,"bonus":1`), "invalid_input", "unexpected property"},
		{"broken JSON", "POST", "/recharges", `{"account":`, "invalid_input", "can't be read"},
		{"empty body", "POST", "/recharges", ``, "invalid_input", "body is required"},
		{"unknown recharge", "POST", "/recharges/R404/approve", ``, "not_found", "no such record"},
		{"rejection without a reason", "POST", "/recharges/R1/reject", `{"reason":""}`, "invalid_input", "reason: expected length >= 1"},
		{"unknown state", "GET", "/recharges?state=maybe", ``, "invalid_input", "state"},
		{"page that is no number", "GET", "/recharges?limit=many", ``, "invalid_input", "limit"},
		{"too long a page", "GET", "/recharges?limit=5000", ``, "invalid_input", "limit"},
		{"no day", "GET", "/recharges?since=yesterday", ``, "invalid_input", "since"},
		{"a site that isn't mine", "GET", "/recharges?site=plaza", ``, "forbidden", "do not work for site plaza"},
		{"unknown number", "GET", "/trace?q=ZZ9", ``, "not_found", "check that the number is complete"},
		{"unknown address", "GET", "/tea", ``, "not_found", "openapi.json"},
		{"wrong method", "DELETE", "/recharges/R1", ``, "not_found", "openapi.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clerk.Header.Del("Idempotency-Key")
			if c.name == "two keys" {
				clerk.Header.Set("Idempotency-Key", "one")
			}
			s.Unchanged(t, func() {
				a := clerk.JSON(c.method, "/api/v1"+c.path, c.body)
				status := statusOf[billing.Code(c.code)]
				if c.name == "broken JSON" || c.name == "empty body" {
					status = http.StatusBadRequest
				}
				refused(t, a, status, billing.Code(c.code), c.sentence)
			})
		})
	}
}

var statusOf = map[billing.Code]int{
	billing.CodeInvalidInput: http.StatusUnprocessableEntity, billing.CodeNotFound: http.StatusNotFound, billing.CodeForbidden: http.StatusForbidden,
}

func TestRefusals_ofSigningIn(t *testing.T) {
	s := webtest.New(t)
	b := s.Open(t)
	wrong := b.JSON("POST", "/api/v1/session", `{"user":"sup1","password":"nope"}`)
	refused(t, wrong, http.StatusUnauthorized, billing.CodeUnauthenticated, "wrong")
	unknown := b.JSON("POST", "/api/v1/session", `{"user":"who","password":"nope"}`)
	require.Equal(t, wrong.Body, unknown.Body, "an unknown name must not show")
	require.Equal(t, http.StatusOK, b.JSON("POST", "/api/v1/session", `{"user":"sup1","password":"correct horse"}`).Status)
	me := b.Get("/api/v1/session")
	require.JSONEq(t, `{"user":"sup1","name":"王主管","role":"supervisor","sites":["compound"]}`, me.Body)
	require.Equal(t, http.StatusNoContent, b.JSON("DELETE", "/api/v1/session", "").Status)
	refused(t, b.Get("/api/v1/session"), http.StatusUnauthorized, billing.CodeUnauthenticated, "sign in first")

	for range 10 {
		b.JSON("POST", "/api/v1/session", `{"user":"sup2","password":"nope"}`)
	}
	refused(t, b.JSON("POST", "/api/v1/session", `{"user":"sup2","password":"correct horse"}`), http.StatusForbidden, billing.CodeForbidden, "too many wrong passwords")
}

func TestRefusals_ofReceipts(t *testing.T) {
	s := webtest.New(t)
	b := s.Open(t)
	receipt := `{"provider_no":"SMS-S1","delivered":true}`
	refused(t, b.JSON("POST", "/api/v1/receipts", receipt), http.StatusUnauthorized, billing.CodeUnauthenticated, "shared secret")
	b.Header.Set("Meterflow-Receipt-Secret", "guess")
	refused(t, b.JSON("POST", "/api/v1/receipts", receipt), http.StatusUnauthorized, billing.CodeUnauthenticated, "shared secret")
	b.Header.Set("Meterflow-Receipt-Secret", webtest.ReceiptSecret)
	refused(t, b.JSON("POST", "/api/v1/receipts", receipt), http.StatusServiceUnavailable, billing.CodeUnavailable, "not taken")
}

func TestRefusals_ofSecondPersons(t *testing.T) {
	s := webtest.New(t)
	s.Account(t, webtest.Compound, "A1", 5_000)
	manager := s.SignIn(t, webtest.Manager)
	add := `{"kind":"keep_power","from_at":"2026-09-01T00:00:00Z","until_at":"2026-12-01T00:00:00Z","reason":"cold store"}`
	require.Equal(t, http.StatusCreated, manager.JSON("POST", "/api/v1/accounts/A1/protections", add).Status)
	endBy := func(user, password, third string) webtest.Answer {
		return manager.JSON("POST", "/api/v1/protections/1/end", `{"reason":"empty now","second_user":"`+user+`","second_password":"`+password+`","third_user":"`+third+`","third_password":"`+webtest.Password+`"}`)
	}
	end := func(user, password string) webtest.Answer { return endBy(user, password, webtest.Supervisor2) }
	refused(t, end(webtest.Supervisor, "guess"), http.StatusUnauthorized, billing.CodeUnauthenticated, "wrong")
	refused(t, end(webtest.Manager, webtest.Password), http.StatusForbidden, billing.CodeSelfApproval, "colleague")
	refused(t, end(webtest.Clerk, webtest.Password), http.StatusForbidden, billing.CodeForbidden, "role may not")
	refused(t, end(webtest.OtherSupervisor, webtest.Password), http.StatusForbidden, billing.CodeForbidden, "site compound")
	refused(t, endBy(webtest.Supervisor, webtest.Password, webtest.Supervisor), http.StatusForbidden, billing.CodeSelfApproval, "two colleagues")
	refused(t, endBy(webtest.Supervisor, webtest.Password, webtest.Manager), http.StatusForbidden, billing.CodeSelfApproval, "colleague")
	refused(t, endBy(webtest.Supervisor, webtest.Password, webtest.Clerk), http.StatusForbidden, billing.CodeForbidden, "role may not")
	require.Equal(t, http.StatusOK, end(webtest.Supervisor, webtest.Password).Status)
	refused(t, end(webtest.Supervisor, webtest.Password), http.StatusConflict, billing.CodeClosed, "ended already")
}

func TestProblem_listsEveryCode(t *testing.T) {
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Enum []any `json:"enum"`
				} `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	require.NoError(t, json.Unmarshal(document(t, routes(t, true)), &doc))
	want := make([]any, 0, len(billing.Codes))
	for _, c := range billing.Codes {
		want = append(want, string(c))
		status := api.StatusOf(billing.Errorf(c, "x"))
		require.GreaterOrEqual(t, status, 400, "code %s has no status", c)
	}
	require.Equal(t, want, doc.Components.Schemas["Problem"].Properties["code"].Enum)
	require.Equal(t, http.StatusInternalServerError, api.StatusOf(context.Canceled))
}

func TestProblem_saysNothingOfInnerFailures(t *testing.T) {
	s := webtest.New(t)
	b := s.SignIn(t, webtest.Supervisor)
	_, err := s.Store.Pool.Exec(context.Background(), `ALTER TABLE cases RENAME TO hidden`)
	require.NoError(t, err)
	a := b.Get("/api/v1/cases")
	refused(t, a, http.StatusInternalServerError, billing.CodeInternal, "on our side")
	require.False(t, strings.Contains(a.Body, "relation") || strings.Contains(a.Body, "SQLSTATE"), a.Body)
}

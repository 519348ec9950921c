package recharges_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/webtest"
)

var by = store.By{Actor: "test"}

// account opens an account with its customer, tariff and service point, and a balance.
func account(t *testing.T, s *store.Store, site billing.SiteID, id billing.AccountID, balance billing.Money) {
	t.Helper()
	ctx := context.Background()
	_, err := s.Pool.Exec(ctx, `INSERT INTO tariffs (id, service, name_zh, name_en, definition) VALUES ('t', 'power', '居民', 'Household', '{}') ON CONFLICT DO NOTHING`)
	require.NoError(t, err)
	_, err = s.Pool.Exec(ctx, `INSERT INTO service_points (id, site_id, service, address) VALUES ($1, $2, 'power', $3)`, "P"+id, site, "3栋2单元 "+string(id))
	require.NoError(t, err)
	require.NoError(t, s.OpenHouse(ctx, by, site))
	require.NoError(t, s.AddCustomer(ctx, by, store.Customer{ID: billing.CustomerID("K" + id), Site: site, Name: "林" + string(id), Phone: "138" + string(id), Class: "household"}))
	require.NoError(t, s.OpenAccount(ctx, by, store.NewAccount{Opening: balance, Account: store.Account{ID: id, Site: site, Customer: billing.CustomerID("K" + id),
		ServicePoint: billing.ServicePointID("P" + id), Service: billing.Power, CreditMode: billing.CreditPlatform, Tariff: "t", PrepaidContract: true, OpenedOn: billing.MustDate("2026-09-01")}}))
}

// entered stores a recharge as a clerk would.
func entered(t *testing.T, s *store.Store, account billing.AccountID, amount billing.Money, clerk billing.UserID) billing.RechargeID {
	t.Helper()
	ctx := context.Background()
	a, err := s.Account(ctx, account)
	require.NoError(t, err)
	id, err := s.NextRechargeID(ctx, a.Site)
	require.NoError(t, err)
	rc, err := s.EnterRecharge(ctx, store.By{Actor: string(clerk)}, store.NewRecharge{ID: id, Account: account, Amount: amount, Channel: "transfer", Evidence: "SLIP-" + string(id),
		Key: string(id), By: clerk, Max: 5_000_000, Ceiling: 10_000_000, Expiry: 72 * time.Hour})
	require.NoError(t, err)
	return rc.ID
}

func approved(t *testing.T, s *store.Store, id billing.RechargeID, clerk billing.UserID, number int) {
	t.Helper()
	_, err := s.ApproveRecharge(context.Background(), store.By{Actor: string(clerk)}, store.Approval{ID: id, By: clerk, Number: number})
	require.NoError(t, err)
}

func credited(t *testing.T, s *store.Store, account billing.AccountID, amount billing.Money) billing.RechargeID {
	t.Helper()
	id := entered(t, s, account, amount, webtest.Clerk)
	approved(t, s, id, webtest.Clerk2, 1)
	approved(t, s, id, webtest.Clerk3, 2)
	_, err := s.PostRecharge(context.Background(), by, id, store.Terms{Connect: 1, StillLow: func(billing.Money, billing.Money) bool { return false },
		Text: func(store.MessageFacts) (string, error) { return "text", nil }})
	require.NoError(t, err)
	return id
}

func state(t *testing.T, s *store.Store, id billing.RechargeID) billing.RechargeState {
	t.Helper()
	rc, err := s.Recharge(context.Background(), id)
	require.NoError(t, err)
	return rc.State
}

func TestList_showsFirstWhatWaitsForMe(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", 0)
	account(t, s.Store, webtest.Plaza, "2000001", 0)
	done := credited(t, s.Store, "1000001", 500)
	mine := entered(t, s.Store, "1000001", 100, webtest.Clerk)
	theirs := entered(t, s.Store, "1000001", 1234, webtest.Clerk2)
	approvedByMe := entered(t, s.Store, "1000001", 300, webtest.Clerk2)
	approved(t, s.Store, approvedByMe, webtest.Clerk, 1)
	b := s.SignIn(t, webtest.Clerk)

	rows := func(path string) []string {
		a := b.Get(path)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		var ids []string
		for _, n := range a.Doc().Find(`[data-row]`).EachIter() {
			ids = append(ids, n.AttrOr("data-id", ""))
		}
		return ids
	}
	require.Equal(t, []string{string(theirs), string(mine), string(approvedByMe), string(done)}, rows("/recharges"))
	require.Equal(t, []string{string(theirs)}, rows("/recharges?waiting=mine"))
	require.Equal(t, []string{string(mine), string(done)}, rows("/recharges?waiting=entered"))
	require.Equal(t, []string{string(done)}, rows("/recharges?state=credited&channel=transfer"))
	require.Empty(t, rows("/recharges?channel=cash"))
	require.Equal(t, []string{string(theirs)}, rows("/recharges?q="+string(theirs)))
	require.Empty(t, rows("/recharges?site=compound&q=2000001"))
	require.Equal(t, "2134", b.Get("/recharges").Doc().Find(`tfoot [data-fen]`).AttrOr("data-fen", ""), "the total of all that the filter finds")
	require.Equal(t, 1, b.Get("/recharges?channel=cash").Find("empty").Length())
}

func TestEntry_findsTheAccount(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", -250)
	account(t, s.Store, webtest.Compound, "1000002", 0)
	account(t, s.Store, webtest.Plaza, "2000001", 0)
	b := s.SignIn(t, webtest.Clerk)

	a := b.Get("/recharges/new?account=1000001")
	require.Equal(t, "-250", a.Find("fact-balance").Find("[data-fen]").AttrOr("data-fen", ""))
	require.Equal(t, "1000001", a.Find("field-account").Last().Find("input").AttrOr("value", ""))
	require.Equal(t, 2, b.Get("/recharges/new?account=3%E6%A0%8B").Find("table-choices").Find("[data-row]").Length(), "an address leads to the choice")
	require.Equal(t, 1, b.Get("/recharges/new?account=1381000002").Find("action-enter").Length(), "a phone leads to the account")
	a = b.Get("/recharges/new?account=9")
	require.Contains(t, a.Find("error-account").Text(), `There is no account "9"`)
	a = b.Get("/recharges/new?account=2000001")
	require.Contains(t, a.Find("error-account").Text(), `There is no account "2000001"`, "another site's account is like none")
}

func TestEntry_refusesBadInputBesideTheField(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", 0)
	b := s.SignIn(t, webtest.Clerk)
	good := map[string]string{"account": "1000001", "amount": "100", "channel": "transfer", "evidence": "ICBC-1", "nonce": "n1"}
	for name, c := range map[string]struct{ field, typed, says string }{
		"zero":            {"amount", "0", "more than zero"},
		"negative":        {"amount", "-5", "more than zero"},
		"three decimals":  {"amount", "1.234", "more than two decimals"},
		"no number":       {"amount", "ten", "is not a number"},
		"empty":           {"amount", "", "The amount is empty"},
		"unknown account": {"account", "9999999", "There is no account"},
		"other channel":   {"channel", "gold", "choose one of the answers"},
		"no slip":         {"evidence", " ", "Type the number of the bank slip"},
		"long slip":       {"evidence", strings.Repeat("9", 65), "at most 64"},
	} {
		t.Run(name, func(t *testing.T) {
			var form []string
			for field, value := range good {
				if field == c.field {
					value = c.typed
				}
				form = append(form, field, value)
			}
			a := b.Post("/recharges", form...)
			require.Equal(t, http.StatusUnprocessableEntity, a.Status, a.Body)
			require.Contains(t, a.Find("error-"+c.field).Text(), c.says)
			for field, value := range good {
				if field == c.field || field == "channel" || field == "nonce" {
					continue
				}
				require.Equal(t, value, a.Find("action-enter").Find(`[name="`+field+`"]`).AttrOr("value", ""), "%s is kept", field)
			}
		})
	}
	a := b.Post("/recharges", "account", "1000001", "amount", "100", "channel", "cash", "nonce", "n1")
	require.Equal(t, http.StatusServiceUnavailable, a.Status)
	require.Contains(t, a.Find("action-error").Text(), "your action was not taken")
	require.Equal(t, "n1", a.Find("action-enter").Find(`[name="nonce"]`).AttrOr("value", ""), "tried again it is the same request")
	_, tally, err := s.Store.RechargePage(context.Background(), store.RechargeFilter{Sites: []billing.SiteID{webtest.Compound}}, 10, 0)
	require.NoError(t, err)
	require.Zero(t, tally.N, "nothing was stored")
}

func TestEntry_isForClerks(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", 0)
	for _, user := range []string{webtest.Supervisor, webtest.Manager, webtest.Administrator} {
		b := s.SignIn(t, user)
		require.Contains(t, b.Get("/recharges/new?account=1000001").Find("why-enter").Text(), "Your role may not take a recharge")
		require.Equal(t, http.StatusForbidden, b.Post("/recharges", "account", "1000001", "amount", "1", "channel", "cash").Status)
	}
}

func TestShow_approvalExplainsItself(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", 0)
	id := entered(t, s.Store, "1000001", 12345, webtest.Clerk)
	path := "/recharges/" + string(id)

	maker := s.SignIn(t, webtest.Clerk)
	require.Contains(t, maker.Get(path).Find("why-approve").Text(), "You entered this recharge")
	require.Equal(t, http.StatusForbidden, maker.Post(path+"/approve").Status)
	maker.Header.Set("Accept-Language", "zh")
	require.Contains(t, maker.Get(path).Find("why-approve").Text(), "须由另外两位收费员审批")

	second := s.SignIn(t, webtest.Clerk2)
	a := second.Get(path)
	require.Zero(t, a.Find("why-approve").Length())
	require.Equal(t, "12345", a.Find("fact-amount").Find("[data-fen]").AttrOr("data-fen", ""))
	a = second.Post(path+"/approve", "nonce", "n")
	require.Equal(t, http.StatusServiceUnavailable, a.Status, "the engine is away, so nothing is taken")
	require.Contains(t, a.Find("action-approve").Find(`[data-testid="action-error"]`).Text(), "not taken")

	approved(t, s.Store, id, webtest.Clerk2, 1)
	require.Contains(t, second.Get(path).Find("why-approve").Text(), "You have approved this recharge already")
	require.Equal(t, http.StatusConflict, second.Post(path+"/approve").Status)
	require.Contains(t, s.SignIn(t, webtest.Manager).Get(path).Find("why-approve").Text(), "ask a clerk")

	a = second.Post(path+"/reject", "reason", " ")
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("error-reason").Text(), "say why")
	require.Equal(t, billing.RechargeApprovedOnce, state(t, s.Store, id))
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).Get(path).Status, "another site's recharge is like none")
	require.Equal(t, http.StatusNotFound, second.Get("/recharges/R0").Status)
}

func TestShow_creditedHasReceipt(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", 100)
	open, id := entered(t, s.Store, "1000001", 1, webtest.Clerk), credited(t, s.Store, "1000001", 12050)
	b := s.SignIn(t, webtest.Clerk)
	a := b.Get("/recharges/" + string(id))
	require.Equal(t, "100", a.Find("fact-before").Find("[data-fen]").AttrOr("data-fen", ""))
	require.Equal(t, "12150", a.Find("fact-after").Find("[data-fen]").AttrOr("data-fen", ""))
	require.Zero(t, a.Find("action-approve").Length())
	require.Contains(t, a.Find("timeline").Text(), "First approval")
	for _, paper := range []string{"", "?paper=a4"} {
		b.Header.Set("Accept-Language", "zh")
		a = b.Get("/recharges/" + string(id) + "/receipt" + paper)
		require.Equal(t, 2, a.Find("sheet").Length())
		require.Contains(t, a.Find("sheet").First().Text(), "用户联")
		require.Contains(t, a.Find("sheet").Last().Text(), "存根联")
		require.Contains(t, a.Find("fact-r-words").First().Text(), "壹佰贰拾元伍角整")
	}
	require.Equal(t, http.StatusConflict, b.Get("/recharges/"+string(open)+"/receipt").Status, "nothing to print before it is credited")
}

func TestReview_saysWhatWillBeApprovedAndWhatNot(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", 0)
	mine, one, two := entered(t, s.Store, "1000001", 100, webtest.Clerk), entered(t, s.Store, "1000001", 1000, webtest.Clerk2), entered(t, s.Store, "1000001", 234, webtest.Clerk3)
	b := s.SignIn(t, webtest.Clerk)
	a := b.Post("/recharges/review", "action", "review", "id", string(mine), "id", string(one), "id", string(two))
	require.Equal(t, http.StatusSeeOther, a.Status)
	a = b.Get(a.Header.Get("Location"))
	require.Equal(t, "1234", a.Find("action-approve-all").Find("[data-fen]").AttrOr("data-fen", ""))
	require.Equal(t, 2, a.Find("table-review").Find("tbody tr").Length())
	require.Contains(t, a.Find("table-skipped").Text(), "You entered this recharge")
	require.Equal(t, 2, a.Find("action-approve-all").Find(`[name="id"]`).Length(), "only those are posted")

	a = b.Post("/recharges/approve", "id", string(one), "id", string(two), "nonce", "n")
	require.Equal(t, http.StatusServiceUnavailable, a.Status)
	require.Equal(t, billing.RechargeEntered, state(t, s.Store, one))
	a = b.Post("/recharges/review", "action", "review")
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("action-error").Text(), "choose at least one")
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Supervisor).Post("/recharges/approve", "id", string(one)).Status)
}

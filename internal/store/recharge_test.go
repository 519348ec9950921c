package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

func form(a billing.AccountID, key string) store.NewRecharge {
	return store.NewRecharge{ID: billing.RechargeID("R20260105-" + key), Account: a, Amount: 5000, Channel: "transfer", Evidence: "slip " + key, Key: key,
		By: "clerk1", Max: 100_000, Ceiling: 200_000, Expiry: 72 * time.Hour}
}

var terms = store.Terms{
	Connect: 1, CaseDue: 24 * time.Hour,
	StillLow: func(balance, _ billing.Money) bool { return balance <= 2000 },
	Text:     func(f store.MessageFacts) (string, error) { return f.Kind + " " + f.Balance.String(), nil },
}

func TestEnterRecharge_refuses(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	a, _ := u.Account(storetest.NewAccount{})
	ctx := context.Background()
	_, err := u.EnterRecharge(ctx, storetest.By, form(a, "first"))
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		spoil func(*store.NewRecharge)
		code  billing.Code
	}{
		"zero":            {func(n *store.NewRecharge) { n.Amount = 0 }, billing.CodeInvalidInput},
		"negative":        {func(n *store.NewRecharge) { n.Amount = -1 }, billing.CodeInvalidInput},
		"over the most":   {func(n *store.NewRecharge) { n.Amount = 100_001 }, billing.CodeInvalidInput},
		"hoarding":        {func(n *store.NewRecharge) { n.Ceiling = 10_000 + 5000 + 4999 }, billing.CodeInvalidInput},
		"no slip":         {func(n *store.NewRecharge) { n.Evidence = " " }, billing.CodeInvalidInput},
		"unknown channel": {func(n *store.NewRecharge) { n.Channel = "cheque" }, billing.CodeInvalidInput},
		"unknown account": {func(n *store.NewRecharge) { n.Account = "A9" }, billing.CodeNotFound},
		"used slip":       {func(n *store.NewRecharge) { n.Evidence = "slip first" }, billing.CodeConflict},
		"used key":        {func(n *store.NewRecharge) { n.Key = "first"; n.Amount = 1 }, billing.CodeConflict},
	} {
		t.Run(name, func(t *testing.T) {
			n := form(a, "second")
			tt.spoil(&n)
			_, err := u.EnterRecharge(ctx, storetest.By, n)
			require.Equal(t, tt.code, billing.CodeOf(err), "%v", err)
			_, err = u.Recharge(ctx, n.ID)
			require.Equal(t, billing.CodeNotFound, billing.CodeOf(err), "nothing may be stored")
		})
	}
	n := form(a, "first")
	n.ID = "R20260105-other"
	r, err := u.EnterRecharge(ctx, storetest.By, n)
	require.NoError(t, err)
	require.Equal(t, form(a, "first").ID, r.ID, "a repeat is answered with the first recharge")
}

func TestApproveRecharge(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	a, _ := u.Account(storetest.NewAccount{})
	ctx := context.Background()
	r, err := u.EnterRecharge(ctx, storetest.By, form(a, "x"))
	require.NoError(t, err)
	approve := func(by billing.UserID, number int) error {
		_, err := u.ApproveRecharge(ctx, storetest.By, store.Approval{ID: r.ID, By: by, Number: number})
		return err
	}
	require.Equal(t, billing.CodeSelfApproval, billing.CodeOf(approve("clerk1", 1)))
	require.NoError(t, approve("clerk2", 1))
	require.NoError(t, approve("clerk2", 1), "the same activity again")
	require.Equal(t, billing.CodeAlreadyApproved, billing.CodeOf(approve("clerk2", 2)))
	require.Equal(t, billing.CodeStale, billing.CodeOf(approve("clerk3", 1)))
	require.NoError(t, approve("clerk3", 2))
	require.Equal(t, billing.CodeClosed, billing.CodeOf(approve("sup1", 2)))
	_, err = u.RejectRecharge(ctx, storetest.By, r.ID, "clerk3", "too late")
	require.Equal(t, billing.CodeClosed, billing.CodeOf(err))
	late, err := u.ExpireRecharge(ctx, storetest.By, r.ID)
	require.NoError(t, err)
	require.Equal(t, billing.RechargeApproved, late.State, "an approved recharge doesn't expire")
	for range 2 {
		s, err := u.PostRecharge(ctx, storetest.By, r.ID, terms)
		require.NoError(t, err)
		require.Equal(t, billing.RechargeCredited, s.Recharge.State)
		require.Equal(t, billing.Money(15_000), s.Balance)
		require.NotEmpty(t, s.Message, "a repeat finds the message again")
	}
	intact(t, u.Store)
}

func TestRecharge_expiresAndFreesItsSlip(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	a, _ := u.Account(storetest.NewAccount{})
	ctx := context.Background()
	r, err := u.EnterRecharge(ctx, storetest.By, form(a, "x"))
	require.NoError(t, err)
	storetest.SetClock(t, u.Store, r.ExpiresAt)
	_, err = u.ApproveRecharge(ctx, storetest.By, store.Approval{ID: r.ID, By: "clerk2", Number: 1})
	require.Equal(t, billing.CodeClosed, billing.CodeOf(err), "too late")
	for range 2 {
		r, err = u.ExpireRecharge(ctx, storetest.By, r.ID)
		require.NoError(t, err)
		require.Equal(t, billing.RechargeExpired, r.State)
	}
	again := form(a, "y")
	again.Evidence = "slip x"
	_, err = u.EnterRecharge(ctx, storetest.By, again)
	require.NoError(t, err, "money that was never booked may be entered again")
	intact(t, u.Store)
}

func TestProtections_takeThreeToEnd(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	a, _ := u.Account(storetest.NewAccount{})
	ctx := context.Background()
	by := store.By{Actor: "boss", Reason: "because"}
	id, err := u.AddProtection(ctx, by, store.Protection{Account: a, Kind: "keep_power", FromAt: morning, UntilAt: morning.Add(24 * time.Hour), Reason: "ice"})
	require.NoError(t, err)
	require.Equal(t, billing.CodeSelfApproval, billing.CodeOf(u.EndProtection(ctx, by, id, "boss", "sup1")))
	require.Equal(t, billing.CodeSelfApproval, billing.CodeOf(u.EndProtection(ctx, by, id, "sup1", "boss")))
	require.Equal(t, billing.CodeSelfApproval, billing.CodeOf(u.EndProtection(ctx, by, id, "sup1", "sup1")))
	require.Equal(t, billing.CodeSelfApproval, billing.CodeOf(u.EndProtection(ctx, by, id, "sup1", "")))
	for name, sql := range map[string]string{
		"two persons":   `UPDATE protections SET ended_at = business_now(), ended_by = 'boss', ended_by2 = 'sup1' WHERE id = $1`,
		"a third twice": `UPDATE protections SET ended_at = business_now(), ended_by = 'boss', ended_by2 = 'sup1', ended_by3 = 'sup1' WHERE id = $1`,
	} {
		_, err := u.Pool.Exec(ctx, sql, id)
		require.ErrorContains(t, err, "protection_ended_by_three", name)
	}
	require.NoError(t, u.EndProtection(ctx, by, id, "sup1", "sup2"))
	require.Equal(t, billing.CodeClosed, billing.CodeOf(u.EndProtection(ctx, by, id, "sup1", "sup2")))
	intact(t, u.Store)
}

// intact holds the promises of the journal: the chains verify, and the last row of every entity tells the state in its table.
func intact(t *testing.T, s *store.Store) {
	t.Helper()
	_, _, first, err := s.VerifyJournal(context.Background())
	require.NoError(t, err)
	require.Nil(t, first)
	for kind, table := range map[string]string{"recharge": "recharges", "command": "commands", "reminder": "reminders", "cutoff": "cutoffs", "restore": "restores", "message": "messages", "case": "cases"} {
		var wrong []string
		err := s.Pool.QueryRow(context.Background(), `SELECT array_agg(t.id) FROM `+table+` t WHERE t.state IS DISTINCT FROM
			(SELECT to_state FROM journal j WHERE j.chain = $1 || '/' || t.id ORDER BY seq DESC LIMIT 1)`, kind).Scan(&wrong)
		require.NoError(t, err)
		require.Empty(t, wrong, "%s whose last journal row tells another state", table)
	}
	var wrong []string
	require.NoError(t, s.Pool.QueryRow(context.Background(), `SELECT array_agg(t.account_id) FROM supplies t WHERE t.state IS DISTINCT FROM
		(SELECT to_state FROM journal j WHERE j.chain = 'supply/' || t.account_id ORDER BY seq DESC LIMIT 1)`).Scan(&wrong))
	require.Empty(t, wrong)
}

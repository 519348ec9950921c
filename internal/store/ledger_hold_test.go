package store_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

var (
	placer = store.By{Actor: "clerk1", Reason: "asked for at the counter"}
	poster = store.By{Actor: "boss", Reason: "paid out"}
	agrees = store.By{Actor: "sup1", Reason: "checked"}
)

func refund(a billing.AccountID, key string, fen billing.Money) ledger.Hold {
	return ledger.Hold{Account: a, Amount: fen, Purpose: ledger.HoldRefund, Subject: "RF-1", Key: key, ExpiresAt: morning.AddDate(0, 0, 7)}
}

func TestHold(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	ctx := context.Background()
	a, _ := u.Account(storetest.NewAccount{}) // 100 yuan
	credit := func() store.Credit {
		c, err := u.CreditNow(ctx, a)
		require.NoError(t, err)
		return c
	}
	h, err := u.PlaceHold(ctx, placer, refund(a, "h/1", 6_000))
	require.NoError(t, err)
	require.Equal(t, billing.Money(4_000), credit().Available())

	again, err := u.PlaceHold(ctx, placer, refund(a, "h/1", 6_000))
	require.NoError(t, err)
	require.Equal(t, h.ID, again.ID, "a repeat gives the first hold")
	_, err = u.PlaceHold(ctx, placer, refund(a, "h/1", 5_999))
	require.Equal(t, billing.CodeConflict, billing.CodeOf(err))
	_, err = u.PlaceHold(ctx, placer, refund(a, "h/2", 4_001))
	require.Equal(t, billing.CodeBlocked, billing.CodeOf(err))
	require.ErrorContains(t, err, "has 40.00 yuan available: 40.01 yuan can't be held")
	_, err = u.PlaceHold(ctx, placer, refund("A9999", "h/3", 1))
	require.Equal(t, billing.CodeNotFound, billing.CodeOf(err))

	inMeter, _ := u.Account(storetest.NewAccount{Mode: billing.CreditMeter})
	_, err = u.PlaceHold(ctx, placer, refund(inMeter, "h/m", 1))
	require.ErrorContains(t, err, "is in its meter")

	_, err = u.PostHold(ctx, placer, h.ID, 100, ledger.Bank("park"))
	require.Equal(t, billing.CodeSelfApproval, billing.CodeOf(err))
	_, err = u.PostHold(ctx, poster, h.ID, 2_500, ledger.Bank("park"))
	require.Equal(t, billing.CodeBlocked, billing.CodeOf(err), "two persons are not enough")
	_, err = u.ApproveHold(ctx, placer, h.ID)
	require.Equal(t, billing.CodeSelfApproval, billing.CodeOf(err))
	for range 2 { // a repeat changes nothing
		approved, err := u.ApproveHold(ctx, agrees, h.ID)
		require.NoError(t, err)
		require.Equal(t, "sup1", approved.ApprovedBy)
		require.Equal(t, billing.Money(4_000), credit().Available(), "it is still held")
	}
	require.Len(t, chainOf(t, u.Store, "hold/"+h.ID), 2)
	_, err = u.ApproveHold(ctx, poster, h.ID)
	require.Equal(t, billing.CodeConflict, billing.CodeOf(err))
	_, err = u.PostHold(ctx, agrees, h.ID, 2_500, ledger.Bank("park"))
	require.Equal(t, billing.CodeAlreadyApproved, billing.CodeOf(err))
	for name, sql := range map[string]string{
		"hold_paid_out_by_a_third":     `UPDATE holds SET state = 'posted', posted_fen = 1, entry_id = (SELECT min(id) FROM ledger_entries), settled_by = 'sup1', settled_at = business_now() WHERE id = $1`,
		"a hold is settled once":       `UPDATE holds SET approved_by = 'boss' WHERE id = $1`,
		"stays what it was placed for": `UPDATE holds SET state = 'voided', approved_by = 'boss', settled_by = 'boss', settled_at = business_now() WHERE id = $1`,
	} {
		_, err = u.Pool.Exec(ctx, sql, h.ID)
		require.ErrorContains(t, err, name)
	}
	_, err = u.PostHold(ctx, poster, h.ID, 6_001, ledger.Bank("park"))
	require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))
	for range 2 { // a part; the rest is released; a repeat changes nothing
		done, err := u.PostHold(ctx, poster, h.ID, 2_500, ledger.Bank("park"))
		require.NoError(t, err)
		require.Equal(t, store.HoldPosted, done.State)
		require.Equal(t, store.Credit{Balance: 7_500}, credit())
	}
	_, err = u.PostHold(ctx, poster, h.ID, 2_500, ledger.Cash("park"))
	require.Equal(t, billing.CodeConflict, billing.CodeOf(err), "the same amount to another account is another request")
	_, err = u.VoidHold(ctx, poster, h.ID)
	require.Equal(t, billing.CodeClosed, billing.CodeOf(err))
	require.ErrorContains(t, err, "settled once")

	v, err := u.PlaceHold(ctx, placer, refund(a, "h/4", 7_500))
	require.NoError(t, err)
	require.Zero(t, credit().Available())
	// Use goes on all the same: what is available falls below zero, the hold stays.
	_, err = post(u.Store, charge(a, "c/1", 500))
	require.NoError(t, err)
	require.Equal(t, billing.Money(-500), credit().Available())
	for range 2 {
		_, err = u.VoidHold(ctx, placer, v.ID)
		require.NoError(t, err)
	}
	require.Equal(t, store.Credit{Balance: 7_000}, credit())
	require.Len(t, chainOf(t, u.Store, "hold/"+v.ID), 2)

	_, err = u.ApproveHold(ctx, agrees, v.ID)
	require.Equal(t, billing.CodeClosed, billing.CodeOf(err), "it was released")
	e, err := u.PlaceHold(ctx, placer, refund(a, "h/5", 10))
	require.NoError(t, err)
	storetest.SetClock(t, u.Store, morning.AddDate(0, 0, 8))
	_, err = u.PostHold(ctx, poster, e.ID, 10, ledger.Bank("park"))
	require.ErrorContains(t, err, "has expired")
	n, err := u.ExpireHolds(ctx, store.By{Actor: "workflow"}, "park")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = u.ExpireHolds(ctx, store.By{Actor: "workflow"}, "park")
	require.NoError(t, err)
	require.Zero(t, n)
	holds, err := u.HoldsOf(ctx, a, 10)
	require.NoError(t, err)
	require.Len(t, holds, 3)
	require.Equal(t, store.Credit{Balance: 7_000}, credit())
}

// What is used after a hold was placed isn't the customer's any more: the company pays out what is left beside other holds, and nothing beyond it.
func TestHold_paysOutNoMoreThanIsLeft(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	ctx := context.Background()
	a, _ := u.Account(storetest.NewAccount{}) // 100 yuan
	placed := func(key string, fen billing.Money) string {
		h, err := u.PlaceHold(ctx, placer, refund(a, key, fen))
		require.NoError(t, err)
		_, err = u.ApproveHold(ctx, agrees, h.ID)
		require.NoError(t, err)
		return h.ID
	}
	first, other := placed("h/1", 8_000), placed("h/2", 2_000)
	_, err := post(u.Store, charge(a, "c/1", 5_000))
	require.NoError(t, err)
	before := chainOf(t, u.Store, "hold/"+first)
	_, err = u.PostHold(ctx, poster, first, 3_001, ledger.Bank("park"))
	require.Equal(t, billing.CodeBlocked, billing.CodeOf(err))
	require.ErrorContains(t, err, "30.00 yuan")
	credit, err := u.CreditNow(ctx, a)
	require.NoError(t, err)
	require.Equal(t, store.Credit{Balance: 5_000, Held: 10_000}, credit)
	require.Len(t, chainOf(t, u.Store, "hold/"+first), len(before), "nothing was changed")
	for range 2 { // the repeat finds it paid out, whatever is left now
		_, err = u.PostHold(ctx, poster, first, 3_000, ledger.Bank("park"))
		require.NoError(t, err)
	}
	_, err = post(u.Store, charge(a, "c/2", 2_000))
	require.NoError(t, err)
	_, err = u.PostHold(ctx, poster, other, 1, ledger.Bank("park"))
	require.Equal(t, billing.CodeBlocked, billing.CodeOf(err))
	require.ErrorContains(t, err, "hold "+other+" keeps back: nothing of it can be paid out, release it")
	credit, err = u.CreditNow(ctx, a)
	require.NoError(t, err)
	require.Equal(t, store.Credit{Held: 2_000}, credit)
}

// However many settle one hold at once, it is settled once; however many place holds at once, no more is held than is there.
func TestHold_atOnce(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	ctx := context.Background()
	a, _ := u.Account(storetest.NewAccount{})
	h, err := u.PlaceHold(ctx, placer, refund(a, "h/0", 1_000))
	require.NoError(t, err)
	_, err = u.ApproveHold(ctx, agrees, h.ID)
	require.NoError(t, err)
	var all sync.WaitGroup
	var settled, placed atomic.Int64
	for i := range 16 {
		all.Go(func() {
			var err error
			if i%2 == 0 {
				_, err = u.PostHold(ctx, poster, h.ID, billing.Money(100+i), ledger.Bank("park"))
			} else {
				_, err = u.VoidHold(ctx, store.By{Actor: fmt.Sprint("x", i)}, h.ID)
			}
			if err == nil {
				settled.Add(1)
			}
		})
		all.Go(func() {
			if _, err := u.PlaceHold(ctx, placer, refund(a, fmt.Sprint("p/", i), 1_500)); err == nil {
				placed.Add(1)
			} else if billing.CodeOf(err) != billing.CodeBlocked {
				t.Error(err)
			}
		})
	}
	all.Wait()
	done, err := u.Hold(ctx, h.ID)
	require.NoError(t, err)
	if done.State == store.HoldPosted {
		require.Equal(t, int64(1), settled.Load())
	} // repeated voids are the same decision, and all are told that it stands
	c, err := u.CreditNow(ctx, a)
	require.NoError(t, err)
	require.Equal(t, billing.Money(1_500*placed.Load()), c.Held)
	require.GreaterOrEqual(t, c.Available(), billing.Money(0))
	require.Equal(t, 10_000-done.Posted, c.Balance)
}

// Random holds, approvals, postings, voids, expiries and charges: held is always the sum of the open holds, and a hold is never granted beyond what
// is available.
func TestHold_heldIsTheSumOfOpenHolds(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	ctx := context.Background()
	a, _ := u.Account(storetest.NewAccount{Fen: 1_000_000})
	now, n := morning, 0
	var ids []string
	rapid.Check(t, func(rt *rapid.T) {
		n++
		before, err := u.CreditNow(ctx, a)
		if err != nil {
			rt.Fatal(err)
		}
		fen := billing.Money(rapid.Int64Range(1, 300_000).Draw(rt, "fen"))
		switch what := rapid.IntRange(0, 5).Draw(rt, "what"); {
		case what <= 1:
			r := refund(a, fmt.Sprint("r/", n), fen)
			r.ExpiresAt = now.Add(time.Duration(rapid.IntRange(1, 30).Draw(rt, "hours")) * time.Hour)
			h, err := u.PlaceHold(ctx, placer, r)
			if (err == nil) != (fen <= before.Available()) {
				rt.Fatalf("%s of %s available: %v", fen, before.Available(), err)
			}
			if err == nil {
				ids = append(ids, h.ID)
			}
		case what == 2 && len(ids) > 0:
			_, err = u.PostHold(ctx, poster, rapid.SampledFrom(ids).Draw(rt, "hold"), fen, ledger.Bank("park"))
		case what == 4 && len(ids) > 0:
			_, err = u.ApproveHold(ctx, agrees, rapid.SampledFrom(ids).Draw(rt, "hold"))
		case what == 3 && len(ids) > 0:
			_, err = u.VoidHold(ctx, poster, rapid.SampledFrom(ids).Draw(rt, "hold"))
		default:
			now = now.Add(2 * time.Hour)
			storetest.SetClock(t, u.Store, now)
			if _, err = u.ExpireHolds(ctx, store.By{Actor: "workflow"}, "park"); err != nil {
				rt.Fatal(err)
			}
			_, err = post(u.Store, charge(a, fmt.Sprint("c/", n), -fen/2-1))
		}
		if err != nil && billing.CodeOf(err) == billing.CodeInternal {
			rt.Fatal(err)
		}
		var wrong int
		err = u.Pool.QueryRow(ctx, `SELECT count(*) FROM balances b WHERE held_fen <> coalesce((SELECT sum(amount_fen) FROM holds h WHERE h.account_id = b.account_id AND state = 'open'), 0)`).Scan(&wrong)
		if err != nil || wrong != 0 {
			rt.Fatalf("held isn't the sum of the open holds (%v)", err)
		}
	})
}

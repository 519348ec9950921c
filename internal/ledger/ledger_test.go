package ledger

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
)

func TestValidate(t *testing.T) {
	good := Move("s1", KindRechargeReceived, "recharge/R1/received", "R1", Cash("s1"), InTransit("s1"), 100)
	require.NoError(t, good.Validate())
	tests := map[string]struct {
		spoil func(*Entry)
		says  string
	}{
		"out of balance":           {func(e *Entry) { e.Postings[0].Amount = 101 }, "0.01 yuan instead of 0"},
		"one posting":              {func(e *Entry) { e.Postings = e.Postings[:1] }, "at least two"},
		"zero posting":             {func(e *Entry) { e.Postings = append(e.Postings, Posting{Bank("s1"), 0}) }, "of zero yuan"},
		"posting without account":  {func(e *Entry) { e.Postings[0].Code = "" }, "without an account"},
		"no key":                   {func(e *Entry) { e.Key = "" }, "needs a site"},
		"no subject":               {func(e *Entry) { e.Subject = "" }, "needs a site"},
		"overflow":                 {func(e *Entry) { e.Postings = []Posting{{"a", math.MaxInt64}, {"b", 1}, {"c", math.MinInt64}} }, "too large"},
		"reversal of nothing":      {func(e *Entry) { e.Kind = KindReversal }, "names the entry"},
		"other kind that reverses": {func(e *Entry) { e.Reverses = 7 }, "names the entry"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := good
			e.Postings = append([]Posting(nil), good.Postings...)
			tt.spoil(&e)
			err := e.Validate()
			require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))
			require.ErrorContains(t, err, tt.says)
		})
	}
}

func drawEntry(t *rapid.T) Entry {
	e := Entry{Site: "s1", Kind: KindDailyCharge, Key: rapid.StringN(1, 8, -1).Draw(t, "key"), Subject: "c1"}
	var sum billing.Money
	for range rapid.IntRange(1, 6).Draw(t, "n") {
		amount := billing.Money(rapid.Int64Range(1, 1e12).Draw(t, "amount"))
		if rapid.Bool().Draw(t, "credit") {
			amount = -amount
		}
		e.Postings = append(e.Postings, Posting{Customer(billing.AccountID(rapid.StringN(1, 4, -1).Draw(t, "code"))), amount})
		sum += amount
	}
	if sum == 0 {
		return Move("s1", KindDailyCharge, e.Key, "c1", "a", "b", 1)
	}
	e.Postings = append(e.Postings, Posting{Unbilled("s1"), -sum})
	return e
}

func TestReverse_undoesEveryPosting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEntry(t)
		require.NoError(t, e.Validate())
		r := Reverse(e, 7)
		require.NoError(t, r.Validate())
		left := map[Code]billing.Money{}
		for _, p := range append(e.Postings, r.Postings...) {
			left[p.Code] += p.Amount
		}
		for code, amount := range left {
			require.Zero(t, amount, code)
		}
	})
}

func TestRequestHash_changesWithEveryField(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEntry(t)
		hash := e.RequestHash()
		require.Equal(t, hash, e.RequestHash())
		i := rapid.IntRange(0, len(e.Postings)-1).Draw(t, "which")
		changes := []func(*Entry){
			func(e *Entry) { e.Site += "x" }, func(e *Entry) { e.Kind += "x" }, func(e *Entry) { e.Key += "x" },
			func(e *Entry) { e.Subject += "x" }, func(e *Entry) { e.Reverses++ },
			func(e *Entry) { e.Postings[i].Amount++ }, func(e *Entry) { e.Postings[i].Code += "x" },
			// A letter that moves from one field to the next must not go unnoticed.
			func(e *Entry) { e.Key, e.Subject = e.Key+e.Subject[:1], e.Subject[1:] },
		}
		for n, change := range changes {
			other := e
			other.Postings = append([]Posting(nil), e.Postings...)
			change(&other)
			require.NotEqual(t, hash, other.RequestHash(), "change %d", n)
		}
	})
}

func TestReceived_knowsEachChannel(t *testing.T) {
	for channel, want := range map[string]Code{"cash": "s1/cash", "transfer": "s1/bank", "online": "s1/online"} {
		got, err := Received("s1", channel)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := Received("s1", "cheque")
	require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))
}

func TestCustomerAccount_isTheInverse(t *testing.T) {
	id, ok := Customer("A1").CustomerAccount()
	require.True(t, ok)
	require.Equal(t, billing.AccountID("A1"), id)
	_, ok = Cash("s1").CustomerAccount()
	require.False(t, ok)
	require.Len(t, House("s1"), 9)
}

package notify

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
)

var facts = Facts{
	Site: "翠园", Account: "A0001", Service: billing.Power, Amount: 10_000, Part: 2_500, Balance: -123_456, Receipt: "T20260105-0001",
	CutAt: time.Date(2026, 1, 15, 10, 0, 0, 0, time.UTC), At: time.Date(2026, 1, 12, 9, 30, 0, 0, time.UTC),
}

// Each kind says what people would otherwise call about.
func TestText_says(t *testing.T) {
	needs := map[string][]string{
		"level1": {"-1,234.56"}, "level2": {"-1,234.56"}, "final": {"-1,234.56", "2026-01-15 10:00"},
		"recharged": {"100.00", "-1,234.56", "T20260105-0001"}, "cut": {"2026-01-12 09:30", "-1,234.56"}, "restored": {"2026-01-12 09:30"}, "allowed": {"2026-01-12 09:30", "-1,234.56"}, "corrected": {"100.00", "-1,234.56"}, "refunded": {"100.00", "-1,234.56"}, "undercharged": {"100.00", "-1,234.56"},
		"refund_undone": {"100.00", "-1,234.56"}, "charge_undone": {"100.00", "-1,234.56"},
		"make_up": {"100.00", "25.00"}, "part_due": {"100.00", "-1,234.56"}, "plan_ended": {"100.00", "-1,234.56"},
	}
	require.Len(t, needs, len(Kinds))
	for _, kind := range Kinds {
		for _, lang := range []Language{Chinese, English} {
			for _, service := range []billing.Service{billing.Power, billing.Water} {
				f := facts
				f.Service = service
				text, err := Text(lang, kind, f)
				require.NoError(t, err)
				for _, part := range append(needs[kind], "A0001", "翠园") {
					require.Contains(t, text, part, "%s %s", lang, kind)
				}
				require.NotContains(t, text, "<no value>")
			}
		}
	}
}

func TestText_unknownKind(t *testing.T) {
	_, err := Text(Chinese, "greeting", facts)
	require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))
}

func TestDemo_takesAMessageOnce(t *testing.T) {
	receipts := make(chan Receipt, 9)
	d := &Demo{Deliver: func(_ context.Context, r Receipt) error { receipts <- r; return nil }}
	first, err := d.Send(t.Context(), Message{ID: "S1", Phone: "139"})
	require.NoError(t, err)
	again, err := d.Send(t.Context(), Message{ID: "S1", Phone: "139"})
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Equal(t, Receipt{ProviderNo: first, Delivered: true}, <-receipts)
	require.Eventually(t, d.Quiet, time.Second, time.Millisecond)
	require.Empty(t, receipts)
	_, err = d.Send(t.Context(), Message{ID: "S2"})
	require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))
}

func TestDemo_failsByPhone(t *testing.T) {
	receipts := make(chan Receipt, 9)
	d := &Demo{
		Deliver: func(_ context.Context, r Receipt) error { receipts <- r; return nil },
		Fails:   func(phone string, nth int) bool { return phone == "139" && nth == 1 },
	}
	for _, want := range []bool{false, true} {
		_, err := d.Send(t.Context(), Message{ID: billing.MessageID(map[bool]string{false: "S1", true: "S2"}[want]), Phone: "139"})
		require.NoError(t, err)
		r := <-receipts
		require.Equal(t, want, r.Delivered)
		require.Equal(t, want, r.Error == "")
	}
}

// A receipt that isn't taken comes again, and the centre isn't quiet before.
func TestDemo_offersAgain(t *testing.T) {
	var offers atomic.Int32
	d := &Demo{Deliver: func(context.Context, Receipt) error {
		if offers.Add(1) < 3 {
			return errors.New("closed")
		}
		return nil
	}}
	_, err := d.Send(t.Context(), Message{ID: "S1", Phone: "139"})
	require.NoError(t, err)
	require.False(t, d.Quiet())
	require.Eventually(t, d.Quiet, 5*time.Second, 5*time.Millisecond)
	require.Equal(t, int32(3), offers.Load())
}

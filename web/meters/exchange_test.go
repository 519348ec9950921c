package meters_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/internal/webtest"
	"github.com/meterflow/meterflow/workflows"
)

// exchangeable serves a meter that holds 70.00 yuan by its last reading, of an account with 50.00.
func exchangeable(t *testing.T) (*webtest.Server, *webtest.Recorder, string) {
	t.Helper()
	rec := &webtest.Recorder{}
	st := storetest.New(t)
	s := webtest.NewWith(t, st, &workflows.Client{T: rec, Review: &activities.Review{Store: st}})
	m := s.Account(t, webtest.Compound, "1001", 5000)
	s.Account(t, webtest.Plaza, "2001", 5000)
	day := billing.MustDate("2026-09-11")
	s.Read(t, webtest.Compound, day, map[billing.MeterID]billing.Registers{m: bands(900)})
	ctx := context.Background()
	_, err := st.Pool.Exec(ctx, `UPDATE accounts SET credit_mode = 'meter' WHERE id = '1001'`)
	require.NoError(t, err)
	_, err = st.Pool.Exec(ctx, `INSERT INTO commands (id, site_id, account_id, meter_id, kind, state, cause, requested_by, deadline, amount_fen, count_after, remaining_after_fen, requested_at, settled_at)
		VALUES ('D1', 'compound', '1001', $1, 'credit', 'verified', 'recharge/R1', 'workflow', now(), 100, 1, 7000, business_now(), business_now())`, m)
	require.NoError(t, err)
	return s, rec, "/meters/" + string(m) + "/exchange"
}

// form is a good form, with changes as name and value one after the other.
func form(changes ...string) []string {
	fields := []string{"reason", "eight years old", "new_meter", "M9", "serial", "260100000009", "profile", "sim-ddsy1352", "unit", "1", "remaining", "69.50", "nonce", "x"}
	for _, register := range []string{"total", "sharp", "peak", "flat", "valley", "deep_valley"} {
		value := "0"
		if register == "total" || register == "peak" {
			value = "9.50"
		}
		fields = append(fields, "closing-"+register, value, "opening-"+register, "0")
	}
	for i := 0; i < len(changes); i += 2 {
		for j := 0; j < len(fields); j += 2 {
			if fields[j] == changes[i] {
				fields[j+1] = changes[i+1]
			}
		}
	}
	return fields
}

func TestExchange(t *testing.T) {
	s, rec, path := exchangeable(t)
	b := s.SignIn(t, webtest.Supervisor)
	require.Contains(t, b.Get(strings.TrimSuffix(path, "/exchange")).Body, path, "the meter's page leads there")
	fresh := b.Get(path)
	require.Equal(t, http.StatusOK, fresh.Status, fresh.Body)
	require.Contains(t, fresh.Find("action-exchange").Text(), "Empty takes what was read last: 70.00 yuan")

	a := b.Post(path, form()...)
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	require.Empty(t, rec.Started, "its effect is shown first")
	preview := b.Get(a.Header.Get("Location"))
	require.Contains(t, preview.Find("fact-used").Text(), "0.50")
	require.Contains(t, preview.Find("fact-carry").Text(), "69.50")
	require.Contains(t, preview.Find("fact-balance").Text(), "50.00")
	require.Contains(t, preview.Find("fact-drift").Text(), "19.50")
	seen := preview.Doc().Find(`[name="seen"]`).AttrOr("value", "")
	require.NotEmpty(t, seen)

	a = b.Post(path, append(form("remaining", "60.00"), "seen", seen)...)
	require.Equal(t, http.StatusSeeOther, a.Status)
	require.Empty(t, rec.Started, "other values than those whose effect was seen are shown again")
	a = b.Post(path, append(form(), "seen", seen)...)
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	require.Equal(t, "/meters/M9", a.Header.Get("Location"))
	require.Equal(t, []string{"exchange/order/M1001/x"}, rec.Started)
}

func TestExchange_refusals(t *testing.T) {
	s, rec, path := exchangeable(t)
	b := s.SignIn(t, webtest.Supervisor)
	for _, test := range []struct{ field, value, at, want string }{
		{"closing-total", "8.99", "action-error", "is below the last reading"},
		{"remaining", "69.505", "error-remaining", "more than two decimals"},
		{"remaining", "70.01", "action-error", "can't hold 70.01 yuan"},
		{"serial", "12", "error-serial", "12 digits"},
		{"serial", "000000000002", "action-error", "is that of meter M2001"},
		{"new_meter", "M2001", "action-error", "is another meter's already"},
		{"unit", "0", "error-unit", "from 1 to 247"},
		{"closing-total", "-1", "error-closing-total", "only counts up"},
		{"reason", "", "error-reason", "fill in"},
	} {
		a := b.Post(path, form(test.field, test.value)...)
		require.GreaterOrEqual(t, a.Status, 400, test.want)
		require.Contains(t, a.Find(test.at).Text(), test.want)
	}
	require.Equal(t, http.StatusNotFound, b.Get("/meters/M2001/exchange").Status, "another site's meter")
	require.Equal(t, http.StatusNotFound, b.Post("/meters/M2001/exchange", form()...).Status)
	clerk := s.SignIn(t, webtest.Clerk)
	require.Equal(t, http.StatusForbidden, clerk.Post(path, form()...).Status)
	require.NotContains(t, clerk.Get(strings.TrimSuffix(path, "/exchange")).Body, path)
	require.Empty(t, rec.Started)
}

// A meter that holds a volume: its litres are asked for in m³ and shown before anything happens; a sign is read as a debt.
func TestExchange_volume(t *testing.T) {
	rec := &webtest.Recorder{}
	st := storetest.New(t)
	s := webtest.NewWith(t, st, &workflows.Client{T: rec, Review: &activities.Review{Store: st}})
	m := s.Account(t, webtest.Compound, "1001", 5000)
	ctx := context.Background()
	for _, change := range []string{
		`UPDATE accounts SET credit_mode = 'meter' WHERE id = '1001'`, `UPDATE meters SET service = 'water', profile = 'sim-volume-water' WHERE id = 'M1001'`,
		`UPDATE fittings SET opening = '{0}' WHERE meter_id = 'M1001'`,
		`INSERT INTO commands (id, site_id, account_id, meter_id, kind, state, cause, requested_by, deadline, amount_fen, volume_litres, volume_price_e8, volume_before, volume_target, volume_after,
			volume_total_after, requested_at, settled_at) VALUES ('D1', 'compound', '1001', 'M1001', 'credit', 'verified', 'recharge/R1', 'workflow', now(), 600, 1000, 600000000, 0, 1000, 1000, 20, business_now(), business_now())`,
	} {
		_, err := st.Pool.Exec(ctx, change)
		require.NoError(t, err)
	}
	path := "/meters/" + string(m) + "/exchange"
	b := s.SignIn(t, webtest.Supervisor)
	fresh := b.Get(path)
	require.Equal(t, http.StatusOK, fresh.Status, fresh.Body)
	require.Contains(t, fresh.Find("action-exchange").Text(), "Empty takes what was read last, 1.000 m³")
	water := func(remaining string) []string {
		return []string{"reason", "eight years old", "new_meter", "M9", "serial", "260100000009", "profile", "sim-volume-water", "unit", "1", "remaining", remaining, "nonce", "x", "closing-total", "0.05", "opening-total", "0"}
	}
	facts := func(remaining string) webtest.Answer {
		t.Helper()
		a := b.Post(path, water(remaining)...)
		require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
		return b.Get(a.Header.Get("Location"))
	}
	reckoned := facts("")
	require.Contains(t, reckoned.Find("fact-carry").Text(), "0.970")
	require.NotContains(t, reckoned.Body, "fact-reckoned")
	typed := facts("0.900")
	require.Contains(t, typed.Find("fact-carry").Text(), "0.900")
	require.Contains(t, typed.Find("fact-reckoned").Text(), "0.970")
	require.Contains(t, facts("0.009").Find("fact-carry").Text(), "next recharge")
	require.Contains(t, facts("-0.100").Find("fact-carry").Text(), "nothing that could be carried over")
	require.Contains(t, b.Post(path, water("1.001")...).Find("action-error").Text(), "can't hold 1001 litres")
	require.NotEmpty(t, b.Post(path, water("0.0001")...).Find("error-remaining").Text(), "finer than the register")
	require.Empty(t, rec.Started)

	// What was too little to be delivered alone is shown until a recharge has taken it along; and that nothing holds such a meter open.
	meter := strings.TrimSuffix(path, "/exchange")
	require.NotContains(t, b.Get(meter).Body, "fact-with-next")
	for _, change := range []string{
		`INSERT INTO meters (id, site_id, gateway_id, unit, serial, profile, service, digits, capacity_per_hour, state) SELECT 'M0', site_id, gateway_id, 9, '260100000000', profile, service, digits, capacity_per_hour, 'removed' FROM meters WHERE id = 'M1001'`,
		`INSERT INTO exchanges (id, site_id, account_id, old_meter_id, new_meter_id, nonce, exchanged_at, made_by, reason, remaining_litres, remaining_from, credit, hold, state, settled_at)
			VALUES ('E1', 'compound', '1001', 'M0', 'M1001', 'n', business_now(), 'u', 'old', 7, 'display', 'with_next', 'none', 'done', business_now())`,
	} {
		_, err := st.Pool.Exec(ctx, change)
		require.NoError(t, err)
	}
	shown := b.Get(meter)
	require.Contains(t, shown.Find("fact-with-next").Text(), "0.007")
	require.Contains(t, shown.Find("fact-guarded").Text(), "can't be held on")
	require.Contains(t, b.Get("/accounts/1001").Body, "This account&#39;s meter can&#39;t be held on")
	require.Contains(t, b.JSON(http.MethodGet, "/api/v1/meters/M1001", "").Body, `"can_hold_on":false`)
	_, err := st.Pool.Exec(ctx, `UPDATE commands SET volume_carried = 7 WHERE id = 'D1'`)
	require.NoError(t, err)
	require.NotContains(t, b.Get(meter).Body, "fact-with-next", "the recharge took them along")
	_, err = st.Pool.Exec(ctx, `UPDATE meters SET profile = 'sim-ddsy1352' WHERE id = 'M1001'`)
	require.NoError(t, err)
	require.NotContains(t, b.Get("/accounts/1001").Body, "can&#39;t be held on")
}

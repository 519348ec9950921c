package billing_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
)

func TestParseMoney(t *testing.T) {
	good := map[string]billing.Money{
		"12.34": 1234, "12": 1200, "12.3": 1230, "-0.05": -5, " 7.00 ": 700, "0": 0,
		"92233720368547758.07": math.MaxInt64,
	}
	for text, want := range good {
		got, err := billing.ParseMoney(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	bad := map[string]string{
		"":                     "empty",
		"12.345":               "more than two decimals",
		"12.340":               "more than two decimals",
		"1,234.00":             "not a number",
		"1e3":                  "not a number",
		"12.":                  "not a number",
		".5":                   "not a number",
		"+5":                   "not a number",
		"--5":                  "not a number",
		"¥5":                   "not a number",
		"92233720368547758.08": "too large",
	}
	for text, want := range bad {
		_, err := billing.ParseMoney(text)
		require.ErrorContains(t, err, want, text)
		require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err), text)
	}
}

func TestMoney_text(t *testing.T) {
	for money, want := range map[billing.Money][2]string{
		0:             {"0.00", "0.00"},
		-5:            {"-0.05", "-0.05"},
		99999:         {"999.99", "999.99"},
		100000:        {"1000.00", "1,000.00"},
		-123456789:    {"-1234567.89", "-1,234,567.89"},
		math.MinInt64: {"-92233720368547758.08", "-92,233,720,368,547,758.08"},
	} {
		require.Equal(t, want, [2]string{money.String(), money.Grouped()})
	}
	data, err := json.Marshal(billing.Money(1234))
	require.NoError(t, err)
	require.Equal(t, "1234", string(data))
}

func TestMoney_roundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := billing.Money(rapid.Int64Range(-math.MaxInt64, math.MaxInt64).Draw(t, "fen"))
		back, err := billing.ParseMoney(m.String())
		require.NoError(t, err)
		require.Equal(t, m, back)
	})
}

func TestMoney_sumThatDoesNotFitIsRefused(t *testing.T) {
	_, err := billing.Money(math.MaxInt64).Add(1)
	require.Error(t, err)
	_, err = billing.Money(math.MinInt64).Add(-1)
	require.Error(t, err)
	_, err = billing.Money(0).Sub(math.MinInt64)
	require.Error(t, err)
	_, err = billing.SumMoney(1, math.MaxInt64, -1)
	require.Error(t, err)
	sum, err := billing.SumMoney(5, -7)
	require.NoError(t, err)
	require.Equal(t, billing.Money(-2), sum)
}

func TestNumbers_refuse(t *testing.T) {
	for _, text := range []string{"", "4e+05", "1,5", "0.123456789", "12345678901234567890", "1.2.3", "NaN", " 1"} {
		_, err := billing.ParsePrice(text)
		require.Error(t, err, text)
		require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err), text)
	}
	_, err := billing.ParsePrice("12345678901.123456789012")
	require.ErrorContains(t, err, "more than 19 digits", "the rest would be rounded away silently")
	_, err = billing.ParseQuantity("0.1234567")
	require.ErrorContains(t, err, "more than 6 decimals")
	var q billing.Quantity
	require.Error(t, json.Unmarshal([]byte("1.5"), &q), "a JSON number is a float; only strings are taken")
}

func TestNumbers_equalValuesAreIdentical(t *testing.T) {
	require.True(t, billing.MustQuantity("1.500") == billing.MustQuantity("1.5"))
	require.Equal(t, "1.50", billing.MustQuantity("1.5").Fixed(2))
	var q billing.Quantity
	require.NoError(t, q.Scan("1.50000000"))
	require.Equal(t, billing.MustQuantity("1.5"), q)
	data, err := json.Marshal(q)
	require.NoError(t, err)
	require.Equal(t, `"1.5"`, string(data))
	value, err := q.Value()
	require.NoError(t, err)
	require.Equal(t, "1.5", value)
	require.Error(t, q.Scan(1.5), "a float from SQL is refused")
}

func TestCharge_roundsOnceHalfUp(t *testing.T) {
	for _, c := range []struct {
		q, p, f string
		want    billing.Money
	}{
		{"1", "0.005", "1", 1},
		{"1", "0.004", "1", 0},
		{"1", "0.00499999", "1", 0},
		{"-1", "0.005", "1", -1},
		{"3", "0.335", "1", 101}, // 1.005: half even would give 100
		{"100", "2.00", "0.9", 18000},
		{"1.55", "2.00", "0.9", 279}, // 1.55 × 0.9 is not rounded on the way
		{"1000000", "3", "1", 300000000},
		{"0", "5", "1", 0},
	} {
		got, err := billing.Charge(billing.MustQuantity(c.q), billing.MustPrice(c.p), billing.MustFactor(c.f))
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%+v", c)
	}
	got, err := billing.Charge(billing.MustQuantity("2"), billing.MustPrice("3"), billing.Factor{})
	require.NoError(t, err)
	require.Equal(t, billing.Money(600), got, "an absent factor is 1")
	_, err = billing.Charge(billing.MustQuantity("9999999999999999999"), billing.MustPrice("9999999999"), billing.Factor{})
	require.Error(t, err)
}

func TestCharge_agreesWithRationals(t *testing.T) {
	half := big.NewRat(1, 2)
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string, digits, decimals int) string {
			whole := rapid.Int64Range(0, billing.Wrap(digits)-1).Draw(t, name)
			scale := rapid.IntRange(0, decimals).Draw(t, name+" scale")
			return new(big.Rat).SetFrac(big.NewInt(whole), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)).FloatString(scale)
		}
		q, p, f := text("quantity", 12, 6), text("price", 10, 8), text("factor", 4, 4)
		got, err := billing.Charge(billing.MustQuantity(q), billing.MustPrice(p), billing.MustFactor(f))
		rat := big.NewRat(100, 1)
		for i, s := range []string{q, p, f} {
			r, _ := new(big.Rat).SetString(s)
			if i == 2 && r.Sign() == 0 {
				r = big.NewRat(1, 1)
			}
			rat.Mul(rat, r)
		}
		rat.Add(rat, half)
		want := new(big.Int).Div(rat.Num(), rat.Denom())
		if !want.IsInt64() {
			require.Error(t, err)
			return
		}
		require.NoError(t, err)
		require.Equal(t, want.Int64(), int64(got), "%s × %s × %s", q, p, f)
	})
}

func TestService_rawAndQuantity(t *testing.T) {
	require.Equal(t, "123.45", billing.Power.Quantity(12345).String())
	require.Equal(t, "12.345", billing.Water.Quantity(12345).String())
	require.Equal(t, "120.00", billing.Power.Format(12000))
	for _, s := range []billing.Service{billing.Power, billing.Water} {
		rapid.Check(t, func(t *rapid.T) {
			raw := rapid.Int64().Filter(func(n int64) bool { return n != math.MinInt64 }).Draw(t, "raw")
			back, err := s.Raw(s.Quantity(raw))
			require.NoError(t, err)
			require.Equal(t, raw, back)
		})
	}
	_, err := billing.Power.Raw(billing.MustQuantity("0.001"))
	require.ErrorContains(t, err, "finer than the register")
}

func TestRegisters_validate(t *testing.T) {
	require.NoError(t, billing.Registers{5}.Validate(billing.Water))
	require.NoError(t, billing.Registers{5}.Validate(billing.Power))
	require.NoError(t, billing.Registers{15, 1, 2, 3, 4, 5}.Validate(billing.Power))
	require.Error(t, billing.Registers{15, 1, 2, 3, 4, 5}.Validate(billing.Water))
	require.Error(t, billing.Registers{1, 2}.Validate(billing.Power))
	require.Error(t, billing.Registers{}.Validate(billing.Power))
	require.ErrorContains(t, billing.Registers{1, 0, -1, 0, 0, 0}.Validate(billing.Power), "peak")
	require.Equal(t, int64(15), billing.Registers{15, 1, 2, 3, 4, 5}.BandSum())
}

func TestError_keepsCodeAndCause(t *testing.T) {
	cause := errors.New("disk full")
	err := fmt.Errorf("store: %w", billing.Errorf(billing.CodeConflict, "Recharge %s exists: %w", "R1", cause))
	require.Equal(t, billing.CodeConflict, billing.CodeOf(err))
	require.ErrorIs(t, err, cause)
	require.Equal(t, "Recharge R1 exists: disk full", billing.MessageOf(err))
	require.Equal(t, billing.CodeInternal, billing.CodeOf(cause))
	require.NotContains(t, billing.MessageOf(cause), "disk", "an unknown error must not leak")
	require.Equal(t, billing.Code(""), billing.CodeOf(nil))
}

func TestDate(t *testing.T) {
	shanghai, err := time.LoadLocation("Asia/Shanghai")
	require.NoError(t, err)
	d := billing.MustDate("2024-02-28")
	require.Equal(t, "2024-02-29", d.AddDays(1).String(), "a leap day")
	require.Equal(t, 2, d.DaysUntil(billing.MustDate("2024-03-01")))
	require.Equal(t, time.Date(2024, 2, 27, 16, 0, 0, 0, time.UTC), d.Start(shanghai).UTC())
	require.Equal(t, d, billing.DateOf(d.Start(shanghai), shanghai))
	require.Equal(t, d.AddDays(-1), billing.DateOf(d.Start(shanghai).Add(-1), shanghai))
	require.Equal(t, "2026-02", billing.MonthPeriod(billing.MustDate("2026-02-17")).String())
	require.Equal(t, 28, billing.MonthPeriod(billing.MustDate("2026-02-17")).Days())
	december, err := billing.ParseMonth("2025-12")
	require.NoError(t, err)
	require.Equal(t, billing.Period{From: billing.MustDate("2025-12-01"), To: billing.MustDate("2026-01-01")}, december)
	require.False(t, december.Contains(december.To))
	for _, text := range []string{"2026-02-30", "2026-2-3", "", "tomorrow"} {
		_, err := billing.ParseDate(text)
		require.Error(t, err, text)
	}
	var back billing.Date
	require.NoError(t, json.Unmarshal([]byte(`"2024-02-28"`), &back))
	require.Equal(t, d, back)
	require.NoError(t, back.Scan(nil))
	require.True(t, back.IsZero())
}

func TestDate_startWhereMidnightIsSkipped(t *testing.T) {
	santiago, err := time.LoadLocation("America/Santiago")
	require.NoError(t, err)
	d := billing.MustDate("2024-09-08") // clocks go from 24:00 to 01:00
	start := d.Start(santiago)
	require.Equal(t, d, billing.DateOf(start, santiago))
	require.Equal(t, d.AddDays(-1), billing.DateOf(start.Add(-time.Second), santiago))
}

func TestCalendar(t *testing.T) {
	c := billing.NewCalendar(
		billing.CalendarYear{Year: 2026, Days: []billing.CalendarDay{
			{Date: billing.MustDate("2026-10-01"), Off: true, Name: "国庆节"},
			{Date: billing.MustDate("2026-10-02"), Off: true, Name: "国庆节"},
			{Date: billing.MustDate("2026-10-10"), Off: false, Name: "国庆节"},
		}},
		billing.CalendarYear{Year: 2027},
	)
	for day, want := range map[string]bool{
		"2026-10-01": true, "2026-10-05": false, "2026-10-10": false, "2026-10-11": true, "2026-10-12": false,
	} {
		off, err := c.Off(billing.MustDate(day))
		require.NoError(t, err)
		require.Equal(t, want, off, day)
	}
	_, err := c.Off(billing.MustDate("2027-01-01"))
	require.ErrorContains(t, err, "calendar for 2027 is not loaded")
	next, err := c.NextWorkingDay(billing.MustDate("2026-10-10"))
	require.NoError(t, err)
	require.Equal(t, "2026-10-12", next.String())
	_, err = c.NextWorkingDay(billing.MustDate("2026-12-31"))
	require.Equal(t, billing.CodeUnavailable, billing.CodeOf(err))
}

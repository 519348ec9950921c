package longhand_test

import (
	"encoding/json"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/longhand"
	"github.com/meterflow/meterflow/internal/rating"
)

// history makes one account's period, in the form of each of the two ratings.
func (g *generator) history(t *testing.T) (rating.Input, longhand.Account) {
	s := shape{water: g.chance(25)}
	s.bands = !s.water && g.chance(60)
	zone, err := time.LoadLocation(pick(g, "Asia/Shanghai", "Asia/Shanghai", "Europe/London"))
	require.NoError(t, err)
	in := rating.Input{Location: zone, Open: g.chance(20)}
	a := longhand.Account{Zone: zone, Open: in.Open, Tariffs: map[string]json.RawMessage{}, Months: map[string]longhand.Month{}}
	for _, id := range []string{"one", "two"} {
		raw, err := json.Marshal(g.tariff(id, s))
		require.NoError(t, err)
		a.Tariffs[id] = raw
	}
	in.Tariff = parse(t, a.Tariffs["one"])
	g.period(&in, &a)
	g.terms(t, s, &in, &a)
	g.readings(s, &in, &a)
	g.months(&in, &a)
	if g.chance(35) {
		g.late(&in, &a)
	}
	used := g.decimal(600_000, 2)
	in.UsedInYear, a.UsedYear = billing.MustQuantity(used), rat(used)
	if used = g.decimal(40_000, 2); g.chance(50) || in.From.In(zone).Day() == 1 {
		used = "0"
	}
	in.UsedInMonth, a.UsedMonth = billing.MustQuantity(used), rat(used)
	return in, a
}

func rat(text string) *big.Rat {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		panic(text)
	}
	return r
}

// period is a month, some days, or some months.
func (g *generator) period(in *rating.Input, a *longhand.Account) {
	first := time.Date(2025, time.Month(1+g.IntN(22)), 1, 0, 0, 0, 0, in.Location)
	to := first.AddDate(0, 1, 0)
	switch {
	case g.chance(25):
		first = first.AddDate(0, 0, g.IntN(25))
		to = first.AddDate(0, 0, 1+g.IntN(40))
	case g.chance(20):
		to = first.AddDate(0, 2+g.IntN(2), 0)
	}
	in.From, in.To, a.From, a.To = first, to, first, to
	if g.chance(30) {
		day := first.AddDate(0, 0, -g.IntN(200)).Format(time.DateOnly)
		in.OpenedOn, a.OpenedOn = billing.MustDate(day), day
	}
	if g.chance(15) {
		day := to.AddDate(0, 0, g.IntN(100)).Format(time.DateOnly)
		in.ClosedOn, a.ClosedOn = billing.MustDate(day), day
	}
}

func (g *generator) terms(t *testing.T, s shape, in *rating.Input, a *longhand.Account) {
	days := []string{"2024-06-01"}
	length := int(in.To.Sub(in.From).Hours() / 24)
	for range g.IntN(3) {
		days = append(days, in.From.AddDate(0, 0, g.IntN(length+60)-50).Format(time.DateOnly))
	}
	slices.Sort(days)
	days = slices.Compact(days)
	two := parse(t, a.Tariffs["two"])
	for _, day := range days {
		own := rating.Terms{From: billing.MustDate(day), Persons: g.IntN(9)}
		theirs := longhand.Terms{From: day, Tariff: "one", Persons: own.Persons}
		if g.chance(25) {
			own.Tariff, theirs.Tariff = &two, "two"
		}
		quantity := func(percent int, to *billing.Quantity, too **big.Rat) {
			if g.chance(percent) {
				text := g.decimal(999_999, 3)
				if text != "0.000" {
					*to, *too = billing.MustQuantity(text), rat(text)
				}
			}
		}
		quantity(90, &own.CapacityKVA, &theirs.Capacity)
		quantity(30, &own.SuspendedKVA, &theirs.Suspended)
		quantity(90, &own.ContractDemandKW, &theirs.Contract)
		theirs.Choice = pick(g, "capacity", "demand")
		own.Choice = billing.ChargeChoice(theirs.Choice)
		if !s.water && !s.bands && g.chance(20) {
			theirs.Register = 1 + g.IntN(5)
			own.Register = billing.Register(theirs.Register)
		}
		in.Terms, a.Terms = append(in.Terms, own), append(a.Terms, theirs)
	}
}

// readings are daily, rare or at odd hours; meters are exchanged, ratios changed, registers roll over.
func (g *generator) readings(s shape, in *rating.Input, a *longhand.Account) {
	begin, end := in.From, in.To
	if g.chance(25) {
		begin = begin.Add(-time.Duration(1+g.IntN(100)) * time.Hour)
	}
	if g.chance(25) {
		end = end.Add(time.Duration(1+g.IntN(100)) * time.Hour)
	}
	ats := []time.Time{begin}
	for at := begin; ; {
		at = at.Add(time.Duration(1+g.IntN(60)) * pick(g, time.Hour, time.Hour, 13*time.Minute))
		if g.chance(40) { // a midnight
			l := at.In(in.Location)
			at = time.Date(l.Year(), l.Month(), l.Day()+1, 0, 0, 0, 0, in.Location)
		}
		if !at.Before(end) {
			break
		}
		ats = append(ats, at)
	}
	ats = append(ats, end)
	exchange := -1
	if len(ats) > 3 && g.chance(25) {
		exchange = 1 + g.IntN(len(ats)-2)
	}
	no := 1
	g.fit(in, a)
	shown := g.opening(s, in.Fittings[0].Digits)
	for i, at := range ats {
		if i > 0 {
			g.count(shown, in.Fittings[no-1].Digits, at.Sub(ats[i-1]))
		}
		g.point(in, a, at, shown, no)
		if i == exchange {
			no++
			g.fit(in, a)
			shown = g.opening(s, in.Fittings[no-1].Digits)
			g.point(in, a, at, shown, no)
		}
	}
}

func (g *generator) fit(in *rating.Input, a *longhand.Account) {
	f := rating.Fitting{No: len(in.Fittings) + 1, Meter: "M", Ratio: int64(pick(g, 1, 1, 1, 20, 80)), Digits: pick(g, 7, 8, 10)}
	in.Fittings = append(in.Fittings, f)
	a.Fittings = append(a.Fittings, longhand.Fitting{Ratio: f.Ratio, Digits: f.Digits})
}

func (g *generator) opening(s shape, digits int) []int64 {
	wrap := int64(1)
	for range digits {
		wrap *= 10
	}
	n := 1
	if !s.water && (s.bands || g.chance(70)) {
		n = 6
	}
	shown := make([]int64, n)
	for k := range shown {
		shown[k] = g.Int64N(wrap)
		if g.chance(20) {
			shown[k] = wrap - 1 - g.Int64N(2000)
		}
	}
	return shown
}

// count adds use; now and then total and bands part by a unit.
func (g *generator) count(shown []int64, digits int, over time.Duration) {
	wrap := int64(1)
	for range digits {
		wrap *= 10
	}
	most := int64(over.Hours()*200) + 3
	var total int64
	for k := 1; k < len(shown); k++ {
		use := g.Int64N(most)
		total += use
		shown[k] = (shown[k] + use) % wrap
	}
	if len(shown) == 1 {
		total = g.Int64N(most)
	} else if g.chance(10) {
		total += g.Int64N(3)
	}
	shown[0] = (shown[0] + total) % wrap
}

func (g *generator) point(in *rating.Input, a *longhand.Account, at time.Time, shown []int64, fitting int) {
	in.Points = append(in.Points, rating.Point{At: at, Registers: slices.Clone(shown), Quality: billing.QualityActual, Fitting: fitting})
	a.Points = append(a.Points, longhand.Point{At: at, Registers: slices.Clone(shown), Fitting: fitting})
}

func (g *generator) months(in *rating.Input, a *longhand.Account) {
	l := in.From.In(in.Location)
	for first := time.Date(l.Year(), l.Month(), 1, 0, 0, 0, 0, in.Location); first.Before(in.To); first = first.AddDate(0, 1, 0) {
		own := rating.Month{First: billing.DateOf(first, in.Location)}
		var theirs longhand.Month
		if g.chance(97) {
			text := g.decimal(99_999, 2)
			q := billing.MustQuantity(text)
			own.DemandKW, theirs.Demand = &q, rat(text)
		}
		if g.chance(97) {
			text := g.decimal(9_999_999, 2)
			q := billing.MustQuantity(text)
			own.Kvarh, theirs.Kvarh = &q, rat(text)
		}
		in.Months, a.Months[first.Format("2006-01")] = append(in.Months, own), theirs
	}
}

// late makes debts of the year before the period and what was paid of them.
func (g *generator) late(in *rating.Input, a *longhand.Account) {
	start := billing.DateOf(in.From, in.Location)
	own, theirs := &rating.Late{}, &longhand.Late{}
	for day := start.AddDays(-420 + g.IntN(200)); len(own.Rates) < 1+g.IntN(4); day = day.AddDays(1 + g.IntN(150)) {
		same, earlier, least := pick(g, "0.001", "0.002", "0", "0.00055"), pick(g, "0.003", "0.001", "0"), int64(g.IntN(4)*50)
		own.Rates = append(own.Rates, rating.LateRate{From: day, SameYear: billing.MustPrice(same), EarlierYears: billing.MustPrice(earlier), Minimum: billing.Money(least)})
		theirs.Rates = append(theirs.Rates, longhand.LateRate{From: day.String(), Same: rat(same), Earlier: rat(earlier), Least: least})
	}
	for day := start.AddDays(-380 + g.IntN(400)); len(own.Debts) < 1+g.IntN(5); day = day.AddDays(g.IntN(40)) {
		month, fen := billing.MonthPeriod(day.AddDays(-g.IntN(60))).From, int64(g.IntN(1+g.IntN(100_000)))
		own.Debts = append(own.Debts, rating.Debt{Month: month, Due: day, Amount: billing.Money(fen)})
		theirs.Debts = append(theirs.Debts, longhand.Debt{Month: month.String(), Due: day.String(), Fen: fen})
	}
	for day := start.AddDays(-380 + g.IntN(400)); len(own.Payments) < g.IntN(8); day = day.AddDays(g.IntN(30)) {
		fen := int64(g.IntN(50_000)) - 8_000*int64(g.IntN(2))
		own.Payments = append(own.Payments, rating.Payment{Day: day, Amount: billing.Money(fen)})
		theirs.Payments = append(theirs.Payments, longhand.Payment{Day: day.String(), Fen: fen})
	}
	in.Late, a.Late = own, theirs
}

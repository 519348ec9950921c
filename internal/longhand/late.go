package longhand

import (
	"math/big"
	"time"
)

// Late is what section 4.8 takes; days are 2006-01-02, amounts fen.
type Late struct {
	Rates    []LateRate
	Debts    []Debt
	Payments []Payment
}

// LateRate is in force from a day on.
type LateRate struct {
	From          string
	Same, Earlier *big.Rat
	Least         int64
}

// Debt is what the bill of a month asks for by its due day.
type Debt struct {
	Month, Due string
	Fen        int64
}

// Payment is money that came, or went back.
type Payment struct {
	Day string
	Fen int64
}

// lateDay is a day on which a part of a debt was late.
type lateDay struct {
	day   string
	open  int64
	share *big.Rat
	least int64
}

// lateFees goes day by day through each debt.
func (r *rater) lateFees() {
	if r.Late == nil || r.Open {
		return
	}
	days := r.days(r.From, r.To)
	first, last := days[0], days[len(days)-1]
	type account struct{ old, now, least int64 }
	byBill := map[string]*account{}
	var order []string
	var older int64
	for _, d := range r.Late.Debts {
		if byBill[d.Month] == nil {
			byBill[d.Month] = &account{}
			order = append(order, d.Month)
		}
		bill := byBill[d.Month]
		for _, run := range r.lateRuns(d, older, first, last) {
			fee := fen(times(big.NewRat(run[0].open*int64(len(run)), 100), run[0].share))
			if fee != 0 && bill.old+bill.now == 0 {
				bill.least = run[0].least
			}
			if run[0].day < first {
				bill.old += fee
			} else {
				bill.now += fee
				r.lines = append(r.lines, Line{Component: "late_fee", Fen: fee})
			}
		}
		older += d.Fen
	}
	for _, month := range order {
		b := byBill[month]
		all, old := b.old+b.now, b.old
		if all > 0 {
			all = max(all, b.least)
		}
		if old > 0 {
			old = max(old, b.least)
		}
		r.lines = append(r.lines, Line{Component: "late_fee_minimum", Fen: all - old - b.now})
	}
}

// lateRuns are the late days of a debt, in runs of one month with the same open part and share.
func (r *rater) lateRuns(d Debt, older int64, first, last string) (runs [][]lateDay) {
	for day := nextDay(d.Due); day <= last; day = nextDay(day) {
		l := lateDay{day: day, share: whole(0)}
		for _, rate := range r.Late.Rates {
			if rate.From <= day {
				l.share, l.least = rate.Same, rate.Least
				if day[:4] > d.Due[:4] {
					l.share = rate.Earlier
				}
			}
		}
		left := older + d.Fen
		for _, p := range r.Late.Payments {
			if p.Day <= day {
				left -= p.Fen
			}
		}
		l.open = max(0, min(left, d.Fen))
		if l.open == 0 || l.share.Sign() == 0 {
			continue
		}
		if n := len(runs) - 1; n >= 0 && day[8:] != "01" && day != first {
			before := runs[n][len(runs[n])-1]
			if nextDay(before.day) == day && before.open == l.open && before.share.Cmp(l.share) == 0 {
				runs[n] = append(runs[n], l)
				continue
			}
		}
		runs = append(runs, []lateDay{l})
	}
	return runs
}

func nextDay(day string) string {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err) // a day is a day
	}
	return t.AddDate(0, 0, 1).Format(time.DateOnly)
}

package longhand

import (
	"fmt"
	"math/big"
	"slices"
	"time"
)

// stretch is a part of a month in which neither version nor terms change.
type stretch struct {
	first      string
	days       int
	thirtieths int64
}

// closeMonth adds the lines of monthly kinds of the month of an instant: section 4.6.
func (r *rater) closeMonth(at time.Time) error {
	defer func() { r.byMonth, r.use = nil, whole(0) }()
	month := r.monthOf(at)
	stretches, whole30, err := r.stretches(month)
	if err != nil {
		return err
	}
	for _, s := range stretches {
		if err := r.standing(month, s); err != nil {
			return err
		}
	}
	v, err := r.versionOn(r.dayOf(r.lastDay))
	if err != nil {
		return err
	}
	for _, kind := range []string{"power_factor", "minimum", "tax"} {
		before := slices.Clone(r.byMonth)
		for _, c := range v.Components {
			if c.Kind != kind {
				continue
			}
			switch kind {
			case "power_factor":
				err = r.powerFactor(c, month)
			case "minimum":
				r.minimum(c, whole30)
			case "tax":
				r.tax(c, v, before)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// stretches divides the month's days inside the period, and counts thirtieths: of each stretch, and of them all as one.
func (r *rater) stretches(month string) ([]stretch, int64, error) {
	var list []stretch
	var all []string
	for _, day := range r.days(r.From, r.To) {
		if day[:7] != month {
			continue
		}
		v, err := r.versionOn(day)
		if err != nil {
			return nil, 0, err
		}
		if n := len(list); n > 0 {
			before, err := r.versionOn(list[n-1].first)
			if err != nil {
				return nil, 0, err
			}
			if before.From == v.From && r.termsOn(list[n-1].first).From == r.termsOn(day).From {
				list[n-1].days++
				all = append(all, day)
				continue
			}
		}
		list = append(list, stretch{first: day, days: 1})
		all = append(all, day)
	}
	first := r.midnight(month + "-01")
	covered := len(all) == int(first.AddDate(0, 1, 0).Sub(first).Hours()/24+0.5)
	left := int64(30)
	for i := range list {
		n := min(int64(list[i].days), left)
		if covered && i == len(list)-1 {
			n = left
		}
		list[i].thirtieths = n
		left -= n
	}
	one := min(int64(len(all)), 30)
	if covered {
		one = 30
	}
	return list, one, nil
}

// standing adds capacity and demand of a stretch.
func (r *rater) standing(month string, s stretch) error {
	v, err := r.versionOn(s.first)
	if err != nil {
		return err
	}
	terms := r.termsOn(s.first)
	has := func(kind string) bool {
		return slices.ContainsFunc(v.Components, func(c component) bool { return c.Kind == kind })
	}
	choice := has("capacity") && has("demand")
	part := big.NewRat(s.thirtieths, 30)
	for _, c := range v.Components {
		if choice && (c.Kind == "capacity" || c.Kind == "demand") && c.Kind != terms.Choice {
			continue
		}
		switch c.Kind {
		case "capacity":
			if terms.Capacity == nil && terms.Suspended == nil {
				return fmt.Errorf("the terms name no capacity")
			}
			if terms.Capacity != nil {
				r.line(c.Key, 0, 0, terms.Capacity, c.Price.or(0), part)
			}
			if terms.Suspended != nil {
				r.line(c.Key, 0, 0, terms.Suspended, c.Price.or(0), c.Suspended.or(0), part)
			}
		case "demand":
			if err := r.demand(c, terms, r.Months[month].Demand, part); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *rater) demand(c component, terms Terms, measured, part *big.Rat) error {
	if c.Basis == "measured" {
		kw := measured
		if kw == nil && r.Open {
			if kw = terms.Contract; kw == nil {
				return nil
			}
		}
		if kw == nil {
			return fmt.Errorf("the month's demand is not on file")
		}
		r.line(c.Key, 0, 0, kw, c.Price.or(0), part)
		return nil
	}
	if terms.Contract == nil {
		return fmt.Errorf("the contract demand is not known")
	}
	r.line(c.Key, 0, 0, terms.Contract, c.Price.or(0), part)
	if c.Over == nil {
		return nil
	}
	if measured == nil {
		if r.Open {
			return nil
		}
		return fmt.Errorf("the month's demand is not on file")
	}
	allowed := times(terms.Contract, &c.Over.Percent.Rat, big.NewRat(1, 100))
	if measured.Cmp(allowed) > 0 {
		r.line(c.Key, 0, 0, minus(measured, allowed), c.Price.or(0), &c.Over.Factor.Rat, part)
	}
	return nil
}

// sum adds the amounts of lines, in yuan; no names mean all but those left out.
func sum(lines []Line, of, without []string) *big.Rat {
	total := whole(0)
	for _, l := range lines {
		if len(of) > 0 && !slices.Contains(of, l.Component) || slices.Contains(without, l.Component) {
			continue
		}
		total = plus(total, big.NewRat(l.Fen, 100))
	}
	return total
}

func (r *rater) powerFactor(c component, month string) error {
	if r.Open || r.use.Sign() == 0 {
		return nil
	}
	q := r.Months[month].Kvarh
	if q == nil {
		return fmt.Errorf("the month's reactive energy is not on file")
	}
	// n/100 is the factor rounded half up: the largest n with (n − 1/2)/100 ≤ P / √(P² + Q²), compared as squares.
	p2 := times(r.use, r.use)
	all := plus(p2, times(q, q))
	n := int64(100)
	for ; n > 0; n-- {
		edge := big.NewRat(2*n-1, 200)
		if times(edge, edge, all).Cmp(p2) <= 0 {
			break
		}
	}
	r.line(c.Key, 0, 0, sum(r.byMonth, c.Of, nil), permille(c.Standard, n), big.NewRat(1, 10000))
	return nil
}

// permille is the adjustment in hundredths of a percent, by the rules of 水电财字〔83〕215号, for a factor of n hundredths.
func permille(standard string, n int64) *big.Rat {
	std, rewards := int64(90), []int64{15, 30, 45, 60, 75}
	switch standard {
	case "0.85":
		std, rewards = 85, []int64{10, 20, 30, 40, 50, 65, 80, 95, 110}
	case "0.80":
		std, rewards = 80, []int64{10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 115, 130}
	}
	switch below := std - n; {
	case below == 0:
		return whole(0)
	case below < 0:
		return whole(-rewards[min(-below, int64(len(rewards)))-1])
	case below <= 20:
		return whole(50 * below)
	case below <= 25:
		return whole(1000 + 100*(below-20))
	default:
		return whole(1500 + 200*(below-25))
	}
}

func (r *rater) minimum(c component, thirtieths int64) {
	least := big.NewRat(fen(times(c.Price.or(0), big.NewRat(thirtieths, 30))), 100)
	if short := minus(least, sum(r.byMonth, c.Of, nil)); short.Sign() > 0 {
		r.line(c.Key, 0, 0, short)
	}
}

// tax adds a tax that is put on top. before are the lines without any tax.
func (r *rater) tax(c component, v version, before []Line) {
	if c.Inclusive {
		return
	}
	var taxes []string
	for _, other := range v.Components {
		if other.Kind == "tax" {
			taxes = append(taxes, other.Key)
		}
	}
	r.line(c.Key, 0, 0, sum(before, c.Of, taxes), c.Rate.or(0))
}

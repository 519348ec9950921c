package longhand

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// energy adds the lines of a segment: section 4.4.
func (r *rater) energy(s segment) error {
	day := r.dayOf(s.from)
	v, err := r.versionOn(day)
	if err != nil {
		return err
	}
	month := int(r.local(s.from).Month())
	if r.termsOn(day).Register >= len(s.use) {
		return fmt.Errorf("the meter has no register %s", registers[r.termsOn(day).Register])
	}
	total := r.quantity(s.use[r.termsOn(day).Register])
	for _, c := range v.Components {
		c := c.in(month)
		switch c.Kind {
		case "flat":
			r.line(c.Key, r.termsOn(day).Register, 0, total, c.Price.or(0), c.Factor.or(1))
		case "bands":
			for _, b := range c.Bands {
				price := b.Price.or(0)
				if b.Ratio != nil {
					price = times(c.Price.or(0), b.Ratio.or(1))
				}
				k := slices.Index(registers, b.Register)
				r.line(c.Key, k, 0, r.quantity(s.use[k]), price, c.Factor.or(1))
			}
		case "steps":
			edges := r.edges(c, s.from)
			counted := r.counted(c)
			for i, part := range cutAt(edges, counted, plus(counted, total)) {
				r.line(c.Key, r.termsOn(day).Register, i+1, part, c.Tiers[i].Price.or(0), c.Factor.or(1))
			}
		case "tier_bands":
			r.tierBands(c, s)
		}
	}
	r.year, r.month, r.use = plus(r.year, total), plus(r.month, total), plus(r.use, total)
	r.lastDay = s.from
	return nil
}

func (r *rater) counted(c component) *big.Rat {
	if c.Accumulate == "month" {
		return r.month
	}
	return r.year
}

// line adds a line unless its quantity is zero.
func (r *rater) line(key string, register, tier int, quantity *big.Rat, factors ...*big.Rat) {
	if quantity.Sign() == 0 {
		return
	}
	l := Line{Component: key, Register: register, Tier: tier, Quantity: quantity, Fen: fen(times(append(factors, quantity)...))}
	r.lines = append(r.lines, l)
	r.byMonth = append(r.byMonth, l)
}

// cutAt divides the interval (from, to] at the edges; one part more than edges.
func cutAt(edges []*big.Rat, from, to *big.Rat) []*big.Rat {
	parts := make([]*big.Rat, len(edges)+1)
	lower := whole(0)
	for i := range parts {
		upper := to
		if i < len(edges) && edges[i].Cmp(to) < 0 {
			upper = edges[i]
		}
		begin := from
		if i > 0 && lower.Cmp(from) > 0 {
			begin = lower
		}
		parts[i] = minus(upper, begin)
		if parts[i].Sign() < 0 {
			parts[i] = whole(0)
		}
		if i < len(edges) {
			lower = edges[i]
		}
	}
	return parts
}

// edges are the limits in force for a segment: section 4.5.
func (r *rater) edges(c component, at time.Time) []*big.Rat {
	month := r.monthOf(at)
	var edges []*big.Rat
	for k, t := range c.Tiers[:len(c.Tiers)-1] {
		edge := &t.UpTo.Rat
		if c.Accumulate == "month" {
			edge = plus(edge, r.add(c, k, month, month))
		} else {
			open := r.openMonths(month[:4])
			if c.Prorate == "month" {
				edge = times(edge, big.NewRat(int64(len(open)), 12))
			}
			for _, m := range open {
				edge = plus(edge, r.add(c, k, m, month))
			}
		}
		edges = append(edges, r.quantity(r.unitsIn(edge)))
	}
	return edges
}

// openMonths are the months of a year in which the account is open.
func (r *rater) openMonths(year string) []string {
	first, last := year+"-01", year+"-12"
	if r.OpenedOn != "" && r.OpenedOn[:7] > first {
		first = r.OpenedOn[:7]
	}
	if r.ClosedOn != "" {
		if day := r.midnight(r.ClosedOn).AddDate(0, 0, -1).Format("2006-01"); day < last {
			last = day
		}
	}
	var open []string
	for m := 1; m <= 12; m++ {
		if name := fmt.Sprintf("%s-%02d", year, m); name >= first && name <= last {
			open = append(open, name)
		}
	}
	return open
}

// add is by how much a household's size raises edge k in a month, as known in the month now.
func (r *rater) add(c component, k int, month, now string) *big.Rat {
	if month > now {
		month = now
	}
	day := month + "-01"
	if strings.HasPrefix(r.OpenedOn, month) {
		day = r.OpenedOn
	}
	persons := r.termsOn(day).Persons
	add := whole(0)
	for _, h := range c.Household { // in rising order of persons
		if h.Persons > persons {
			break
		}
		add = &h.Add[k].Rat
		if h.Each {
			add = times(add, whole(int64(persons-h.Persons+1)))
		}
	}
	return add
}

// tierBands divides bands among tiers.
func (r *rater) tierBands(c component, s segment) {
	var sum int64
	for k := 1; k < len(s.use); k++ {
		sum += s.use[k]
	}
	counted := r.counted(c)
	var parts []int64
	for _, p := range cutAt(r.edges(c, s.from), counted, plus(counted, r.quantity(sum))) {
		parts = append(parts, r.unitsIn(p))
	}
	left := slices.Clone(s.use)
	share := make([][]int64, len(parts)) // tier, register
	for i, t := range parts {
		share[i] = make([]int64, len(s.use))
		if c.Order == "bands_first" {
			for _, b := range c.Tiers[0].Bands {
				k := slices.Index(registers, b.Register)
				n := min(t, left[k])
				share[i][k], left[k], t = n, left[k]-n, t-n
			}
			continue
		}
		stepsFirst(share[i], left, t)
	}
	for i := range parts {
		for _, b := range c.Tiers[i].Bands {
			k := slices.Index(registers, b.Register)
			r.line(c.Key, k, i+1, r.quantity(share[i][k]), b.Price.or(0), c.Factor.or(1))
		}
	}
}

// stepsFirst divides t units among what is left of the bands, in proportion.
func stepsFirst(share, left []int64, t int64) {
	var all int64
	for k := 1; k < len(left); k++ {
		all += left[k]
	}
	if all == 0 {
		return
	}
	rest := t
	var uneven []int
	for k := 1; k < len(left); k++ {
		exact := big.NewRat(t, 1)
		exact = times(exact, big.NewRat(left[k], all))
		share[k] = floor(exact)
		rest -= share[k]
		if !exact.IsInt() {
			uneven = append(uneven, k)
		}
	}
	for _, k := range uneven {
		if rest == 0 {
			break
		}
		share[k]++
		rest--
	}
	for k := 1; k < len(left); k++ {
		left[k] -= share[k]
	}
}

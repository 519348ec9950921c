package rating

import (
	"github.com/meterflow/meterflow/internal/billing"
)

// Rater prices many accounts, one after another: what it works out about a
// tariff and a period is used again for the next account, and so is its memory.
// Tariffs that it was given may not be changed afterwards. It is not for
// concurrent use. The zero Rater is ready.
type Rater struct {
	last     *plan
	lastKey  planKey
	plans    map[planKey]*plan
	versions map[versionKey]*compiled

	fittings []fitted
	arena    []int64 // registers of the current result
	bounds   []bound
	shares   [][billing.DeepValley + 1]int64 // of tiers and bands
	limits   []int64

	// The account that is being priced.
	in   *Input
	from int64 // instants of the period, in nanoseconds
	to   int64
	out  Result
	slot []*rated // what each place of out.Lines was last filled with, nil for other lines
	unit billing.Service
	used counter
	// monthFrom is the index of the current month's first line, monthUse its
	// counted use so far.
	monthFrom int
	monthUse  int64
}

// Rate is the function Rate into memory that is used again: the result holds
// until the next call and is for reading only.
func (r *Rater) Rate(in *Input) (*Result, error) {
	out := &r.out
	out.Segments, out.Lines, out.Taxes, out.PowerFactors = out.Segments[:0], out.Lines[:0], out.Taxes[:0], out.PowerFactors[:0]
	out.Total, out.Late, out.Use, out.Reverse, out.Service = 0, 0, nil, billing.Quantity{}, in.Tariff.Service
	r.in, r.unit, r.arena = in, in.Tariff.Service, r.arena[:0]
	if err := r.check(in); err != nil {
		return nil, err
	}
	p, err := r.planOf(in)
	if err != nil {
		return nil, err
	}
	if err := r.used.start(in, p.parts[0].first); err != nil {
		return nil, err
	}
	for i := range r.fittings {
		if err := r.split(p, &r.fittings[i]); err != nil {
			return nil, err
		}
	}
	if len(out.Segments) == 0 {
		return nil, billing.Errorf(billing.CodeInvalidReading, "No meter was fitted between %s and %s.", in.From.In(in.Location), in.To.In(in.Location))
	}
	if err := r.price(p); err != nil {
		return nil, err
	}
	if err := r.late(); err != nil {
		return nil, err
	}
	r.reverse(p)
	out.Opening, out.Closing = out.Segments[0].Opening, out.Segments[len(out.Segments)-1].Closing
	if len(out.Segments) == 1 {
		out.Use = out.Segments[0].Use
		return out, nil
	}
	for i := range out.Segments {
		out.Use = addTo(out.Use, out.Segments[i].Use)
	}
	return out, nil
}

// registers are n numbers of the result's memory.
func (r *Rater) registers(n int) billing.Registers {
	if cap(r.arena)-len(r.arena) < n {
		r.arena = make([]int64, 0, max(64, 2*cap(r.arena), n)) // the old one lives on in the result
	}
	at := len(r.arena)
	r.arena = r.arena[:at+n]
	memory := r.arena[at : at+n : at+n]
	for i := range memory {
		memory[i] = 0
	}
	return memory
}

// addTo sums register vectors; after an exchange they may differ in length.
func addTo(sum, use billing.Registers) billing.Registers {
	if len(sum) < len(use) {
		sum = append(sum, make(billing.Registers, len(use)-len(sum))...)
	}
	for i, u := range use {
		sum[i] += u
	}
	return sum
}

// price turns segments into lines: part by part of the plan, and each month's
// own charges after its last part.
func (r *Rater) price(p *plan) error {
	next := 0
	for i := range p.parts {
		part := &p.parts[i]
		if i == 0 || part.month != p.parts[i-1].month {
			r.monthFrom, r.monthUse = len(r.out.Lines), 0
		}
		for ; next < len(r.out.Segments) && (len(p.parts) == 1 || r.out.Segments[next].Opening.At.Before(part.to)); next++ {
			if err := r.segment(part, &r.out.Segments[next]); err != nil {
				return err
			}
		}
		if i+1 < len(p.parts) && p.parts[i+1].month == part.month {
			continue
		}
		if p.monthly {
			if err := r.settle(p, i); err != nil {
				return err
			}
		}
	}
	return nil
}

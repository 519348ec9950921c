package rating

import (
	"math/big"
	"strconv"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// Fault is a stretch in which a meter registered wrongly, with what it should
// have registered: Factor times what it did, or a normal month's use day by day.
type Fault struct {
	Meter billing.MeterID
	// From and To bound the stretch, half-open: [From, To).
	From, To time.Time
	// Opening and Closing are what the meter showed then, raw; empty where no
	// reading is on file, and then the use around is taken at an even rate.
	Opening, Closing billing.Registers
	// Factor is the true use for one that was registered; nil when Normal counts.
	Factor *big.Rat
	// Normal is the use of a normal month of so many days, after ratio.
	Normal     billing.Registers
	NormalDays int
	// NextFrom is the first day of the bills that were issued after this fault
	// was adjusted: their steps count its true use already. Zero for none.
	NextFrom billing.Date
	// Undone says that the adjustment was taken back: what of it counts is only
	// what bills still count toward their steps by mistake.
	Undone *Undone
}

// Undone is an adjustment that is taken back. Bills that begin on a day in
// [From, To) count its true use toward their steps; To is zero while all later
// ones do.
type Undone struct {
	From, To billing.Date
	Steps    map[int]int64 // by how much that use differs, raw, after ratio, by year
}

// mistaken is what a bill counts toward its steps by mistake.
func (u Undone) mistaken(in *Input) int64 {
	day := billing.DateOf(in.From, in.Location)
	if day.Before(u.From) || !u.To.IsZero() && !day.Before(u.To) {
		return 0
	}
	return u.Steps[day.Year()]
}

// MeterError is the factor of a meter that a test found to register so many
// percent too much: what an error of zero would have registered.
func MeterError(p billing.Percent) *big.Rat {
	m := p.Multiplier()
	return m.Inv(m)
}

// WiringDifference is the factor of a meter with wrong wiring, by the
// difference rate: the missing use in percent of the registered use.
func WiringDifference(p billing.Percent) *big.Rat { return p.Multiplier() }

// Billed is an issued bill with the input that it keeps. Total is what it asks
// for, without its late fee.
type Billed struct {
	Bill  billing.BillID
	Input Input
	Total billing.Money
}

// AdjustedLine is one line of a bill as it was billed and as it is for the true
// use, each rounded once like any line. Line holds what both have in common;
// its own quantity and amount are the differences, true less billed.
type AdjustedLine struct {
	Bill billing.BillID
	Line
	BilledQuantity, TrueQuantity billing.Quantity
	BilledFen, TrueFen           billing.Money
}

// AdjustedBill is a bill that an adjustment touches. Quantities are of the
// total register, raw, after ratio.
type AdjustedBill struct {
	Bill                         billing.BillID
	BilledQuantity, TrueQuantity int64
	BilledFen, TrueFen           billing.Money
	// Steps is by how much the true use that counts toward the steps differs.
	Steps int64
}

// Adjustment is the difference between what bills asked for and what they would
// have asked for. Total is the sum of the lines' amounts: positive is charged.
type Adjustment struct {
	Lines []AdjustedLine
	Bills []AdjustedBill
	// Registered and Difference are the use of the faulty stretch and what is
	// added to it, by register, after ratio.
	Registered, Difference billing.Registers
	Total                  billing.Money
}

// Adjust works out what a fault did to the bills of an account. bills are the
// issued ones, oldest first, that cover the fault's time and follow it in its
// step year; before are faults of the same account that were adjusted already, in order,
// and bills reach back to where the first of them that has a part in that step
// year began, because each is counted from its beginning.
// The bills stand: each is priced again from its own input, with the tariffs
// that were in force day by day, once for the use as it was counted and once
// for the true use. Errors: invalid_input where a bill can't be derived again,
// invalid_reading where the fault's readings don't fit the bills'.
func Adjust(bills []Billed, before []Fault, fault Fault) (Adjustment, error) {
	var out Adjustment
	counts := make([]counted, 0, len(before)+1)
	for _, f := range append(append([]Fault(nil), before...), fault) {
		counts = append(counts, counted{fault: f, steps: map[int]int64{}})
	}
	for _, b := range bills {
		if err := out.bill(b, counts); err != nil {
			return Adjustment{}, err
		}
	}
	own := counts[len(counts)-1]
	out.Registered, out.Difference = own.use, own.difference
	err := out.sum()
	return out, err
}

// Undo works out what taking an adjustment back changes in the bills that were
// issued since: their steps go on from the use as it was registered again. What
// the adjustment's own lines moved is taken back as it is, and is no part of
// this. bills, before and errors are as for Adjust; nothing was adjusted after
// it that still counts.
func Undo(bills []Billed, before []Fault, undone Undone) (Adjustment, error) {
	var out Adjustment
	for _, b := range bills {
		in, issued, err := b.again()
		if err != nil {
			return Adjustment{}, err
		}
		was, is := plain(in, issued), plain(in, issued)
		var mistaken int64
		for i := range before {
			if u := before[i].Undone; u != nil {
				mistaken += u.mistaken(&in)
			}
		}
		was.usedBefore(-mistaken)
		is.usedBefore(-mistaken - undone.mistaken(&in))
		if err := out.compare(b.Bill, was, is, 0); err != nil {
			return Adjustment{}, err
		}
	}
	err := out.sum()
	return out, err
}

// sum adds the lines up.
func (a *Adjustment) sum() (err error) {
	for _, l := range a.Lines {
		if a.Total, err = a.Total.Add(l.Amount); err != nil {
			return err
		}
	}
	return nil
}

// again prices a bill from its own input, without its late fee.
func (b Billed) again() (Input, Result, error) {
	in := b.Input
	in.Late = nil
	issued, err := Rate(in)
	if err == nil && issued.Total != b.Total {
		err = billing.Errorf(billing.CodeInvalidInput, "Bill %s asks for %s yuan, but %s come out of the input that it keeps: have it checked before anything rests on it.", b.Bill, b.Total, issued.Total)
	}
	return in, issued, err
}

// counted is a fault with what was counted of it so far.
type counted struct {
	fault           Fault
	use, difference billing.Registers
	steps           map[int]int64 // the difference that counts toward steps, by year
}

// bill adds a bill's part of the adjustment. The last of the faults is the one
// that is adjusted.
func (a *Adjustment) bill(b Billed, faults []counted) error {
	in, issued, err := b.again()
	if err != nil {
		return err
	}
	was, is := plain(in, issued), plain(in, issued)
	year, last := billing.DateOf(in.From, in.Location).Year(), len(faults)-1
	var own int64
	for i := range faults {
		f := &faults[i]
		if u := f.fault.Undone; u != nil {
			was.usedBefore(-u.mistaken(&in))
			is.usedBefore(-u.mistaken(&in))
			continue
		}
		earlier := f.steps[year]
		if !f.fault.counts(&in) {
			earlier = 0
		}
		is.usedBefore(earlier)
		if i < last {
			was.usedBefore(earlier)
		}
		for k := range issued.Segments {
			s := &issued.Segments[k]
			difference, err := f.differ(s, &in)
			if err != nil {
				return err
			}
			if difference == nil {
				continue
			}
			is.add(k, difference)
			if i < last {
				was.add(k, difference)
			}
			f.steps[year] += difference[in.register(s)]
			if i == last {
				own += difference[in.register(s)]
			}
		}
	}
	return a.compare(b.Bill, was, is, own)
}

// counts says whether a bill's steps have yet to be told of a fault's true use.
func (f *Fault) counts(in *Input) bool {
	return f.NextFrom.IsZero() || billing.DateOf(in.From, in.Location).Before(f.NextFrom)
}

// differ says by how much the true use of a segment differs from the registered
// one, after ratio; nil outside the fault. Each register is rounded half up to
// whole raw units where the count stands at the end of the segment, so that the
// segments add up to the fault.
func (c *counted) differ(s *Segment, in *Input) (billing.Registers, error) {
	f := &c.fault
	if s.Meter != f.Meter || !s.Opening.At.Before(f.To) || !f.From.Before(s.Closing.At) {
		return nil, nil
	}
	first, err := f.usedBy(s, f.From, f.Opening, in)
	if err != nil {
		return nil, err
	}
	last, err := f.usedBy(s, f.To, f.Closing, in)
	if err != nil {
		return nil, err
	}
	if len(c.use) == 0 {
		c.use, c.difference = make(billing.Registers, len(s.Use)), make(billing.Registers, len(s.Use))
	}
	if len(c.use) != len(s.Use) || f.Factor == nil && len(f.Normal) != len(s.Use) {
		return nil, billing.Errorf(billing.CodeInvalidReading, "Meter %s has %d registers in one bill and %d in another: the fault can't be reckoned over both.", f.Meter, len(c.use), len(s.Use))
	}
	until := s.Closing.At
	if f.To.Before(until) {
		until = f.To
	}
	difference := make(billing.Registers, len(s.Use))
	for i := range difference {
		if last[i] < first[i] {
			return nil, billing.Errorf(billing.CodeInvalidReading, "The readings of meter %s at the ends of the fault don't lie within what was billed: correct the bill first.", f.Meter)
		}
		c.use[i] += last[i] - first[i]
		total := new(big.Rat)
		if f.Factor != nil {
			total.Mul(new(big.Rat).SetInt64(c.use[i]), f.Factor)
		} else {
			day := new(big.Rat).SetFrac64(f.Normal[i], int64(f.NormalDays))
			total.Mul(day, big.NewRat(int64(until.Sub(f.From)), int64(24*time.Hour)))
		}
		whole, err := strconv.ParseInt(total.FloatString(0), 10, 64) // halves away from zero
		if err != nil {
			return nil, billing.Errorf(billing.CodeInvalidInput, "The true use of meter %s is too large to be kept.", f.Meter)
		}
		difference[i] = whole - c.use[i] - c.difference[i]
		c.difference[i] = whole - c.use[i]
	}
	return difference, nil
}

// usedBy is the use of a segment up to an instant: by the reading there, else
// at an even rate.
func (f *Fault) usedBy(s *Segment, at time.Time, reading billing.Registers, in *Input) (billing.Registers, error) {
	switch {
	case !s.Opening.At.Before(at):
		return make(billing.Registers, len(s.Use)), nil
	case !at.Before(s.Closing.At):
		return s.Use, nil
	case len(reading) == 0:
		return s.Use.Share(at.Sub(s.Opening.At), s.Closing.At.Sub(s.Opening.At)), nil
	}
	digits := 0
	for _, one := range in.Fittings {
		if one.No == s.Fitting {
			digits = one.Digits
		}
	}
	use, err := billing.Usage(s.Opening.Registers, reading, digits)
	for i := range use {
		if use[i] *= s.Ratio; err == nil && use[i] > s.Use[i] {
			err = billing.Errorf(billing.CodeInvalidReading, "The readings of meter %s at the ends of the fault don't lie within what was billed: correct the bill first.", f.Meter)
		}
	}
	return use, err
}

// register is the one that counts as the total use of a segment.
func (in *Input) register(s *Segment) billing.Register {
	index, _ := in.termsAt(billing.DateOf(s.Opening.At, in.Location))
	return in.terms(index).Register
}

// plainUse is an input with the use of each segment as registers that begin at
// zero, so that use can be added to it.
type plainUse struct{ Input }

// plain makes the input that gives the lines of r again.
func plain(in Input, r Result) *plainUse {
	in.Fittings, in.Points = make([]Fitting, len(r.Segments)), make([]Point, 0, 2*len(r.Segments))
	for k, s := range r.Segments {
		in.Fittings[k] = Fitting{No: k + 1, Meter: s.Meter, Ratio: 1, Digits: 18}
		in.Points = append(in.Points,
			Point{At: s.Opening.At, Registers: make(billing.Registers, len(s.Use)), Quality: s.Opening.Quality, Fitting: k + 1},
			Point{At: s.Closing.At, Registers: append(billing.Registers(nil), s.Use...), Quality: s.Closing.Quality, Fitting: k + 1})
	}
	return &plainUse{in}
}

// add adds use to a segment.
func (p *plainUse) add(segment int, use billing.Registers) {
	for i, u := range use {
		p.Points[2*segment+1].Registers[i] += u
	}
}

// usedBefore adds to what counts toward the year's steps. A period whose prices
// have none counts nothing.
func (p *plainUse) usedBefore(raw int64) {
	service := p.Tariff.Service
	if before, err := service.Raw(p.UsedInYear); err == nil && raw != 0 && before+raw >= 0 {
		p.UsedInYear = service.Quantity(before + raw)
	}
}

// lineKey is what the same line has in common in two pricings of one period.
type lineKey struct {
	component  string
	kind       billing.ComponentKind
	register   billing.Register
	tier       int
	unit       string
	price      billing.Price
	factor     billing.Factor
	thirtieths int
	from, to   int64
	fitting    int
}

func keyOf(l *Line) lineKey {
	return lineKey{l.Component, l.Kind, l.Register, l.Tier, l.Unit, l.Price, l.Factor, l.Thirtieths, l.From.UnixNano(), l.To.UnixNano(), l.Fitting}
}

// compare prices a period both ways and adds the lines that differ.
func (a *Adjustment) compare(bill billing.BillID, was, is *plainUse, steps int64) error {
	billed, err := Rate(was.Input)
	if err != nil {
		return err
	}
	right, err := Rate(is.Input)
	if err != nil {
		return err
	}
	by := map[lineKey]*Line{}
	for i := range right.Lines {
		by[keyOf(&right.Lines[i])] = &right.Lines[i]
	}
	lines := len(a.Lines)
	for i := range billed.Lines {
		l := &billed.Lines[i]
		other := &Line{}
		if found, ok := by[keyOf(l)]; ok {
			other = found
			delete(by, keyOf(l))
		}
		if err := a.line(bill, l, l, other); err != nil {
			return err
		}
	}
	for i := range right.Lines {
		if l := &right.Lines[i]; by[keyOf(l)] == l {
			if err := a.line(bill, l, &Line{}, l); err != nil {
				return err
			}
		}
	}
	if lines < len(a.Lines) || steps != 0 {
		a.Bills = append(a.Bills, AdjustedBill{Bill: bill, BilledQuantity: billed.Use.Total(), TrueQuantity: right.Use.Total(), BilledFen: billed.Total, TrueFen: right.Total, Steps: steps})
	}
	return nil
}

// line adds a line that differs.
func (a *Adjustment) line(bill billing.BillID, of, billed, right *Line) error {
	l := AdjustedLine{Bill: bill, Line: *of, BilledQuantity: billed.Quantity, TrueQuantity: right.Quantity, BilledFen: billed.Amount, TrueFen: right.Amount}
	if l.BilledQuantity == l.TrueQuantity && l.BilledFen == l.TrueFen {
		return nil
	}
	var err error
	if l.Quantity, err = right.Quantity.Sub(billed.Quantity); err != nil {
		return err
	}
	l.Amount = right.Amount - billed.Amount
	l.Opening, l.Closing, l.Fitting, l.Ratio = 0, 0, 0, 0
	a.Lines = append(a.Lines, l)
	return nil
}

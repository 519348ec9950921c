package rating

import (
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// Input is all that a price depends on.
type Input struct {
	Tariff   billing.Tariff
	Location *time.Location
	// From and To bound the period, half-open: [From, To).
	From, To time.Time
	// Fittings are the meters in the order in which they hung at the service
	// point. A change of ratio is a new fitting of the same meter.
	Fittings []Fitting
	// Points are accepted readings, oldest first. The first must be at or
	// before From and the last at or after To. At an exchange the old fitting's
	// closing point comes before the new one's opening point.
	Points []Point
	// UsedInYear and UsedInMonth are the use, after ratio, since the start of
	// From's local year and month and before From, through meter exchanges.
	UsedInYear, UsedInMonth billing.Quantity
}

// Fitting is one meter while it hangs at the service point with one ratio.
type Fitting struct {
	No    int             `json:"no"`
	Meter billing.MeterID `json:"meter"`
	// Ratio is CT × PT; 0 is taken as 1.
	Ratio int64 `json:"ratio"`
	// Digits is the number of digits of a raw register; it wraps at 10^Digits.
	Digits int `json:"digits"`
}

// Point is one accepted reading, raw.
type Point struct {
	At        time.Time         `json:"at"`
	Registers billing.Registers `json:"registers"`
	Quality   billing.Quality   `json:"quality"`
	Fitting   int               `json:"fitting"`
}

// Boundary is a reading that opens or closes a segment. An interpolated one
// was computed from the readings around it at an even rate.
type Boundary struct {
	At           time.Time         `json:"at"`
	Registers    billing.Registers `json:"registers"`
	Quality      billing.Quality   `json:"quality"`
	Interpolated bool              `json:"interpolated,omitempty"`
}

// Segment is a stretch of one fitting, one tariff version and one step period.
type Segment struct {
	Opening Boundary        `json:"opening"`
	Closing Boundary        `json:"closing"`
	Fitting int             `json:"fitting"`
	Meter   billing.MeterID `json:"meter"`
	Ratio   int64           `json:"ratio"`
	Version billing.Date    `json:"version"`
	// Use is the raw use of each register times the ratio.
	Use billing.Registers `json:"use"`
}

// Line is one printed line: Amount is Quantity × Price × Factor, rounded once,
// half up, to fen. (Closing − Opening) × Ratio, through a rollover, is the use
// of the register in the segment; a stepped line's quantity is its tier's part.
type Line struct {
	Component string           `json:"component"`
	Name      billing.Names    `json:"name"`
	Register  billing.Register `json:"register"`
	// Tier counts from 1; it is 0 on a line without steps.
	Tier     int              `json:"tier,omitempty"`
	Quantity billing.Quantity `json:"quantity"`
	Price    billing.Price    `json:"price"`
	Factor   billing.Factor   `json:"factor,omitzero"`
	Amount   billing.Money    `json:"amount_fen"`
	From     time.Time        `json:"from"`
	To       time.Time        `json:"to"`
	Fitting  int              `json:"fitting"`
	Ratio    int64            `json:"ratio"`
	Opening  int64            `json:"opening"`
	Closing  int64            `json:"closing"`
}

// Result is a priced period. Lines without use are left out.
type Result struct {
	Segments []Segment     `json:"segments"`
	Lines    []Line        `json:"lines"`
	Total    billing.Money `json:"total_fen"`
	// Use is the raw use of each register after ratio, over all segments.
	Use billing.Registers `json:"use"`
	// Opening and Closing are the readings at From and To.
	Opening Boundary `json:"opening"`
	Closing Boundary `json:"closing"`

	Service billing.Service `json:"service"`
}

// Quantity is the use of one register over the period, 0 for one that the
// meter doesn't have.
func (r Result) Quantity(reg billing.Register) billing.Quantity {
	if int(reg) >= len(r.Use) {
		return billing.Quantity{}
	}
	return r.Service.Quantity(r.Use[reg])
}

// Estimated says whether a reading at the ends or at a split is not a real
// one: estimated, or interpolated.
func (r Result) Estimated() bool {
	for _, s := range r.Segments {
		for _, b := range []Boundary{s.Opening, s.Closing} {
			if b.Interpolated || b.Quality == billing.QualityEstimated {
				return true
			}
		}
	}
	return false
}

// Rate prices the period. Errors: tariff_missing where no version is in force,
// invalid_reading where the readings don't carry the period, invalid_input
// otherwise; each names what is wrong.
func Rate(in Input) (Result, error) {
	fittings, err := check(in)
	if err != nil {
		return Result{}, err
	}
	segments, err := split(in, fittings)
	if err != nil {
		return Result{}, err
	}
	counter, err := newCounter(in)
	if err != nil {
		return Result{}, err
	}
	r := Result{
		Segments: segments,
		Opening:  segments[0].Opening,
		Closing:  segments[len(segments)-1].Closing,
		Service:  in.Tariff.Service,
	}
	p := pricer{service: in.Tariff.Service, used: counter}
	for _, s := range segments {
		counter.advanceTo(s.Opening.At)
		version, _, err := in.Tariff.VersionAt(billing.DateOf(s.Opening.At, in.Location))
		if err != nil {
			return Result{}, err
		}
		for _, c := range version.Components {
			if err := p.price(c, s); err != nil {
				return Result{}, err
			}
		}
		counter.count(s.Use.Total())
		r.Use = add(r.Use, s.Use)
	}
	r.Lines = p.lines
	for _, line := range r.Lines {
		if r.Total, err = r.Total.Add(line.Amount); err != nil {
			return Result{}, err
		}
	}
	return r, nil
}

// ChargeToDate is what a day adds to an open period: the period rated to date
// less what was charged so far. The days therefore add up to the period's bill
// exactly; after a corrected reading the difference may be negative.
func ChargeToDate(rated, chargedSoFar billing.Money) (billing.Money, error) {
	return rated.Sub(chargedSoFar)
}

// add sums register vectors; after an exchange they may differ in length.
func add(sum, use billing.Registers) billing.Registers {
	if len(sum) < len(use) {
		sum = append(sum, make(billing.Registers, len(use)-len(sum))...)
	}
	for i, u := range use {
		sum[i] += u
	}
	return sum
}

package rating

import (
	"slices"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// Engine is the version of this pricing, which bills name. Inputs that earlier
// engines stored give the same fen under it; docs/tariffs.md says what it does.
const Engine = "rating/3"

// Input is all that a price depends on.
type Input struct {
	// Tariff is that of the terms that name none.
	Tariff   billing.Tariff
	Location *time.Location
	// From and To bound the period, half-open: [From, To).
	From, To time.Time
	// Open says that the period goes on after To: what is priced is a charge
	// to date, without what is known at the end of a month only.
	Open bool
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
	// OpenedOn and ClosedOn are the account's first day and the first on which
	// it is closed; zero when not known, or far away.
	OpenedOn, ClosedOn billing.Date
	// Terms are what was agreed with the customer, in order of their first
	// days; the first holds before its day too.
	Terms []Terms
	// Months are quantities of calendar months that registers don't give.
	Months []Month
	// Late is what is overdue under an arrears contract; nil for all others.
	Late *Late
}

// Terms are what holds for the account from a day on.
type Terms struct {
	From billing.Date `json:"from"`
	// Tariff is nil for the input's.
	Tariff           *billing.Tariff      `json:"tariff,omitempty"`
	Persons          int                  `json:"persons,omitempty"`
	CapacityKVA      billing.Quantity     `json:"capacity_kva,omitzero"`
	SuspendedKVA     billing.Quantity     `json:"suspended_kva,omitzero"`
	ContractDemandKW billing.Quantity     `json:"contract_demand_kw,omitzero"`
	Choice           billing.ChargeChoice `json:"choice,omitempty"`
	// Register is what counts as total use: another than the total when the
	// contract names one.
	Register billing.Register `json:"register,omitempty"`
}

// Month holds a calendar month's quantities, nil where not on file.
type Month struct {
	First    billing.Date      `json:"month"`
	DemandKW *billing.Quantity `json:"demand_kw,omitempty"`
	Kvarh    *billing.Quantity `json:"kvarh,omitempty"`
	// Reverse is energy that went the other way: reported, never netted.
	Reverse *billing.Quantity `json:"reverse,omitempty"`
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

// Segment is a stretch of one fitting, one tariff version, one entry of the
// terms and one step period.
type Segment struct {
	Opening Boundary        `json:"opening"`
	Closing Boundary        `json:"closing"`
	Fitting int             `json:"fitting"`
	Meter   billing.MeterID `json:"meter"`
	Ratio   int64           `json:"ratio"`
	// Tariff is set when the terms name another than the input's.
	Tariff  billing.TariffID `json:"tariff,omitempty"`
	Version billing.Date     `json:"version"`
	// Use is the raw use of each register times the ratio.
	Use billing.Registers `json:"use"`
}

// Units that quantities of lines are in, besides the service's own, which is "".
const (
	UnitKVA  = "kVA"
	UnitKW   = "kW"
	UnitYuan = "yuan"
)

// Line is one printed line: Amount is Quantity × Price × Factor, for charges by
// the month × Thirtieths/30, rounded once, half up, to fen. (Closing − Opening)
// × Ratio, through a rollover, is the use of the register in the segment; a
// stepped line's quantity is its tier's part. Lines by the month have no registers.
type Line struct {
	Component string        `json:"component"`
	Name      billing.Names `json:"name"`
	// Kind is set on lines by the month, which rest on no register.
	Kind     billing.ComponentKind `json:"kind,omitempty"`
	Register billing.Register      `json:"register"`
	// Tier counts from 1; it is 0 on a line without steps.
	Tier     int              `json:"tier,omitempty"`
	Unit     string           `json:"unit,omitempty"`
	Quantity billing.Quantity `json:"quantity"`
	Price    billing.Price    `json:"price"`
	Factor   billing.Factor   `json:"factor,omitzero"`
	// Thirtieths is the part of a month that is charged; 0 on lines of use.
	Thirtieths int           `json:"thirtieths,omitempty"`
	Amount     billing.Money `json:"amount_fen"`
	From       time.Time     `json:"from"`
	To         time.Time     `json:"to"`
	Fitting    int           `json:"fitting"`
	Ratio      int64         `json:"ratio"`
	Opening    int64         `json:"opening"`
	Closing    int64         `json:"closing"`
}

// Tax is how much tax a month's lines contain, or got put on top.
type Tax struct {
	Component string         `json:"component"`
	Name      billing.Names  `json:"name"`
	Month     billing.Date   `json:"month"`
	Rate      billing.Factor `json:"rate"`
	Inclusive bool           `json:"inclusive,omitempty"`
	Invoice   string         `json:"invoice,omitempty"`
	// Point is when it arises.
	Point  billing.TaxPoint `json:"tax_point"`
	Base   billing.Money    `json:"base_fen"`
	Amount billing.Money    `json:"amount_fen"`
}

// PowerFactor is what a month's adjustment was read from the table with.
type PowerFactor struct {
	Month    billing.Date     `json:"month"`
	Active   billing.Quantity `json:"kwh"`
	Reactive billing.Quantity `json:"kvarh"`
	// Factor is in hundredths.
	Factor   int            `json:"factor"`
	Standard billing.Factor `json:"standard"`
	Ratio    billing.Price  `json:"ratio"`
	Base     billing.Money  `json:"base_fen"`
}

// Result is a priced period. Lines without use are left out.
type Result struct {
	Segments []Segment     `json:"segments"`
	Lines    []Line        `json:"lines"`
	Total    billing.Money `json:"total_fen"`
	// Late is the part of Total that late fees are.
	Late billing.Money `json:"late_fen,omitempty"`
	// Use is the raw use of each register after ratio, over all segments.
	Use billing.Registers `json:"use"`
	// Opening and Closing are the readings at From and To.
	Opening Boundary `json:"opening"`
	Closing Boundary `json:"closing"`

	Taxes        []Tax         `json:"taxes,omitempty"`
	PowerFactors []PowerFactor `json:"power_factors,omitempty"`
	// Reverse is energy that went the other way, in kWh: reported, never netted.
	Reverse billing.Quantity `json:"reverse,omitzero"`

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

// Clone is the result in memory of its own, for who keeps what a Rater made.
func (r Result) Clone() Result {
	r.Segments = slices.Clone(r.Segments)
	for i := range r.Segments {
		r.Segments[i].Use = slices.Clone(r.Segments[i].Use)
	}
	r.Lines, r.Use, r.Taxes, r.PowerFactors = slices.Clone(r.Lines), slices.Clone(r.Use), slices.Clone(r.Taxes), slices.Clone(r.PowerFactors)
	return r
}

// UnitPrice is what a unit of use has cost on average, with everything:
// rounded half up to eight decimals, 0 without use.
func (r Result) UnitPrice() billing.Price {
	return billing.UnitPrice(r.Total, r.Quantity(billing.Total))
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
	var r Rater
	out, err := r.Rate(&in)
	if err != nil {
		return Result{}, err
	}
	return *out, nil
}

// ChargeToDate is what a day adds to an open period: the period rated to date
// less what was charged so far. The days therefore add up to the period's bill
// exactly; after a corrected reading the difference may be negative.
func ChargeToDate(rated, chargedSoFar billing.Money) (billing.Money, error) {
	return rated.Sub(chargedSoFar)
}

package billing

import (
	"cmp"
	"slices"
	"time"
)

// Names is a name in both languages of the product.
type Names struct {
	ZH string `json:"zh"`
	EN string `json:"en"`
}

// Tariff is a price plan as data: components with effective dates, no code. docs/tariffs.md is its format, and what each part means to
// the fen.
type Tariff struct {
	ID       TariffID        `json:"id"`
	Name     Names           `json:"name"`
	Service  Service         `json:"service"`
	Versions []TariffVersion `json:"versions"`
}

// TariffVersion holds from its first local day until the next version starts,
// or until Until when that is set.
type TariffVersion struct {
	From       Date            `json:"from"`
	Until      Date            `json:"until,omitzero"`
	Calendar   *TariffCalendar `json:"calendar,omitempty"`
	Components []Component     `json:"components"`
}

// ComponentKind is the shape of a component.
type ComponentKind string

// The component kinds. The first four charge use; the others charge by the
// month, each after those before it.
const (
	// KindFlat charges total use at one price: single rates, surcharges, funds.
	KindFlat ComponentKind = "flat"
	// KindBands charges the use of each band at its own price.
	KindBands ComponentKind = "bands"
	// KindSteps charges total use at a price that depends on the use of the
	// step period so far. Beside KindBands it is an adder: bands are priced
	// first, and the step's price is put on top of total use.
	KindSteps ComponentKind = "steps"
	// KindTierBands has a price for each tier and band.
	KindTierBands ComponentKind = "tier_bands"
	// KindCapacity charges kVA and KindDemand kW, each by the month.
	KindCapacity ComponentKind = "capacity"
	KindDemand   ComponentKind = "demand"
	// KindPowerFactor adjusts the sum of other lines by the published table.
	KindPowerFactor ComponentKind = "power_factor"
	// KindMinimum charges what other lines fall short of an amount by the month.
	KindMinimum ComponentKind = "minimum"
	// KindTax puts a tax on other lines, or says how much of them is tax.
	KindTax ComponentKind = "tax"
)

// Energy says whether the kind charges use, and not by the month.
func (k ComponentKind) Energy() bool {
	return k == KindFlat || k == KindBands || k == KindSteps || k == KindTierBands
}

// Accumulate says when the count of a step component starts again.
type Accumulate string

// The step periods: calendar years and calendar months, local time.
const (
	PerYear  Accumulate = "year"
	PerMonth Accumulate = "month"
)

// StepOrder says how use is divided where a price depends on tier and band.
type StepOrder string

// StepsFirst cuts the sum of the bands at the edges and divides each part
// among the bands in proportion; BandsFirst fills the tiers band by band.
const (
	StepsFirst StepOrder = "steps_first"
	BandsFirst StepOrder = "bands_first"
)

// DemandBasis says which demand is billed.
type DemandBasis string

// The bases: the month's measured maximum, or what the contract says.
const (
	DemandMeasured DemandBasis = "measured"
	DemandContract DemandBasis = "contract"
)

// ChargeChoice is which of capacity and demand a customer has chosen to pay.
type ChargeChoice string

// The choices; none where the tariff leaves none.
const (
	ChooseCapacity ChargeChoice = "capacity"
	ChooseDemand   ChargeChoice = "demand"
)

// Component is one part of a price. Only the fields of its kind are set.
type Component struct {
	Key    string        `json:"key"`
	Name   Names         `json:"name"`
	Kind   ComponentKind `json:"kind"`
	Factor Factor        `json:"factor,omitzero"`

	Price      *Price          `json:"price,omitempty"`
	Bands      []BandPrice     `json:"bands,omitzero"`
	Accumulate Accumulate      `json:"accumulate,omitempty"`
	Order      StepOrder       `json:"order,omitempty"`
	Prorate    Accumulate      `json:"prorate,omitempty"` // PerMonth: a year that is open in part has part of the limits
	Tiers      []Tier          `json:"tiers,omitzero"`
	Household  []HouseholdStep `json:"household,omitzero"`
	// Seasons hold price, bands or tiers by month; the component has none then.
	Seasons []PriceSeason `json:"seasons,omitzero"`

	// Suspended is the share of a capacity price that suspended kVA pay.
	Suspended Factor      `json:"suspended,omitzero"`
	Basis     DemandBasis `json:"basis,omitempty"`
	Over      *DemandOver `json:"over,omitempty"`
	Standard  Factor      `json:"standard,omitzero"` // power factor that is expected
	Of        []string    `json:"of,omitzero"`       // keys of the components whose lines count
	Rate      Factor      `json:"rate,omitzero"`
	Inclusive bool        `json:"inclusive,omitempty"` // prices contain the tax
	Invoice   string      `json:"invoice,omitempty"`
	TaxPoint  TaxPoint    `json:"tax_point,omitempty"` // empty: TaxAtBilling; see Arises
}

// Arises is when the tax of a tax component arises.
func (c Component) Arises() TaxPoint { return cmp.Or(c.TaxPoint, TaxAtBilling) }

// TaxPoint says when a tax arises. Which holds is for the operator's tax person to say (rule 31).
type TaxPoint string

// The tax points: the day on which the bill is issued, or that on which the customer's money is received.
const (
	TaxAtBilling  TaxPoint = "billing"
	TaxAtRecharge TaxPoint = "recharge"
)

// BandPrice is the price of one band, or its ratio to the component's price.
type BandPrice struct {
	Register Register `json:"register"`
	Price    *Price   `json:"price,omitempty"`
	Ratio    *Factor  `json:"ratio,omitempty"`
}

// Tier is one step: use up to and including UpTo since the step period began.
// The last tier has no upper edge. It has one price, or one per band.
type Tier struct {
	UpTo  *Quantity   `json:"up_to,omitempty"`
	Price *Price      `json:"price,omitempty"`
	Bands []BandPrice `json:"bands,omitzero"`
}

// HouseholdStep raises the limits of households of at least so many persons,
// by Add per edge and month; with Each once more for every further person.
type HouseholdStep struct {
	Persons int        `json:"persons"`
	Add     []Quantity `json:"add"`
	Each    bool       `json:"each,omitempty"`
}

// PriceSeason is what a component charges in some months of the year.
type PriceSeason struct {
	Months []int       `json:"months"`
	Price  *Price      `json:"price,omitempty"`
	Bands  []BandPrice `json:"bands,omitzero"`
	Tiers  []Tier      `json:"tiers,omitzero"`
}

// DemandOver charges Factor times the price on demand above Percent of the
// contract's.
type DemandOver struct {
	Percent Factor `json:"percent"`
	Factor  Factor `json:"factor"`
}

// VersionAt is the version in force on d, and the day on which it ends: the
// next one starts, or no price holds any more. It is zero when none is known.
func (t Tariff) VersionAt(d Date) (version TariffVersion, until Date, err error) {
	i, until, err := t.versionIndex(d)
	if err != nil {
		return TariffVersion{}, Date{}, err
	}
	return t.Versions[i], until, nil
}

func (t Tariff) versionIndex(d Date) (index int, until Date, err error) {
	for i, v := range slices.Backward(t.Versions) {
		if d.Before(v.From) {
			until = v.From
			continue
		}
		if !v.Until.IsZero() && !d.Before(v.Until) {
			return 0, Date{}, Errorf(CodeTariffMissing, "The tariff %s has no price on %s: its last version ended on %s. Add a version.", t.ID, d, v.Until)
		}
		if until.IsZero() {
			until = v.Until
		}
		return i, until, nil
	}
	return 0, Date{}, Errorf(CodeTariffMissing, "The tariff %s has no price on %s: add a version that starts on or before that day.", t.ID, d)
}

// Steps says whether any component of v accumulates over the given period.
func (v TariffVersion) Steps(per Accumulate) bool {
	return slices.ContainsFunc(v.Components, func(c Component) bool { return c.Accumulate == per })
}

// Monthly says whether v charges differently from month to month: by the
// month, by season, or with limits that depend on the month.
func (v TariffVersion) Monthly() bool {
	return slices.ContainsFunc(v.Components, func(c Component) bool {
		return c.Accumulate == PerMonth || !c.Kind.Energy() || c.Seasons != nil || c.Household != nil || c.Prorate != ""
	})
}

// Has says whether v has a component of the kind.
func (v TariffVersion) Has(kind ComponentKind) bool {
	return slices.ContainsFunc(v.Components, func(c Component) bool { return c.Kind == kind })
}

// In is the component as it charges in a month of the year, seasons resolved.
func (c Component) In(month time.Month) Component {
	for _, s := range c.Seasons {
		if slices.Contains(s.Months, int(month)) {
			c.Price, c.Bands, c.Tiers = s.Price, s.Bands, s.Tiers
			break
		}
	}
	return c
}

// Limit is by how much edge k is raised for a month in which so many persons
// are registered.
func (c Component) Limit(persons, k int) (add Quantity, times int64) {
	for _, h := range slices.Backward(c.Household) {
		if h.Persons > persons {
			continue
		}
		if h.Each {
			return h.Add[k], int64(persons - h.Persons + 1)
		}
		return h.Add[k], 1
	}
	return Quantity{}, 0
}

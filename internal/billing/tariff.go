package billing

import (
	"slices"
	"strconv"
)

// Names is a name in both languages of the product.
type Names struct {
	ZH string `json:"zh"`
	EN string `json:"en"`
}

// Tariff is a price plan as data: components with effective dates, no code.
type Tariff struct {
	ID       TariffID        `json:"id"`
	Name     Names           `json:"name"`
	Service  Service         `json:"service"`
	Versions []TariffVersion `json:"versions"`
}

// TariffVersion holds from its first local day until the next version starts.
type TariffVersion struct {
	From       Date        `json:"from"`
	Components []Component `json:"components"`
}

// ComponentKind is the shape of a component.
type ComponentKind string

// The component kinds.
const (
	// KindFlat charges total use at one price.
	KindFlat ComponentKind = "flat"
	// KindBands charges the use of each band at its own price.
	KindBands ComponentKind = "bands"
	// KindSteps charges total use at a price that depends on the use of the
	// step period so far. Beside KindBands it is an adder: bands are priced
	// first, and the step's price is put on top of total use.
	KindSteps ComponentKind = "steps"
)

// Accumulate says when the count of a step component starts again.
type Accumulate string

// The step periods: calendar years and calendar months, local time.
const (
	PerYear  Accumulate = "year"
	PerMonth Accumulate = "month"
)

// Component is one part of a price. Only the fields of its kind are set.
type Component struct {
	Key    string        `json:"key"`
	Name   Names         `json:"name"`
	Kind   ComponentKind `json:"kind"`
	Factor Factor        `json:"factor,omitzero"`

	Price      *Price      `json:"price,omitempty"`
	Bands      []BandPrice `json:"bands,omitempty"`
	Accumulate Accumulate  `json:"accumulate,omitempty"`
	Tiers      []Tier      `json:"tiers,omitempty"`
}

// BandPrice is the price of one band.
type BandPrice struct {
	Register Register `json:"register"`
	Price    *Price   `json:"price"`
}

// Tier is one step: use up to and including UpTo since the step period began.
// The last tier has no upper edge.
type Tier struct {
	UpTo  *Quantity `json:"up_to,omitempty"`
	Price *Price    `json:"price"`
}

// VersionAt is the version in force on d, and the day on which the next one
// starts (zero when none does).
func (t Tariff) VersionAt(d Date) (version TariffVersion, until Date, err error) {
	for _, v := range slices.Backward(t.Versions) {
		if !d.Before(v.From) {
			return v, until, nil
		}
		until = v.From
	}
	return TariffVersion{}, Date{}, Errorf(CodeTariffMissing, "The tariff %s has no price on %s: add a version that starts on or before that day.", t.ID, d)
}

// Steps says whether any component of v accumulates over the given period.
func (v TariffVersion) Steps(per Accumulate) bool {
	return slices.ContainsFunc(v.Components, func(c Component) bool {
		return c.Kind == KindSteps && c.Accumulate == per
	})
}

// Validate refuses a tariff that could not price some use, or could price it
// twice. The sentence names the place.
func (t Tariff) Validate() error {
	refuse := func(format string, args ...any) error {
		return Errorf(CodeInvalidInput, "Tariff %s: "+format, append([]any{t.ID}, args...)...)
	}
	switch {
	case t.ID == "":
		return Errorf(CodeInvalidInput, "The tariff has no id.")
	case !t.Service.Valid():
		return refuse("service %q is unknown: use power or water.", t.Service)
	case t.Name.ZH == "" || t.Name.EN == "":
		return refuse("it needs a name in both languages (zh, en).")
	case len(t.Versions) == 0:
		return refuse("it has no version.")
	}
	for i, v := range t.Versions {
		if v.From.IsZero() {
			return refuse("version %d has no start date (from).", i+1)
		}
		if i > 0 && !t.Versions[i-1].From.Before(v.From) {
			return refuse("version %s does not start after version %s; versions must be in order and not overlap.", v.From, t.Versions[i-1].From)
		}
		if problem := v.problem(t.Service); problem != "" {
			return refuse("version %s, %s", v.From, problem)
		}
	}
	return nil
}

// problem is the first thing wrong with v, "" when nothing is.
func (v TariffVersion) problem(s Service) string {
	if len(v.Components) == 0 {
		return "it has no component."
	}
	keys := map[string]bool{}
	for i, c := range v.Components {
		place := "component " + c.Key + ": "
		if c.Key == "" {
			return "component " + strconv.Itoa(i+1) + " has no key."
		}
		if keys[c.Key] {
			return place + "the key is used twice."
		}
		keys[c.Key] = true
		if problem := c.problem(s); problem != "" {
			return place + problem
		}
	}
	return ""
}

func (c Component) problem(s Service) string {
	if c.Name.ZH == "" || c.Name.EN == "" {
		return "it needs a name in both languages (zh, en)."
	}
	if c.Factor.Sign() < 0 {
		return "the factor " + c.Factor.String() + " is negative."
	}
	hasPrice, hasBands, hasTiers := c.Price != nil, c.Bands != nil, c.Tiers != nil || c.Accumulate != ""
	foreign := "it has fields of another kind than " + string(c.Kind) + "."
	switch c.Kind {
	case KindFlat:
		if hasBands || hasTiers {
			return foreign
		}
		return priceProblem("", c.Price)
	case KindBands:
		if hasPrice || hasTiers {
			return foreign
		}
		return c.bandsProblem(s)
	case KindSteps:
		if hasPrice || hasBands {
			return foreign
		}
		return c.tiersProblem(s)
	default:
		return "the kind " + string(c.Kind) + " is unknown: use flat, bands or steps."
	}
}

func (c Component) bandsProblem(s Service) string {
	if s != Power {
		return "water meters have no bands."
	}
	seen := map[Register]bool{}
	for _, b := range c.Bands {
		place := "band " + b.Register.String() + ": "
		if !slices.Contains(Bands, b.Register) {
			return place + "it is no band; use sharp, peak, flat, valley and deep_valley."
		}
		if seen[b.Register] {
			return place + "it has two prices."
		}
		seen[b.Register] = true
		if problem := priceProblem(place, b.Price); problem != "" {
			return problem
		}
	}
	for _, r := range Bands {
		if !seen[r] {
			return "band " + r.String() + ": the price is missing. Every band needs one, also when it repeats that of another."
		}
	}
	return ""
}

func (c Component) tiersProblem(s Service) string {
	if c.Accumulate != PerYear && c.Accumulate != PerMonth {
		return "accumulate is " + `"` + string(c.Accumulate) + `"` + ": use year or month."
	}
	if len(c.Tiers) == 0 {
		return "it has no tier."
	}
	var edge Quantity
	for i, tier := range c.Tiers {
		place := "tier " + strconv.Itoa(i+1) + ": "
		if problem := priceProblem(place, tier.Price); problem != "" {
			return problem
		}
		if last := i == len(c.Tiers)-1; last != (tier.UpTo == nil) {
			if last {
				return place + "the last tier must have no upper edge, or use above " + tier.UpTo.String() + " has no price."
			}
			return place + "only the last tier may have no upper edge; the tiers after it would overlap it."
		}
		if tier.UpTo == nil {
			continue
		}
		if tier.UpTo.Cmp(edge) <= 0 {
			return place + "the upper edge " + tier.UpTo.String() + " is not above " + edge.String() + ", where the tier begins."
		}
		if _, err := s.Raw(*tier.UpTo); err != nil {
			return place + err.Error()
		}
		edge = *tier.UpTo
	}
	return ""
}

func priceProblem(place string, p *Price) string {
	if p == nil {
		return place + "the price is missing."
	}
	if p.Sign() < 0 {
		return place + "the price " + p.String() + " is negative."
	}
	return ""
}

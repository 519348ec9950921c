package billing

import (
	"fmt"
	"slices"
	"strconv"
)

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
		if problem := t.untilProblem(i); problem != "" {
			return refuse("version %s, %s", v.From, problem)
		}
		if problem := v.problem(t.Service); problem != "" {
			return refuse("version %s, %s", v.From, problem)
		}
	}
	return nil
}

func (t Tariff) untilProblem(i int) string {
	v := t.Versions[i]
	if v.Until.IsZero() {
		return ""
	}
	if !v.From.Before(v.Until) {
		return "it ends (until " + v.Until.String() + ") before it starts."
	}
	if i == len(t.Versions)-1 {
		return ""
	}
	switch next := t.Versions[i+1].From; {
	case v.Until.Before(next):
		return fmt.Sprintf("there is a gap without a price from %s to %s, where the next version starts.", v.Until, next)
	case next.Before(v.Until):
		return fmt.Sprintf("it overlaps the next version from %s to %s.", next, v.Until)
	}
	return ""
}

// problem is the first thing wrong with v, "" when nothing is.
func (v TariffVersion) problem(s Service) string {
	if len(v.Components) == 0 {
		return "it has no component."
	}
	if v.Calendar != nil {
		if s != Power {
			return "calendar: water meters have no bands."
		}
		if problem := v.Calendar.problem(); problem != "" {
			return "calendar: " + problem
		}
	}
	keys, once := map[string]ComponentKind{}, map[ComponentKind]bool{}
	for i, c := range v.Components {
		place := "component " + c.Key + ": "
		if c.Key == "" {
			return "component " + strconv.Itoa(i+1) + " has no key."
		}
		if keys[c.Key] != "" {
			return place + "the key is used twice."
		}
		keys[c.Key] = c.Kind
		if once[c.Kind] && (c.Kind == KindPowerFactor || c.Kind == KindMinimum) {
			return place + "a version has at most one component of the kind " + string(c.Kind) + "."
		}
		once[c.Kind] = true
		if problem := c.problem(s); problem != "" {
			return place + problem
		}
	}
	for _, c := range v.Components {
		if problem := c.ofProblem(keys); problem != "" {
			return "component " + c.Key + ": " + problem
		}
	}
	return ""
}

// ofProblem checks that what a component is computed from comes before it.
func (c Component) ofProblem(keys map[string]ComponentKind) string {
	for i, key := range c.Of {
		kind, known := keys[key]
		place := "of " + key + ": "
		switch {
		case !known:
			return place + "there is no such component."
		case slices.Contains(c.Of[:i], key):
			return place + "it is named twice."
		case kind == KindTax, kind == c.Kind, c.Kind == KindPowerFactor && kind == KindMinimum:
			return place + "the kind " + string(kind) + " is computed after " + string(c.Kind) + ", or not taken into it."
		}
	}
	return ""
}

// kindFields are the fields that components of a kind may have.
var kindFields = map[ComponentKind][]string{
	KindFlat:        {"factor", "price", "seasons"},
	KindBands:       {"factor", "price", "bands", "seasons"},
	KindSteps:       {"factor", "accumulate", "tiers", "prorate", "household", "seasons"},
	KindTierBands:   {"factor", "accumulate", "order", "tiers", "prorate", "household", "seasons"},
	KindCapacity:    {"price", "suspended"},
	KindDemand:      {"price", "basis", "over"},
	KindPowerFactor: {"standard", "of"},
	KindMinimum:     {"price", "of"},
	KindTax:         {"rate", "inclusive", "of", "invoice", "tax_point"},
}

// fields are those that are set.
func (c Component) fields() []string {
	var set []string
	for _, f := range []struct {
		name string
		is   bool
	}{
		{"factor", !c.Factor.IsZero()}, {"price", c.Price != nil}, {"bands", c.Bands != nil}, {"accumulate", c.Accumulate != ""},
		{"order", c.Order != ""}, {"prorate", c.Prorate != ""}, {"tiers", c.Tiers != nil}, {"household", c.Household != nil},
		{"seasons", c.Seasons != nil}, {"suspended", !c.Suspended.IsZero()}, {"basis", c.Basis != ""}, {"over", c.Over != nil},
		{"standard", !c.Standard.IsZero()}, {"of", c.Of != nil}, {"rate", !c.Rate.IsZero()}, {"inclusive", c.Inclusive}, {"invoice", c.Invoice != ""},
		{"tax_point", c.TaxPoint != ""},
	} {
		if f.is {
			set = append(set, f.name)
		}
	}
	return set
}

func (c Component) problem(s Service) string {
	if c.Name.ZH == "" || c.Name.EN == "" {
		return "it needs a name in both languages (zh, en)."
	}
	allowed, known := kindFields[c.Kind]
	if !known {
		return "the kind " + string(c.Kind) + " is unknown: use flat, bands, steps, tier_bands, capacity, demand, power_factor, minimum or tax."
	}
	for _, field := range c.fields() {
		if !slices.Contains(allowed, field) {
			return "it has fields of another kind than " + string(c.Kind) + " (" + field + ")."
		}
	}
	if s != Power && slices.Contains([]ComponentKind{KindBands, KindTierBands, KindCapacity, KindDemand, KindPowerFactor}, c.Kind) {
		if c.Kind == KindBands || c.Kind == KindTierBands {
			return "water meters have no bands."
		}
		return "the kind " + string(c.Kind) + " is for power."
	}
	if c.Factor.Sign() < 0 {
		return "the factor " + c.Factor.String() + " is negative."
	}
	switch c.Kind {
	case KindFlat, KindBands, KindSteps, KindTierBands:
		return c.energyProblem(s)
	case KindCapacity:
		if c.Suspended.Sign() < 0 {
			return "the share of suspended capacity " + c.Suspended.String() + " is negative."
		}
		return priceProblem("", c.Price)
	case KindDemand:
		return c.demandProblem()
	case KindPowerFactor:
		if _, ok := powerFactorTable()[c.Standard]; !ok {
			return "the standard is " + strconv.Quote(c.Standard.String()) + ": use 0.90, 0.85 or 0.80, for which a table is published."
		}
		if len(c.Of) == 0 {
			return "of is missing: name the components whose sum is adjusted."
		}
	case KindMinimum:
		if c.Of != nil && len(c.Of) == 0 {
			return "of names nothing: leave it out, or name components."
		}
		return priceProblem("", c.Price)
	case KindTax:
		if c.Of != nil && len(c.Of) == 0 {
			return "of names nothing: leave it out, or name components."
		}
		if c.Rate.Sign() <= 0 {
			return "the rate is missing or negative: write a fraction such as 0.13."
		}
		if p := c.Arises(); p != TaxAtBilling && p != TaxAtRecharge {
			return "the tax point is " + strconv.Quote(string(p)) + ": use billing, for the day on which the bill is issued, or recharge, for the day on which the money is received."
		}
	}
	return ""
}

func (c Component) demandProblem() string {
	if c.Basis != DemandMeasured && c.Basis != DemandContract {
		return "basis is " + strconv.Quote(string(c.Basis)) + ": use measured or contract."
	}
	if c.Over != nil {
		if c.Basis != DemandContract {
			return "over is for the contract basis."
		}
		if c.Over.Percent.Sign() <= 0 || c.Over.Factor.Sign() <= 0 {
			return "over needs a percent and a factor above 0."
		}
	}
	return priceProblem("", c.Price)
}

// energyProblem checks a component that charges use, each season by itself.
func (c Component) energyProblem(s Service) string {
	if problem := c.stepFieldsProblem(); problem != "" {
		return problem
	}
	if c.Seasons == nil {
		return c.chargesProblem(s)
	}
	if c.Price != nil || c.Bands != nil || c.Tiers != nil {
		return "it has seasons and prices of its own: put every price into a season."
	}
	var sets [][]int
	for i, season := range c.Seasons {
		place := "season " + strconv.Itoa(i+1) + ": "
		one := c
		one.Seasons, one.Price, one.Bands, one.Tiers = nil, season.Price, season.Bands, season.Tiers
		for _, field := range one.fields() {
			if !slices.Contains(kindFields[c.Kind], field) {
				return place + "it has fields of another kind than " + string(c.Kind) + " (" + field + ")."
			}
		}
		if problem := one.chargesProblem(s); problem != "" {
			return place + problem
		}
		if problem := c.sameTiers(season.Tiers, c.Seasons[0].Tiers); problem != "" {
			return place + problem
		}
		sets = append(sets, season.Months)
	}
	return monthsProblem(sets)
}

// sameTiers checks that a count means the same in every season.
func (c Component) sameTiers(tiers, first []Tier) string {
	if len(tiers) != len(first) {
		return "it has " + strconv.Itoa(len(tiers)) + " tiers, the first season " + strconv.Itoa(len(first)) + "."
	}
	for i, tier := range tiers {
		if c.Accumulate == PerYear && tier.UpTo != nil && *tier.UpTo != *first[i].UpTo {
			return "tier " + strconv.Itoa(i+1) + ": a yearly limit can't change with the season."
		}
	}
	return ""
}

// monthsProblem checks that each month of the year is in exactly one set.
func monthsProblem(sets [][]int) string {
	in := [13]int{}
	for i, months := range sets {
		place := "season " + strconv.Itoa(i+1) + ": "
		if len(months) == 0 {
			return place + "it has no months."
		}
		for _, m := range months {
			if m < 1 || m > 12 {
				return place + "month " + strconv.Itoa(m) + " is no month."
			}
			if in[m] != 0 {
				return place + "month " + strconv.Itoa(m) + " is in season " + strconv.Itoa(in[m]) + " already."
			}
			in[m] = i + 1
		}
	}
	for m := 1; m <= 12; m++ {
		if in[m] == 0 {
			return "month " + strconv.Itoa(m) + " is in no season."
		}
	}
	return ""
}

// chargesProblem checks the prices of a component without seasons.
func (c Component) chargesProblem(s Service) string {
	switch c.Kind {
	case KindFlat:
		return priceProblem("", c.Price)
	case KindBands:
		return c.bandsProblem()
	default:
		if problem := c.tiersProblem(s); problem != "" {
			return problem
		}
		return c.householdProblem(s)
	}
}

func (c Component) bandsProblem() string {
	if c.Price == nil {
		return bandListProblem("", c.Bands, func(b BandPrice, place string) string {
			if b.Ratio != nil {
				return place + "a ratio needs the component's price, to which it is one."
			}
			return priceProblem(place, b.Price)
		})
	}
	if problem := priceProblem("", c.Price); problem != "" {
		return problem
	}
	if !c.Factor.IsZero() {
		return "a factor and ratios can't stand together: multiply them."
	}
	if c.Bands == nil {
		return "it has fields of another kind than bands (price): give bands their prices, or their ratios to the price."
	}
	return bandListProblem("", c.Bands, func(b BandPrice, place string) string {
		if b.Ratio == nil && b.Price != nil {
			return place + "it has fields of another kind: beside a price of the component each band has a ratio."
		}
		if b.Ratio == nil {
			return place + "the ratio is missing."
		}
		if b.Price != nil {
			return place + "it has a price and a ratio."
		}
		if b.Ratio.Sign() < 0 {
			return place + "the ratio " + b.Ratio.String() + " is negative."
		}
		return ""
	})
}

// bandListProblem checks that each band is there once, and each by itself.
func bandListProblem(in string, bands []BandPrice, one func(b BandPrice, place string) string) string {
	seen := map[Register]bool{}
	for _, b := range bands {
		place := in + "band " + b.Register.String() + ": "
		if !slices.Contains(Bands, b.Register) {
			return place + "it is no band; use sharp, peak, flat, valley and deep_valley."
		}
		if seen[b.Register] {
			return place + "it has two prices."
		}
		seen[b.Register] = true
		if problem := one(b, place); problem != "" {
			return problem
		}
	}
	for _, r := range Bands {
		if !seen[r] {
			return in + "band " + r.String() + ": the price is missing. Every band needs one, also when it repeats that of another."
		}
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

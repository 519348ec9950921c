package billing

import "strconv"

func (c Component) stepFieldsProblem() string {
	if c.Kind == KindFlat || c.Kind == KindBands {
		return ""
	}
	if c.Accumulate != PerYear && c.Accumulate != PerMonth {
		return "accumulate is " + `"` + string(c.Accumulate) + `"` + ": use year or month."
	}
	if c.Prorate != "" && (c.Prorate != PerMonth || c.Accumulate != PerYear) {
		return "prorate is " + strconv.Quote(string(c.Prorate)) + ": use month, with accumulate year."
	}
	if c.Kind == KindTierBands && c.Order != StepsFirst && c.Order != BandsFirst {
		return "order is " + strconv.Quote(string(c.Order)) + ": use steps_first or bands_first."
	}
	return ""
}

func (c Component) tiersProblem(s Service) string {
	if len(c.Tiers) == 0 {
		return "it has no tier."
	}
	var edge Quantity
	for i, tier := range c.Tiers {
		place := "tier " + strconv.Itoa(i+1) + ": "
		if problem := c.tierPriceProblem(place, tier); problem != "" {
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
		if tier.UpTo.Sign() < 0 {
			return place + "the limit " + tier.UpTo.String() + " is negative."
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

func (c Component) tierPriceProblem(place string, tier Tier) string {
	if c.Kind == KindSteps {
		if tier.Bands != nil {
			return place + "it has prices per band: that is the kind tier_bands."
		}
		return priceProblem(place, tier.Price)
	}
	if tier.Price != nil {
		return place + "it has one price: the kind tier_bands has one per band."
	}
	return bandListProblem(place, tier.Bands, func(b BandPrice, place string) string {
		if b.Ratio != nil {
			return place + "ratios are for the kind bands: write the price."
		}
		return priceProblem(place, b.Price)
	})
}

func (c Component) householdProblem(s Service) string {
	if c.Household != nil && len(c.Household) == 0 {
		return "household is empty: leave it out."
	}
	for i, h := range c.Household {
		place := "household " + strconv.Itoa(i+1) + ": "
		if h.Persons < 1 || i > 0 && h.Persons <= c.Household[i-1].Persons {
			return place + "persons must be at least 1 and rise from entry to entry."
		}
		if len(h.Add) != len(c.Tiers)-1 {
			return place + "add needs one number per limit, " + strconv.Itoa(len(c.Tiers)-1) + "."
		}
		var before Quantity
		for k, add := range h.Add {
			if add.Cmp(before) < 0 {
				return place + "add " + strconv.Itoa(k+1) + ": the number " + add.String() + " is negative, or less than what the limit before is raised by; tiers would overlap."
			}
			before = add
			// Half units and less are cut off once a year; finer than that is a slip.
			if _, err := s.Raw(add); err != nil {
				return place + "add " + strconv.Itoa(k+1) + ": " + err.Error()
			}
		}
	}
	return ""
}

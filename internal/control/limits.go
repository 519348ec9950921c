package control

import (
	"bytes"
	"encoding/json"

	"github.com/meterflow/meterflow/internal/billing"
)

// Limits bound what a bill of one service may be before a person looks at it. Zero switches a limit off. Times are tenths of a
// factor: 30 is three times.
type Limits struct {
	// HouseholdFen and OtherFen are the most that a bill of a household, or of any other customer, may come to.
	HouseholdFen billing.Money `json:"household_fen"`
	OtherFen     billing.Money `json:"other_fen"`
	// ChangeFen is by how much a bill may differ from the one of the period before, either way.
	ChangeFen billing.Money `json:"change_fen"`
	// LastTimesTenths and AverageTimesTenths are how many times the use a day of the period before, or of the year before, the use a
	// day may be; FallTimesTenths how many times less than in the period before.
	LastTimesTenths    int64 `json:"last_times_tenths"`
	AverageTimesTenths int64 `json:"average_times_tenths"`
	FallTimesTenths    int64 `json:"fall_times_tenths"`
	// IgnoreBelow is the use of a period, in raw units after the ratio, up to which use isn't compared: a flat that stood empty
	// may well use three times nothing.
	IgnoreBelow int64 `json:"ignore_below"`
	// EstimatedPercent is how much of the use may be estimated.
	EstimatedPercent int64 `json:"estimated_percent"`
	// Negative and ZeroWithUse stop a bill below zero, and one of nothing for some use.
	Negative    bool `json:"negative"`
	ZeroWithUse bool `json:"zero_with_use"`
}

// Policy is the limits of a site.
type Policy struct {
	Power Limits `json:"power"`
	Water Limits `json:"water"`
}

// DefaultPolicy is in force where a site says nothing. The numbers are general practice, wide enough that an ordinary month passes:
// set them from your own last year.
func DefaultPolicy() Policy {
	common := Limits{LastTimesTenths: 30, AverageTimesTenths: 40, FallTimesTenths: 100, EstimatedPercent: 50, Negative: true, ZeroWithUse: true}
	power, water := common, common
	power.HouseholdFen, power.OtherFen, power.ChangeFen, power.IgnoreBelow = 2_000*billing.Yuan, 100_000*billing.Yuan, 50_000*billing.Yuan, 5_000
	water.HouseholdFen, water.OtherFen, water.ChangeFen, water.IgnoreBelow = 500*billing.Yuan, 20_000*billing.Yuan, 10_000*billing.Yuan, 5_000
	return Policy{Power: power, Water: water}
}

// Of are the limits of a service.
func (p Policy) Of(s billing.Service) Limits {
	if s == billing.Water {
		return p.Water
	}
	return p.Power
}

// SitePolicy reads the limits out of a site's policy, whose billing.limits override single fields of the defaults.
func SitePolicy(policy json.RawMessage) (Policy, error) {
	site := struct {
		Billing struct {
			Limits Policy `json:"limits"`
		} `json:"billing"`
	}{}
	site.Billing.Limits = DefaultPolicy()
	if len(policy) > 0 {
		if err := json.Unmarshal(policy, &site); err != nil {
			return Policy{}, billing.Errorf(billing.CodeInvalidInput, "The limits of billing runs can't be read: %v.", err)
		}
	}
	return site.Billing.Limits, site.Billing.Limits.Validate()
}

// ParsePolicy reads limits that were published for a site. All of them must be given: what is left out would be switched off unseen.
func ParsePolicy(raw json.RawMessage) (Policy, error) {
	var given struct{ Power, Water map[string]json.RawMessage }
	if err := json.Unmarshal(raw, &given); err != nil {
		return Policy{}, billing.Errorf(billing.CodeInvalidInput, "The limits of billing runs can't be read: %v.", err)
	}
	var p Policy
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		return Policy{}, billing.Errorf(billing.CodeInvalidInput, "The limits of billing runs can't be read: %v.", err)
	}
	for _, service := range []billing.Service{billing.Power, billing.Water} {
		fields := given.Power
		if service == billing.Water {
			fields = given.Water
		}
		for _, name := range fieldNames {
			if _, ok := fields[name]; !ok {
				return Policy{}, billing.Errorf(billing.CodeInvalidInput, "The limit %s for %s is missing: write zero or false to switch it off.", name, service)
			}
		}
	}
	return p, p.Validate()
}

// fieldNames are the limits of a service as JSON names them.
var fieldNames = []string{
	"household_fen", "other_fen", "change_fen", "last_times_tenths", "average_times_tenths", "fall_times_tenths", "ignore_below", "estimated_percent", "negative", "zero_with_use",
}

// Validate refuses limits that could never be meant.
func (p Policy) Validate() error {
	for service, l := range map[billing.Service]Limits{billing.Power: p.Power, billing.Water: p.Water} {
		for name, v := range map[string]int64{
			"household_fen": int64(l.HouseholdFen), "other_fen": int64(l.OtherFen), "change_fen": int64(l.ChangeFen), "ignore_below": l.IgnoreBelow,
		} {
			if v < 0 {
				return billing.Errorf(billing.CodeInvalidInput, "The limit %s for %s is negative: write zero to switch it off.", name, service)
			}
		}
		for name, v := range map[string]int64{
			"last_times_tenths": l.LastTimesTenths, "average_times_tenths": l.AverageTimesTenths, "fall_times_tenths": l.FallTimesTenths,
		} {
			if v != 0 && (v <= 10 || v > 10_000) {
				return billing.Errorf(billing.CodeInvalidInput, "The limit %s for %s must lie above 10 (once) and at most at 10000, or be zero to switch it off.", name, service)
			}
		}
		if l.EstimatedPercent < 0 || l.EstimatedPercent > 100 {
			return billing.Errorf(billing.CodeInvalidInput, "The limit estimated_percent for %s must lie between 0 and 100.", service)
		}
	}
	return nil
}

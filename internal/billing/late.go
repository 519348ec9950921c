package billing

import (
	"bytes"
	"encoding/json"
)

// LateFeePolicy is what unpaid bills cost under an arrears contract, by service: dated, in order of their first days.
type LateFeePolicy struct {
	Power []LateFeeRule `json:"power"`
	Water []LateFeeRule `json:"water"`
}

// LateFeeRule holds from a day on. Shares are of the debt, for each day that it is late (rule 30).
type LateFeeRule struct {
	From         Date   `json:"from"`
	DueDays      int    `json:"due_days"`          // a bill is due so many days after it was issued
	Household    Price  `json:"household"`         // share a day
	Other        Price  `json:"other"`             // of debts that fell due this year
	OtherEarlier Price  `json:"other_earlier"`     // of debts that fell due in an earlier year
	MinimumFen   Money  `json:"minimum_fen"`       // the least that the fee on one bill comes to
	TaxRate      Factor `json:"tax_rate,omitzero"` // of the VAT that a fee contains; 0 is none
	WaiveFen     Money  `json:"waive_fen"`         // what one person may waive of a bill's fee; more takes a second one (rule 49)
}

// DefaultLateFees are in force where a site says nothing else.
func DefaultLateFees() LateFeePolicy {
	rule := LateFeeRule{
		From: NewDate(2000, 1, 1), DueDays: 15, Household: MustPrice("0.001"), Other: MustPrice("0.002"), OtherEarlier: MustPrice("0.003"), MinimumFen: Yuan, WaiveFen: 50 * Yuan,
	}
	return LateFeePolicy{Power: []LateFeeRule{rule}, Water: []LateFeeRule{rule}}
}

// The most that a rule may say: more is a slip of the pen.
const (
	maxDueDays  = 365
	maxLateFees = 1_000_000 * Yuan
)

// Check names what of a rule can't be meant, by the field's name in JSON.
func (r LateFeeRule) Check() map[string]error {
	problems := map[string]error{}
	if r.From.IsZero() {
		problems["from"] = Errorf(CodeInvalidInput, "The rule has no first day: give it one, such as 2027-01-01.")
	}
	if r.DueDays < 0 || r.DueDays > maxDueDays {
		problems["due_days"] = Errorf(CodeInvalidInput, "A bill can't be due %d days after its issue: write 0 to %d.", r.DueDays, maxDueDays)
	}
	for name, share := range map[string]Price{"household": r.Household, "other": r.Other, "other_earlier": r.OtherEarlier} {
		if share.Sign() < 0 || share.Cmp(MustPrice("1")) > 0 {
			problems[name] = Errorf(CodeInvalidInput, "A share of %s a day can't be: write one from 0 to 1, such as 0.001.", share)
		}
	}
	for name, fen := range map[string]Money{"minimum_fen": r.MinimumFen, "waive_fen": r.WaiveFen} {
		if fen < 0 || fen > maxLateFees {
			problems[name] = Errorf(CodeInvalidInput, "An amount of %s yuan can't be: write 0 to %s.", fen, maxLateFees)
		}
	}
	if r.TaxRate.Sign() < 0 || r.TaxRate.d.Cmp(MustFactor("1").d) >= 0 {
		problems["tax_rate"] = Errorf(CodeInvalidInput, "A tax rate of %s can't be: write a fraction below 1, such as 0.13; 0 for none.", r.TaxRate)
	}
	return problems
}

// lateFields are the names of LateFeeRule in the order in which their problems are told.
var lateFields = []string{"from", "due_days", "household", "other", "other_earlier", "minimum_fen", "tax_rate", "waive_fen"}

// Validate names the first thing that can't be meant.
func (r LateFeeRule) Validate() error {
	problems := r.Check()
	for _, name := range lateFields {
		if err := problems[name]; err != nil {
			return Errorf(CodeInvalidInput, "%s of the late-fee rule: %w", name, err)
		}
	}
	return nil
}

// ParseLateFeeRule reads a rule that a program sent. Unknown and missing fields are refused by name, so that none is forgotten; without
// tax_rate there is no tax.
func ParseLateFeeRule(raw []byte) (LateFeeRule, error) {
	var r LateFeeRule
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, Errorf(CodeInvalidInput, "The late-fee rule can't be read: %v.", err)
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(raw, &given); err != nil {
		return r, Errorf(CodeInvalidInput, "The late-fee rule can't be read: %v.", err)
	}
	for _, name := range lateFields {
		if _, ok := given[name]; !ok && name != "tax_rate" {
			return r, Errorf(CodeInvalidInput, "The late-fee rule lacks %s: give every field, so that none is forgotten.", name)
		}
	}
	return r, r.Validate()
}

// Validate names what can't be meant.
func (p LateFeePolicy) Validate() error {
	for _, s := range []Service{Power, Water} {
		rules := p.Of(s)
		for i, r := range rules {
			if err := r.Validate(); err != nil {
				return Errorf(CodeInvalidInput, "billing.late_fees.%s[%d]: %w", s, i, err)
			}
			if i > 0 && !rules[i-1].From.Before(r.From) {
				return Errorf(CodeInvalidInput, "billing.late_fees.%s[%d] has no first day after that of the entry before it: give each entry its own, in order.", s, i)
			}
		}
	}
	return nil
}

// Of are the rules of a service.
func (p LateFeePolicy) Of(s Service) []LateFeeRule {
	if s == Water {
		return p.Water
	}
	return p.Power
}

// LateFeeRuleOn is the index of the rule in force on a day, -1 before the first.
func LateFeeRuleOn(rules []LateFeeRule, day Date) int {
	i := -1
	for i+1 < len(rules) && !rules[i+1].From.After(day) {
		i++
	}
	return i
}

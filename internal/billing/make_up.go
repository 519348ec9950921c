package billing

import (
	"cmp"
	"math/big"
)

// MakeUpRule says when a make-up bill may be paid in monthly parts, and how large a part is (rule 9, after Ellwood City 1054.02). It holds
// from a day on.
type MakeUpRule struct {
	From           Date `json:"from"`
	AfterEstimates int  `json:"after_estimates"` // as many readings in a row were estimated before the measured one
	OverPercent    int  `json:"over_percent"`    // the true-up comes to more than so much of the lowest normal bill
	PartPercent    int  `json:"part_percent"`    // a monthly part is so much of the lowest normal bill at most
	Bills          int  `json:"bills"`           // the lowest of so many newest normal bills
	// MaxParts is how many parts a plan has at most: a part is larger than its share where the total asks for more. 0, in the rules of plans
	// that were made before there was a limit: any number.
	MaxParts int `json:"max_parts"`
	// DecideDays is how long a proposed plan protects without a decision; then it lapses.
	DecideDays int `json:"decide_days"`
}

// DefaultMakeUp is in force where a site says nothing else.
func DefaultMakeUp() []MakeUpRule {
	return []MakeUpRule{{From: NewDate(2000, 1, 1), AfterEstimates: 4, OverPercent: 50, PartPercent: 50, Bills: 12, MaxParts: 12, DecideDays: 30}}
}

// ValidateMakeUp refuses rules that can't be meant.
func ValidateMakeUp(rules []MakeUpRule) error {
	for i, r := range rules {
		switch {
		case r.From.IsZero() || i > 0 && !rules[i-1].From.Before(r.From):
			return Errorf(CodeInvalidInput, "billing.make_up: rule %d must begin on a day after the one before it.", i+1)
		case r.AfterEstimates < 1:
			return Errorf(CodeInvalidInput, "billing.make_up: rule %d needs at least one estimate before the true-up.", i+1)
		case r.OverPercent < 0 || r.PartPercent < 1 || r.PartPercent > 100:
			return Errorf(CodeInvalidInput, "billing.make_up: a share of rule %d can't be: a part is 1 to 100 percent of the lowest normal bill.", i+1)
		case r.Bills < 1:
			return Errorf(CodeInvalidInput, "billing.make_up: rule %d must look at one bill at least.", i+1)
		case r.MaxParts < 1 || r.DecideDays < 1:
			return Errorf(CodeInvalidInput, "billing.make_up: rule %d needs max_parts and decide_days: how many parts a plan has at most, and in how many days it is decided, at least 1 each.", i+1)
		}
	}
	return nil
}

// MakeUpRuleOn is the rule in force on a day; one that asks for no estimates is none.
func MakeUpRuleOn(rules []MakeUpRule, day Date) MakeUpRule {
	var in MakeUpRule
	for _, r := range rules {
		if !day.Before(r.From) {
			in = r
		}
	}
	return in
}

// MakeUp is what the charge of a measured reading is compared with, all from the charges that stand in the books.
type MakeUp struct {
	Estimates        int    `json:"estimates"`         // readings in a row before the measured one
	EstimatedFen     Money  `json:"estimated_fen"`     // charged on them
	EstimatedSeconds int64  `json:"estimated_seconds"` // the time that this covers
	ChargedFen       Money  `json:"charged_fen"`       // charged with the measured one: its own time, and the true-up
	ChargedSeconds   int64  `json:"charged_seconds"`   // from the last charge on an estimate to it
	LowestBill       BillID `json:"lowest_bill"`       // empty: no normal bill was issued yet
	LowestFen        Money  `json:"lowest_fen"`
}

// Fen is by how much the true-up raised the charge: what was charged with the measured reading, less what its own time would have cost at
// the pace of the estimates, rounded half up. It is never negative.
func (m MakeUp) Fen() Money {
	if m.EstimatedSeconds <= 0 || m.ChargedSeconds < 0 {
		return 0
	}
	n := new(big.Int).Mul(big.NewInt(int64(max(m.EstimatedFen, 0))), big.NewInt(2*m.ChargedSeconds))
	n.Add(n, big.NewInt(m.EstimatedSeconds)).Div(n, big.NewInt(2*m.EstimatedSeconds))
	if !n.IsInt64() {
		return 0 // beyond all money: the pace explains the charge
	}
	return max(m.ChargedFen-Money(n.Int64()), 0)
}

// PartOf is a share of an amount, cut to whole fen, so that it is never above the share.
func PartOf(m Money, percent int) Money {
	n := new(big.Int).Mul(big.NewInt(int64(max(m, 0))), big.NewInt(int64(percent)))
	return Money(n.Div(n, big.NewInt(100)).Int64())
}

// Plan is what the rule makes of a true-up: what is paid in parts, and how large a part is. Nothing is paid in parts while the true-up is
// within the share, or without a normal bill to measure a part by.
func (r MakeUpRule) Plan(m MakeUp) (total, part Money) {
	if r.AfterEstimates < 1 || m.Estimates < r.AfterEstimates {
		return 0, 0
	}
	total, part = m.Fen(), PartOf(m.LowestFen, r.PartPercent)
	if part < 1 || total <= PartOf(m.LowestFen, r.OverPercent) {
		return 0, 0
	}
	if parts := Money(r.MaxParts); parts > 0 {
		part = max(part, total/parts+min(total%parts, 1))
	}
	return total, part
}

// Lapses is the last day on which a plan that was proposed on a day can be decided on.
func (r MakeUpRule) Lapses(proposed Date) Date {
	return proposed.AddDays(cmp.Or(r.DecideDays, DefaultMakeUp()[0].DecideDays))
}

// PlanState is the progress of a payment plan.
type PlanState string

// A plan protects while it is proposed and while it runs: what is outstanding of it is left out of what reminds and cuts.
const (
	PlanProposed  PlanState = "proposed"
	PlanRunning   PlanState = "running"
	PlanSettled   PlanState = "settled" // all parts have fallen due, or the customer pays at once
	PlanRejected  PlanState = "rejected"
	PlanCancelled PlanState = "cancelled"
	PlanLapsed    PlanState = "lapsed" // nobody decided in time, or what it is about has changed before anybody did
)

// Final says that nothing of the plan is outstanding any more.
func (s PlanState) Final() bool { return s != PlanProposed && s != PlanRunning }

// PlanID is the number of a payment plan: Y1.
type PlanID string

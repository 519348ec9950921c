package workflows

import (
	"encoding/json"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// What pages and the API fill in for Client's methods. They are the activities' own types; the names stand here so that an edge
// needs to know this package only.
type (
	// Decision is a person's decision on an exception case.
	Decision = activities.Decision
	// ManualValue is what a person read off a meter.
	ManualValue = activities.ManualValue
	// ExchangeForm is the closing of an old meter and the opening of a new one.
	ExchangeForm = activities.ExchangeForm
	// OrderExchange is a person's order of a planned exchange, ExchangePreview what it would do.
	OrderExchange   = activities.OrderExchange
	ExchangePreview = activities.ExchangePreview
	// EditTariff is what a person writes into a change of prices.
	EditTariff = activities.EditTariff
	// Preview is what a decision would do, MemberPreview and AccountPreview its parts.
	Preview        = activities.Preview
	MemberPreview  = activities.MemberPreview
	AccountPreview = activities.AccountPreview
	// RuleSet is the rules of a group, RuleLevel one of its levels of use, RuleMethod a way to fill a gap.
	RuleSet    = activities.RuleSet
	RuleLevel  = activities.RuleLevel
	RuleMethod = activities.RuleMethod
	// EnterRecharge is what a clerk enters.
	EnterRecharge = activities.EnterRecharge
	// CloseDays closes the books up to and with a day.
	CloseDays = activities.CloseDays
)

// The decisions on cases.
const (
	DecideAccept      = activities.DecideAccept
	DecideReread      = activities.DecideReread
	DecideEstimate    = activities.DecideEstimate
	DecideManual      = activities.DecideManual
	DecideExchange    = activities.DecideExchange
	DecideTrueUp      = activities.DecideTrueUp
	DecideResplit     = activities.DecideResplit
	DecideCredited    = activities.DecideCredited
	DecideNotCredited = activities.DecideNotCredited
	DecideOn          = activities.DecideOn
	DecideOff         = activities.DecideOff
)

// AllowedDecisions lists what a person may decide on a kind of case.
func AllowedDecisions(kind string) []string { return activities.AllowedDecisions(kind) }

// DefaultRules are the rules of a service at a site where no group fits: the site's policy over the defaults.
func DefaultRules(policy json.RawMessage, service billing.Service) (RuleSet, error) {
	return activities.DefaultRules(policy, service)
}

// ParseRules reads a stored or sent rule set and refuses one that lacks a limit or holds a negative one.
func ParseRules(raw json.RawMessage) (RuleSet, error) { return activities.ParseRules(raw) }

// CanHoldOn says whether meters with a register map can be held on, so that they can't cut by themselves.
func CanHoldOn(profile string) bool { return activities.CanHoldOn(profile) }

// HoldsVolume says whether meters with a register map hold a bought volume instead of money.
func HoldsVolume(profile string) bool { return activities.HoldsVolume(profile) }

// MeterAlarms are what a meter complains of in the status word of a reading, by its register map: "battery_low", "switch_fault".
func MeterAlarms(profile string, statusWord int) []string {
	return activities.MeterAlarms(profile, statusWord)
}

package workflows

import "github.com/meterflow/meterflow/activities"

// What pages and the API fill in for Client's methods. They are the activities' own types; the names stand here so that an edge
// needs to know this package only.
type (
	// Decision is a person's decision on an exception case.
	Decision = activities.Decision
	// ManualValue is what a person read off a meter.
	ManualValue = activities.ManualValue
	// ExchangeForm is the closing of an old meter and the opening of a new one.
	ExchangeForm = activities.ExchangeForm
	// EditTariff is what a person writes into a change of prices.
	EditTariff = activities.EditTariff
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
	DecideCredited    = activities.DecideCredited
	DecideNotCredited = activities.DecideNotCredited
	DecideOn          = activities.DecideOn
	DecideOff         = activities.DecideOff
)

// AllowedDecisions lists what a person may decide on a kind of case.
func AllowedDecisions(kind string) []string { return activities.AllowedDecisions(kind) }

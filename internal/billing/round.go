package billing

// RouteID names a reading route: meters of one site in walking order.
type RouteID string

// RoundID names one walk along a route, by one reader.
type RoundID string

// RoundKind says why meters are walked to.
type RoundKind string

// The kinds. A collection reads what no gateway can; a check reads what a gateway has read too.
const (
	RoundCollect RoundKind = "collect"
	RoundCheck   RoundKind = "check"
)

// RoundKinds lists every kind.
var RoundKinds = []RoundKind{RoundCollect, RoundCheck}

// RoundState is the progress of a reading round.
type RoundState string

// The round states, in order. Checked means accepted by a supervisor: the values are being stored. Closed and cancelled are final.
const (
	RoundPlanned    RoundState = "planned"
	RoundAssigned   RoundState = "assigned"
	RoundInProgress RoundState = "in_progress"
	RoundSubmitted  RoundState = "submitted"
	RoundChecked    RoundState = "checked"
	RoundClosed     RoundState = "closed"
	RoundCancelled  RoundState = "cancelled"
)

// Final says whether nothing more will happen to the round.
func (s RoundState) Final() bool { return s == RoundClosed || s == RoundCancelled }

// NoReading is why a reader stood before a meter and has no value.
type NoReading string

// The reasons. Each leaves its meter without a value: the meter has to be read another day, or a supervisor decides.
const (
	NoAccess      NoReading = "no_access"
	MeterBroken   NoReading = "meter_broken"
	DialCovered   NoReading = "dial_covered"
	MeterNotFound NoReading = "not_found"
	NoReadingElse NoReading = "other"
)

// NoReadings lists every reason.
var NoReadings = []NoReading{NoAccess, MeterBroken, DialCovered, MeterNotFound, NoReadingElse}

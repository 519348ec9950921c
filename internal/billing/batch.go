package billing

// BatchID names one piece of work on many meters: 'B-<number>', or 'B-<site>-<day>' for the clocks that a day's readings showed to be off.
type BatchID string

// BatchKind says what part of the meters a batch works on.
type BatchKind string

// The kinds of batches.
const (
	BatchPrice BatchKind = "price"
	BatchValve BatchKind = "valve"
	BatchRelay BatchKind = "relay"
	BatchClock BatchKind = "clock"
)

// BatchKinds lists the kinds.
var BatchKinds = []BatchKind{BatchPrice, BatchValve, BatchRelay, BatchClock}

// BatchAction is what a batch orders from each of its meters.
type BatchAction string

// The actions. None of them takes supply away: cuts are made one by one, each judged for its own customer.
const (
	// BatchSetPrices writes the published prices of its account's tariff into a meter that deducts by itself.
	BatchSetPrices BatchAction = "set_prices"
	// BatchSetClock sets the clock of a meter whose bands are priced.
	BatchSetClock BatchAction = "set_clock"
	// BatchRestore gives supply back: relay closed, valve opened.
	BatchRestore BatchAction = "restore"
	// BatchKeepOn holds the relay closed whatever the balance, until a release.
	BatchKeepOn BatchAction = "keep_on"
	// BatchRelease ends keep-on.
	BatchRelease BatchAction = "release"
)

var batchActions = map[BatchKind][]BatchAction{
	BatchPrice: {BatchSetPrices}, BatchClock: {BatchSetClock}, BatchValve: {BatchRestore}, BatchRelay: {BatchRestore, BatchKeepOn, BatchRelease},
}

// Actions are what a batch of this kind can order; none for an unknown kind.
func (k BatchKind) Actions() []BatchAction { return batchActions[k] }

// NeedsSecond says that another person than its maker must start the batch.
func (a BatchAction) NeedsSecond() bool { return a == BatchRelease }

// Command is the kind of the command that the batch itself sends; empty for a restore, whose own workflow orders it.
func (a BatchAction) Command() CommandKind {
	switch a {
	case BatchSetPrices:
		return CommandSetPrices
	case BatchSetClock:
		return CommandSetClock
	case BatchKeepOn:
		return CommandKeepOn
	case BatchRelease:
		return CommandRelease
	}
	return ""
}

// BatchState is the progress of a batch.
type BatchState string

// The batch states. Done and cancelled are final.
const (
	BatchPreviewed BatchState = "previewed"
	BatchRunning   BatchState = "running"
	BatchDone      BatchState = "done"
	BatchCancelled BatchState = "cancelled"
)

// Final says whether nothing more will be ordered.
func (s BatchState) Final() bool { return s == BatchDone || s == BatchCancelled }

// MemberState is what became of one meter of a batch.
type MemberState string

// The member states. Verified is proof: the meter's own read-back. Sending is out, or about to be.
const (
	MemberPending   MemberState = "pending"
	MemberSkipped   MemberState = "skipped"
	MemberSending   MemberState = "sending"
	MemberVerified  MemberState = "verified"
	MemberRefused   MemberState = "refused"
	MemberUnknown   MemberState = "unknown"
	MemberCancelled MemberState = "cancelled"
)

// SkipReason says why a batch leaves a meter alone.
type SkipReason string

// The reasons.
const (
	SkipNoAccount     SkipReason = "no_account"     // nobody's supply hangs on the meter
	SkipService       SkipReason = "service"        // a water meter among relays, or the other way round
	SkipUnverified    SkipReason = "unverified"     // its register map was never tried on a device
	SkipNoCommand     SkipReason = "no_command"     // its kind of meter can't do this
	SkipSilent        SkipReason = "silent"         // it has an open case because it doesn't answer
	SkipStands        SkipReason = "stands"         // it is already as ordered
	SkipSupplyOff     SkipReason = "supply_off"     // keep-on would give supply back: restore it first
	SkipProtected     SkipReason = "protected"      // a protection stands: it isn't released under it
	SkipArrears       SkipReason = "arrears"        // held on by its arrears case, which ends that itself
	SkipWouldTrip     SkipReason = "would_trip"     // without the hold it would cut its customer by itself, with no notice
	SkipNoOwnCredit   SkipReason = "no_own_credit"  // the balance is ours: the meter charges nothing by itself
	SkipPricePush     SkipReason = "price_push"     // a change of prices is being written to it
	SkipPrices        SkipReason = "prices"         // its tariff has no prices that a meter can hold
	SkipCeiling       SkipReason = "ceiling"        // above the site's ceiling
	SkipBandsUnpriced SkipReason = "bands_unpriced" // its tariff prices no bands, so its clock costs nobody money
	SkipSetToday      SkipReason = "set_today"      // its clock was set today
	SkipClockTooFar   SkipReason = "clock_too_far"  // further off than may be set: an exception
	SkipNoClock       SkipReason = "no_clock"       // it has shown no clock
	SkipBusy          SkipReason = "busy"           // another order of the meter is open
	SkipUnreached     SkipReason = "unreached"      // it gave no answer: nothing was sent
	SkipTooLate       SkipReason = "too_late"       // its order waited for longer than it is good for: nothing was sent
	SkipMoved         SkipReason = "moved"          // exchanged or given to another account since
)

// SkipReasons lists the reasons.
var SkipReasons = []SkipReason{
	SkipNoAccount, SkipService, SkipUnverified, SkipNoCommand, SkipSilent, SkipStands, SkipSupplyOff, SkipProtected, SkipArrears, SkipWouldTrip, SkipNoOwnCredit, SkipPricePush, SkipPrices,
	SkipCeiling, SkipBandsUnpriced, SkipSetToday, SkipClockTooFar, SkipNoClock, SkipBusy, SkipUnreached, SkipTooLate, SkipMoved,
}

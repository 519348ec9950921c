package billing

// Quality says where a reading comes from.
type Quality string

// The qualities.
const (
	QualityActual    Quality = "actual"
	QualityManual    Quality = "manual"
	QualityEstimated Quality = "estimated"
	QualityEdited    Quality = "edited"
)

// CreditMode says who holds an account's balance.
type CreditMode string

// The two ways credit is held: the ledger, or the meter with a shadow ledger.
const (
	CreditPlatform CreditMode = "platform"
	CreditMeter    CreditMode = "meter"
)

// Role is what a person comes for.
type Role string

// The roles.
const (
	RoleSupervisor    Role = "supervisor"
	RoleClerk         Role = "clerk"
	RoleManager       Role = "manager"
	RoleAdministrator Role = "administrator"
	RoleCustomer      Role = "customer"
	RoleReader        Role = "reader"
)

// Roles lists every role.
var Roles = []Role{RoleSupervisor, RoleClerk, RoleManager, RoleAdministrator, RoleCustomer, RoleReader}

// SupplyState is whether supply reaches the customer, as last read back.
type SupplyState string

// The supply states. Unknown is worked on until a reading settles it.
const (
	SupplyOn  SupplyState = "on"
	SupplyOff SupplyState = "off"
	// SupplyAllowed: given back by us, and off until the customer presses the meter's button.
	SupplyAllowed SupplyState = "allowed"
	SupplyUnknown SupplyState = "unknown"
)

// Dark says that nothing reaches the customer, whoever is to end that.
func (s SupplyState) Dark() bool { return s == SupplyOff || s == SupplyAllowed }

// CycleState is the progress of a reading cycle.
type CycleState string

// The cycle states, in order.
const (
	CyclePlanned    CycleState = "planned"
	CycleSweeping   CycleState = "sweeping"
	CycleValidating CycleState = "validating"
	CycleClosed     CycleState = "closed"
)

// CaseState is the progress of an exception case.
type CaseState string

// The case states.
const (
	CaseOpen     CaseState = "open"
	CaseResolved CaseState = "resolved"
)

// RechargeState is the progress of a recharge.
type RechargeState string

// The recharge states. Credited, rejected and expired are final.
const (
	RechargeEntered      RechargeState = "entered"
	RechargeApprovedOnce RechargeState = "approved_once"
	RechargeApproved     RechargeState = "approved"
	RechargeDelivering   RechargeState = "delivering"
	RechargeCredited     RechargeState = "credited"
	RechargeRejected     RechargeState = "rejected"
	RechargeExpired      RechargeState = "expired"
	RechargeInDoubt      RechargeState = "in_doubt"
)

// Final says whether nothing more will happen to the recharge.
func (s RechargeState) Final() bool {
	return s == RechargeCredited || s == RechargeRejected || s == RechargeExpired
}

// RunState is the progress of a billing run.
type RunState string

// The run states. Issued and cancelled are final.
const (
	RunBlocked              RunState = "blocked"
	RunRating               RunState = "rating"
	RunAwaitingVerification RunState = "awaiting_verification"
	RunVerified             RunState = "verified"
	RunIssued               RunState = "issued"
	RunCancelled            RunState = "cancelled"
)

// BillState is the progress of a bill.
type BillState string

// The bill states. An issued bill is never edited, only cancelled by reversal.
const (
	BillDraft     BillState = "draft"
	BillHeld      BillState = "held"
	BillIssued    BillState = "issued"
	BillCancelled BillState = "cancelled"
	BillReversed  BillState = "reversed" // issued once, then undone by a correction, which issued its successor
)

// ReminderState is the progress of an arrears case.
type ReminderState string

// The reminder states. Paid, handed over and closed end the case.
const (
	ReminderLevel1     ReminderState = "level1"
	ReminderLevel2     ReminderState = "level2"
	ReminderFinal      ReminderState = "final"
	ReminderHandedOver ReminderState = "handed_over"
	ReminderPaid       ReminderState = "paid"
	ReminderClosed     ReminderState = "closed"
)

// CommandKind is what a command orders a meter to do.
type CommandKind string

// The command kinds. Release ends keep-on; it does not cut.
const (
	CommandCredit CommandKind = "credit"
	CommandTrip   CommandKind = "trip"
	CommandClose  CommandKind = "close"
	// CommandAllowClosing gives supply back as a permission: the customer closes the relay by the meter's button.
	CommandAllowClosing CommandKind = "allow_close"
	CommandKeepOn       CommandKind = "keep_on"
	CommandRelease      CommandKind = "release"
	// CommandSetPrices and CommandSetClock are settings of a meter; they don't touch supply.
	CommandSetPrices CommandKind = "set_prices"
	CommandSetClock  CommandKind = "set_clock"
)

// Switches says whether the command is about supply: only then does a read-back of relay or valve prove it.
func (k CommandKind) Switches() bool {
	return k == CommandTrip || k == CommandClose || k == CommandAllowClosing || k == CommandKeepOn || k == CommandRelease
}

// CommandState is the progress of a command. Only verified is proof: the
// meter's own read-back shows the effect.
type CommandState string

// The command states.
const (
	CommandRequested    CommandState = "requested"
	CommandSending      CommandState = "sending"
	CommandAcknowledged CommandState = "acknowledged"
	CommandVerified     CommandState = "verified"
	CommandRefused      CommandState = "refused"
	CommandUnknown      CommandState = "unknown"
	CommandCancelled    CommandState = "cancelled"
)

// MessageState is the progress of a message to a customer.
type MessageState string

// The message states. Delivered needs the provider's receipt.
const (
	MessageQueued    MessageState = "queued"
	MessageSent      MessageState = "sent"
	MessageDelivered MessageState = "delivered"
	MessageFailed    MessageState = "failed"
)

// CustomerClass decides notice times, who must approve a cut, which rules judge a reading, and the late fee.
type CustomerClass string

// The customer classes. Important customers are large ones, or ones whose
// loss of supply endangers others: a manager approves their cuts.
const (
	ClassHousehold  CustomerClass = "household"
	ClassCommercial CustomerClass = "commercial"
	ClassImportant  CustomerClass = "important"
)

// Check refuses what is no class.
func (c CustomerClass) Check() error {
	switch c {
	case ClassHousehold, ClassCommercial, ClassImportant:
		return nil
	}
	return Errorf(CodeInvalidInput, "There is no class of customer %q: choose household, commercial or important.", string(c))
}

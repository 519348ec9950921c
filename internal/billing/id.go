package billing

// Identifiers are distinct types so that arguments cannot be swapped. Their
// text is a business key where there is one, and is never re-used.
type (
	// SiteID names a site: the unit of time zone, calendar and data access.
	SiteID string
	// GatewayID names a device that speaks TCP to us and serial to meters.
	GatewayID string
	// MeterID names a physical device; a service point outlives its meters.
	MeterID string
	// CustomerID names a person or company; one customer may hold several accounts.
	CustomerID string
	// ServicePointID names the place where supply of one service is delivered.
	ServicePointID string
	// AccountID names the balance of one service, which is billed and cut.
	AccountID string
	// CycleID names one scheduled sweep of one site with one freeze instant.
	CycleID string
	// CaseID names an exception case: a doubt that a person must decide on.
	CaseID string
	// RunID names a billing run.
	RunID string
	// BillID names the priced consumption of one account and period.
	BillID string
	// RechargeID names money that becomes credit after two approvals.
	RechargeID string
	// ReminderID names an arrears case: the reminders of one account.
	ReminderID string
	// CommandID names one order to a meter.
	CommandID string
	// MessageID names one message to a customer.
	MessageID string
	// TariffID names a tariff with all its versions.
	TariffID string
	// UserID names a person who may sign in.
	UserID string
)

package auth

import (
	"slices"
	"strings"

	"github.com/meterflow/meterflow/internal/billing"
)

// Action is something that a person does. Every handler that changes anything names one.
type Action string

// The actions. Their text is kept in the journal.
const (
	// View reads the pages of a site. Customers have ViewOwn instead.
	View Action = "view"
	// ViewOwn reads one's own accounts; see CanSeeAccount.
	ViewOwn Action = "view_own"
	// StartCycle starts a reading cycle on demand.
	StartCycle Action = "start_cycle"
	// EnterReading types in a value for a meter that can't be read.
	EnterReading Action = "enter_reading"
	// DecideException settles a doubt about a reading, bill, credit or command.
	DecideException Action = "decide_exception"
	// ExchangeMeter records that a meter was exchanged.
	ExchangeMeter Action = "exchange_meter"
	// StartRun starts or cancels a billing run that isn't issued.
	StartRun Action = "start_run"
	// VerifyRun is the first signature under a billing run, IssueRun the second, by another person.
	VerifyRun Action = "verify_run"
	IssueRun  Action = "issue_run"
	// MakeCorrection drafts a change of what bills rest on; ApproveCorrection agrees to one that another made, or rejects it.
	MakeCorrection    Action = "make_correction"
	ApproveCorrection Action = "approve_correction"
	// RecordMeterTest keeps what a test found of a meter; MakeAdjustment enters the refund or charge for a faulty meter, ApproveAdjustment
	// agrees to one that another entered, or rejects it.
	RecordMeterTest   Action = "record_meter_test"
	MakeAdjustment    Action = "make_adjustment"
	ApproveAdjustment Action = "approve_adjustment"
	// DecidePlan approves a payment plan, or ends one; ending it before its time takes two more persons with the same right.
	DecidePlan Action = "decide_plan"
	// EnterRecharge takes money; ApproveRecharge approves or rejects what another took.
	EnterRecharge   Action = "enter_recharge"
	ApproveRecharge Action = "approve_recharge"
	// OrderCut orders or approves a cut, StopCuts stops those that are planned, OrderRestore orders supply back.
	OrderCut     Action = "order_cut"
	StopCuts     Action = "stop_cuts"
	OrderRestore Action = "order_restore"
	// Protect keeps supply on; EndProtection ends that, with two colleagues who may protect.
	Protect       Action = "protect"
	EndProtection Action = "end_protection"
	// CloseDay closes the books of an ended day by hand.
	CloseDay Action = "close_day"
	// WaiveLateFee lets a customer off the late fee of an issued bill.
	WaiveLateFee Action = "waive_late_fee"
	// PlaceHold keeps back a part of a customer's credit; SettleHold approves that it is paid out, pays out what another approved, or releases it.
	PlaceHold  Action = "place_hold"
	SettleHold Action = "settle_hold"
	// EditTariff drafts, edits, submits and withdraws a change of prices; ApproveTariff approves or rejects what another drafted.
	// SimulateTariff asks what it would cost, PushPrices has meters tried again, SetCeiling bounds the prices of a site.
	EditTariff     Action = "edit_tariff"
	ApproveTariff  Action = "approve_tariff"
	SimulateTariff Action = "simulate_tariff"
	PushPrices     Action = "push_prices"
	SetCeiling     Action = "set_ceiling"
	// MasterData changes sites, gateways, meters, customers, tariffs, calendars.
	MasterData Action = "master_data"
	// AllowCommands lets commands reach a named meter whose register map was never verified, with a manager; StopCommands ends that.
	AllowCommands Action = "allow_commands"
	StopCommands  Action = "stop_commands"
	// ManageUsers adds people and changes their roles.
	ManageUsers Action = "manage_users"
	// VerifyJournal recomputes the hash chains.
	VerifyJournal Action = "verify_journal"
	// SeeRounds looks at reading rounds; ReadRound walks one and enters its values; PlanRound makes routes, plans rounds and gives them to
	// readers; CheckRound accepts or returns what another read, and settles what was found about a reader's work.
	SeeRounds  Action = "see_rounds"
	ReadRound  Action = "read_round"
	PlanRound  Action = "plan_round"
	CheckRound Action = "check_round"
	// WorkBatch makes, starts and cancels work on many meters; another than its maker starts what may let a meter trip by itself.
	WorkBatch Action = "work_batch"
	// ControlClock pauses, slows and moves the demo's business clock, and switches its simulated colleagues.
	ControlClock Action = "control_clock"
)

// rule is who may do an action, and the words that a refusal needs.
type rule struct {
	doing string // completes "Your role may not …"
	roles []billing.Role
}

const (
	supervisor    = billing.RoleSupervisor
	clerk         = billing.RoleClerk
	manager       = billing.RoleManager
	administrator = billing.RoleAdministrator
	customer      = billing.RoleCustomer
	reader        = billing.RoleReader
)

// table is the whole of what roles may do. Two lines must stay true however it grows, and a test holds them: an
// administrator touches no money, and nobody both takes in money and issues bills.
var table = map[Action]rule{
	View:              {"see this page", []billing.Role{supervisor, clerk, manager, administrator}},
	ViewOwn:           {"see customer pages", []billing.Role{customer}},
	StartCycle:        {"start a reading cycle", []billing.Role{supervisor, manager}},
	EnterReading:      {"enter a reading", []billing.Role{supervisor}},
	DecideException:   {"decide on exceptions", []billing.Role{supervisor}},
	ExchangeMeter:     {"exchange meters", []billing.Role{supervisor}},
	StartRun:          {"start a billing run", []billing.Role{supervisor}},
	VerifyRun:         {"verify a billing run", []billing.Role{supervisor}},
	IssueRun:          {"issue a billing run", []billing.Role{supervisor}},
	EnterRecharge:     {"take a recharge", []billing.Role{clerk}},
	ApproveRecharge:   {"approve or reject recharges", []billing.Role{clerk}},
	OrderCut:          {"order a cut", []billing.Role{manager}},
	StopCuts:          {"stop planned cuts", []billing.Role{manager, supervisor}},
	OrderRestore:      {"order supply back", []billing.Role{manager, supervisor}},
	Protect:           {"protect a customer's supply", []billing.Role{manager, supervisor}},
	EndProtection:     {"end a protection", []billing.Role{manager}},
	WaiveLateFee:      {"waive a late fee", []billing.Role{supervisor}},
	CloseDay:          {"close the books of a day", []billing.Role{supervisor, manager}},
	PlaceHold:         {"hold back a customer's credit", []billing.Role{clerk}},
	SettleHold:        {"approve, pay out or release a hold", []billing.Role{manager, supervisor}},
	EditTariff:        {"draft prices", []billing.Role{administrator}},
	ApproveTariff:     {"approve or reject prices", []billing.Role{supervisor, manager}},
	SimulateTariff:    {"simulate prices", []billing.Role{supervisor, manager, administrator}},
	PushPrices:        {"have prices written to meters again", []billing.Role{supervisor, manager}},
	SetCeiling:        {"set a price ceiling", []billing.Role{manager}},
	MasterData:        {"change master data", []billing.Role{administrator}},
	AllowCommands:     {"allow commands with an unverified register map", []billing.Role{administrator}},
	StopCommands:      {"end an allowance of commands", []billing.Role{manager, administrator}},
	ManageUsers:       {"manage users", []billing.Role{administrator}},
	VerifyJournal:     {"verify the journal", []billing.Role{manager, administrator}},
	SeeRounds:         {"see reading rounds", []billing.Role{supervisor, clerk, manager, administrator, reader}},
	ReadRound:         {"read meters on a round", []billing.Role{reader}},
	PlanRound:         {"plan reading rounds", []billing.Role{supervisor}},
	CheckRound:        {"check reading rounds", []billing.Role{supervisor}},
	WorkBatch:         {"order work on many meters", []billing.Role{supervisor, manager}},
	ControlClock:      {"control the business clock", []billing.Role{supervisor, manager, administrator}},
	MakeCorrection:    {"make a correction", []billing.Role{supervisor}},
	ApproveCorrection: {"approve or reject corrections", []billing.Role{supervisor, manager}},
	RecordMeterTest:   {"record a test of a meter", []billing.Role{supervisor}},
	MakeAdjustment:    {"enter an adjustment for a faulty meter", []billing.Role{supervisor}},
	DecidePlan:        {"decide on payment plans", []billing.Role{supervisor, manager}},
	ApproveAdjustment: {"approve or reject adjustments", []billing.Role{supervisor, manager}},
}

// Actions lists every action in a fixed order.
func Actions() []Action {
	all := make([]Action, 0, len(table))
	for a := range table {
		all = append(all, a)
	}
	slices.Sort(all)
	return all
}

// Can refuses what the person's role or sites do not allow: unauthenticated for nobody, forbidden otherwise. An empty site
// asks about the role alone, for pages and actions that belong to no one site.
func Can(actor Actor, action Action, site billing.SiteID) error {
	if !actor.SignedIn() {
		return billing.Errorf(billing.CodeUnauthenticated, "Sign in first; nothing was changed.")
	}
	r, known := table[action]
	if !known {
		return billing.Errorf(billing.CodeForbidden, "Nobody may do %q: it is not in the table of actions.", string(action))
	}
	if !slices.Contains(r.roles, actor.Role) {
		return billing.Errorf(billing.CodeForbidden, "Your role may not %s; ask a %s.", r.doing, orJoined(r.roles))
	}
	if site != "" && !actor.HasSite(site) {
		return billing.Errorf(billing.CodeForbidden, "You do not work for site %s; ask an administrator to add it to you.", site)
	}
	return nil
}

// CanSeeAccount refuses a customer the account of another customer; staff need the account's site.
func CanSeeAccount(actor Actor, site billing.SiteID, owner billing.CustomerID) error {
	if actor.Role != customer {
		return Can(actor, View, site)
	}
	if err := Can(actor, ViewOwn, ""); err != nil {
		return err
	}
	if actor.Customer == "" || actor.Customer != owner {
		// The same answer as for an account that doesn't exist: a customer learns nothing about others.
		return billing.Errorf(billing.CodeNotFound, "There is no such account of yours; check the number on your receipt.")
	}
	return nil
}

// CanOrderCut is Can for OrderCut, and refuses everyone while a protection stands: it can be ended, never overridden.
func CanOrderCut(actor Actor, site billing.SiteID, protected bool) error {
	if err := Can(actor, OrderCut, site); err != nil {
		return err
	}
	if protected {
		return billing.Errorf(billing.CodeBlocked, "This customer is protected and can't be cut; end the protection first, with two colleagues.")
	}
	return nil
}

// NotMaker refuses a person who checks their own work: approving their own entry, issuing the run that they verified,
// ending a protection that they asked to end.
func NotMaker(actor Actor, maker billing.UserID) error {
	if actor.UserID == maker {
		return billing.Errorf(billing.CodeSelfApproval, "You made this yourself; a colleague has to check it.")
	}
	return nil
}

// NotAgain refuses a second approval by the same person.
func NotAgain(actor Actor, approvers ...billing.UserID) error {
	if slices.Contains(approvers, actor.UserID) {
		return billing.Errorf(billing.CodeAlreadyApproved, "You approved this already; the next approval has to come from another colleague.")
	}
	return nil
}

func orJoined(roles []billing.Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, " or ")
}

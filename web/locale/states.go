package locale

import (
	"context"
	"slices"
)

// Kind names a vocabulary of states or other closed words. The same word is shown for the same state everywhere, because
// every page takes it from here.
type Kind string

// The vocabularies. The words of each are in Words.
const (
	Cycle       Kind = "cycle"
	Case        Kind = "case"
	Recharge    Kind = "recharge"
	Run         Kind = "run"
	Bill        Kind = "bill"
	Reminder    Kind = "reminder"
	CommandKind Kind = "command_kind"
	Command     Kind = "command"
	Message     Kind = "message"
	Supply      Kind = "supply"
	Quality     Kind = "quality"
	Rule        Kind = "rule"
	Role        Kind = "role"
	Service     Kind = "service"
	CreditMode  Kind = "credit_mode"
	Register    Kind = "register"
	Cutoff      Kind = "cutoff"
	Restore     Kind = "restore"
	MessageKind Kind = "message_kind"
	Class       Kind = "class"
	Channel     Kind = "channel"
	Protection  Kind = "protection"
	Hold        Kind = "hold"
	HoldPurpose Kind = "hold_purpose"
	TaxPoint    Kind = "tax_point"
	AccountKind Kind = "account_kind"
	EntryKind   Kind = "entry_kind"
	BooksState  Kind = "books"
	Round       Kind = "round"
	RoundKind   Kind = "round_kind"
	NoReading   Kind = "no_reading"
	ReaderRule  Kind = "reader_rule"

	TariffChange Kind = "tariff_change"
	PricePush    Kind = "price_push"
	// Method is how an estimate came about.
	Method         Kind = "method"
	Correction     Kind = "correction"
	CorrectionKind Kind = "correction_kind"
	MonthQuantity  Kind = "month_quantity"
	LateRule       Kind = "late_rule"
	Adjustment     Kind = "adjustment"
	AdjustmentKind Kind = "adjustment_kind"
	PaymentPlan    Kind = "payment_plan"

	Batch       Kind = "batch"
	BatchKind   Kind = "batch_kind"
	BatchAction Kind = "batch_action"
	BatchMember Kind = "batch_member"
	BatchSkip   Kind = "batch_skip"
	// Link is how a gateway is reached, LineFault what goes wrong on its line; see package devices.
	Link      Kind = "link"
	LineFault Kind = "line_fault"
	// MeterAlarm is what a meter complains of itself.
	MeterAlarm Kind = "meter_alarm"
)

var words = map[Kind][]string{
	Cycle: {"planned", "sweeping", "validating", "closed"},
	Case:  {"open", "resolved"},
	Recharge: {
		"entered", "approved_once", "approved", "delivering", "credited", "rejected", "expired", "in_doubt",
	},
	Run:         {"rating", "blocked", "awaiting_verification", "verified", "issued", "cancelled"},
	Bill:        {"draft", "held", "issued", "cancelled", "reversed"},
	Reminder:    {"level1", "level2", "final", "handed_over", "paid", "closed"},
	CommandKind: {"credit", "trip", "close", "allow_close", "keep_on", "release", "set_prices", "set_clock"},
	Command:     {"requested", "sending", "acknowledged", "verified", "refused", "unknown", "cancelled"},
	Message:     {"queued", "sent", "delivered", "failed"},
	Supply:      {"on", "off", "allowed", "unknown", "moving", "fault"},
	Quality:     {"actual", "manual", "estimated", "edited", "missing"},
	Rule: {
		"missing", "negative", "rollover", "too_high", "too_low", "capacity", "sum_mismatch", "credit_drift", "relay_mismatch",
		"use_while_off", "zero_streak", "malformed", "gateway_silent", "credit_in_doubt", "supply_unknown", "own_trip", "prices_not_set", "false_rollover",
		"drop_recovered", "spike_recovered", "clock_skew", "ratio_mismatch", "master_mismatch", "site_silent",
	},
	Role:       {"supervisor", "clerk", "manager", "administrator", "customer", "reader"},
	Service:    {"power", "water"},
	CreditMode: {"platform", "meter"},
	Register:   {"total", "sharp", "peak", "flat", "valley", "deep_valley"},
	Cutoff:     {"planned", "awaiting_manager", "sending", "verified", "unknown", "prevented", "cancelled"},
	Restore:    {"sending", "verified", "unknown", "not_needed", "prevented"},

	MessageKind: {"level1", "level2", "final", "recharged", "cut", "restored", "allowed", "corrected", "refunded", "undercharged", "refund_undone", "charge_undone", "make_up", "part_due", "plan_ended"},
	Class:       {"household", "commercial", "important"},
	Channel:     {"cash", "transfer", "online"},
	Protection:  {"keep_power", "medical", "special_day"},
	Hold:        {"open", "posted", "voided", "expired"},
	HoldPurpose: {"refund", "transfer", "dispute"},
	TaxPoint:    {"billing", "recharge"},
	AccountKind: {"asset", "liability", "revenue", "expense"},
	EntryKind:   {"opening", "recharge_received", "recharge_credited", "daily_charge", "bill_issued", "reversal", "hold_posted", "late_fee_waived", "adjustment"},
	BooksState:  {"open", "closed"},

	Round:      {"planned", "assigned", "in_progress", "submitted", "checked", "closed", "cancelled"},
	RoundKind:  {"collect", "check"},
	NoReading:  {"no_access", "meter_broken", "dial_covered", "not_found", "other"},
	ReaderRule: {"round_digits", "regular_use", "regular_pace", "too_fast", "equals_estimate", "skips", "always_late"},

	TariffChange:   {"draft", "submitted", "approved_once", "published", "in_force", "rejected", "withdrawn"},
	PricePush:      {"waiting", "sending", "verified", "failed", "overtaken"},
	Method:         {"between", "last_month", "last_year", "similar", "manual", "true_up", "resplit"},
	Correction:     {"drafted", "previewed", "approved_once", "approved", "applying", "stopped", "applied", "rejected", "withdrawn"},
	CorrectionKind: {"reading", "ratio", "exchange", "price", "terms", "quantity", "carry_over"},
	LateRule:       {"proposed", "approved", "rejected"},
	MonthQuantity:  {"demand_kw", "kvarh", "reverse"},
	PaymentPlan:    {"proposed", "running", "settled", "rejected", "cancelled", "lapsed"},
	Adjustment:     {"previewed", "approved_once", "booked", "rejected", "withdrawn"},
	AdjustmentKind: {"meter_error", "other_fault", "wrong_wiring"},

	Batch:       {"previewed", "running", "done", "cancelled"},
	BatchKind:   {"price", "valve", "relay", "clock"},
	BatchAction: {"set_prices", "set_clock", "restore", "keep_on", "release"},
	BatchMember: {"pending", "skipped", "sending", "verified", "refused", "unknown", "cancelled"},
	BatchSkip: {
		"no_account", "service", "unverified", "no_command", "silent", "stands", "supply_off", "protected", "arrears", "would_trip", "no_own_credit", "price_push", "prices",
		"ceiling", "bands_unpriced", "set_today", "clock_too_far", "no_clock", "busy", "unreached", "too_late", "moved",
	},
	Link:       {"modbus_tcp", "transparent", "dial_in"},
	MeterAlarm: {"battery_low", "switch_fault"},
	LineFault:  {"silent", "link_down", "refused", "wrong_meter", "bad_answer"},
}

// Kinds lists the vocabularies in a fixed order, for the storybook and for tests.
func Kinds() []Kind {
	kinds := make([]Kind, 0, len(words))
	for k := range words {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	return kinds
}

// Words lists the words of a kind in the order in which a thing usually goes through them.
func Words(kind Kind) []string { return slices.Clone(words[kind]) }

// State is the word for a state of a kind: State(ctx, locale.Recharge, "in_doubt") is "存疑". It takes any string type. A
// state that the catalogue doesn't know is shown as it is stored: a state must never be invisible.
func State[S ~string](ctx context.Context, kind Kind, state S) string {
	key := stateKey(kind, string(state))
	if !Has(key) {
		return string(state)
	}
	return T(ctx, key)
}

func stateKey(kind Kind, state string) string { return "state." + string(kind) + "." + state }

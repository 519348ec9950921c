package supply

import "strings"

// ReasonCode names a reason; screens translate it.
type ReasonCode string

// The reasons, in pairs or groups of one check, in the order of the checks.
const (
	NotProtected       ReasonCode = "not_protected"
	Protected          ReasonCode = "protected"
	NoLifeSupport      ReasonCode = "no_life_support"
	LifeSupport        ReasonCode = "life_support"
	MayBeClosed        ReasonCode = "may_be_closed"
	MustKeepFlow       ReasonCode = "must_keep_flow"
	PrepaidContract    ReasonCode = "prepaid_contract"
	NoPrepaidContract  ReasonCode = "no_prepaid_contract"
	BalanceAtLimit     ReasonCode = "balance_at_limit"
	BalanceAboveLimit  ReasonCode = "balance_above_limit"
	PaymentPlan        ReasonCode = "payment_plan"
	NoPaymentPending   ReasonCode = "no_payment_pending"
	PaymentPending     ReasonCode = "payment_pending"
	NoticeGiven        ReasonCode = "notice_given"
	NoNoticeRule       ReasonCode = "no_notice_rule"
	NoFinalNotice      ReasonCode = "no_final_notice"
	NoticeNotDelivered ReasonCode = "notice_not_delivered"
	NoticeRunning      ReasonCode = "notice_running"
	NoticeTooOld       ReasonCode = "notice_too_old"
	ReadingFresh       ReasonCode = "reading_fresh"
	NoReading          ReasonCode = "no_reading"
	ReadingStale       ReasonCode = "reading_stale"
	ReadingEstimated   ReasonCode = "reading_estimated"
	ReadingDoubtful    ReasonCode = "reading_doubtful"
	NoOpenException    ReasonCode = "no_open_exception"
	OpenException      ReasonCode = "open_exception"
	BillOvertaken      ReasonCode = "bill_overtaken"
	InCutWindow        ReasonCode = "in_cut_window"
	InNoCutWindow      ReasonCode = "in_no_cut_window"
	WindowUnknown      ReasonCode = "window_unknown"
	NoApprovalNeeded   ReasonCode = "no_approval_needed"
	ManagerApproved    ReasonCode = "manager_approved"
	ApprovalMissing    ReasonCode = "approval_missing"
	SupplyNotOff       ReasonCode = "supply_not_off"
	AlreadyOff         ReasonCode = "already_off"
)

// ReasonCodes lists every code, so that the message catalogue can be held
// against it.
func ReasonCodes() []ReasonCode {
	codes := make([]ReasonCode, 0, len(sentences))
	for _, s := range sentences {
		codes = append(codes, s.code)
	}
	return codes
}

// sentences print a reason in English; {name} is a number of the reason.
var sentences = []struct {
	code ReasonCode
	text string
}{
	{NotProtected, "no protection stands today"},
	{Protected, "a protection stands ({kind}, owner {owner}): {reason}"},
	{NoLifeSupport, "nobody linked to the account depends on supply for life"},
	{LifeSupport, "somebody linked to the account depends on supply for life"},
	{MayBeClosed, "the line may be closed fully"},
	{MustKeepFlow, "the line must keep a flow (fire line or minimum flow)"},
	{PrepaidContract, "the contract agrees to a cut at the limit"},
	{NoPrepaidContract, "the contract does not agree to a cut at the limit"},
	{BalanceAtLimit, "the balance {balance} is at or below the limit {limit}"},
	{BalanceAboveLimit, "the balance {balance} is above the limit {limit}"},
	{PaymentPlan, "the balance {balance} is at or below the limit {limit}, but {deferred} of it is paid in monthly parts later"},
	{NoPaymentPending, "no payment is on its way"},
	{PaymentPending, "a payment of {amount} is on its way"},
	{NoticeGiven, "the final notice was delivered on {delivered}, for {from}"},
	{NoNoticeRule, "the policy has no notice days for {class} customers"},
	{NoFinalNotice, "no final notice was sent"},
	{NoticeNotDelivered, "the final notice has no delivery receipt"},
	{NoticeRunning, "the final notice of {delivered} runs for {days} days, to {from}"},
	{NoticeTooOld, "the final notice of {delivered} is too old, or named no day"},
	{ReadingFresh, "the last reading is {hours} h old ({quality})"},
	{NoReading, "there is no reading"},
	{ReadingStale, "the last reading is {hours} h old, more than {limit} h or not yet due"},
	{ReadingEstimated, "the last reading was not measured ({quality})"},
	{ReadingDoubtful, "the last reading is in doubt"},
	{NoOpenException, "no exception is open"},
	{OpenException, "{open} exceptions are open"},
	{BillOvertaken, "bill {bill} rests on a reading that has changed since, and waits for its correction"},
	{InCutWindow, "cuts are allowed at this hour"},
	{InNoCutWindow, "nobody is cut at this hour"},
	{WindowUnknown, "whether cuts are allowed today is not known: {problem}"},
	{NoApprovalNeeded, "no approval is needed for this class"},
	{ManagerApproved, "a manager approved"},
	{ApprovalMissing, "a manager must approve the cut of {class} customers"},
	{SupplyNotOff, "supply is {supply}"},
	{AlreadyOff, "supply is off already"},
}

// String prints "against: nobody is cut at this hour (until 2026-10-12T02:00:00Z)".
func (r Reason) String() string {
	text := string(r.Code)
	for _, s := range sentences {
		if s.code == r.Code {
			text = s.text
		}
	}
	var pairs []string
	for name, value := range r.Numbers {
		pairs = append(pairs, "{"+name+"}", value)
	}
	text = strings.NewReplacer(pairs...).Replace(text)
	side := "against: "
	if r.For {
		side = "for: "
	}
	if !r.Until.IsZero() {
		text += " (until " + r.Until.UTC().Format("2006-01-02T15:04:05Z") + ")"
	}
	return side + text
}

// String prints the outcome and every reason, one per line.
func (d Decision) String() string {
	var b strings.Builder
	b.WriteString("refused\n")
	if d.Allowed {
		b.Reset()
		b.WriteString("allowed\n")
	}
	for _, r := range d.Reasons {
		b.WriteString(r.String() + "\n")
	}
	return b.String()
}

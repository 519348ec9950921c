package workflows

import (
	"strings"

	"github.com/meterflow/meterflow/internal/billing"
)

// Task queues that every installation has. Those of line owners are made by SweepQueue and CommandQueue.
const (
	QueueBilling  = "billing"
	QueueMessages = "messages"
)

// SweepQueue is the queue on which the holder of a line reads its meters.
func SweepQueue(holder string) string { return "sweep/" + holder }

// CommandQueue is the queue on which the holder of a line writes to its meters; it has worker slots of its own.
func CommandQueue(holder string) string { return "command/" + holder }

// Updates: a person's decision, which may be refused in the same click.
const (
	UpdateEnter       = "Enter"
	UpdateApprove     = "Approve"
	UpdateReject      = "Reject"
	UpdateDecide      = "Decide"
	UpdateVerify      = "Verify"
	UpdateIssue       = "Issue"
	UpdateHoldBill    = "HoldBill"
	UpdateReleaseBill = "ReleaseBill"
	UpdateApproveCut  = "ApproveCut"
	UpdateCancelCut   = "CancelCut"
	UpdateSubmit      = "Submit"
	UpdateWithdraw    = "Withdraw"
	UpdatePreview     = "Preview"
	UpdateResume      = "Resume"
)

// Signals: facts that happened.
const (
	SignalClockMoved       = "ClockMoved"
	SignalPaymentSettled   = "PaymentSettled"
	SignalBalanceFell      = "BalanceFell"
	SignalMessageDelivered = "MessageDelivered"
	SignalCaseResolved     = "CaseResolved"
	SignalDoubtSettled     = "DoubtSettled"
)

// Workflow ids are business keys, so that the same work can't be started twice.
const (
	kindDue        = "due"
	kindCycle      = "cycle"
	kindCase       = "case"
	kindCharge     = "charge"
	kindRun        = "billing-run"
	kindReminder   = "reminder"
	kindRecharge   = "recharge"
	kindCutoff     = "cutoff"
	kindRestore    = "restore"
	kindReceipt    = "receipt"
	kindCorrection = "correction"
)

// DueScheduleID names the Schedule that starts a site's due work.
func DueScheduleID(site billing.SiteID) string { return kindDue + "/" + string(site) }

// CycleWorkflowID names the workflow of a reading cycle.
func CycleWorkflowID(id billing.CycleID) string { return kindCycle + "/" + string(id) }

// CaseWorkflowID names the workflow of an exception case.
func CaseWorkflowID(id billing.CaseID) string { return kindCase + "/" + string(id) }

// ChargeWorkflowID names the daily charge that follows a cycle.
func ChargeWorkflowID(id billing.CycleID) string { return kindCharge + "/" + string(id) }

// RunWorkflowID names the workflow of a billing run.
func RunWorkflowID(id billing.RunID) string { return kindRun + "/" + string(id) }

// ReminderWorkflowID names the workflow of an arrears case.
func ReminderWorkflowID(id billing.ReminderID) string { return kindReminder + "/" + string(id) }

// RechargeWorkflowID names the workflow of a recharge.
func RechargeWorkflowID(id billing.RechargeID) string { return kindRecharge + "/" + string(id) }

// CutoffWorkflowID names the workflow of a cut.
func CutoffWorkflowID(id string) string { return kindCutoff + "/" + id }

// RestoreWorkflowID names the workflow of a restore.
func RestoreWorkflowID(id string) string { return kindRestore + "/" + id }

// ReceiptWorkflowID names the workflow of a message provider's receipt.
func ReceiptWorkflowID(providerNo string) string { return kindReceipt + "/" + providerNo }

// CorrectionWorkflowID names the workflow of a correction.
func CorrectionWorkflowID(id billing.CorrectionID) string { return kindCorrection + "/" + string(id) }

// Subject is the inverse of the builders above: the kind and the business key of a workflow id.
// An id that is none of ours gives ok false.
func Subject(workflowID string) (kind, key string, ok bool) {
	kind, key, ok = strings.Cut(workflowID, "/")
	switch kind {
	case kindDue, kindCycle, kindCase, kindCharge, kindRun, kindReminder, kindRecharge, kindCutoff, kindRestore, kindReceipt, kindCorrection:
		return kind, key, ok && key != ""
	}
	return "", "", false
}

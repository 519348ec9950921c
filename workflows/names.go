package workflows

import (
	"strconv"
	"strings"

	"github.com/meterflow/meterflow/internal/billing"
)

// Task queues that every installation has. Those of line owners are made by SweepQueue, CommandQueue and RestoreQueue.
const (
	QueueBilling  = "billing"
	QueueMessages = "messages"
	// QueueRating takes the pages of billing runs and daily charges: batches that would fill the slots of people's decisions.
	QueueRating = "rating"
)

// SweepQueue is the queue on which the holder of a line reads its meters.
func SweepQueue(holder string) string { return "sweep/" + holder }

// RestoreQueue is the queue on which the holder of a line gives supply back. Cuts and credit can't fill its slots: a valve that doesn't
// move keeps one for a minute.
func RestoreQueue(holder string) string { return "restore/" + holder }

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
	UpdateCancelRun   = "CancelRun"
	UpdateApproveCut  = "ApproveCut"
	UpdateCancelCut   = "CancelCut"
	UpdatePlanRound   = "PlanRound"
	UpdateAssignRound = "AssignRound"
	UpdateEnterValues = "EnterValues"
	UpdateSubmitRound = "SubmitRound"
	UpdateAcceptRound = "AcceptRound"
	UpdateReturnRound = "ReturnRound"
	UpdateCancelRound = "CancelRound"
	UpdateEdit        = "Edit"
	UpdateSubmit      = "Submit"
	UpdateWithdraw    = "Withdraw"
	UpdateSimulate    = "Simulate"
	UpdatePushAgain   = "PushAgain"
	UpdatePreview     = "Preview"
	UpdateResume      = "Resume"
	UpdatePlanBatch   = "PlanBatch"
	UpdateStartBatch  = "StartBatch"
	UpdateCancelBatch = "CancelBatch"
)

// QueryProgress asks a batch where it stands.
const QueryProgress = "Progress"

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
	kindChunk      = "billing-chunk"
	kindReminder   = "reminder"
	kindRecharge   = "recharge"
	kindCutoff     = "cutoff"
	kindRestore    = "restore"
	kindReceipt    = "receipt"
	kindDayClose   = "day-close"
	kindRound      = "round"
	kindTariff     = "tariff"
	kindCorrection = "correction"
	kindBatch      = "batch"
	kindExchange   = "exchange"
	kindAdjustment = "adjustment"
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

// ChunkWorkflowID names the workflow of one step of a part of a billing run.
func ChunkWorkflowID(id billing.RunID, chunk int, step ChunkStep) string {
	return kindChunk + "/" + string(id) + "/" + strconv.Itoa(chunk) + "/" + string(step)
}

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

// DayCloseWorkflowID names the closing of a site's books up to and with a day.
func DayCloseWorkflowID(site billing.SiteID, through billing.Date) string {
	return kindDayClose + "/" + string(site) + "/" + through.String()
}

// RoundWorkflowID names the workflow of a reading round.
func RoundWorkflowID(id billing.RoundID) string { return kindRound + "/" + string(id) }

// TariffWorkflowID names the workflow of a change of prices.
func TariffWorkflowID(id billing.TariffChangeID) string { return kindTariff + "/" + string(id) }

// CorrectionWorkflowID names the workflow of a correction.
func CorrectionWorkflowID(id billing.CorrectionID) string { return kindCorrection + "/" + string(id) }

// AdjustmentWorkflowID names the workflow of the refund or charge for a faulty meter.
func AdjustmentWorkflowID(id billing.AdjustmentID) string { return kindAdjustment + "/" + string(id) }

// BatchWorkflowID names the workflow of work on many meters.
func BatchWorkflowID(id billing.BatchID) string { return kindBatch + "/" + string(id) }

// ExchangeWorkflowID names the workflow that brings credit and hold of an exchanged meter to the new one.
func ExchangeWorkflowID(id billing.ExchangeID) string { return kindExchange + "/" + string(id) }

// Subject is the inverse of the builders above: the kind and the business key of a workflow id.
// An id that is none of ours gives ok false.
func Subject(workflowID string) (kind, key string, ok bool) {
	kind, key, ok = strings.Cut(workflowID, "/")
	switch kind {
	case kindDue, kindCycle, kindCase, kindCharge, kindRun, kindChunk, kindReminder, kindRecharge, kindCutoff, kindRestore, kindReceipt, kindDayClose, kindRound, kindTariff, kindCorrection, kindBatch, kindExchange, kindAdjustment:
		return kind, key, ok && key != ""
	}
	return "", "", false
}

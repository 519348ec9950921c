package activities

import (
	"context"
	"encoding/hex"
	"strings"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Adjusting refunds or charges what a faulty meter registered too much or too little: entered, approved by two others, booked.
type Adjusting struct {
	Store *store.Store
}

// AdjustmentRef names an adjustment.
type AdjustmentRef struct {
	AdjustmentID billing.AdjustmentID
}

// SubmitAdjustment is what a supervisor enters. The caller reserves AdjustmentID (store.NextAdjustmentID); Key makes a repeat the same
// adjustment.
type SubmitAdjustment struct {
	AdjustmentID billing.AdjustmentID
	By           billing.UserID
	Fault        billing.Fault
	// Undoes is the booked adjustment that this one takes back; Fault is empty then.
	Undoes   billing.AdjustmentID
	Reason   string
	Evidence string
	Key      string
}

// AdjustmentFacts is an adjustment as its workflow must know it.
type AdjustmentFacts struct {
	AdjustmentID billing.AdjustmentID
	State        billing.AdjustmentState
	DraftedBy    billing.UserID
	Approved1    billing.UserID
	Digest       string // of the result, in hexadecimal
}

func adjustmentFacts(j store.Adjustment) AdjustmentFacts {
	return AdjustmentFacts{AdjustmentID: j.ID, State: j.State, DraftedBy: j.DraftedBy, Approved1: j.Approved1By, Digest: hex.EncodeToString(j.Digest)}
}

// DraftAdjustment checks a fault against what exists, reckons what it did to the issued bills, and stores it up for approval; so it does with what
// takes a booked adjustment back. What is refused leaves nothing behind.
func (a *Adjusting) DraftAdjustment(ctx context.Context, in SubmitAdjustment) (AdjustmentFacts, error) {
	if strings.TrimSpace(in.Reason) == "" {
		return AdjustmentFacts{}, billing.Errorf(billing.CodeInvalidInput, "say why: the reason stands in the journal")
	}
	n, err := a.reckoned(ctx, in.Fault, in.Undoes)
	if err != nil {
		return AdjustmentFacts{}, err
	}
	if err := authorize(ctx, a.Store, in.By, auth.MakeAdjustment, n.Site); err != nil {
		return AdjustmentFacts{}, err
	}
	n.ID, n.Reason, n.Evidence, n.DraftedBy, n.Key = in.AdjustmentID, strings.TrimSpace(in.Reason), strings.TrimSpace(in.Evidence), in.By, in.Key
	j, err := a.Store.DraftAdjustment(ctx, byPerson(ctx, in.By, in.Reason), n)
	return adjustmentFacts(j), err
}

// AdjustmentDecision is a person's word on an adjustment. Digest is that of the result which an approver saw, Number which approval was
// missing then.
type AdjustmentDecision struct {
	AdjustmentID billing.AdjustmentID
	By           billing.UserID
	Reason       string
	Digest       string
	Number       int
}

// ApproveAdjustment records an approval after everything was reckoned once more; the second one books it. One that would come out
// differently now is refused.
func (a *Adjusting) ApproveAdjustment(ctx context.Context, in AdjustmentDecision) (AdjustmentFacts, error) {
	j, err := a.Store.Adjustment(ctx, in.AdjustmentID)
	if err != nil {
		return AdjustmentFacts{}, err
	}
	if err := authorize(ctx, a.Store, in.By, auth.ApproveAdjustment, j.Site); err != nil {
		return AdjustmentFacts{}, err
	}
	digest, err := hex.DecodeString(in.Digest)
	if err != nil {
		return AdjustmentFacts{}, billing.Errorf(billing.CodeInvalidInput, "the approval doesn't say which result it is about: open the adjustment and approve there")
	}
	if !j.State.Final() {
		if err := a.stillHolds(ctx, j); err != nil {
			return AdjustmentFacts{}, err
		}
	}
	_, policy, err := sitePolicy(ctx, a.Store, j.Site)
	if err != nil {
		return AdjustmentFacts{}, err
	}
	j, err = a.Store.ApproveAdjustment(ctx, byPerson(ctx, in.By, in.Reason), store.AdjustmentApproval{ID: in.AdjustmentID, By: in.By, Digest: digest, Number: in.Number}, terms(policy))
	return adjustmentFacts(j), err
}

// RejectAdjustment ends an adjustment that isn't booked, with a reason; by who entered it it is withdrawn.
func (a *Adjusting) RejectAdjustment(ctx context.Context, in AdjustmentDecision) (AdjustmentFacts, error) {
	if strings.TrimSpace(in.Reason) == "" {
		return AdjustmentFacts{}, billing.Errorf(billing.CodeInvalidInput, "say why: the reason stands in the journal")
	}
	j, err := a.Store.Adjustment(ctx, in.AdjustmentID)
	if err != nil {
		return AdjustmentFacts{}, err
	}
	to, action := billing.AdjustmentRejected, auth.ApproveAdjustment
	if in.By == j.DraftedBy {
		to, action = billing.AdjustmentWithdrawn, auth.MakeAdjustment
	}
	if err := authorize(ctx, a.Store, in.By, action, j.Site); err != nil {
		return AdjustmentFacts{}, err
	}
	j, err = a.Store.EndAdjustment(ctx, byPerson(ctx, in.By, in.Reason), in.AdjustmentID, to, in.By, strings.TrimSpace(in.Reason))
	return adjustmentFacts(j), err
}

// FollowAdjustment reads what must be told or started because of the new balance.
func (a *Adjusting) FollowAdjustment(ctx context.Context, in AdjustmentRef) (CreditFollows, error) {
	return a.Store.AdjustmentFollows(ctx, in.AdjustmentID)
}

package activities

import (
	"context"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/store"
)

// Posting takes recharges in, has them approved, and books their money.
type Posting struct {
	Store *store.Store
}

// EnterRecharge is what a clerk enters. The caller reserves RechargeID (store.NextRechargeID); Key makes a repeat the same recharge.
type EnterRecharge struct {
	RechargeID billing.RechargeID
	Account    billing.AccountID
	Amount     billing.Money
	Channel    string // cash, transfer, online
	Evidence   string // number of the slip or online payment that was checked
	Key        string
	By         billing.UserID
}

// RechargeEntered is the recharge as it stands: of a repeated request, the first one.
type RechargeEntered struct {
	RechargeID billing.RechargeID
	Account    billing.AccountID
	State      billing.RechargeState
	EnteredBy  billing.UserID
	Approved1  billing.UserID
	ExpiresAt  time.Time
}

func entered(r store.Recharge) RechargeEntered {
	return RechargeEntered{RechargeID: r.ID, Account: r.Account, State: r.State, EnteredBy: r.EnteredBy, Approved1: r.Approved1By, ExpiresAt: r.ExpiresAt}
}

// EnterRecharge checks the request against account, policy and evidence, and stores it.
func (a *Posting) EnterRecharge(ctx context.Context, in EnterRecharge) (RechargeEntered, error) {
	acc, err := a.Store.Account(ctx, in.Account)
	if err != nil {
		return RechargeEntered{}, err
	}
	if err := authorize(ctx, a.Store, in.By, auth.EnterRecharge, acc.Site); err != nil {
		return RechargeEntered{}, err
	}
	_, policy, err := sitePolicy(ctx, a.Store, acc.Site)
	if err != nil {
		return RechargeEntered{}, err
	}
	if acc.CreditMode == billing.CreditMeter && acc.Service == billing.Water {
		if err := sellable(ctx, a.Store, acc.ID, in.Amount); err != nil {
			return RechargeEntered{}, err
		}
	}
	r, err := a.Store.EnterRecharge(ctx, byPerson(ctx, in.By, ""), store.NewRecharge{
		ID: in.RechargeID, Account: in.Account, Amount: in.Amount, Channel: in.Channel, Evidence: in.Evidence, Key: in.Key, By: in.By,
		Max: policy.Recharge.MaxFen, Ceiling: policy.Recharge.CeilingFen, Expiry: hours(policy.Recharge.ExpiryHours),
	})
	return entered(r), err
}

// RechargeDecision is one clerk's approval or rejection. Number says which approval was missing when it was given.
type RechargeDecision struct {
	RechargeID billing.RechargeID
	By         billing.UserID
	Number     int
	Reason     string
}

// ApproveRecharge records an approval by a clerk who is neither the maker nor the first approver.
func (a *Posting) ApproveRecharge(ctx context.Context, in RechargeDecision) (RechargeEntered, error) {
	if err := a.mayDecide(ctx, in); err != nil {
		return RechargeEntered{}, err
	}
	r, err := a.Store.ApproveRecharge(ctx, byPerson(ctx, in.By, in.Reason), store.Approval{ID: in.RechargeID, By: in.By, Number: in.Number})
	return entered(r), err
}

// RejectRecharge ends a recharge that isn't approved, with a reason.
func (a *Posting) RejectRecharge(ctx context.Context, in RechargeDecision) (RechargeEntered, error) {
	if err := a.mayDecide(ctx, in); err != nil {
		return RechargeEntered{}, err
	}
	r, err := a.Store.RejectRecharge(ctx, byPerson(ctx, in.By, in.Reason), in.RechargeID, in.By, in.Reason)
	return entered(r), err
}

func (a *Posting) mayDecide(ctx context.Context, in RechargeDecision) error {
	r, err := a.Store.Recharge(ctx, in.RechargeID)
	if err != nil {
		return err
	}
	return authorize(ctx, a.Store, in.By, auth.ApproveRecharge, r.Site)
}

// RechargeRef names a recharge.
type RechargeRef struct {
	RechargeID billing.RechargeID
}

// ExpireRecharge ends a recharge whose approvals didn't come in time; one that was approved meanwhile stays.
func (a *Posting) ExpireRecharge(ctx context.Context, in RechargeRef) (RechargeEntered, error) {
	r, err := a.Store.ExpireRecharge(ctx, byWorkflow(ctx), in.RechargeID)
	return entered(r), err
}

// Settled is what a payment came to, and what must be told or started because of it.
type Settled struct {
	State    billing.RechargeState
	Message  billing.MessageID
	Reminder billing.ReminderID
	Cutoff   string
	Restore  string
	Case     billing.CaseID // opened or settled
	// Later says that the meter couldn't be reached before anything was sent: try again in a while.
	Later bool
}

func settled(s store.Settlement) Settled {
	return Settled{State: s.Recharge.State, Message: s.Message, Reminder: s.Reminder, Cutoff: s.Cutoff, Restore: s.Restore, Case: s.Case}
}

// PostRecharge books the money of an approved recharge: platform credit is credited at once, meter credit goes on its way.
func (a *Posting) PostRecharge(ctx context.Context, in RechargeRef) (Settled, error) {
	r, err := a.Store.Recharge(ctx, in.RechargeID)
	if err != nil {
		return Settled{}, err
	}
	_, policy, err := sitePolicy(ctx, a.Store, r.Site)
	if err != nil {
		return Settled{}, err
	}
	failpoint.Hit("recharge-approved-not-posted")
	s, err := a.Store.PostRecharge(ctx, byWorkflow(ctx), in.RechargeID, terms(policy))
	if err == nil {
		failpoint.Hit("posted-not-acked")
	}
	return settled(s), err
}

// terms are the numbers of a site's policy that a settled payment is followed by.
func terms(p Policy) store.Terms {
	return store.Terms{
		Connect:  p.Supply.ConnectFen,
		StillLow: func(balance, daily billing.Money) bool { return p.Supply.Low(balance, daily) != "" },
		CaseDue:  hours(p.Reading.DecisionDueHours),
		Text:     messageText,
	}
}

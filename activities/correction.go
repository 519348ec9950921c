package activities

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"strings"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/store"
)

// Correcting changes what issued bills rest on: preview, approval, and then each bill reversed and issued again, in order.
type Correcting struct {
	Store *store.Store
}

// CorrectionRef names a correction.
type CorrectionRef struct {
	CorrectionID billing.CorrectionID
}

// SubmitCorrection is what a supervisor drafts. The caller reserves CorrectionID (store.NextCorrectionID); Key makes a repeat the same
// correction.
type SubmitCorrection struct {
	CorrectionID billing.CorrectionID
	By           billing.UserID
	Change       billing.CorrectionChange
	Reason       string
	Evidence     string
	// DatedOn is the accounting day that the entries are asked to stand on. Only the open day, today, is possible; zero means it.
	DatedOn billing.Date
	Key     string
}

// CorrectionFacts is a correction as its workflow must know it.
type CorrectionFacts struct {
	CorrectionID billing.CorrectionID
	State        billing.CorrectionState
	DraftedBy    billing.UserID
	Approved1    billing.UserID
	Needed       int
	Digest       string // of the preview, in hexadecimal
	Started      bool   // the change is written into the inputs
}

func correctionFacts(k store.Correction) CorrectionFacts {
	return CorrectionFacts{CorrectionID: k.ID, State: k.State, DraftedBy: k.DraftedBy, Approved1: k.Approved1By, Needed: k.ApprovalsNeeded,
		Digest: hex.EncodeToString(k.Digest), Started: k.InputsAt != nil}
}

// DraftCorrection checks a correction against what exists, and with one account whether it can be rated, and stores it. What is refused
// leaves nothing behind.
func (a *Correcting) DraftCorrection(ctx context.Context, in SubmitCorrection) (CorrectionFacts, error) {
	if strings.TrimSpace(in.Reason) == "" {
		return CorrectionFacts{}, billing.Errorf(billing.CodeInvalidInput, "say why: the reason stands in the journal")
	}
	clock, err := a.Store.Clock(ctx)
	if err != nil {
		return CorrectionFacts{}, err
	}
	c, err := a.check(ctx, in.Change, clock.Now)
	if err != nil {
		return CorrectionFacts{}, err
	}
	if err := a.authorizeAll(ctx, in.By, auth.MakeCorrection, c.sites); err != nil {
		return CorrectionFacts{}, err
	}
	site, err := a.Store.Site(ctx, c.sites[0])
	if err != nil {
		return CorrectionFacts{}, err
	}
	if today := billing.DateOf(clock.Now, site.Zone); !in.DatedOn.IsZero() && in.DatedOn != today {
		return CorrectionFacts{}, billing.Errorf(billing.CodeClosed, "%s is not open for entries: leave the day empty; the entries are dated %s and name the day that they correct", in.DatedOn, today)
	}
	if err := a.trial(ctx, c); err != nil {
		return CorrectionFacts{}, err
	}
	k, err := a.Store.DraftCorrection(ctx, byPerson(ctx, in.By, in.Reason), store.NewCorrection{
		ID: in.CorrectionID, Sites: c.sites, Kind: c.kind, Subject: c.subject, Change: c.change.CorrectionChange, FromAt: c.fromAt,
		Reason: strings.TrimSpace(in.Reason), Evidence: strings.TrimSpace(in.Evidence), By: in.By, Key: in.Key,
	})
	return correctionFacts(k), err
}

func (a *Correcting) authorizeAll(ctx context.Context, by billing.UserID, action auth.Action, sites []billing.SiteID) error {
	for _, site := range sites {
		if err := authorize(ctx, a.Store, by, action, site); err != nil {
			return err
		}
	}
	return nil
}

// trial rates the one account of a correction before anything is stored. Those of a price are many; theirs stands in the preview.
func (a *Correcting) trial(ctx context.Context, c checked) error {
	if c.account == "" {
		return nil
	}
	raw, err := json.Marshal(c.change.CorrectionChange)
	if err != nil {
		return err
	}
	all, err := a.previews(ctx, store.Correction{Kind: c.kind, Change: raw, FromAt: c.fromAt}, []billing.AccountID{c.account})
	if err != nil {
		return err
	}
	for _, p := range all {
		if p.Problem != "" {
			return billing.Errorf(billing.CodeInvalidReading, "account %s can't be rated with this correction: %s", p.Account, p.Problem)
		}
	}
	return nil
}

// CorrectionDecision is a person's word on a correction. Digest is that of the preview which an approver saw, Number which approval was
// missing then.
type CorrectionDecision struct {
	CorrectionID billing.CorrectionID
	By           billing.UserID
	Reason       string
	Digest       string
	Number       int
}

// ApproveCorrection records an approval after the preview has been computed once more: one whose inputs have changed is refused with
// the sentence to preview again.
func (a *Correcting) ApproveCorrection(ctx context.Context, in CorrectionDecision) (CorrectionFacts, error) {
	k, err := a.Store.Correction(ctx, in.CorrectionID)
	if err != nil {
		return CorrectionFacts{}, err
	}
	if err := a.authorizeAll(ctx, in.By, auth.ApproveCorrection, k.Sites); err != nil {
		return CorrectionFacts{}, err
	}
	digest, err := hex.DecodeString(in.Digest)
	if err != nil {
		return CorrectionFacts{}, billing.Errorf(billing.CodeInvalidInput, "the approval doesn't say which preview it is about: open the correction and approve there")
	}
	if k.State == billing.CorrectionPreviewed || k.State == billing.CorrectionApprovedOnce {
		if err := a.holds(ctx, k); err != nil {
			return CorrectionFacts{}, err
		}
	}
	k, err = a.Store.ApproveCorrection(ctx, byPerson(ctx, in.By, in.Reason), store.CorrectionApproval{ID: in.CorrectionID, By: in.By, Digest: digest, Number: in.Number})
	return correctionFacts(k), err
}

// RejectCorrection ends a correction of which nothing was applied, with a reason; by its maker it is withdrawn.
func (a *Correcting) RejectCorrection(ctx context.Context, in CorrectionDecision) (CorrectionFacts, error) {
	if strings.TrimSpace(in.Reason) == "" {
		return CorrectionFacts{}, billing.Errorf(billing.CodeInvalidInput, "say why: the reason stands in the journal")
	}
	k, err := a.Store.Correction(ctx, in.CorrectionID)
	if err != nil {
		return CorrectionFacts{}, err
	}
	to, action := billing.CorrectionRejected, auth.ApproveCorrection
	if in.By == k.DraftedBy {
		to, action = billing.CorrectionWithdrawn, auth.MakeCorrection
	}
	if err := a.authorizeAll(ctx, in.By, action, k.Sites); err != nil {
		return CorrectionFacts{}, err
	}
	k, err = a.Store.EndCorrection(ctx, byPerson(ctx, in.By, in.Reason), in.CorrectionID, to, in.By, strings.TrimSpace(in.Reason))
	return correctionFacts(k), err
}

// MaySteerCorrection checks that a person may have a correction previewed again or resumed.
func (a *Correcting) MaySteerCorrection(ctx context.Context, in CorrectionDecision) error {
	k, err := a.Store.Correction(ctx, in.CorrectionID)
	if err != nil {
		return err
	}
	return a.authorizeAll(ctx, in.By, auth.MakeCorrection, k.Sites)
}

// CorrectionStep is how far applying came. Stopped says that it can't go on by itself; More that there is more to do.
type CorrectionStep struct {
	Stopped bool
	More    bool
}

// accountsPerStep bounds one activity; the workflow asks for the next.
const accountsPerStep = 1000

// stopAfter is after how many attempts even a fault of ours stops the correction, so that people see where it stands.
const stopAfter = 5

// ApplyCorrection writes the approved change into the inputs and corrects the bills after it: per account, the oldest first, each in a
// transaction of its own. What can't be done stops the rest and says at which bill. What is done stays done, so that
// it can be interrupted and repeated at any point.
func (a *Correcting) ApplyCorrection(ctx context.Context, in CorrectionRef) (CorrectionStep, error) {
	step, bill, err := a.apply(ctx, in.CorrectionID)
	if err == nil || ctx.Err() != nil {
		return step, err
	}
	code := billing.CodeOf(err)
	if retryable[code] && (code != billing.CodeInternal || activity.GetInfo(ctx).Attempt < stopAfter) {
		return step, err
	}
	return CorrectionStep{Stopped: true}, a.Store.StopCorrection(ctx, byWorkflow(ctx), in.CorrectionID, bill, billing.MessageOf(err))
}

func (a *Correcting) apply(ctx context.Context, id billing.CorrectionID) (CorrectionStep, billing.BillID, error) {
	k, err := a.Store.Correction(ctx, id)
	if err != nil || k.State.Final() {
		return CorrectionStep{}, "", err
	}
	if k.InputsAt == nil {
		if err := a.holds(ctx, k); err != nil {
			return CorrectionStep{}, "", err
		}
	}
	if k, err = a.Store.BeginCorrection(ctx, byWorkflow(ctx), id); err != nil {
		return CorrectionStep{}, "", err
	}
	failpoint.Hit("correction-begun")
	for done := 0; done < accountsPerStep; {
		accounts, err := a.Store.PendingAccounts(ctx, id, correctionPage)
		if err != nil {
			return CorrectionStep{}, "", err
		}
		if len(accounts) == 0 {
			return CorrectionStep{}, "", a.Store.FinishCorrection(ctx, byWorkflow(ctx), id)
		}
		if bill, err := a.applyPage(ctx, k, accounts); err != nil {
			return CorrectionStep{}, bill, err
		}
		done += len(accounts)
	}
	return CorrectionStep{More: true}, "", nil
}

// applyPage corrects a page of accounts. It gives the bill at which it failed.
func (a *Correcting) applyPage(ctx context.Context, k store.Correction, accounts []store.CorrectedAccount) (billing.BillID, error) {
	planned := map[billing.AccountID]store.CorrectedAccount{}
	ids := make([]billing.AccountID, len(accounts))
	for i, p := range accounts {
		ids[i], planned[p.Account] = p.Account, p
	}
	bySite, order, err := a.bySite(ctx, ids)
	if err != nil {
		return "", err
	}
	for _, site := range order {
		_, policy, err := sitePolicy(ctx, a.Store, site)
		if err != nil {
			return "", err
		}
		r, err := a.recalculate(ctx, k, bySite[site])
		if err != nil {
			return "", err
		}
		for _, account := range r.m.accounts {
			if bill, err := a.applyAccount(ctx, k, r, account, planned[account.ID], terms(policy)); err != nil {
				return bill, err
			}
			activity.RecordHeartbeat(ctx, account.ID)
		}
	}
	return "", nil
}

func (a *Correcting) applyAccount(ctx context.Context, k store.Correction, r *recalculation, account store.MeteredAccount, planned store.CorrectedAccount, terms store.Terms) (billing.BillID, error) {
	stand := map[billing.BillID]store.Bill{}
	for _, b := range r.bills[account.ID] {
		stand[b.ID] = b
	}
	for _, p := range planned.Bills {
		b, ok := stand[p.Bill]
		if !ok {
			return p.Bill, billing.Errorf(billing.CodeStale, "bill %s is not issued any more: preview the rest of the correction again", p.Bill)
		}
		d, err := r.rebilled(account, b)
		if err != nil {
			return p.Bill, err
		}
		if _, err := a.Store.Rebill(ctx, byWorkflow(ctx), k.ID, p.Bill, d); err != nil {
			return p.Bill, err
		}
		failpoint.Hit("correction-bill-committed")
		activity.RecordHeartbeat(ctx, p.Bill)
	}
	return "", a.Store.FinishAccount(ctx, byWorkflow(ctx), k.ID, account.ID, terms)
}

// CreditFollows is what changed balances brought about and nobody has taken up yet.
type CreditFollows = store.CreditConsequences

// FollowCorrection reads what must be told or started because of the corrected balances, and how the correction stands.
func (a *Correcting) FollowCorrection(ctx context.Context, in CorrectionRef) (CreditFollows, error) {
	return a.Store.Consequences(ctx, in.CorrectionID)
}

// DescribeCorrection reads how a correction stands.
func (a *Correcting) DescribeCorrection(ctx context.Context, in CorrectionRef) (CorrectionFacts, error) {
	k, err := a.Store.Correction(ctx, in.CorrectionID)
	return correctionFacts(k), err
}

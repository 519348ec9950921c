package activities

import (
	"context"
	"strings"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// BillDecision holds or releases bills of a run: BillID, and More when several were chosen. All are changed, or none.
type BillDecision struct {
	RunID  billing.RunID
	BillID billing.BillID
	More   []billing.BillID `json:",omitempty"`
	By     billing.UserID
	Reason string
}

// bills are all that the decision is about, each once.
func (d BillDecision) bills() []billing.BillID {
	ids, seen := []billing.BillID{}, map[billing.BillID]bool{}
	for _, id := range append([]billing.BillID{d.BillID}, d.More...) {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

// HoldBill keeps bills out of their run.
func (a *Billing) HoldBill(ctx context.Context, in BillDecision) error {
	if err := a.mayChangeBill(ctx, in); err != nil {
		return err
	}
	return a.Store.HoldBills(ctx, byPerson(ctx, in.By, in.Reason), in.RunID, in.bills(), in.Reason)
}

func (a *Billing) mayChangeBill(ctx context.Context, in BillDecision) error {
	if strings.TrimSpace(in.Reason) == "" {
		return billing.Errorf(billing.CodeInvalidInput, "a reason is needed: say why the bill is held or released")
	}
	r, err := a.Store.Run(ctx, in.RunID)
	if err != nil {
		return err
	}
	return authorize(ctx, a.Store, in.By, auth.VerifyRun, r.Site)
}

// ReleaseBill rates held bills again and puts them back into their run. While its readings are in doubt a bill stays held; limits that
// stopped it don't stop it again, because a person has looked.
func (a *Billing) ReleaseBill(ctx context.Context, in BillDecision) error {
	if err := a.mayChangeBill(ctx, in); err != nil {
		return err
	}
	r, site, err := a.runAndSite(ctx, in.RunID)
	if err != nil {
		return err
	}
	var drafts []store.Draft
	for _, id := range in.bills() {
		b, err := a.Store.Bill(ctx, id)
		if err != nil {
			return err
		}
		d, err := a.rateAgain(ctx, r, site, b.Account)
		if err != nil {
			return err
		}
		drafts = append(drafts, d)
	}
	return a.Store.ReleaseBills(ctx, byPerson(ctx, in.By, in.Reason), in.RunID, drafts, in.Reason)
}

// rateAgain is the bill that a held one becomes when it is released now, or why it can't be.
func (a *Billing) rateAgain(ctx context.Context, r store.Run, site store.Site, account billing.AccountID) (store.Draft, error) {
	accounts, err := a.Store.MeteredAccountsOf(ctx, []billing.AccountID{account})
	if err != nil {
		return store.Draft{}, err
	}
	if err := a.undoubted(ctx, r, site, account); err != nil {
		return store.Draft{}, err
	}
	m, spans, err := a.loadBills(ctx, r, site, accounts)
	if err != nil {
		return store.Draft{}, err
	}
	sp, ok := spans[account]
	if !ok {
		return store.Draft{}, billing.Errorf(billing.CodeClosed, "account %s was billed for %s already", account, r.Period())
	}
	d, err := m.draft(r, sp, "")
	if err == nil && d.Hold != "" {
		err = billing.Errorf(billing.CodeBlocked, "the bill can't be released: %s", d.Hold)
	}
	return d, err
}

// undoubted refuses while an open case doubts the account's readings of the period, or an earlier period waits for its bill.
func (a *Billing) undoubted(ctx context.Context, r store.Run, site store.Site, account billing.AccountID) error {
	from, to := r.Period().Instants(site.Zone)
	doubts, err := a.Store.DoubtedAccounts(ctx, []billing.AccountID{account}, from, to)
	if err != nil {
		return err
	}
	if id, doubted := doubts[account]; doubted {
		return billing.Errorf(billing.CodeBlocked, "the bill can't be released: decide case %s first", id)
	}
	pasts, err := a.Store.BillPasts(ctx, []billing.AccountID{account}, r.Period())
	if err != nil {
		return err
	}
	if held := pasts[account].EarlierHeld; !held.IsZero() {
		return billing.Errorf(billing.CodeBlocked, "the bill can't be released: the bill of %s is still held, bill that period first", held.String()[:7])
	}
	return nil
}

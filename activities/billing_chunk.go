package activities

import (
	"context"
	"strings"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/store"
)

// billPage is how many bills are rated or issued in one transaction.
const billPage = 500

// RunPlanned says into how many chunks a run is divided; they are numbered from 1.
type RunPlanned struct {
	Chunks int
}

// PlanRun divides a run into chunks.
func (a *Billing) PlanRun(ctx context.Context, in RunRef) (RunPlanned, error) {
	chunks, err := a.Store.PlanRun(ctx, byWorkflow(ctx), in.RunID)
	return RunPlanned{Chunks: chunks}, err
}

// ChunkRef names a chunk of a run.
type ChunkRef struct {
	RunID billing.RunID
	Chunk int
}

// RateChunk rates the accounts of a chunk in pages; accounts in doubt get a held bill. Interrupted, it goes on after the last page that
// was committed: the chunk's row says which. Of a run that isn't rating any more, a cancelled one, it rates nothing.
func (a *Billing) RateChunk(ctx context.Context, in ChunkRef) error {
	c, err := a.Store.Chunk(ctx, in.RunID, in.Chunk)
	if err != nil {
		return err
	}
	for after := c.RatedUpto; ; {
		r, site, err := a.runAndSite(ctx, in.RunID)
		if err != nil || r.State != billing.RunRating {
			return err
		}
		accounts, err := a.Store.ChunkAccounts(ctx, c, r.Site, after, billPage)
		if err != nil {
			return err
		}
		if len(accounts) == 0 {
			return a.Store.CloseChunk(ctx, byWorkflow(ctx), in.RunID, in.Chunk)
		}
		if err := a.ratePage(ctx, r, site, accounts); err != nil {
			return err
		}
		failpoint.Hit("bills-page-committed")
		after = accounts[len(accounts)-1].ID
		activity.RecordHeartbeat(ctx, after)
	}
}

func (a *Billing) ratePage(ctx context.Context, r store.Run, site store.Site, accounts []store.MeteredAccount) error {
	ids := make([]billing.AccountID, len(accounts))
	for i, account := range accounts {
		ids[i] = account.ID
	}
	from, to := r.Period().Instants(site.Zone)
	doubts, err := a.Store.DoubtedAccounts(ctx, ids, from, to)
	if err != nil {
		return err
	}
	m, spans, err := a.loadBills(ctx, r, site, accounts)
	if err != nil {
		return err
	}
	drafts := make([]store.Draft, 0, len(accounts))
	for _, account := range accounts {
		sp, ok := spans[account.ID]
		if !ok {
			continue // opened after the period, or billed for it already
		}
		d, err := m.draft(r, sp, doubts[account.ID])
		if err != nil {
			return err
		}
		drafts = append(drafts, d)
	}
	if err := a.applyLimits(ctx, r, site, drafts); err != nil {
		return err
	}
	return a.Store.SaveDrafts(ctx, byWorkflow(ctx), r.ID, drafts)
}

// IssueChunk posts the drafts of a chunk of an approved run, page by page.
func (a *Billing) IssueChunk(ctx context.Context, in ChunkRef) error {
	for {
		passed, err := a.Store.IssueBills(ctx, byWorkflow(ctx), in.RunID, in.Chunk, billPage)
		if err != nil || passed == 0 {
			return err
		}
		failpoint.Hit("issue-page-committed")
		activity.RecordHeartbeat(ctx, passed)
	}
}

// FinishIssue closes a run whose bills are all posted.
func (a *Billing) FinishIssue(ctx context.Context, in RunRef) error {
	return a.Store.FinishIssue(ctx, byWorkflow(ctx), in.RunID)
}

// RunCancel is a supervisor's decision to give a run up.
type RunCancel struct {
	RunID  billing.RunID
	By     billing.UserID
	Reason string
}

// CancelRun ends a run that isn't approved for issue.
func (a *Billing) CancelRun(ctx context.Context, in RunCancel) error {
	if strings.TrimSpace(in.Reason) == "" {
		return billing.Errorf(billing.CodeInvalidInput, "a reason is needed: say why the run is cancelled")
	}
	r, err := a.Store.Run(ctx, in.RunID)
	if err != nil {
		return err
	}
	if err := authorize(ctx, a.Store, in.By, auth.StartRun, r.Site); err != nil {
		return err
	}
	return a.Store.CancelRun(ctx, byPerson(ctx, in.By, in.Reason), in.RunID, in.Reason)
}

// CancelChunk cancels the bills of a chunk of a cancelled run.
func (a *Billing) CancelChunk(ctx context.Context, in ChunkRef) error {
	return a.Store.CancelBills(ctx, byWorkflow(ctx), in.RunID, in.Chunk)
}

// RateBills rates a whole run in one activity. Only runs that were opened before there were chunks still call it.
func (a *Billing) RateBills(ctx context.Context, in RunRef) error {
	return a.allChunks(ctx, in, a.RateChunk)
}

// IssueBills issues a whole run in one activity. Only runs that were opened before there were chunks still call it.
func (a *Billing) IssueBills(ctx context.Context, in RunRef) error {
	if err := a.allChunks(ctx, in, a.IssueChunk); err != nil {
		return err
	}
	return a.FinishIssue(ctx, in)
}

func (a *Billing) allChunks(ctx context.Context, in RunRef, do func(context.Context, ChunkRef) error) error {
	planned, err := a.PlanRun(ctx, in)
	if err != nil {
		return err
	}
	for no := range planned.Chunks {
		if err := do(ctx, ChunkRef{RunID: in.RunID, Chunk: no + 1}); err != nil {
			return err
		}
	}
	return nil
}

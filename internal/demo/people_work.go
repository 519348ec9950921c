package demo

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// approveRecharges gives each entered recharge its next approval, or rejects one with a slip of the pen. Now and then somebody tries
// what isn't allowed: the maker to approve, the first approver to approve again.
func (c *Crew) approveRecharges(ctx context.Context, now time.Time) (did int, err error) {
	rows, _ := c.store.Pool.Query(ctx, `SELECT id, evidence, entered_by, coalesce(approved1_by, '') FROM recharges
		WHERE state IN ('entered', 'approved_once') ORDER BY entered_at, id`)
	type entered struct {
		ID        billing.RechargeID
		Evidence  string
		EnteredBy billing.UserID
		Approved  billing.UserID
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[entered])
	if err != nil {
		return 0, err
	}
	for _, r := range all {
		item := "approve/" + string(r.ID) + "/" + string(r.Approved)
		if !c.due(item, now) {
			continue
		}
		next := otherClerk(r.EnteredBy, r.Approved)
		act := func() error { return c.approve(ctx, next, r.ID) }
		if strings.HasSuffix(r.Evidence, wrongAmount) {
			act = func() error {
				return c.reject(ctx, next, r.ID, "金额多输了一位，请重新录入（One digit too many: enter it again）")
			}
		} else if err := c.tryForbidden(ctx, r.ID, r.EnteredBy, r.Approved); err != nil {
			return did, err
		}
		n, err := c.outcome(item, now, act())
		did += n
		if err != nil {
			return did, err
		}
	}
	return did, nil
}

// tryForbidden lets, for one recharge in eight, the last person who touched it try to give the next approval too.
func (c *Crew) tryForbidden(ctx context.Context, id billing.RechargeID, maker, approver billing.UserID) error {
	if id[len(id)-1]%8 != 0 {
		return nil
	}
	who := maker
	if approver != "" {
		who = approver
	}
	return c.mustRefuse(c.approve(ctx, who, id), "approval of "+string(id)+" by "+string(who))
}

// verifyRuns lets a supervisor check the control totals of finished runs.
func (c *Crew) verifyRuns(ctx context.Context, now time.Time) (int, error) {
	return c.eachRun(ctx, now, string(billing.RunAwaitingVerification), func(run, _ string) error {
		return c.verifyRun(ctx, "supervisor1", run)
	})
}

// issueRuns lets another supervisor issue what one has verified; before, the first one tries it too.
func (c *Crew) issueRuns(ctx context.Context, now time.Time) (int, error) {
	return c.eachRun(ctx, now, string(billing.RunVerified), func(run, verifier string) error {
		if err := c.mustRefuse(c.issueRun(ctx, billing.UserID(verifier), run), "issue of "+run+" by its verifier"); err != nil {
			return err
		}
		other := billing.UserID("supervisor1")
		if verifier == string(other) {
			other = "supervisor2"
		}
		return c.issueRun(ctx, other, run)
	})
}

func (c *Crew) eachRun(ctx context.Context, now time.Time, state string, act func(run, verifier string) error) (did int, err error) {
	rows, _ := c.store.Pool.Query(ctx, `SELECT id, coalesce(verified_by, '') FROM billing_runs WHERE state = $1 ORDER BY id`, state)
	type run struct{ ID, Verifier string }
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[run])
	if err != nil {
		return 0, err
	}
	for _, r := range all {
		item := state + "/" + r.ID
		if !c.due(item, now) {
			continue
		}
		n, err := c.outcome(item, now, act(r.ID, r.Verifier))
		did += n
		if err != nil {
			return did, err
		}
	}
	return did, nil
}

// approveCuts lets the manager allow the cuts of large customers.
func (c *Crew) approveCuts(ctx context.Context, now time.Time) (did int, err error) {
	rows, _ := c.store.Pool.Query(ctx, `SELECT id FROM cutoffs WHERE state = 'awaiting_manager' ORDER BY id`)
	cuts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, err
	}
	for _, id := range cuts {
		if item := "cut/" + id; c.due(item, now) {
			n, err := c.outcome(item, now, c.approveCut(ctx, "manager1", id))
			did += n
			if err != nil {
				return did, err
			}
		}
	}
	return did, nil
}

package store

import (
	"bytes"
	"context"
	"strings"

	"github.com/meterflow/meterflow/internal/billing"
)

// CorrectionApproval is one person's agreement to what the preview shows. Digest is that of the preview which the person saw; Number
// says which approval was missing when it was given.
type CorrectionApproval struct {
	ID     billing.CorrectionID
	By     billing.UserID
	Digest []byte
	Number int
}

// given says that this very approval is recorded already.
func (a CorrectionApproval) given(c Correction) bool {
	return a.Number == 1 && c.Approved1By == a.By || a.Number == 2 && c.Approved2By == a.By
}

// ApproveCorrection records an approval. A repeat of the same approval changes nothing. The maker is refused, and so
// is a second approval by the same person; the database's constraints refuse them again.
func (s *Store) ApproveCorrection(ctx context.Context, by By, a CorrectionApproval) (Correction, error) {
	var c Correction
	err := s.Change(ctx, by, func(tx *Tx) error {
		var err error
		if c, err = lockCorrection(ctx, tx, a.ID); err != nil {
			return err
		}
		if !bytes.Equal(c.Digest, a.Digest) {
			return billing.Errorf(billing.CodeStale, "correction %s was previewed again since you opened it: look at the new preview, then approve", a.ID)
		}
		if a.given(c) {
			return nil
		}
		if c.State != billing.CorrectionPreviewed && c.State != billing.CorrectionApprovedOnce {
			return closedCorrection(c)
		}
		if err := notMaker(c, a.By); err != nil {
			return err
		}
		if err := unhindered(ctx, tx, c); err != nil {
			return err
		}
		if c.State == billing.CorrectionApprovedOnce {
			c.Approved2By = a.By
			return moveCorrection(ctx, tx, &c, billing.CorrectionApproved, "approved", "", nil, `, approved2_by = $3, approved2_at = $4`, a.By, tx.Now)
		}
		c.Approved1By = a.By
		to, event := billing.CorrectionApproved, "approved"
		if c.ApprovalsNeeded == 2 {
			to, event = billing.CorrectionApprovedOnce, "approved_once"
		}
		return moveCorrection(ctx, tx, &c, to, event, "", nil, `, approved1_by = $3, approved1_at = $4`, a.By, tx.Now)
	})
	return c, err
}

func notMaker(c Correction, by billing.UserID) error {
	if by == c.DraftedBy {
		return billing.Errorf(billing.CodeSelfApproval, "you made this correction: another person must approve it")
	}
	if by == c.Approved1By {
		return billing.Errorf(billing.CodeAlreadyApproved, "you have approved this correction already: another person must give the second approval")
	}
	return nil
}

func closedCorrection(c Correction) error {
	return billing.Errorf(billing.CodeClosed, "correction %s is %s: nothing was changed", c.ID, strings.ReplaceAll(string(c.State), "_", " "))
}

// unhindered refuses a correction with an account that can't be rated, or one that another correction is working on.
func unhindered(ctx context.Context, tx *Tx, c Correction) error {
	var account billing.AccountID
	var problem string
	err := tx.QueryRow(ctx, `SELECT coalesce(min(account_id), ''), coalesce(min(problem), '') FROM (
		SELECT account_id, problem FROM correction_accounts WHERE correction_id = $1 AND problem <> '' ORDER BY account_id LIMIT 1) p`, c.ID).Scan(&account, &problem)
	if err != nil {
		return err
	}
	if problem != "" {
		return billing.Errorf(billing.CodeBlocked, "account %s can't be rated with this correction: %s", account, problem)
	}
	var other billing.CorrectionID
	err = tx.QueryRow(ctx, `SELECT coalesce(min(o.correction_id), '') FROM correction_accounts m JOIN correction_accounts o ON o.account_id = m.account_id AND o.correction_id <> m.correction_id
		JOIN corrections k ON k.id = o.correction_id WHERE m.correction_id = $1 AND (k.state = 'applying' OR k.inputs_at IS NOT NULL AND NOT k.state IN ('applied', 'rejected', 'withdrawn'))`, c.ID).Scan(&other)
	if err != nil {
		return err
	}
	if other != "" {
		return billing.Errorf(billing.CodeBlocked, "correction %s works on the same account and is not finished: finish it first", other)
	}
	return nil
}

// EndCorrection rejects a correction, or withdraws it when its maker does, before anything of it was applied.
func (s *Store) EndCorrection(ctx context.Context, by By, id billing.CorrectionID, to billing.CorrectionState, user billing.UserID, reason string) (Correction, error) {
	var c Correction
	err := s.Change(ctx, by, func(tx *Tx) error {
		var err error
		if c, err = lockCorrection(ctx, tx, id); err != nil {
			return err
		}
		if c.State == to && c.EndedBy == user {
			return nil
		}
		if err := mayEnd(c); err != nil {
			return err
		}
		c.EndedBy, c.EndedWhy = user, reason
		return moveCorrection(ctx, tx, &c, to, string(to), reason, nil, `, ended_by = $3, ended_at = $4, ended_why = $5`, user, tx.Now, reason)
	})
	return c, err
}

// mayEnd refuses to end what is ended, or what has changed something already: that is finished, not forgotten.
func mayEnd(c Correction) error {
	if c.State.Final() || c.State == billing.CorrectionApplying {
		return closedCorrection(c)
	}
	if c.InputsAt != nil {
		return billing.Errorf(billing.CodeBlocked, "correction %s is applied in part: resume it, or preview the rest again and have it approved", c.ID)
	}
	return nil
}

// StopCorrection says that applying can't go on, at which bill, and why. Nothing after that bill was changed.
func (s *Store) StopCorrection(ctx context.Context, by By, id billing.CorrectionID, bill billing.BillID, why string) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		c, err := lockCorrection(ctx, tx, id)
		if err != nil || c.State == billing.CorrectionStopped {
			return err
		}
		if c.State != billing.CorrectionApplying && c.State != billing.CorrectionApproved {
			return closedCorrection(c)
		}
		return moveCorrection(ctx, tx, &c, billing.CorrectionStopped, "stopped", why, map[string]any{"bill": bill}, `, stopped_bill = $3, stopped_why = $4`, bill, why)
	})
}

package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Correction is a change of what bills rest on: previewed, approved by others than its maker, and applied bill by bill, each reversed
// and issued again. What was issued is never edited.
type Correction struct {
	ID              billing.CorrectionID
	Sites           []billing.SiteID // of all accounts that it touches
	Kind            billing.CorrectionKind
	Subject         string          // the meter's, account's or tariff's number
	Change          json.RawMessage // billing.CorrectionChange
	Before          json.RawMessage // what stands on file instead, as the preview saw it
	FromAt          time.Time       // the first instant that it touches
	Reason          string
	Evidence        string
	State           billing.CorrectionState
	Digest          []byte // of the inputs of the preview; nil before it
	ApprovalsNeeded int
	DraftedBy       billing.UserID
	DraftedAt       time.Time
	PreviewedAt     *time.Time
	Approved1By     billing.UserID
	Approved1At     *time.Time
	Approved2By     billing.UserID
	Approved2At     *time.Time
	InputsAt        *time.Time // when the change was written into the inputs
	EndedBy         billing.UserID
	EndedAt         *time.Time
	EndedWhy        string
	StoppedBill     billing.BillID
	StoppedWhy      string
}

const correctionColumns = `k.id, k.sites, k.kind, k.subject, k.change, k.before, k.from_at, k.reason, k.evidence, k.state, k.digest, k.approvals_needed,
	k.drafted_by, k.drafted_at, k.previewed_at, coalesce(k.approved1_by, '') AS approved1_by, k.approved1_at, coalesce(k.approved2_by, '') AS approved2_by, k.approved2_at,
	k.inputs_at, coalesce(k.ended_by, '') AS ended_by, k.ended_at, k.ended_why, k.stopped_bill, k.stopped_why`

// Parts are the change itself.
func (c Correction) Parts() (billing.CorrectionChange, error) {
	var change billing.CorrectionChange
	err := json.Unmarshal(c.Change, &change)
	return change, err
}

// site is the one that the correction's journal stands at: of several none, which all may read.
func (c Correction) site() billing.SiteID {
	if len(c.Sites) == 1 {
		return c.Sites[0]
	}
	return "-"
}

func (c Correction) refs() []string { return []string{c.Subject} }

// journal appends what happened to the correction.
func (c Correction) journal(ctx context.Context, tx *Tx, event string, was billing.CorrectionState, reason string, refs []string, data any) error {
	return tx.Journal(ctx, Entry{Site: c.site(), Kind: "correction", ID: string(c.ID), Event: event, From: string(was), To: string(c.State), Reason: reason,
		Refs: append(c.refs(), refs...), Data: data})
}

// Correction reads one correction.
func (s *Store) Correction(ctx context.Context, id billing.CorrectionID) (Correction, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+correctionColumns+` FROM corrections k WHERE k.id = $1`, id)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Correction])
	return c, correctionError(err, id)
}

func lockCorrection(ctx context.Context, tx *Tx, id billing.CorrectionID) (Correction, error) {
	rows, _ := tx.Query(ctx, `SELECT `+correctionColumns+` FROM corrections k WHERE k.id = $1 FOR UPDATE`, id)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Correction])
	return c, correctionError(err, id)
}

func correctionError(err error, id billing.CorrectionID) error {
	err = translate(err)
	if billing.CodeOf(err) == billing.CodeNotFound {
		return billing.Errorf(billing.CodeNotFound, "there is no correction %s: check the number", id)
	}
	return err
}

// NextCorrectionID reserves a correction's number. A number that isn't used leaves a gap, no more.
func (s *Store) NextCorrectionID(ctx context.Context) (billing.CorrectionID, error) {
	var id billing.CorrectionID
	err := s.Pool.QueryRow(ctx, `SELECT 'K' || to_char(business_now() AT TIME ZONE coalesce((SELECT time_zone FROM sites ORDER BY id LIMIT 1), 'UTC'), 'YYYYMMDD') || '-'
		|| lpad(nextval('correction_no')::text, 4, '0')`).Scan(&id)
	return id, translate(err)
}

// NewCorrection is what a person drafts.
type NewCorrection struct {
	ID       billing.CorrectionID
	Sites    []billing.SiteID
	Kind     billing.CorrectionKind
	Subject  string
	Change   billing.CorrectionChange
	FromAt   time.Time
	Reason   string
	Evidence string
	By       billing.UserID
	// Key makes a repeated request the same correction; it is stored with the hash of the whole request.
	Key string
}

func (n NewCorrection) hash(change []byte) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %s %q %q %q", n.Kind, change, n.Reason, n.Evidence, n.By))
	return sum[:]
}

// DraftCorrection stores a correction that has been checked, with what stands on file now. A repeat under the same key gives the first
// one; another request under it is billing.CodeConflict. Nothing that bills rest on is changed.
func (s *Store) DraftCorrection(ctx context.Context, by By, n NewCorrection) (Correction, error) {
	change, err := json.Marshal(n.Change)
	if err != nil {
		return Correction{}, err
	}
	id := n.ID
	err = s.Change(ctx, by, func(tx *Tx) error {
		var hash []byte
		err := tx.QueryRow(ctx, `SELECT id, request_hash FROM corrections WHERE idempotency_key = $1`, n.Key).Scan(&id, &hash)
		if err == nil && !bytes.Equal(hash, n.hash(change)) {
			return billing.Errorf(billing.CodeConflict, "correction %s was drafted with this form already, with other values: open it, or open the form again", id)
		}
		if err == nil || err != pgx.ErrNoRows {
			return err
		}
		id = n.ID
		before, err := onFile(ctx, tx, n.Change)
		if err != nil {
			return err
		}
		c := Correction{ID: n.ID, Sites: n.Sites, Kind: n.Kind, Subject: n.Subject, State: billing.CorrectionDrafted}
		_, err = tx.Exec(ctx, `INSERT INTO corrections (id, sites, kind, subject, change, before, from_at, reason, evidence, state, idempotency_key, request_hash, approvals_needed, drafted_by, drafted_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
			n.ID, n.Sites, n.Kind, n.Subject, string(change), string(before), n.FromAt, n.Reason, n.Evidence, c.State, n.Key, n.hash(change), n.Kind.Approvals(), n.By, tx.Now)
		if err != nil {
			return err
		}
		return c.journal(ctx, tx, "drafted", "", n.Reason, []string{n.Evidence}, map[string]any{"change": n.Change, "before": json.RawMessage(before)})
	})
	if err != nil {
		return Correction{}, err
	}
	return s.Correction(ctx, id)
}

// moveCorrection changes a correction's state with its journal row. set is further SQL for the row, whose parameters begin at $3.
func moveCorrection(ctx context.Context, tx *Tx, c *Correction, to billing.CorrectionState, event, reason string, data any, set string, args ...any) error {
	was := c.State
	c.State = to
	if _, err := tx.Exec(ctx, `UPDATE corrections SET state = $2`+set+` WHERE id = $1`, append([]any{c.ID, to}, args...)...); err != nil {
		return err
	}
	return c.journal(ctx, tx, event, was, reason, nil, data)
}

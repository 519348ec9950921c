package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Round is one walk along a route: planned, given to a reader, walked, submitted, checked by somebody else.
type Round struct {
	ID          billing.RoundID
	Site        billing.SiteID  `db:"site_id"`
	Route       billing.RouteID `db:"route_id"`
	Kind        billing.RoundKind
	State       billing.RoundState
	DueOn       billing.Date
	OnTimeDays  int
	ShowLast    bool // the reader sees the last value
	PlannedBy   billing.UserID
	PlannedAt   time.Time
	Reader      *billing.UserID
	AssignedBy  *billing.UserID
	AssignedAt  *time.Time
	StartedAt   *time.Time
	SubmittedAt *time.Time
	LateAt      *time.Time
	Returns     int
	CheckedBy   *billing.UserID
	CheckedAt   *time.Time
	ClosedAt    *time.Time
	Reason      string // of the last return or of the cancellation
}

const roundColumns = `w.id, w.site_id, w.route_id, w.kind, w.state, w.due_on, w.on_time_days, w.show_last, w.planned_by, w.planned_at, w.reader,
	w.assigned_by, w.assigned_at, w.started_at, w.submitted_at, w.late_at, w.returns, w.checked_by, w.checked_at, w.closed_at, w.reason`

// Round reads one round.
func (s *Store) Round(ctx context.Context, id billing.RoundID) (Round, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+roundColumns+` FROM rounds w WHERE w.id = $1`, id)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Round])
	if err == pgx.ErrNoRows {
		return r, billing.Errorf(billing.CodeNotFound, "there is no reading round %s: check the number", id)
	}
	return r, translate(err)
}

// lockRound reads a round and keeps it from changing until the transaction ends.
func lockRound(ctx context.Context, tx *Tx, id billing.RoundID) (Round, error) {
	rows, _ := tx.Query(ctx, `SELECT `+roundColumns+` FROM rounds w WHERE w.id = $1 FOR UPDATE`, id)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Round])
}

// RoundItem is one line of a round's list with what hangs there.
type RoundItem struct {
	Seq       int
	Meter     billing.MeterID `db:"meter_id"`
	Serial    string
	Service   billing.Service
	Address   string
	Account   *billing.AccountID `db:"account_id"`
	Count     int                `db:"register_count"` // how many registers the meter shows
	Registers billing.Registers  // as read; nil without a value
	NoReading billing.NoReading
	Note      string
	TakenAt   *time.Time // business instant at which the reader stood there
	EnteredAt *time.Time // nil while nothing is entered
	EnteredBy *billing.UserID
	Source    string // form, file, api
	Changes   int
	Last      billing.Registers
	LastAt    *time.Time
	Estimate  *int64
	Warnings  json.RawMessage // []activities.RoundWarning
	Outcome   string          // stored, doubtful, no_value; empty until the round is accepted
	Case      *billing.CaseID `db:"case_id"`
}

// RoundItems reads the list of a round in walking order.
func (s *Store) RoundItems(ctx context.Context, id billing.RoundID) ([]RoundItem, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT i.seq, i.meter_id, m.serial, m.service, coalesce(p.address, '') AS address, a.id AS account_id,
			coalesce(cardinality(f.opening), 1) AS register_count, i.registers, i.no_reading, i.note, i.taken_at, i.entered_at, i.entered_by, i.source, i.changes,
			i.last, i.last_at, i.estimate, i.warnings, i.outcome, i.case_id
		FROM round_items i JOIN meters m ON m.id = i.meter_id
		LEFT JOIN LATERAL (SELECT opening, service_point_id FROM fittings WHERE meter_id = i.meter_id ORDER BY from_at DESC LIMIT 1) f ON true
		LEFT JOIN service_points p ON p.id = f.service_point_id LEFT JOIN accounts a ON a.service_point_id = f.service_point_id
		WHERE i.round_id = $1 ORDER BY i.seq`, id)
	items, err := pgx.CollectRows(rows, pgx.RowToStructByName[RoundItem])
	return items, translate(err)
}

// NextRoundID reserves a number.
func (s *Store) NextRoundID(ctx context.Context) (billing.RoundID, error) {
	var id billing.RoundID
	err := s.Pool.QueryRow(ctx, `SELECT 'L' || nextval('round_no')`).Scan(&id)
	return id, translate(err)
}

// NewRound is what a round is planned from: the list is the route's, as it stands.
type NewRound struct {
	ID         billing.RoundID
	Route      billing.RouteID
	Kind       billing.RoundKind
	DueOn      billing.Date
	OnTimeDays int
	ShowLast   bool
}

// PlanRound makes a round and its list: the route's meters that are fitted now, in walking order. Planning it again changes nothing.
func (s *Store) PlanRound(ctx context.Context, by By, n NewRound) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		var there bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM rounds WHERE id = $1)`, n.ID).Scan(&there); err != nil || there {
			return err
		}
		route, err := lockRoute(ctx, tx, n.Route)
		if err != nil {
			return err
		}
		if !route.Active {
			return billing.Errorf(billing.CodeBlocked, "route %s is not in use any more: choose another", route.Name)
		}
		_, err = tx.Exec(ctx, `INSERT INTO rounds (id, site_id, route_id, kind, state, due_on, on_time_days, show_last, planned_by, planned_at)
			VALUES ($1, $2, $3, $4, 'planned', $5, $6, $7, $8, $9)`, n.ID, route.Site, n.Route, n.Kind, n.DueOn, n.OnTimeDays, n.ShowLast, tx.Actor, tx.Now)
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `INSERT INTO round_items (round_id, seq, meter_id)
			SELECT $1, row_number() OVER (ORDER BY r.seq), r.meter_id FROM reading_route_meters r JOIN meters m ON m.id = r.meter_id
			WHERE r.route_id = $2 AND m.state = 'fitted'`, n.ID, n.Route)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return billing.Errorf(billing.CodeInvalidInput, "route %s has no meter that is fitted now: correct its list first", route.Name)
		}
		return tx.Journal(ctx, Entry{Site: route.Site, Kind: "round", ID: string(n.ID), Event: "planned", To: string(billing.RoundPlanned), Refs: []string{string(n.Route)},
			Data: map[string]any{"due": n.DueOn, "meters": tag.RowsAffected(), "kind": n.Kind}})
	})
}

// moveRound changes a round's state with its journal row. set is the rest of the SET clause; its arguments begin at $3.
func moveRound(ctx context.Context, tx *Tx, r Round, e Entry, set string, args ...any) error {
	if set != "" {
		set = ", " + set
	}
	if _, err := tx.Exec(ctx, `UPDATE rounds SET state = $2`+set+` WHERE id = $1`, append([]any{r.ID, e.To}, args...)...); err != nil {
		return err
	}
	e.Site, e.Kind, e.ID, e.From = r.Site, "round", string(r.ID), string(r.State)
	e.Refs = append(e.Refs, string(r.Route))
	return tx.Journal(ctx, e)
}

func roundIs(r Round, states ...billing.RoundState) error {
	for _, s := range states {
		if r.State == s {
			return nil
		}
	}
	return billing.Errorf(billing.CodeClosed, "this round is %s already: nothing was changed", r.State)
}

// AssignRound gives a round to a reader. A round that another has begun starts anew: nobody hands in what somebody else read.
func (s *Store) AssignRound(ctx context.Context, by By, id billing.RoundID, reader billing.UserID) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRound(ctx, tx, id)
		if err != nil {
			return err
		}
		if r.Reader != nil && *r.Reader == reader && r.State != billing.RoundPlanned {
			return nil // a repeat
		}
		if err := roundIs(r, billing.RoundPlanned, billing.RoundAssigned, billing.RoundInProgress); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `UPDATE round_items SET registers = NULL, no_reading = '', note = '', taken_at = NULL, entered_at = NULL, entered_by = NULL, source = '',
			changes = 0, last = NULL, last_at = NULL, estimate = NULL, warnings = '[]' WHERE round_id = $1 AND entered_at IS NOT NULL`, id)
		if err != nil {
			return err
		}
		return moveRound(ctx, tx, r, Entry{Event: "assigned", To: string(billing.RoundAssigned), Refs: []string{string(reader)},
			Data: map[string]any{"reader": reader, "dropped": tag.RowsAffected()}},
			`reader = $3, assigned_by = $4, assigned_at = $5, started_at = NULL`, reader, tx.Actor, tx.Now)
	})
}

// SubmitRound hands a round in. Every line needs a value or a reason.
func (s *Store) SubmitRound(ctx context.Context, by By, id billing.RoundID) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRound(ctx, tx, id)
		if err != nil || r.State == billing.RoundSubmitted {
			return err
		}
		if err := roundIs(r, billing.RoundInProgress); err != nil {
			return err
		}
		if err := roundReader(r, billing.UserID(tx.Actor)); err != nil {
			return err
		}
		var open, values, reasons int
		err = tx.QueryRow(ctx, `SELECT count(*) FILTER (WHERE entered_at IS NULL), count(*) FILTER (WHERE registers IS NOT NULL), count(*) FILTER (WHERE no_reading <> '')
			FROM round_items WHERE round_id = $1`, id).Scan(&open, &values, &reasons)
		if err != nil {
			return err
		}
		if open > 0 {
			return billing.Errorf(billing.CodeBlocked, "%d meters have neither a value nor a reason: enter them, then submit", open)
		}
		return moveRound(ctx, tx, r, Entry{Event: "submitted", To: string(billing.RoundSubmitted), Data: map[string]any{"values": values, "reasons": reasons}},
			`submitted_at = $3`, tx.Now)
	})
}

// roundReader refuses everybody but the reader that a round was given to: reading by proxy is forbidden.
func roundReader(r Round, who billing.UserID) error {
	if r.Reader == nil || *r.Reader != who {
		return billing.Errorf(billing.CodeForbidden, "this round was given to another reader: only that person may enter and submit its values")
	}
	return nil
}

// ReturnRound gives a submitted round back to its reader.
func (s *Store) ReturnRound(ctx context.Context, by By, id billing.RoundID) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRound(ctx, tx, id)
		if err != nil {
			return err
		}
		if r.State == billing.RoundInProgress && r.Returns > 0 && r.Reason == tx.Reason {
			return nil // a repeat
		}
		if err := roundIs(r, billing.RoundSubmitted); err != nil {
			return err
		}
		if err := notOwnRound(r, billing.UserID(tx.Actor)); err != nil {
			return err
		}
		return moveRound(ctx, tx, r, Entry{Event: "returned", To: string(billing.RoundInProgress)}, `returns = returns + 1, reason = $3`, tx.Reason)
	})
}

func notOwnRound(r Round, who billing.UserID) error {
	if r.Reader != nil && *r.Reader == who {
		return billing.Errorf(billing.CodeSelfApproval, "you read this round yourself: another supervisor must check it")
	}
	return nil
}

// AcceptRound takes a submitted round as checked. Its values become readings next.
func (s *Store) AcceptRound(ctx context.Context, by By, id billing.RoundID) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRound(ctx, tx, id)
		if err != nil {
			return err
		}
		if r.State == billing.RoundChecked && r.CheckedBy != nil && *r.CheckedBy == billing.UserID(tx.Actor) {
			return nil // a repeat
		}
		if err := roundIs(r, billing.RoundSubmitted); err != nil {
			return err
		}
		if err := notOwnRound(r, billing.UserID(tx.Actor)); err != nil {
			return err
		}
		return moveRound(ctx, tx, r, Entry{Event: "accepted", To: string(billing.RoundChecked)}, `checked_by = $3, checked_at = $4`, tx.Actor, tx.Now)
	})
}

// CancelRound ends a round of which nothing has been accepted.
func (s *Store) CancelRound(ctx context.Context, by By, id billing.RoundID) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRound(ctx, tx, id)
		if err != nil || r.State == billing.RoundCancelled {
			return err
		}
		if err := roundIs(r, billing.RoundPlanned, billing.RoundAssigned, billing.RoundInProgress, billing.RoundSubmitted); err != nil {
			return err
		}
		return moveRound(ctx, tx, r, Entry{Event: "cancelled", To: string(billing.RoundCancelled)}, `reason = $3`, tx.Reason)
	})
}

// NoteRoundLate says once that a round was not submitted on schedule.
func (s *Store) NoteRoundLate(ctx context.Context, by By, id billing.RoundID) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRound(ctx, tx, id)
		if err != nil || r.LateAt != nil || roundIs(r, billing.RoundPlanned, billing.RoundAssigned, billing.RoundInProgress) != nil {
			return err
		}
		return moveRound(ctx, tx, r, Entry{Event: "overdue", To: string(r.State)}, `late_at = $3`, tx.Now)
	})
}

// CloseRound ends a round whose values have all been stored.
func (s *Store) CloseRound(ctx context.Context, by By, id billing.RoundID) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRound(ctx, tx, id)
		if err != nil || r.State == billing.RoundClosed {
			return err
		}
		if err := roundIs(r, billing.RoundChecked); err != nil {
			return err
		}
		counts := map[string]int{}
		var stored, doubtful, none, left int
		err = tx.QueryRow(ctx, `SELECT count(*) FILTER (WHERE outcome = 'stored'), count(*) FILTER (WHERE outcome = 'doubtful'), count(*) FILTER (WHERE outcome = 'no_value'),
			count(*) FILTER (WHERE outcome = '') FROM round_items WHERE round_id = $1`, id).Scan(&stored, &doubtful, &none, &left)
		if err != nil {
			return err
		}
		if left > 0 {
			return billing.Errorf(billing.CodeUnavailable, "%d values of round %s are not stored yet", left, id)
		}
		counts["stored"], counts["doubtful"], counts["no_value"] = stored, doubtful, none
		return moveRound(ctx, tx, r, Entry{Event: "closed", To: string(billing.RoundClosed), Data: counts}, `closed_at = $3`, tx.Now)
	})
}

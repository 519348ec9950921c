package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Clock is the business clock's row.
type Clock struct {
	Mode       string // real or demo
	Now        time.Time
	Pace       int64 // business seconds per real second, as last observed
	WantedPace int64 // as a person asked for; 0 = as fast as the work allows
	Paused     bool
}

// Clock reads the business clock.
func (s *Store) Clock(ctx context.Context) (Clock, error) {
	var c Clock
	err := s.Pool.QueryRow(ctx, `SELECT mode, business_now(), pace, wanted_pace, paused FROM business_clock`).
		Scan(&c.Mode, &c.Now, &c.Pace, &c.WantedPace, &c.Paused)
	return c, translate(err)
}

// StartDemoClock puts the clock into demo mode at the given instant, unless it is in demo mode already: a demo goes on where it was.
func (s *Store) StartDemoClock(ctx context.Context, at time.Time) error {
	_, err := s.Pool.Exec(ctx, `UPDATE business_clock SET mode = 'demo', business_at = $1 WHERE mode = 'real'`, at)
	return translate(err)
}

// MoveClock moves the demo clock forward to the given instant, never back, and notes the observed pace.
func (s *Store) MoveClock(ctx context.Context, to time.Time, pace int64) error {
	_, err := s.Pool.Exec(ctx, `UPDATE business_clock SET business_at = greatest(business_at, $1), pace = greatest($2, 1), moved_real = clock_timestamp() WHERE mode = 'demo'`, to, pace)
	return translate(err)
}

// SteerClock records what a person wants of the demo clock.
func (s *Store) SteerClock(ctx context.Context, by By, paused bool, wantedPace int64) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE business_clock SET paused = $1, wanted_pace = $2`, paused, wantedPace); err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: "-", Kind: "clock", ID: "clock", Event: "steered", Data: map[string]any{"paused": paused, "wanted_pace": wantedPace}})
	})
}

// Wait is a workflow that waits for a business instant.
type Wait struct {
	WorkflowID string
	Purpose    string
	Due        time.Time
}

// AskClock tells a waiting workflow what the clock reads. Until due is reached the wait stands in the table; reached, it is gone.
func (s *Store) AskClock(ctx context.Context, w Wait) (Clock, bool, error) {
	c, err := s.Clock(ctx)
	if err != nil {
		return c, false, err
	}
	if !c.Now.Before(w.Due) {
		return c, true, s.ForgetWait(ctx, w.WorkflowID, w.Purpose)
	}
	_, err = s.Pool.Exec(ctx, `INSERT INTO clock_waits (workflow_id, purpose, due) VALUES ($1, $2, $3)
		ON CONFLICT (workflow_id, purpose) DO UPDATE SET due = excluded.due`, w.WorkflowID, w.Purpose, w.Due)
	return c, false, translate(err)
}

// ForgetWait removes a wait that ended otherwise.
func (s *Store) ForgetWait(ctx context.Context, workflowID, purpose string) error {
	_, err := s.Pool.Exec(ctx, `DELETE FROM clock_waits WHERE workflow_id = $1 AND purpose = $2`, workflowID, purpose)
	return translate(err)
}

// ForgetWaits removes every wait of a workflow that has ended.
func (s *Store) ForgetWaits(ctx context.Context, workflowID string) error {
	_, err := s.Pool.Exec(ctx, `DELETE FROM clock_waits WHERE workflow_id = $1`, workflowID)
	return translate(err)
}

// DueWaits lists the waits whose instant has come.
func (s *Store) DueWaits(ctx context.Context) ([]Wait, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT workflow_id, purpose, due FROM clock_waits WHERE due <= business_now() ORDER BY due`)
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Wait])
}

// NextWait is the earliest instant that a workflow waits for; zero when none does.
func (s *Store) NextWait(ctx context.Context) (time.Time, error) {
	var t *time.Time
	err := s.Pool.QueryRow(ctx, `SELECT min(due) FROM clock_waits WHERE due > business_now()`).Scan(&t)
	if err != nil || t == nil {
		return time.Time{}, translate(err)
	}
	return *t, nil
}

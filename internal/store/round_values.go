package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// RoundEntry is what a reader wrote down at one meter, with what was known around it at that moment.
type RoundEntry struct {
	Seq       int
	Meter     billing.MeterID
	Registers billing.Registers // nil when there is a reason
	NoReading billing.NoReading
	Note      string
	TakenAt   time.Time
	Source    string // form, file, api
	Last      billing.Registers
	LastAt    *time.Time
	Estimate  *int64
	Warnings  any
}

// EnterRoundValues puts values on a round's list. Each is the reader's own, and may be replaced until the round is submitted: the journal keeps
// what stood there. The first one begins the round.
func (s *Store) EnterRoundValues(ctx context.Context, by By, id billing.RoundID, entries []RoundEntry) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRound(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := roundIs(r, billing.RoundAssigned, billing.RoundInProgress); err != nil {
			return err
		}
		if err := roundReader(r, billing.UserID(tx.Actor)); err != nil {
			return err
		}
		var changes []itemChange
		var refs, texts []string
		for _, e := range entries {
			ch, same, err := enterItem(ctx, tx, id, e)
			if err != nil {
				return err
			}
			if same {
				continue // a repeat
			}
			changes, refs, texts = append(changes, ch), append(refs, string(e.Meter)), append(texts, ch.text())
		}
		if len(changes) == 0 {
			return nil
		}
		data := map[string]any{"count": len(changes), "digest": digest(texts)}
		if len(changes) <= 50 { // a timeline row stays readable
			data["values"] = changes
		}
		set, args := "", []any(nil)
		if r.StartedAt == nil {
			set, args = `started_at = $3`, []any{tx.Now}
		}
		return moveRound(ctx, tx, r, Entry{Event: "values_entered", To: string(billing.RoundInProgress), Refs: refs, Data: data}, set, args...)
	})
}

// itemChange is the before and after of one line, for the journal.
type itemChange struct {
	Meter  billing.MeterID   `json:"meter"`
	At     time.Time         `json:"taken_at"`
	Before billing.Registers `json:"before,omitempty"`
	After  billing.Registers `json:"after,omitempty"`
	Reason billing.NoReading `json:"no_reading,omitempty"`
}

func (c itemChange) text() string {
	return fmt.Sprint(c.Meter, c.At.UTC().Format(time.RFC3339), c.Before, c.After, c.Reason)
}

func enterItem(ctx context.Context, tx *Tx, id billing.RoundID, e RoundEntry) (ch itemChange, same bool, err error) {
	ch = itemChange{Meter: e.Meter, At: e.TakenAt, After: e.Registers, Reason: e.NoReading}
	var none billing.NoReading
	var note string
	var at *time.Time
	err = tx.QueryRow(ctx, `SELECT registers, no_reading, note, taken_at FROM round_items WHERE round_id = $1 AND seq = $2 AND meter_id = $3 FOR UPDATE`,
		id, e.Seq, e.Meter).Scan(&ch.Before, &none, &note, &at)
	if err == pgx.ErrNoRows {
		return ch, false, billing.Errorf(billing.CodeNotFound, "meter %s is not on the list of round %s", e.Meter, id)
	}
	if err != nil {
		return ch, false, err
	}
	if at != nil && at.Equal(e.TakenAt) && slices.Equal(ch.Before, e.Registers) && none == e.NoReading && note == e.Note {
		return ch, true, nil
	}
	warnings := []byte("[]")
	if e.Warnings != nil {
		if warnings, err = json.Marshal(e.Warnings); err != nil {
			return ch, false, err
		}
	}
	_, err = tx.Exec(ctx, `UPDATE round_items SET registers = $3, no_reading = $4, note = $5, taken_at = $6, entered_at = $7, entered_by = $8, source = $9,
			changes = changes + CASE WHEN entered_at IS NULL THEN 0 ELSE 1 END, last = $10, last_at = $11, estimate = $12, warnings = $13
		WHERE round_id = $1 AND seq = $2`, id, e.Seq, []int64(e.Registers), e.NoReading, e.Note, e.TakenAt, tx.Now, tx.Actor, e.Source,
		[]int64(e.Last), e.LastAt, e.Estimate, string(warnings))
	return ch, false, err
}

// RoundTaken is what becomes of one line when its round has been accepted: a reading, a reading in doubt with its cases, or nothing.
type RoundTaken struct {
	Seq     int
	Reading *Reading  // stored as it is; nil when the value is in doubt (a case stores it) or missing
	Cases   []NewCase // of the doubts; the first blocking one holds the doubtful version
	TrueUps []TrueUp  // estimates before it that are spread again
	Outcome string    // stored, doubtful, no_value
}

// SaveRoundReadings makes readings of a page of accepted values, in one transaction with the cases of those in doubt. A line that has its outcome
// keeps it, so a repeat changes nothing.
func (s *Store) SaveRoundReadings(ctx context.Context, by By, id billing.RoundID, taken []RoundTaken) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRound(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := roundIs(r, billing.RoundChecked); err != nil {
			return err
		}
		var ups []TrueUp
		for _, t := range taken {
			ups = append(ups, t.TrueUps...)
		}
		if err := billedAsSeen(ctx, tx, billedOf(ups)); err != nil {
			return err
		}
		var members []string
		for _, t := range taken {
			var done string
			if err := tx.QueryRow(ctx, `SELECT outcome FROM round_items WHERE round_id = $1 AND seq = $2`, id, t.Seq).Scan(&done); err != nil {
				return err
			}
			if done != "" {
				continue
			}
			member, err := saveTaken(ctx, tx, r, t)
			if err != nil {
				return err
			}
			members = append(members, member)
		}
		if len(members) == 0 {
			return nil
		}
		return moveRound(ctx, tx, r, Entry{Event: "readings_stored", To: string(r.State), Data: map[string]any{"count": len(members), "digest": digest(members)}}, "")
	})
}

func saveTaken(ctx context.Context, tx *Tx, r Round, t RoundTaken) (string, error) {
	member := fmt.Sprint(t.Seq, " ", t.Outcome)
	if t.Reading != nil {
		if _, err := tx.Exec(ctx, `SELECT ensure_reading_partition($1)`, t.Reading.FreezeAt); err != nil {
			return "", err
		}
		if _, err := addVersion(ctx, tx, *t.Reading); err != nil {
			return "", err
		}
		member += " " + t.Reading.member()
	}
	for _, up := range t.TrueUps {
		if err := saveTrueUp(ctx, tx, up); err != nil {
			return "", err
		}
	}
	var first *billing.CaseID
	for _, c := range t.Cases {
		for _, m := range c.Members {
			if m.Doubt == nil {
				continue
			}
			if _, err := tx.Exec(ctx, `SELECT ensure_reading_partition($1)`, m.Doubt.FreezeAt); err != nil {
				return "", err
			}
			member += " " + m.Doubt.member()
		}
		c.Refs = append(c.Refs, string(r.ID))
		opened, _, err := OpenCase(ctx, tx, c)
		if err != nil {
			return "", err
		}
		if first == nil {
			first = &opened
		}
	}
	_, err := tx.Exec(ctx, `UPDATE round_items SET outcome = $3, case_id = $4 WHERE round_id = $1 AND seq = $2`, r.ID, t.Seq, t.Outcome, first)
	return member, err
}

// RoundCases lists the open cases that the values of a round opened.
func (s *Store) RoundCases(ctx context.Context, id billing.RoundID) ([]billing.CaseID, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT id FROM cases WHERE state = 'open' AND cause LIKE 'round/' || $1 || '/%' ORDER BY id`, id)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[billing.CaseID])
	return ids, translate(err)
}

// MissingMember is a freeze instant at which a meter has no reading, with the case that is open for it.
type MissingMember struct {
	Case     billing.CaseID `db:"case_id"`
	Kind     string
	FreezeAt time.Time
	Left     int // members of the case without an outcome, of all its meters
}

// MissingOf lists the open cases about a meter's missing readings at or before an instant, oldest first: a value read on a round answers them.
func (s *Store) MissingOf(ctx context.Context, meter billing.MeterID, upTo time.Time) ([]MissingMember, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT k.id AS case_id, k.kind, cm.freeze_at, (SELECT count(*) FROM case_members o WHERE o.case_id = k.id AND o.outcome = '') AS left
		FROM case_members cm JOIN cases k ON k.id = cm.case_id
		WHERE cm.meter_id = $1 AND cm.freeze_at <= $2 AND cm.outcome = '' AND cm.reading_version IS NULL AND k.state = 'open' AND k.kind IN ($3, $4)
		ORDER BY cm.freeze_at, k.id`, meter, upTo, KindMissing, KindGatewaySilent)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[MissingMember])
	return all, translate(err)
}

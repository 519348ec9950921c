package store

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Command is one order to one meter, with the proof of what became of it.
type Command struct {
	ID              billing.CommandID
	Site            billing.SiteID    `db:"site_id"`
	Account         billing.AccountID `db:"account_id"`
	Meter           billing.MeterID   `db:"meter_id"`
	Kind            billing.CommandKind
	State           billing.CommandState
	Cause           string // workflow id of what ordered it, + "/<n>" for a repeated attempt
	RequestedBy     string
	Decision        json.RawMessage // the printed decision that allowed it
	Deadline        *time.Time      // business instant from which on it must not be sent; nil when it is owed until it is done
	Amount          *billing.Money  `db:"amount_fen"`
	CountBefore     *int64
	CountIntended   *int64
	CountAfter      *int64
	RemainingBefore *int64 `db:"remaining_before_fen"` // fen
	RemainingAfter  *int64 `db:"remaining_after_fen"`  // fen
	RegistersBefore []int64
	// The order of a meter that holds a volume; see migrations 0056 and 0087.
	VolumeCarried                                                                          int64
	VolumeLitres, VolumePriceE8, VolumeBefore, VolumeTarget, VolumeAfter, VolumeTotalAfter *int64
	Readback                                                                               string
	ReadbackReal                                                                           *time.Time
	ReadbackPowerW                                                                         *int64
	Attempts                                                                               int
	Error                                                                                  string
	Frames                                                                                 json.RawMessage // evidence
	RequestedAt                                                                            time.Time
	SentAt                                                                                 *time.Time
	SettledAt                                                                              *time.Time
}

// switchKinds are the kinds of commands that are about supply: billing.CommandKind.Switches.
const switchKinds = `('trip', 'close', 'allow_close', 'keep_on', 'release')`

const selectCommand = `SELECT id, site_id, account_id, meter_id, kind, state, cause, requested_by, decision, deadline, amount_fen, count_before, count_intended,
	count_after, remaining_before_fen, remaining_after_fen, registers_before,
	volume_litres, volume_carried, volume_price_e8, volume_before, volume_target, volume_after, volume_total_after, coalesce(readback, '') AS readback, readback_real, readback_power_w, attempts,
	error, frames, requested_at, sent_at, settled_at FROM commands`

// Command reads one command.
func (s *Store) Command(ctx context.Context, id billing.CommandID) (Command, error) {
	rows, _ := s.Pool.Query(ctx, selectCommand+` WHERE id = $1`, id)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Command])
	return c, translate(err)
}

func lockCommand(ctx context.Context, tx *Tx, id billing.CommandID) (Command, error) {
	rows, _ := tx.Query(ctx, selectCommand+` WHERE id = $1 FOR UPDATE`, id)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Command])
}

// MarkAcknowledged notes that the meter has acknowledged an order that is out: its read-back is still to come. In any other state nothing changes.
func (s *Store) MarkAcknowledged(ctx context.Context, by By, id billing.CommandID) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		c, err := lockCommand(ctx, tx, id)
		if err != nil || c.State != billing.CommandSending {
			return err
		}
		c.State = billing.CommandAcknowledged
		return saveCommand(ctx, tx, billing.CommandSending, c, string(c.State))
	})
}

// Open says that the command may still have an effect that nobody has proved.
func (c Command) Open() bool {
	switch c.State {
	case billing.CommandRequested, billing.CommandSending, billing.CommandAcknowledged, billing.CommandUnknown:
		return true
	}
	return false
}

// Owner is the number of the recharge, cutoff, restore or reminder that ordered the command.
func (c Command) Owner() (kind, id string) {
	parts := strings.SplitN(c.Cause, "/", 3)
	if len(parts) < 2 {
		return "", ""
	}
	return parts[0], parts[1]
}

func (c Command) refs() []string {
	_, owner := c.Owner()
	return []string{string(c.Account), string(c.Meter), owner}
}

// insertCommand stores a new command with its journal row; ID and RequestedAt are given here.
func insertCommand(ctx context.Context, tx *Tx, c Command, event string) (Command, error) {
	if c.Decision == nil {
		c.Decision = json.RawMessage(`{}`)
	}
	c.RequestedBy, c.RequestedAt, c.Frames = tx.Actor, tx.Now, json.RawMessage(`[]`)
	if c.State == billing.CommandSending {
		c.SentAt, c.Attempts = &tx.Now, 1
	}
	err := tx.QueryRow(ctx, `INSERT INTO commands (id, site_id, account_id, meter_id, kind, state, cause, requested_by, decision, deadline, amount_fen, requested_at, sent_at,
			sent_real, attempts)
		VALUES ('D' || nextval('command_no'), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, CASE WHEN $12::timestamptz IS NULL THEN NULL ELSE clock_timestamp() END, $13)
		RETURNING id`,
		c.Site, c.Account, c.Meter, c.Kind, c.State, c.Cause, c.RequestedBy, string(c.Decision), c.Deadline, c.Amount, c.RequestedAt, c.SentAt, c.Attempts).Scan(&c.ID)
	if err != nil {
		return c, err
	}
	return c, tx.Journal(ctx, Entry{Site: c.Site, Kind: "command", ID: string(c.ID), Event: event, To: string(c.State), Refs: c.refs(),
		Data: map[string]any{"kind": c.Kind, "deadline": c.Deadline, "decision": c.Decision}})
}

// goodFor is the deadline of an order that is made now.
func goodFor(tx *Tx, d time.Duration) *time.Time {
	until := tx.Now.Add(d)
	return &until
}

// late says that the order must not be sent any more.
func (c Command) late(now time.Time) bool { return c.Deadline != nil && !now.Before(*c.Deadline) }

// saveCommand writes a command back with its journal row. was is the state as locked.
func saveCommand(ctx context.Context, tx *Tx, was billing.CommandState, c Command, event string) error {
	settled := c.State == billing.CommandVerified || c.State == billing.CommandRefused || c.State == billing.CommandCancelled
	if settled && c.SettledAt == nil {
		c.SettledAt = &tx.Now
	}
	_, err := tx.Exec(ctx, `UPDATE commands SET state = $2, count_before = $3, count_intended = $4, count_after = $5, remaining_before_fen = $6,
			remaining_after_fen = $7, registers_before = $8, readback = nullif($9, ''), readback_real = $10, readback_power_w = $11, attempts = $12, error = $13, frames = $14,
			sent_at = $15, settled_at = $16, decision = $17,
			volume_litres = $18, volume_price_e8 = $19, volume_before = $20, volume_target = $21, volume_after = $22, volume_total_after = $23, volume_carried = $24,
			sent_real = CASE WHEN $15::timestamptz IS NOT NULL AND sent_real IS NULL THEN clock_timestamp() ELSE sent_real END,
			settled_real = CASE WHEN $16::timestamptz IS NOT NULL AND settled_real IS NULL THEN clock_timestamp() ELSE settled_real END
		WHERE id = $1`,
		c.ID, c.State, c.CountBefore, c.CountIntended, c.CountAfter, c.RemainingBefore, c.RemainingAfter, c.RegistersBefore, c.Readback, c.ReadbackReal,
		c.ReadbackPowerW, c.Attempts, c.Error, string(c.Frames), c.SentAt, c.SettledAt, string(c.Decision),
		c.VolumeLitres, c.VolumePriceE8, c.VolumeBefore, c.VolumeTarget, c.VolumeAfter, c.VolumeTotalAfter, c.VolumeCarried)
	if err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: c.Site, Kind: "command", ID: string(c.ID), Event: event, From: string(was), To: string(c.State), Refs: c.refs(), Data: c.journalData()})
}

// journalData is what the timeline shows of a command: the numbers of the proof, not the frames.
func (c Command) journalData() map[string]any {
	data := map[string]any{"kind": c.Kind, "attempts": c.Attempts}
	for name, v := range map[string]*int64{
		"count_before": c.CountBefore, "count_intended": c.CountIntended, "count_after": c.CountAfter,
		"remaining_before_fen": c.RemainingBefore, "remaining_after_fen": c.RemainingAfter, "readback_power_w": c.ReadbackPowerW,
		"volume_litres": c.VolumeLitres, "volume_price_e8": c.VolumePriceE8, "volume_before": c.VolumeBefore, "volume_target": c.VolumeTarget, "volume_after": c.VolumeAfter,
	} {
		if v != nil {
			data[name] = *v
		}
	}
	if c.VolumeCarried != 0 {
		data["volume_carried"] = c.VolumeCarried
	}
	if c.Readback != "" {
		data["readback"], data["readback_real"] = c.Readback, c.ReadbackReal
	}
	if c.Error != "" {
		data["error"] = c.Error
	}
	return data
}

// addFrames joins evidence to what is stored already.
func (c *Command) addFrames(frames json.RawMessage) error {
	if len(frames) == 0 || string(frames) == "null" {
		return nil
	}
	var have, more []json.RawMessage
	if err := json.Unmarshal(c.Frames, &have); err != nil {
		return err
	}
	if err := json.Unmarshal(frames, &more); err != nil {
		return err
	}
	if len(more) == 0 {
		return nil
	}
	var err error
	c.Frames, err = json.Marshal(fewerLooks(append(have, more...)))
	return err
}

// mostLooks bounds the looks at the meter among the evidence of one command.
const mostLooks = 60

// fewerLooks leaves out looks in the middle when there are more than mostLooks: the first ones and the newest say enough. Whatever was to change
// something at the meter stays, at every attempt.
func fewerLooks(frames []json.RawMessage) []json.RawMessage {
	looks := 0
	for _, f := range frames {
		if !isWrite(f) {
			looks++
		}
	}
	if looks <= mostLooks {
		return frames
	}
	kept, seen := make([]json.RawMessage, 0, len(frames)), 0
	for _, f := range frames {
		if !isWrite(f) {
			if seen++; seen > mostLooks/2 && seen <= looks-mostLooks/2 {
				continue
			}
		}
		kept = append(kept, f)
	}
	return kept
}

// isWrite says that a frame was an order. One that was kept before frames said so counts as a look.
func isWrite(frame json.RawMessage) bool {
	var f struct{ Write bool }
	return json.Unmarshal(frame, &f) == nil && f.Write
}

// settleCase ends the open case of a cause that proof, or the person who makes the change, has settled. Empty when there is none.
func settleCase(ctx context.Context, tx *Tx, cause, decision, reason string) (billing.CaseID, error) {
	var id billing.CaseID
	var site billing.SiteID
	var account *billing.AccountID
	if tx.Reason != "" {
		reason = tx.Reason + " (" + reason + ")"
	}
	err := tx.QueryRow(ctx, `UPDATE cases SET state = 'resolved', decision = $2, reason = $3, resolved_at = $4, resolved_real = clock_timestamp(),
			decided_by = (SELECT id FROM users WHERE id = $5)
		WHERE cause = $1 AND state = 'open' RETURNING id, site_id, account_id`, cause, decision, reason, tx.Now, tx.Actor).Scan(&id, &site, &account)
	if err == pgx.ErrNoRows {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	refs := []string{cause}
	if account != nil {
		refs = append(refs, string(*account))
	}
	return id, tx.Journal(ctx, Entry{Site: site, Kind: "case", ID: string(id), Event: "resolved", From: string(billing.CaseOpen), To: string(billing.CaseResolved),
		Reason: reason, Refs: refs, Data: map[string]any{"decision": decision}})
}

package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// BatchMember is one meter of a batch.
type BatchMember struct {
	Batch     billing.BatchID    `db:"batch_id"`
	Meter     billing.MeterID    `db:"meter_id"`
	Account   *billing.AccountID `db:"account_id"`
	Gateway   billing.GatewayID  `db:"gateway_id"`
	State     billing.MemberState
	Skip      billing.SkipReason
	Note      string
	Command   *billing.CommandID `db:"command_id"`
	Restore   *string            `db:"restore_id"`
	SettledAt *time.Time
}

const batchMemberColumns = `m.batch_id, m.meter_id, m.account_id, m.gateway_id, m.state, m.skip, m.note, m.command_id, m.restore_id, m.settled_at`

// BatchPending reads members that nothing was sent to yet, or whose order may be out without a result, by gateway and meter. A member whose
// supply its restore gives back is not among them.
func (s *Store) BatchPending(ctx context.Context, id billing.BatchID, limit int) ([]BatchMember, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+batchMemberColumns+` FROM batch_members m WHERE m.batch_id = $1 AND m.state IN ('pending', 'sending') AND m.restore_id IS NULL
		ORDER BY m.gateway_id, m.meter_id LIMIT $2`, id, limit)
	ms, err := pgx.CollectRows(rows, pgx.RowToStructByName[BatchMember])
	return ms, translate(err)
}

// BatchVerdict is what the last look before an order says: leave the meter alone, or why and with what it is ordered.
type BatchVerdict struct {
	Skip     billing.SkipReason
	Decision json.RawMessage // kept with the command
}

// BatchJudge judges one meter for an action; package activities gives it.
type BatchJudge func(BatchFacts) (BatchVerdict, error)

// BatchStep says what to do about one member now.
type BatchStep struct {
	Member  BatchMember
	Action  billing.BatchAction
	Command Command // to be sent, in any other case than a restore
	Send    bool
	// Restore is the restore that gives the member's supply back; somebody must start its workflow.
	Restore string
}

// batchDeadline bounds an order of a batch, in business time.
const batchDeadline = 24 * time.Hour

// BeginBatchMember looks at one member under the lock of its account's supply, and marks its one order. A batch that was cancelled, and a
// member that is settled, give nothing to send. A member whose order was marked before gives the same command again: what may be
// done about it then depends on its kind, and on BatchStands right before it leaves.
func (s *Store) BeginBatchMember(ctx context.Context, by By, id billing.BatchID, meter billing.MeterID, judge BatchJudge) (BatchStep, error) {
	var out BatchStep
	err := s.Change(ctx, by, func(tx *Tx) error {
		// Shared, so that lines work side by side while a cancellation waits for what is being marked.
		b, err := readBatch(ctx, tx, id, " FOR SHARE")
		if err != nil {
			return err
		}
		if out.Member, err = readMember(ctx, tx, id, meter); err != nil {
			return err
		}
		out.Action = b.Action
		if out.Member.Account == nil || b.State == billing.BatchPreviewed {
			return nil
		}
		sup, err := lockSupply(ctx, tx, *out.Member.Account)
		if err != nil {
			return err
		}
		// Read again under the lock: another attempt may have been faster.
		if out.Member, err = readMember(ctx, tx, id, meter); err != nil {
			return err
		}
		switch {
		case out.Member.Restore != nil:
			out.Restore = *out.Member.Restore
			return nil
		case out.Member.State == billing.MemberSending:
			return resumeMember(ctx, tx, &out)
		case out.Member.State != billing.MemberPending || b.State != billing.BatchRunning:
			return nil
		}
		return beginMember(ctx, tx, b, sup, judge, &out)
	})
	return out, err
}

func readMember(ctx context.Context, tx *Tx, id billing.BatchID, meter billing.MeterID) (BatchMember, error) {
	rows, _ := tx.Query(ctx, `SELECT `+batchMemberColumns+` FROM batch_members m WHERE m.batch_id = $1 AND m.meter_id = $2`, id, meter)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[BatchMember])
}

// resumeMember takes up a member whose order was marked by an attempt that died.
func resumeMember(ctx context.Context, tx *Tx, out *BatchStep) error {
	c, err := lockCommand(ctx, tx, *out.Member.Command)
	if err != nil {
		return err
	}
	if !c.Open() || c.State == billing.CommandUnknown { // settled; only the member's own row was not
		return settleMember(ctx, tx, &out.Member, memberStateOf(c.State), "", c.Error)
	}
	out.Command, out.Send = c, true
	if !c.Kind.Switches() {
		return nil // MarkBatchSending counts its attempts
	}
	was := c.State
	c.State, c.Attempts = billing.CommandSending, c.Attempts+1
	out.Command = c
	return saveCommand(ctx, tx, was, c, "sending_again")
}

// BatchStands is the last look before an order of a batch that is marked leaves: its deadline, and the same judgement as before the mark on the facts
// of now. Its line, or a process that died, may have kept it waiting. Nothing changes.
func (s *Store) BatchStands(ctx context.Context, id billing.CommandID, judge BatchJudge) (BatchVerdict, error) {
	c, err := s.Command(ctx, id)
	if err != nil {
		return BatchVerdict{}, err
	}
	clock, err := s.Clock(ctx)
	if err != nil {
		return BatchVerdict{}, err
	}
	if c.late(clock.Now) {
		return BatchVerdict{Skip: billing.SkipTooLate}, nil
	}
	rows, _ := s.Pool.Query(ctx, factsOfOne, c.Meter)
	facts, err := optional[BatchFacts](rows)
	if err != nil {
		return BatchVerdict{}, translate(err)
	}
	if facts != nil { // the open one is this very order: a meter takes one switch and one setting at a time
		facts.SwitchOpen, facts.SetOpen = facts.SwitchOpen && !c.Kind.Switches(), facts.SetOpen && c.Kind.Switches()
	}
	return judgeMember(facts, c.Account, judge)
}

// factsOfOne is factsOfMeters for one fitted meter.
var factsOfOne = fmt.Sprintf(factsOfMeters, `m.id = $1 AND m.state = 'fitted'`)

// judgeMember judges a meter that is to be found at the account for which the batch was previewed.
func judgeMember(facts *BatchFacts, account billing.AccountID, judge BatchJudge) (BatchVerdict, error) {
	if facts == nil || facts.Account == nil || *facts.Account != account {
		return BatchVerdict{Skip: billing.SkipMoved}, nil
	}
	return judge(*facts)
}

func beginMember(ctx context.Context, tx *Tx, b Batch, sup Supply, judge BatchJudge, out *BatchStep) error {
	rows, _ := tx.Query(ctx, factsOfOne, out.Member.Meter)
	facts, err := optional[BatchFacts](rows)
	if err != nil {
		return err
	}
	verdict, err := judgeMember(facts, sup.Account, judge)
	if err != nil {
		return err
	}
	if verdict.Skip != "" {
		return skipMember(ctx, tx, b, out, verdict.Skip, "")
	}
	if b.Action == billing.BatchRestore {
		out.Restore, err = openRestore(ctx, tx, sup, "batch/"+string(b.ID)+"/"+string(out.Member.Meter), b.Reason)
		if err != nil {
			return err
		}
		out.Member.State, out.Member.Restore = billing.MemberSending, &out.Restore
		_, err = tx.Exec(ctx, `UPDATE batch_members SET state = 'sending', restore_id = $3 WHERE batch_id = $1 AND meter_id = $2`, b.ID, out.Member.Meter, out.Restore)
		return err
	}
	kind, state := b.Action.Command(), billing.CommandRequested
	if kind.Switches() {
		state = billing.CommandSending
	}
	out.Command, err = insertCommand(ctx, tx, Command{Site: b.Site, Account: sup.Account, Meter: out.Member.Meter, Kind: kind, State: state, Decision: verdict.Decision,
		Cause: "batch/" + string(b.ID) + "/" + string(out.Member.Meter), Deadline: goodFor(tx, batchDeadline)}, string(state))
	if err != nil {
		return err
	}
	out.Send, out.Member.State, out.Member.Command = true, billing.MemberSending, &out.Command.ID
	_, err = tx.Exec(ctx, `UPDATE batch_members SET state = 'sending', command_id = $3 WHERE batch_id = $1 AND meter_id = $2`, b.ID, out.Member.Meter, out.Command.ID)
	return err
}

// skipMember leaves a meter alone after all, with a row in the batch's story.
func skipMember(ctx context.Context, tx *Tx, b Batch, out *BatchStep, why billing.SkipReason, note string) error {
	if err := settleMember(ctx, tx, &out.Member, billing.MemberSkipped, why, note); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: b.Site, Kind: "batch", ID: string(b.ID), Event: "member_skipped", From: string(b.State), To: string(b.State),
		Refs: []string{string(out.Member.Meter)}, Data: map[string]any{"meter": out.Member.Meter, "why": why, "note": note}})
}

func settleMember(ctx context.Context, tx *Tx, m *BatchMember, to billing.MemberState, skip billing.SkipReason, note string) error {
	m.State, m.Skip, m.Note, m.SettledAt = to, skip, note, &tx.Now
	_, err := tx.Exec(ctx, `UPDATE batch_members SET state = $3, skip = $4, note = $5, settled_at = $6 WHERE batch_id = $1 AND meter_id = $2`, m.Batch, m.Meter, to, skip, note, tx.Now)
	return err
}

// memberStateOf is what a settled command means for its member.
func memberStateOf(c billing.CommandState) billing.MemberState {
	switch c {
	case billing.CommandVerified:
		return billing.MemberVerified
	case billing.CommandRefused:
		return billing.MemberRefused
	case billing.CommandCancelled:
		return billing.MemberCancelled
	}
	return billing.MemberUnknown
}

// MarkBatchSending notes that a setting leaves for its meter now, with what the meter showed: registers for prices, the skew in seconds for
// a clock. Up to here nothing went out.
func (s *Store) MarkBatchSending(ctx context.Context, by By, id billing.CommandID, registers []int64, skew *int) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		c, err := lockCommand(ctx, tx, id)
		if err != nil {
			return err
		}
		if !c.Open() || c.State == billing.CommandUnknown {
			return billing.Errorf(billing.CodeClosed, "command %s is %s already: nothing is sent", c.ID, c.State)
		}
		if c.late(tx.Now) {
			return tooLate(c)
		}
		was, event := c.State, "sending"
		if was != billing.CommandRequested {
			event = "sending_again"
		}
		c.State, c.SentAt, c.Attempts, c.RegistersBefore = billing.CommandSending, &tx.Now, c.Attempts+1, registers
		if _, err := tx.Exec(ctx, `UPDATE commands SET skew_before_s = $2 WHERE id = $1`, id, skew); err != nil {
			return err
		}
		return saveCommand(ctx, tx, was, c, event)
	})
}

// BatchOutcome is what became of a member's order. Sent says that it left for the meter, now or in an attempt before.
type BatchOutcome struct {
	State  billing.CommandState
	Note   string
	Sent   bool
	Skip   billing.SkipReason // why, when nothing left; unreached unless given
	Frames json.RawMessage
	SkewS  *int // of a clock that was read back
}

// SettleBatchMember records what an order came to. One that never left is cancelled, and its meter counts as left alone. A switching
// command that left is settled by SettleSwitch first; its state counts then.
func (s *Store) SettleBatchMember(ctx context.Context, by By, id billing.BatchID, meter billing.MeterID, o BatchOutcome) (BatchMember, error) {
	var out BatchStep
	err := s.Change(ctx, by, func(tx *Tx) error {
		var err error
		if out.Member, err = readMember(ctx, tx, id, meter); err != nil {
			return err
		}
		if out.Member.State != billing.MemberSending || out.Member.Command == nil {
			return nil // recorded before; only the answer was lost
		}
		b, err := readBatch(ctx, tx, id, "")
		if err != nil {
			return err
		}
		c, err := lockCommand(ctx, tx, *out.Member.Command)
		if err != nil {
			return err
		}
		settled := !c.Open() || c.State == billing.CommandUnknown
		switch {
		case settled:
			return settleMember(ctx, tx, &out.Member, memberStateOf(c.State), "", c.Error)
		case !o.Sent && o.State != billing.CommandVerified:
			was := c.State
			c.State, c.Error = billing.CommandCancelled, o.Note
			if err := saveCommand(ctx, tx, was, c, "cancelled"); err != nil {
				return err
			}
			return skipMember(ctx, tx, b, &out, cmp.Or(o.Skip, billing.SkipUnreached), o.Note)
		}
		was := c.State
		c.State, c.Error = o.State, o.Note
		if err := c.addFrames(o.Frames); err != nil {
			return err
		}
		if o.SkewS != nil {
			if _, err := tx.Exec(ctx, `UPDATE commands SET skew_after_s = $2 WHERE id = $1`, c.ID, *o.SkewS); err != nil {
				return err
			}
		}
		if err := saveCommand(ctx, tx, was, c, string(c.State)); err != nil {
			return err
		}
		return settleMember(ctx, tx, &out.Member, memberStateOf(c.State), "", c.Error)
	})
	return out.Member, err
}

// GiveUpBatchMember settles a member whose line nobody could work on: left alone when nothing can have left for it, else unknown.
func (s *Store) GiveUpBatchMember(ctx context.Context, by By, id billing.BatchID, meter billing.MeterID, note string) (BatchMember, error) {
	var out BatchStep
	sent := false
	err := s.Change(ctx, by, func(tx *Tx) error {
		b, err := readBatch(ctx, tx, id, "")
		if err != nil {
			return err
		}
		if out.Member, err = readMember(ctx, tx, id, meter); err != nil {
			return err
		}
		if out.Member.State == billing.MemberPending {
			return skipMember(ctx, tx, b, &out, billing.SkipUnreached, note)
		}
		if out.Member.Command != nil {
			return tx.QueryRow(ctx, `SELECT state <> 'requested' FROM commands WHERE id = $1`, *out.Member.Command).Scan(&sent)
		}
		return nil
	})
	if err != nil || out.Member.State != billing.MemberSending || out.Member.Command == nil {
		return out.Member, err
	}
	return s.SettleBatchMember(ctx, by, id, meter, BatchOutcome{State: billing.CommandUnknown, Sent: sent, Note: note})
}

// FollowBatch records how far the restores of a batch are and says how many are not settled. With giveUp those count as unknown: their own
// workflows go on.
func (s *Store) FollowBatch(ctx context.Context, by By, id billing.BatchID, giveUp bool) (left int, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		rows, _ := tx.Query(ctx, `SELECT `+batchMemberColumns+`, r.state AS restored, nullif(r.command_id, '') AS by_command FROM batch_members m JOIN restores r ON r.id = m.restore_id
			WHERE m.batch_id = $1 AND m.state = 'sending' ORDER BY m.meter_id FOR UPDATE OF m`, id)
		type following struct {
			BatchMember
			Restored  string
			ByCommand *billing.CommandID
		}
		members, err := pgx.CollectRows(rows, pgx.RowToStructByName[following])
		if err != nil {
			return err
		}
		for _, m := range members {
			to, skip := map[string]billing.MemberState{RestoreVerified: billing.MemberVerified, RestoreNotNeeded: billing.MemberSkipped, RestorePrevented: billing.MemberRefused}[m.Restored], billing.SkipReason("")
			switch {
			case to == billing.MemberSkipped:
				skip = billing.SkipStands
			case to == "" && giveUp:
				to = billing.MemberUnknown
			case to == "":
				left++
				continue
			}
			if m.ByCommand != nil {
				if _, err := tx.Exec(ctx, `UPDATE batch_members SET command_id = $3 WHERE batch_id = $1 AND meter_id = $2`, id, m.Meter, *m.ByCommand); err != nil {
					return err
				}
			}
			if err := settleMember(ctx, tx, &m.BatchMember, to, skip, ""); err != nil {
				return err
			}
		}
		return nil
	})
	return left, err
}

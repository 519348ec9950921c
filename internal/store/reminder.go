package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Reminder is the arrears case of an account: reminders, final notice, hand-over to the cut.
type Reminder struct {
	ID       billing.ReminderID
	Site     billing.SiteID    `db:"site_id"`
	Account  billing.AccountID `db:"account_id"`
	State    billing.ReminderState
	Balance  billing.Money `db:"balance_fen"` // when it was opened
	OpenedAt time.Time
	CutAt    *time.Time // the instant that the final notice names
	ClosedAt *time.Time
}

const selectReminder = `SELECT id, site_id, account_id, state, balance_fen, opened_at, cut_at, closed_at FROM reminders`

const openReminderStates = `('level1', 'level2', 'final', 'handed_over')`

// noCutAgreed is why a case ends whose account has come under an arrears contract.
const noCutAgreed = "the contract agrees to no cut at the limit"

// Open says that the case goes on.
func (r Reminder) Open() bool {
	return r.State != billing.ReminderPaid && r.State != billing.ReminderClosed
}

// Reminder reads one arrears case.
func (s *Store) Reminder(ctx context.Context, id billing.ReminderID) (Reminder, error) {
	rows, _ := s.Pool.Query(ctx, selectReminder+` WHERE id = $1`, id)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Reminder])
	return r, translate(err)
}

func lockReminder(ctx context.Context, tx *Tx, id billing.ReminderID) (Reminder, error) {
	rows, _ := tx.Query(ctx, selectReminder+` WHERE id = $1 FOR UPDATE`, id)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Reminder])
}

func moveReminder(ctx context.Context, tx *Tx, r *Reminder, to billing.ReminderState, event, reason string, refs []string, data any) error {
	was := r.State
	r.State = to
	if !r.Open() {
		r.ClosedAt = &tx.Now
	}
	if _, err := tx.Exec(ctx, `UPDATE reminders SET state = $2, cut_at = $3, closed_at = $4 WHERE id = $1`, r.ID, r.State, r.CutAt, r.ClosedAt); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: r.Site, Kind: "reminder", ID: string(r.ID), Event: event, From: string(was), To: string(to), Reason: reason,
		Refs: append([]string{string(r.Account)}, refs...), Data: data})
}

// endReminder ends the open arrears case of an account, if there is one.
func endReminder(ctx context.Context, tx *Tx, account billing.AccountID, to billing.ReminderState, reason string, refs ...string) (billing.ReminderID, error) {
	rows, _ := tx.Query(ctx, selectReminder+` WHERE account_id = $1 AND state IN `+openReminderStates+` FOR UPDATE`, account)
	r, err := optional[Reminder](rows)
	if err != nil || r == nil {
		return "", err
	}
	return r.ID, moveReminder(ctx, tx, r, to, string(to), reason, refs, nil)
}

// CloseReminder ends an arrears case for another reason than a payment. One that has ended stays as it is.
func (s *Store) CloseReminder(ctx context.Context, by By, id billing.ReminderID, reason string) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockReminder(ctx, tx, id)
		if err != nil || !r.Open() {
			return err
		}
		return moveReminder(ctx, tx, &r, billing.ReminderClosed, "closed", reason, nil, nil)
	})
}

// LowTaken is what the low list of a charge came to: the cases that were opened, and those that were open already.
type LowTaken struct {
	Opened []billing.ReminderID
	Fell   []Fall
	// Restores are those that the charge made due: a balance that rose by a correction, a guard that isn't needed any more.
	Restores []string
	// Messages are those about payment plans that wait to be sent.
	Messages []billing.MessageID `json:",omitempty"`
	// Ended are the cases that ended because the account's contract agrees to no cut any more, Cancelled the cuts that were planned by them.
	Ended     []billing.ReminderID `json:",omitempty"`
	Cancelled []string             `json:",omitempty"`
}

// Fall says that the balance of an account with an open case has reached a level.
type Fall struct {
	Reminder billing.ReminderID
	Level    billing.ReminderState
}

// TakeLowList opens one arrears case per account of the cycle's low list and marks the list as taken. Accounts that are cut already
// get none, nor do those whose contract agrees to no cut: if a case of theirs stands open, it ends here. Taking it again gives the same answer, so that children can be started again after a crash.
func (s *Store) TakeLowList(ctx context.Context, by By, cycle billing.CycleID, terms Terms) (LowTaken, error) {
	var out LowTaken
	rows, _ := s.Pool.Query(ctx, `SELECT account_id FROM low_list WHERE cycle_id = $1 AND NOT taken ORDER BY account_id`, cycle)
	accounts, err := pgx.CollectRows(rows, pgx.RowTo[billing.AccountID])
	if err != nil {
		return out, translate(err)
	}
	for _, account := range accounts {
		// One small transaction per account: a payment on one of them must not wait for all.
		if err := s.Change(ctx, by, func(tx *Tx) error { return takeLow(ctx, tx, cycle, account) }); err != nil {
			return out, err
		}
	}
	if err := s.endUncut(ctx, by, cycle); err != nil {
		return out, err
	}
	if err := s.lowTaken(ctx, cycle, &out); err != nil {
		return out, err
	}
	if out.Restores, err = s.openDueRestores(ctx, by, cycle, terms); err != nil {
		return out, err
	}
	out.Messages, err = s.planMessages(ctx, cycle)
	return out, err
}

func takeLow(ctx context.Context, tx *Tx, cycle billing.CycleID, account billing.AccountID) error {
	sup, err := lockSupply(ctx, tx, account)
	if err != nil {
		return err
	}
	var balance billing.Money
	var level billing.ReminderState
	if err := tx.QueryRow(ctx, `UPDATE low_list SET taken = true WHERE account_id = $1 AND cycle_id = $2 RETURNING balance_fen, level`, account, cycle).Scan(&balance, &level); err != nil {
		return err
	}
	a, err := readAccount(ctx, tx, account)
	if err != nil || sup.State == billing.SupplyOff || !a.PrepaidContract {
		return err
	}
	var id billing.ReminderID
	err = tx.QueryRow(ctx, `INSERT INTO reminders (id, site_id, account_id, state, balance_fen, opened_at)
		VALUES ('N' || nextval('reminder_no'), $1, $2, 'level1', $3, $4)
		ON CONFLICT (account_id) WHERE state IN `+openReminderStates+` DO NOTHING RETURNING id`, sup.Site, account, balance, tx.Now).Scan(&id)
	if err == pgx.ErrNoRows {
		return nil // the open case goes on; lowTaken names it
	}
	if err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: sup.Site, Kind: "reminder", ID: string(id), Event: "opened", To: string(billing.ReminderLevel1),
		Refs: []string{string(account), string(cycle)}, Data: map[string]any{"balance_fen": balance, "level": level}})
}

// endUncut ends the open arrears cases of the cycle's site whose accounts have come under a contract that agrees to no cut, with the cuts that
// are planned by them.
func (s *Store) endUncut(ctx context.Context, by By, cycle billing.CycleID) error {
	rows, _ := s.Pool.Query(ctx, `SELECT r.account_id FROM reminders r JOIN cycles c ON c.site_id = r.site_id
		WHERE c.id = $1 AND r.state IN `+openReminderStates+` AND NOT account_prepaid_now(r.account_id) ORDER BY 1`, cycle)
	accounts, err := pgx.CollectRows(rows, pgx.RowTo[billing.AccountID])
	if err != nil {
		return translate(err)
	}
	for _, account := range accounts {
		err := s.Change(ctx, by, func(tx *Tx) error {
			if _, err := lockSupply(ctx, tx, account); err != nil {
				return err
			}
			a, err := readAccount(ctx, tx, account)
			if err != nil || a.PrepaidContract {
				return err
			}
			cut, err := cancelPlannedCut(ctx, tx, account, noCutAgreed)
			if err != nil {
				return err
			}
			_, err = endReminder(ctx, tx, account, billing.ReminderClosed, noCutAgreed, string(cycle), cut)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lowTaken names the open cases of the cycle's list: those that it opened, and those that it found; and those that endUncut ended.
func (s *Store) lowTaken(ctx context.Context, cycle billing.CycleID, out *LowTaken) error {
	rows, _ := s.Pool.Query(ctx, `SELECT r.id, l.level, EXISTS (SELECT 1 FROM journal j WHERE j.chain = 'reminder/' || r.id AND j.event = 'opened' AND $1 = ANY(j.refs))
		FROM low_list l JOIN reminders r ON r.account_id = l.account_id AND r.state IN ('level1', 'level2', 'final')
		WHERE l.cycle_id = $1 ORDER BY r.id`, cycle)
	var id billing.ReminderID
	var level billing.ReminderState
	var fresh bool
	_, err := pgx.ForEachRow(rows, []any{&id, &level, &fresh}, func() error {
		if fresh {
			out.Opened = append(out.Opened, id)
		}
		out.Fell = append(out.Fell, Fall{Reminder: id, Level: level})
		return nil
	})
	if err != nil {
		return translate(err)
	}
	err = s.Pool.QueryRow(ctx, `WITH ended AS (SELECT r.id FROM journal j JOIN reminders r ON j.chain = 'reminder/' || r.id WHERE j.refs @> ARRAY[$1] AND j.event = 'closed' AND r.state = 'closed')
		SELECT ARRAY(SELECT id FROM ended ORDER BY id), ARRAY(SELECT x.id FROM cutoffs x JOIN ended ON x.reminder_id = ended.id WHERE x.state = 'cancelled' ORDER BY x.id)`,
		cycle).Scan(&out.Ended, &out.Cancelled)
	return translate(err)
}

// NoticeStep is what the next message of an arrears case is, decided under the account's lock.
type NoticeStep struct {
	Reminder Reminder
	Ended    bool              // the case is over, or the balance is not low any more: nothing to send
	Message  billing.MessageID // queued for this level and attempt
	State    billing.MessageState
}

// QueueNotice moves the case to a level and queues its message, once per level and attempt. The final notice names cutAt. A balance that
// has risen above the cut limit since, payment plans counted, ends a case that has come to the final notice; a contract that agrees to no cut ends any.
func (s *Store) QueueNotice(ctx context.Context, by By, id billing.ReminderID, level billing.ReminderState, attempt int, cutAt time.Time, text MessageText) (NoticeStep, error) {
	var out NoticeStep
	err := s.Change(ctx, by, func(tx *Tx) error {
		r, balance, a, err := lockArrears(ctx, tx, id)
		if err != nil {
			return err
		}
		if out.Reminder = r; !r.Open() || r.State == billing.ReminderHandedOver {
			out.Ended = true
			return nil
		}
		if !a.PrepaidContract {
			err := moveReminder(ctx, tx, &r, billing.ReminderClosed, "closed", noCutAgreed, nil, nil)
			out.Reminder, out.Ended = r, true
			return err
		}
		deferred, err := deferredOf(ctx, tx, r.Account)
		if err != nil {
			return err
		}
		if level == billing.ReminderFinal && balance+deferred > a.CutLimit {
			err := moveReminder(ctx, tx, &r, billing.ReminderClosed, "closed", "the balance is above the cut limit again", nil, map[string]any{"balance_fen": balance, "deferred_fen": deferred})
			out.Reminder, out.Ended = r, true
			return err
		}
		cause := fmt.Sprintf("%s/%s", id, level)
		if attempt > 1 {
			cause = fmt.Sprintf("%s/%d", cause, attempt)
		}
		n := NewMessage{Account: r.Account, Kind: string(level), Cause: cause, Balance: balance}
		if level == billing.ReminderFinal {
			n.CutAt = cutAt
			r.CutAt = &cutAt
		}
		if out.Message, err = queueMessage(ctx, tx, n, text); err != nil {
			return err
		}
		if err := moveReminder(ctx, tx, &r, level, "notice_queued", "", []string{string(out.Message)}, map[string]any{"level": level, "balance_fen": balance, "cut_at": r.CutAt}); err != nil {
			return err
		}
		out.Reminder = r
		return tx.QueryRow(ctx, `SELECT state FROM messages WHERE id = $1`, out.Message).Scan(&out.State)
	})
	return out, err
}

// lockArrears locks supply and case in that order and reads what they are judged by.
func lockArrears(ctx context.Context, tx *Tx, id billing.ReminderID) (Reminder, billing.Money, Account, error) {
	var account billing.AccountID
	if err := tx.QueryRow(ctx, `SELECT account_id FROM reminders WHERE id = $1`, id).Scan(&account); err != nil {
		return Reminder{}, 0, Account{}, err
	}
	if _, err := lockSupply(ctx, tx, account); err != nil {
		return Reminder{}, 0, Account{}, err
	}
	r, err := lockReminder(ctx, tx, id)
	if err != nil {
		return r, 0, Account{}, err
	}
	a, err := readAccount(ctx, tx, account)
	if err != nil {
		return r, 0, a, err
	}
	balance, err := balanceOf(ctx, tx, account)
	return r, balance, a, err
}

// HandOver plans the cut of a case whose final notice was delivered, not before plannedAt; with manager it waits for a manager's
// approval first. judge gives the reasons as they stand now, for the list of planned cuts. Doing it again gives the same cut. A contract that
// agrees to no cut ends the case instead.
func (s *Store) HandOver(ctx context.Context, by By, id billing.ReminderID, plannedAt time.Time, manager bool, judge Judge) (cutoff string, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		r, _, a, err := lockArrears(ctx, tx, id)
		if err != nil {
			return err
		}
		if r.State == billing.ReminderFinal && !a.PrepaidContract {
			return moveReminder(ctx, tx, &r, billing.ReminderClosed, "closed", noCutAgreed, nil, nil)
		}
		if r.State != billing.ReminderFinal {
			err := tx.QueryRow(ctx, `SELECT coalesce((SELECT id FROM cutoffs WHERE reminder_id = $1 ORDER BY opened_at DESC LIMIT 1), '')`, id).Scan(&cutoff)
			return err
		}
		if plannedAt.After(*r.CutAt) {
			r.CutAt = &plannedAt
		}
		if cutoff, err = planCut(ctx, tx, r, plannedAt, manager, judge); err != nil {
			return err
		}
		return moveReminder(ctx, tx, &r, billing.ReminderHandedOver, "handed_over", "", []string{cutoff}, map[string]any{"planned_at": plannedAt})
	})
	return cutoff, err
}

func splitCause(cause string) []string { return strings.Split(cause, "/") }

// LowLevelOf is the level that the newest low list gives an account; level1 when none does.
func (s *Store) LowLevelOf(ctx context.Context, account billing.AccountID) (billing.ReminderState, error) {
	var level billing.ReminderState
	err := s.Pool.QueryRow(ctx, `SELECT coalesce((SELECT l.level FROM low_list l JOIN cycles c ON c.id = l.cycle_id WHERE l.account_id = $1 ORDER BY c.freeze_at DESC LIMIT 1), 'level1')`,
		account).Scan(&level)
	return level, translate(err)
}

// FinalNoticeDelivered is when the case's final notice was delivered first, by the provider's receipt.
func (s *Store) FinalNoticeDelivered(ctx context.Context, id billing.ReminderID) (time.Time, error) {
	var at *time.Time
	err := s.Pool.QueryRow(ctx, `SELECT min(delivered_at) FROM messages WHERE state = 'delivered' AND (cause = $1 || '/final' OR cause LIKE $1 || '/final/%')`, id).Scan(&at)
	if err == nil && at == nil {
		return time.Time{}, billing.Errorf(billing.CodeBlocked, "The final notice of case %s has no delivery receipt.", id)
	}
	if err != nil {
		return time.Time{}, translate(err)
	}
	return *at, nil
}

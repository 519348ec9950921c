package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// wallet is what a customer knows: what arrived on the phone, whether there is supply, what was paid.
type wallet struct {
	Account      billing.AccountID
	Balance      billing.Money
	Supply       billing.SupplyState
	SupplySince  time.Time
	Arrears      string // state of the open arrears case, or empty
	CutAt        *time.Time
	FirstMessage *time.Time // when the first message of the case was delivered
	FinalNotice  *time.Time
	Paid         int // recharges that were not refused
	Rejected     int
	Open         int // of Paid, those not settled
}

const selectWallets = `
	SELECT a.id, b.balance_fen, s.state, s.since_at, coalesce(r.state, ''), coalesce(k.planned_at, r.cut_at),
		(SELECT min(m.delivered_at) FROM messages m WHERE m.account_id = a.id AND m.queued_at >= r.opened_at AND m.kind IN ('level1', 'level2', 'final')),
		(SELECT min(m.delivered_at) FROM messages m WHERE m.account_id = a.id AND m.queued_at >= r.opened_at AND m.kind = 'final'),
		coalesce(x.paid, 0), coalesce(x.rejected, 0), coalesce(x.open, 0)
	FROM accounts a JOIN balances b ON b.account_id = a.id JOIN supplies s ON s.account_id = a.id
	LEFT JOIN reminders r ON r.account_id = a.id AND r.state IN ('level1', 'level2', 'final', 'handed_over')
	LEFT JOIN cutoffs k ON k.account_id = a.id AND k.state IN ('planned', 'awaiting_manager')
	LEFT JOIN LATERAL (
		SELECT count(*) FILTER (WHERE state NOT IN ('rejected', 'expired')) AS paid, count(*) FILTER (WHERE state = 'rejected') AS rejected,
			count(*) FILTER (WHERE state NOT IN ('rejected', 'expired', 'credited')) AS open
		FROM recharges WHERE account_id = a.id) x ON true
	ORDER BY a.id`

// takePayments lets every customer pay who would by now: at the counter, by transfer or online. Clerks enter all of it.
func (c *Crew) takePayments(ctx context.Context, now time.Time) (did int, err error) {
	rows, _ := c.store.Pool.Query(ctx, selectWallets)
	wallets, err := pgx.CollectRows(rows, pgx.RowToStructByPos[wallet])
	if err != nil {
		return 0, err
	}
	for _, w := range wallets {
		p := c.utility.at(w.Account)
		if p == nil || w.Open > 0 {
			continue
		}
		if p.Habit == HabitJustAfter && cutToday(w, now) {
			c.watchCut(ctx, p, w)
		}
		if !p.wantsToPay(w, now) {
			continue
		}
		pay := p.payment(w)
		if item := "pay/" + pay.Key; c.due(item, now) {
			n, err := c.outcome(item, now, c.enter(ctx, pay, nil))
			did += n
			if err != nil {
				return did, err
			}
		}
	}
	return did, nil
}

// wantsToPay is the customer's habit. Whoever has credit for the whole month and is reminded all the same, pays at once.
func (p *Premise) wantsToPay(w wallet, now time.Time) bool {
	habit := p.Habit
	if (habit == HabitAmple || habit == HabitTopUp) && w.Arrears != "" {
		habit = HabitPrompt
	}
	passed := func(since *time.Time, wait time.Duration) bool { return since != nil && !now.Before(since.Add(wait)) }
	cut := w.Supply == billing.SupplyOff
	switch habit {
	case HabitTopUp:
		return p.topUpsDue(now) > w.Paid
	case HabitPrompt:
		return passed(w.FirstMessage, 3*time.Hour)
	case HabitFinal:
		return passed(w.FinalNotice, 20*time.Hour) || cut
	case HabitAfterCut:
		return cut && passed(&w.SupplySince, time.Duration(3+p.mark()%20)*time.Hour)
	case HabitJustBefore:
		return cutToday(w, now) || cut
	case HabitJustAfter:
		return cut
	default:
		return false
	}
}

// cutToday says that the cut is planned for this morning and hasn't begun.
func cutToday(w wallet, now time.Time) bool {
	return w.CutAt != nil && billing.DateOf(*w.CutAt, zone) == billing.DateOf(now, zone) &&
		(w.Arrears == string(billing.ReminderFinal) || w.Arrears == string(billing.ReminderHandedOver)) &&
		now.In(zone).Hour() == 9 && w.Supply != billing.SupplyOff
}

// topUpsDue is how many payments a regular customer has made by now.
func (p *Premise) topUpsDue(now time.Time) int {
	day := firstDay.DaysUntil(billing.DateOf(now, zone))
	first, every := 2+p.mark()%8, 8+p.mark()%5
	if day < first {
		return 0
	}
	return (day-first)/every + 1
}

// mark is a number of the account's own, for what shall differ between customers.
func (p *Premise) mark() int {
	n := 0
	for _, digit := range p.Account {
		n = (n*31 + int(digit)) % 10_007
	}
	return n
}

// payment is what a clerk enters.
type payment struct {
	Account  billing.AccountID
	Amount   billing.Money
	Channel  string
	Evidence string
	Key      string
	By       billing.UserID
}

// wrongAmount marks the entry of a clerk who typed a digit too much; its approver sees it and rejects it.
const wrongAmount = "-TYPO"

// payment makes the customer's next payment: what is owed and the use of two to four weeks, in round notes.
func (p *Premise) payment(w wallet) payment {
	no := w.Paid + 1
	mark := p.mark() + 7*no
	days := billing.Money(14 + mark%16)
	note := 10 * billing.Yuan
	if p.Site == Plaza {
		note = 50 * billing.Yuan
	}
	amount := max(0, -w.Balance) + p.dailyCost()*days
	amount = (amount/note + 1) * note
	channel := []string{"cash", "transfer", "online", "cash", "transfer"}[mark%5]
	pay := payment{
		Account: p.Account, Amount: amount, Channel: channel, By: clerk(mark),
		Evidence: fmt.Sprintf("%s-%s-%d", map[string]string{"cash": "SJ", "transfer": "BK", "online": "ON"}[channel], p.Account, no),
		Key:      fmt.Sprintf("demo/%s/%d", p.Account, no),
	}
	if p.Habit == HabitTopUp && p.Site == Garden && no == 1 && w.Rejected == 0 && p.mark()%2 == 0 {
		pay.Amount, pay.Evidence, pay.Key = 10*amount, pay.Evidence+wrongAmount, pay.Key+wrongAmount
	}
	return pay
}

func (p payment) wrong() bool { return strings.HasSuffix(p.Evidence, wrongAmount) }

// clerk picks one of the clerks.
func clerk(n int) billing.UserID {
	return billing.UserID(fmt.Sprintf("clerk%d", n%clerks+1))
}

const clerks = 4

// watchCut lets a customer pay in the moment in which the command is out: it looks at the commands as quickly as it can, and clerks
// take the money and approve it at once. If it misses the moment, the customer pays after the cut.
func (c *Crew) watchCut(ctx context.Context, p *Premise, w wallet) {
	if c.watched[p.Account] {
		return
	}
	c.watched[p.Account] = true
	go func() {
		stop := time.Now().Add(watchFor)
		for time.Now().Before(stop) && ctx.Err() == nil {
			var state string
			err := c.store.Pool.QueryRow(ctx, `SELECT state FROM commands WHERE account_id = $1 AND kind = 'trip' ORDER BY requested_real DESC LIMIT 1`, p.Account).Scan(&state)
			if err == nil && state != string(billing.CommandRequested) {
				if err := c.payAtOnce(ctx, p.payment(w)); err != nil {
					c.log.Info("the payment at the moment of the cut was not taken", "account", p.Account, "error", err)
				}
				return
			}
			time.Sleep(watchEvery)
		}
	}()
}

// Real time in which a customer watches.
const (
	watchFor   = 2 * time.Minute
	watchEvery = 10 * time.Millisecond
)

func (c *Crew) payAtOnce(ctx context.Context, pay payment) error {
	var entered enteredRecharge
	if err := c.enter(ctx, pay, &entered); err != nil {
		return err
	}
	for _, approver := range []billing.UserID{otherClerk(pay.By), otherClerk(pay.By, otherClerk(pay.By))} {
		if err := c.approve(ctx, approver, entered.ID); err != nil {
			return err
		}
	}
	return nil
}

// otherClerk is the first clerk after the first given one who is none of the given.
func otherClerk(not ...billing.UserID) billing.UserID {
	first := int(not[0][len(not[0])-1] - '0')
	for n := first; ; n++ {
		if id := clerk(n); !slices.Contains(not, id) {
			return id
		}
	}
}

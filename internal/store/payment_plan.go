package store

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// PaymentPlan lets a customer pay in monthly parts what a true-up after consecutive estimates raised the charge by (rule 9). It moves no
// money: what is outstanding of it is left out of what reminds, cuts and restores.
type PaymentPlan struct {
	ID          billing.PlanID
	Site        billing.SiteID     `db:"site_id"`
	Account     billing.AccountID  `db:"account_id"`
	Cycle       billing.CycleID    `db:"cycle_id"` // whose charge brought the true-up
	Rule        billing.MakeUpRule // in force then
	Facts       billing.MakeUp     // what the amount was reckoned from
	TotalFen    billing.Money
	PartFen     billing.Money // each part but the last
	Outstanding billing.Money `db:"outstanding_fen"`
	EarlyFen    billing.Money // what became due at once when it ended
	NextDue     billing.Date  // zero until it runs
	State       billing.PlanState
	ProposedAt  time.Time
	ApprovedBy  billing.UserID
	ApprovedAt  *time.Time
	EndedBy     billing.UserID
	AgreedBy    billing.UserID // the second person
	Agreed2By   billing.UserID // the third
	EndedAt     *time.Time
	EndedWhy    string
}

// PlanPart is a part that has fallen due.
type PlanPart struct {
	No        int
	AmountFen billing.Money
	DueOn     billing.Date
	FellAt    time.Time
}

const planColumns = `SELECT y.id, y.site_id, y.account_id, y.cycle_id, y.rule, y.facts, y.total_fen, y.part_fen, y.outstanding_fen, y.early_fen, y.next_due, y.state, y.proposed_at,
	coalesce(y.approved_by, '') AS approved_by, y.approved_at, coalesce(y.ended_by, '') AS ended_by, coalesce(y.agreed_by, '') AS agreed_by, coalesce(y.agreed2_by, '') AS agreed2_by, y.ended_at, y.ended_why`

const selectPlan = planColumns + ` FROM payment_plans y`

// Kinds of the messages about payment plans; the next daily charge of the site sends them.
const (
	messageMakeUp    = "make_up"
	messagePartDue   = "part_due"
	messagePlanEnded = "plan_ended"
)

func (p PaymentPlan) journal(ctx context.Context, tx *Tx, event string, was billing.PlanState, reason string, data any) error {
	return tx.Journal(ctx, Entry{Site: p.Site, Kind: "payment_plan", ID: string(p.ID), Event: event, From: string(was), To: string(p.State), Reason: reason,
		Refs: []string{string(p.Account), string(p.Cycle)}, Data: data})
}

// deferredOf is what an account may pay later: the outstanding parts of its payment plans.
func deferredOf(ctx context.Context, tx *Tx, account billing.AccountID) (billing.Money, error) {
	var fen billing.Money
	err := tx.QueryRow(ctx, `SELECT deferred_fen($1)`, account).Scan(&fen)
	return fen, err
}

// proposePlans makes a plan for each account of a page whose charge came with a true-up beyond the rule's share. It runs in the charge's own
// transaction, so that nobody is judged by the charge alone. Accounts whose credit is in the meter have none, as the meter has taken it
// already; nor have arrears contracts, which nobody is cut by.
func proposePlans(ctx context.Context, tx *Tx, cycle billing.CycleID, accounts []billing.AccountID, rule billing.MakeUpRule) error {
	if rule.AfterEstimates < 1 {
		return nil
	}
	type raised struct {
		Site    billing.SiteID    `db:"site_id"`
		Account billing.AccountID `db:"account_id"`
		Prepaid bool
		billing.MakeUp
	}
	rows, _ := tx.Query(ctx, `SELECT a.site_id, a.id AS account_id, account_prepaid_now(a.id) AS prepaid, e.n AS estimates, x.fen AS estimated_fen, extract(epoch FROM k.upto - m.at)::bigint AS estimated_seconds,
			c.fen AS charged_fen, extract(epoch FROM c.upto - k.upto)::bigint AS charged_seconds, l.id AS lowest_bill, l.fen AS lowest_fen
		FROM (SELECT account_id, sum(amount_fen)::bigint AS fen, max(upto) AS upto FROM charges WHERE cycle_id = $1 AND account_id = ANY($2) GROUP BY account_id HAVING sum(amount_fen) > 0) c
		JOIN accounts a ON a.id = c.account_id AND a.credit_mode = 'platform'
		JOIN sites s ON s.id = a.site_id
		JOIN fittings f ON f.service_point_id = a.service_point_id AND f.to_at IS NULL
		-- The charge before went up to an estimate; a measured value has come since, maybe doubted at first and charged with a later one.
		CROSS JOIN LATERAL (SELECT max(upto) AS upto FROM charges WHERE account_id = a.id AND cycle_id <> $1 AND upto < c.upto) k
		JOIN good_readings r ON r.meter_id = f.meter_id AND r.freeze_at = k.upto AND r.quality = 'estimated'
		-- The last measured value before it; what an account was opened with counts as one.
		CROSS JOIN LATERAL (SELECT g.freeze_at AS at FROM good_readings g WHERE g.meter_id = f.meter_id AND g.freeze_at < k.upto AND g.freeze_at >= f.from_at
			AND (g.quality <> 'estimated' OR g.freeze_at = a.opened_on::timestamp AT TIME ZONE s.time_zone) ORDER BY g.freeze_at DESC LIMIT 1) m
		CROSS JOIN LATERAL (SELECT count(*)::int AS n FROM good_readings g WHERE g.meter_id = f.meter_id AND g.freeze_at > m.at AND g.freeze_at <= k.upto) e
		CROSS JOIN LATERAL (SELECT coalesce(sum(amount_fen), 0)::bigint AS fen FROM charges WHERE account_id = a.id AND upto > m.at AND upto <= k.upto) x
		-- A normal bill is an issued one of a whole month that rests on no estimate and asked for something.
		CROSS JOIN LATERAL (SELECT n.id, n.fen FROM (SELECT b.id, b.total_fen - b.late_fen AS fen FROM bills b WHERE b.account_id = a.id AND b.state = 'issued' AND b.period_from >= a.opened_on
			AND NOT b.readings @> '[{"estimated": true}]' AND b.total_fen > b.late_fen ORDER BY b.period_from DESC LIMIT $4) n ORDER BY n.fen, n.id LIMIT 1) l
		WHERE e.n >= $3 AND EXISTS (SELECT 1 FROM good_readings g WHERE g.meter_id = f.meter_id AND g.freeze_at > k.upto AND g.freeze_at <= c.upto AND g.quality <> 'estimated')
		ORDER BY a.id`, cycle, accounts, rule.AfterEstimates, rule.Bills)
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[raised])
	if err != nil {
		return err
	}
	for _, r := range found {
		total, part := rule.Plan(r.MakeUp)
		if total == 0 || !r.Prepaid {
			continue
		}
		p := PaymentPlan{Site: r.Site, Account: r.Account, Cycle: cycle, Rule: rule, Facts: r.MakeUp, TotalFen: total, PartFen: part, State: billing.PlanProposed}
		ruleText, err := json.Marshal(rule)
		if err != nil {
			return err
		}
		factsText, err := json.Marshal(r.MakeUp)
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, `INSERT INTO payment_plans (id, site_id, account_id, cycle_id, rule, facts, lowest_bill, total_fen, part_fen, outstanding_fen, state, proposed_at)
			VALUES ('Y' || nextval('payment_plan_no'), $1, $2, $3, $4, $5, $6, $7, $8, $7, 'proposed', $9) RETURNING id`,
			p.Site, p.Account, p.Cycle, string(ruleText), string(factsText), r.LowestBill, p.TotalFen, p.PartFen, tx.Now).Scan(&p.ID)
		if err != nil {
			return err
		}
		if err := p.journal(ctx, tx, "proposed", "", "", map[string]any{"total_fen": total, "part_fen": part, "facts": r.MakeUp}); err != nil {
			return err
		}
	}
	return nil
}

// lockPlan locks the supply of the plan's account, which every cut and payment locks too, and then the plan.
func lockPlan(ctx context.Context, tx *Tx, id billing.PlanID) (PaymentPlan, error) {
	var account billing.AccountID
	err := tx.QueryRow(ctx, `SELECT account_id FROM payment_plans WHERE id = $1`, id).Scan(&account)
	if err == pgx.ErrNoRows {
		return PaymentPlan{}, billing.Errorf(billing.CodeNotFound, "there is no payment plan %s: check the number", id)
	}
	if err != nil {
		return PaymentPlan{}, err
	}
	if _, err := lockSupply(ctx, tx, account); err != nil {
		return PaymentPlan{}, err
	}
	rows, _ := tx.Query(ctx, selectPlan+` WHERE y.id = $1 FOR UPDATE`, id)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[PaymentPlan])
}

func closedPlan(p PaymentPlan) error {
	return billing.Errorf(billing.CodeClosed, "payment plan %s is %s: nothing was changed", p.ID, p.State)
}

// localDay is the site's day at an instant.
func localDay(ctx context.Context, tx *Tx, site billing.SiteID, at time.Time) (billing.Date, error) {
	var day billing.Date
	err := tx.QueryRow(ctx, `SELECT ($2::timestamptz AT TIME ZONE time_zone)::date FROM sites WHERE id = $1`, site, at).Scan(&day)
	return day, err
}

// ApprovePlan lets a proposed plan run: its first part falls due on the first day of the next month. The customer is told with the next
// daily charge. A repeat by the same person changes nothing. Where the debt has changed since the proposal it is billing.CodeStale.
func (s *Store) ApprovePlan(ctx context.Context, by By, id billing.PlanID) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		p, err := lockPlan(ctx, tx, id)
		if err != nil || p.State == billing.PlanRunning && string(p.ApprovedBy) == tx.Actor {
			return err
		}
		if p.State != billing.PlanProposed {
			return closedPlan(p)
		}
		if by, err := p.changedBy(ctx, tx); err != nil {
			return err
		} else if by != "" {
			return billing.Errorf(billing.CodeStale, "%s has changed what the customer owes since payment plan %s was proposed: it lapses with the next daily charge", by, id)
		}
		today, err := localDay(ctx, tx, p.Site, tx.Now)
		if err != nil {
			return err
		}
		p.State, p.NextDue = billing.PlanRunning, billing.MonthPeriod(today).To
		if _, err := tx.Exec(ctx, `UPDATE payment_plans SET state = $2, next_due = $3, approved_by = $4, approved_at = $5 WHERE id = $1`, id, p.State, p.NextDue.String(), tx.Actor, tx.Now); err != nil {
			return err
		}
		return p.journal(ctx, tx, "approved", billing.PlanProposed, tx.Reason, map[string]any{"first_due": p.NextDue, "total_fen": p.TotalFen, "part_fen": p.PartFen})
	})
}

// changedBy is the number of a correction or an adjustment that changed what the account owes for the time of the plan's charge since the plan was
// proposed; empty without one.
func (p PaymentPlan) changedBy(ctx context.Context, tx *Tx) (number string, err error) {
	err = tx.QueryRow(ctx, `SELECT coalesce((SELECT min(k.id) FROM corrections k JOIN correction_accounts a ON a.correction_id = k.id
			WHERE a.account_id = $1 AND k.inputs_at > $2 AND k.from_at <= (SELECT max(upto) FROM charges WHERE account_id = $1 AND cycle_id = $3) AND (a.bills_fen <> 0 OR a.open_fen <> 0)),
		(SELECT min(id) FROM adjustments WHERE account_id = $1 AND state = 'booked' AND approved2_at > $2 AND total_fen <> 0), '')`, p.Account, p.ProposedAt, p.Cycle).Scan(&number)
	return number, err
}

// lapsePlans ends the proposed plans of a site on which nobody decided in time, and those whose debt has changed since: what they protected is due,
// and the customer is told. Doing it again changes nothing.
func (s *Store) lapsePlans(ctx context.Context, by By, site billing.SiteID) error {
	rows, _ := s.Pool.Query(ctx, `SELECT id FROM payment_plans WHERE site_id = $1 AND state = 'proposed' ORDER BY id`, site)
	plans, err := pgx.CollectRows(rows, pgx.RowTo[billing.PlanID])
	if err != nil {
		return translate(err)
	}
	for _, id := range plans {
		if err := s.Change(ctx, by, func(tx *Tx) error { return lapse(ctx, tx, id) }); err != nil {
			return err
		}
	}
	return nil
}

func lapse(ctx context.Context, tx *Tx, id billing.PlanID) error {
	p, err := lockPlan(ctx, tx, id)
	if err != nil || p.State != billing.PlanProposed {
		return err
	}
	number, err := p.changedBy(ctx, tx)
	if err != nil {
		return err
	}
	proposed, err := localDay(ctx, tx, p.Site, p.ProposedAt)
	if err != nil {
		return err
	}
	today, err := localDay(ctx, tx, p.Site, tx.Now)
	if err != nil {
		return err
	}
	why := *tx
	switch last := p.Rule.Lapses(proposed); {
	case number != "":
		why.Reason = number + " has changed what the customer owes since it was proposed"
	case today.After(last):
		why.Reason = "nobody decided on it until " + last.String()
	default:
		return nil
	}
	return p.end(ctx, &why, billing.PlanLapsed, billing.UserID(tx.Actor), "", "")
}

// ErrPlanEndsAlone refuses to end a payment plan, which protects from a cut, without two colleagues (rule 49).
func ErrPlanEndsAlone() error {
	return billing.Errorf(billing.CodeSelfApproval, "Ending a payment plan takes three persons: two colleagues have to agree.")
}

// EndPlan ends an open plan before its last part: what is outstanding becomes due at once. Rejecting a proposed plan and cancelling a running one take a
// protection away and so take three persons: by.Actor asks for it, second and third agree. A plan is settled early by one person, and only while the
// balance alone is above the cut limit, so that nobody comes to a cut by it.
func (s *Store) EndPlan(ctx context.Context, by By, id billing.PlanID, to billing.PlanState, second, third billing.UserID) error {
	if asks := billing.UserID(by.Actor); to != billing.PlanSettled && (second == "" || third == "" || second == asks || third == asks || second == third) {
		return ErrPlanEndsAlone()
	}
	return s.Change(ctx, by, func(tx *Tx) error {
		p, err := lockPlan(ctx, tx, id)
		if err != nil || p.State == to && string(p.EndedBy) == tx.Actor {
			return err
		}
		if p.State.Final() || (p.State == billing.PlanProposed) != (to == billing.PlanRejected) {
			return closedPlan(p)
		}
		if to == billing.PlanSettled {
			a, err := readAccount(ctx, tx, p.Account)
			if err != nil {
				return err
			}
			balance, err := balanceOf(ctx, tx, p.Account)
			if err != nil {
				return err
			}
			if balance <= a.CutLimit {
				return billing.Errorf(billing.CodeBlocked, "the balance of account %s is %s yuan, not above its cut limit: take the payment first, then settle plan %s", p.Account, balance, id)
			}
		}
		return p.end(ctx, tx, to, billing.UserID(tx.Actor), second, third)
	})
}

func (p PaymentPlan) end(ctx context.Context, tx *Tx, to billing.PlanState, by, second, third billing.UserID) error {
	was, rest := p.State, p.Outstanding
	p.State = to
	_, err := tx.Exec(ctx, `UPDATE payment_plans SET state = $2, outstanding_fen = 0, early_fen = $3, ended_by = $4, agreed_by = nullif($5, ''), agreed2_by = nullif($6, ''), ended_at = $7, ended_why = $8 WHERE id = $1`,
		p.ID, to, rest, by, second, third, tx.Now, tx.Reason)
	if err != nil {
		return err
	}
	return p.journal(ctx, tx, string(to), was, tx.Reason, map[string]any{"early_fen": rest, "second": second, "third": third})
}

// tell queues a message to the customer, once.
func (p PaymentPlan) tell(ctx context.Context, tx *Tx, kind, no string, amount billing.Money, text MessageText) error {
	balance, err := balanceOf(ctx, tx, p.Account)
	if err != nil {
		return err
	}
	_, err = queueMessage(ctx, tx, NewMessage{Account: p.Account, Kind: kind, Cause: string(p.ID) + "/" + kind + no, Amount: amount, Part: p.PartFen, Balance: balance}, text)
	return err
}

// tellDecided queues what customers are told of plans that were approved, or ended with something outstanding.
func (s *Store) tellDecided(ctx context.Context, by By, site billing.SiteID, text MessageText) error {
	rows, _ := s.Pool.Query(ctx, `SELECT y.id FROM payment_plans y WHERE y.site_id = $1 AND (
			y.state = 'running' AND NOT EXISTS (SELECT 1 FROM messages WHERE cause = y.id || '/' || $2)
			OR y.early_fen > 0 AND NOT EXISTS (SELECT 1 FROM messages WHERE cause = y.id || '/' || $3)) ORDER BY y.id`, site, messageMakeUp, messagePlanEnded)
	plans, err := pgx.CollectRows(rows, pgx.RowTo[billing.PlanID])
	if err != nil {
		return translate(err)
	}
	for _, id := range plans {
		err := s.Change(ctx, by, func(tx *Tx) error {
			p, err := lockPlan(ctx, tx, id)
			switch {
			case err != nil:
				return err
			case p.State.Final():
				return p.tell(ctx, tx, messagePlanEnded, "", p.EarlyFen, text)
			default:
				return p.tell(ctx, tx, messageMakeUp, "", p.TotalFen, text)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// FallDue ends proposed plans that lapse, and lets the next part of a site's running plans fall due whose day has come, one a month for each account, of its oldest plan, and queues
// what customers are told. Doing it again on the same day changes nothing; after an outage no two parts fall together.
func (s *Store) FallDue(ctx context.Context, by By, site billing.SiteID, text MessageText) error {
	if err := s.lapsePlans(ctx, by, site); err != nil {
		return err
	}
	if err := s.tellDecided(ctx, by, site, text); err != nil {
		return err
	}
	rows, _ := s.Pool.Query(ctx, `SELECT DISTINCT ON (y.account_id) y.id FROM payment_plans y JOIN sites s ON s.id = y.site_id
		WHERE y.site_id = $1 AND y.state = 'running' ORDER BY y.account_id, y.proposed_at, y.id`, site)
	plans, err := pgx.CollectRows(rows, pgx.RowTo[billing.PlanID])
	if err != nil {
		return translate(err)
	}
	for _, id := range plans {
		// One small transaction per account: a payment on one of them must not wait for all.
		if err := s.Change(ctx, by, func(tx *Tx) error { return fallDue(ctx, tx, id, text) }); err != nil {
			return err
		}
	}
	return nil
}

func fallDue(ctx context.Context, tx *Tx, id billing.PlanID, text MessageText) error {
	p, err := lockPlan(ctx, tx, id)
	if err != nil || p.State != billing.PlanRunning {
		return err
	}
	today, err := localDay(ctx, tx, p.Site, tx.Now)
	if err != nil || today.Before(p.NextDue) {
		return err
	}
	part := min(p.PartFen, p.Outstanding)
	var no int
	err = tx.QueryRow(ctx, `INSERT INTO payment_plan_parts (plan_id, no, amount_fen, due_on, fell_at)
		SELECT $1, count(*) + 1, $2, $3, $4 FROM payment_plan_parts WHERE plan_id = $1 RETURNING no`, id, part, p.NextDue.String(), tx.Now).Scan(&no)
	if err != nil {
		return err
	}
	p.Outstanding -= part
	next := billing.MonthPeriod(today).To
	// A younger plan of the account waits for its turn: two parts never fall due in one month.
	if _, err := tx.Exec(ctx, `UPDATE payment_plans SET next_due = greatest(next_due, $2::date) WHERE account_id = $1 AND state = 'running'`, p.Account, next.String()); err != nil {
		return err
	}
	if p.Outstanding > 0 {
		if _, err := tx.Exec(ctx, `UPDATE payment_plans SET outstanding_fen = $2 WHERE id = $1`, id, p.Outstanding); err != nil {
			return err
		}
	}
	was := p.State
	if err := p.journal(ctx, tx, "part_due", was, "", map[string]any{"no": no, "amount_fen": part, "due_on": p.NextDue, "outstanding_fen": p.Outstanding}); err != nil {
		return err
	}
	if err := p.tell(ctx, tx, messagePartDue, "/"+strconv.Itoa(no), part, text); err != nil || p.Outstanding > 0 {
		return err
	}
	return p.end(ctx, tx, billing.PlanSettled, billing.UserID(tx.Actor), "", "")
}

// planMessages names the messages about a site's payment plans that nobody has sent yet.
func (s *Store) planMessages(ctx context.Context, cycle billing.CycleID) ([]billing.MessageID, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT m.id FROM messages m JOIN cycles c ON c.site_id = m.site_id WHERE c.id = $1 AND m.state = 'queued' AND m.kind = ANY($2) ORDER BY m.queued_at, m.id LIMIT $3`,
		cycle, []string{messageMakeUp, messagePartDue, messagePlanEnded}, maxConsequences)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[billing.MessageID])
	return ids, translate(err)
}

// PaymentPlanRow is a plan as pages show it.
type PaymentPlanRow struct {
	PaymentPlan
	Customer     string
	BalanceFen   billing.Money // now
	CutLimitFen  billing.Money
	ApprovedName string
	EndedName    string
	AgreedName   string
	Agreed2Name  string
	Parts        []PlanPart `db:"-"` // that have fallen due
}

// PlanFilter chooses payment plans. Zero fields choose all.
type PlanFilter struct {
	Sites   []billing.SiteID
	Account billing.AccountID
	ID      billing.PlanID
	Open    bool // proposed and running ones
}

// PlanPage lists payment plans with the parts that have fallen due, proposed ones first, then the newest. It counts them all.
func (s *Store) PlanPage(ctx context.Context, f PlanFilter, limit, offset int) ([]PaymentPlanRow, int, error) {
	type counted struct {
		PaymentPlanRow
		Total int
	}
	const columns = `, c.name AS customer, b.balance_fen, a.cut_limit_fen, coalesce(u1.name, '') AS approved_name, coalesce(u2.name, y.ended_by, '') AS ended_name, coalesce(u3.name, '') AS agreed_name, coalesce(u4.name, '') AS agreed2_name,
		count(*) OVER ()::int AS total FROM payment_plans y JOIN accounts a ON a.id = y.account_id JOIN customers c ON c.id = a.customer_id JOIN balances b ON b.account_id = a.id
		LEFT JOIN users u1 ON u1.id = y.approved_by LEFT JOIN users u2 ON u2.id = y.ended_by LEFT JOIN users u3 ON u3.id = y.agreed_by LEFT JOIN users u4 ON u4.id = y.agreed2_by`
	rows, _ := s.Pool.Query(ctx, planColumns+columns+` WHERE y.site_id = ANY(@sites) AND (@account = '' OR y.account_id = @account) AND (@id = '' OR y.id = @id)
			AND (NOT @open OR y.state IN ('proposed', 'running')) ORDER BY y.state <> 'proposed', y.state <> 'running', y.proposed_at DESC, y.id DESC LIMIT @limit OFFSET @offset`,
		pgx.NamedArgs{"sites": f.Sites, "account": f.Account, "id": f.ID, "open": f.Open, "limit": limit, "offset": offset})
	plans, total, err := unwrap(rows, func(c counted) (PaymentPlanRow, int) { return c.PaymentPlanRow, c.Total })
	if err != nil || len(plans) == 0 {
		return plans, total, err
	}
	ids := make([]string, len(plans))
	at := map[billing.PlanID]int{}
	for i, p := range plans {
		ids[i], at[p.ID] = string(p.ID), i
	}
	parts, _ := s.Pool.Query(ctx, `SELECT plan_id, no, amount_fen, due_on, fell_at FROM payment_plan_parts WHERE plan_id = ANY($1) ORDER BY plan_id, no`, ids)
	var id billing.PlanID
	var part PlanPart
	_, err = pgx.ForEachRow(parts, []any{&id, &part.No, &part.AmountFen, &part.DueOn, &part.FellAt}, func() error {
		plans[at[id]].Parts = append(plans[at[id]].Parts, part)
		return nil
	})
	return plans, total, translate(err)
}

// PlanRow reads one payment plan as pages show it.
func (s *Store) PlanRow(ctx context.Context, id billing.PlanID, sites []billing.SiteID) (PaymentPlanRow, error) {
	plans, _, err := s.PlanPage(ctx, PlanFilter{Sites: sites, ID: id}, 1, 0)
	if err == nil && len(plans) == 0 {
		err = billing.Errorf(billing.CodeNotFound, "there is no payment plan %s: check the number", id)
	}
	if err != nil {
		return PaymentPlanRow{}, err
	}
	return plans[0], nil
}

// statedPlans reads the payment plans that were made in their bills' periods, by bill, the newest first.
func (s *Store) statedPlans(ctx context.Context, bills []billing.BillID) (map[billing.BillID][]PaymentPlan, error) {
	type stated struct {
		Bill billing.BillID
		PaymentPlan
	}
	rows, _ := s.Pool.Query(ctx, `SELECT b.id AS bill, `+strings.TrimPrefix(planColumns, "SELECT ")+` FROM bills b JOIN sites s ON s.id = b.site_id
		JOIN payment_plans y ON y.account_id = b.account_id
			AND (y.proposed_at AT TIME ZONE s.time_zone)::date >= b.period_from AND (y.proposed_at AT TIME ZONE s.time_zone)::date < b.period_to
		WHERE b.id = ANY($1) ORDER BY b.id, y.proposed_at DESC, y.id DESC`, bills)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[stated])
	by := map[billing.BillID][]PaymentPlan{}
	for _, one := range all {
		by[one.Bill] = append(by[one.Bill], one.PaymentPlan)
	}
	return by, translate(err)
}

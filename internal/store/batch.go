package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Batch is one piece of work on many meters of a site: previewed, started by a person, sent one order per meter.
type Batch struct {
	ID        billing.BatchID
	Site      billing.SiteID `db:"site_id"`
	Kind      billing.BatchKind
	Action    billing.BatchAction
	State     billing.BatchState
	Rate      int // orders per minute of real time at most
	Reason    string
	MadeBy    billing.UserID // or 'workflow'
	MadeAt    time.Time
	ExpiresAt time.Time // a preview that nobody started by then is cancelled
	StartedBy *billing.UserID
	StartedAt *time.Time
	EndedBy   *billing.UserID
	EndedAt   *time.Time
	EndReason string
}

const batchColumns = `b.id, b.site_id, b.kind, b.action, b.state, b.rate, b.reason, b.made_by, b.made_at, b.expires_at, b.started_by, b.started_at, b.ended_by, b.ended_at, b.end_reason`

// Batch reads one batch.
func (s *Store) Batch(ctx context.Context, id billing.BatchID) (Batch, error) {
	return readBatch(ctx, s.Pool, id, "")
}

// readBatch reads one batch; lock is the clause that keeps it from changing, if any.
func readBatch(ctx context.Context, q querier, id billing.BatchID, lock string) (Batch, error) {
	rows, _ := q.Query(ctx, `SELECT `+batchColumns+` FROM batches b WHERE b.id = $1`+lock, id)
	b, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Batch])
	return b, batchError(err, id)
}

func batchError(err error, id billing.BatchID) error {
	if err == pgx.ErrNoRows {
		return billing.Errorf(billing.CodeNotFound, "there is no batch %s: check the number", id)
	}
	return translate(err)
}

// NextBatchID reserves a number.
func (s *Store) NextBatchID(ctx context.Context) (billing.BatchID, error) {
	var id billing.BatchID
	err := s.Pool.QueryRow(ctx, `SELECT 'B-' || nextval('batch_no')`).Scan(&id)
	return id, translate(err)
}

// NewBatch is what a batch is made from. Members carry the reason why they are left out, empty for those that are to be worked on.
type NewBatch struct {
	ID      billing.BatchID
	Site    billing.SiteID
	Kind    billing.BatchKind
	Action  billing.BatchAction
	Rate    int
	Reason  string
	Expires time.Duration // business time
	Members []NewBatchMember
}

// NewBatchMember is one meter of a new batch.
type NewBatchMember struct {
	BatchFacts
	Skip billing.SkipReason
}

// PlanBatch makes a batch with its members. Planning it again changes nothing.
func (s *Store) PlanBatch(ctx context.Context, by By, n NewBatch) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		tag, err := tx.Exec(ctx, `INSERT INTO batches (id, site_id, kind, action, state, rate, reason, made_by, made_at, expires_at)
			VALUES ($1, $2, $3, $4, 'previewed', $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING`,
			n.ID, n.Site, n.Kind, n.Action, n.Rate, n.Reason, tx.Actor, tx.Now, tx.Now.Add(n.Expires))
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		left := map[billing.SkipReason]int{}
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"batch_members"}, []string{"batch_id", "meter_id", "account_id", "gateway_id", "state", "skip", "settled_at"},
			pgx.CopyFromSlice(len(n.Members), func(i int) ([]any, error) {
				m := n.Members[i]
				state, settled := billing.MemberPending, (*time.Time)(nil)
				if m.Skip != "" {
					state, settled = billing.MemberSkipped, &tx.Now
					left[m.Skip]++
				}
				return []any{string(n.ID), string(m.Meter), (*string)(m.Account), string(m.Gateway), string(state), string(m.Skip), settled}, nil
			}))
		if err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: n.Site, Kind: "batch", ID: string(n.ID), Event: "batch_planned", To: string(billing.BatchPreviewed), Reason: n.Reason,
			Data: map[string]any{"kind": n.Kind, "action": n.Action, "meters": len(n.Members), "skipped": left, "rate": n.Rate}})
	})
}

// StartBatch lets a previewed batch go. Starting it again by the same person changes nothing.
func (s *Store) StartBatch(ctx context.Context, by By, id billing.BatchID) (Batch, error) {
	var b Batch
	err := s.Change(ctx, by, func(tx *Tx) error {
		var err error
		if b, err = readBatch(ctx, tx, id, " FOR UPDATE"); err != nil {
			return err
		}
		if b.State == billing.BatchRunning && b.StartedBy != nil && string(*b.StartedBy) == tx.Actor {
			return nil
		}
		if b.State != billing.BatchPreviewed {
			return batchIs(b)
		}
		if !tx.Now.Before(b.ExpiresAt) {
			return billing.Errorf(billing.CodeStale, "the preview of batch %s is too old: make the batch anew", b.ID)
		}
		var pending int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM batch_members WHERE batch_id = $1 AND state = 'pending'`, id).Scan(&pending); err != nil {
			return err
		}
		if pending == 0 {
			return billing.Errorf(billing.CodeBlocked, "every meter of batch %s is left out: there is nothing to start", b.ID)
		}
		if _, err := tx.Exec(ctx, `UPDATE batches SET state = 'running', started_by = $2, started_at = $3 WHERE id = $1`, id, tx.Actor, tx.Now); err != nil {
			return err
		}
		was := b.State
		starter := billing.UserID(tx.Actor)
		b.State, b.StartedBy, b.StartedAt = billing.BatchRunning, &starter, &tx.Now
		return tx.Journal(ctx, Entry{Site: b.Site, Kind: "batch", ID: string(id), Event: "batch_started", From: string(was), To: string(b.State), Data: map[string]any{"meters": pending}})
	})
	return b, err
}

func batchIs(b Batch) error {
	return billing.Errorf(billing.CodeClosed, "batch %s is %s already: nothing was changed", b.ID, b.State)
}

// CancelBatch ends a batch: what wasn't sent is not sent any more. What is out already is settled by its read-back. A batch that has
// ended stays as it is.
func (s *Store) CancelBatch(ctx context.Context, by By, id billing.BatchID, reason string) (Batch, error) {
	return s.endBatch(ctx, by, id, func(ctx context.Context, tx *Tx, b Batch) (billing.BatchState, string, error) {
		if b.State.Final() {
			return "", "", batchIs(b)
		}
		_, err := tx.Exec(ctx, `UPDATE batch_members SET state = 'cancelled', settled_at = $2 WHERE batch_id = $1 AND state = 'pending'`, id, tx.Now)
		return billing.BatchCancelled, reason, err
	})
}

// FinishBatch ends a running batch that has nothing left to order; one that has, or has ended, stays as it is.
func (s *Store) FinishBatch(ctx context.Context, by By, id billing.BatchID) (Batch, error) {
	return s.endBatch(ctx, by, id, func(ctx context.Context, tx *Tx, b Batch) (billing.BatchState, string, error) {
		var open bool
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM batch_members WHERE batch_id = $1 AND state IN ('pending', 'sending'))`, id).Scan(&open)
		if err != nil || open || b.State != billing.BatchRunning {
			return "", "", err
		}
		return billing.BatchDone, "", nil
	})
}

// endBatch locks a batch and moves it to the state that decide gives; an empty one leaves it.
func (s *Store) endBatch(ctx context.Context, by By, id billing.BatchID, decide func(context.Context, *Tx, Batch) (billing.BatchState, string, error)) (Batch, error) {
	var b Batch
	err := s.Change(ctx, by, func(tx *Tx) error {
		var err error
		if b, err = readBatch(ctx, tx, id, " FOR UPDATE"); err != nil {
			return err
		}
		to, reason, err := decide(ctx, tx, b)
		if err != nil || to == "" {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE batches SET state = $2, ended_by = $3, ended_at = $4, end_reason = $5 WHERE id = $1`, id, to, tx.Actor, tx.Now, reason); err != nil {
			return err
		}
		counts, err := batchCounts(ctx, tx, id)
		if err != nil {
			return err
		}
		was, ender := b.State, billing.UserID(tx.Actor)
		b.State, b.EndedBy, b.EndedAt, b.EndReason = to, &ender, &tx.Now, reason
		return tx.Journal(ctx, Entry{Site: b.Site, Kind: "batch", ID: string(id), Event: "batch_" + string(to), From: string(was), To: string(to), Reason: reason, Data: map[string]any{"counts": counts}})
	})
	return b, err
}

// BatchCounts counts the members of a batch by state.
func (s *Store) BatchCounts(ctx context.Context, id billing.BatchID) (map[billing.MemberState]int, error) {
	counts, err := batchCounts(ctx, s.Pool, id)
	return counts, translate(err)
}

func batchCounts(ctx context.Context, q querier, id billing.BatchID) (map[billing.MemberState]int, error) {
	rows, err := q.Query(ctx, `SELECT state, count(*) FROM batch_members WHERE batch_id = $1 GROUP BY state`, id)
	if err != nil {
		return nil, err
	}
	counts := map[billing.MemberState]int{}
	var state billing.MemberState
	var n int
	_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error {
		counts[state] = n
		return nil
	})
	return counts, err
}

// BatchScope says which fitted meters of a site a batch is about. Numbers that are given are all of it; else the other fields narrow
// the site down, and empty ones don't.
type BatchScope struct {
	Site    billing.SiteID
	Gateway billing.GatewayID
	Service billing.Service
	Address string // part of the service point's address: an area, a building
	Meters  []billing.MeterID
}

// BatchFacts is what is known of a meter when a batch asks whether it may be worked on. Package activities judges it.
type BatchFacts struct {
	Meter      billing.MeterID    `db:"meter_id"`
	Account    *billing.AccountID `db:"account_id"`
	Gateway    billing.GatewayID  `db:"gateway_id"`
	Profile    string
	Service    billing.Service
	CreditMode billing.CreditMode
	Tariff     billing.TariffID `db:"tariff_id"`
	BalanceFen billing.Money
	CutLimit   billing.Money `db:"cut_limit_fen"`
	Supply     billing.SupplyState
	Wanted     billing.SupplyState
	Guarded    bool
	HeldBy     billing.BatchID
	Protected  bool   // a protection stands, or the customer's life depends on it
	Arrears    bool   // an arrears case is open
	Silent     bool   // an open case says that it doesn't answer
	PricePush  bool   // the change of prices that is in force is on its way into it, or failed to get there
	SwitchOpen bool   // another switching command is out
	SetOpen    bool   // another setting is out
	SetToday   bool   // its clock was set, or may have been, on this day of its site
	Allowed    []int  // versions of its register map with which an allowance lets commands reach it now
	LastRead   string // supply as its newest reading showed it; empty when there is none
	SkewS      *int   // how far its clock was ahead at its newest reading, in seconds; nil when it showed none
}

// CommandsAllowed refuses (billing.CodeBlocked) unless an allowance stood for this version of the meter's map when the facts were read.
func (f BatchFacts) CommandsAllowed(mapVersion int) error {
	if !slices.Contains(f.Allowed, mapVersion) {
		return notAllowed(f.Profile)
	}
	return nil
}

// factsOfMeters is the one question behind the preview and the last look before an order. %s chooses the meters m.
const factsOfMeters = `SELECT m.id AS meter_id, a.id AS account_id, m.gateway_id, m.profile, m.service, coalesce(a.credit_mode, '') AS credit_mode, coalesce(account_tariff_now(a.id), '') AS tariff_id,
		coalesce(b.balance_fen, 0) AS balance_fen, coalesce(a.cut_limit_fen, 0) AS cut_limit_fen, coalesce(s.state, 'unknown') AS supply, coalesce(s.wanted, 'on') AS wanted,
		coalesce(s.guarded, false) AS guarded, coalesce(s.held_by, '') AS held_by,
		coalesce(c.life_support, false) OR EXISTS (SELECT 1 FROM protections p WHERE p.account_id = a.id AND p.ended_at IS NULL AND p.from_at <= business_now() AND p.until_at > business_now()) AS protected,
		EXISTS (SELECT 1 FROM reminders n WHERE n.account_id = a.id AND n.state IN ` + openReminderStates + `) AS arrears,
		EXISTS (SELECT 1 FROM case_members x JOIN cases k ON k.id = x.case_id WHERE x.meter_id = m.id AND x.outcome = '' AND k.state = 'open' AND k.kind IN ('missing', 'gateway_silent')) AS silent,
		EXISTS (SELECT 1 FROM tariff_pushes t WHERE t.meter_id = m.id AND ` + openPush + ` AND tariff_push_stands(t)) AS price_push,
		EXISTS (SELECT 1 FROM commands d WHERE d.meter_id = m.id AND d.kind IN ` + switchKinds + ` AND d.state IN ('requested', 'sending', 'acknowledged')) AS switch_open,
		EXISTS (SELECT 1 FROM commands d WHERE d.meter_id = m.id AND d.kind IN ('set_prices', 'set_clock') AND d.state IN ('requested', 'sending', 'acknowledged')) AS set_open,
		EXISTS (SELECT 1 FROM commands d WHERE d.meter_id = m.id AND d.kind = 'set_clock' AND (d.sent_at AT TIME ZONE y.time_zone)::date = (business_now() AT TIME ZONE y.time_zone)::date) AS set_today,
		ARRAY(SELECT a.profile_version FROM command_allowances a WHERE ` + standingAllowance + `) AS allowed,
		coalesce((SELECT r.supply FROM current_readings r WHERE r.meter_id = m.id ORDER BY r.freeze_at DESC LIMIT 1), '') AS last_read,
		(SELECT r.clock_skew_s FROM current_readings r WHERE r.meter_id = m.id AND r.clock_skew_s IS NOT NULL ORDER BY r.freeze_at DESC LIMIT 1) AS skew_s
	FROM meters m JOIN sites y ON y.id = m.site_id LEFT JOIN fittings f ON f.meter_id = m.id AND f.to_at IS NULL LEFT JOIN service_points o ON o.id = f.service_point_id
	LEFT JOIN accounts a ON a.service_point_id = f.service_point_id LEFT JOIN customers c ON c.id = a.customer_id LEFT JOIN balances b ON b.account_id = a.id
	LEFT JOIN supplies s ON s.account_id = a.id WHERE %s ORDER BY m.gateway_id, m.id`

// BatchFacts gathers the facts about the meters of a scope, by gateway and meter. A number that is not one of the site's fitted meters
// is refused, and so is a scope in which there are none.
func (s *Store) BatchFacts(ctx context.Context, scope BatchScope, limit int) ([]BatchFacts, error) {
	rows, _ := s.Pool.Query(ctx, fmt.Sprintf(factsOfMeters, `m.site_id = $1 AND m.state = 'fitted' AND CASE WHEN cardinality($2::text[]) > 0 THEN m.id = ANY($2)
		ELSE ($3 = '' OR m.gateway_id = $3) AND ($4 = '' OR m.service = $4) AND ($5 = '' OR strpos(lower(coalesce(o.address, '')), lower($5)) > 0) END`)+` LIMIT $6`,
		scope.Site, append([]billing.MeterID{}, scope.Meters...), scope.Gateway, scope.Service, strings.TrimSpace(scope.Address), limit+1)
	facts, err := pgx.CollectRows(rows, pgx.RowToStructByName[BatchFacts])
	if err != nil {
		return nil, translate(err)
	}
	found := map[billing.MeterID]bool{}
	for _, f := range facts {
		found[f.Meter] = true
	}
	for _, id := range scope.Meters {
		if !found[id] && len(facts) <= limit {
			return nil, billing.Errorf(billing.CodeInvalidInput, "meter %s is not one of the fitted meters of site %s: take it off the list; nothing was sent", id, scope.Site)
		}
	}
	switch {
	case len(facts) > limit:
		return nil, billing.Errorf(billing.CodeInvalidInput, "a batch takes at most %d meters: narrow the choice", limit)
	case len(facts) == 0:
		return nil, billing.Errorf(billing.CodeInvalidInput, "no meter fits this choice: choose another gateway, address or service")
	}
	return facts, nil
}

// DueClocks gives the facts of the meters whose clock was more than over seconds off in the closed cycle of the day, and the number of the
// batch that is to follow; none when that batch exists. Whether a clock is to be set is judged elsewhere.
func (s *Store) DueClocks(ctx context.Context, site Site, now time.Time, over int) (billing.BatchID, []BatchFacts, error) {
	today := billing.DateOf(now, site.Zone)
	id := billing.BatchID("B-" + string(site.ID) + "-" + today.String())
	rows, _ := s.Pool.Query(ctx, fmt.Sprintf(factsOfMeters, `m.site_id = $1 AND m.state = 'fitted' AND m.id IN (
			SELECT r.meter_id FROM cycles k JOIN current_readings r ON r.freeze_at = k.freeze_at WHERE k.id = $2 AND k.state = 'closed' AND abs(r.clock_skew_s) > $3)
		AND NOT EXISTS (SELECT 1 FROM batches z WHERE z.id = $4)`), site.ID, string(site.ID)+"/"+today.String(), over, id)
	facts, err := pgx.CollectRows(rows, pgx.RowToStructByName[BatchFacts])
	return id, facts, translate(err)
}

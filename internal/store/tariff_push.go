package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// KindPricesNotSet is the kind of the case of a gateway whose meters didn't take new prices.
const KindPricesNotSet = "prices_not_set"

// TariffPush is the way of new prices into one meter that deducts by itself.
type TariffPush struct {
	ID        string                 // '<change>/<meter>'
	Change    billing.TariffChangeID `db:"change_id"`
	Meter     billing.MeterID        `db:"meter_id"`
	Account   billing.AccountID      `db:"account_id"`
	Site      billing.SiteID         `db:"site_id"`
	Gateway   billing.GatewayID      `db:"gateway_id"`
	State     billing.PushState
	DueAt     time.Time // first instant of the new prices
	OldPrices []int64   // sharp, peak, flat, valley, deep valley; yuan × 10^8
	Prices    []int64
	Attempts  int
	Error     string
	SentAt    *time.Time // business instant of the write; nil when none left for the meter
	SentReal  *time.Time
	Registers billing.Registers // what the meter showed just before the write; nil like SentAt
	Arrived   *bool             // of one that was sent and not proved: whether the meter was found to hold its prices before later ones were written
	Frames    json.RawMessage
	SettledAt *time.Time
	Case      *billing.CaseID `db:"case_id"`
}

const pushColumns = `p.id, p.change_id, p.meter_id, p.account_id, p.site_id, p.gateway_id, p.state, p.due_at, p.old_prices, p.prices, p.attempts, p.error,
	p.sent_at, p.sent_real, p.registers, p.arrived, p.frames, p.settled_at, p.case_id`

// openPush is billing.PushState.Open in SQL.
const openPush = `(state <> 'verified' AND state <> 'overtaken')`

// Held says that the meter is known to have held the prices from the write on.
func (p TariffPush) Held() bool {
	return p.State == billing.PushVerified || p.Arrived != nil && *p.Arrived
}

// Lost says that the prices were sent, and that the meter is known not to have got them.
func (p TariffPush) Lost() bool { return p.Arrived != nil && !*p.Arrived }

func (p TariffPush) refs() []string {
	return []string{string(p.Change), string(p.Meter), string(p.Account)}
}

// PushesOf reads the newest price changes of a meter.
func (s *Store) PushesOf(ctx context.Context, meter billing.MeterID, limit int) ([]TariffPush, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+pushColumns+` FROM tariff_pushes p WHERE p.meter_id = $1 ORDER BY p.due_at DESC, p.id DESC LIMIT $2`, meter, limit)
	ps, err := pgx.CollectRows(rows, pgx.RowToStructByName[TariffPush])
	return ps, translate(err)
}

// PushTarget is a meter that holds its own credit on the tariff of a change.
type PushTarget struct {
	Meter   billing.MeterID
	Account billing.AccountID
	Site    billing.SiteID
	Gateway billing.GatewayID
	Profile string
}

// PushTargets are the fitted meters of meter-credit accounts on a tariff, at the given sites, by id.
func (s *Store) PushTargets(ctx context.Context, tariff billing.TariffID, sites []billing.SiteID) ([]PushTarget, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT m.id, a.id, a.site_id, m.gateway_id, m.profile
		FROM accounts a JOIN fittings f ON f.service_point_id = a.service_point_id AND f.to_at IS NULL JOIN meters m ON m.id = f.meter_id
		WHERE a.id IN (SELECT account_id FROM tariff_uses WHERE tariff_id = $1) AND a.credit_mode = 'meter' AND a.site_id = ANY($2) ORDER BY m.id`, tariff, sites)
	targets, err := pgx.CollectRows(rows, pgx.RowToStructByPos[PushTarget])
	return targets, translate(err)
}

// BeginPushes lists the meters that must get the prices of a change at one instant. Listing them again changes nothing.
func (s *Store) BeginPushes(ctx context.Context, by By, change billing.TariffChangeID, dueAt time.Time, old, prices [5]int64, targets []PushTarget) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		for _, t := range targets {
			p := TariffPush{Change: change, Meter: t.Meter, Account: t.Account}
			tag, err := tx.Exec(ctx, `INSERT INTO tariff_pushes (change_id, meter_id, account_id, site_id, gateway_id, state, due_at, old_prices, prices)
				VALUES ($1, $2, $3, $4, $5, 'waiting', $6, $7, $8) ON CONFLICT DO NOTHING`, change, t.Meter, t.Account, t.Site, t.Gateway, dueAt, old[:], prices[:])
			if err != nil {
				return err
			}
			if tag.RowsAffected() == 0 {
				continue
			}
			if err := tx.Journal(ctx, Entry{Site: t.Site, Kind: "price_push", ID: string(change) + "/" + string(t.Meter), Event: "price_push_planned", To: string(billing.PushWaiting),
				Refs: p.refs(), Data: map[string]any{"prices": prices, "before": old}}); err != nil {
				return err
			}
		}
		return nil
	})
}

// PushGateways are the gateways of a change whose meters have had fewer attempts than the round and don't hold the prices yet.
func (s *Store) PushGateways(ctx context.Context, change billing.TariffChangeID, round int) ([]billing.GatewayID, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT DISTINCT gateway_id FROM tariff_pushes WHERE change_id = $1 AND `+openPush+` AND attempts < $2 ORDER BY gateway_id`, change, round)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[billing.GatewayID])
	return ids, translate(err)
}

// PushPage reads the meters of one gateway that are to be tried in this round, by meter.
func (s *Store) PushPage(ctx context.Context, change billing.TariffChangeID, gateway billing.GatewayID, round, limit int) ([]TariffPush, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+pushColumns+` FROM tariff_pushes p WHERE p.change_id = $1 AND p.gateway_id = $2 AND `+openPush+` AND p.attempts < $3
		ORDER BY p.meter_id LIMIT $4`, change, gateway, round, limit)
	ps, err := pgx.CollectRows(rows, pgx.RowToStructByName[TariffPush])
	return ps, translate(err)
}

// Pushes reads the pushes of a change, those that are still to be tried first. state filters unless it is empty.
func (s *Store) Pushes(ctx context.Context, change billing.TariffChangeID, state string, limit, offset int) ([]TariffPush, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+pushColumns+` FROM tariff_pushes p WHERE p.change_id = $1 AND ($2 = '' OR p.state = $2)
		ORDER BY NOT `+openPush+`, p.gateway_id, p.meter_id LIMIT $3 OFFSET $4`, change, state, limit, offset)
	ps, err := pgx.CollectRows(rows, pgx.RowToStructByName[TariffPush])
	return ps, translate(err)
}

// PushCounts counts the pushes of a change by state.
func (s *Store) PushCounts(ctx context.Context, change billing.TariffChangeID) (map[billing.PushState]int, error) {
	rows, err := s.Pool.Query(ctx, `SELECT state, count(*) FROM tariff_pushes WHERE change_id = $1 GROUP BY state`, change)
	if err != nil {
		return nil, translate(err)
	}
	counts := map[billing.PushState]int{}
	var state billing.PushState
	var n int
	_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error {
		counts[state] = n
		return nil
	})
	return counts, translate(err)
}

func lockPush(ctx context.Context, tx *Tx, id string) (TariffPush, error) {
	rows, _ := tx.Query(ctx, `SELECT `+pushColumns+` FROM tariff_pushes p WHERE p.id = $1 FOR UPDATE`, id)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[TariffPush])
}

// PushStands says whether the prices of a push are those in force today for the account that its meter measures.
func (s *Store) PushStands(ctx context.Context, id string) (bool, error) {
	stands, err := pushStands(ctx, s.Pool, id)
	return stands, translate(err)
}

func pushStands(ctx context.Context, q querier, id string) (stands bool, err error) {
	err = q.QueryRow(ctx, `SELECT tariff_push_stands(p) FROM tariff_pushes p WHERE p.id = $1`, id).Scan(&stands)
	return stands, err
}

// MarkPushSending notes that prices leave for a meter now, with what it shows: up to here it charged by its old prices.
// sentReal is real time. It is the last word: billing.CodeStale comes when other prices are in force for the meter's account.
func (s *Store) MarkPushSending(ctx context.Context, by By, id string, registers []int64, sentReal time.Time) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		p, err := lockPush(ctx, tx, id)
		if err != nil {
			return err
		}
		if p.State == billing.PushVerified {
			return billing.Errorf(billing.CodeClosed, "meter %s holds these prices already", p.Meter)
		}
		stands, err := pushStands(ctx, tx, id)
		if err != nil {
			return err
		}
		if !stands || p.State == billing.PushOvertaken {
			return billing.Errorf(billing.CodeStale, "%s", PricesOvertaken)
		}
		_, err = tx.Exec(ctx, `UPDATE tariff_pushes SET state = 'sending', registers = $2, sent_at = $3, sent_real = $4 WHERE id = $1`, id, registers, tx.Now, sentReal)
		if err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: p.Site, Kind: "price_push", ID: id, Event: "price_push_sending", From: string(p.State), To: string(billing.PushSending), Refs: p.refs(),
			Data: map[string]any{"registers": registers}})
	})
}

// PricesOvertaken is why prices are not written any more.
const PricesOvertaken = "other prices are in force for this meter now: these are not written"

// PushOutcome is what an attempt to set prices came to. Frames are nil when nothing was sent.
type PushOutcome struct {
	Verified  bool
	Overtaken bool // other prices are in force: nothing was sent, and nothing will be
	Error     string
	Before    []int64 // the prices that the meter held before this attempt, yuan × 10^8; nil when they were not read
	Frames    json.RawMessage
}

// SettlePush records what an attempt came to. A case of the meter's gateway ends with the last of its meters: proved, or overtaken by other prices.
func (s *Store) SettlePush(ctx context.Context, by By, id string, round int, o PushOutcome) (settled billing.CaseID, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		p, err := lockPush(ctx, tx, id)
		if err != nil {
			return err
		}
		if !p.State.Open() || p.Attempts >= round {
			return nil // recorded before; only the answer was lost
		}
		to, event := billing.PushFailed, "price_push_failed"
		switch {
		case o.Verified:
			to, event = billing.PushVerified, "price_push_verified"
		case o.Overtaken:
			to, event, o.Error = billing.PushOvertaken, "price_push_overtaken", PricesOvertaken
		}
		_, err = tx.Exec(ctx, `UPDATE tariff_pushes SET state = $2, attempts = $3, error = $4, frames = coalesce($5, frames), settled_at = CASE WHEN $2 <> 'failed' THEN $6::timestamptz END WHERE id = $1`,
			id, to, round, o.Error, nullJSON(o.Frames), tx.Now)
		if err != nil {
			return err
		}
		if err := tx.Journal(ctx, Entry{Site: p.Site, Kind: "price_push", ID: id, Event: event, From: string(p.State), To: string(to), Refs: p.refs(), Reason: o.Error,
			Data: map[string]any{"attempt": round, "before": o.Before}}); err != nil {
			return err
		}
		if o.Before != nil {
			_, err := tx.Exec(ctx, `UPDATE tariff_pushes SET arrived = (prices = $3::bigint[]) WHERE meter_id = $1 AND id <> $2 AND due_at < $4 AND registers IS NOT NULL AND state <> 'verified' AND arrived IS NULL`,
				p.Meter, id, o.Before, p.DueAt)
			if err != nil {
				return err
			}
		}
		if to.Open() || p.Case == nil {
			return nil
		}
		settled, err = endPushCase(ctx, tx, p)
		return err
	})
	return settled, err
}

func nullJSON(raw json.RawMessage) *string {
	if len(raw) == 0 {
		return nil
	}
	text := string(raw)
	return &text
}

func endPushCase(ctx context.Context, tx *Tx, p TariffPush) (billing.CaseID, error) {
	var left int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM tariff_pushes WHERE case_id = $1 AND `+openPush, *p.Case).Scan(&left); err != nil || left > 0 {
		return "", err
	}
	return settleCase(ctx, tx, pushCause(p.Change, p.Gateway), "accept", "the meters hold the new prices, read back, or others are in force for them")
}

func pushCause(change billing.TariffChangeID, gateway billing.GatewayID) string {
	return "tariff/" + string(change) + "/" + string(gateway)
}

// OpenPushCases opens a case per gateway that has failed meters without one. It gives the cases of the change that are open.
func (s *Store) OpenPushCases(ctx context.Context, by By, change billing.TariffChangeID, dueAfter time.Duration) (open []billing.CaseID, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		rows, _ := tx.Query(ctx, `SELECT `+pushColumns+` FROM tariff_pushes p WHERE p.change_id = $1 AND p.state = 'failed' AND p.case_id IS NULL ORDER BY p.gateway_id, p.meter_id FOR UPDATE`, change)
		failed, err := pgx.CollectRows(rows, pgx.RowToStructByName[TariffPush])
		if err != nil {
			return err
		}
		for len(failed) > 0 {
			n := 1
			for n < len(failed) && failed[n].Gateway == failed[0].Gateway {
				n++
			}
			if err := openPushCase(ctx, tx, failed[:n], dueAfter); err != nil {
				return err
			}
			failed = failed[n:]
		}
		rows, _ = tx.Query(ctx, `SELECT DISTINCT k.id FROM cases k JOIN tariff_pushes p ON p.case_id = k.id WHERE p.change_id = $1 AND k.state = 'open' ORDER BY k.id`, change)
		open, err = pgx.CollectRows(rows, pgx.RowTo[billing.CaseID])
		return err
	})
	return open, err
}

// openPushCase opens the one case of a gateway's failed meters.
func openPushCase(ctx context.Context, tx *Tx, failed []TariffPush, dueAfter time.Duration) error {
	first := failed[0]
	n := NewCase{Site: first.Site, Kind: KindPricesNotSet, Cause: pushCause(first.Change, first.Gateway), Gateway: &first.Gateway, DueAfter: dueAfter, Refs: []string{string(first.Change)}}
	ids := make([]string, len(failed))
	for i, p := range failed {
		ids[i] = p.ID
		n.Refs = append(n.Refs, string(p.Meter), string(p.Account))
	}
	if len(failed) == 1 {
		n.Meter, n.Account = &first.Meter, &first.Account
	}
	id, _, err := OpenCase(ctx, tx, n)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE tariff_pushes SET case_id = $2 WHERE id = ANY($1)`, ids, id)
	return err
}

// PriceWritesOf reads, for the given meters, every push whose prices are due at an instant, oldest first: what explains that a meter
// has deducted by other prices than the bill.
func (s *Store) PriceWritesOf(ctx context.Context, meters []billing.MeterID, at time.Time) (map[billing.MeterID][]TariffPush, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+pushColumns+` FROM tariff_pushes p WHERE p.meter_id = ANY($1) AND p.due_at < $2 ORDER BY p.meter_id, p.due_at`, meters, at)
	ps, err := pgx.CollectRows(rows, pgx.RowToStructByName[TariffPush])
	by := map[billing.MeterID][]TariffPush{}
	for _, p := range ps {
		by[p.Meter] = append(by[p.Meter], p)
	}
	return by, translate(err)
}

// NextPushRound numbers the next round of tries: one more than any meter of the change that is left has had.
func (s *Store) NextPushRound(ctx context.Context, change billing.TariffChangeID) (int, error) {
	var round int
	err := s.Pool.QueryRow(ctx, `SELECT coalesce(max(attempts), 0) + 1 FROM tariff_pushes WHERE change_id = $1 AND `+openPush, change).Scan(&round)
	return round, translate(err)
}

// NotePushAsked says in the journal that a person wants the meters that are left to be tried now; without any it is refused.
func (s *Store) NotePushAsked(ctx context.Context, by By, change billing.TariffChangeID) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		c, err := lockTariffChange(ctx, tx, change)
		if err != nil {
			return err
		}
		var left int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM tariff_pushes WHERE change_id = $1 AND `+openPush, change).Scan(&left); err != nil {
			return err
		}
		if left == 0 {
			return billing.Errorf(billing.CodeClosed, "no meter waits for these prices")
		}
		return tx.Journal(ctx, Entry{Site: "-", Kind: "tariff_change", ID: string(change), Event: "push_asked", From: string(c.State), To: string(c.State), Refs: c.refs(), Data: map[string]any{"left": left}})
	})
}

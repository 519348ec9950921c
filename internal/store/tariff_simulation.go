package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// TariffSimulation says what a revision of a change would have meant for a month's real use. Nothing is posted by it.
type TariffSimulation struct {
	ID        int64
	Change    billing.TariffChangeID `db:"change_id"`
	Revision  int
	Tariff    billing.TariffID `db:"tariff_id"` // whose accounts, now or from a later day on, were taken
	Sample    int              // how many accounts at most; 0: all
	From      billing.Date     `db:"period_from"`
	To        billing.Date     `db:"period_to"`
	State     string           // running, done, failed
	Planned   int
	Done      int
	Skipped   int // accounts whose readings don't carry the period
	BeforeFen billing.Money
	AfterFen  billing.Money
	Error     string
	AskedBy   billing.UserID
	AskedAt   time.Time
	EndedAt   *time.Time
}

const selectSimulation = `SELECT id, change_id, revision, tariff_id, sample, period_from, period_to, state, planned, done, skipped, before_fen, after_fen, error,
	asked_by, asked_at, ended_at FROM tariff_simulations`

// TariffSimulation reads one simulation.
func (s *Store) TariffSimulation(ctx context.Context, id int64) (TariffSimulation, error) {
	rows, _ := s.Pool.Query(ctx, selectSimulation+` WHERE id = $1`, id)
	sim, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[TariffSimulation])
	return sim, translate(err)
}

// LatestSimulation reads the newest simulation of a change; nil when there is none.
func (s *Store) LatestSimulation(ctx context.Context, change billing.TariffChangeID) (*TariffSimulation, error) {
	rows, _ := s.Pool.Query(ctx, selectSimulation+` WHERE change_id = $1 ORDER BY id DESC LIMIT 1`, change)
	sim, err := optional[TariffSimulation](rows)
	return sim, translate(err)
}

// NewSimulation asks for a simulation of the present revision of a change.
type NewSimulation struct {
	Change billing.TariffChangeID
	Tariff billing.TariffID // empty: the change's own
	Sample int
	Period billing.Period
	By     billing.UserID
}

// OpenSimulation begins a simulation and plans how many accounts it takes.
func (s *Store) OpenSimulation(ctx context.Context, by By, n NewSimulation) (sim TariffSimulation, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		c, err := lockTariffChange(ctx, tx, n.Change)
		if err != nil {
			return err
		}
		if !c.State.Open() {
			return billing.Errorf(billing.CodeClosed, "this change is %s: only what is not published can be simulated", spaced(c.State))
		}
		if n.Tariff == "" {
			n.Tariff = c.Tariff
		}
		var service billing.Service
		err = tx.QueryRow(ctx, `SELECT service FROM tariffs WHERE id = $1`, n.Tariff).Scan(&service)
		if err == pgx.ErrNoRows {
			return billing.Errorf(billing.CodeNotFound, "nobody uses tariff %s yet: simulate the change on the accounts of another tariff", n.Tariff)
		}
		if err == nil && service != c.Service {
			err = billing.Errorf(billing.CodeInvalidInput, "tariff %s is for %s, this change for %s: choose one of the same service", n.Tariff, service, c.Service)
		}
		if err != nil {
			return err
		}
		var id int64
		err = tx.QueryRow(ctx, `INSERT INTO tariff_simulations (change_id, revision, tariff_id, sample, period_from, period_to, state, planned, asked_by, asked_at)
			SELECT $1, $2, $3, $4::int, $5, $6, 'running', CASE WHEN $4::int = 0 THEN count(*) ELSE least(count(*), $4::int) END, $7, $8
			FROM (SELECT DISTINCT account_id FROM tariff_uses WHERE tariff_id = $3) a RETURNING id`,
			c.ID, c.Revision, n.Tariff, n.Sample, n.Period.From, n.Period.To, n.By, tx.Now).Scan(&id)
		if err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, selectSimulation+` WHERE id = $1`, id)
		if sim, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[TariffSimulation]); err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: "-", Kind: "tariff_change", ID: string(c.ID), Event: "simulation_started", From: string(c.State), To: string(c.State), Actor: string(n.By), Refs: c.refs(),
			Data: map[string]any{"revision": c.Revision, "accounts_of": n.Tariff, "accounts": sim.Planned, "from": n.Period.From, "to": n.Period.To}})
	})
	return sim, err
}

// SimulationSites are the sites whose accounts a simulation takes, by id.
func (s *Store) SimulationSites(ctx context.Context, sim TariffSimulation) ([]billing.SiteID, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT DISTINCT site_id FROM tariff_uses WHERE tariff_id = $1 ORDER BY site_id`, sim.Tariff)
	sites, err := pgx.CollectRows(rows, pgx.RowTo[billing.SiteID])
	return sites, translate(err)
}

// SimulatedAccounts reads a page of a simulation's accounts at one site, by id. A sample is spread evenly over all accounts by number,
// so that the same question takes the same ones.
func (s *Store) SimulatedAccounts(ctx context.Context, sim TariffSimulation, site billing.SiteID, after billing.AccountID, limit int) ([]MeteredAccount, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT id FROM (SELECT id, site_id, row_number() OVER (ORDER BY id) AS n, count(*) OVER () AS of
			FROM (SELECT DISTINCT account_id AS id, site_id FROM tariff_uses WHERE tariff_id = $1) u) a
		WHERE site_id = $2 AND id > $3 AND ($4::bigint = 0 OR (n * $4) / of > ((n - 1) * $4) / of) ORDER BY id LIMIT $5`, sim.Tariff, site, after, sim.Sample, limit)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[billing.AccountID])
	if err != nil || len(ids) == 0 {
		return nil, translate(err)
	}
	return s.MeteredAccountsOf(ctx, ids)
}

// SimulatedAccount is what one account's real use costs by the prices now and by the draft.
type SimulatedAccount struct {
	Account   billing.AccountID `db:"account_id"`
	Site      billing.SiteID    `db:"site_id"`
	Quantity  int64             // raw units after the ratio
	Days      int
	BeforeFen billing.Money
	AfterFen  billing.Money
}

// SaveSimulationPage stores a page of results; accounts that are stored already count once.
func (s *Store) SaveSimulationPage(ctx context.Context, id int64, page []SimulatedAccount) error {
	n := len(page)
	accounts, sites, quantities, days, before, after := make([]string, n), make([]string, n), make([]int64, n), make([]int32, n), make([]int64, n), make([]int64, n)
	for i, a := range page {
		accounts[i], sites[i], quantities[i], days[i], before[i], after[i] = string(a.Account), string(a.Site), a.Quantity, int32(a.Days), int64(a.BeforeFen), int64(a.AfterFen)
	}
	_, err := s.Pool.Exec(ctx, `WITH added AS (
			INSERT INTO tariff_simulation_accounts (simulation_id, account_id, site_id, quantity, days, before_fen, after_fen)
			SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::int[], $6::bigint[], $7::bigint[]) ON CONFLICT DO NOTHING RETURNING before_fen, after_fen)
		UPDATE tariff_simulations SET done = done + t.n, before_fen = before_fen + t.before, after_fen = after_fen + t.after
		FROM (SELECT count(*) AS n, coalesce(sum(before_fen), 0)::bigint AS before, coalesce(sum(after_fen), 0)::bigint AS after FROM added) t WHERE id = $1 AND state = 'running'`,
		id, accounts, sites, quantities, days, before, after)
	return translate(err)
}

// EndSimulation closes a simulation; failure is empty when it is done. Accounts that were planned and have no result were skipped.
func (s *Store) EndSimulation(ctx context.Context, by By, id int64, failure string) (sim TariffSimulation, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		state := "done"
		if failure != "" {
			state = "failed"
		}
		_, err := tx.Exec(ctx, `UPDATE tariff_simulations SET state = $2, error = $3, ended_at = $4, skipped = planned - done WHERE id = $1 AND state = 'running'`, id, state, failure, tx.Now)
		if err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, selectSimulation+` WHERE id = $1`, id)
		if sim, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[TariffSimulation]); err != nil || !sim.EndedAt.Equal(tx.Now) {
			return err
		}
		c, err := lockTariffChange(ctx, tx, sim.Change)
		if err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: "-", Kind: "tariff_change", ID: string(c.ID), Event: "simulated", From: string(c.State), To: string(c.State), Refs: c.refs(), Reason: failure,
			Data: map[string]any{"revision": sim.Revision, "accounts": sim.Done, "skipped": sim.Skipped, "before_fen": sim.BeforeFen, "after_fen": sim.AfterFen}})
	})
	return sim, err
}

// LargestChanges lists the accounts of a simulation whose amount changes most, up or down.
func (s *Store) LargestChanges(ctx context.Context, id int64, sites []billing.SiteID, limit, offset int) ([]SimulatedAccount, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT account_id, site_id, quantity, days, before_fen, after_fen FROM tariff_simulation_accounts
		WHERE simulation_id = $1 AND site_id = ANY($2) ORDER BY abs(after_fen - before_fen) DESC, account_id LIMIT $3 OFFSET $4`, id, sites, limit, offset)
	as, err := pgx.CollectRows(rows, pgx.RowToStructByName[SimulatedAccount])
	return as, translate(err)
}

// ChangeBucket counts the accounts whose amount changes by at least From and less than To, in percent; nil is without limit.
type ChangeBucket struct {
	From, To *int
	Accounts int
	Fen      billing.Money // by which they change together
}

// bucketEdges part the distribution of changes, in percent.
var bucketEdges = []int{-20, -10, -5, -1, 1, 5, 10, 20}

// Distribution sorts a simulation's accounts by how much their amount changes. Those that paid nothing before are among the largest
// rises when they would pay something now, and unchanged otherwise.
func (s *Store) Distribution(ctx context.Context, id int64) ([]ChangeBucket, error) {
	buckets := make([]ChangeBucket, len(bucketEdges)+1)
	for i := range buckets {
		if i > 0 {
			buckets[i].From = &bucketEdges[i-1]
		}
		if i < len(bucketEdges) {
			buckets[i].To = &bucketEdges[i]
		}
	}
	rows, err := s.Pool.Query(ctx, `SELECT width_bucket(CASE WHEN before_fen <> 0 THEN (after_fen - before_fen) * 100::numeric / before_fen WHEN after_fen = 0 THEN 0 ELSE 1e9 END, $2::numeric[]),
			count(*), sum(after_fen - before_fen)::bigint FROM tariff_simulation_accounts WHERE simulation_id = $1 GROUP BY 1`, id, bucketEdges)
	if err != nil {
		return nil, translate(err)
	}
	var at, n int
	var fen billing.Money
	_, err = pgx.ForEachRow(rows, []any{&at, &n, &fen}, func() error {
		buckets[at].Accounts, buckets[at].Fen = n, fen
		return nil
	})
	return buckets, translate(err)
}

// FirstOpened is the day on which the oldest of the accounts was opened that have a tariff now or from a later day on; zero without any.
func (s *Store) FirstOpened(ctx context.Context, tariff billing.TariffID) (billing.Date, error) {
	var day billing.Date
	err := s.Pool.QueryRow(ctx, `SELECT min(opened_on) FROM accounts WHERE id IN (SELECT account_id FROM tariff_uses WHERE tariff_id = $1)`, tariff).Scan(&day)
	return day, translate(err)
}

package store

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Run is all bills of one site and period, verified and then issued together.
type Run struct {
	ID         billing.RunID
	Site       billing.SiteID `db:"site_id"`
	PeriodFrom billing.Date
	PeriodTo   billing.Date
	Version    int
	State      billing.RunState
	Totals     json.RawMessage // RunTotals
	OpenedAt   time.Time
	OpenedBy   string
	VerifiedBy *billing.UserID
	VerifiedAt *time.Time
	IssuedBy   *billing.UserID
	IssuedAt   *time.Time
}

const runColumns = `r.id, r.site_id, r.period_from, r.period_to, r.version, r.state, r.totals, r.opened_at, r.opened_by, r.verified_by, r.verified_at, r.issued_by, r.issued_at`

// Period is the run's span of days.
func (r Run) Period() billing.Period { return billing.Period{From: r.PeriodFrom, To: r.PeriodTo} }

// Run reads one billing run.
func (s *Store) Run(ctx context.Context, id billing.RunID) (Run, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+runColumns+` FROM billing_runs r WHERE r.id = $1`, id)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Run])
	return r, translate(err)
}

// lockRun reads a run and keeps it from changing until the transaction ends.
func lockRun(ctx context.Context, tx *Tx, id billing.RunID) (Run, error) {
	rows, _ := tx.Query(ctx, `SELECT `+runColumns+` FROM billing_runs r WHERE r.id = $1 FOR UPDATE`, id)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Run])
}

// shareRun reads a run and keeps it from moving on until the transaction ends, while other pages of it are saved beside this one.
func shareRun(ctx context.Context, tx *Tx, id billing.RunID) (Run, error) {
	rows, _ := tx.Query(ctx, `SELECT `+runColumns+` FROM billing_runs r WHERE r.id = $1 FOR SHARE`, id)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Run])
}

// NewRun is what a run is opened from.
type NewRun struct {
	ID      billing.RunID
	Site    billing.SiteID
	Period  billing.Period
	Version int
}

// OpenRun creates a run. Opening it again changes nothing.
func (s *Store) OpenRun(ctx context.Context, by By, n NewRun) (Run, error) {
	if err := n.Period.Validate(); err != nil {
		return Run{}, err
	}
	err := s.Change(ctx, by, func(tx *Tx) error {
		tag, err := tx.Exec(ctx, `INSERT INTO billing_runs (id, site_id, period_from, period_to, version, state, opened_at, opened_by)
			VALUES ($1, $2, $3, $4, $5, 'rating', $6, $7) ON CONFLICT (id) DO NOTHING`,
			n.ID, n.Site, n.Period.From, n.Period.To, n.Version, tx.Now, by.Actor)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return tx.Journal(ctx, Entry{Site: n.Site, Kind: "run", ID: string(n.ID), Event: "opened", To: string(billing.RunRating),
			Data: map[string]any{"from": n.Period.From, "to": n.Period.To, "version": n.Version}})
	})
	if err != nil {
		return Run{}, err
	}
	return s.Run(ctx, n.ID)
}

// moveRun changes a run's state with its journal row. set is further SQL for the row, whose parameters begin at $3.
func moveRun(ctx context.Context, tx *Tx, r Run, event string, to billing.RunState, data any, set string, args ...any) error {
	if _, err := tx.Exec(ctx, `UPDATE billing_runs SET state = $2`+set+` WHERE id = $1`, append([]any{r.ID, to}, args...)...); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: r.Site, Kind: "run", ID: string(r.ID), Event: event, From: string(r.State), To: string(to), Data: data})
}

// BlockRun says that open cases block the run; UnblockRun lets it go on. Both change nothing when the run is there already.
func (s *Store) BlockRun(ctx context.Context, by By, id billing.RunID, cases int) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRun(ctx, tx, id)
		if err != nil || r.State != billing.RunRating {
			return err
		}
		return moveRun(ctx, tx, r, "blocked", billing.RunBlocked, map[string]int{"cases": cases}, "")
	})
}

// UnblockRun lets a blocked run go on to rate.
func (s *Store) UnblockRun(ctx context.Context, by By, id billing.RunID, casesLeft int) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRun(ctx, tx, id)
		if err != nil || r.State != billing.RunBlocked {
			return err
		}
		return moveRun(ctx, tx, r, "unblocked", billing.RunRating, map[string]int{"cases_left": casesLeft}, "")
	})
}

// BlockingCase is an open case that doubts readings of a period, with the accounts that it touches.
type BlockingCase struct {
	ID       billing.CaseID
	Accounts []billing.AccountID
}

// BlockingCases lists the open blocking cases with readings in (from, to], oldest first: the reading at from closed the period before.
func (s *Store) BlockingCases(ctx context.Context, site billing.SiteID, from, to time.Time) ([]BlockingCase, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT k.id, array_agg(DISTINCT a.id ORDER BY a.id) FILTER (WHERE a.id IS NOT NULL) AS accounts
		FROM cases k JOIN case_members cm ON cm.case_id = k.id
		LEFT JOIN fittings f ON f.meter_id = cm.meter_id AND f.from_at <= cm.freeze_at AND (f.to_at IS NULL OR f.to_at >= cm.freeze_at)
		LEFT JOIN accounts a ON a.service_point_id = f.service_point_id
		WHERE k.site_id = $1 AND k.state = 'open' AND k.blocking AND cm.freeze_at > $2 AND cm.freeze_at <= $3
		GROUP BY k.id, k.opened_at ORDER BY k.opened_at, k.id`, site, from, to)
	cs, err := pgx.CollectRows(rows, pgx.RowToStructByName[BlockingCase])
	return cs, translate(err)
}

// DoubtedAccounts finds which of some accounts an open blocking case with readings in (from, to] touches, and the newest such case of
// each: what BlockingCases says of a site, asked for a page.
func (s *Store) DoubtedAccounts(ctx context.Context, accounts []billing.AccountID, from, to time.Time) (map[billing.AccountID]billing.CaseID, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT a.id, k.id FROM accounts a JOIN fittings f ON f.service_point_id = a.service_point_id
		JOIN case_members cm ON cm.meter_id = f.meter_id AND f.from_at <= cm.freeze_at AND (f.to_at IS NULL OR f.to_at >= cm.freeze_at)
		JOIN cases k ON k.id = cm.case_id
		WHERE a.id = ANY($1) AND k.state = 'open' AND k.blocking AND cm.freeze_at > $2 AND cm.freeze_at <= $3 ORDER BY k.opened_at, k.id`, accounts, from, to)
	doubts := map[billing.AccountID]billing.CaseID{}
	var account billing.AccountID
	var id billing.CaseID
	_, err := pgx.ForEachRow(rows, []any{&account, &id}, func() error {
		doubts[account] = id
		return nil
	})
	return doubts, translate(err)
}

// RunTotals are the control totals that a supervisor verifies. Quantities are raw units after the ratio: 0.01 kWh, litres.
type RunTotals struct {
	Bills      int                       `json:"bills"` // without the held ones
	Held       int                       `json:"held"`
	Quantity   map[billing.Service]int64 `json:"quantity"`
	TotalFen   billing.Money             `json:"total_fen"`
	ChargedFen billing.Money             `json:"charged_fen"` // charged day by day already
	Last       *PeriodTotals             `json:"last,omitempty"`
	Changes    []Change                  `json:"changes,omitempty"` // the ten largest against the period before
	New        int                       `json:"new,omitempty"`     // bills of accounts that had none in the period before
	Gone       int                       `json:"gone,omitempty"`    // accounts that had a bill in the period before and have none in this run
	Stops      map[string]int            `json:"stops,omitempty"`   // bills that a limit holds, by rule; a bill may have several
}

// PeriodTotals are the issued bills of the period before.
type PeriodTotals struct {
	Bills    int                       `json:"bills"`
	Quantity map[billing.Service]int64 `json:"quantity"`
	TotalFen billing.Money             `json:"total_fen"`
}

// Change compares an account's bill with that of the period before.
type Change struct {
	Bill     billing.BillID    `json:"bill"`
	Account  billing.AccountID `json:"account"`
	Service  billing.Service   `json:"service"`
	Quantity int64             `json:"quantity"`
	Before   int64             `json:"before"`
	TotalFen billing.Money     `json:"total_fen"`
	LastFen  billing.Money     `json:"last_fen"`
}

// SumRun computes a run's control totals and hands it to the supervisors: from rating, or after a bill was held or released.
func (s *Store) SumRun(ctx context.Context, by By, id billing.RunID) (RunTotals, error) {
	var t RunTotals
	err := s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRun(ctx, tx, id)
		if err != nil {
			return err
		}
		if r.State != billing.RunRating {
			return json.Unmarshal(r.Totals, &t)
		}
		t, err = sumRun(ctx, tx, r)
		if err != nil {
			return err
		}
		return moveRun(ctx, tx, r, "rated", billing.RunAwaitingVerification, t, `, totals = $3`, t.json())
	})
	return t, err
}

func (t RunTotals) json() string {
	b, _ := json.Marshal(t) // numbers and strings always marshal
	return string(b)
}

// sumRun adds up the chunks' shares. The bills of the period before are counted once, when the run is rated.
func sumRun(ctx context.Context, tx *Tx, r Run) (RunTotals, error) {
	t := RunTotals{Quantity: map[billing.Service]int64{}}
	if err := planChunks(ctx, tx, r); err != nil {
		return t, err
	}
	if err := findChanges(ctx, tx, r.ID, 0); err != nil {
		return t, err
	}
	rows, _ := tx.Query(ctx, `SELECT bills, held, power_raw, water_raw, total_fen, charged_fen, changes FROM billing_chunks WHERE run_id = $1 ORDER BY no`, r.ID)
	var bills, held int
	var power, water int64
	var total, charged billing.Money
	var changes []Change
	_, err := pgx.ForEachRow(rows, []any{&bills, &held, &power, &water, &total, &charged, &changes}, func() error {
		t.Bills, t.Held, t.TotalFen, t.ChargedFen = t.Bills+bills, t.Held+held, t.TotalFen+total, t.ChargedFen+charged
		addQuantity(t.Quantity, power, water)
		t.Changes = append(t.Changes, changes...)
		changes = nil
		return nil
	})
	if err != nil {
		return t, err
	}
	t.Changes = largest(t.Changes)
	if t.Last, err = lastTotals(ctx, tx, r); err != nil {
		return t, err
	}
	return t, compareRun(ctx, tx, r, &t)
}

func addQuantity(sum map[billing.Service]int64, power, water int64) {
	for service, raw := range map[billing.Service]int64{billing.Power: power, billing.Water: water} {
		if raw != 0 {
			sum[service] += raw
		}
	}
}

// largest are the ten largest changes, by amount.
func largest(all []Change) []Change {
	slices.SortFunc(all, func(a, b Change) int {
		return cmp.Or(cmp.Compare(b.size(), a.size()), cmp.Compare(a.Bill, b.Bill))
	})
	return all[:min(len(all), 10)]
}

func (c Change) size() billing.Money {
	if d := c.TotalFen - c.LastFen; d >= 0 {
		return d
	}
	return c.LastFen - c.TotalFen
}

// lastTotals are the issued bills of the period before; nil when there are none. They stand still while a run waits, so they are
// counted when it is rated, not each time a bill is held or released.
func lastTotals(ctx context.Context, tx *Tx, r Run) (*PeriodTotals, error) {
	if r.State != billing.RunRating {
		var known RunTotals
		err := json.Unmarshal(r.Totals, &known)
		return known.Last, err
	}
	t := PeriodTotals{Quantity: map[billing.Service]int64{}}
	rows, _ := tx.Query(ctx, `SELECT a.service, count(*), sum(b.quantity)::bigint, sum(b.total_fen)::bigint
		FROM billing_runs p JOIN bills b ON b.run_id = p.id JOIN accounts a ON a.id = b.account_id
		WHERE p.site_id = $1 AND p.period_to = $2 AND b.state = 'issued' GROUP BY a.service`, r.Site, r.PeriodFrom)
	var service billing.Service
	var bills int
	var quantity int64
	var fen billing.Money
	_, err := pgx.ForEachRow(rows, []any{&service, &bills, &quantity, &fen}, func() error {
		t.Bills += bills
		t.Quantity[service] = quantity
		t.TotalFen += fen
		return nil
	})
	if err != nil || t.Bills == 0 {
		return nil, err
	}
	return &t, nil
}

// VerifyRun records that a supervisor has verified the control totals. When readings have changed since the run was rated, the bills that rest
// on them are held and the signature is refused with billing.CodeStale: the totals are others now.
func (s *Store) VerifyRun(ctx context.Context, by By, id billing.RunID, user billing.UserID) error {
	var back int
	err := s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRun(ctx, tx, id)
		if err != nil {
			return err
		}
		if r.VerifiedBy != nil && *r.VerifiedBy == user {
			return nil
		}
		if r.State != billing.RunAwaitingVerification {
			return billing.Errorf(billing.CodeClosed, "run %s does not wait for verification: it is %s", id, r.State)
		}
		if back, err = sendBack(ctx, tx, r); err != nil || back > 0 {
			return err
		}
		return moveRun(ctx, tx, r, "verified", billing.RunVerified, nil, `, verified_by = $3, verified_at = $4`, user, tx.Now)
	})
	return cmp.Or(err, sentBack(id, back))
}

// ApproveIssue records the second supervisor's decision to issue. The bills are posted after it, page by page; FinishIssue ends it. When readings
// have changed since the run was rated, the bills that rest on them are held, the verification is void, and the decision is refused with
// billing.CodeStale.
func (s *Store) ApproveIssue(ctx context.Context, by By, id billing.RunID, user billing.UserID) error {
	var back int
	err := s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRun(ctx, tx, id)
		if err != nil {
			return err
		}
		if r.IssuedBy != nil && *r.IssuedBy == user {
			return nil
		}
		if r.State != billing.RunVerified || r.IssuedBy != nil {
			return billing.Errorf(billing.CodeClosed, "run %s can't be issued now: it is %s", id, r.State)
		}
		if back, err = sendBack(ctx, tx, r); err != nil || back > 0 {
			return err
		}
		return moveRun(ctx, tx, r, "issue_approved", billing.RunVerified, nil, `, issued_by = $3, issued_at = $4`, user, tx.Now)
	})
	return cmp.Or(err, sentBack(id, back))
}

// FinishIssue says that all bills of a run are posted.
func (s *Store) FinishIssue(ctx context.Context, by By, id billing.RunID) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRun(ctx, tx, id)
		if err != nil || r.State == billing.RunIssued {
			return err
		}
		var left int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM bills WHERE run_id = $1 AND state = 'draft'`, id).Scan(&left); err != nil {
			return err
		}
		if left > 0 || r.IssuedBy == nil {
			return billing.Errorf(billing.CodeInternal, "run %s has %d bills that are not posted", id, left)
		}
		totals, err := sumRun(ctx, tx, r)
		if err != nil {
			return err
		}
		return moveRun(ctx, tx, r, "issued", billing.RunIssued, map[string]any{"bills": totals.Bills, "held": totals.Held, "total_fen": totals.TotalFen}, "")
	})
}

// BlockedRuns lists the runs of a site that wait for cases.
func (s *Store) BlockedRuns(ctx context.Context, site billing.SiteID) ([]billing.RunID, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT id FROM billing_runs WHERE site_id = $1 AND state = 'blocked' ORDER BY id`, site)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[billing.RunID])
	return ids, translate(err)
}

// NextRun gives the number of a further run of a period: for accounts whose bills were held when the last one was issued. While a
// run of the period isn't finished it is billing.CodeConflict.
func (s *Store) NextRun(ctx context.Context, site billing.SiteID, p billing.Period) (billing.RunID, int, error) {
	var version int
	var open *string
	err := s.Pool.QueryRow(ctx, `SELECT coalesce(max(version), 0) + 1, min(id) FILTER (WHERE state NOT IN ('issued', 'cancelled')) FROM billing_runs WHERE site_id = $1 AND period_from = $2`,
		site, p.From).Scan(&version, &open)
	if err != nil {
		return "", 0, translate(err)
	}
	if open != nil {
		return "", 0, billing.Errorf(billing.CodeConflict, "run %s of this period is not finished: issue it first", *open)
	}
	return billing.RunID(string(site) + "/" + p.From.String()[:7] + "/" + itoa(int64(version))), version, nil
}

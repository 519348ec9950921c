package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
)

// SaveDrafts stores a page of rated bills, which belong to one chunk and come in the order of account numbers. Saving it again changes
// nothing. A held bill of an earlier version of the period is cancelled by the new one. A run that was cancelled meanwhile takes no more.
//
// The page is written whole: two COPYs and one journal row per state, whose digest and refs cover its bills.
func (s *Store) SaveDrafts(ctx context.Context, by By, run billing.RunID, drafts []Draft) error {
	if len(drafts) == 0 {
		return nil
	}
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := shareRun(ctx, tx, run)
		if err != nil || r.State == billing.RunCancelled {
			return err
		}
		c, err := lockChunkOf(ctx, tx, r, drafts[0].Account)
		if err != nil {
			return err
		}
		fresh, overtaken, err := freshDrafts(ctx, tx, r, drafts)
		if err != nil || len(fresh) == 0 {
			return err
		}
		at, err := chargedAt(ctx, tx, r, fresh)
		if err != nil {
			return err
		}
		if err := copyBills(ctx, tx, r, fresh, at); err != nil {
			return err
		}
		if err := copyLines(ctx, tx, fresh); err != nil {
			return err
		}
		if err := insertStops(ctx, tx, fresh); err != nil {
			return err
		}
		if err := supersede(ctx, tx, r, c, overtaken); err != nil {
			return err
		}
		if err := journalDrafts(ctx, tx, r, c, fresh); err != nil {
			return err
		}
		failpoint.Hit("bills-page-open")
		return countDrafts(ctx, tx, c, fresh, at, len(drafts))
	})
}

// freshDrafts leaves out what was saved before, or was billed otherwise meanwhile, and finds the held bills that the page overtakes.
func freshDrafts(ctx context.Context, tx *Tx, r Run, drafts []Draft) (fresh []Draft, overtaken []billing.BillID, err error) {
	accounts := make([]billing.AccountID, len(drafts))
	for i, d := range drafts {
		accounts[i] = d.Account
	}
	rows, _ := tx.Query(ctx, `SELECT id, account_id, version, state FROM bills WHERE account_id = ANY($1) AND period_from = $2
		AND (version = $3 OR state IN ('issued', 'held')) ORDER BY id`, accounts, r.PeriodFrom, r.Version)
	var id billing.BillID
	var account billing.AccountID
	var version int
	var state billing.BillState
	done := map[billing.AccountID]bool{}
	_, err = pgx.ForEachRow(rows, []any{&id, &account, &version, &state}, func() error {
		switch {
		case version == r.Version || state == billing.BillIssued:
			done[account] = true
		case version < r.Version:
			overtaken = append(overtaken, id)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for _, d := range drafts {
		if !done[d.Account] {
			fresh = append(fresh, d)
		}
	}
	return fresh, overtaken, nil
}

// accountAt is what a page needs to know of an account beside its price.
type accountAt struct {
	service billing.Service
	charged billing.Money // day by day in the period
}

func chargedAt(ctx context.Context, tx *Tx, r Run, drafts []Draft) (map[billing.AccountID]accountAt, error) {
	accounts := make([]billing.AccountID, len(drafts))
	for i, d := range drafts {
		accounts[i] = d.Account
	}
	rows, _ := tx.Query(ctx, `SELECT a.id, a.service, coalesce(c.fen, 0)::bigint FROM accounts a
		LEFT JOIN (SELECT account_id, sum(amount_fen) AS fen FROM charges WHERE account_id = ANY($1) AND period_from = $2 GROUP BY account_id) c ON c.account_id = a.id
		WHERE a.id = ANY($1)`, accounts, r.PeriodFrom)
	at := make(map[billing.AccountID]accountAt, len(drafts))
	var id billing.AccountID
	var one accountAt
	_, err := pgx.ForEachRow(rows, []any{&id, &one.service, &one.charged}, func() error {
		at[id] = one
		return nil
	})
	return at, err
}

func copyBills(ctx context.Context, tx *Tx, r Run, drafts []Draft, at map[billing.AccountID]accountAt) error {
	from, err := r.PeriodFrom.Value()
	if err != nil {
		return err
	}
	to, err := r.PeriodTo.Value()
	if err != nil {
		return err
	}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"bills"},
		[]string{
			"id", "run_id", "site_id", "account_id", "period_from", "period_to", "version", "state", "hold_reason", "tariff_id", "engine",
			"quantity", "readings", "input", "total_fen", "late_fen", "charged_fen", "lines_digest",
		},
		pgx.CopyFromSlice(len(drafts), func(i int) ([]any, error) {
			d := drafts[i]
			readings, input, err := d.documents()
			return []any{
				string(d.ID), string(r.ID), string(r.Site), string(d.Account), from, to, r.Version, string(d.state()), d.Hold, string(d.Tariff), d.Engine,
				d.Quantity, readings, input, int64(d.TotalFen), int64(d.LateFen), int64(at[d.Account].charged), linesDigest(d.Lines),
			}, err
		}))
	return err
}

func copyLines(ctx context.Context, tx *Tx, drafts []Draft) error {
	var lines [][2]int // bill, line
	for i, d := range drafts {
		for j := range d.Lines {
			lines = append(lines, [2]int{i, j})
		}
	}
	if len(lines) == 0 {
		return nil
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"bill_lines"},
		[]string{"bill_id", "seq", "component", "name_zh", "name_en", "register", "tier", "from_at", "to_at", "opening", "closing", "quantity", "price", "factor", "amount_fen", "unit", "thirtieths"},
		pgx.CopyFromSlice(len(lines), func(i int) ([]any, error) {
			d := drafts[lines[i][0]]
			l := d.Lines[lines[i][1]]
			return []any{
				string(d.ID), l.Seq, l.Component, l.NameZH, l.NameEN, int(l.Register), l.Tier, l.FromAt, l.ToAt, l.Opening, l.Closing,
				numeric(l.Quantity.String()), numeric(l.Price.String()), numeric(l.factor()), int64(l.AmountFen), l.Unit, l.Thirtieths,
			}, nil
		}))
	return err
}

// insertLines writes the lines of one bill that stands already, and their digest. A bill that is issued keeps the digest that it was
// issued with.
func insertLines(ctx context.Context, tx *Tx, d Draft) error {
	if err := copyLines(ctx, tx, []Draft{d}); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE bills SET lines_digest = $2 WHERE id = $1 AND state IN ('draft', 'held')`, d.ID, linesDigest(d.Lines))
	return err
}

// factor is the line's factor as stored: the zero value means 1.
func (l BillLine) factor() string {
	if l.Factor.IsZero() {
		return "1"
	}
	return l.Factor.String()
}

// linesDigest is the hash of a bill's lines in one canonical text, which can be written again from the stored rows. Package proof does.
func linesDigest(lines []BillLine) []byte {
	b := make([]byte, 0, 64*len(lines))
	for i, l := range lines {
		if i > 0 {
			b = append(b, '\n')
		}
		b = strconv.AppendInt(b, int64(l.Seq), 10)
		b = append(append(b, ' '), l.Component...)
		b = strconv.AppendInt(append(b, ' '), int64(l.Register), 10)
		b = strconv.AppendInt(append(b, ' '), int64(l.Tier), 10)
		for _, decimal := range []string{l.Quantity.String(), l.Price.String(), l.factor()} {
			b = append(append(b, ' '), decimal...)
		}
		b = strconv.AppendInt(append(b, ' '), int64(l.AmountFen), 10)
		b = append(append(b, ' '), l.Unit...)
		b = strconv.AppendInt(append(b, ' '), int64(l.Thirtieths), 10)
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// supersede cancels held bills of earlier runs of the period.
func supersede(ctx context.Context, tx *Tx, r Run, c Chunk, held []billing.BillID) error {
	if len(held) == 0 {
		return nil
	}
	rows, _ := tx.Query(ctx, `UPDATE bills SET state = 'cancelled', hold_reason = $2 WHERE id = ANY($1) AND state = 'held' RETURNING id, account_id`,
		held, "rated again in run "+string(r.ID))
	gone, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m member, err error) {
		return m, row.Scan(&m.ID, &m.Account)
	})
	if err != nil {
		return err
	}
	return journalBills(ctx, tx, r, c.entity(), "superseded", billing.BillHeld, billing.BillCancelled, gone, nil)
}

// member is a bill of a batch.
type member struct {
	ID      billing.BillID
	Account billing.AccountID
	text    string // its canonical text in the digest; empty when only its state changes
}

// journalBills writes the one row that stands for a batch of bills of a run, which all go from one state to another: kind "bills", with
// the bills and their accounts among its refs, so that each of them leads to it, and with the digest of what they say. entity is the
// run, or a part of it.
func journalBills(ctx context.Context, tx *Tx, r Run, entity, event string, from, to billing.BillState, bills []member, data map[string]any) error {
	if len(bills) == 0 {
		return nil
	}
	refs := make([]string, 0, 2*len(bills)+1)
	refs = append(refs, string(r.ID))
	h := sha256.New()
	for _, b := range bills {
		refs = append(refs, string(b.ID), string(b.Account))
		h.Write([]byte(b.text))
		h.Write([]byte{'\n'})
	}
	all := map[string]any{"count": len(bills)}
	if bills[0].text != "" {
		all["digest"] = hex.EncodeToString(h.Sum(nil))
	}
	for name, fact := range data {
		all[name] = fact
	}
	return tx.Journal(ctx, Entry{Site: r.Site, Kind: "bills", ID: entity, Event: event, From: string(from), To: string(to), Refs: refs, Data: all})
}

// billText is a bill in the digest of its page: its numbers, such as quantity and total, and the digest of its lines.
func billText(id billing.BillID, lines []byte, numbers ...int64) string {
	b := make([]byte, 0, 160)
	b = append(b, id...)
	for _, n := range numbers {
		b = strconv.AppendInt(append(b, ' '), n, 10)
	}
	return string(hex.AppendEncode(append(b, ' '), lines))
}

// journalDrafts writes the page's rows: one for the bills to be issued, one for the held ones.
func journalDrafts(ctx context.Context, tx *Tx, r Run, c Chunk, drafts []Draft) error {
	by := map[billing.BillState][]member{}
	for _, d := range drafts {
		by[d.state()] = append(by[d.state()], member{d.ID, d.Account, billText(d.ID, linesDigest(d.Lines), d.Quantity, int64(d.TotalFen))})
	}
	for _, to := range []billing.BillState{billing.BillDraft, billing.BillHeld} {
		if err := journalBills(ctx, tx, r, c.entity(), "rated", "", to, by[to], nil); err != nil {
			return err
		}
	}
	return nil
}

// countDrafts moves the chunk's progress and its share of the totals. passed counts the accounts that the page has passed.
func countDrafts(ctx context.Context, tx *Tx, c Chunk, drafts []Draft, at map[billing.AccountID]accountAt, passed int) error {
	var bills, held int
	var quantity [2]int64
	var total, charged billing.Money
	for _, d := range drafts {
		if d.Hold != "" {
			held++
			continue
		}
		bills++
		q := quantityBy(at[d.Account].service, d.Quantity)
		quantity[0], quantity[1] = quantity[0]+q[0], quantity[1]+q[1]
		total, charged = total+d.TotalFen, charged+at[d.Account].charged
	}
	_, err := tx.Exec(ctx, `UPDATE billing_chunks SET rated = least(accounts, rated + CASE WHEN $3 > rated_upto THEN $4::int ELSE 0 END), rated_upto = greatest(rated_upto, $3),
			bills = bills + $5, held = held + $6, power_raw = power_raw + $7, water_raw = water_raw + $8, total_fen = total_fen + $9, charged_fen = charged_fen + $10, changes = NULL
		WHERE run_id = $1 AND no = $2`,
		c.Run, c.No, drafts[len(drafts)-1].Account, passed, bills, held, quantity[0], quantity[1], total, charged)
	return err
}

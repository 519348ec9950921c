package store

import (
	"bytes"
	"context"
	"crypto/sha256"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// CorrectedAccount is what a correction means for one account.
type CorrectedAccount struct {
	Account      billing.AccountID `db:"account_id"`
	Site         billing.SiteID    `db:"site_id"`
	Digest       []byte            // of the inputs that it was rated from
	State        string            // pending, done
	BalanceFen   billing.Money     // when previewed
	BillsFen     billing.Money     // by how much the issued bills change the credit: positive gives back
	OpenFen      billing.Money     // what the next daily charge gives back for periods that aren't billed
	CutLimitFen  billing.Money
	RemainingFen *billing.Money  // what the meter itself held at its last reading; nil for platform credit
	Problem      string          // why it can't be rated
	AfterFen     *billing.Money  `db:"balance_after_fen"` // when its bills were done
	Bills        []CorrectedBill `db:"-"`
}

// After is the balance once everything has followed: the bills at once, open periods with the next daily charge.
func (a CorrectedAccount) After() billing.Money { return a.BalanceFen + a.BillsFen + a.OpenFen }

// FallsShort says that the correction takes the account to its cut limit or below. Nobody is cut for that without a notice first.
func (a CorrectedAccount) FallsShort() bool {
	return a.BalanceFen > a.CutLimitFen && a.After() <= a.CutLimitFen
}

// Touched says whether the correction changes anything that the account sees.
func (a CorrectedAccount) Touched() bool {
	return len(a.Bills) > 0 || a.OpenFen != 0 || a.Problem != ""
}

const correctedAccountColumns = `a.account_id, a.site_id, a.digest, a.state, a.balance_fen, a.bills_fen, a.open_fen, a.cut_limit_fen, a.remaining_fen, a.problem, a.balance_after_fen`

// CorrectedBill is one bill as it stands and as it will be. Quantities are raw units after the ratio.
type CorrectedBill struct {
	Bill        billing.BillID    `db:"bill_id"`
	Account     billing.AccountID `db:"account_id"`
	PeriodFrom  billing.Date
	PeriodTo    billing.Date
	Was         billing.BillState // draft, issued
	OldQuantity int64
	OldFen      billing.Money
	NewQuantity int64
	NewFen      billing.Money
	State       string          // pending, done
	NewBill     *billing.BillID `db:"new_bill_id"`
}

const correctedBillColumns = `b.bill_id, b.account_id, b.period_from, b.period_to, b.was, b.old_quantity, b.old_fen, b.new_quantity, b.new_fen, b.state, b.new_bill_id`

// OpenPreview clears what is not done of an earlier preview. Its approvals are void: what they agreed to may have changed.
func (s *Store) OpenPreview(ctx context.Context, by By, id billing.CorrectionID) (Correction, error) {
	var c Correction
	err := s.Change(ctx, by, func(tx *Tx) error {
		var err error
		if c, err = lockCorrection(ctx, tx, id); err != nil {
			return err
		}
		switch c.State {
		case billing.CorrectionDrafted, billing.CorrectionPreviewed, billing.CorrectionApprovedOnce, billing.CorrectionApproved, billing.CorrectionStopped:
		default:
			return closedCorrection(c)
		}
		if _, err := tx.Exec(ctx, `DELETE FROM correction_bills WHERE correction_id = $1 AND state = 'pending'`, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM correction_accounts WHERE correction_id = $1 AND state = 'pending'`, id); err != nil {
			return err
		}
		if c.State == billing.CorrectionDrafted {
			return nil
		}
		// The preview that people saw is gone: nothing can be approved until the new one is there.
		return moveCorrection(ctx, tx, &c, billing.CorrectionDrafted, "preview_opened", "", nil,
			`, digest = NULL, approved1_by = NULL, approved1_at = NULL, approved2_by = NULL, approved2_at = NULL, stopped_bill = '', stopped_why = ''`)
	})
	return c, err
}

// SavePreview stores a page of previewed accounts. Saving it again replaces it; what is done stays as it was.
func (s *Store) SavePreview(ctx context.Context, by By, id billing.CorrectionID, accounts []CorrectedAccount) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		c, err := lockCorrection(ctx, tx, id)
		if err != nil {
			return err
		}
		if c.State != billing.CorrectionDrafted {
			return closedCorrection(c)
		}
		for _, a := range accounts {
			if err := savePreviewed(ctx, tx, id, a); err != nil {
				return err
			}
		}
		return nil
	})
}

func savePreviewed(ctx context.Context, tx *Tx, id billing.CorrectionID, a CorrectedAccount) error {
	_, err := tx.Exec(ctx, `INSERT INTO correction_accounts (correction_id, account_id, site_id, digest, balance_fen, bills_fen, open_fen, cut_limit_fen, remaining_fen, problem)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (correction_id, account_id) DO UPDATE SET state = 'pending', digest = excluded.digest, balance_fen = excluded.balance_fen, bills_fen = excluded.bills_fen,
			open_fen = excluded.open_fen, cut_limit_fen = excluded.cut_limit_fen, remaining_fen = excluded.remaining_fen, problem = excluded.problem`,
		id, a.Account, a.Site, a.Digest, a.BalanceFen, a.BillsFen, a.OpenFen, a.CutLimitFen, (*int64)(a.RemainingFen), a.Problem)
	if err != nil {
		return err
	}
	for _, b := range a.Bills {
		_, err := tx.Exec(ctx, `INSERT INTO correction_bills (correction_id, bill_id, account_id, period_from, period_to, was, old_quantity, old_fen, new_quantity, new_fen)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT (correction_id, bill_id) DO UPDATE SET was = excluded.was, old_quantity = excluded.old_quantity, old_fen = excluded.old_fen,
				new_quantity = excluded.new_quantity, new_fen = excluded.new_fen WHERE correction_bills.state = 'pending'`,
			id, b.Bill, a.Account, b.PeriodFrom, b.PeriodTo, b.Was, b.OldQuantity, b.OldFen, b.NewQuantity, b.NewFen)
		if err != nil {
			return err
		}
	}
	return nil
}

// CorrectionTotals are a preview in one line. Money is from the customers' side: positive gives back.
type CorrectionTotals struct {
	Accounts  int           `json:"accounts"`
	Bills     int           `json:"bills"`
	Done      int           `json:"done"` // bills
	OldFen    billing.Money `json:"old_fen"`
	NewFen    billing.Money `json:"new_fen"`
	BackFen   billing.Money `json:"back_fen"` // given back over all accounts whose credit grows
	TakenFen  billing.Money `json:"taken_fen"`
	OpenFen   billing.Money `json:"open_fen"`
	FallShort int           `json:"fall_short"` // accounts that it takes to their cut limit or below
	MeterHeld int           `json:"meter_held"` // accounts whose credit is in the meter
	Problems  int           `json:"problems"`
	MostBack  billing.Money `json:"most_back_fen"` // to one account
}

const correctionTotals = `ka.accounts, kb.bills, kb.done, kb.old_fen, kb.new_fen, ka.back_fen, ka.taken_fen, ka.open_fen, ka.fall_short, ka.meter_held, ka.problems, ka.most_back`

// fromCorrections sums the accounts (ka) and bills (kb) of each correction k.
const fromCorrections = ` FROM corrections k
	CROSS JOIN LATERAL (SELECT count(*)::int AS accounts, coalesce(sum(bills_fen) FILTER (WHERE bills_fen > 0), 0)::bigint AS back_fen,
		coalesce(-sum(bills_fen) FILTER (WHERE bills_fen < 0), 0)::bigint AS taken_fen, coalesce(sum(open_fen), 0)::bigint AS open_fen,
		(count(*) FILTER (WHERE balance_fen > cut_limit_fen AND balance_fen + bills_fen + open_fen <= cut_limit_fen))::int AS fall_short,
		(count(*) FILTER (WHERE remaining_fen IS NOT NULL))::int AS meter_held, (count(*) FILTER (WHERE problem <> ''))::int AS problems, coalesce(max(bills_fen + open_fen), 0)::bigint AS most_back
		FROM correction_accounts WHERE correction_id = k.id) ka
	CROSS JOIN LATERAL (SELECT count(*)::int AS bills, (count(*) FILTER (WHERE state = 'done'))::int AS done, coalesce(sum(old_fen) FILTER (WHERE was = 'issued'), 0)::bigint AS old_fen,
		coalesce(sum(new_fen) FILTER (WHERE was = 'issued'), 0)::bigint AS new_fen FROM correction_bills WHERE correction_id = k.id) kb`

// totalsOf sums the preview of a correction.
func totalsOf(ctx context.Context, tx *Tx, id billing.CorrectionID) (CorrectionTotals, error) {
	rows, _ := tx.Query(ctx, `SELECT `+correctionTotals+fromCorrections+` WHERE k.id = $1`, id)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[CorrectionTotals])
}

// ClosePreview says that all accounts are previewed, puts their digests under one, and says how many persons must agree: two for ratios
// and prices, and two when an account gets more back than refundOver (rule 49).
func (s *Store) ClosePreview(ctx context.Context, by By, id billing.CorrectionID, refundOver billing.Money) (Correction, error) {
	var c Correction
	err := s.Change(ctx, by, func(tx *Tx) error {
		var err error
		if c, err = lockCorrection(ctx, tx, id); err != nil {
			return err
		}
		if c.State == billing.CorrectionPreviewed {
			return nil
		}
		if c.State != billing.CorrectionDrafted {
			return closedCorrection(c)
		}
		change, err := c.Parts()
		if err != nil {
			return err
		}
		before := []byte(c.Before)
		if c.InputsAt == nil { // afterwards it would show the change itself
			if before, err = onFile(ctx, tx, change); err != nil {
				return err
			}
		}
		if c.Digest, err = previewDigest(ctx, tx, c, before); err != nil {
			return err
		}
		t, err := totalsOf(ctx, tx, id)
		if err != nil {
			return err
		}
		c.ApprovalsNeeded = c.Kind.Approvals()
		if t.MostBack > refundOver {
			c.ApprovalsNeeded = 2
		}
		return moveCorrection(ctx, tx, &c, billing.CorrectionPreviewed, "previewed", "", t, `, digest = $3, before = $4, previewed_at = $5, approvals_needed = $6`,
			c.Digest, string(before), tx.Now, c.ApprovalsNeeded)
	})
	return c, err
}

// previewDigest is the hash of the change, of what it replaces, and of each account's inputs.
func previewDigest(ctx context.Context, tx *Tx, c Correction, before []byte) ([]byte, error) {
	h := sha256.New()
	h.Write(c.Change)
	h.Write(before)
	rows, err := tx.Query(ctx, `SELECT account_id, digest FROM correction_accounts WHERE correction_id = $1 AND state = 'pending' ORDER BY account_id COLLATE "C"`, c.ID)
	if err != nil {
		return nil, err
	}
	var account string
	var one []byte
	_, err = pgx.ForEachRow(rows, []any{&account, &one}, func() error {
		h.Write([]byte(account))
		h.Write(one)
		return nil
	})
	return h.Sum(nil), err
}

// NotDone leaves out the accounts whose bills a correction has corrected already.
func (s *Store) NotDone(ctx context.Context, id billing.CorrectionID, accounts []billing.AccountID) ([]billing.AccountID, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT x.id FROM unnest($2::text[]) WITH ORDINALITY x (id, n)
		WHERE NOT EXISTS (SELECT 1 FROM correction_accounts a WHERE a.correction_id = $1 AND a.account_id = x.id AND a.state = 'done') ORDER BY x.n`, id, accounts)
	left, err := pgx.CollectRows(rows, pgx.RowTo[billing.AccountID])
	return left, translate(err)
}

// PreviewHolds compares the given accounts as they would be previewed now with their preview, and refuses with the sentence to preview
// again when the inputs of one have changed since.
func (s *Store) PreviewHolds(ctx context.Context, id billing.CorrectionID, ids []billing.AccountID, now []CorrectedAccount) error {
	rows, _ := s.Pool.Query(ctx, `SELECT `+correctedAccountColumns+` FROM correction_accounts a WHERE correction_id = $1 AND account_id = ANY($2) AND state = 'pending'`, id, ids)
	saved, err := pgx.CollectRows(rows, pgx.RowToStructByName[CorrectedAccount])
	if err != nil {
		return translate(err)
	}
	was := map[billing.AccountID][]byte{}
	for _, a := range saved {
		was[a.Account] = a.Digest
	}
	for _, a := range now {
		if !bytes.Equal(was[a.Account], a.Digest) {
			return stalePreview(a.Account)
		}
		delete(was, a.Account)
	}
	for account := range was {
		return stalePreview(account) // it isn't touched any more
	}
	return nil
}

func stalePreview(account billing.AccountID) error {
	return billing.Errorf(billing.CodeStale, "what the bills of account %s rest on has changed since the preview: preview the correction again", account)
}

// OnFileHolds refuses when what a correction would replace isn't any more what its preview saw.
func (s *Store) OnFileHolds(ctx context.Context, by By, c Correction) error {
	change, err := c.Parts()
	if err != nil {
		return err
	}
	return s.Change(ctx, by, func(tx *Tx) error {
		now, err := onFile(ctx, tx, change)
		if err != nil {
			return err
		}
		var same bool
		if err := tx.QueryRow(ctx, `SELECT $1::jsonb = $2::jsonb`, string(now), string(c.Before)).Scan(&same); err != nil || same {
			return err
		}
		return billing.Errorf(billing.CodeStale, "what correction %s replaces has changed since the preview: preview the correction again", c.ID)
	})
}

// CorrectableBills reads the issued and draft bills of accounts whose period ends on a day or later, by account, oldest first, with
// their lines.
func (s *Store) CorrectableBills(ctx context.Context, accounts []billing.AccountID, from billing.Date) (map[billing.AccountID][]Bill, map[billing.BillID][]BillLine, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+billColumns+` FROM bills b JOIN accounts a ON a.id = b.account_id
		WHERE b.account_id = ANY($1) AND b.period_to >= $2 AND b.state IN ('issued', 'draft') ORDER BY b.account_id, b.period_from`, accounts, from)
	bills, err := pgx.CollectRows(rows, pgx.RowToStructByName[Bill])
	if err != nil {
		return nil, nil, translate(err)
	}
	by := map[billing.AccountID][]Bill{}
	ids := make([]billing.BillID, len(bills))
	for i, b := range bills {
		by[b.Account] = append(by[b.Account], b)
		ids[i] = b.ID
	}
	lines, err := s.linesOf(ctx, ids)
	return by, lines, err
}

func (s *Store) linesOf(ctx context.Context, bills []billing.BillID) (map[billing.BillID][]BillLine, error) {
	type numbered struct {
		Bill billing.BillID
		Line BillLine
	}
	rows, err := s.Pool.Query(ctx, `SELECT bill_id, seq, component, name_zh, name_en, register, tier, from_at, to_at, opening, closing, quantity::text, price::text, factor::text, amount_fen, unit, thirtieths
		FROM bill_lines WHERE bill_id = ANY($1) ORDER BY bill_id, seq`, bills)
	if err != nil {
		return nil, translate(err)
	}
	var n numbered
	by := map[billing.BillID][]BillLine{}
	l := &n.Line
	_, err = pgx.ForEachRow(rows, []any{&n.Bill, &l.Seq, &l.Component, &l.NameZH, &l.NameEN, &l.Register, &l.Tier, &l.FromAt, &l.ToAt, &l.Opening, &l.Closing, &l.Quantity, &l.Price, &l.Factor, &l.AmountFen, &l.Unit, &l.Thirtieths}, func() error {
		by[n.Bill] = append(by[n.Bill], n.Line)
		return nil
	})
	return by, translate(err)
}

// AccountsOfTariff lists accounts that had a tariff at any time, by id, after the given one.
func (s *Store) AccountsOfTariff(ctx context.Context, tariff billing.TariffID, after billing.AccountID, limit int) ([]billing.AccountID, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT id FROM accounts a WHERE EXISTS (SELECT 1 FROM account_terms t WHERE t.account_id = a.id AND t.tariff_id = $1) AND id > $2 ORDER BY id LIMIT $3`, tariff, after, limit)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[billing.AccountID])
	return ids, translate(err)
}

// SitesOfTariff are the sites with accounts that had a tariff at any time.
func (s *Store) SitesOfTariff(ctx context.Context, tariff billing.TariffID) ([]billing.SiteID, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT DISTINCT a.site_id FROM account_terms t JOIN accounts a ON a.id = t.account_id WHERE t.tariff_id = $1 ORDER BY 1`, tariff)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[billing.SiteID])
	return ids, translate(err)
}

// AccountOfPoint is the account that a service point's use is billed to; empty when there is none.
func (s *Store) AccountOfPoint(ctx context.Context, point billing.ServicePointID) (billing.AccountID, error) {
	var id billing.AccountID
	err := s.Pool.QueryRow(ctx, `SELECT coalesce(max(id), '') FROM accounts WHERE service_point_id = $1`, point).Scan(&id)
	return id, translate(err)
}

// FittingsOfMeter lists the fittings of a meter, oldest first.
func (s *Store) FittingsOfMeter(ctx context.Context, meter billing.MeterID) ([]Fitting, error) {
	rows, _ := s.Pool.Query(ctx, selectFitting+` WHERE f.meter_id = $1 ORDER BY f.from_at`, meter)
	fs, err := pgx.CollectRows(rows, pgx.RowToStructByName[Fitting])
	return fs, translate(err)
}

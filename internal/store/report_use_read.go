package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// UseFilter chooses what a report of energy and money shows. Zero fields choose all.
type UseFilter struct {
	Sites   []billing.SiteID
	Service string
	Account billing.AccountID
	// Text is an account's number, or part of its customer's name.
	Text string
	// From and To are the days of the report, half-open; with ByMonth they are first days of months.
	From, To billing.Date
	ByMonth  bool
}

// Validate refuses a report that has no day, or more of them than anybody reads.
func (f UseFilter) Validate() error {
	if err := (billing.Period{From: f.From, To: f.To}).Validate(); err != nil {
		return err
	}
	const mostDays, mostMonths = 366, 60
	switch n := len(f.Spans()); {
	case f.ByMonth && (f.From.Day() != 1 || f.To.Day() != 1):
		return billing.Errorf(billing.CodeInvalidInput, "a report by month goes from the first day of a month to the first day of a month")
	case !f.ByMonth && n > mostDays:
		return billing.Errorf(billing.CodeInvalidInput, "a report by day covers %d days at most: choose fewer, or take it by month", mostDays)
	case n > mostMonths && f.ByMonth:
		return billing.Errorf(billing.CodeInvalidInput, "a report by month covers %d months at most: choose fewer", mostMonths)
	}
	return nil
}

// Spans are the days or months of the report.
func (f UseFilter) Spans() []billing.Period {
	var list []billing.Period
	for d := f.From; d.Before(f.To); {
		p := billing.Period{From: d, To: d.AddDays(1)}
		if f.ByMonth {
			p = billing.MonthPeriod(d)
		}
		list = append(list, p)
		d = p.To
	}
	return list
}

// UseRow is one meter of an account over one day or month: energy and money with what they were at both ends. Registers and use are
// raw units, the use after the ratio; nil where a reading is missing. Money is the account's, by the local day of its postings:
// OpeningFen + RechargedFen − ChargedFen + OtherFen = ClosingFen. On a day with two meters only the first row of the account
// carries the money (Money), so that rows can be added up.
type UseRow struct {
	Site     billing.SiteID
	Account  billing.AccountID
	Customer string
	Address  string
	Service  billing.Service
	From, To billing.Date // half-open
	Meter    billing.MeterID
	Ratio    int
	Opening  *int64
	Closing  *int64
	Use      *int64
	Quality  billing.Quality // of the closing reading; empty without one

	Money        bool
	OpeningFen   billing.Money
	RechargedFen billing.Money
	Recharges    int
	ChargedFen   billing.Money
	OtherFen     billing.Money
	ClosingFen   billing.Money
	// Bill is the account's issued bill of the month; only by month. BilledFen is its total.
	Bill      billing.BillID
	BilledFen billing.Money
}

// UsePage reports on a page of accounts, by number, after the given one; rows of an account come in the order of days. next is where the
// following page begins; empty when there is none.
func (s *Store) UsePage(ctx context.Context, f UseFilter, after billing.AccountID, accounts int) (rows []UseRow, next billing.AccountID, err error) {
	if err := f.Validate(); err != nil {
		return nil, "", err
	}
	heads, err := s.useHeads(ctx, f, after, accounts+1)
	if err != nil {
		return nil, "", err
	}
	if len(heads) > accounts {
		heads = heads[:accounts]
		next = heads[accounts-1].Account
	}
	rows, err = s.useRows(ctx, f, heads)
	return rows, next, err
}

// useHead is an account of a report.
type useHead struct {
	Site         billing.SiteID
	Account      billing.AccountID
	Customer     string
	Address      string
	Service      billing.Service
	ServicePoint billing.ServicePointID
	TimeZone     string
}

// An account's number is looked up by itself. A name is looked for among the customers, and their accounts are taken: the list of
// accounts is never read through.
const useHeads = `SELECT a.site_id AS site, a.id AS account, c.name AS customer, p.address, a.service, a.service_point_id AS service_point, s.time_zone
	FROM accounts a JOIN customers c ON c.id = a.customer_id JOIN service_points p ON p.id = a.service_point_id JOIN sites s ON s.id = a.site_id
	WHERE a.site_id = ANY(@sites) AND a.id > @after AND (@service = '' OR a.service = @service) AND a.opened_on < @to`

func (s *Store) useHeads(ctx context.Context, f UseFilter, after billing.AccountID, limit int) ([]useHead, error) {
	where := ``
	if f.Account != "" {
		where = ` AND a.id = @account`
	}
	if f.Text != "" {
		where += ` AND (a.id = @text OR a.customer_id = ANY(SELECT id FROM customers WHERE site_id = ANY(@sites) AND position(lower(@text) IN lower(name)) > 0))`
	}
	rows, _ := s.Pool.Query(ctx, useHeads+where+` ORDER BY a.id LIMIT @limit`,
		pgx.NamedArgs{"sites": f.Sites, "after": after, "service": f.Service, "to": f.To, "account": f.Account, "text": f.Text, "limit": limit})
	heads, err := pgx.CollectRows(rows, pgx.RowToStructByName[useHead])
	return heads, translate(err)
}

func (s *Store) useRows(ctx context.Context, f UseFilter, heads []useHead) ([]UseRow, error) {
	if len(heads) == 0 {
		return nil, nil
	}
	spans := f.Spans()
	money, err := s.moneyFlows(ctx, f, heads)
	if err != nil {
		return nil, err
	}
	energy, err := s.energyOf(ctx, heads, spans)
	if err != nil {
		return nil, err
	}
	billed := map[billedKey]BillHead{}
	if f.ByMonth {
		if billed, err = s.billedMonths(ctx, heads, f.From, f.To); err != nil {
			return nil, err
		}
	}
	var rows []UseRow
	for _, h := range heads {
		balance := money.before[h.Account]
		for _, p := range spans {
			row := UseRow{Site: h.Site, Account: h.Account, Customer: h.Customer, Address: h.Address, Service: h.Service, From: p.From, To: p.To, Money: true, OpeningFen: balance}
			for d := p.From; d.Before(p.To); d = d.AddDays(1) {
				flow := money.days[flowKey{h.Account, d}]
				row.RechargedFen += flow.Recharged
				row.Recharges += flow.Recharges
				row.ChargedFen += flow.Charged
				row.OtherFen += flow.Other
			}
			balance += row.RechargedFen - row.ChargedFen + row.OtherFen
			row.ClosingFen = balance
			if b, ok := billed[billedKey{h.Account, p.From}]; ok {
				row.Bill, row.BilledFen = b.ID, b.Total
			}
			rows = append(rows, energy.rows(row, h, p)...)
		}
	}
	return rows, nil
}

// flow is what moved an account's credit on a day. Charged counts what was taken, as a positive amount.
type flow struct {
	Recharged, Charged, Other billing.Money
	Recharges                 int
}

type flowKey struct {
	account billing.AccountID
	day     billing.Date
}

// flows are the movements of a page of accounts: the balance before the first day, and each day's.
type flows struct {
	before map[billing.AccountID]billing.Money
	days   map[flowKey]flow
}

// moneyFlows sums the postings of the accounts by local day and kind. What came before the first day is one sum.
func (s *Store) moneyFlows(ctx context.Context, f UseFilter, heads []useHead) (flows, error) {
	ids := make([]billing.AccountID, len(heads))
	for i, h := range heads {
		ids[i] = h.Account
	}
	rows, err := s.Pool.Query(ctx, `SELECT account_id, greatest(day, $2::date - 1) AS day,
			coalesce(sum(fen) FILTER (WHERE kind = 'recharge_credited'), 0)::bigint, (count(*) FILTER (WHERE kind = 'recharge_credited' AND day >= $2::date))::int,
			coalesce(-sum(fen) FILTER (WHERE kind IN ('daily_charge', 'bill_issued')), 0)::bigint,
			coalesce(sum(fen) FILTER (WHERE kind NOT IN ('recharge_credited', 'daily_charge', 'bill_issued')), 0)::bigint
		FROM (SELECT l.account_id, e.kind, -p.amount_fen AS fen, (e.business_at AT TIME ZONE s.time_zone)::date AS day
			FROM ledger_accounts l JOIN sites s ON s.id = l.site_id JOIN ledger_postings p ON p.code = l.code JOIN ledger_entries e ON e.id = p.entry_id
			WHERE l.account_id = ANY($1)) m
		WHERE day < $3::date GROUP BY 1, 2`, ids, f.From, f.To)
	if err != nil {
		return flows{}, translate(err)
	}
	found := flows{before: map[billing.AccountID]billing.Money{}, days: map[flowKey]flow{}}
	var k flowKey
	var v flow
	_, err = pgx.ForEachRow(rows, []any{&k.account, &k.day, &v.Recharged, &v.Recharges, &v.Charged, &v.Other}, func() error {
		if k.day.Before(f.From) {
			found.before[k.account] = v.Recharged - v.Charged + v.Other
		} else {
			found.days[k] = v
		}
		return nil
	})
	return found, translate(err)
}

type billedKey struct {
	account billing.AccountID
	from    billing.Date
}

// billedMonths are the issued bills of the accounts, by the first day of their month.
func (s *Store) billedMonths(ctx context.Context, heads []useHead, from, to billing.Date) (map[billedKey]BillHead, error) {
	ids := make([]billing.AccountID, len(heads))
	for i, h := range heads {
		ids[i] = h.Account
	}
	rows, _ := s.Pool.Query(ctx, `SELECT account_id, id, period_from, total_fen FROM bills
		WHERE account_id = ANY($1) AND state = 'issued' AND period_from >= $2 AND period_from < $3`, ids, from, to)
	found := map[billedKey]BillHead{}
	var account billing.AccountID
	var b BillHead
	_, err := pgx.ForEachRow(rows, []any{&account, &b.ID, &b.PeriodFrom, &b.Total}, func() error {
		found[billedKey{account, billing.MonthPeriod(b.PeriodFrom).From}] = b
		return nil
	})
	return found, translate(err)
}

// energies are the fittings and the readings at the edges of the report's days or months.
type energies struct {
	fittings map[billing.ServicePointID][]Fitting
	readings map[MeterAt]edge
	zones    map[string]*time.Location
}

// edge is a reading at an edge of a day or month.
type edge struct {
	Registers billing.Registers
	Quality   billing.Quality
}

func (s *Store) energyOf(ctx context.Context, heads []useHead, spans []billing.Period) (energies, error) {
	e := energies{readings: map[MeterAt]edge{}, zones: map[string]*time.Location{}}
	points := make([]billing.ServicePointID, len(heads))
	byZone := map[string][]billing.ServicePointID{}
	for i, h := range heads {
		points[i] = h.ServicePoint
		byZone[h.TimeZone] = append(byZone[h.TimeZone], h.ServicePoint)
	}
	var err error
	if e.fittings, err = s.Fittings(ctx, points); err != nil {
		return e, err
	}
	for name, own := range byZone {
		if e.zones[name], err = time.LoadLocation(name); err != nil {
			return e, billing.Errorf(billing.CodeInvalidInput, "the time zone %q isn't known: correct it to a name such as Asia/Shanghai", name)
		}
		var meters []billing.MeterID
		for _, p := range own {
			for _, f := range e.fittings[p] {
				meters = append(meters, f.Meter)
			}
		}
		edges := make([]time.Time, 0, len(spans)+1)
		for _, p := range spans {
			edges = append(edges, p.From.Start(e.zones[name]))
		}
		edges = append(edges, spans[len(spans)-1].To.Start(e.zones[name]))
		if err := s.readEdges(ctx, meters, edges, e.readings); err != nil {
			return e, err
		}
	}
	return e, nil
}

func (s *Store) readEdges(ctx context.Context, meters []billing.MeterID, edges []time.Time, into map[MeterAt]edge) error {
	rows, err := s.Pool.Query(ctx, `SELECT DISTINCT ON (meter_id, freeze_at) meter_id, freeze_at, registers, quality FROM readings
		WHERE meter_id = ANY($1) AND freeze_at = ANY($2) ORDER BY meter_id, freeze_at, version DESC`, meters, edges)
	if err != nil {
		return translate(err)
	}
	var meter billing.MeterID
	var at time.Time
	var r billing.Registers
	var q billing.Quality
	_, err = pgx.ForEachRow(rows, []any{&meter, &at, &r, &q}, func() error {
		into[MeterAt{Meter: meter, At: at.UTC()}] = edge{append(billing.Registers(nil), r...), q}
		return nil
	})
	return translate(err)
}

// rows are the lines of one account and span: one per meter that stood there, at least one.
func (e energies) rows(row UseRow, h useHead, p billing.Period) []UseRow {
	from, to := p.Instants(e.zones[h.TimeZone])
	var rows []UseRow
	for _, f := range e.fittings[h.ServicePoint] {
		if !f.FromAt.Before(to) || (f.ToAt != nil && !f.ToAt.After(from)) {
			continue
		}
		one := row
		if len(rows) > 0 {
			one = UseRow{Site: row.Site, Account: row.Account, Customer: row.Customer, Address: row.Address, Service: row.Service, From: row.From, To: row.To}
		}
		one.Meter, one.Ratio = f.Meter, f.Ratio
		opening, closing := e.at(f, from, to)
		one.Opening, one.Closing = total(opening), total(closing)
		if closing != nil {
			one.Quality = closing.Quality
		}
		if opening != nil && closing != nil {
			if use, err := billing.Usage(opening.Registers, closing.Registers, f.Digits); err == nil {
				raw := use.Total() * int64(f.Ratio)
				one.Use = &raw
			}
		}
		rows = append(rows, one)
	}
	if len(rows) == 0 {
		return []UseRow{row}
	}
	return rows
}

// at gives what a fitting's meter showed when the span, or the fitting, began and ended.
func (e energies) at(f Fitting, from, to time.Time) (opening, closing *edge) {
	if r, ok := e.readings[MeterAt{Meter: f.Meter, At: from.UTC()}]; ok {
		opening = &r
	}
	if !f.FromAt.Before(from) {
		opening = &edge{f.Opening, billing.QualityActual}
	}
	if r, ok := e.readings[MeterAt{Meter: f.Meter, At: to.UTC()}]; ok {
		closing = &r
	}
	if f.ToAt != nil && !f.ToAt.After(to) {
		closing = &edge{f.Closing, billing.QualityActual}
	}
	return opening, closing
}

func total(e *edge) *int64 {
	if e == nil || len(e.Registers) == 0 {
		return nil
	}
	raw := e.Registers.Total()
	return &raw
}

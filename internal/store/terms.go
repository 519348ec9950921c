package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// The registers by which an account may be settled: that of the remote meter's total, or one that the contract names.
const (
	SettleByMeter    = "meter"
	SettleByRegister = "register"
)

// AccountTerms are what was agreed with a customer, from a day on until the next terms.
type AccountTerms struct {
	Account          billing.AccountID `db:"account_id"`
	FromDay          billing.Date
	Version          int
	Tariff           billing.TariffID      `db:"tariff_id"`
	Class            billing.CustomerClass // empty in terms to record: what holds on their first day
	Persons          int
	CapacityKVA      billing.Quantity `db:"capacity_kva"`
	SuspendedKVA     billing.Quantity `db:"suspended_kva"`
	ContractDemandKW billing.Quantity `db:"contract_demand_kw"`
	ChargeChoice     billing.ChargeChoice
	Settlement       string // SettleByMeter or SettleByRegister
	ContractRegister string // the register's name, empty for the total
	ArrearsContract  bool   // unpaid bills bear a late fee, and the balance brings no reminder and no cut
	RecordedAt       time.Time
	RecordedBy       billing.UserID
	Reason           string
}

// Register is the register that counts as total use.
func (t AccountTerms) Register() billing.Register {
	var r billing.Register
	_ = r.UnmarshalText([]byte(t.ContractRegister)) // the database holds names only; the total when empty
	return r
}

const selectTerms = `SELECT account_id, from_day, version, tariff_id, class, persons, capacity_kva, suspended_kva, contract_demand_kw, charge_choice, settlement,
	contract_register, arrears_contract, recorded_at, recorded_by, reason FROM account_terms`

// TermsOf reads the terms in force of accounts, each account's by first day.
func (s *Store) TermsOf(ctx context.Context, accounts []billing.AccountID) (map[billing.AccountID][]AccountTerms, error) {
	return termsOf(ctx, s.Pool, accounts)
}

func termsOf(ctx context.Context, q querier, accounts []billing.AccountID) (map[billing.AccountID][]AccountTerms, error) {
	rows, _ := q.Query(ctx, `SELECT DISTINCT ON (account_id, from_day) `+strings.TrimPrefix(selectTerms, "SELECT ")+`
		WHERE account_id = ANY($1) ORDER BY account_id, from_day, version DESC`, accounts)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[AccountTerms])
	by := map[billing.AccountID][]AccountTerms{}
	for _, t := range all {
		by[t.Account] = append(by[t.Account], t)
	}
	return by, translate(err)
}

// TermsHistory reads all that was ever recorded of an account's terms, by first day and version.
func (s *Store) TermsHistory(ctx context.Context, account billing.AccountID) ([]AccountTerms, error) {
	rows, _ := s.Pool.Query(ctx, selectTerms+` WHERE account_id = $1 ORDER BY from_day, version`, account)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[AccountTerms])
	return all, translate(err)
}

// SetTerms records terms that hold from a day on: by.Actor and by.Reason are kept with them. A day that was charged or billed already is
// billing.CodeClosed: one person changes no money, a correction does, which is previewed and approved. While a run that isn't issued has a bill of
// such a day it is billing.CodeBlocked.
func (s *Store) SetTerms(ctx context.Context, by By, t AccountTerms) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		var billedTo billing.Date
		var charged bool
		err := tx.QueryRow(ctx, `SELECT (SELECT max(period_to) FROM bills WHERE account_id = $1 AND state = 'issued'), coalesce((SELECT c.upto > $2::date::timestamp AT TIME ZONE s.time_zone
			FROM charges c JOIN accounts a ON a.id = c.account_id JOIN sites s ON s.id = a.site_id WHERE c.account_id = $1 ORDER BY c.period_from DESC, c.upto DESC LIMIT 1), false)`,
			t.Account, t.FromDay).Scan(&billedTo, &charged)
		switch {
		case err != nil:
			return err
		case t.FromDay.Before(billedTo):
			return billing.Errorf(billing.CodeClosed, "%s lies in a period that is billed up to %s: ask for a correction, which bills the period again", t.FromDay, billedTo.AddDays(-1))
		case charged:
			return billing.Errorf(billing.CodeClosed, "%s was charged already: ask for a correction, which shows what changes and which others approve, or choose a day that is still to be charged", t.FromDay)
		}
		if err := RecordTerms(ctx, tx, t); err != nil {
			return err
		}
		return unrated(ctx, tx, t.Account, t.FromDay, true)
	})
}

// unrated refuses while a run that isn't issued has a bill of the account, or is about to make one, that a change on a day would contradict: of
// the day's period, and with later set of those after it. A held bill is rated again when it is released, so it refuses nothing.
func unrated(ctx context.Context, tx *Tx, account billing.AccountID, day billing.Date, later bool) error {
	const open = ` FROM accounts a JOIN billing_runs r ON r.site_id = a.site_id AND r.state NOT IN ('issued', 'cancelled') AND r.period_to > $2 AND ($3 OR r.period_from <= $2)`
	// Asked twice: whoever holds or releases the bill, or lets a blocked run go on, comes before or after the whole change.
	if _, err := tx.Exec(ctx, `SELECT 1`+open+` WHERE a.id = $1 ORDER BY r.id FOR SHARE OF r`, account, day, later); err != nil {
		return err
	}
	var run billing.RunID
	var rated bool
	err := tx.QueryRow(ctx, `SELECT r.id, b.id IS NOT NULL`+open+` LEFT JOIN bills b ON b.run_id = r.id AND b.account_id = a.id
		WHERE a.id = $1 AND (b.state = 'draft' OR b.id IS NULL AND r.state = 'rating') ORDER BY r.id LIMIT 1`, account, day, later).Scan(&run, &rated)
	switch {
	case err == pgx.ErrNoRows:
		return nil
	case err != nil:
		return err
	case rated:
		return billing.Errorf(billing.CodeBlocked, "run %s has rated account %s already: hold its bill there first and release it afterwards, or wait until the run is issued", run, account)
	}
	return billing.Errorf(billing.CodeBlocked, "run %s is being rated: try again when it has finished", run)
}

// RecordTerms is SetTerms in a transaction, without asking whether the day is billed: for a correction, which bills again itself.
func RecordTerms(ctx context.Context, tx *Tx, t AccountTerms) error {
	if strings.TrimSpace(tx.Reason) == "" {
		return billing.Errorf(billing.CodeInvalidInput, "Say why the terms change.")
	}
	var a Account
	rows, _ := tx.Query(ctx, selectAccount+` WHERE id = $1 FOR UPDATE`, t.Account)
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Account])
	if err != nil {
		return accountError(err, t.Account)
	}
	before, err := termsOn(ctx, tx, t.Account, t.FromDay)
	if err != nil {
		return err
	}
	if t.Class == "" {
		t.Class = before.Class
	}
	if err := checkTerms(ctx, tx, a, before, t); err != nil {
		return err
	}
	all, err := termsOf(ctx, tx, []billing.AccountID{a.ID})
	if err != nil {
		return err
	}
	if err := CheckRegister(all[a.ID], t); err != nil {
		return err
	}
	err = tx.QueryRow(ctx, `INSERT INTO account_terms (account_id, from_day, version, tariff_id, class, persons, capacity_kva, suspended_kva, contract_demand_kw,
			charge_choice, settlement, contract_register, arrears_contract, recorded_at, recorded_by, reason)
		SELECT $1, $2, coalesce((SELECT max(version) FROM account_terms WHERE account_id = $1 AND from_day = $2), 0) + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, business_now(), $13, $14
		RETURNING version`, t.Account, t.FromDay, t.Tariff, t.Class, t.Persons, t.CapacityKVA, t.SuspendedKVA, t.ContractDemandKW, t.ChargeChoice, t.Settlement, t.ContractRegister, t.ArrearsContract,
		tx.Actor, tx.Reason).Scan(&t.Version)
	if err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: a.Site, Kind: "account", ID: string(a.ID), Event: "terms_set", Refs: []string{string(a.Customer), string(t.Tariff)}, Data: t.facts()})
}

// facts are the terms for the timeline.
func (t AccountTerms) facts() map[string]any {
	f := map[string]any{"from": t.FromDay, "version": t.Version, "tariff": t.Tariff, "class": t.Class}
	for name, value := range map[string]string{
		"capacity_kva": zeroEmpty(t.CapacityKVA), "suspended_kva": zeroEmpty(t.SuspendedKVA), "contract_demand_kw": zeroEmpty(t.ContractDemandKW),
		"choice": string(t.ChargeChoice), "register": t.ContractRegister,
	} {
		if value != "" {
			f[name] = value
		}
	}
	if t.Persons > 0 {
		f["persons"] = t.Persons
	}
	if t.ArrearsContract {
		f["arrears_contract"] = true
	}
	return f
}

func zeroEmpty(q billing.Quantity) string {
	if q.IsZero() {
		return ""
	}
	return q.String()
}

// termsOn are the terms in force on a day; those of the first day before it.
func termsOn(ctx context.Context, tx *Tx, account billing.AccountID, day billing.Date) (AccountTerms, error) {
	rows, _ := tx.Query(ctx, selectTerms+` WHERE account_id = $1 AND from_day <= $2 ORDER BY from_day DESC, version DESC LIMIT 1`, account, day)
	t, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[AccountTerms])
	if err == pgx.ErrNoRows {
		return t, billing.Errorf(billing.CodeInvalidInput, "%s lies before the account was opened: choose a later day", day)
	}
	return t, err
}

// Check refuses what no contract says, whoever its customer is: billing.CodeInvalidInput.
func (t AccountTerms) Check() error {
	for _, q := range []billing.Quantity{t.CapacityKVA, t.SuspendedKVA, t.ContractDemandKW} {
		if q.Sign() < 0 {
			return billing.Errorf(billing.CodeInvalidInput, "The quantity %s is negative: enter it as the meter or the slip shows it.", q)
		}
	}
	switch {
	case t.Persons < 0 || t.Persons > 99:
		return billing.Errorf(billing.CodeInvalidInput, "write how many persons are registered, 0 to 99")
	case t.ChargeChoice != "" && t.ChargeChoice != billing.ChooseCapacity && t.ChargeChoice != billing.ChooseDemand:
		return billing.Errorf(billing.CodeInvalidInput, "There is no choice %q between charges: choose capacity or demand, or leave it out.", t.ChargeChoice)
	case t.Settlement == SettleByRegister && t.Register() == billing.Total:
		return billing.Errorf(billing.CodeInvalidInput, "Name the register that the contract bills by, or bill by the meter's total.")
	case t.Settlement == SettleByMeter && t.ContractRegister != "":
		return billing.Errorf(billing.CodeInvalidInput, "The meter's total settles, so the contract can't name the %s register too.", t.ContractRegister)
	}
	return t.Class.Check()
}

// checkTerms refuses terms that couldn't be billed.
func checkTerms(ctx context.Context, tx *Tx, a Account, before, t AccountTerms) error {
	var service billing.Service
	err := tx.QueryRow(ctx, `SELECT service FROM tariffs WHERE id = $1`, t.Tariff).Scan(&service)
	switch {
	case err == pgx.ErrNoRows:
		return billing.Errorf(billing.CodeTariffMissing, "There is no tariff %q: choose a published one.", t.Tariff)
	case err != nil:
		return err
	case service != a.Service:
		return billing.Errorf(billing.CodeInvalidInput, "The tariff %s is for %s, the account is not: choose another.", t.Tariff, service)
	case t.Check() != nil:
		return t.Check()
	case a.CreditMode == billing.CreditMeter && t.ArrearsContract:
		return ErrMeterArrears()
	case a.CreditMode == billing.CreditMeter && t.Tariff != before.Tariff:
		return billing.Errorf(billing.CodeBlocked, "The account's meter holds its prices itself: publish the prices with a change of its tariff, which writes them to the meter.")
	case t.Tariff != before.Tariff:
		return tariffBelowCeilings(ctx, tx, a, t.Tariff, t.FromDay)
	}
	return nil
}

// CheckRegister refuses terms, to stand among all of an account's by first day, that would let another register count from within a month, on
// their own day or on that of the terms that follow: the use that counts toward steps is added up by whole months.
func CheckRegister(all []AccountTerms, t AccountTerms) error {
	before, after := t.Register(), t
	for i, o := range all {
		if i == 0 || o.FromDay.Before(t.FromDay) {
			before = o.Register()
		}
		if o.FromDay.After(t.FromDay) {
			after = o
			break
		}
	}
	switch {
	case t.Register() != before && t.FromDay.Day() != 1:
		return billing.Errorf(billing.CodeInvalidInput, "Another register can count only from the first day of a month: choose one.")
	case t.Register() != after.Register() && after.FromDay.Day() != 1:
		return billing.Errorf(billing.CodeInvalidInput, "The terms from %s on count another register, which can't begin within a month: change those first, or let both count the same register.", after.FromDay)
	}
	return nil
}

// ErrMeterArrears refuses an arrears contract where the meter holds the credit and cuts by itself: there is no debt to bear a late fee.
func ErrMeterArrears() error {
	return billing.Errorf(billing.CodeInvalidInput, "The account's credit is in its meter, which lets no debt arise: an arrears contract needs platform credit.")
}

// ClassNow is the class of an account's customer today: whether and how it may be cut depends on it.
func (s *Store) ClassNow(ctx context.Context, account billing.AccountID) (billing.CustomerClass, error) {
	var class billing.CustomerClass
	err := s.Pool.QueryRow(ctx, `SELECT account_class_now(id) FROM accounts WHERE id = $1`, account).Scan(&class)
	return class, translate(err)
}

// ClassesOfMeters reads the class, on the local day of an instant, of the accounts that meters measured then, or last before they were
// taken off. A meter without an account is missing from the answer.
func (s *Store) ClassesOfMeters(ctx context.Context, meters []billing.MeterID, at time.Time) (map[billing.MeterID]billing.CustomerClass, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT DISTINCT ON (f.meter_id) f.meter_id, account_class(a.id, ($2 AT TIME ZONE s.time_zone)::date)
		FROM fittings f JOIN accounts a ON a.service_point_id = f.service_point_id JOIN sites s ON s.id = a.site_id
		WHERE f.meter_id = ANY($1) ORDER BY f.meter_id, f.from_at <= $2 DESC, f.from_at DESC`, meters, at)
	by := map[billing.MeterID]billing.CustomerClass{}
	var id billing.MeterID
	var class billing.CustomerClass
	_, err := pgx.ForEachRow(rows, []any{&id, &class}, func() error {
		by[id] = class
		return nil
	})
	return by, translate(err)
}

// The kinds of quantities that a month has beside its registers.
const (
	DemandKW = "demand_kw"
	Kvarh    = "kvarh"
	Reverse  = "reverse"
)

// QuantityKinds lists the kinds.
var QuantityKinds = []string{DemandKW, Kvarh, Reverse}

// PeriodQuantity is a quantity of a calendar month: maximum demand in kW, reactive or reverse energy in kvarh or kWh.
type PeriodQuantity struct {
	Account    billing.AccountID `db:"account_id"`
	Month      billing.Date      // its first day
	Kind       string
	Version    int
	Value      billing.Quantity
	Source     string // meter or manual
	RecordedAt time.Time
	RecordedBy billing.UserID
	Reason     string
}

const selectQuantity = `SELECT DISTINCT ON (account_id, month, kind) account_id, month, kind, version, value, source, recorded_at, recorded_by, reason FROM period_quantities`

// PeriodQuantities reads what holds of accounts' months, from the month of one day to that of another, by account, month and kind.
func (s *Store) PeriodQuantities(ctx context.Context, accounts []billing.AccountID, from, to billing.Date) (map[billing.AccountID][]PeriodQuantity, error) {
	rows, _ := s.Pool.Query(ctx, selectQuantity+` WHERE account_id = ANY($1) AND month BETWEEN $2 AND $3 ORDER BY account_id, month, kind, version DESC`,
		accounts, billing.MonthPeriod(from).From, billing.MonthPeriod(to).From)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[PeriodQuantity])
	by := map[billing.AccountID][]PeriodQuantity{}
	for _, q := range all {
		by[q.Account] = append(by[q.Account], q)
	}
	return by, translate(err)
}

// EnterPeriodQuantity records a quantity of a month; by.Actor and by.Reason are kept with it. A month that is billed is
// billing.CodeClosed: a correction, which bills again, enters those. While a run that isn't issued has rated the month it is billing.CodeBlocked.
func (s *Store) EnterPeriodQuantity(ctx context.Context, by By, q PeriodQuantity) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		var billed bool
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM bills WHERE account_id = $1 AND state = 'issued' AND period_from <= $2 AND period_to > $2)`, q.Account, q.Month).Scan(&billed)
		if err != nil {
			return err
		}
		if billed {
			return billing.Errorf(billing.CodeClosed, "%s is billed: ask for a correction, which bills it again", billing.MonthPeriod(q.Month))
		}
		if err := unrated(ctx, tx, q.Account, q.Month, false); err != nil {
			return err
		}
		return RecordPeriodQuantity(ctx, tx, q)
	})
}

// RecordPeriodQuantity is EnterPeriodQuantity in a transaction, without asking whether the month is billed: for a correction.
func RecordPeriodQuantity(ctx context.Context, tx *Tx, q PeriodQuantity) error {
	a, err := readAccount(ctx, tx, q.Account)
	switch {
	case err != nil:
		return err
	case strings.TrimSpace(tx.Reason) == "":
		return billing.Errorf(billing.CodeInvalidInput, "Say where the quantity comes from.")
	case !slices.Contains(QuantityKinds, q.Kind):
		return billing.Errorf(billing.CodeInvalidInput, "There is no quantity %q of a month: choose demand_kw, kvarh or reverse.", q.Kind)
	case q.Value.Sign() < 0:
		return billing.Errorf(billing.CodeInvalidInput, "The quantity %s is negative: enter it as the meter or the slip shows it.", q.Value)
	case q.Month.Day() != 1:
		return billing.Errorf(billing.CodeInvalidInput, "A quantity belongs to a whole month, not to %s.", q.Month)
	}
	err = tx.QueryRow(ctx, `INSERT INTO period_quantities (account_id, month, kind, version, value, source, recorded_at, recorded_by, reason)
		SELECT $1, $2, $3, coalesce((SELECT max(version) FROM period_quantities WHERE account_id = $1 AND month = $2 AND kind = $3), 0) + 1, $4, $5, business_now(), $6, $7
		RETURNING version`, q.Account, q.Month, q.Kind, q.Value, q.Source, tx.Actor, tx.Reason).Scan(&q.Version)
	if err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: a.Site, Kind: "account", ID: string(a.ID), Event: "quantity_entered", Refs: []string{string(a.Customer)},
		Data: map[string]any{"month": billing.MonthPeriod(q.Month).String(), "kind": q.Kind, "value": q.Value, "version": q.Version, "source": q.Source}})
}

package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
)

// Account holds the balance of one service; it is what is billed and cut.
type Account struct {
	ID              billing.AccountID
	Site            billing.SiteID         `db:"site_id"`
	Customer        billing.CustomerID     `db:"customer_id"`
	ServicePoint    billing.ServicePointID `db:"service_point_id"`
	Service         billing.Service
	CreditMode      billing.CreditMode
	Tariff          billing.TariffID `db:"tariff_id"` // today; other days have that of their terms
	PrepaidContract bool             // agrees to a cut at the limit; false under an arrears contract; today, by its terms
	CutLimit        billing.Money    `db:"cut_limit_fen"`
	OpenedOn        billing.Date
	UseBefore       int64 // raw units used in the step year before OpenedOn
}

const selectAccount = `SELECT id, site_id, customer_id, service_point_id, service, credit_mode, account_tariff_now(id) AS tariff_id, account_prepaid_now(id) AS prepaid_contract, cut_limit_fen, opened_on, use_before FROM accounts`

// Account reads one account.
func (s *Store) Account(ctx context.Context, id billing.AccountID) (Account, error) {
	rows, _ := s.Pool.Query(ctx, selectAccount+` WHERE id = $1`, id)
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Account])
	return a, accountError(err, id)
}

func readAccount(ctx context.Context, tx *Tx, id billing.AccountID) (Account, error) {
	rows, _ := tx.Query(ctx, selectAccount+` WHERE id = $1`, id)
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Account])
	return a, accountError(err, id)
}

func accountError(err error, id billing.AccountID) error {
	err = translate(err)
	if billing.CodeOf(err) == billing.CodeNotFound {
		return billing.Errorf(billing.CodeNotFound, "There is no account %q: check the number on the customer's card or bill.", id)
	}
	return err
}

// NewAccount is an account to be opened, with what it takes over from the former system.
type NewAccount struct {
	Account
	// Opening is the balance that is taken over; it may be negative.
	Opening billing.Money
}

// OpenAccount opens an account with its credit account, balance, supply (taken over as on) and opening balance.
func (s *Store) OpenAccount(ctx context.Context, by By, n NewAccount) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		a := n.Account
		if _, err := tx.Exec(ctx, `INSERT INTO accounts (id, site_id, customer_id, service_point_id, service, credit_mode, tariff_id, prepaid_contract, cut_limit_fen, opened_on, use_before)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, a.ID, a.Site, a.Customer, a.ServicePoint, a.Service, a.CreditMode, a.Tariff,
			a.PrepaidContract, a.CutLimit, a.OpenedOn, a.UseBefore); err != nil {
			return err
		}
		if err := tariffBelowCeilings(ctx, tx, a, a.Tariff, a.OpenedOn); err != nil {
			return err
		}
		if err := OpenCustomerAccount(ctx, tx, a.Site, a.ID); err != nil {
			return err
		}
		refs := []string{string(a.Customer), string(a.ServicePoint)}
		err := tx.Journal(ctx, Entry{Site: a.Site, Kind: "account", ID: string(a.ID), Event: "opened", Refs: refs,
			Data: map[string]any{"credit_mode": a.CreditMode, "tariff": a.Tariff, "opening_fen": n.Opening}})
		if err != nil {
			return err
		}
		if err := openSupply(ctx, tx, a); err != nil {
			return err
		}
		if n.Opening == 0 {
			return nil
		}
		_, err = Post(ctx, tx, ledger.Move(a.Site, ledger.KindOpening, "account/"+string(a.ID)+"/opening", string(a.ID),
			ledger.Opening(a.Site), ledger.Customer(a.ID), n.Opening))
		return err
	})
}

// fittedMeter is the meter that measures the account now.
func fittedMeter(ctx context.Context, tx *Tx, account billing.AccountID) (billing.MeterID, error) {
	var id billing.MeterID
	err := tx.QueryRow(ctx, `SELECT f.meter_id FROM accounts a JOIN fittings f ON f.service_point_id = a.service_point_id AND f.to_at IS NULL WHERE a.id = $1`, account).Scan(&id)
	if err == pgx.ErrNoRows {
		return "", billing.Errorf(billing.CodeBlocked, "Account %s has no meter fitted: fit one first.", account)
	}
	return id, err
}

// FittedMeter is the meter that measures an account now.
func (s *Store) FittedMeter(ctx context.Context, account billing.AccountID) (Meter, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+meterColumns+` FROM accounts a JOIN fittings f ON f.service_point_id = a.service_point_id AND f.to_at IS NULL
		JOIN meters m ON m.id = f.meter_id WHERE a.id = $1`, account)
	m, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Meter])
	if err == pgx.ErrNoRows {
		return m, billing.Errorf(billing.CodeBlocked, "Account %s has no meter fitted: fit one first.", account)
	}
	return m, translate(err)
}

// AccountGateway is the gateway on whose line the account's meter hangs.
func (s *Store) AccountGateway(ctx context.Context, account billing.AccountID) (billing.GatewayID, error) {
	var id billing.GatewayID
	err := s.Pool.QueryRow(ctx, `SELECT m.gateway_id FROM accounts a JOIN fittings f ON f.service_point_id = a.service_point_id AND f.to_at IS NULL
		JOIN meters m ON m.id = f.meter_id WHERE a.id = $1`, account).Scan(&id)
	return id, translate(err)
}

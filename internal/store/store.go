// Package store is PostgreSQL: the truth about the business. One file per noun; SQL stands in the Go file of its noun.
//
// Exported methods own their transaction; lower-case helpers take one. Every state change writes its journal row in the same
// transaction through Tx.Journal. It knows nothing of Temporal, HTTP or devices.
package store

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/meterflow/meterflow/internal/billing"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is a pool of connections to the one database.
type Store struct {
	Pool *pgxpool.Pool
}

// leastConns leaves connections for people's decisions beside the pages of a billing run, also on a machine with few cores.
const leastConns = 12

// Open connects and checks that the server answers. The caller closes it.
func Open(ctx context.Context, url string) (*Store, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, billing.Errorf(billing.CodeInvalidInput, "the database address can't be read: give it as postgres://user:password@host:port/name")
	}
	if !strings.Contains(url, "pool_max_conns") {
		cfg.MaxConns = max(cfg.MaxConns, leastConns)
	}
	cfg.ConnConfig.RuntimeParams["timezone"] = "UTC"
	cfg.ConnConfig.RuntimeParams["application_name"] = "meterflow"
	// The server's default, 4, is of disks that turn: a page of 500 meters was looked for through the whole table of meters.
	cfg.ConnConfig.RuntimeParams["random_page_cost"] = "1.1"
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, billing.Errorf(billing.CodeUnavailable, "the database at %s:%d doesn't answer: start it or correct --database-url (%v)",
			cfg.ConnConfig.Host, cfg.ConnConfig.Port, rootCause(err))
	}
	return &Store{Pool: pool}, nil
}

// Close releases all connections.
func (s *Store) Close() { s.Pool.Close() }

// Migrate applies the migrations that the database doesn't have yet, each in a transaction of its own, one process at a time.
// It returns the names of those it applied.
func (s *Store) Migrate(ctx context.Context) ([]string, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	conn, err := s.Pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock(7230001)`); err != nil {
		return nil, err
	}
	defer conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock(7230001)`) //nolint:errcheck // the lock goes with the session anyway
	if _, err := conn.Exec(ctx, `CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())`); err != nil {
		return nil, err
	}
	var applied []string
	for _, path := range names {
		name := strings.TrimPrefix(path, "migrations/")
		done, err := applyMigration(ctx, conn.Conn(), path, name)
		if err != nil {
			return applied, fmt.Errorf("migration %s: %w", name, err)
		}
		if done {
			applied = append(applied, name)
		}
	}
	return applied, nil
}

func applyMigration(ctx context.Context, conn *pgx.Conn, path, name string) (bool, error) {
	sql, err := migrations.ReadFile(path)
	if err != nil {
		return false, err
	}
	applied := false
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var there bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM migrations WHERE name = $1)`, name).Scan(&there); err != nil || there {
			return err
		}
		if _, err := tx.Exec(ctx, string(sql)); err != nil {
			return err
		}
		applied = true
		_, err := tx.Exec(ctx, `INSERT INTO migrations (name) VALUES ($1)`, name)
		return err
	})
	return applied, err
}

// By says who does a change and why, for the journal.
type By struct {
	Actor      string // user id, or "workflow"
	Reason     string
	WorkflowID string
	RunID      string
}

// Tx is one transaction of a change: pgx's transaction, the business instant that it happens at, and who does it.
type Tx struct {
	pgx.Tx
	By
	// Now is the business instant of the transaction.
	Now time.Time
}

// Change runs f in one transaction at one business instant; constraint violations come back as billing errors that people can read.
func (s *Store) Change(ctx context.Context, by By, f func(tx *Tx) error) error {
	err := pgx.BeginFunc(ctx, s.Pool, func(ptx pgx.Tx) error {
		tx := &Tx{Tx: ptx, By: by}
		if err := ptx.QueryRow(ctx, `SELECT business_now()`).Scan(&tx.Now); err != nil {
			return err
		}
		return f(tx)
	})
	return translate(err)
}

// Entry is one state change to be journaled.
type Entry struct {
	Site     billing.SiteID
	Kind     string // the entity's kind: recharge, case, cycle, run, bill, reminder, command, supply, message, account, meter …
	ID       string
	Event    string // lower_snake: entered, approved, delivered …
	From, To string // states; equal or empty for an event that changes none
	Actor    string // overrides By.Actor when set
	Reason   string // overrides By.Reason when set
	Refs     []string
	Data     any // facts for the timeline, marshalled to JSON; no personal data
}

// Journal appends e to the chain of its entity, in this transaction.
func (tx *Tx) Journal(ctx context.Context, e Entry) error {
	row, err := journalRow(tx.By, e)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `SELECT journal_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		e.Site, e.Kind, e.ID, e.Event, e.From, e.To, row.actor, row.reason, tx.WorkflowID, tx.RunID, row.refs, row.data)
	return err
}

// rowParts are the parts of a journal row that an entry takes from its transaction, or leaves out.
type rowParts struct {
	actor, reason string
	refs          []string
	data          string
}

func journalRow(by By, e Entry) (rowParts, error) {
	r := rowParts{actor: cmp.Or(e.Actor, by.Actor), reason: cmp.Or(e.Reason, by.Reason), refs: append([]string{by.WorkflowID}, e.Refs...), data: "{}"}
	if e.Data == nil {
		return r, nil
	}
	data, err := json.Marshal(e.Data)
	r.data = string(data)
	return r, err
}

// constraintSentences says what a person should do when a constraint refuses. The database decides in the end, whatever the code above it forgot.
var constraintSentences = map[string]struct {
	code     billing.Code
	sentence string
}{
	"maker_is_not_first_approver":             {billing.CodeSelfApproval, "you entered this recharge: two other clerks must approve it"},
	"maker_is_not_second_approver":            {billing.CodeSelfApproval, "you entered this recharge: two other clerks must approve it"},
	"approvers_differ":                        {billing.CodeAlreadyApproved, "you have approved this recharge already: another clerk must give the second approval"},
	"verifier_is_not_issuer":                  {billing.CodeSelfApproval, "you verified this run: another supervisor must issue it"},
	"batch_maker_is_not_starter":              {billing.CodeSelfApproval, "you made this batch: another person must start it"},
	"commands_one_open_setting":               {billing.CodeBlocked, "another setting of this meter is open: wait until it is settled"},
	"recharges_amount_fen_check":              {billing.CodeInvalidInput, "the amount must be more than zero"},
	"recharges_evidence_once":                 {billing.CodeConflict, "this slip or payment number was used for another recharge already: check the number"},
	"commands_one_open_credit":                {billing.CodeBlocked, "another recharge is being written to this meter: wait until it is settled"},
	"commands_one_open_switch":                {billing.CodeBlocked, "another switching command of this meter is open: wait until it is settled"},
	"reminders_one_open":                      {billing.CodeConflict, "this account has an open arrears case already"},
	"cutoffs_one_open":                        {billing.CodeConflict, "a cut of this account is planned already"},
	"gateways_registration_id_key":            {billing.CodeConflict, "another gateway has this registration id already: use the one that is printed on the unit"},
	"gateways_address_key":                    {billing.CodeConflict, "another gateway has this address already: check host and port"},
	"gateways_pkey":                           {billing.CodeConflict, "a gateway has this number already: take another"},
	"boxes_pkey":                              {billing.CodeConflict, "a box has this number already: take another"},
	"meters_pkey":                             {billing.CodeConflict, "a meter has or had this number already: take another"},
	"meters_serial_key":                       {billing.CodeConflict, "a meter has or had this serial number already: copy it from the meter's plate"},
	"meters_one_per_unit":                     {billing.CodeConflict, "another meter of this line has this unit id: see the meter's own setting"},
	"round_reader_is_not_checker":             {billing.CodeSelfApproval, "you read this round yourself: another supervisor must check it"},
	"finding_reader_is_not_settler":           {billing.CodeSelfApproval, "this is about your own work: another supervisor must settle it"},
	"rounds_one_open_per_route":               {billing.CodeConflict, "a round of this route is under way already: close or cancel it first"},
	"reading_routes_site_id_name_key":         {billing.CodeConflict, "this site has a route of this name already: choose another name"},
	"cases_one_open_per_cause":                {billing.CodeConflict, "an open case for this cause exists already"},
	"billing_runs_one_open":                   {billing.CodeConflict, "another billing run of this site and period is not finished: issue or cancel it first"},
	"bill_meters_once":                        {billing.CodeConflict, "this meter was billed for this time already: reverse that bill first"},
	"bill_meters_version":                     {billing.CodeConflict, "this meter was billed for this period and version already"},
	"account_terms_pkey":                      {billing.CodeConflict, "the account's terms of that day were changed at the same moment: look at them and try again"},
	"contract_names_register":                 {billing.CodeInvalidInput, "name the register that the contract bills by, or bill by the meter's total"},
	"ledger_entries_idempotency_key_key":      {billing.CodeConflict, "this entry was posted already"},
	"ledger_entries_reverses_key":             {billing.CodeConflict, "this entry was reversed already: nothing was posted"},
	"hold_posts_its_amount_at_most":           {billing.CodeInvalidInput, "no more can be posted than the hold keeps back"},
	"hold_placer_is_not_poster":               {billing.CodeSelfApproval, "you placed this hold: another person must post it"},
	"tariff_maker_is_not_first_approver":      {billing.CodeSelfApproval, "you wrote in this change: two colleagues who didn't must approve it"},
	"tariff_maker_is_not_second_approver":     {billing.CodeSelfApproval, "you wrote in this change: two colleagues who didn't must approve it"},
	"tariff_approvers_differ":                 {billing.CodeAlreadyApproved, "you have approved this change already: another colleague must give the second approval"},
	"tariff_changes_one_open":                 {billing.CodeConflict, "another change of this tariff is open: finish or withdraw it first"},
	"tariff_simulations_one_running":          {billing.CodeConflict, "a simulation of this change is running: wait for its result"},
	"rule_versions_overlap":                   {billing.CodeConflict, "the dates overlap those of another version of these rules: open the page again and choose a later day"},
	"rule_versions_future":                    {billing.CodeInvalidInput, "rules begin on a day after today: choose a later day"},
	"rule_versions_end_after_start":           {billing.CodeInvalidInput, "the rules end on or before the day on which they begin: correct one of the days"},
	"rule_groups_one_per_kind":                {billing.CodeConflict, "a group for this kind of meter exists at this site already: give that one a new version"},
	"sub_points_one_master":                   {billing.CodeConflict, "this meter has a master already: end that first"},
	"sub_points_end_after_start":              {billing.CodeInvalidInput, "this ends before it begins: correct one of the instants"},
	"late_fee_rules_one_open":                 {billing.CodeConflict, "another late-fee rule of this service waits for approval already: decide that first"},
	"late_fee_rules_two_persons":              {billing.CodeSelfApproval, "You made this late-fee rule: another person must approve it."},
	"late_fee_waivers_above_ceiling":          {billing.CodeBlocked, "Waiving so much of a late fee takes two persons: a colleague has to agree."},
	"late_fee_waivers_two_persons":            {billing.CodeSelfApproval, "Waiving so much of a late fee takes two persons: a colleague has to agree."},
	"late_fee_waivers_pkey":                   {billing.CodeConflict, "the late fee of this bill was waived already"},
	"bills_one_issued":                        {billing.CodeClosed, "this period of the account is billed already: an issued bill is changed by a correction only"},
	"correction_maker_is_not_first_approver":  {billing.CodeSelfApproval, "you made this correction: another person must approve it"},
	"correction_maker_is_not_second_approver": {billing.CodeSelfApproval, "you made this correction: another person must approve it"},
	"correction_approvers_differ":             {billing.CodeAlreadyApproved, "you have approved this correction already: another person must give the second approval"},
	"adjustment_maker_is_not_first_approver":  {billing.CodeSelfApproval, "you entered this adjustment: two others must approve it"},
	"adjustment_maker_is_not_second_approver": {billing.CodeSelfApproval, "you entered this adjustment: two others must approve it"},
	"adjustment_approvers_differ":             {billing.CodeAlreadyApproved, "you have approved this adjustment already: another person must give the second approval"},
	"payment_plans_two_persons":               {billing.CodeSelfApproval, "Ending a payment plan takes three persons: two colleagues have to agree."},
	"payment_plans_three_persons":             {billing.CodeSelfApproval, "Ending a payment plan takes three persons: two colleagues have to agree."},
	"adjustments_once":                        {billing.CodeConflict, "another adjustment of this meter covers a part of that time already: what a meter registered is adjusted once"},
	"adjustments_undone_once":                 {billing.CodeConflict, "another adjustment undoes this one already: open that one"},
	"meter_tests_one_a_day":                   {billing.CodeConflict, "a test of this meter on that day is on file already: check the day"},
}

// ownCodes are the refusals that functions of the database raise for people to read, each with a whole sentence. Its other codes (MF001 to
// MF004) say that the program is wrong.
var ownCodes = map[string]billing.Code{
	"MF005": billing.CodeConflict, // another request under a used key
	"MF006": billing.CodeClosed,   // dated on a closed day
	"MF007": billing.CodeClosed,   // a hold that is settled
	"MF008": billing.CodeBlocked,  // more than is available
	"MF009": billing.CodeBlocked,  // a day that can't be closed now
	"MF010": billing.CodeClosed,   // a bill that is issued stays what it is
	"MF011": billing.CodeClosed,   // and is reversed only by its successor
	"MF012": billing.CodeClosed,   // a bill without the late fee that is to be waived
	"MF013": billing.CodeConflict, // unit ids of boxes and circuits that overlap
}

// translate turns what PostgreSQL refuses into a billing error; anything else passes through.
func translate(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return billing.Errorf(billing.CodeNotFound, "there is no such record")
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	if s, ok := constraintSentences[pg.ConstraintName]; ok {
		return billing.Errorf(s.code, "%s", s.sentence)
	}
	if code, ok := ownCodes[pg.Code]; ok {
		return billing.Errorf(code, "%s", pg.Message)
	}
	switch pg.Code {
	case "23505":
		return billing.Errorf(billing.CodeConflict, "this exists already (%s)", pg.ConstraintName)
	case "23503":
		return billing.Errorf(billing.CodeNotFound, "a record that this refers to doesn't exist (%s)", pg.ConstraintName)
	case "23514":
		return billing.Errorf(billing.CodeInvalidInput, "the database refuses this value (%s)", pg.ConstraintName)
	}
	return err
}

func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		// A connection is tried in several ways; what the last one said stands for all.
		if all, ok := err.(interface{ Unwrap() []error }); ok && len(all.Unwrap()) > 0 { //nolint:errorlint // one step at a time
			next = all.Unwrap()[len(all.Unwrap())-1]
		}
		if next == nil {
			return err
		}
		err = next
	}
}

package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// CycleRow is a cycle as a list shows it: its meters counted as they stand now, and its cases.
type CycleRow struct {
	Cycle
	Pending   int // not asked yet
	Silent    int // asked, without an answer that could be used, and without a value of another kind
	Cases     int // opened by this cycle
	OpenCases int
}

// selectCycleRow counts the meters of cycles that aren't closed from their list: the counts of the row itself follow at the close.
const selectCycleRow = `SELECT ` + cycleColumns + `, coalesce(m.pending, 0) AS pending, coalesce(m.silent, c.missing) AS silent, k.cases, k.open_cases, count(*) OVER () AS total
	FROM (SELECT x.id, x.site_id, x.day, x.freeze_at, x.window_end, x.state, x.passes, x.planned, coalesce(n.read, x.read) AS read,
			coalesce(n.estimated, x.estimated) AS estimated, coalesce(n.manual, x.manual) AS manual, x.missing, x.opened_at, x.closed_at
		FROM cycles x LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE outcome = 'read')::int AS read, count(*) FILTER (WHERE outcome = 'estimated')::int AS estimated,
				count(*) FILTER (WHERE outcome = 'manual')::int AS manual
			FROM cycle_meters WHERE cycle_id = x.id HAVING x.state <> 'closed') n ON true) c
	LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE outcome = 'planned')::int AS pending, count(*) FILTER (WHERE outcome IN ('silent', 'refused', 'wrong'))::int AS silent
		FROM cycle_meters WHERE cycle_id = c.id HAVING c.state <> 'closed') m ON true
	CROSS JOIN LATERAL (SELECT count(*)::int AS cases, (count(*) FILTER (WHERE state = 'open'))::int AS open_cases FROM cases WHERE cycle_id = c.id) k`

type countedCycle struct {
	CycleRow
	Total int
}

// CyclePage lists the cycles of some sites, newest first, and counts them all. An empty state means every state.
func (s *Store) CyclePage(ctx context.Context, sites []billing.SiteID, state string, limit, offset int) ([]CycleRow, int, error) {
	rows, _ := s.Pool.Query(ctx, selectCycleRow+` WHERE c.site_id = ANY($1) AND ($2 = '' OR c.state = $2) ORDER BY c.freeze_at DESC, c.id LIMIT $3 OFFSET $4`,
		sites, state, limit, offset)
	return unwrap(rows, func(c countedCycle) (CycleRow, int) { return c.CycleRow, c.Total })
}

// CycleRow reads one cycle as a list shows it.
func (s *Store) CycleRow(ctx context.Context, id billing.CycleID) (CycleRow, error) {
	rows, _ := s.Pool.Query(ctx, selectCycleRow+` WHERE c.id = $1`, id)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[countedCycle])
	return c.CycleRow, translate(err)
}

// unwrap parts the rows of a page from the count that each of them carries. A page beyond the end counts 0.
func unwrap[R, T any](rows pgx.Rows, part func(R) (T, int)) ([]T, int, error) {
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[R])
	list, total := make([]T, 0, len(all)), 0
	for _, r := range all {
		var row T
		row, total = part(r)
		list = append(list, row)
	}
	return list, total, translate(err)
}

// CycleResult is what a cycle brought for one meter.
type CycleResult struct {
	Gateway     billing.GatewayID
	GatewayName string
	Meter       billing.MeterID
	Outcome     string // planned, read, silent, refused, wrong, estimated, manual
	Error       string
	Quality     billing.Quality // of the current version; empty without one
	Doubtful    bool
}

// CycleResults lists the meters of a cycle by gateway and unit.
func (s *Store) CycleResults(ctx context.Context, id billing.CycleID) ([]CycleResult, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT cm.gateway_id, g.name, cm.meter_id, cm.outcome, cm.error, coalesce(r.quality, ''), coalesce(r.doubtful, false)
		FROM cycles c JOIN cycle_meters cm ON cm.cycle_id = c.id JOIN gateways g ON g.id = cm.gateway_id JOIN meters m ON m.id = cm.meter_id
		LEFT JOIN LATERAL (SELECT quality, doubtful FROM readings WHERE meter_id = cm.meter_id AND freeze_at = c.freeze_at ORDER BY version DESC LIMIT 1) r ON true
		WHERE c.id = $1 ORDER BY cm.gateway_id, m.unit, cm.meter_id`, id)
	rs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[CycleResult])
	return rs, translate(err)
}

// CaseRow is a case as the queue shows it. Subject* describe its first member.
type CaseRow struct {
	Case
	Members        int // with and without an outcome
	GatewayName    string
	Customer       string          // of the case's account
	SubjectService billing.Service // empty when the case is about no meter
	SubjectRule    string
	SubjectNumbers json.RawMessage // what the rule saw
	DecidedName    string
	AmountFen      *billing.Money // of the recharge in doubt
}

const selectCaseRow = `SELECT ` + caseColumns + `, coalesce(n.members, 0) AS members, coalesce(g.name, '') AS gateway_name, coalesce(cu.name, '') AS customer,
		coalesce(f.service, '') AS subject_service, coalesce(f.rule, '') AS subject_rule, coalesce(f.numbers, '{}') AS subject_numbers, coalesce(u.name, '') AS decided_name,
		rc.amount_fen, count(*) OVER () AS total
	FROM cases k LEFT JOIN gateways g ON g.id = k.gateway_id LEFT JOIN accounts a ON a.id = k.account_id LEFT JOIN customers cu ON cu.id = a.customer_id
	LEFT JOIN users u ON u.id = k.decided_by LEFT JOIN recharges rc ON rc.id = k.recharge_id
	LEFT JOIN LATERAL (SELECT count(*)::int AS members FROM case_members WHERE case_id = k.id) n ON true
	LEFT JOIN LATERAL (SELECT m.service, cm.rule, cm.numbers FROM case_members cm JOIN meters m ON m.id = cm.meter_id WHERE cm.case_id = k.id
		ORDER BY cm.freeze_at DESC, cm.meter_id LIMIT 1) f ON true`

type countedCase struct {
	CaseRow
	Total int
}

// CaseFilter chooses cases. Zero fields choose all.
type CaseFilter struct {
	Sites     []billing.SiteID
	State     string
	Kind      string
	Overdue   bool           // open past their due instant
	DecidedBy billing.UserID // resolved by this person
	Since     time.Time      // opened at or after
	Cycle     billing.CycleID
	Meter     billing.MeterID
	IDs       []billing.CaseID
}

const whereCase = ` WHERE k.site_id = ANY(@sites) AND (@state = '' OR k.state = @state) AND (@kind = '' OR k.kind = @kind)
	AND (NOT @overdue OR (k.state = 'open' AND k.due_at <= business_now())) AND (@decided = '' OR k.decided_by = @decided)
	AND k.opened_at >= @since AND (@cycle = '' OR k.cycle_id = @cycle)
	AND (@meter = '' OR k.meter_id = @meter OR EXISTS (SELECT 1 FROM case_members x WHERE x.case_id = k.id AND x.meter_id = @meter))
	AND (@ids::text[] IS NULL OR k.id = ANY(@ids))`

func (f CaseFilter) args() pgx.NamedArgs {
	return pgx.NamedArgs{"sites": f.Sites, "state": f.State, "kind": f.Kind, "overdue": f.Overdue, "decided": f.DecidedBy, "since": f.Since,
		"cycle": f.Cycle, "meter": f.Meter, "ids": f.IDs}
}

// caseOrder puts what is open first: what is due first leads, and what blocks a bill or a cut comes before what doesn't. Resolved
// ones follow, newest first.
const caseOrder = ` ORDER BY k.state, CASE WHEN k.state = 'open' THEN k.due_at END, k.blocking DESC, k.resolved_at DESC, length(k.id), k.id`

// CasePage lists the cases that the filter chooses, most urgent first, and counts them all.
func (s *Store) CasePage(ctx context.Context, f CaseFilter, limit, offset int) ([]CaseRow, int, error) {
	args := f.args()
	args["limit"], args["offset"] = limit, offset
	rows, _ := s.Pool.Query(ctx, selectCaseRow+whereCase+caseOrder+` LIMIT @limit OFFSET @offset`, args)
	return unwrap(rows, func(c countedCase) (CaseRow, int) { return c.CaseRow, c.Total })
}

// CaseCounts counts the cases of some sites for the tabs of the queue.
type CaseCounts struct {
	Open    int
	Overdue int
	Mine    int // decided by one person
}

// CaseCounts reads the counts in one query.
func (s *Store) CaseCounts(ctx context.Context, sites []billing.SiteID, person billing.UserID) (CaseCounts, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT count(*) FILTER (WHERE state = 'open'), count(*) FILTER (WHERE state = 'open' AND due_at <= business_now()),
		count(*) FILTER (WHERE decided_by = $2) FROM cases WHERE site_id = ANY($1) AND (state = 'open' OR decided_by = $2)`, sites, person)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[CaseCounts])
	return c, translate(err)
}

// NextCase is the most urgent open case that the filter chooses, other than the given one; empty when there is none.
func (s *Store) NextCase(ctx context.Context, f CaseFilter, not billing.CaseID) (billing.CaseID, error) {
	f.State = string(billing.CaseOpen)
	args := f.args()
	args["not"] = not
	var id billing.CaseID
	err := s.Pool.QueryRow(ctx, `SELECT k.id FROM cases k`+whereCase+` AND k.id <> @not`+caseOrder+` LIMIT 1`, args).Scan(&id)
	if err == pgx.ErrNoRows {
		return "", nil
	}
	return id, translate(err)
}

// PriceBasis is what an account was charged over a stretch, to say what a change of its use would mean in money.
type PriceBasis struct {
	Account    billing.AccountID
	ChargedFen billing.Money
	Charges    int
}

// ChargedBetween sums what was charged to accounts for readings in (from, to].
func (s *Store) ChargedBetween(ctx context.Context, accounts []billing.AccountID, from, to time.Time) (map[billing.AccountID]PriceBasis, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT account_id AS account, sum(amount_fen)::bigint AS charged_fen, count(*)::int AS charges FROM charges
		WHERE account_id = ANY($1) AND upto > $2 AND upto <= $3 GROUP BY account_id`, accounts, from, to)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[PriceBasis])
	by := map[billing.AccountID]PriceBasis{}
	for _, b := range all {
		by[b.Account] = b
	}
	return by, translate(err)
}

// CaseRecharge is what a person must know of a recharge in doubt.
type CaseRecharge struct {
	ID          billing.RechargeID
	AmountFen   billing.Money
	Channel     string
	State       billing.RechargeState
	EnteredName string
	EnteredAt   time.Time
}

// CaseRecharge reads the recharge that a case is about.
func (s *Store) CaseRecharge(ctx context.Context, id billing.RechargeID) (CaseRecharge, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT r.id, r.amount_fen, r.channel, r.state, u.name, r.entered_at FROM recharges r JOIN users u ON u.id = r.entered_by WHERE r.id = $1`, id)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[CaseRecharge])
	return r, translate(err)
}

// Story lists the events that a number leads to, newest first, of the given kinds only, without the named events ("bill/rated"):
// what a page tells of a thing whose every step is too much to read. Timeline has all.
func (s *Store) Story(ctx context.Context, sites []billing.SiteID, ref string, kinds, without []string, limit int) ([]Event, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT j.id, j.site_id, j.kind, j.entity, j.event, j.from_state, j.to_state, j.actor, coalesce(u.name, ''), j.reason,
			j.workflow_id, j.run_id, j.business_at, j.real_at, j.refs[1:`+mostRefs+`], j.data
		FROM journal j LEFT JOIN users u ON u.id = j.actor
		WHERE j.refs @> ARRAY[$1] AND j.site_id = ANY($2) AND j.kind = ANY($3) AND NOT j.kind || '/' || j.event = ANY($4) ORDER BY j.id DESC LIMIT $5`, ref, sites, kinds, without, limit)
	events, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Event])
	return events, translate(err)
}

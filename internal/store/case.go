package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Case is one doubt that a person must decide on: one per cause, with its members.
type Case struct {
	ID          billing.CaseID
	Site        billing.SiteID `db:"site_id"`
	Kind        string         // a metering rule, or gateway_silent, site_silent, credit_in_doubt, supply_unknown
	Cause       string         // business key of the cause
	Blocking    bool
	State       billing.CaseState
	Cycle       *billing.CycleID   `db:"cycle_id"`
	Gateway     *billing.GatewayID `db:"gateway_id"`
	Meter       *billing.MeterID   `db:"meter_id"`
	Account     *billing.AccountID `db:"account_id"`
	RechargeID  *billing.RechargeID
	CommandID   *billing.CommandID
	OpenedAt    time.Time
	DueAt       time.Time
	EscalatedAt *time.Time
	Decision    *string
	DecidedBy   *billing.UserID
	Reason      string
	ResolvedAt  *time.Time
}

const caseColumns = `k.id, k.site_id, k.kind, k.cause, k.blocking, k.state, k.cycle_id, k.gateway_id, k.meter_id, k.account_id, k.recharge_id, k.command_id,
	k.opened_at, k.due_at, k.escalated_at, k.decision, k.decided_by, k.reason, k.resolved_at`

// Member is one reading that a case doubts, or misses.
type Member struct {
	Meter          billing.MeterID `db:"meter_id"`
	FreezeAt       time.Time
	ReadingVersion *int // the doubtful version; nil when there is no reading at all
	Rule           string
	Numbers        json.RawMessage // what the rule saw
	Outcome        string          // accepted, reread, estimated, manual, exchanged, trued_up, resplit; empty while open
	ResultVersion  *int
}

const memberColumns = `cm.meter_id, cm.freeze_at, cm.reading_version, cm.rule, cm.numbers, cm.outcome, cm.result_version`

// Case reads one case with its members, ordered by meter and freeze instant.
func (s *Store) Case(ctx context.Context, id billing.CaseID) (Case, []Member, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+caseColumns+` FROM cases k WHERE k.id = $1`, id)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Case])
	if err != nil {
		return c, nil, translate(err)
	}
	rows, _ = s.Pool.Query(ctx, `SELECT `+memberColumns+` FROM case_members cm WHERE cm.case_id = $1 ORDER BY cm.meter_id, cm.freeze_at`, id)
	ms, err := pgx.CollectRows(rows, pgx.RowToStructByName[Member])
	return c, ms, translate(err)
}

// MemberChange is a member with its reading before the decision and after it; nil where there is none.
type MemberChange struct {
	Meter      billing.MeterID `db:"meter_id"`
	FreezeAt   time.Time
	Before     billing.Registers
	After      billing.Registers
	Quality    billing.Quality // of After
	Method     string
	RecordedBy string
}

// CaseChanges reads what a case's decisions made of its members' readings, in the order of Case.
func (s *Store) CaseChanges(ctx context.Context, id billing.CaseID) ([]MemberChange, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT cm.meter_id, cm.freeze_at, b.registers AS before, a.registers AS after, coalesce(a.quality, '') AS quality, coalesce(a.method, '') AS method,
			coalesce(u.name, a.recorded_by, '') AS recorded_by
		FROM case_members cm LEFT JOIN readings b ON b.meter_id = cm.meter_id AND b.freeze_at = cm.freeze_at AND b.version = cm.reading_version
		LEFT JOIN readings a ON a.meter_id = cm.meter_id AND a.freeze_at = cm.freeze_at AND a.version = cm.result_version LEFT JOIN users u ON u.id = a.recorded_by
		WHERE cm.case_id = $1 ORDER BY cm.meter_id, cm.freeze_at`, id)
	cs, err := pgx.CollectRows(rows, pgx.RowToStructByName[MemberChange])
	return cs, translate(err)
}

// lockCase reads a case and keeps it from changing until the transaction ends.
func lockCase(ctx context.Context, tx *Tx, id billing.CaseID) (Case, error) {
	rows, _ := tx.Query(ctx, `SELECT `+caseColumns+` FROM cases k WHERE k.id = $1 FOR UPDATE`, id)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Case])
}

// NewCase is what a case is opened from. Pointers that don't apply are nil.
type NewCase struct {
	Site     billing.SiteID
	Kind     string
	Cause    string
	Blocking bool
	Cycle    *billing.CycleID
	Gateway  *billing.GatewayID
	Meter    *billing.MeterID
	Account  *billing.AccountID
	Recharge *billing.RechargeID
	Command  *billing.CommandID
	DueAfter time.Duration // business time until it is escalated
	Members  []NewMember
	Refs     []string // further numbers that lead here
}

// NewMember is a member of a case that is opened. Doubt is the doubtful version to be stored, nil when there is no reading or the
// finding doesn't block.
type NewMember struct {
	Meter    billing.MeterID
	FreezeAt time.Time
	Version  *int // version of the reading that the rule saw, when Doubt is nil
	Rule     string
	Numbers  any
	Doubt    *Reading
}

// OpenCase opens a case with its journal row, in the caller's transaction. A cause that has an open case keeps it: fresh is then
// false and id names that case.
func OpenCase(ctx context.Context, tx *Tx, n NewCase) (id billing.CaseID, fresh bool, err error) {
	err = tx.QueryRow(ctx, `INSERT INTO cases (id, site_id, kind, cause, blocking, state, cycle_id, gateway_id, meter_id, account_id, recharge_id, command_id, opened_at, due_at)
		VALUES ('X' || nextval('case_no'), $1, $2, $3, $4, 'open', $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (cause) WHERE state = 'open' DO NOTHING RETURNING id`,
		n.Site, n.Kind, n.Cause, n.Blocking, n.Cycle, n.Gateway, n.Meter, n.Account, n.Recharge, n.Command, tx.Now, tx.Now.Add(n.DueAfter)).Scan(&id)
	if err == pgx.ErrNoRows {
		err = tx.QueryRow(ctx, `SELECT id FROM cases WHERE cause = $1 AND state = 'open' FOR UPDATE`, n.Cause).Scan(&id)
		if err != nil {
			return "", false, err
		}
		return id, false, addMembers(ctx, tx, id, n.Members)
	}
	if err != nil {
		return "", false, err
	}
	if err := addMembers(ctx, tx, id, n.Members); err != nil {
		return "", false, err
	}
	return id, true, tx.Journal(ctx, Entry{Site: n.Site, Kind: "case", ID: string(id), Event: "opened", To: string(billing.CaseOpen), Refs: n.refs(),
		Data: map[string]any{"kind": n.Kind, "blocking": n.Blocking, "members": len(n.Members), "digest": digest(n.memberTexts())}})
}

func (n NewCase) refs() []string {
	refs := append([]string{}, n.Refs...)
	for _, r := range []*string{(*string)(n.Cycle), (*string)(n.Gateway), (*string)(n.Meter), (*string)(n.Account), (*string)(n.Recharge), (*string)(n.Command)} {
		if r != nil {
			refs = append(refs, *r)
		}
	}
	for _, m := range n.Members {
		refs = append(refs, string(m.Meter))
	}
	return refs
}

func (n NewCase) memberTexts() []string {
	texts := make([]string, len(n.Members))
	for i, m := range n.Members {
		texts[i] = string(m.Meter) + " " + m.FreezeAt.UTC().Format(time.RFC3339) + " " + m.Rule
	}
	return texts
}

func addMembers(ctx context.Context, tx *Tx, id billing.CaseID, members []NewMember) error {
	for _, m := range members {
		numbers, err := json.Marshal(m.Numbers)
		if err != nil {
			return err
		}
		version := m.Version
		if m.Doubt != nil {
			v, err := addVersion(ctx, tx, *m.Doubt)
			if err != nil {
				return err
			}
			version = &v
		}
		_, err = tx.Exec(ctx, `INSERT INTO case_members (case_id, meter_id, freeze_at, reading_version, rule, numbers) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT DO NOTHING`, id, m.Meter, m.FreezeAt, version, m.Rule, string(numbers))
		if err != nil {
			return err
		}
	}
	return nil
}

// Kinds of cases that are no metering rule of a present reading.
const (
	KindMissing       = "missing"
	KindGatewaySilent = "gateway_silent"
	KindSiteSilent    = "site_silent"
	KindCreditInDoubt = "credit_in_doubt"
	KindSupplyUnknown = "supply_unknown"
)

// OpenCasesOfCycle lists the open cases that a cycle opened, so that their workflows can be started, with those of the site's meters
// that tripped by themselves: the cycle's readings showed it.
func (s *Store) OpenCasesOfCycle(ctx context.Context, cycle billing.CycleID) ([]billing.CaseID, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT id FROM cases WHERE state = 'open' AND (cycle_id = $1
		OR (kind = $2 AND site_id = (SELECT site_id FROM cycles WHERE id = $1))) ORDER BY id`, cycle, KindOwnTrip)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[billing.CaseID])
	return ids, translate(err)
}

// EscalateCase says once that a case is overdue.
func (s *Store) EscalateCase(ctx context.Context, by By, id billing.CaseID) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		c, err := lockCase(ctx, tx, id)
		if err != nil || c.State != billing.CaseOpen || c.EscalatedAt != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE cases SET escalated_at = $2 WHERE id = $1`, id, tx.Now); err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: c.Site, Kind: "case", ID: string(id), Event: "escalated", From: string(c.State), To: string(c.State), Refs: c.refs()})
	})
}

func (c Case) refs() []string {
	return NewCase{Cycle: c.Cycle, Gateway: c.Gateway, Meter: c.Meter, Account: c.Account, Recharge: c.RechargeID, Command: c.CommandID}.refs()
}

// MemberResult is what a decision makes of one member: the new version of its reading, not in doubt any more.
type MemberResult struct {
	Meter    billing.MeterID
	FreezeAt time.Time
	Outcome  string   // accepted, reread, estimated, manual, exchanged, trued_up, resplit
	Reading  *Reading // nil when the member had no version of its own to replace (a finding that doesn't block)
}

// Resolution is a decision with all its effects.
type Resolution struct {
	Case     billing.CaseID
	Decision string
	By       billing.UserID
	Reason   string
	Members  []MemberResult
	TrueUps  []TrueUp // estimates that a measured reading among the members spreads again
	Billed   []Billed // what it was worked out from
	Refits   []Refit  // bands divided anew
	Exchange *Exchange
	Batch    string // what was decided together, in one act on several cases; empty for one case
	// Close ends the case. Without it the members' results are stored and the case stays open: part of a gateway answered.
	Close bool
}

// ResolveCase applies a decision: new versions of the readings, the exchange, the counts of the cycles, and the end of the case.
// A case that is resolved already is billing.CodeClosed. Members that have an outcome keep it.
func (s *Store) ResolveCase(ctx context.Context, by By, r Resolution) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		if r.Exchange != nil { // the lock of a supply comes before every other
			if _, _, err := lockSupplyOf(ctx, tx, r.Exchange.Old); err != nil {
				return err
			}
		}
		c, err := lockCase(ctx, tx, r.Case)
		if err != nil {
			return err
		}
		if c.State == billing.CaseResolved {
			return billing.Errorf(billing.CodeClosed, "case %s was decided already: open it to see by whom and how", r.Case)
		}
		if err := billedAsSeen(ctx, tx, r.Billed); err != nil {
			return err
		}
		changes, refs, err := applyMembers(ctx, tx, r)
		if err != nil {
			return err
		}
		refs = append(refs, c.refs()...)
		if r.Batch != "" {
			refs = append(refs, r.Batch)
		}
		if err := applyFurther(ctx, tx, r); err != nil {
			return err
		}
		if r.Exchange != nil {
			x, err := exchangeMeter(ctx, tx, *r.Exchange, r.Case)
			if err != nil {
				return err
			}
			refs = append(refs, string(r.Exchange.New.ID), string(x.ID))
		}
		return closeCase(ctx, tx, c, r, changes, refs)
	})
}

// applyFurther stores what a decision does besides the readings of its members.
func applyFurther(ctx context.Context, tx *Tx, r Resolution) error {
	for _, t := range r.TrueUps {
		t.Refs = append(t.Refs, string(r.Case)) // so that the case's own timeline shows the values before and after
		if err := saveTrueUp(ctx, tx, t); err != nil {
			return err
		}
	}
	for _, f := range r.Refits {
		if err := refitMeter(ctx, tx, f, []string{string(r.Case)}); err != nil {
			return err
		}
	}
	return nil
}

func closeCase(ctx context.Context, tx *Tx, c Case, r Resolution, changes []memberChange, refs []string) error {
	event, to := "members_settled", billing.CaseOpen
	if r.Close {
		event, to = "resolved", billing.CaseResolved
		_, err := tx.Exec(ctx, `UPDATE cases SET state = 'resolved', decision = $2, decided_by = $3, reason = $4, resolved_at = $5, resolved_real = clock_timestamp() WHERE id = $1`,
			r.Case, r.Decision, r.By, r.Reason, tx.Now)
		if err != nil {
			return err
		}
	}
	texts := make([]string, len(changes))
	for i, ch := range changes {
		texts[i] = fmt.Sprintf("%s %s %s %v %v", ch.Meter, ch.FreezeAt, ch.Outcome, ch.Before, ch.After)
	}
	data := map[string]any{"decision": r.Decision, "members": len(changes), "digest": digest(texts)}
	if len(changes) <= 50 { // a timeline row stays readable; the versions themselves are in readings
		data["changes"] = changes
	}
	return tx.Journal(ctx, Entry{Site: c.Site, Kind: "case", ID: string(c.ID), Event: event, From: string(c.State), To: string(to),
		Actor: string(r.By), Reason: r.Reason, Refs: refs, Data: data})
}

// memberChange is the before and after of one member, for the journal.
type memberChange struct {
	Meter    billing.MeterID   `json:"meter"`
	FreezeAt string            `json:"freeze_at"`
	Outcome  string            `json:"outcome"`
	Before   billing.Registers `json:"before,omitempty"`
	After    billing.Registers `json:"after,omitempty"`
	Version  int               `json:"version,omitempty"`
}

func applyMembers(ctx context.Context, tx *Tx, r Resolution) (changes []memberChange, refs []string, err error) {
	cycles := map[billing.CycleID]bool{}
	for _, m := range r.Members {
		ch := memberChange{Meter: m.Meter, FreezeAt: m.FreezeAt.UTC().Format(time.RFC3339), Outcome: m.Outcome}
		var done string
		err := tx.QueryRow(ctx, `SELECT outcome FROM case_members WHERE case_id = $1 AND meter_id = $2 AND freeze_at = $3`, r.Case, m.Meter, m.FreezeAt).Scan(&done)
		if err != nil || done != "" {
			if err != nil {
				return nil, nil, err
			}
			continue
		}
		if m.Reading != nil {
			err = tx.QueryRow(ctx, `SELECT registers FROM current_readings WHERE meter_id = $1 AND freeze_at = $2`, m.Meter, m.FreezeAt).Scan(&ch.Before)
			if err != nil && err != pgx.ErrNoRows {
				return nil, nil, err
			}
			if ch.Version, err = addVersion(ctx, tx, *m.Reading); err != nil {
				return nil, nil, err
			}
			ch.After = m.Reading.Registers
		}
		_, err = tx.Exec(ctx, `UPDATE case_members SET outcome = $4, result_version = nullif($5, 0) WHERE case_id = $1 AND meter_id = $2 AND freeze_at = $3`,
			r.Case, m.Meter, m.FreezeAt, m.Outcome, ch.Version)
		if err != nil {
			return nil, nil, err
		}
		cycle, err := settleOutcome(ctx, tx, m)
		if err != nil {
			return nil, nil, err
		}
		cycles[cycle] = true
		changes = append(changes, ch)
		refs = append(refs, string(m.Meter))
	}
	delete(cycles, "")
	for _, cycle := range slices.Sorted(maps.Keys(cycles)) {
		if _, err := recount(ctx, tx, cycle); err != nil {
			return nil, nil, err
		}
		refs = append(refs, string(cycle))
	}
	return changes, refs, nil
}

// settleOutcome says in the cycle's list what the meter's reading is now, and gives the cycle.
func settleOutcome(ctx context.Context, tx *Tx, m MemberResult) (billing.CycleID, error) {
	outcome := map[string]string{"reread": "read", "accepted": "read", "trued_up": "read", "resplit": "read", "estimated": "estimated", "manual": "manual", "exchanged": "estimated"}[m.Outcome]
	if m.Reading == nil {
		return "", nil
	}
	var cycle billing.CycleID
	err := tx.QueryRow(ctx, `UPDATE cycle_meters cm SET outcome = $3 FROM cycles c
		WHERE c.id = cm.cycle_id AND cm.meter_id = $1 AND c.freeze_at = $2 RETURNING cm.cycle_id`, m.Meter, m.FreezeAt, outcome).Scan(&cycle)
	if err == pgx.ErrNoRows {
		return "", nil
	}
	return cycle, err
}

package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Findings is what the validation of one gateway's meters in a cycle found.
type Findings struct {
	Cases     []NewCase
	TrueUps   []TrueUp
	Recovered []Recovered
}

// Recovered says that an earlier doubtful reading was a glitch, seen from a later good one.
type Recovered struct {
	Meter    billing.MeterID
	FreezeAt time.Time // of the doubtful reading
	Kind     string    // drop_recovered, spike_recovered
	Numbers  map[string]string
}

// SaveFindings stores what the validation of one gateway's meters in a cycle found: doubtful versions and cases, estimates spread again,
// and glitches that went by, in one transaction. Saving it again changes nothing. A doubt that goes on since an earlier cycle joins the
// case that is open for it.
func (s *Store) SaveFindings(ctx context.Context, by By, cycle billing.CycleID, gateways []billing.GatewayID, found Findings) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		c, err := lockCycle(ctx, tx, cycle)
		if err != nil || c.State != billing.CycleValidating {
			return err
		}
		refs := make([]string, len(gateways))
		for i, g := range gateways {
			refs[i] = string(g)
		}
		var saved bool
		// OFFSET 0: looked for by the cycle's chain, and not by the gateways, which every cycle names.
		err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM (SELECT refs FROM journal WHERE chain = 'cycle/' || $1 AND event = 'gateway_validated' OFFSET 0) j WHERE refs && $2)`,
			cycle, refs).Scan(&saved)
		if err != nil || saved {
			return err
		}
		for _, r := range found.Recovered {
			if err := noteRecovered(ctx, tx, r); err != nil {
				return err
			}
		}
		for _, n := range found.Cases {
			if err := openOrJoin(ctx, tx, n); err != nil {
				return err
			}
		}
		if err := billedAsSeen(ctx, tx, billedOf(found.TrueUps)); err != nil {
			return err
		}
		for _, t := range found.TrueUps {
			if err := saveTrueUp(ctx, tx, t); err != nil {
				return err
			}
		}
		return tx.Journal(ctx, Entry{Site: c.Site, Kind: "cycle", ID: string(cycle), Event: "gateway_validated", From: string(c.State), To: string(c.State),
			Refs: refs, Data: map[string]any{"cases": len(found.Cases), "trued_up": len(found.TrueUps), "recovered": len(found.Recovered)}})
	})
}

// noteRecovered tells an open case about a reading that stepped back or jumped what it was. The reading stays in doubt until a person
// has decided; the case takes the name of what it turned out to be when that holds for all its open members.
func noteRecovered(ctx context.Context, tx *Tx, r Recovered) error {
	rows, _ := tx.Query(ctx, `SELECT `+caseColumns+` FROM cases k JOIN case_members cm ON cm.case_id = k.id AND cm.meter_id = $1 AND cm.freeze_at = $2 AND cm.outcome = ''
		WHERE k.state = 'open' AND k.kind IN ('negative', 'capacity', 'too_high') AND cm.rule <> $3 FOR UPDATE OF k`, r.Meter, r.FreezeAt, r.Kind)
	c, err := optional[Case](rows)
	if err != nil || c == nil {
		return err
	}
	numbers, err := json.Marshal(r.Numbers)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE case_members SET rule = $4, numbers = numbers || $5::jsonb WHERE case_id = $1 AND meter_id = $2 AND freeze_at = $3`,
		c.ID, r.Meter, r.FreezeAt, r.Kind, string(numbers))
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE cases k SET kind = $2 WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM case_members cm WHERE cm.case_id = k.id AND cm.outcome = '' AND cm.rule <> $2)`, c.ID, r.Kind)
	if err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: c.Site, Kind: "case", ID: string(c.ID), Event: "recovered", From: string(c.State), To: string(c.State), Refs: c.refs(),
		Data: map[string]any{"meter": r.Meter, "freeze_at": r.FreezeAt, "kind": r.Kind}})
}

// openOrJoin joins the open case of the same kind and subject: what goes on from cycle to cycle has one cause. It opens a case otherwise.
func openOrJoin(ctx context.Context, tx *Tx, n NewCase) error {
	var id billing.CaseID
	err := tx.QueryRow(ctx, `SELECT id FROM cases WHERE state = 'open' AND site_id = $1 AND kind = $2 AND gateway_id IS NOT DISTINCT FROM $3 AND meter_id IS NOT DISTINCT FROM $4
		AND recharge_id IS NULL AND command_id IS NULL ORDER BY opened_at LIMIT 1 FOR UPDATE`, n.Site, n.Kind, n.Gateway, n.Meter).Scan(&id)
	if err == pgx.ErrNoRows {
		_, _, err = OpenCase(ctx, tx, n)
		return err
	}
	if err != nil {
		return err
	}
	if err := addMembers(ctx, tx, id, n.Members); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: n.Site, Kind: "case", ID: string(id), Event: "members_joined", From: string(billing.CaseOpen), To: string(billing.CaseOpen), Refs: n.refs(),
		Data: map[string]any{"members": len(n.Members), "digest": digest(n.memberTexts())}})
}

// Doubted reads the readings of meters before an instant that an open case doubts, newest version, oldest first.
func (s *Store) Doubted(ctx context.Context, meters []billing.MeterID, before time.Time) (map[billing.MeterID][]Reading, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+readingColumns+` FROM case_members cm JOIN cases k ON k.id = cm.case_id AND k.state = 'open' AND k.kind IN ('negative', 'capacity', 'too_high')
		JOIN current_readings r ON r.meter_id = cm.meter_id AND r.freeze_at = cm.freeze_at AND r.doubtful
		WHERE cm.meter_id = ANY($1) AND cm.freeze_at < $2 AND cm.outcome = '' ORDER BY r.meter_id, r.freeze_at`, meters, before)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Reading])
	by := map[billing.MeterID][]Reading{}
	for _, r := range all {
		by[r.Meter] = append(by[r.Meter], r)
	}
	return by, translate(err)
}

package demo

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// A dozen of the compound's water meters are checked on foot once a week, from the first days on.
const (
	routeFrom   = 1 // day
	routeLength = 12
	routeEvery  = 7 // days
)

// The two readers take turns. The first one really goes; the second writes the list at home, so that the check of readers' work shows.
const honestReader, homeReader = billing.UserID("reader1"), billing.UserID("reader2")

func otherReader(r billing.UserID) billing.UserID {
	if r == honestReader {
		return homeReader
	}
	return honestReader
}

// walkRounds makes the route, and takes each round a step on: given to a reader, walked on its day, checked by a supervisor.
func (c *Crew) walkRounds(ctx context.Context, now time.Time) (did int, err error) {
	if n, err := c.makeRoute(ctx, now); n > 0 || err != nil {
		return n, err
	}
	rows, _ := c.store.Pool.Query(ctx, `SELECT w.id, w.state, w.due_on, coalesce(w.reader, ''), coalesce(w.assigned_at, w.planned_at),  w.returns,
			(SELECT count(*) FROM rounds o WHERE o.route_id = w.route_id AND o.due_on < w.due_on),
			EXISTS (SELECT 1 FROM reader_findings f WHERE f.round_id = w.id AND f.reader = w.reader)
		FROM rounds w WHERE w.state IN ('planned', 'assigned', 'in_progress', 'submitted') ORDER BY w.id`)
	open, err := pgx.CollectRows(rows, pgx.RowToStructByPos[openRound])
	if err != nil {
		return 0, err
	}
	for _, r := range open {
		item := "round/" + string(r.ID) + "/" + string(r.State) + "/" + string(r.Reader)
		if !c.due(item, now) {
			continue
		}
		act := c.nextStep(ctx, r, now)
		if act == nil {
			continue
		}
		n, err := c.outcome(item, now, act())
		did += n
		if err != nil {
			return did, err
		}
	}
	return did, nil
}

// openRound is a round as its people see it.
type openRound struct {
	ID      billing.RoundID
	State   billing.RoundState
	DueOn   billing.Date
	Reader  billing.UserID
	Since   time.Time // it was given to the reader
	Returns int
	Before  int  // rounds of this route before it
	Odd     bool // the check of the reader's work found something
}

// nextStep is what somebody does with a round now; nil when it waits for a later hour.
func (c *Crew) nextStep(ctx context.Context, r openRound, now time.Time) func() error {
	reader := honestReader
	if r.Before%2 == 1 {
		reader = homeReader
	}
	switch {
	case r.State == billing.RoundPlanned:
		return func() error { return c.assignRound(ctx, r.ID, reader) }
	case r.State == billing.RoundSubmitted && r.Odd && r.Returns == 0:
		return func() error {
			reason := map[string]string{"reason": "抄表间隔不像走出来的，请另一位重抄（Nobody walks like that: somebody else reads it again）"}
			if err := c.office.post(ctx, "supervisor2", roundPath(r.ID, "return"), reason, nil); err != nil {
				return err
			}
			return c.assignRound(ctx, r.ID, otherReader(r.Reader))
		}
	case r.State == billing.RoundSubmitted:
		return func() error { return c.acceptRound(ctx, r) }
	case billing.DateOf(now, zone).Before(r.DueOn) || now.Sub(r.Since) < slot-slot/12:
		return nil // it isn't the day, or the reader has just got the list
	default:
		return func() error { return c.walk(ctx, r, now) }
	}
}

func roundPath(id billing.RoundID, step string) string {
	return "/api/v1/rounds/" + url.PathEscape(string(id)) + "/" + step
}

func (c *Crew) assignRound(ctx context.Context, id billing.RoundID, reader billing.UserID) error {
	return c.office.post(ctx, "supervisor1", roundPath(id, "assign"), map[string]string{"reader": string(reader)}, nil)
}

// acceptRound lets a supervisor take a round as checked, after its reader has tried it in vain.
func (c *Crew) acceptRound(ctx context.Context, r openRound) error {
	if err := c.mustRefuse(c.office.post(ctx, r.Reader, roundPath(r.ID, "accept"), map[string]string{}, nil), "the check of round "+string(r.ID)+" by its reader"); err != nil {
		return err
	}
	return c.office.post(ctx, "supervisor2", roundPath(r.ID, "accept"), map[string]string{}, nil)
}

// makeRoute lets a supervisor list the compound's first water meters, gateway by gateway.
func (c *Crew) makeRoute(ctx context.Context, now time.Time) (int, error) {
	const item = "route"
	if now.Before(at(routeFrom, 0, 0)) || !c.due(item, now) {
		return 0, nil
	}
	var there bool
	if err := c.store.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM reading_routes)`).Scan(&there); err != nil || there {
		return 0, err
	}
	rows, _ := c.store.Pool.Query(ctx, `SELECT id FROM meters WHERE site_id = $1 AND service = 'water' AND state = 'fitted' ORDER BY gateway_id, unit LIMIT $2`, Garden, routeLength)
	meters, err := pgx.CollectRows(rows, pgx.RowTo[billing.MeterID])
	if err != nil {
		return 0, err
	}
	if len(meters) == 0 {
		return 0, errors.New("the compound has no water meter to walk to")
	}
	return c.outcome(item, now, c.office.post(ctx, "supervisor1", "/api/v1/sites/"+string(Garden)+"/routes", map[string]any{
		"name": "东区水表（East water meters）", "kind": billing.RoundCheck, "every_days": routeEvery, "meters": meters,
	}, nil))
}

// roundEntry is what a reader sends about one meter.
type roundEntry struct {
	Meter     billing.MeterID   `json:"meter"`
	Registers billing.Registers `json:"registers,omitempty"`
	NoReading string            `json:"no_reading,omitempty"`
	TakenAt   time.Time         `json:"taken_at"`
	Confirmed bool              `json:"confirmed,omitempty"`
}

// walk goes along the list in the last half hour, enters what each dial shows, and hands the round in. What is doubted is looked at again.
func (c *Crew) walk(ctx context.Context, r openRound, now time.Time) error {
	rows, _ := c.store.Pool.Query(ctx, `SELECT i.meter_id, m.serial FROM round_items i JOIN meters m ON m.id = i.meter_id WHERE i.round_id = $1 ORDER BY i.seq DESC`, r.ID)
	type stop struct {
		Meter  billing.MeterID
		Serial string
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[stop])
	if err != nil {
		return err
	}
	entries := make([]roundEntry, len(list))
	taken := now.Add(-time.Minute)
	for n, s := range list { // from the last one back
		e := roundEntry{Meter: s.Meter, TakenAt: taken}
		state, err := c.fleet.MeterState(s.Serial)
		switch {
		case err != nil || len(state.Registers) == 0:
			e.NoReading = string(billing.MeterBroken)
		case r.Reader == honestReader && n == r.Before%len(list):
			e.NoReading = string(billing.NoAccess)
		default:
			e.Registers = billing.Registers(state.Registers)
		}
		entries[len(list)-1-n] = e
		taken = taken.Add(-pace(r.Reader, n))
	}
	if err := c.enterValues(ctx, r, entries); err != nil {
		return err
	}
	return c.office.post(ctx, r.Reader, roundPath(r.ID, "submit"), map[string]string{}, nil)
}

// pace is from door to door: who goes is now here, now there; who doesn't types a line every eleven seconds.
func pace(reader billing.UserID, n int) time.Duration {
	if reader == homeReader {
		return 11 * time.Second
	}
	return time.Duration(45+(n*37)%80) * time.Second
}

func (c *Crew) enterValues(ctx context.Context, r openRound, entries []roundEntry) error {
	var out struct {
		Values []struct {
			Refused string `json:"refused"`
			Confirm bool   `json:"confirm"`
		} `json:"values"`
	}
	if err := c.office.post(ctx, r.Reader, roundPath(r.ID, "values"), map[string]any{"values": entries}, &out); err != nil {
		return err
	}
	var again []roundEntry
	for i, v := range out.Values {
		if v.Refused != "" {
			return &refusal{code: "refused", message: v.Refused}
		}
		if v.Confirm {
			e := entries[i]
			e.Confirmed = true
			again = append(again, e)
		}
	}
	if len(again) == 0 {
		return nil
	}
	return c.office.post(ctx, r.Reader, roundPath(r.ID, "values"), map[string]any{"values": again}, nil)
}

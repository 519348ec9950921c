package bench

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Sweeps measures whole reading cycles of a simulated fleet: workflow, lines, storing and validation, by a worker in this process.
type Sweeps struct {
	Store    *store.Store
	Temporal client.Client
	Pool     *devices.Pool // the worker's
	Fleet    *Fleet
	// Silent is what a silent meter costs its line at worst, zero when nothing takes time.
	Silent time.Duration
	// DeadPercent of the meters fall silent between the sweeps.
	DeadPercent int
	Log         *slog.Logger
}

// OnLines adds to the report, each side counted in the same sweep:
//
//   - sweep_vs_wire: the time of a sweep, from the start of its pass until every reading is stored and validation begins, against the time
//     that the slowest line's answers took on the wire by the simulator's model of it;
//   - sweep_vs_wire_dead: the same after DeadPercent of the meters fell silent, against the largest sum of a line's time on the wire and one
//     worst case of its gateway for each dead meter on it;
//   - sweep_vs_wire_quarantined: the sweep after that, which leaves the silent ones aside, against the time on the wire alone;
//   - restore_wait_transactions: the most transactions that a restore command which was issued in mid-sweep waited for on its line.
func (b Sweeps) OnLines(ctx context.Context, r *Report) error {
	seen := b.watch()
	waited, err := b.restores(ctx)
	if err != nil {
		return err
	}
	r.Ratios["restore_wait_transactions"] = float64(waited)
	alive, err := b.sweep(ctx, nil)
	if err != nil {
		return err
	}
	b.compare(r, "", alive, alive.wire(nil, 0))
	if b.DeadPercent > 0 {
		dead, err := b.kill(ctx)
		if err != nil {
			return err
		}
		asked, err := b.sweep(ctx, nil)
		if err != nil {
			return err
		}
		b.compare(r, "_dead", asked, asked.wire(dead, b.Silent))
		for gateway, use := range asked.lines {
			r.Figures["dead_meters"] += float64(dead[gateway])
			r.Figures["silent_requests"] += float64(use.Silent)
		}
		left, err := b.sweep(ctx, nil)
		if err != nil {
			return err
		}
		b.compare(r, "_quarantined", left, left.wire(nil, 0))
	}
	return b.resources(ctx, r, seen())
}

func (b Sweeps) compare(r *Report, kind string, s swept, wire time.Duration) {
	b.Log.Info("swept", "kind", "sweep"+kind, "sweeping", s.sweeping.Round(time.Millisecond), "wire", wire.Round(time.Millisecond), "validating", s.validating.Round(time.Millisecond))
	r.Sides["sweep"+kind] = Side{s.read, s.sweeping.Seconds()}
	r.Sides["wire"+kind] = Side{s.read, wire.Seconds()}
	r.Sides["validation"+kind] = Side{s.read, s.validating.Seconds()}
	r.Ratios["sweep_vs_wire"+kind] = s.sweeping.Seconds() / wire.Seconds()
	var held time.Duration
	for _, use := range s.lines {
		held = max(held, use.Held)
	}
	r.Sides["held"+kind] = Side{s.read, held.Seconds()} // by the simulator's timers, which a busy machine makes late
}

// AgainstBareLoop adds stored_vs_raw: meters read, decoded, stored and validated in a second by whole cycles, against the meters whose same
// registers bare goburrow loops, one per gateway, read in a second from the same simulator without keeping anything. The two take turns.
func (b Sweeps) AgainstBareLoop(ctx context.Context, r *Report) error {
	seen := b.watch()
	bare, err := b.bareLoops()
	if err != nil {
		return err
	}
	defer bare.close()
	var raw, stored, sweeping Side
	for round := range rounds + 1 {
		took, err := bare.read(ctx)
		if err != nil {
			return err
		}
		s, err := b.sweep(ctx, nil)
		if err != nil {
			return err
		}
		b.Log.Info("swept", "bare loop", took.Round(time.Millisecond), "sweeping", s.sweeping.Round(time.Millisecond), "validating", s.validating.Round(time.Millisecond))
		if round == 0 { // connections, plans and caches
			continue
		}
		raw.add(b.Fleet.Meters(), took)
		stored.add(s.read, s.sweeping+s.validating)
		sweeping.add(s.read, s.sweeping)
	}
	r.Sides["raw"], r.Sides["stored"], r.Sides["stored_not_validated"] = raw, stored, sweeping
	r.Ratios["stored_vs_raw"] = stored.PerSecond() / raw.PerSecond()
	return b.resources(ctx, r, seen())
}

const rounds = 10 // the bare loop alone varies by half from one to the next

// swept is one cycle.
type swept struct {
	read, silent         int64
	sweeping, validating time.Duration
	lines                map[string]simulator.LineUse // what this cycle used
}

// wire is the longest time that a line was needed for: its answers by the model, and so much for each of its dead meters.
func (s swept) wire(dead map[string]int, silent time.Duration) (longest time.Duration) {
	for gateway, use := range s.lines {
		longest = max(longest, use.Wire+time.Duration(dead[gateway])*silent)
	}
	return longest
}

// charged waits until what earlier cycles brought is charged and given back, so that it doesn't go on beside a sweep.
func (b Sweeps) charged(ctx context.Context) error {
	rows, _ := b.Store.Pool.Query(ctx, `SELECT id FROM cycles WHERE site_id = $1`, b.Fleet.Site)
	cycles, err := pgx.CollectRows(rows, pgx.RowTo[billing.CycleID])
	if err != nil {
		return err
	}
	for _, id := range cycles {
		if err := b.Temporal.GetWorkflow(ctx, workflows.ChargeWorkflowID(id), "").Get(ctx, nil); err != nil {
			return err
		}
	}
	// The meters that were tripped for the measurement are found off, and given back.
	for {
		var open int
		if err := b.Store.Pool.QueryRow(ctx, `SELECT count(*) FROM restores WHERE settled_at IS NULL`).Scan(&open); err != nil || open == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// sweep runs a reading cycle of the whole site through its workflow, once earlier ones are charged. during runs while the lines are
// being swept.
func (b Sweeps) sweep(ctx context.Context, during func(ctx context.Context) error) (s swept, err error) {
	if err := b.charged(ctx); err != nil {
		return s, err
	}
	// What the server does by itself within a minute or so, and real cycles lie hours apart.
	if _, err := b.Store.Pool.Exec(ctx, `ANALYZE`); err != nil {
		return s, err
	}
	before, err := b.Fleet.lines(ctx)
	if err != nil {
		return s, err
	}
	id := workflows.CycleWorkflowID(billing.CycleID(fmt.Sprintf("bench/%d", time.Now().UnixNano())))
	w, err := b.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: workflows.QueueBilling},
		workflows.ReadingCycle, activities.CycleStart{Site: b.Fleet.Site, By: Verifier})
	if err != nil {
		return s, err
	}
	if during != nil {
		if err := during(ctx); err != nil {
			return s, err
		}
	}
	var done workflows.CycleDone
	if err := w.Get(ctx, &done); err != nil {
		return s, err
	}
	if s.lines, err = b.Fleet.lines(ctx); err != nil {
		return s, err
	}
	for gateway, use := range s.lines {
		use.Wire -= before[gateway].Wire
		use.Held -= before[gateway].Held
		use.Silent -= before[gateway].Silent
		s.lines[gateway] = use
	}
	var sweeping, validating, closed time.Time
	err = b.Store.Pool.QueryRow(ctx, `SELECT min(real_at) FILTER (WHERE event = 'sweeping'), min(real_at) FILTER (WHERE event = 'validating'), min(real_at) FILTER (WHERE event = 'closed')
		FROM journal WHERE chain = 'cycle/' || $1`, done.CycleID).Scan(&sweeping, &validating, &closed)
	if err != nil {
		return s, err
	}
	s.sweeping, s.validating = validating.Sub(sweeping), closed.Sub(validating)
	err = b.Store.Pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM readings WHERE cycle_id = $1), (SELECT count(*) FROM cycle_meters WHERE cycle_id = $1 AND outcome = 'silent')`,
		done.CycleID).Scan(&s.read, &s.silent)
	if err == nil && s.read+s.silent != b.Fleet.Meters() {
		err = billing.Errorf(billing.CodeInternal, "cycle %s stored %d readings and found %d meters silent, of %d", done.CycleID, s.read, s.silent, b.Fleet.Meters())
	}
	return s, err
}

// kill silences DeadPercent of the meters and tells how many on each line.
func (b Sweeps) kill(ctx context.Context) (map[string]int, error) {
	random := rand.New(rand.NewPCG(uint64(b.Fleet.Spec.Seed), 2))
	all := int(b.Fleet.Meters())
	dead := map[string]int{}
	chosen := map[int]bool{}
	for _, n := range random.Perm(all)[:(all*b.DeadPercent+99)/100] {
		chosen[n] = true
	}
	n := 0
	for _, g := range b.Fleet.Spec.Gateways {
		for _, m := range g.Meters {
			if chosen[n] {
				dead[g.ID]++
				if err := b.Fleet.kill(ctx, g.ID, m.Unit); err != nil {
					return nil, err
				}
			}
			n++
		}
	}
	return dead, nil
}

// mostRestores bounds how many lines get a restore in mid-sweep.
const mostRestores = 8

// restores trips a meter on some lines, then sweeps, and gives supply back while the lines are being swept. It gives the most transactions
// that a restore waited for.
func (b Sweeps) restores(ctx context.Context) (most int64, err error) {
	var tripped []devices.Meter
	for _, g := range b.Fleet.Spec.Gateways {
		m := b.Fleet.device(g, g.Meters[0])
		if len(g.Meters[0].OpeningRegisters) == 1 || len(tripped) >= mostRestores {
			continue // a valve travels: its read-back is later than the command, which is what waits
		}
		if r, err := b.Pool.Trip(ctx, m); err != nil || r.Outcome != devices.OutcomeVerified {
			return 0, billing.Errorf(billing.CodeInternal, "meter %s was not tripped: %s %s %v", m.Serial, r.Outcome, r.Note, err)
		}
		tripped = append(tripped, m)
	}
	before := map[string]int64{}
	for _, m := range tripped {
		use, err := b.Fleet.line(ctx, m.Gateway)
		if err != nil {
			return 0, err
		}
		before[m.Gateway] = use.Exchanges
	}
	waits := make([]int64, len(tripped))
	_, err = b.sweep(ctx, func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		for i, m := range tripped {
			group.Go(func() (err error) {
				waits[i], err = b.restore(ctx, m, before[m.Gateway])
				return err
			})
		}
		return group.Wait()
	})
	for _, n := range waits {
		most = max(most, n)
	}
	return most, err
}

// Where the function code stands in a Modbus TCP frame's hex, and what a read has there.
const (
	functionAt  = 2 * 7
	readHolding = "03"
)

// restore gives supply back once the sweep is on the meter's line, and counts the transactions that stood before it: the one that the line
// carried then, and those that were begun after it and aren't the restore's own. A transaction that ends between the count and the command is
// counted too, so this is never too few.
func (b Sweeps) restore(ctx context.Context, m devices.Meter, before int64) (int64, error) {
	var at simulator.LineUse
	for at.Exchanges < before+3 {
		var err error
		if at, err = b.Fleet.line(ctx, m.Gateway); err != nil {
			return 0, err
		}
		time.Sleep(5 * time.Millisecond)
	}
	r, err := b.Pool.Close(ctx, m)
	if err != nil || r.Outcome != devices.OutcomeVerified || !r.Sent {
		return 0, billing.Errorf(billing.CodeInternal, "meter %s was not given back: %s %s %v", m.Serial, r.Outcome, r.Note, err)
	}
	after, err := b.Fleet.line(ctx, m.Gateway)
	own := int64(0)
	for _, f := range r.Frames {
		if f.Request[functionAt:functionAt+2] != readHolding {
			break
		}
		own++
	}
	return 1 + after.LastWrite - 1 - at.Exchanges - own, err // the one that was under way, and those before the write that are not ours
}

// Package bench measures Meterflow against what PostgreSQL or a bare loop does with the same rows: both sides in one run, taking turns, so
// that a busy machine slows both. It owns the sides, the ratios and the report; it refuses to judge them, and to measure on a database that
// isn't durable.
package bench

import (
	"context"
	"encoding/json"
	"os"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/devstack"
	"github.com/meterflow/meterflow/internal/store"
)

// Report is what a benchmark came to.
type Report struct {
	// Ratios compare our rate, or time, with that of the other side.
	Ratios  map[string]float64 `json:"ratios"`
	Machine Machine            `json:"machine"`
	// Sides are the figures that the ratios come from, by side: how many things it did, and in how many seconds.
	Sides map[string]Side `json:"sides"`
	// Figures are plain numbers that were counted meanwhile, with their unit in the name.
	Figures map[string]float64 `json:"figures,omitempty"`
}

// Machine is where it was measured.
type Machine struct {
	Cores    int    `json:"cores"`
	Go       string `json:"go"`
	Postgres string `json:"postgres"`
}

// Side is what one side did over all rounds.
type Side struct {
	Done    int64   `json:"done"`
	Seconds float64 `json:"seconds"`
}

// PerSecond is the side's rate.
func (s Side) PerSecond() float64 { return float64(s.Done) / s.Seconds }

func (s *Side) add(done int64, took time.Duration) {
	s.Done += done
	s.Seconds += took.Seconds()
}

// fastest keeps a turn that was faster than all before it.
func (s *Side) fastest(done int64, took time.Duration) {
	if s.Done == 0 || took.Seconds() < s.Seconds {
		*s = Side{Done: done, Seconds: took.Seconds()}
	}
}

// NewReport describes the machine; the database must be durable, as in real use.
func NewReport(ctx context.Context, pool *pgxpool.Pool) (*Report, error) {
	r := &Report{Ratios: map[string]float64{}, Sides: map[string]Side{}, Figures: map[string]float64{}, Machine: Machine{Cores: runtime.NumCPU(), Go: runtime.Version()}}
	var fsync, commit string
	err := pool.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit')`).Scan(&r.Machine.Postgres, &fsync, &commit)
	if err == nil && (fsync != "on" || commit != "on") {
		err = billing.Errorf(billing.CodeInvalidInput, "the database runs with fsync %s and synchronous_commit %s: measure on one that has both on", fsync, commit)
	}
	return r, err
}

// Write stores the report as JSON.
func (r *Report) Write(path string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o644)
}

// OnOwnDatabase runs f with a store on a new, durable PostgreSQL of its own, which is stopped afterwards. dir keeps it; empty means a
// folder that is removed.
func OnOwnDatabase(ctx context.Context, dir string, f func(ctx context.Context, s *store.Store) error) error {
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "meterflow-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	stack, err := devstack.Start(ctx, devstack.Options{Dir: dir, WithoutTemporal: true})
	if err != nil {
		return err
	}
	defer stack.Stop() //nolint:errcheck // the figures are taken; a slow stop changes none of them
	s, err := store.Open(ctx, stack.DatabaseURL()+"&pool_max_conns=16")
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Migrate(ctx); err != nil {
		return err
	}
	return f(ctx, s)
}

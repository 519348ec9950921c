package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"

	"github.com/meterflow/meterflow/internal/bench"
	"github.com/meterflow/meterflow/internal/store"
)

// Bench are the measurements, each on a durable PostgreSQL of its own.
type Bench struct {
	Billing BenchBilling `cmd:"" help:"Measure whole billing runs, rating and postings, each against the bare work of the same size: the figures that a release must reach."`
	Sweep   BenchSweep   `cmd:"" help:"Measure whole sweeps of a simulated fleet against the time on the wire (sweep_vs_wire), or, with --baud 0, against a bare read loop that stores nothing (stored_vs_raw)."`
	Posting BenchPosting `cmd:"" help:"Measure ledger postings against plain SQL: posting_vs_sql, posting_vs_bare, batch_vs_copy."`
}

// BenchPosting is `meterflow bench posting`.
type BenchPosting struct {
	Report string `help:"Write the figures to this file as JSON." placeholder:"FILE"`
	Data   string `help:"Keep the measured database in this folder, which must be new." placeholder:"DIR"`
}

// Run measures and prints the ratios.
func (c BenchPosting) Run(ctx context.Context, log *slog.Logger) error {
	return bench.OnOwnDatabase(ctx, c.Data, func(ctx context.Context, s *store.Store) error {
		r, err := bench.NewReport(ctx, s.Pool)
		if err != nil {
			return err
		}
		log.Info("measuring postings, both sides in turns")
		if err := bench.Postings(ctx, s, bench.DefaultPostingLoad, r); err != nil {
			return err
		}
		return publish(os.Stdout, r, c.Report)
	})
}

// publish prints a report for people and writes it for programs.
func publish(w io.Writer, r *bench.Report, path string) error {
	for _, name := range slices.Sorted(maps.Keys(r.Ratios)) {
		fmt.Fprintf(w, "%-28s %.3f\n", name, r.Ratios[name])
	}
	for _, name := range slices.Sorted(maps.Keys(r.Sides)) {
		side := r.Sides[name]
		fmt.Fprintf(w, "%-28s %.0f per second (%d in %.2f s)\n", name, side.PerSecond(), side.Done, side.Seconds)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Figures)) {
		fmt.Fprintf(w, "%-28s %g\n", name, r.Figures[name])
	}
	if path == "" {
		return nil
	}
	return r.Write(path)
}

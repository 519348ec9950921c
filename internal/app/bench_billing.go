package app

import (
	"context"
	"io"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/bench"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/devstack"
	"github.com/meterflow/meterflow/internal/notify"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/worker"
)

// BenchBilling is `meterflow bench billing`.
type BenchBilling struct {
	Accounts       int    `help:"Accounts of the run. 100000 is the full form." default:"100000"`
	Report         string `help:"Write the figures to this file as JSON." placeholder:"FILE"`
	Data           string `help:"Keep the measured database in this folder, which must be new." placeholder:"DIR"`
	TemporalServer string `help:"The built Temporal server; by default it is looked for beside this program." placeholder:"FILE"`
}

// Run measures and prints the ratios, on a durable PostgreSQL and a Temporal server of its own.
func (c BenchBilling) Run(ctx context.Context, log *slog.Logger) error {
	if c.Accounts < bench.LeastAccounts {
		return billing.Errorf(billing.CodeInvalidInput, "--accounts must be at least %d", bench.LeastAccounts)
	}
	if err := (Demo{Report: c.Report}).mayReport(); err != nil {
		return err
	}
	dir := c.Data
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "meterflow-bench-"); err != nil {
			return err
		}
		defer func() { _ = devstack.Remove(dir) }()
		if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // PostgreSQL's user must be able to pass
			return err
		}
	}
	stack, err := devstack.Start(ctx, devstack.Options{Dir: dir, TemporalBinary: c.TemporalServer, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer func() { _ = stack.Stop() }()
	ours, err := benchDatabase(ctx, stack.DatabaseURL(), "runs")
	if err != nil {
		return err
	}
	defer ours.Close()
	theirs, err := benchDatabase(ctx, stack.DatabaseURL(), "copies")
	if err != nil {
		return err
	}
	defer theirs.Close()
	r, err := bench.NewReport(ctx, ours.Pool)
	if err != nil {
		return err
	}
	if err := bench.Rating(r); err != nil {
		return err
	}
	if err := c.runs(ctx, stack.TemporalAddress(), ours, theirs, r, log); err != nil {
		return err
	}
	log.Info("measuring postings, both sides in turns")
	if err := bench.Postings(ctx, ours, bench.PostingLoadFor(c.Accounts), r); err != nil {
		return err
	}
	return publish(os.Stdout, r, c.Report)
}

// runs measures whole runs with one worker, which is this process.
func (c BenchBilling) runs(ctx context.Context, temporal string, ours, theirs *store.Store, r *bench.Report, log *slog.Logger) error {
	flows, err := Temporal{TemporalAddress: temporal, TemporalNamespace: "default"}.dial(ctx, log)
	if err != nil {
		return err
	}
	defer flows.T.Close()
	working, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		pool := devices.NewPool(devices.Config{Timeout: time.Second})
		defer pool.Shutdown()
		ended <- worker.Run(working, worker.Config{Temporal: flows.T, Store: ours, Pool: pool, Sender: &notify.Demo{Deliver: notify.Unheard}, Lines: &worker.Lines{Store: ours, Holder: "bench", Now: time.Now},
			Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	}()
	err = bench.Runs{Store: ours, Temporal: flows.T, Copy: theirs, Accounts: c.Accounts, Log: log}.Measure(ctx, r)
	stop()
	if worked := <-ended; err == nil {
		err = worked
	}
	return err
}

// benchDatabase makes an empty database with our tables.
func benchDatabase(ctx context.Context, server, name string) (*store.Store, error) {
	admin, err := store.Open(ctx, server)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	if _, err := admin.Pool.Exec(ctx, `CREATE DATABASE `+name); err != nil {
		return nil, billing.Errorf(billing.CodeConflict, "the folder holds a measured database already: choose a new one with --data (%v)", err)
	}
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	u.Path = "/" + name
	s, err := store.Open(ctx, u.String())
	if err != nil {
		return nil, err
	}
	if _, err := s.Migrate(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

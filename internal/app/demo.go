package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/demo"
	"github.com/meterflow/meterflow/internal/devstack"
	"github.com/meterflow/meterflow/internal/notify"
	"github.com/meterflow/meterflow/internal/proof"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Demo is `meterflow demo`.
type Demo struct {
	Database
	Temporal
	Listen         string   `help:"Address of the pages; the default is the folder's own, 127.0.0.1:8080 if that was free at the first start." placeholder:"HOST:PORT"`
	Data           string   `help:"Folder of the database, the meters' record and the ports. Started again, the demo goes on where it was. Default: meterflow-demo; with --exit a folder that is removed." placeholder:"DIR"`
	Seed           int64    `help:"What the utility is made from: the same seed, the same utility." default:"1"`
	TemporalServer string   `help:"The built Temporal server; by default it is looked for beside this program." placeholder:"FILE"`
	Exit           bool     `help:"Run without a person: --days business days at full speed, then check every invariant and end."`
	Days           int      `help:"Business days to run with --exit." default:"35"`
	Report         string   `help:"Where to write the JSON report with --exit." placeholder:"FILE"`
	Histories      string   `help:"Folder for the histories of some runs of every workflow, for the replay tests." hidden:"" placeholder:"DIR"`
	Kills          []string `help:"With --workers: the points at which the worker is killed, one after the other, as point:nth." hidden:"" placeholder:"POINT"`
	Workers        string   `help:"Run the worker as a program of its own, started again whenever it dies; for tests that kill it." hidden:"" placeholder:"FILE"`
}

// graceSeconds is how long simulated colleagues leave work to the person at the page, in real time.
const graceSeconds = 20

// maxDemoDays is how far the demo's load profiles and calendars reach.
const maxDemoDays = 42

// running is a demo that has been started.
type running struct {
	Demo
	log    *slog.Logger
	out    io.Writer
	store  *store.Store
	flows  *workflows.Client
	fleet  *simulator.Fleet
	pool   *devices.Pool
	sms    *notify.Demo
	pages  net.Listener
	secret string
	// meterTime is the clock of the simulated meters, in nanoseconds since the epoch.
	meterTime atomic.Int64
	killsDone tally
}

// tally counts by name; safe for concurrent use.
type tally struct {
	mu sync.Mutex
	n  map[string]int64
}

func (t *tally) add(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = map[string]int64{}
	}
	t.n[name]++
}

func (t *tally) counts() map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.n)
}

// Run brings everything up, in the order in which the parts need one another, and takes it down again.
func (d Demo) Run(ctx context.Context, log *slog.Logger) error {
	if d.Days < 1 || d.Days > maxDemoDays {
		return billing.Errorf(billing.CodeInvalidInput, "--days must be 1 to %d", maxDemoDays)
	}
	began := time.Now()
	if err := d.mayReport(); err != nil {
		return err
	}
	if d.Data == "" {
		d.Data = "meterflow-demo"
		if d.Exit {
			dir, err := os.MkdirTemp("", "meterflow-demo-")
			if err != nil {
				return err
			}
			defer func() { _ = devstack.Remove(dir) }()
			d.Data = dir
		}
	}
	r := &running{Demo: d, log: log, out: os.Stdout, secret: rand.Text()}
	stop, err := r.up(ctx)
	defer stop()
	if err != nil {
		return err
	}
	return r.live(ctx, began)
}

// mayReport finds out before the first day, not after the last, that the report can't be written.
func (d Demo) mayReport() error {
	if d.Report == "" {
		return nil
	}
	f, err := os.OpenFile(d.Report, os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // a report is there to be read
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return billing.Errorf(billing.CodeInvalidInput, "the report can't be written, choose another file with --report: %v", err)
	}
	return nil
}

// say tells the person at the terminal what is going on.
func (r *running) say(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) }

// up starts what the demo stands on. stop takes down what was started, also after an error.
func (r *running) up(ctx context.Context) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
	}
	if r.Listen != "" { // an address in use is said before anything has been started
		if r.pages, err = listen(r.Listen); err != nil {
			return stop, err
		}
		stops = append(stops, func() { _ = r.pages.Close() })
	}
	if r.DatabaseURL == "" || r.TemporalAddress == "" {
		stack, err := devstack.Start(ctx, devstack.Options{Dir: r.Data, TemporalBinary: r.TemporalServer, Log: r.out, WithoutTemporal: r.TemporalAddress != ""})
		if err != nil {
			return stop, err
		}
		stops = append(stops, func() { _ = stack.Stop() })
		if r.DatabaseURL == "" {
			r.DatabaseURL = stack.DatabaseURL()
		}
		if r.TemporalAddress == "" {
			r.TemporalAddress = stack.TemporalAddress()
		}
	}
	if r.store, err = r.open(ctx); err != nil {
		return stop, err
	}
	stops = append(stops, r.store.Close)
	if _, err := r.store.Migrate(ctx); err != nil {
		return stop, err
	}
	if r.flows, err = r.dial(ctx, r.log); err != nil {
		return stop, err
	}
	stops = append(stops, r.flows.T.Close)
	r.say("simulated meters …")
	if err := r.startFleet(ctx); err != nil {
		return stop, err
	}
	stops = append(stops, func() { _ = r.fleet.Close() })
	if r.pages == nil {
		if r.pages, err = r.listenPages(); err != nil {
			return stop, err
		}
		stops = append(stops, func() { _ = r.pages.Close() })
	}
	return stop, nil
}

// startFleet takes the meters up where their record ends and tells the database where their gateways listen now.
func (r *running) startFleet(ctx context.Context) error {
	spec, err := demo.Fleet(r.Seed)
	if err != nil {
		return err
	}
	c, err := r.store.Clock(ctx)
	if err != nil {
		return err
	}
	now := demo.Start()
	if c.Mode == "demo" {
		now = c.Now
	}
	r.meterTime.Store(now.UnixNano())
	if r.fleet, err = simulator.NewFleet(spec, r.recordDir(), func() time.Time { return time.Unix(0, r.meterTime.Load()) }); err != nil {
		return err
	}
	addresses := map[billing.GatewayID]string{}
	for _, g := range spec.Gateways {
		addresses[billing.GatewayID(g.ID)] = r.fleet.Addr(g.ID)
	}
	return demo.Seed(ctx, r.store, demo.SeedOptions{Seed: r.Seed, Fleet: addresses})
}

func (r *running) recordDir() string { return filepath.Join(r.Data, "meters") }

// listenPages opens the folder's own address, which is picked once so that a bookmark stays good.
func (r *running) listenPages() (net.Listener, error) {
	kept := filepath.Join(r.Data, "address")
	if address, err := os.ReadFile(kept); err == nil {
		return listen(string(address))
	}
	l, err := net.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
	}
	return l, os.WriteFile(kept, []byte(l.Addr().String()), 0o600)
}

// live runs the parts until the days are over (with --exit) or asked ends.
func (r *running) live(asked context.Context, began time.Time) error {
	base := "http://" + r.pages.Addr().String()
	web := Web{ReceiptSecret: r.secret}
	messages := Messages{ReceiptURL: base + "/api/v1/receipts", ReceiptSecret: r.secret}
	field := demoField()
	out, err := field.out(r.store, r.log)
	if err != nil {
		return err
	}
	r.pool, r.sms = out.pool, messages.sender()
	utility, err := demo.New(r.Seed)
	if err != nil {
		return err
	}
	r.sms.Fails = utility.MessageFails()

	parts, ctx := errgroup.WithContext(asked)
	ctx, end := context.WithCancel(ctx)
	defer end()
	parts.Go(func() error { return r.fleet.Serve(ctx) })
	parts.Go(func() error { return web.serve(ctx, r.pages, r.store, r.flows, true, r.log) })
	if r.Workers != "" {
		parts.Go(func() error { return r.keepWorker(ctx, messages) })
	} else {
		parts.Go(func() error { return out.work(ctx, r.store, r.flows, r.sms, field.DueEvery, r.log) })
	}
	over := false
	parts.Go(func() error {
		defer end()
		err := r.drive(ctx, base, began)
		over = err == nil
		return err
	})
	err = parts.Wait()
	switch {
	case asked.Err() != nil && r.Exit && !over:
		return billing.Errorf(billing.CodeConflict, "it was ended before the days were over, so nothing was checked")
	case asked.Err() != nil, errors.Is(err, context.Canceled): // whatever broke off then, broke off because of that
		return nil
	}
	return err
}

// demoField has time-outs that suit simulated lines at full speed: a minute of real time is days of the demo's.
func demoField() Field {
	return Field{WorkerID: "demo", DueEvery: time.Minute, LineTimeout: time.Second, SwitchLimit: 3 * time.Second, AsideFor: 200 * time.Millisecond}
}

// drive moves the clock, and with --exit checks and reports at the end.
func (r *running) drive(ctx context.Context, base string, began time.Time) error {
	crew, err := demo.NewCrew(demo.CrewConfig{Seed: r.Seed, Store: r.store, Fleet: r.fleet, URL: base, Log: r.log})
	if err != nil {
		return err
	}
	// The worker does this too; the driver needs them before a worker of its own is up.
	if err := applySchedules(ctx, r.store, r.flows, demoField().DueEvery); err != nil {
		return err
	}
	driver := &demo.Driver{
		Store: r.store, Client: r.flows, Crew: crew, Log: r.log,
		SetNow: func(t time.Time) { r.meterTime.Store(t.UnixNano()) },
		Quiet:  r.sms.Quiet,
	}
	if !r.Exit {
		if err := demo.GiveGrace(ctx, r.store, graceSeconds); err != nil {
			return err
		}
		r.welcome(base)
		return driver.RunLive(ctx)
	}
	end := demo.Start().AddDate(0, 0, r.Days)
	r.say("%d business days from %s …", r.Days, demo.Start().Format(time.DateOnly))
	if err := driver.RunUntil(ctx, end); err != nil {
		return err
	}
	if r.Histories != "" {
		if err := recordHistories(ctx, r.flows.T, r.TemporalNamespace, r.Histories); err != nil {
			return err
		}
	}
	return r.report(ctx, crew, began)
}

// welcome prints where to go and who one may be there.
func (r *running) welcome(base string) {
	r.say("\nMeterflow is at %s", base)
	r.say("Sign in as one of these, with the password %s:", demo.Password)
	for _, p := range demo.People() {
		r.say("  %-12s %s (%s)", p.ID, p.Name, p.Role)
	}
	r.say("Data in %s. Ctrl-C ends it; started again it goes on where it was.\n", r.Data)
}

// report checks the invariants and writes what the month came to. Anything that did not hold is an error.
func (r *running) report(ctx context.Context, crew *demo.Crew, began time.Time) error {
	record, err := simulator.ReadRecord(r.recordDir())
	if err != nil {
		return err
	}
	invariants, err := proof.Check(ctx, r.store.Pool, record)
	if err != nil {
		return err
	}
	stats := r.pool.Stats()
	report, err := demo.MakeReport(ctx, r.store, demo.Outside{
		Devices: demo.DeviceCounts{Requests: stats.Requests, Timeouts: stats.Timeouts, Retries: stats.Retries},
		Faults:  r.fleet.Faults(), Refusals: crew.Refusals(), Kills: r.killsDone.counts(), Invariants: invariants, Took: time.Since(began),
	})
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	if r.Report != "" {
		if err := os.WriteFile(r.Report, append(text, '\n'), 0o644); err != nil { //nolint:gosec // a report is there to be read
			return billing.Errorf(billing.CodeInvalidInput, "the report can't be written: %v", err)
		}
	}
	r.say("%s", text)
	if failures := report.Failures(); len(failures) > 0 {
		return billing.Errorf(billing.CodeConflict, "the run didn't hold: %s", strings.Join(failures, "; "))
	}
	return nil
}

// workerEnv is how a worker of its own finds the servers of this demo.
func (r *running) workerEnv(m Messages) []string {
	f := demoField()
	return append(os.Environ(),
		"METERFLOW_DATABASE_URL="+r.DatabaseURL, "METERFLOW_TEMPORAL_ADDRESS="+r.TemporalAddress,
		"METERFLOW_TEMPORAL_NAMESPACE="+r.TemporalNamespace, "METERFLOW_WORKER_ID="+f.WorkerID,
		"METERFLOW_LINE_TIMEOUT="+f.LineTimeout.String(), "METERFLOW_ASIDE_FOR="+f.AsideFor.String(), "METERFLOW_SWITCH_LIMIT="+f.SwitchLimit.String(),
		"METERFLOW_RECEIPT_URL="+m.ReceiptURL, "METERFLOW_RECEIPT_SECRET="+m.ReceiptSecret)
}

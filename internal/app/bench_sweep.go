package app

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/bench"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/devstack"
	"github.com/meterflow/meterflow/internal/notify"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/worker"
)

// BenchSweep is `meterflow bench sweep`.
type BenchSweep struct {
	Gateways       int    `help:"Gateways of the fleet, each with one line. 1000 is the full form." default:"100"`
	Meters         int    `help:"Meters per gateway." default:"32"`
	Baud           int    `help:"Speed of the lines; with 0 nothing takes time on the wire, and the sweeps are measured against a bare loop." default:"9600"`
	Dead           int    `help:"Percent of the meters that fall silent between the sweeps; on lines only." default:"1"`
	Seed           int64  `help:"What the fleet is made from." default:"1"`
	Report         string `help:"Write the figures to this file as JSON." placeholder:"FILE"`
	TemporalServer string `help:"The built Temporal server; by default it is looked for beside this program." placeholder:"FILE"`
}

// Run measures and prints the ratios. PostgreSQL, Temporal and the simulator are processes of their own; this one sweeps.
func (c BenchSweep) Run(ctx context.Context, log *slog.Logger) error {
	if c.Dead < 0 || c.Dead > 50 || c.Baud < 0 {
		return billing.Errorf(billing.CodeInvalidInput, "--dead must be 0 to 50 percent, and --baud a speed or 0")
	}
	spec, err := Simulate{Gateways: c.Gateways, Meters: c.Meters, Baud: c.Baud, Seed: c.Seed}.fleet()
	if err != nil {
		return err
	}
	if err := (Demo{Report: c.Report}).mayReport(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "meterflow-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = devstack.Remove(dir) }()
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // PostgreSQL's user must be able to pass
		return err
	}
	stack, err := devstack.Start(ctx, devstack.Options{Dir: dir, TemporalBinary: c.TemporalServer, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer func() { _ = stack.Stop() }()
	control, stop, err := startSimulator(ctx, spec, dir)
	if err != nil {
		return err
	}
	defer stop()
	s, err := store.Open(ctx, stack.DatabaseURL())
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Migrate(ctx); err != nil {
		return err
	}
	r, err := bench.NewReport(ctx, s.Pool)
	if err != nil {
		return err
	}
	fleet := &bench.Fleet{Site: "field", Spec: spec, Control: control}
	log.Info("loading", "gateways", c.Gateways, "meters", fleet.Meters())
	if err := fleet.Load(ctx, s); err != nil {
		return err
	}
	if err := c.sweeps(ctx, stack.TemporalAddress(), s, fleet, r, log); err != nil {
		return err
	}
	return publish(os.Stdout, r, c.Report)
}

// asideFor is longer than two sweeps, so that the second finds the silent meters of the first set aside.
const asideFor = 15 * time.Minute

// sweeps measures with one worker, which is this process.
func (c BenchSweep) sweeps(ctx context.Context, temporal string, s *store.Store, fleet *bench.Fleet, r *bench.Report, log *slog.Logger) error {
	flows, err := Temporal{TemporalAddress: temporal, TemporalNamespace: "default"}.dial(ctx, log)
	if err != nil {
		return err
	}
	defer flows.T.Close()
	working, stop := context.WithCancel(ctx)
	pool := devices.NewPool(devices.Config{SetAsideFor: asideFor})
	ended := make(chan error, 1)
	go func() {
		defer pool.Shutdown()
		ended <- worker.Run(working, worker.Config{Temporal: flows.T, Store: s, Pool: pool, Sender: &notify.Demo{Deliver: notify.Unheard}, Lines: &worker.Lines{Store: s, Holder: "bench", Now: time.Now},
			Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	}()
	debug.FreeOSMemory() // of making the fleet, which a worker doesn't do
	b := bench.Sweeps{Store: s, Temporal: flows.T, Pool: pool, Fleet: fleet, Silent: usualLine(c.Baud).SilentTime(), DeadPercent: c.Dead, Log: log}
	measure := b.OnLines
	if c.Baud == 0 {
		measure = b.AgainstBareLoop
	}
	err = measure(ctx, r)
	stop()
	if worked := <-ended; err == nil {
		err = worked
	}
	return err
}

// startSimulator serves a fleet by this program as another process, and gives its door.
func startSimulator(ctx context.Context, spec simulator.FleetSpec, dir string) (control string, stop func(), err error) {
	description, err := json.Marshal(spec)
	if err != nil {
		return "", nil, err
	}
	file := filepath.Join(dir, "fleet.json")
	if err := os.WriteFile(file, description, 0o600); err != nil {
		return "", nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return "", nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, self, "simulate", "--fleet", file, "--record", filepath.Join(dir, "record"), "--control", address)
	cmd.Env = append(os.Environ(), "GOGC=1000") // collecting garbage would hold up the lines, whose time is what is measured
	var said bytes.Buffer                       // it names each gateway; read when it has ended
	cmd.Stderr = &said
	cmd.SysProcAttr = diesWithUs()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the death signal goes with the thread that started the child
		ended <- cmd.Run()
	}()
	for {
		select {
		case err := <-ended:
			return "", nil, billing.Errorf(billing.CodeUnavailable, "the simulator ended at once: %v: %s", err, said.String())
		case <-time.After(50 * time.Millisecond):
		}
		if answer, err := http.Get("http://" + address + "/lines"); err == nil {
			_ = answer.Body.Close()
			break
		}
	}
	return "http://" + address, func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	}, nil
}

// freeAddress is an address on loopback that nobody listens on now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

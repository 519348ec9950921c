//go:build prove

package app_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/meterflow/meterflow/internal/bench"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/devstack"
	"github.com/meterflow/meterflow/internal/proof"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// runKills are the deaths of the worker while it charges three days of a site with tens of thousands of accounts and bills its month:
// with a page written and not committed, and with a page committed and not acknowledged.
var (
	chargeKills = []string{"charge-page-open:4", "charge-page-committed:9"}
	rateKills   = []string{"bills-page-open:5", "bills-page-committed:8"}
	issueKills  = []string{"issue-page-open:4", "issue-page-committed:7", "issue-page-open:9"}
)

const killedAccounts = 20_000

// TestRunKills kills the worker several times in a run of 20,000 accounts. In the end every account is billed once, to the fen of a fresh
// computation, the ledger balances, and the progress that people see says so.
func TestRunKills(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	stack, err := devstack.Start(t.Context(), devstack.Options{Dir: dir, Log: os.Stderr, Disposable: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, stack.Stop()) }()
	s, err := store.Open(t.Context(), stack.DatabaseURL())
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Migrate(t.Context())
	require.NoError(t, err)
	require.NoError(t, bench.Prepare(t.Context(), s, bench.Month.To.At(9, 0, bench.Zone())))
	var cycles []billing.Date
	for back := -2; back <= 0; back++ { // as many days as a worker makes up for: it finds none to read
		cycles = append(cycles, bench.Month.To.AddDays(back))
	}
	u := bench.Utility{Site: "killed", Accounts: killedAccounts, Cycles: cycles, Journaled: true}
	require.NoError(t, u.Load(t.Context(), s))
	c, err := client.Dial(client.Options{HostPort: stack.TemporalAddress()})
	require.NoError(t, err)
	defer c.Close()

	w := &mortal{t: t, path: program(t, "failpoint"), env: append(os.Environ(), "METERFLOW_DATABASE_URL="+stack.DatabaseURL(),
		"METERFLOW_TEMPORAL_ADDRESS="+stack.TemporalAddress(), "METERFLOW_DUE_EVERY=2s", "METERFLOW_WORKER_ID=mortal")}
	// The worker finds the charges and the run that are due by itself.
	for _, point := range append(chargeKills, rateKills...) {
		w.diesAt(point)
	}
	stop := w.lives()
	awaitRun(t, s, u, billing.RunAwaitingVerification)
	p, err := s.RunProgress(t.Context(), u.RunID())
	require.NoError(t, err)
	require.Equal(t, store.RunProgress{Accounts: killedAccounts, Rated: killedAccounts, Bills: killedAccounts}, p)
	flows := &workflows.Client{T: c}
	require.Eventually(t, func() bool { return flows.VerifyRun(t.Context(), u.RunID(), bench.Verifier) == nil }, patience, time.Second)
	stop()

	issued := make(chan error, 1)
	go func() { issued <- flows.IssueRun(context.Background(), u.RunID(), bench.Issuer) }()
	for _, point := range issueKills {
		w.diesAt(point)
	}
	stop = w.lives()
	defer stop()
	require.NoError(t, <-issued)
	awaitRun(t, s, u, billing.RunIssued)

	require.NoError(t, u.Check(t.Context(), s), "every account once, to the fen")
	var wrong int
	require.NoError(t, s.Pool.QueryRow(t.Context(), `SELECT count(*) FROM bills b JOIN balances a USING (account_id) WHERE a.balance_fen <> 1000000 - b.total_fen
		- (SELECT coalesce(sum(amount_fen), 0) FROM charges c WHERE c.account_id = b.account_id AND c.period_from <> b.period_from)`).Scan(&wrong))
	require.Zero(t, wrong, "what the bills took from the customers' credit is what they say")
	found, err := proof.Check(t.Context(), s.Pool, nil)
	require.NoError(t, err)
	for _, i := range found {
		require.Zero(t, i.Violations, "%s: %v", i.Name, i.Details)
	}
	p, err = s.RunProgress(t.Context(), u.RunID())
	require.NoError(t, err)
	require.Equal(t, store.RunProgress{Accounts: killedAccounts, Rated: killedAccounts, Bills: killedAccounts, Issued: killedAccounts}, p)
}

func awaitRun(t *testing.T, s *store.Store, u bench.Utility, state billing.RunState) {
	t.Helper()
	require.Eventually(t, func() bool {
		r, err := s.Run(t.Context(), u.RunID())
		return err == nil && r.State == state
	}, 3*patience, 200*time.Millisecond, "the run doesn't come to %s", state)
}

// mortal is a worker program that is started again and again.
type mortal struct {
	t    *testing.T
	path string
	env  []string
}

func (m *mortal) start(ctx context.Context, point string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, m.path, "worker")
	cmd.Env = append(m.env, "METERFLOW_KILL_AT="+point)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	require.NoError(m.t, cmd.Start())
	return cmd
}

// diesAt runs the worker until SIGKILL ends it at a point.
func (m *mortal) diesAt(point string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 2*patience)
	defer cancel()
	began := time.Now()
	cmd := m.start(ctx, point)
	_ = cmd.Wait()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(m.t, ok && status.Signaled() && status.Signal() == syscall.SIGKILL, "the worker didn't come to %s: %v", point, cmd.ProcessState)
	name, _, _ := strings.Cut(point, ":")
	m.t.Logf("killed at %s after %s", name, time.Since(began).Round(time.Second))
}

// lives runs the worker until stop.
func (m *mortal) lives() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	cmd := m.start(ctx, "")
	return func() {
		cancel()
		_ = cmd.Wait()
	}
}

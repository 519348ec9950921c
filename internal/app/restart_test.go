package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices/simulator"
)

// patience is how long a test waits for what a program does, on a machine with much else to do.
const patience = 4 * time.Minute

// live is a demo with a page, run as a program.
type live struct {
	t         *testing.T
	dir       string
	cmd       *exec.Cmd
	out, errs *bytes.Buffer
	exited    chan struct{}
}

// startLive starts a demo on a folder and waits until its page answers.
func startLive(t *testing.T, dir string) *live {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background()) // t.Context is over before cleanups run
	l := &live{t: t, dir: dir, exited: make(chan struct{})}
	l.cmd, l.out, l.errs = meterflow(ctx, program(t, ""), "demo", "--data", dir)
	require.NoError(t, l.cmd.Start())
	go func() {
		defer close(l.exited)
		_ = l.cmd.Wait()
	}()
	t.Cleanup(func() {
		cancel()
		<-l.exited
	})
	l.eventually("the page answers", func() bool {
		address, err := os.ReadFile(filepath.Join(dir, "address"))
		if err != nil {
			return false
		}
		answer, err := http.Get("http://" + string(address) + "/healthz") //nolint:gosec // our own program
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	return l
}

func (l *live) eventually(what string, holds func() bool) {
	l.t.Helper()
	for begun := time.Now(); !holds(); time.Sleep(100 * time.Millisecond) {
		select {
		case <-l.exited:
			require.FailNow(l.t, "the demo ended before: "+what, "%s\n%s", l.out, l.errs)
		default:
		}
		require.Less(l.t, time.Since(begun), patience, what)
	}
}

// stop sends a signal and gives the exit status; -1 when the signal ended it.
func (l *live) stop(s syscall.Signal) int {
	l.t.Helper()
	require.NoError(l.t, l.cmd.Process.Signal(s))
	select {
	case <-l.exited:
	case <-time.After(patience):
		require.FailNow(l.t, "it doesn't end", "%s\n%s", l.out, l.errs)
	}
	return l.cmd.ProcessState.ExitCode()
}

// database connects to a folder's database while its demo runs.
func (l *live) database() *pgx.Conn {
	l.t.Helper()
	var ports map[string]int
	text, err := os.ReadFile(filepath.Join(l.dir, "ports.json"))
	require.NoError(l.t, err)
	require.NoError(l.t, json.Unmarshal(text, &ports))
	password, err := os.ReadFile(filepath.Join(l.dir, "password"))
	require.NoError(l.t, err)
	u := url.URL{Scheme: "postgres", User: url.UserPassword("meterflow", strings.TrimSpace(string(password))), Host: fmt.Sprint("127.0.0.1:", ports["postgres"]), Path: "/meterflow"}
	conn, err := pgx.Connect(l.t.Context(), u.String())
	require.NoError(l.t, err)
	return conn
}

// ask reads one value from a running demo's database.
func ask[T any](l *live, sql string) T {
	l.t.Helper()
	conn := l.database()
	defer func() { require.NoError(l.t, conn.Close(context.Background())) }()
	rows, err := conn.Query(l.t.Context(), sql)
	require.NoError(l.t, err)
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	require.NoError(l.t, err)
	return v
}

func (l *live) clock() time.Time { return ask[time.Time](l, `SELECT business_now()`) }

func (l *live) record() []simulator.RecordEntry {
	l.t.Helper()
	entries, err := simulator.ReadRecord(filepath.Join(l.dir, "meters"))
	require.NoError(l.t, err)
	return entries
}

// hurry asks for many business days per minute, as the switch on the page does.
func (l *live) hurry() {
	conn := l.database()
	defer func() { require.NoError(l.t, conn.Close(context.Background())) }()
	_, err := conn.Exec(l.t.Context(), `UPDATE business_clock SET wanted_pace = 7200`)
	require.NoError(l.t, err)
}

// TestRestart stops a demo in the middle of its days, gently and by force, and starts it again on the same folder, while another
// runs beside it on a folder of its own. In the end its days are whole: nothing was lost, nothing happened twice.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	// An address of its own: the usual one may be taken by another test's demo while this one is down.
	own, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, own.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "address"), []byte(own.Addr().String()), 0o600))
	first := startLive(t, dir)
	other := startLive(t, folder(t))
	require.NotEqual(t, address(t, first), address(t, other))
	require.Zero(t, other.stop(syscall.SIGTERM), "%s", other.errs)

	status, _, errs := ended(t.Context(), t, program(t, ""), "demo", "--data", dir)
	require.Equal(t, 1, status)
	require.Contains(t, errs, "is in use by process")

	first.hurry()
	first.eventually("a day was read", func() bool { return ask[int](first, `SELECT count(*)::int FROM cycles WHERE state = 'closed'`) >= 2 })
	before := first.clock()
	require.Zero(t, first.stop(syscall.SIGTERM), "%s", first.errs)
	known := first.record()

	second := startLive(t, dir)
	require.Equal(t, address(t, first), address(t, second), "a bookmark stays good")
	require.False(t, second.clock().Before(before), "the clock goes on where it was")
	require.Equal(t, known, second.record()[:len(known)], "the meters go on where they were")
	second.eventually("a sweep is under way", func() bool {
		return ask[int](second, `SELECT count(*)::int FROM cycles WHERE state = 'sweeping' AND day > '2026-09-02'`) > 0
	})
	require.Equal(t, -1, second.stop(syscall.SIGKILL))

	// Started the third time, it runs to the end of its days and is checked.
	r := month(t, "restart", 5, "--data", dir)
	require.Equal(t, 5, r.BusinessDays)
	opened := map[string]int{}
	for _, e := range first.record() {
		if e.Kind == simulator.EntryOpened {
			opened[e.Serial]++
		}
	}
	require.Len(t, opened, 301)
	for serial, n := range opened {
		require.Equal(t, 1, n, "meter %s began anew", serial)
	}
}

func address(t *testing.T, l *live) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(l.dir, "address"))
	require.NoError(t, err)
	return string(text)
}

package devstack

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// crashVariable turns this test binary into a program that starts a stack in the named folder and waits to be killed.
const crashVariable = "METERFLOW_DEVSTACK_CRASH"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashVariable); dir != "" {
		if _, err := Start(context.Background(), Options{Dir: dir, Disposable: true}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("up")
		select {}
	}
	os.Exit(m.Run())
}

// folder is a temporary data folder that PostgreSQL's user may enter; t.TempDir is closed to others.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "meterflow-devstack-*")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func start(t *testing.T, o Options) *Stack {
	t.Helper()
	o.Disposable = true
	stack, err := Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stack.Stop()) })
	return stack
}

func query[T any](t *testing.T, s *Stack, sql string, args ...any) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.DatabaseURL())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	rows, err := conn.Query(t.Context(), sql, args...)
	require.NoError(t, err)
	value, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	require.NoError(t, err)
	return value
}

func doubled(_ workflow.Context, n int) (int, error) { return 2 * n, nil }

// runWorkflow shows that the Temporal server does what a server is for.
func runWorkflow(t *testing.T, s *Stack, id string) {
	t.Helper()
	c, err := client.Dial(client.Options{HostPort: s.TemporalAddress(), Logger: quiet{}})
	require.NoError(t, err)
	defer c.Close()
	w := worker.New(c, "devstack", worker.Options{})
	w.RegisterWorkflow(doubled)
	require.NoError(t, w.Start())
	defer w.Stop()
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: "devstack"}, doubled, 21)
	require.NoError(t, err)
	var got int
	require.NoError(t, run.Get(t.Context(), &got))
	require.Equal(t, 42, got)
}

type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

func TestStack_restartKeepsDataAndPorts(t *testing.T) {
	dir := folder(t)
	first := start(t, Options{Dir: dir})
	conn, err := pgx.Connect(t.Context(), first.DatabaseURL())
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "create table kept as select 7 as n")
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	runWorkflow(t, first, "before")
	require.NoError(t, first.Stop())
	require.NoError(t, first.Stop(), "a second stop does nothing")
	require.NoError(t, first.Err())

	second := start(t, Options{Dir: dir})
	require.Equal(t, first.DatabaseURL(), second.DatabaseURL())
	require.Equal(t, first.TemporalAddress(), second.TemporalAddress())
	require.Equal(t, 7, query[int](t, second, "select n from kept"))
	runWorkflow(t, second, "after")
	c, err := client.Dial(client.Options{HostPort: second.TemporalAddress(), Logger: quiet{}})
	require.NoError(t, err)
	defer c.Close()
	var got int
	require.NoError(t, c.GetWorkflow(t.Context(), "before", "").Get(t.Context(), &got), "workflows of the first run are remembered")
	require.Equal(t, 42, got)
}

func TestStack_twoFoldersSideBySide(t *testing.T) {
	a := start(t, Options{Dir: folder(t), WithoutTemporal: true})
	b := start(t, Options{Dir: folder(t), WithoutTemporal: true})
	require.NotEqual(t, a.password, b.password)
	taken := map[int]bool{}
	for _, p := range []ports{a.ports, b.ports} {
		for name, port := range p {
			require.False(t, taken[port], "%s: port %d is used twice", name, port)
			require.LessOrEqual(t, port, highestPort)
			taken[port] = true
		}
	}
	require.NotEqual(t, query[string](t, a, "show data_directory"), query[string](t, b, "show data_directory"))
}

func TestStack_door(t *testing.T) {
	s := start(t, Options{Dir: folder(t), WithoutTemporal: true})
	require.Equal(t, "127.0.0.1", query[string](t, s, "show listen_addresses"))
	require.Equal(t, "scram-sha-256", query[string](t, s, "select string_agg(distinct auth_method, ',') from pg_hba_file_rules"))
	wrong := strings.Replace(s.DatabaseURL(), s.password, "wrong", 1)
	_, err := pgx.Connect(t.Context(), wrong)
	require.ErrorContains(t, err, "password authentication failed")
	info, err := os.Stat(filepath.Join(s.dir, "password"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestStart_folderInUse(t *testing.T) {
	s := start(t, Options{Dir: folder(t), WithoutTemporal: true})
	_, err := Start(t.Context(), Options{Dir: s.dir, WithoutTemporal: true})
	require.ErrorContains(t, err, fmt.Sprintf("%s is in use by process %d", s.dir, os.Getpid()))
	require.Equal(t, 1, query[int](t, s, "select 1"), "the running stack is left alone")
}

func TestStart_portTaken(t *testing.T) {
	dir := folder(t)
	first := start(t, Options{Dir: dir, WithoutTemporal: true})
	port := first.ports[postgresPort]
	require.NoError(t, first.Stop())
	squatter, err := net.Listen("tcp4", net.JoinHostPort(loopback, strconv.Itoa(port)))
	require.NoError(t, err)
	defer func() { require.NoError(t, squatter.Close()) }()

	var log strings.Builder
	second := start(t, Options{Dir: dir, WithoutTemporal: true, Log: &log})
	require.NotEqual(t, port, second.ports[postgresPort])
	require.Contains(t, log.String(), fmt.Sprintf("port %d of postgres is taken by another program", port))
	require.Equal(t, first.ports[frontendPort], second.ports[frontendPort], "ports that are free stay")
}

func TestStack_childDies(t *testing.T) {
	s := start(t, Options{Dir: folder(t), WithoutTemporal: true})
	require.NoError(t, syscall.Kill(s.postgres.cmd.Process.Pid, syscall.SIGKILL))
	select {
	case <-s.Done():
		require.ErrorContains(t, s.Err(), "PostgreSQL ended by itself")
	case <-time.After(30 * time.Second):
		t.Fatal("Done was not closed")
	}
}

func TestStack_crashLeavesNothingBehind(t *testing.T) {
	dir := folder(t)
	crasher := exec.Command(os.Args[0])
	crasher.Env = append(os.Environ(), crashVariable+"="+dir)
	crasher.Stderr = os.Stderr
	stdout, err := crasher.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, crasher.Start())
	t.Cleanup(func() { _ = crasher.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "up\n", line)

	family := descendants(t, crasher.Process.Pid)
	require.Greater(t, len(family), 2, "a postmaster with its own children, and a Temporal server")
	require.NoError(t, crasher.Process.Kill())
	require.Error(t, crasher.Wait())
	require.Eventually(t, func() bool { return len(alive(family)) == 0 }, 30*time.Second, 20*time.Millisecond,
		"processes that outlived their parent")

	again := start(t, Options{Dir: dir})
	runWorkflow(t, again, "after-crash")
}

func TestStart_staleProcessFile(t *testing.T) {
	dir := folder(t)
	stack := start(t, Options{Dir: dir, WithoutTemporal: true})
	data := filepath.Join(dir, "postgres", "data")
	require.NoError(t, stack.Stop())

	t.Run("the number of the old process belongs to another program", func(t *testing.T) {
		pid := filepath.Join(data, "postmaster.pid")
		require.NoError(t, os.WriteFile(pid, fmt.Appendf(nil, "%d\n%s\n", os.Getpid(), data), 0o600))
		start(t, Options{Dir: dir, WithoutTemporal: true})
	})
	t.Run("an empty file of a torn write", func(t *testing.T) {
		other := folder(t)
		s := start(t, Options{Dir: other, WithoutTemporal: true})
		require.NoError(t, s.Stop())
		require.NoError(t, os.WriteFile(filepath.Join(other, "postgres", "data", "postmaster.pid"), nil, 0o600))
		start(t, Options{Dir: other, WithoutTemporal: true})
	})
}

// descendants are the processes below pid, without pid itself.
func descendants(t *testing.T, pid int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	parents := map[int]int{}
	for _, path := range stats {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		_, rest, _ := strings.Cut(string(content), ") ") // after "pid (name)": state, parent
		var state string
		var parent int
		_, err = fmt.Sscan(rest, &state, &parent)
		require.NoError(t, err)
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		require.NoError(t, err)
		parents[child] = parent
	}
	var found []int
	for child := range parents {
		for p := parents[child]; p != 0; p = parents[p] {
			if p == pid {
				found = append(found, child)
				break
			}
		}
	}
	return found
}

// alive leaves out zombies: a container without an init reaps nobody's orphans.
func alive(pids []int) []int {
	var living []int
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !strings.Contains(string(stat), ") Z ") {
			living = append(living, pid)
		}
	}
	return living
}

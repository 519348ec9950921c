// Package devstacktest gives tests a real PostgreSQL database and a real Temporal server.
//
// Under `make test` one stack serves the whole run, named by two environment variables. Without them (a single `go test`, an
// editor) the test binary starts a private stack when the first test asks and keeps it until the binary ends; the stack's
// children end with it, and the next such run removes what it left on disk. A missing server fails the test, it never skips it.
package devstacktest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/devstack"
)

// The variables that name the servers of a whole test run.
const (
	DatabaseVariable = "METERFLOW_TEST_DATABASE_URL"
	TemporalVariable = "METERFLOW_TEST_TEMPORAL_ADDRESS"
)

const (
	leftoverPattern = "meterflow-test-*"
	leftoverAge     = 10 * time.Minute
)

// Postgres is the URL of a new, empty database for this test, with a superuser. It is dropped when the test ends.
func Postgres(t testing.TB) string {
	t.Helper()
	server := os.Getenv(DatabaseVariable)
	if server == "" {
		server = own(t).DatabaseURL()
	}
	address, err := url.Parse(server)
	if err != nil || address.Host == "" {
		t.Fatalf("%s is no PostgreSQL URL", DatabaseVariable)
	}
	name := "test_" + strings.ToLower(rand.Text())
	execute(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { execute(t, server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	address.Path = "/" + name
	return address.String()
}

func execute(t testing.TB, server, statement string) {
	t.Helper()
	ctx := context.Background() // t.Context is over when cleanups run
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatalf("the test's PostgreSQL can't be reached: %v", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Temporal is host:port of a Temporal server with the namespace "default". It is shared with other tests, also of other
// packages: use task queues and workflow ids of your own.
func Temporal(t testing.TB) string {
	t.Helper()
	if address := os.Getenv(TemporalVariable); address != "" {
		return address
	}
	stack := own(t)
	private.temporalOnce.Do(func() {
		binary, err := devstack.FindTemporal()
		if err == nil {
			err = stack.StartTemporal(context.Background(), binary)
		}
		private.temporalErr = err
	})
	if private.temporalErr != nil {
		t.Fatalf("the test's Temporal server: %v", private.temporalErr)
	}
	return stack.TemporalAddress()
}

// private is the test binary's own stack. It is a global because tests of one binary share it and have no common owner.
var private struct {
	once  sync.Once
	stack *devstack.Stack
	err   error

	temporalOnce sync.Once
	temporalErr  error
}

func own(t testing.TB) *devstack.Stack {
	t.Helper()
	private.once.Do(func() { private.stack, private.err = startOwn() })
	if private.err != nil {
		t.Fatalf("the test's PostgreSQL: %v", private.err)
	}
	return private.stack
}

func startOwn() (*devstack.Stack, error) {
	removeLeftovers()
	dir, err := os.MkdirTemp("", leftoverPattern)
	if err != nil {
		return nil, err
	}
	// PostgreSQL's user must be able to pass, and only to pass.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, err
	}
	return devstack.Start(context.Background(), devstack.Options{Dir: dir, WithoutTemporal: true, Disposable: true})
}

// removeLeftovers deletes the folders of earlier test binaries. A folder that is in use stays, and so does one that we can't
// delete: both are another process's business.
func removeLeftovers() {
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), leftoverPattern))
	if err != nil {
		panic(fmt.Sprintf("pattern %q: %v", leftoverPattern, err)) // a constant
	}
	for _, dir := range folders {
		// A young folder may belong to a binary that is just about to lock it.
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > leftoverAge {
			_ = devstack.Remove(dir)
		}
	}
}

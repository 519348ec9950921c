package app_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/devstack/devstacktest"
)

// TestBadInput calls the program wrongly. Each time it says in one sentence what is wrong and what to do, and ends with a status
// that isn't 0: 2 when it was called wrongly, else 1.
func TestBadInput(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, taken.Close()) }()
	inUse := taken.Addr().String()
	// Nobody listens where somebody has just stopped listening.
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := gone.Addr().String()
	require.NoError(t, gone.Close())

	database, temporal := devstacktest.Postgres(t), devstacktest.Temporal(t)
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	const oneMeter = `{"Gateways":[{"ID":"g1","Meters":[{"Unit":1,"Serial":"000000000001","Profile":"sim-dtsy1352","LoadProfile":"nothing"}]}]}`
	for _, test := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"no command", nil, 2, "expected one of"},
		{"unknown command", []string{"dance"}, 2, "unexpected argument dance"},
		{"unknown flag", []string{"demo", "--dance"}, 2, "unknown flag --dance"},
		{"no number", []string{"demo", "--exit", "--days", "many"}, 2, `--days`},
		{"days 0", []string{"demo", "--exit", "--days", "0"}, 1, "--days must be 1 to 42"},
		{"too many days", []string{"demo", "--exit", "--days", "43"}, 1, "--days must be 1 to 42"},
		{"no database named", []string{"serve"}, 1, "--database-url or METERFLOW_DATABASE_URL"},
		{"database address unreadable", []string{"migrate", "--database-url", "postgres://%zz"}, 1, "postgres://user:password@host:port/name"},
		{"database unreachable", []string{"migrate", "--database-url", "postgres://somebody:secret@" + nobody + "/meterflow"}, 1, "the database at " + nobody + " doesn't answer"},
		{"no engine named", []string{"worker", "--database-url", database}, 1, "--temporal-address or METERFLOW_TEMPORAL_ADDRESS"},
		{"engine unreachable", []string{"worker", "--database-url", database, "--temporal-address", nobody}, 1, "the Temporal server at " + nobody + " doesn't answer"},
		{"pages' port in use", []string{"serve", "--database-url", database, "--temporal-address", temporal, "--listen", inUse}, 1, "the address " + inUse + " is in use"},
		{"pages' address unreadable", []string{"serve", "--database-url", database, "--temporal-address", temporal, "--listen", "here"}, 1, "give it as host:port"},
		{"fleet without meters", []string{"simulate", "--meters", "0", "--record", t.TempDir()}, 1, "a fleet has 1 to 10000 gateways of 1 to 247 meters"},
		{"fleet missing", []string{"simulate", "--fleet", filepath.Join(t.TempDir(), "none.json")}, 1, "no such file"},
		{"fleet corrupt", []string{"simulate", "--fleet", write("fleet.json", `{"Gateways":[`)}, 1, "isn't valid"},
		{"fleet of nothing known", []string{"simulate", "--record", t.TempDir(), "--fleet", write("fleet.json", oneMeter)}, 1, "the fleet can't start"},
		{"report not writable", []string{"demo", "--exit", "--days", "1", "--report", filepath.Join(t.TempDir(), "none", "report.json")}, 1, "the report can't be written"},
		{"Temporal server missing", []string{"demo", "--data", folder(t), "--temporal-server", "/nowhere/temporal-server"}, 1, "/nowhere/temporal-server"},
		{"data folder is a file", []string{"demo", "--data", write("file", "")}, 1, "choose another"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, out, errs := ended(t.Context(), t, program(t, ""), test.args...)
			require.Equal(t, test.status, status, "%s%s", out, errs)
			require.Contains(t, errs, test.says)
			require.True(t, strings.HasPrefix(errs, "meterflow: "), errs)
			require.Equal(t, 1, strings.Count(errs, "\n"), "one line: %s", errs)
			require.NotContains(t, errs, "goroutine", errs)
			require.NotContains(t, errs, "secret")
		})
	}
}

package devstacktest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/meterflow/meterflow/internal/devstack/devstacktest"
)

func TestPostgres_databasesAreApartAndDropped(t *testing.T) {
	count := func(t *testing.T, url, name string) int {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), url)
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close(t.Context())) }()
		var n int
		require.NoError(t, conn.QueryRow(t.Context(), "select count(*) from pg_database where datname = $1", name).Scan(&n))
		return n
	}
	outer := devstacktest.Postgres(t)
	var inner string
	t.Run("inner", func(t *testing.T) {
		url := devstacktest.Postgres(t)
		require.NotEqual(t, outer, url)
		config, err := pgx.ParseConfig(url)
		require.NoError(t, err)
		inner = config.Database
		require.Equal(t, 1, count(t, outer, inner))
	})
	require.Equal(t, 0, count(t, outer, inner), "dropped with its test")
}

func TestTemporal(t *testing.T) {
	c, err := client.Dial(client.Options{HostPort: devstacktest.Temporal(t)})
	require.NoError(t, err)
	c.Close()
	require.Equal(t, devstacktest.Temporal(t), devstacktest.Temporal(t), "one server for all tests")
}

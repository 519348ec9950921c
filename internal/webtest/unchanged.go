package webtest

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// moving are the tables that change whatever a person does, each with the reason. Every other table counts, those of later migrations too.
var moving = map[string]string{
	"sessions":     "a session notes when it was used last",
	"line_leases":  "a worker renews the leases of its lines in real time",
	"line_workers": "a worker says in real time that it is alive",
}

// Unchanged runs f and holds that no row of any table is another one after it, was added or has gone. The tables are those of the catalogue.
func (s *Server) Unchanged(t testing.TB, f func()) {
	t.Helper()
	before := s.digests(t)
	f()
	require.Equal(t, before, s.digests(t), "a table has changed")
}

// digests are a hash of all rows of each table, in one snapshot.
func (s *Server) digests(t testing.TB) map[string]string {
	t.Helper()
	ctx := context.Background()
	rows, _ := s.Store.Pool.Query(ctx, `SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1`)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	var parts []string
	for _, table := range tables {
		if moving[table] == "" {
			name := pgx.Identifier{table}.Sanitize()
			parts = append(parts, `SELECT '`+table+`', md5(coalesce(string_agg(md5(t::text), '' ORDER BY md5(t::text)), '')) FROM `+name+` t`)
		}
	}
	rows, err = s.Store.Pool.Query(ctx, strings.Join(parts, " UNION ALL "))
	require.NoError(t, err)
	digests := map[string]string{}
	var table, digest string
	_, err = pgx.ForEachRow(rows, []any{&table, &digest}, func() error {
		digests[table] = digest
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, len(digests), 50, "the tables of the product")
	return digests
}

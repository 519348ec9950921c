// Package storetest gives tests a store on a new, migrated database of a real PostgreSQL, and a demo-mode clock to move by hand.
package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/devstack/devstacktest"
	"github.com/meterflow/meterflow/internal/store"
)

// New is a store on a database of its own, which is dropped when the test ends. Its business clock runs in real time until SetClock.
func New(t testing.TB) *store.Store {
	t.Helper()
	ctx := context.Background() // t.Context is over when cleanups run
	s, err := store.Open(ctx, devstacktest.Postgres(t))
	require.NoError(t, err)
	t.Cleanup(s.Close)
	_, err = s.Migrate(ctx)
	require.NoError(t, err)
	return s
}

// SetClock puts the business clock at an instant, where it stands until it is set again. It may go back, unlike a demo's clock.
func SetClock(t testing.TB, s *store.Store, at time.Time) {
	t.Helper()
	_, err := s.Pool.Exec(context.Background(), `UPDATE business_clock SET mode = 'demo', business_at = $1`, at)
	require.NoError(t, err)
}

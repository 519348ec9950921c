package session

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestThrottle(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	th := newThrottle(func() time.Time { return now })
	for range maxTries {
		require.True(t, th.allow("sup1 10.0.0.1"))
		th.failed("sup1 10.0.0.1")
	}
	require.False(t, th.allow("sup1 10.0.0.1"))
	require.True(t, th.allow("sup1 10.0.0.2"), "another address isn't locked out")
	require.True(t, th.allow("sup2 10.0.0.1"), "nor another person")
	now = now.Add(tryWindow + time.Second)
	require.True(t, th.allow("sup1 10.0.0.1"), "a quarter of an hour later it may go on")
	require.Empty(t, th.wrong, "and nothing is kept")

	th.failed("sup1 10.0.0.1")
	th.forget("sup1 10.0.0.1")
	require.Empty(t, th.wrong)
}

func TestThrottle_doesNotGrowWithoutEnd(t *testing.T) {
	th := newThrottle(func() time.Time { return time.Time{} })
	for i := range maxKeys + 10 {
		th.failed(fmt.Sprint(i))
	}
	require.LessOrEqual(t, len(th.wrong), maxKeys)
}

func TestHost(t *testing.T) {
	require.Equal(t, "10.0.0.1", host("10.0.0.1:5000"))
	require.Equal(t, "::1", host("[::1]:5000"))
	require.Equal(t, "unix", host("unix"))
}

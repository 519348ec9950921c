package devices

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices/wire"
)

// What a meter's tries cost decides whether it is set aside, and its pause grows with the tries of sweeps only.
func TestAsides(t *testing.T) {
	t.Parallel()
	at := Address{Gateway: "g", Unit: 1}
	fresh := func() asides { return newAsides(Config{SetAsideFor: 10 * time.Minute}.withDefaults()) }
	for name, test := range map[string]struct {
		err   error
		aside bool
	}{
		"an answer":            {nil, false},
		"a refusal":            {&RefusedError{Function: 3, Exception: 2}, false},
		"silence":              {translate(wire.ErrTimeout), true},
		"noise":                {translate(fmt.Errorf("%w: 3 bytes came that are no answer", wire.ErrBadReply)), true},
		"another serial":       {ErrWrongMeter, false},
		"a value out of range": {fmt.Errorf("%w: 1A is no BCD", ErrBadAnswer), false},
		"a lost lease":         {ErrNotOwner, false},
		"a link that is down":  {translate(wire.ErrNotConnected), false},
	} {
		a := fresh()
		a.book(at, test.err)
		require.Equal(t, test.aside, errors.Is(a.check(at), ErrSetAside), name)
	}

	a := fresh()
	for range 9 { // a command polls for its read-back while the meter is silent
		a.book(at, ErrSilent)
	}
	require.LessOrEqual(t, time.Until(a.meters["g"][1].until), 10*time.Minute, "one pause, not nine doublings")
	a.book(at, ErrNotOwner)
	require.Error(t, a.check(at), "a lost lease is no answer")
	a.meters["g"][1].until = time.Now()
	a.book(at, ErrSilent)
	require.Greater(t, time.Until(a.meters["g"][1].until), 10*time.Minute, "silent again after its pause: twice as long")
	a.book(at, nil)
	require.NoError(t, a.check(at))
}

package store

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// However often a meter is looked at, every order that went out to it stays in the evidence.
func TestFramesKeepEveryOrder(t *testing.T) {
	t.Parallel()
	c := Command{Frames: json.RawMessage(`[]`)}
	for attempt := range 3 {
		frames := []json.RawMessage{json.RawMessage(fmt.Sprintf(`{"request":"order %d","write":true}`, attempt))}
		for look := range 100 {
			frames = append(frames, json.RawMessage(fmt.Sprintf(`{"request":"look %d.%d"}`, attempt, look)))
		}
		more, err := json.Marshal(frames)
		require.NoError(t, err)
		require.NoError(t, c.addFrames(more))
	}
	var kept []struct {
		Request string
		Write   bool
	}
	require.NoError(t, json.Unmarshal(c.Frames, &kept))
	require.Len(t, kept, 3+mostLooks)
	orders := []string{}
	for _, f := range kept {
		if f.Write {
			orders = append(orders, f.Request)
		}
	}
	require.Equal(t, []string{"order 0", "order 1", "order 2"}, orders)
	require.Equal(t, "look 0.0", kept[1].Request)
	require.Equal(t, "look 2.99", kept[len(kept)-1].Request)
}

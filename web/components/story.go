package components

import (
	"context"

	"github.com/meterflow/meterflow/web/locale"
)

func stateWord(ctx context.Context, kind locale.Kind, state string) string {
	if kind == "" {
		return state
	}
	return locale.State(ctx, kind, state)
}

// eventTone is the tone of the state that the event led to, unless the page gives one.
func eventTone(e Event) Tone {
	if e.Tone != Neutral {
		return e.Tone
	}
	return ToneOf(e.Kind, e.To)
}

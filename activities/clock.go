package activities

import (
	"context"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Clock asks the business clock for workflows that wait.
type Clock struct {
	Store *store.Store
}

// AskClock is one question of a waiting workflow. Without a workflow id it only asks for the time.
type AskClock struct {
	WorkflowID string
	Purpose    string
	Due        time.Time
}

// ClockAnswer says what the clock reads and how long to sleep, in real time, before asking again.
type ClockAnswer struct {
	Now     time.Time
	Reached bool
	Guess   time.Duration
}

// The guess is bounded: not so short that asking is all that happens, and not so long that a changed pace goes unnoticed.
const (
	shortestGuess = 500 * time.Millisecond
	longestGuess  = 10 * time.Minute
)

// AskClock answers one question and keeps the wait on record until its instant has come.
func (a *Clock) AskClock(ctx context.Context, in AskClock) (ClockAnswer, error) {
	if in.WorkflowID == "" {
		c, err := a.Store.Clock(ctx)
		return ClockAnswer{Now: c.Now}, err
	}
	c, reached, err := a.Store.AskClock(ctx, store.Wait{WorkflowID: in.WorkflowID, Purpose: in.Purpose, Due: in.Due})
	if err != nil || reached {
		return ClockAnswer{Now: c.Now, Reached: reached}, err
	}
	guess := in.Due.Sub(c.Now) / time.Duration(max(c.Pace, 1))
	if c.Mode == "demo" {
		// The driver signals when the instant has come; the timer is only for a lost signal.
		guess = max(guess, 20*time.Second)
	}
	return ClockAnswer{Now: c.Now, Guess: min(max(guess, shortestGuess), longestGuess)}, nil
}

// ForgetWait removes a wait that ended because something else happened first.
func (a *Clock) ForgetWait(ctx context.Context, workflowID, purpose string) error {
	return a.Store.ForgetWait(ctx, workflowID, purpose)
}

// Lines knows which worker owns which line.
type Lines struct {
	Store *store.Store
}

// LineHolderInput names a gateway.
type LineHolderInput struct {
	Gateway billing.GatewayID
}

// LineHolder is the worker that owns the gateway's line now. Without one it fails as unavailable, which is retried: a new owner
// takes over when the old one's lease has run out.
func (a *Lines) LineHolder(ctx context.Context, in LineHolderInput) (string, error) {
	return a.Store.LineHolder(ctx, in.Gateway)
}

package notify

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// Demo is a simulated SMS centre. It takes every message, and says later, through Deliver, what became of it, as a provider does
// with a request to our address. It keeps what it took in memory only: after a restart an ID that was taken gets the same number
// again, because the number is made from it, and its receipt is sent once more.
type Demo struct {
	// Deliver brings one receipt back; an error makes the centre try again, as providers do.
	Deliver func(ctx context.Context, r Receipt) error
	// Fails says whether a message to this phone fails, at its nth attempt by the customer's number (from 1). Nil: none does.
	Fails func(phone string, nth int) bool
	// Delay is how long a receipt takes, in real time.
	Delay time.Duration

	pending atomic.Int64
	mu      sync.Mutex
	taken   map[billing.MessageID]bool
	tries   map[string]int
}

// Quiet says that no receipt is on its way.
func (d *Demo) Quiet() bool { return d.pending.Load() == 0 }

// Send takes a message and gives it the number "SMS-<id>".
func (d *Demo) Send(ctx context.Context, m Message) (string, error) {
	no := "SMS-" + string(m.ID)
	if m.Phone == "" {
		return "", billing.Errorf(billing.CodeInvalidInput, "Message %s has no phone number.", m.ID)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.taken == nil {
		d.taken, d.tries = map[billing.MessageID]bool{}, map[string]int{}
	}
	if d.taken[m.ID] {
		return no, nil
	}
	d.taken[m.ID] = true
	d.tries[m.Phone]++
	r := Receipt{ProviderNo: no, Delivered: true}
	if d.Fails != nil && d.Fails(m.Phone, d.tries[m.Phone]) {
		r = Receipt{ProviderNo: no, Error: "the phone is switched off"}
	}
	d.pending.Add(1)
	d.later(context.WithoutCancel(ctx), d.Delay, r, giveUp)
	return no, nil
}

// Unheard takes receipts that nobody waits for, where only the sending counts.
func Unheard(context.Context, Receipt) error { return nil }

// giveUp is how often a receipt is offered before the centre drops it.
const giveUp = 60

// The pauses between two offers of the same receipt.
const (
	shortestPause = 100 * time.Millisecond
	longestPause  = 5 * time.Second
)

// later offers a receipt after a while, and again with longer pauses as long as it isn't taken.
func (d *Demo) later(ctx context.Context, wait time.Duration, r Receipt, offers int) {
	time.AfterFunc(wait, func() {
		if d.Deliver(ctx, r) == nil || offers <= 1 {
			d.pending.Add(-1)
			return
		}
		d.later(ctx, min(max(2*wait, shortestPause), longestPause), r, offers-1)
	})
}

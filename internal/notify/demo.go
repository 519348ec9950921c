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
	wg      sync.WaitGroup
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
	d.wg.Add(1)
	go d.bringBack(context.WithoutCancel(ctx), r)
	return no, nil
}

// giveUp is how often a receipt is offered before the centre drops it.
const giveUp = 40

func (d *Demo) bringBack(ctx context.Context, r Receipt) {
	defer d.wg.Done()
	defer d.pending.Add(-1)
	wait := d.Delay
	for range giveUp {
		time.Sleep(wait)
		if d.Deliver == nil || d.Deliver(ctx, r) == nil {
			return
		}
		wait = min(max(2*wait, 100*time.Millisecond), 5*time.Second)
	}
}

// Wait returns when no receipt is on its way any more.
func (d *Demo) Wait() { d.wg.Wait() }

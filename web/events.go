package web

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/meterflow/meterflow/internal/store"
)

const (
	pollEvery = time.Second
	// beatEvery keeps proxies from closing a quiet stream.
	beatEvery = 15 * time.Second
	// streamFor ends a stream; the browser opens the next, with its session checked anew.
	streamFor = 10 * time.Minute
)

// events tells live pages that some state changed. One question a second to the database serves all of them, and none is asked
// while nobody looks.
type events struct {
	store *store.Store
	log   *slog.Logger

	mu      sync.Mutex
	readers map[chan int64]bool
	stop    context.CancelFunc
}

func newEvents(s *store.Store, log *slog.Logger) *events {
	return &events{store: s, log: log, readers: map[chan int64]bool{}}
}

// join adds a reader; the first one starts the polling. The channel holds the newest change only: a slow reader skips.
func (e *events) join(ctx context.Context) chan int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	ch := make(chan int64, 1)
	e.readers[ch] = true
	if e.stop == nil {
		// The polling outlives the request that started it.
		polling, stop := context.WithCancel(context.WithoutCancel(ctx))
		e.stop = stop
		go e.poll(polling)
	}
	return ch
}

func (e *events) leave(ch chan int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.readers, ch)
	if len(e.readers) == 0 && e.stop != nil {
		e.stop()
		e.stop = nil
	}
}

func (e *events) poll(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	last := int64(-1)
	for {
		id, err := e.store.LastChange(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			e.log.WarnContext(ctx, "live pages: the journal can't be asked", "error", err)
		case id != last:
			if last >= 0 {
				e.tell(id)
			}
			last = id
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (e *events) tell(id int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for ch := range e.readers {
		select {
		case <-ch:
		default:
		}
		ch <- id
	}
}

// ServeHTTP streams "changed" events with the number of the newest change.
func (e *events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	// The server's write timeout is for answers, not for streams. Where it can't be lifted the browser connects again.
	_ = out.SetWriteDeadline(time.Time{})
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	ch := e.join(r.Context())
	defer e.leave(ch)
	if !send(w, out, "retry: 2000\n\n") {
		return
	}
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	end := time.NewTimer(streamFor)
	defer end.Stop()
	for {
		text := ": beat\n\n"
		select {
		case <-r.Context().Done():
			return
		case <-end.C:
			return
		case <-beat.C:
		case id := <-ch:
			text = fmt.Sprintf("event: changed\ndata: %d\n\n", id)
		}
		if !send(w, out, text) {
			return
		}
	}
}

func send(w http.ResponseWriter, out *http.ResponseController, text string) bool {
	if _, err := w.Write([]byte(text)); err != nil {
		return false
	}
	return out.Flush() == nil
}

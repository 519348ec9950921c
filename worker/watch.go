package worker

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// watch is what a worker sees of the others, by its own clock: a jump of the database's clock makes nobody look dead.
type watch struct {
	process string // this worker's own
	looked  time.Time
	others  map[string]seen // by holder
}

// seen is another worker.
type seen struct {
	store.LineWorker
	silent time.Duration // since the beat was last seen to grow
	known  time.Duration // since its process was first seen, while it lived
}

// dismissAfter is how long a worker shows no life until it is taken off the list, and its leases with it whatever they say.
const dismissAfter = 5 * time.Minute

// look takes in the beats of the other workers. Time in which this worker couldn't look counts for little: when the database stands still, all
// are silent, and none is dead.
func (l *Lines) look(ctx context.Context, ttl time.Duration) error {
	if l.watch.process == "" {
		l.watch.process = rand.Text()
	}
	workers, err := l.Store.LineWorkers(ctx)
	if err != nil {
		return err
	}
	now := l.Now()
	passed := min(now.Sub(l.watch.looked), ttl/2)
	l.watch.looked = now
	others := map[string]seen{}
	for _, w := range workers {
		if w.Holder == l.Holder {
			continue
		}
		s := l.watch.others[w.Holder].next(w, passed, ttl)
		if s.silent >= dismissAfter {
			if err := l.Store.DismissWorker(ctx, w); err != nil {
				return err
			}
			continue
		}
		others[w.Holder] = s
	}
	l.watch.others = others
	return nil
}

// next is what is seen of a worker after a further look. One that is seen for the first time may be dead for long: it counts as alive until it
// has been watched for as long as a lease stands.
func (s seen) next(w store.LineWorker, passed, ttl time.Duration) seen {
	switch {
	case s.Process != w.Process:
		return seen{LineWorker: w}
	case s.Beat != w.Beat:
		return seen{LineWorker: w, known: s.known + passed}
	}
	s.Ending = w.Ending
	s.silent += passed
	if s.silent >= ttl {
		s.known = 0
	}
	return s
}

// living are the other workers that may own lines.
func (w *watch) living(ttl time.Duration) (holders []string) {
	for holder, s := range w.others {
		if s.silent < ttl {
			holders = append(holders, holder)
		}
	}
	return holders
}

// sharing counts the workers among which the lines are shared: this one, and those that may own lines and don't end.
func (w *watch) sharing(ttl time.Duration) int {
	n := 1
	for _, s := range w.others {
		if s.silent < ttl && !s.Ending {
			n++
		}
	}
	return n
}

// settled counts the other workers that have lived for half a lease and don't end: lines are handed back for them, and not for one that comes and goes.
func (w *watch) settled(ttl time.Duration) (n int) {
	for _, s := range w.others {
		if s.silent < ttl && s.known >= ttl/2 && !s.Ending {
			n++
		}
	}
	return n
}

// enrol makes this process the owner of lines under its name. Another process that is under the name and lives is a mistake, which is refused; one
// that shows no life for as long as a lease stands is the one before this, which had no time to say that it ends.
func (l *Lines) enrol(ctx context.Context, ttl time.Duration, waits func()) error {
	if l.watch.process == "" {
		l.watch.process = rand.Text()
	}
	var before seen
	for looked := l.Now(); ; {
		ok, err := l.Store.EnrolWorker(ctx, l.Holder, l.watch.process, dead(before, ttl))
		if err != nil || ok {
			return err
		}
		workers, err := l.Store.LineWorkers(ctx)
		if err != nil {
			return err
		}
		now := l.Now()
		for _, w := range workers {
			switch {
			case w.Holder != l.Holder:
			case before.Holder == "":
				waits()
				before = seen{LineWorker: w}
			case w != before.LineWorker:
				return billing.Errorf(billing.CodeConflict, "another process owns lines under the name %s: give each worker a name of its own (METERFLOW_WORKER_ID)", l.Holder)
			default:
				before.silent += min(now.Sub(looked), ttl/2)
			}
		}
		looked = now
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(ttl / 30):
		}
	}
}

// dead is a worker that has shown no life for as long as a lease stands; the zero worker while it may live.
func dead(s seen, ttl time.Duration) store.LineWorker {
	if s.silent < ttl {
		return store.LineWorker{}
	}
	return s.LineWorker
}

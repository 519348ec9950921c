// Package demo is a small utility that lives through its days: what it is made of, its people and customers, what goes wrong in its
// month, the clock that moves it, and the report of what it came to. It decides nothing that the product decides: its people use the API.
package demo

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Driver moves the demo's business clock. It never moves it past unfinished work: a cycle that is being swept, a recharge on its way
// to a meter, a workflow whose instant has come. So however fast the days go by, each is a whole day.
type Driver struct {
	Store  *store.Store
	Client *workflows.Client
	// SetNow moves the simulated meters' clock; it is called before the database's clock moves, so that no meter lags behind a reader.
	SetNow func(time.Time)
	// Quiet says whether everything that runs outside the database is done too: message receipts on their way.
	Quiet func() bool
	// Crew are the simulated people and customers.
	Crew *Crew
	Log  *slog.Logger

	sites []store.Site
	// moved is when the clock was last moved, for the pace that is observed.
	moved time.Time
	// triggered remembers when a site's due work was last asked for, so that a busy engine isn't asked again and again.
	triggered map[billing.SiteID]time.Time
}

// How the driver watches work that must be done before the clock moves. Real time.
const (
	lookAgain  = 15 * time.Millisecond
	askAgain   = 3 * time.Second  // a wake-up or trigger that had no effect is repeated
	sayWaiting = 20 * time.Second // what holds the clock for longer is said in the log
	liveTick   = 200 * time.Millisecond
)

// RunUntil jumps from event to event until the clock reads end, as fast as the days' work allows.
func (d *Driver) RunUntil(ctx context.Context, end time.Time) error {
	if err := d.begin(ctx); err != nil {
		return err
	}
	for {
		c, err := d.Store.Clock(ctx)
		if err != nil {
			return err
		}
		if err := d.finish(ctx, c.Now); err != nil {
			return err
		}
		if !c.Now.Before(end) {
			return nil
		}
		next, err := d.nextEvent(ctx, c.Now)
		if err != nil {
			return err
		}
		if err := d.move(ctx, c.Now, earlier(next, end)); err != nil {
			return err
		}
	}
}

// RunLive moves the clock at the pace that the people at the page ask for, until ctx ends.
func (d *Driver) RunLive(ctx context.Context) error {
	if err := d.begin(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		c, err := d.Store.Clock(ctx)
		if err != nil {
			return err
		}
		if err := d.finish(ctx, c.Now); err != nil {
			return err
		}
		if err := pause(ctx, liveTick); err != nil {
			return nil //nolint:nilerr // the end of a live demo is no fault
		}
		// Asked again: the work may have taken a while, and somebody may have paused the clock meanwhile.
		if c, err = d.Store.Clock(ctx); err != nil {
			return err
		}
		if c.Paused {
			continue
		}
		next, err := d.nextEvent(ctx, c.Now)
		if err != nil {
			return err
		}
		if c.WantedPace > 0 {
			next = earlier(next, c.Now.Add(time.Duration(c.WantedPace)*liveTick))
		}
		if err := d.move(ctx, c.Now, next); err != nil {
			return err
		}
	}
	return nil
}

func (d *Driver) begin(ctx context.Context) error {
	var err error
	d.triggered, d.moved = map[billing.SiteID]time.Time{}, time.Now()
	d.sites, err = d.Store.Sites(ctx)
	if err != nil {
		return err
	}
	c, err := d.Store.Clock(ctx)
	if err != nil {
		return err
	}
	d.SetNow(c.Now)
	return nil
}

// move sets both clocks forward.
func (d *Driver) move(ctx context.Context, from, to time.Time) error {
	if !to.After(from) {
		return nil
	}
	d.SetNow(to)
	pace := int64(to.Sub(from) / max(time.Since(d.moved), time.Millisecond))
	d.moved = time.Now()
	return d.Store.MoveClock(ctx, to, pace)
}

// finish waits until nothing is left to do at this instant, people's work included.
func (d *Driver) finish(ctx context.Context, now time.Time) error {
	for {
		if err := d.settle(ctx, now); err != nil {
			return err
		}
		did, err := d.Crew.Act(ctx, now)
		if err != nil {
			return fmt.Errorf("simulated people at %s: %w", now.Format(time.RFC3339), err)
		}
		if did == 0 {
			return nil
		}
	}
}

// settle waits until the machine's work is done: due waits woken, due runs started, nothing unfinished.
func (d *Driver) settle(ctx context.Context, now time.Time) error {
	woken := map[string]time.Time{}
	began, said := time.Now(), time.Now()
	for {
		busy, err := d.wake(ctx, woken)
		if err != nil {
			return err
		}
		due, err := d.trigger(ctx, now)
		if err != nil {
			return err
		}
		left, err := d.Store.UnfinishedWork(ctx)
		if err != nil {
			return err
		}
		if !busy && !due && len(left) == 0 && d.Quiet() {
			return nil
		}
		if time.Since(said) > sayWaiting {
			said = time.Now()
			d.Log.Warn("the business clock waits for unfinished work", "at", now.Format(time.RFC3339), "since", time.Since(began).Round(time.Second), "work", describe(left))
		}
		if err := pause(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// wake tells every workflow whose instant has come.
func (d *Driver) wake(ctx context.Context, woken map[string]time.Time) (busy bool, err error) {
	waits, err := d.Store.DueWaits(ctx)
	if err != nil {
		return false, err
	}
	for _, w := range waits {
		key := w.WorkflowID + " " + w.Purpose
		if last, ok := woken[key]; ok && time.Since(last) < askAgain {
			continue
		}
		woken[key] = time.Now()
		gone, err := d.Client.ClockMoved(ctx, w.WorkflowID)
		if err != nil {
			return true, err
		}
		if gone {
			if err := d.Store.ForgetWaits(ctx, w.WorkflowID); err != nil {
				return true, err
			}
		}
	}
	return len(waits) > 0, nil
}

// trigger asks the Schedules for what should exist by now.
func (d *Driver) trigger(ctx context.Context, now time.Time) (due bool, err error) {
	for _, site := range d.sites {
		found, err := activities.FindDue(ctx, d.Store, site, now)
		if err != nil {
			return false, err
		}
		if found.Empty() {
			continue
		}
		due = true
		if time.Since(d.triggered[site.ID]) < askAgain {
			continue
		}
		d.triggered[site.ID] = time.Now()
		if err := d.Client.TriggerDue(ctx, site.ID); err != nil {
			return true, err
		}
	}
	return due, nil
}

// nextEvent is the next instant at which anything may happen: a workflow's wait, people's work, the start of a day's cycle or run.
func (d *Driver) nextEvent(ctx context.Context, now time.Time) (time.Time, error) {
	next := d.Crew.NextAt(now)
	wait, err := d.Store.NextWait(ctx)
	if err != nil {
		return next, err
	}
	if !wait.IsZero() {
		next = earlier(next, wait)
	}
	for _, site := range d.sites {
		today := billing.DateOf(now, site.Zone)
		for _, at := range []time.Time{
			today.At(0, 5, site.Zone), today.At(8, 0, site.Zone), today.AddDays(1).At(0, 5, site.Zone),
		} {
			if at.After(now) {
				next = earlier(next, at)
			}
		}
	}
	return next, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func describe(left map[string]int64) string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(left)) {
		parts = append(parts, fmt.Sprintf("%d × %s", left[what], what))
	}
	return strings.Join(parts, ", ")
}

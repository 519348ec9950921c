package workflows

import (
	"context"
	"crypto/rand"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// CycleDone names the cycle that was closed; a cycle on demand learns its number only while it runs.
type CycleDone struct {
	CycleID billing.CycleID
}

// ReadingCycle sweeps the meters of one site with one freeze instant, validates what came, opens a case for each doubt, and starts the
// charge. It ends when the cycle is closed: every meter has a reading or a case.
func ReadingCycle(ctx workflow.Context, in activities.CycleStart) (CycleDone, error) {
	c := readingCycle{in: in}
	err := c.run(ctx)
	return CycleDone{CycleID: c.plan.CycleID}, err
}

type readingCycle struct {
	in   activities.CycleStart
	plan activities.CyclePlan
}

func (c *readingCycle) run(ctx workflow.Context) error {
	if err := workflow.ExecuteActivity(withStore(ctx), metering.PlanCycle, c.in).Get(ctx, &c.plan); err != nil {
		return err
	}
	if !c.plan.Closed {
		if err := c.sweep(ctx); err != nil {
			return err
		}
		if err := c.validate(ctx); err != nil {
			return err
		}
		if err := workflow.ExecuteActivity(withStore(ctx), metering.CloseCycle, c.ref()).Get(ctx, nil); err != nil {
			return err
		}
	}
	return startAbandoned(ctx, ChargeWorkflowID(c.plan.CycleID), DailyCharge, activities.ChargeCycle{CycleID: c.plan.CycleID})
}

func (c *readingCycle) ref() activities.CycleRef { return activities.CycleRef{CycleID: c.plan.CycleID} }

// sweep reads all meters, then, after each pause, those that were silent, as long as the window is open.
func (c *readingCycle) sweep(ctx workflow.Context) error {
	for pass := 1; ; pass++ {
		left, err := c.sweepOnce(ctx, pass)
		if err != nil || left == 0 || pass > len(c.plan.Pauses) {
			return err
		}
		now, err := businessNow(ctx)
		if err != nil {
			return err
		}
		due := now.Add(c.plan.Pauses[pass-1])
		if due.After(c.plan.WindowEnd) {
			return nil
		}
		if _, err := waitUntil(ctx, "next pass", due, nil); err != nil {
			return err
		}
	}
}

// sweepOnce makes one pass over all gateways at once, one request at a time per line, and counts the meters that are left.
func (c *readingCycle) sweepOnce(ctx workflow.Context, pass int) (left int, err error) {
	var gateways []billing.GatewayID
	start := activities.StartPass{CycleID: c.plan.CycleID, Pass: pass}
	if err := workflow.ExecuteActivity(withStore(ctx), metering.StartPass, start).Get(ctx, &gateways); err != nil {
		return 0, err
	}
	if len(gateways) > 0 {
		left = c.sweepLines(ctx, gateways, pass, 0)
	}
	return left, ctx.Err()
}

// sweepLines reads the meters of gateways on whoever owns their lines. Gateways that can't be swept at all leave their meters to the next
// pass, and then to a case: they must not hold up the others.
func (c *readingCycle) sweepLines(ctx workflow.Context, gateways []billing.GatewayID, pass, asked int) (left int) {
	groups, err := lineGroups(ctx, gateways)
	if err != nil || asked == sweepAsks || asked >= ownerChanges && !sweepWaits(ctx) {
		return len(gateways)
	}
	wg := workflow.NewWaitGroup(ctx)
	for _, group := range groups {
		wg.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer wg.Done()
			left += c.sweepGroup(ctx, group, pass, asked)
		})
	}
	wg.Wait(ctx)
	return left
}

// lineGroups are the gateways by the worker that owns their lines.
func lineGroups(ctx workflow.Context, gateways []billing.GatewayID) (groups []activities.LineGroup, err error) {
	in := activities.LineHoldersInput{Gateways: gateways}
	if holdersLocally(ctx) {
		err = workflow.ExecuteLocalActivity(withLocalStore(ctx), lines.LineHolders, in).Get(ctx, &groups)
		if err == nil || ctx.Err() != nil {
			return groups, err
		}
	} // a database that is away for longer is waited for
	err = workflow.ExecuteActivity(withStore(ctx), lines.LineHolders, in).Get(ctx, &groups)
	return groups, err
}

func (c *readingCycle) sweepGroup(ctx workflow.Context, group activities.LineGroup, pass, asked int) (left int) {
	switch {
	case group.Soon: // nobody owns them at the moment; the others are swept meanwhile
		if workflow.Sleep(ctx, tryPause(2*asked)) != nil {
			return len(group.Gateways)
		}
		return c.sweepLines(ctx, group.Gateways, pass, asked+1)
	case group.Holder == "": // units that have not dialled in
		return len(group.Gateways)
	}
	in := activities.SweepGateways{CycleID: c.plan.CycleID, Gateways: group.Gateways, Pass: pass}
	var out activities.SweptGateway
	err := workflow.ExecuteActivity(withSweep(ctx, group.Holder), metering.SweepGateways, in).Get(ctx, &out)
	switch {
	case err == nil && len(out.Moved) == 0:
		return out.Left
	case err == nil: // a line was handed to another worker: that one reads the meters that are left
		if workflow.Sleep(ctx, lineTryAgain) != nil {
			return out.Left + len(out.Moved)
		}
		return out.Left + c.sweepLines(ctx, out.Moved, pass, asked+1)
	case temporal.IsTimeoutError(err) && ctx.Err() == nil: // the lines' owner is gone: ask who owns them now
		return c.sweepLines(ctx, group.Gateways, pass, asked+1)
	}
	workflow.GetLogger(ctx).Error("gateways not swept", "gateways", group.Gateways, "pass", pass, "error", err)
	return len(group.Gateways)
}

// ownerChanges is how often work on many meters follows a line to a new owner. A pass of a sweep asks sweepAsks times: its owner may be alive, and
// have no slot for it for some minutes, or somebody may look at the line and no worker have it for as long.
const (
	ownerChanges = 3
	sweepAsks    = 15
)

// validate judges the readings and gives each case that came of it its own workflow.
func (c *readingCycle) validate(ctx workflow.Context) error {
	var found activities.Validated
	if err := workflow.ExecuteActivity(withBatch(ctx), metering.ValidateCycle, c.ref()).Get(ctx, &found); err != nil {
		return err
	}
	if err := startFollowers(ctx, kindCase, found.Cases); err != nil {
		return err
	}
	return startFollowers(ctx, kindRestore, found.Restores)
}

// StartCycle starts a reading cycle of a whole site now; its number is given when it is planned.
func (c *Client) StartCycle(ctx context.Context, site billing.SiteID, by billing.UserID) error {
	return c.start(ctx, demandID(), ReadingCycle, activities.CycleStart{Site: site, By: by})
}

// ReadOnDemand reads one meter now, as a cycle of its own, and waits for it.
func (c *Client) ReadOnDemand(ctx context.Context, meter billing.MeterID, by billing.UserID) (CycleDone, error) {
	var done CycleDone
	run, err := c.T.ExecuteWorkflow(ctx, startOptions(demandID()), ReadingCycle, activities.CycleStart{Meters: []billing.MeterID{meter}, By: by})
	if err == nil {
		err = run.Get(ctx, &done)
	}
	return done, fromTemporal(err)
}

// ReadMeters starts a reading cycle of some meters of one site now; its number is given when it is planned.
func (c *Client) ReadMeters(ctx context.Context, site billing.SiteID, meters []billing.MeterID, by billing.UserID) error {
	return c.start(ctx, demandID(), ReadingCycle, activities.CycleStart{Site: site, Meters: meters, By: by})
}

// demandID is the id of a cycle that has no number yet.
func demandID() string { return CycleWorkflowID(billing.CycleID("on-demand/" + rand.Text())) }

package workflows

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

var testTariff = activities.TariffRef{Change: "T1"}

// council is a stage whose database answers as the tables would: it keeps one change of prices.
type council struct {
	*stage
	row    activities.TariffFacts
	starts []time.Time // first days, site after site
	begun  []time.Duration
}

func newCouncil(t *testing.T) *council {
	c := &council{stage: newStage(t)}
	c.RegisterActivity(&activities.Tariffs{})
	c.OnActivity(tariffs.LoadTariff, mock.Anything, testTariff).Return(func(context.Context, activities.TariffRef) (activities.TariffFacts, error) { return c.row, nil }).Maybe()
	c.OnActivity(tariffs.EditTariff, mock.Anything, mock.Anything).Maybe().Return(func(_ context.Context, in activities.EditTariff) (activities.TariffFacts, error) {
		if in.File.ID == "" {
			return activities.TariffFacts{}, temporal.NewNonRetryableApplicationError("The tariff has no id.", string(billing.CodeInvalidInput), nil)
		}
		c.row.Change, c.row.State, c.row.Approved1 = "T1", billing.TariffDraft, ""
		c.row.Revision++
		c.row.Editors = append(c.row.Editors, in.By)
		return c.row, nil
	})
	c.moves(tariffs.SubmitTariff, billing.TariffSubmitted)
	c.moves(tariffs.RejectTariff, billing.TariffRejected)
	c.moves(tariffs.WithdrawTariff, billing.TariffWithdrawn)
	c.OnActivity(tariffs.ApproveTariff, mock.Anything, mock.Anything).Maybe().Return(func(_ context.Context, in activities.TariffDecision) (activities.TariffFacts, error) {
		c.row.State, c.row.Approved1 = billing.TariffApprovedOnce, in.By
		if in.Number == 2 {
			c.row.State = billing.TariffPublished
		}
		return c.row, nil
	})
	began := c.Now()
	c.OnActivity(tariffs.BeginTariff, mock.Anything, testTariff).Maybe().Return(func(context.Context, activities.TariffRef) (activities.TariffBegun, error) {
		out := activities.TariffBegun{}
		for _, at := range c.starts {
			if at.After(c.Now()) {
				out.Next = at
				break
			}
			c.row.State, out.Meters = billing.TariffInForce, true
		}
		c.begun = append(c.begun, c.Now().Sub(began).Round(time.Minute))
		out.Facts = c.row
		return out, nil
	})
	return c
}

func (c *council) moves(activity any, to billing.TariffState) {
	c.OnActivity(activity, mock.Anything, mock.Anything).Maybe().Return(func(context.Context, activities.TariffDecision) (activities.TariffFacts, error) {
		c.row.State = to
		return c.row, nil
	})
}

func (c *council) edit(after time.Duration, by billing.UserID) *outcome {
	return c.update(after, UpdateEdit, activities.EditTariff{By: by, File: billing.Tariff{ID: "t"}})
}

func (c *council) decides(after time.Duration, what string, by billing.UserID, revision int) *outcome {
	return c.update(after, what, DecideTariff{By: by, Revision: revision, Reason: "because"})
}

// meters answers the rounds: each gateway has as many meters that fail in a round as the script says.
func (c *council) meters(left ...int) (rounds *[]time.Duration) {
	rounds = &[]time.Duration{}
	start, n := c.Now(), 0
	c.OnActivity(tariffs.PlanPushRound, mock.Anything, testTariff).Return(func(context.Context, activities.TariffRef) (activities.PushRound, error) {
		n++
		*rounds = append(*rounds, c.Now().Sub(start).Round(time.Minute))
		return activities.PushRound{Round: n, Gateways: []billing.GatewayID{"G1", "G2"}}, nil
	})
	c.OnActivity(tariffs.PushPrices, mock.Anything, mock.Anything).Return(activities.PushedPrices{}, nil)
	c.OnActivity(tariffs.ClosePushRound, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.PushPrices) (activities.PushRest, error) {
		rest := activities.PushRest{Left: left[in.Round-1], Pause: time.Hour}
		if rest.Left > 0 && in.Round >= 2 {
			rest.Cases = []billing.CaseID{"X7"}
		}
		if in.Round == len(left) {
			rest.Pause = 0
		}
		return rest, nil
	})
	return rounds
}

func TestTariffPublication_threePersonsThenItsFirstDay(t *testing.T) {
	c := newCouncil(t)
	c.starts = []time.Time{c.Now().Add(50 * time.Hour)}
	rounds := c.meters(0)
	all := []*outcome{
		c.edit(0, "maker"), c.decides(time.Minute, UpdateSubmit, "maker", 1),
		c.decides(2*time.Minute, UpdateApprove, "first", 1), c.decides(3*time.Minute, UpdateApprove, "second", 1),
	}
	c.ExecuteWorkflow(TariffPublication, testTariff)
	c.finished()
	for _, o := range all {
		o.ok(t)
	}
	require.Equal(t, []time.Duration{50 * time.Hour}, *rounds, "prices go out when the first day comes, and not before")
	require.Equal(t, billing.TariffInForce, c.row.State)
}

func TestTariffPublication_refusesInTheSameClick(t *testing.T) {
	c := newCouncil(t)
	noTariff := c.update(0, UpdateEdit, activities.EditTariff{By: "maker"})
	c.ExecuteWorkflow(TariffPublication, testTariff)
	c.finished()
	require.ErrorContains(t, noTariff.failed, "The tariff has no id.")

	c = newCouncil(t)
	c.edit(0, "maker")
	early := c.decides(time.Minute, UpdateApprove, "first", 1)
	c.decides(2*time.Minute, UpdateSubmit, "maker", 1)
	own := c.decides(3*time.Minute, UpdateApprove, "maker", 1)
	stale := c.decides(4*time.Minute, UpdateApprove, "first", 2)
	nobody := c.decides(5*time.Minute, UpdateApprove, "", 1)
	c.decides(6*time.Minute, UpdateApprove, "first", 1)
	twice := c.decides(7*time.Minute, UpdateApprove, "first", 1)
	silent := c.update(8*time.Minute, UpdateReject, DecideTariff{By: "second", Revision: 1})
	edited := c.edit(9*time.Minute, "maker2")
	void := c.decides(10*time.Minute, UpdateApprove, "second", 1)
	again := c.decides(11*time.Minute, UpdateSubmit, "maker", 2)
	editor := c.decides(12*time.Minute, UpdateApprove, "maker2", 2)
	rejected := c.decides(13*time.Minute, UpdateReject, "second", 2)
	push := c.update(14*time.Minute, UpdatePushAgain, PushAgain{By: "first"})
	withdrawn := c.decides(15*time.Minute, UpdateWithdraw, "maker", 2)
	c.ExecuteWorkflow(TariffPublication, testTariff)
	c.finished()
	early.refusedAs(t, billing.CodeClosed)
	own.refusedAs(t, billing.CodeSelfApproval)
	stale.refusedAs(t, billing.CodeStale)
	nobody.refusedAs(t, billing.CodeUnauthenticated)
	twice.refusedAs(t, billing.CodeAlreadyApproved)
	silent.refusedAs(t, billing.CodeInvalidInput)
	edited.ok(t)
	void.refusedAs(t, billing.CodeClosed)
	again.ok(t)
	editor.refusedAs(t, billing.CodeSelfApproval)
	rejected.ok(t)
	push.refusedAs(t, billing.CodeClosed)
	withdrawn.ok(t)
	c.AssertNotCalled(t, "BeginTariff")
}

func TestTariffPublication_failedMetersAreTriedAgainAndThenACase(t *testing.T) {
	c := newCouncil(t)
	c.row = activities.TariffFacts{Change: "T1", State: billing.TariffPublished, Revision: 1, Editors: []billing.UserID{"maker"}}
	c.starts = []time.Time{c.Now()}
	rounds := c.meters(3, 2, 2, 0)
	started := c.children(ExceptionReview)
	c.ExecuteWorkflow(TariffPublication, testTariff)
	c.finished()
	require.Equal(t, []time.Duration{0, time.Hour, 2 * time.Hour, 3 * time.Hour}, *rounds)
	require.Equal(t, map[string]int{"case/X7": 1}, started, "one case, however often it is opened")
}

func TestTariffPublication_aPersonHasThemTriedNow(t *testing.T) {
	c := newCouncil(t)
	c.row = activities.TariffFacts{Change: "T1", State: billing.TariffInForce, Revision: 1}
	c.starts = []time.Time{c.Now()}
	c.OnActivity(tariffs.AskPush, mock.Anything, activities.AskPush{Change: "T1", By: "first"}).Return(nil).Once()
	rounds := c.meters(1, 0)
	asked := c.update(10*time.Minute, UpdatePushAgain, PushAgain{By: "first"})
	c.ExecuteWorkflow(TariffPublication, testTariff)
	c.finished()
	asked.ok(t)
	require.Equal(t, []time.Duration{0, 10 * time.Minute}, *rounds)
}

func TestTariffPublication_sitesBeginOneAfterTheOther(t *testing.T) {
	c := newCouncil(t)
	c.row = activities.TariffFacts{Change: "T1", State: billing.TariffPublished, Revision: 1}
	c.starts = []time.Time{c.Now().Add(time.Hour), c.Now().Add(3 * time.Hour)}
	c.meters(0, 0)
	c.ExecuteWorkflow(TariffPublication, testTariff)
	c.finished()
	require.Equal(t, []time.Duration{0, time.Hour, 3 * time.Hour}, c.begun)
}

func TestTariffPublication_simulationRunsOnByItself(t *testing.T) {
	c := newCouncil(t)
	c.edit(0, "maker")
	c.OnActivity(tariffs.OpenSimulation, mock.Anything, activities.OpenSimulation{Change: "T1", By: "maker", Sample: 5}).Return(activities.SimulationRef{Simulation: 9}, nil).Once()
	c.OnActivity(tariffs.SimulateTariff, mock.Anything, activities.SimulationRef{Simulation: 9}).Return(nil).After(time.Hour).Once()
	asked := c.update(time.Minute, UpdateSimulate, SimulateTariff{By: "maker", Sample: 5})
	twice := c.update(2*time.Minute, UpdateSimulate, SimulateTariff{By: "maker"})
	withdrawn := c.decides(3*time.Minute, UpdateWithdraw, "maker", 1)
	c.ExecuteWorkflow(TariffPublication, testTariff)
	c.finished()
	asked.ok(t)
	twice.refusedAs(t, billing.CodeConflict)
	withdrawn.ok(t)
}

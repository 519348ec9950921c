package workflows

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// batchStage is a stage with the tables of one batch behind it.
type batchStage struct {
	*stage
	facts   activities.BatchStatus
	members []activities.BatchMemberRef // pending
	sent    []time.Duration             // when an order left, since the start
	left    map[billing.MeterID]int     // orders per meter
	gaveUp  []string
}

func newBatchStage(t *testing.T, f activities.BatchStatus, members ...activities.BatchMemberRef) *batchStage {
	t.Helper()
	s := &batchStage{stage: newStage(t), facts: f, members: members, left: map[billing.MeterID]int{}}
	s.RegisterActivity(&activities.Batches{})
	s.OnActivity(batches.DescribeBatch, mock.Anything, mock.Anything).Maybe().Return(func(context.Context, activities.BatchRef) (activities.BatchStatus, error) { return s.facts, nil })
	s.OnActivity(batches.PlanBatch, mock.Anything, mock.Anything).Maybe().Return(func(_ context.Context, in activities.PlanBatch) (activities.BatchStatus, error) {
		if in.Reason == "" {
			return activities.BatchStatus{}, temporal.NewNonRetryableApplicationError("say why", string(billing.CodeInvalidInput), nil)
		}
		s.facts = s.previewed(in.Action, in.By)
		return s.facts, nil
	})
	s.decides(batches.StartBatch, billing.BatchRunning)
	s.OnActivity(batches.CancelBatch, mock.Anything, mock.Anything).Maybe().Return(func(context.Context, activities.DecideBatch) (activities.BatchStatus, error) {
		s.facts.State, s.members = billing.BatchCancelled, nil
		return s.facts, nil
	})
	s.OnActivity(batches.ExpireBatch, mock.Anything, mock.Anything).Maybe().Return(func(context.Context, activities.BatchRef) (activities.BatchStatus, error) {
		s.facts.State, s.members = billing.BatchCancelled, nil
		return s.facts, nil
	})
	s.OnActivity(batches.FinishBatch, mock.Anything, mock.Anything).Maybe().Return(func(context.Context, activities.BatchRef) (activities.BatchStatus, error) {
		if s.facts.State == billing.BatchRunning {
			s.facts.State = billing.BatchDone
		}
		return s.facts, nil
	})
	s.OnActivity(batches.PendingMembers, mock.Anything, mock.Anything).Maybe().Return(func(context.Context, activities.BatchRef) ([]activities.BatchMemberRef, error) {
		return append([]activities.BatchMemberRef{}, s.members...), nil
	})
	s.OnActivity(batches.GiveUpMember, mock.Anything, mock.Anything).Maybe().Return(func(_ context.Context, m activities.BatchMemberRef) (activities.BatchMemberDone, error) {
		s.gaveUp = append(s.gaveUp, string(m.Meter)+": "+m.Note)
		s.settle(m.Meter)
		return activities.BatchMemberDone{State: billing.MemberSkipped}, nil
	})
	return s
}

func (s *batchStage) previewed(action billing.BatchAction, by billing.UserID) activities.BatchStatus {
	return activities.BatchStatus{BatchID: "B-1", Site: "park", Action: action, State: billing.BatchPreviewed, Rate: 60, MadeBy: by, ExpiresAt: s.Now().Add(24 * time.Hour)}
}

func (s *batchStage) decides(activity any, to billing.BatchState) {
	s.OnActivity(activity, mock.Anything, mock.Anything).Maybe().Return(func(context.Context, activities.DecideBatch) (activities.BatchStatus, error) {
		s.facts.State = to
		return s.facts, nil
	})
}

// works answers for the meters: each order takes as long as given.
func (s *batchStage) works(takes time.Duration, answer func(activities.BatchMemberRef) (activities.BatchMemberDone, error)) {
	start := s.Now()
	s.OnActivity(batches.WorkMember, mock.Anything, mock.Anything).Maybe().After(takes).Return(func(_ context.Context, m activities.BatchMemberRef) (activities.BatchMemberDone, error) {
		s.sent = append(s.sent, s.Now().Sub(start).Round(time.Second)-takes)
		s.left[m.Meter]++
		out, err := answer(m)
		if err == nil {
			s.settle(m.Meter)
		}
		return out, err
	})
}

func (s *batchStage) settle(meter billing.MeterID) {
	for i, m := range s.members {
		if m.Meter == meter {
			s.members = append(s.members[:i:i], s.members[i+1:]...)
			return
		}
	}
}

func verifiedMember(activities.BatchMemberRef) (activities.BatchMemberDone, error) {
	return activities.BatchMemberDone{State: billing.MemberVerified}, nil
}

func members(gateways ...string) []activities.BatchMemberRef {
	var ms []activities.BatchMemberRef
	for i, g := range gateways {
		ms = append(ms, activities.BatchMemberRef{BatchID: "B-1", Meter: billing.MeterID('A' + rune(i)), Gateway: billing.GatewayID(g)})
	}
	return ms
}

func batchBy(who billing.UserID) activities.DecideBatch {
	return activities.DecideBatch{By: who, Reason: "because"}
}

func (s *batchStage) whole(in activities.BatchStart) {
	s.t.Helper()
	in.BatchID = "B-1"
	s.ExecuteWorkflow(BatchWork, in)
	s.finished()
}

func runningBatch(rate int) activities.BatchStatus {
	return activities.BatchStatus{BatchID: "B-1", Action: billing.BatchSetClock, State: billing.BatchRunning, Rate: rate}
}

func TestBatchWork_fromPreviewToTheEnd(t *testing.T) {
	s := newBatchStage(t, activities.BatchStatus{}, members("G1", "G1", "G2")...)
	s.works(0, verifiedMember)
	steps := []*outcome{
		s.update(time.Second, UpdatePlanBatch, activities.PlanBatch{By: "sup1", Action: billing.BatchRelease, Reason: "storm"}),
		s.update(2*time.Minute, UpdateStartBatch, batchBy("sup2")),
	}
	s.RegisterDelayedCallback(func() { require.Empty(t, s.sent, "nothing leaves before somebody starts it") }, time.Minute)
	own := s.update(time.Minute, UpdateStartBatch, batchBy("sup1"))
	again := s.update(3*time.Hour, UpdateStartBatch, batchBy("sup2"))
	s.whole(activities.BatchStart{})
	for _, o := range steps {
		o.ok(t)
	}
	own.refusedAs(t, billing.CodeSelfApproval)
	require.False(t, again.done, "it has ended")
	require.Equal(t, map[billing.MeterID]int{"A": 1, "B": 1, "C": 1}, s.left)
	require.Equal(t, billing.BatchDone, s.facts.State)
	value, err := s.QueryWorkflow(QueryProgress)
	require.NoError(t, err)
	var p BatchProgress
	require.NoError(t, value.Get(&p))
	require.Equal(t, BatchProgress{State: billing.BatchDone, Done: map[billing.MemberState]int{billing.MemberVerified: 3}}, p)
}

// The rate holds over all lines together, however quick or slow they are.
func TestBatchWork_rate(t *testing.T) {
	for name, takes := range map[string]time.Duration{"quick": 0, "slow": 7 * time.Second} {
		t.Run(name, func(t *testing.T) {
			s := newBatchStage(t, runningBatch(12), members("G1", "G2", "G3", "G4", "G5", "G6")...)
			s.works(takes, verifiedMember)
			s.whole(activities.BatchStart{})
			require.Len(t, s.sent, 6)
			for i := 1; i < len(s.sent); i++ {
				require.GreaterOrEqual(t, s.sent[i]-s.sent[i-1], 4*time.Second, "12 a minute is one every five seconds: %v", s.sent)
			}
			require.LessOrEqual(t, s.sent[5], 27*time.Second, "lines work side by side")
		})
	}
}

// An earlier run's pace goes on where it was.
func TestBatchWork_rateAfterContinuingAsNew(t *testing.T) {
	s := newBatchStage(t, runningBatch(1), members("G1")...)
	s.works(0, verifiedMember)
	s.whole(activities.BatchStart{Next: s.Now().Add(40 * time.Second), Done: map[billing.MemberState]int{billing.MemberVerified: 200}})
	require.Equal(t, []time.Duration{40 * time.Second}, s.sent)
}

func TestBatchWork_cancelStopsWhatWasNotSent(t *testing.T) {
	s := newBatchStage(t, runningBatch(1), members("G1", "G1", "G2", "G2")...)
	s.works(0, verifiedMember)
	silent := s.update(80*time.Second, UpdateCancelBatch, activities.DecideBatch{By: "sup1"})
	nobody := s.update(81*time.Second, UpdateCancelBatch, activities.DecideBatch{Reason: "x"})
	cancelled := s.update(90*time.Second, UpdateCancelBatch, batchBy("sup1"))
	s.whole(activities.BatchStart{})
	silent.refusedAs(t, billing.CodeInvalidInput)
	nobody.refusedAs(t, billing.CodeUnauthenticated)
	cancelled.ok(t)
	require.Equal(t, []time.Duration{0, time.Minute}, s.sent, "two of four had left")
	require.Equal(t, billing.BatchCancelled, s.facts.State)
}

// A worker that dies leaves the order to whoever owns the line then; a line that nobody can work on holds up no other.
func TestBatchWork_deathsAndDeadLines(t *testing.T) {
	s := newBatchStage(t, runningBatch(600), members("G1", "G1", "G2")...)
	tries := 0
	s.works(0, func(m activities.BatchMemberRef) (activities.BatchMemberDone, error) {
		switch {
		case m.Gateway == "G2":
			return activities.BatchMemberDone{}, errors.New("the line is gone")
		case m.Meter == "A" && tries < 2:
			tries++
			return activities.BatchMemberDone{}, errors.New("the worker died")
		}
		return verifiedMember(m)
	})
	s.whole(activities.BatchStart{})
	require.Equal(t, 3, s.left["A"])
	require.Equal(t, 1, s.left["B"])
	require.Equal(t, []string{"C: its line could not be worked on: the line is gone"}, s.gaveUp)
	require.Equal(t, billing.BatchDone, s.facts.State)
}

// Supply is given back by a restore for each account; the batch waits for what they come to, not for ever.
func TestBatchWork_restores(t *testing.T) {
	for name, settled := range map[string]int{"soon": 3, "late": 20, "never": 0} {
		t.Run(name, func(t *testing.T) {
			f := runningBatch(600)
			f.Action = billing.BatchRestore
			s := newBatchStage(t, f, members("G1", "G2")...)
			started := s.children(Restore)
			s.works(0, func(m activities.BatchMemberRef) (activities.BatchMemberDone, error) {
				return activities.BatchMemberDone{State: billing.MemberSending, Restore: "O" + string(m.Meter)}, nil
			})
			looks, gaveUp := 0, false
			s.OnActivity(batches.FollowRestores, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.FollowRestores) (int, error) {
				looks++
				gaveUp = gaveUp || in.GiveUp
				if looks == settled || in.GiveUp {
					return 0, nil
				}
				return 1, nil
			})
			s.whole(activities.BatchStart{})
			require.Equal(t, map[string]int{"restore/OA": 1, "restore/OB": 1}, started)
			require.Equal(t, settled == 0, gaveUp)
		})
	}
}

// A meter that tripped when it was released gets supply back, and its case is followed, at once.
func TestBatchWork_tripAtARelease(t *testing.T) {
	f := runningBatch(600)
	f.Action = billing.BatchRelease
	s := newBatchStage(t, f, members("G1")...)
	started := s.children(Restore, ExceptionReview)
	s.works(0, func(m activities.BatchMemberRef) (activities.BatchMemberDone, error) {
		return activities.BatchMemberDone{State: billing.MemberVerified, Restore: "O1", Case: "X1"}, nil
	})
	s.whole(activities.BatchStart{})
	require.Equal(t, map[string]int{"restore/O1": 1, "case/X1": 1}, started)
}

func TestBatchWork_expiresWithoutAStart(t *testing.T) {
	s := newBatchStage(t, activities.BatchStatus{}, members("G1")...)
	s.works(0, verifiedMember)
	planned := s.update(time.Second, UpdatePlanBatch, activities.PlanBatch{By: "sup1", Action: billing.BatchKeepOn, Reason: "storm"})
	s.whole(activities.BatchStart{})
	planned.ok(t)
	require.Empty(t, s.sent)
	require.Equal(t, billing.BatchCancelled, s.facts.State)
}

// A plan that is refused ends the workflow, so that the form can be sent again.
func TestBatchWork_refusedPlan(t *testing.T) {
	s := newBatchStage(t, activities.BatchStatus{})
	refused := s.update(time.Second, UpdatePlanBatch, activities.PlanBatch{By: "sup1"})
	s.whole(activities.BatchStart{})
	require.ErrorContains(t, refused.failed, "say why")
}

// The clocks that a day's readings showed to be off need nobody's start.
func TestBatchWork_clocksByThemselves(t *testing.T) {
	in := activities.ClockBatch{BatchID: "B-1", Site: "park"}
	s := newBatchStage(t, activities.BatchStatus{}, members("G1")...)
	s.works(0, verifiedMember)
	s.OnActivity(batches.SetClocks, mock.Anything, in).Return(func(context.Context, activities.ClockBatch) (activities.BatchStatus, error) {
		s.facts = runningBatch(60)
		return s.facts, nil
	}).Once()
	s.whole(activities.BatchStart{Clocks: &in})
	require.Equal(t, billing.BatchDone, s.facts.State)
	require.Len(t, s.sent, 1)

	s = newBatchStage(t, activities.BatchStatus{})
	s.OnActivity(batches.SetClocks, mock.Anything, in).Return(activities.BatchStatus{}, nil).Once()
	s.whole(activities.BatchStart{Clocks: &in})
}

// A batch whose history grows long goes on in a new run with what it has counted.
func TestBatchWork_continuesAsNew(t *testing.T) {
	s := newBatchStage(t, runningBatch(600), members("G1", "G1")...)
	s.works(0, verifiedMember)
	s.SetContinueAsNewSuggested(true)
	s.ExecuteWorkflow(BatchWork, activities.BatchStart{BatchID: "B-1"})
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, s.GetWorkflowError(), &next)
	require.Equal(t, map[billing.MeterID]int{"A": 1, "B": 1}, s.left)
}

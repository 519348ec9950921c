package workflows

import (
	"context"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// ReadingRound takes a walk along a route from its plan to readings: planned → assigned → in progress → submitted → checked by somebody
// else than the reader → closed. It begins with the Update PlanRound or with the plan that a route's rhythm brings, and takes up a round
// where the tables say it stands.
func ReadingRound(ctx workflow.Context, in activities.RoundStart) error {
	r := readingRound{in: activities.RoundRef{RoundID: in.RoundID}, rhythm: in.Plan, deciding: workflow.NewMutex(ctx)}
	if err := r.setup(ctx); err != nil {
		return err
	}
	return r.run(ctx)
}

type readingRound struct {
	in       activities.RoundRef
	rhythm   *activities.PlanRound // by a route's rhythm; nil when a person plans
	facts    activities.RoundFacts
	deciding workflow.Mutex
	known    bool // the tables were asked once
	refused  bool // nothing was planned
}

// The names of what people send; see the activities of the same names.
type (
	// PlanRound is a supervisor's plan of a round.
	PlanRound = activities.PlanRound
	// RoundDecision is a person's step on a round.
	RoundDecision = activities.RoundDecision
	// RoundValue is what a reader wrote down at one meter.
	RoundValue = activities.RoundValue
	// RoundValues is a page of values.
	RoundValues = activities.RoundValues
	// RoundVerdict is what was made of one value.
	RoundVerdict = activities.RoundVerdict
	// RoundWarning is a doubt about a value, said at once.
	RoundWarning = activities.RoundWarning
	// RoundFacts is where a round stands.
	RoundFacts = activities.RoundFacts
)

// MaxRoundPage is how many values may be sent at a time.
const MaxRoundPage = activities.MaxRoundPage

func (r *readingRound) setup(ctx workflow.Context) error {
	if err := workflow.SetUpdateHandler(ctx, UpdatePlanRound, r.plan); err != nil {
		return err
	}
	for _, s := range r.steps() {
		err := workflow.SetUpdateHandlerWithOptions(ctx, s.name, s.handle, workflow.UpdateHandlerOptions{Validator: s.may})
		if err != nil {
			return err
		}
	}
	err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateEnterValues, r.enter, workflow.UpdateHandlerOptions{Validator: r.mayEnter})
	if err != nil {
		return err
	}
	return r.describe(ctx)
}

func (r *readingRound) describe(ctx workflow.Context) error {
	var facts activities.RoundFacts
	err := workflow.ExecuteActivity(withStore(ctx), rounds.DescribeRound, r.in).Get(ctx, &facts)
	if r.facts.RoundID == "" { // a plan may have come in meanwhile
		r.facts = facts
	}
	r.known = true
	return err
}

func (r *readingRound) run(ctx workflow.Context) error {
	if r.rhythm != nil && r.facts.RoundID == "" {
		if _, err := r.plan(ctx, *r.rhythm); err != nil {
			return err
		}
	}
	// Whoever started it plans the round in the next call; one that died in between leaves nothing behind.
	if _, err := workflow.AwaitWithTimeout(ctx, entryPatience, func() bool { return r.refused || r.facts.RoundID != "" }); err != nil {
		return err
	}
	if r.facts.RoundID != "" {
		if err := r.process(ctx); err != nil {
			return err
		}
	}
	return workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
}

func (r *readingRound) process(ctx workflow.Context) error {
	if err := r.awaitWalk(ctx); err != nil {
		return err
	}
	again := func() bool {
		return workflow.GetInfo(ctx).GetContinueAsNewSuggested() && workflow.AllHandlersFinished(ctx)
	}
	if err := workflow.Await(ctx, func() bool { return r.accepted() || r.facts.State.Final() || again() }); err != nil {
		return err
	}
	if !r.accepted() && !r.facts.State.Final() {
		return workflow.NewContinueAsNewError(ctx, ReadingRound, activities.RoundStart{RoundID: r.in.RoundID}) // a long list, value by value: all that counts is in the tables
	}
	if !r.accepted() {
		return nil
	}
	return r.store(ctx)
}

func (r *readingRound) accepted() bool { return r.facts.State == billing.RoundChecked }

// handedIn says that the reader has nothing to do on the round now.
func (r *readingRound) handedIn() bool {
	return r.facts.State == billing.RoundSubmitted || r.accepted() || r.facts.State.Final()
}

// awaitWalk says once that a round is overdue; a round that is returned later isn't reported again.
func (r *readingRound) awaitWalk(ctx workflow.Context) error {
	if r.facts.Late || r.handedIn() {
		return nil
	}
	late, err := waitUntil(ctx, "overdue", r.facts.LateAt, r.handedIn)
	if err != nil || !late || r.handedIn() {
		return err
	}
	return workflow.ExecuteActivity(withStore(ctx), rounds.NoteRoundLate, r.in).Get(ctx, nil)
}

// store makes readings of the values, starts a review for each doubt, and tells the cases that a value has answered.
func (r *readingRound) store(ctx workflow.Context) error {
	var out activities.RoundStored
	if err := workflow.ExecuteActivity(withBatch(ctx), rounds.StoreRound, r.in).Get(ctx, &out); err != nil {
		return err
	}
	if err := startFollowers(ctx, kindCase, out.Cases); err != nil {
		return err
	}
	for _, id := range out.Answered {
		signalIfRunning(ctx, CaseWorkflowID(id), SignalDoubtSettled, activities.CaseRef{CaseID: id})
	}
	if len(out.Answered) > 0 {
		for _, run := range out.Runs {
			signalIfRunning(ctx, RunWorkflowID(run), SignalCaseResolved, activities.CaseRef{CaseID: out.Answered[0]})
		}
	}
	return workflow.ExecuteActivity(withStore(ctx), rounds.CloseRound, r.in).Get(ctx, &r.facts)
}

// plan takes the round in. A refusal ends the workflow, so that the same form can be sent again.
func (r *readingRound) plan(ctx workflow.Context, in activities.PlanRound) (activities.RoundFacts, error) {
	in.RoundID = r.in.RoundID
	var out activities.RoundFacts
	err := workflow.ExecuteActivity(withStore(ctx), rounds.PlanRound, in).Get(ctx, &out)
	if err != nil {
		r.refused = r.facts.RoundID == ""
		return out, err
	}
	if r.facts.RoundID == "" {
		r.facts = out
	}
	return out, nil
}

// roundStep is one decision: in which states it is possible, what else must hold, and the activity that takes it.
type roundStep struct {
	name     string
	round    *readingRound
	activity any
	check    func(d activities.RoundDecision) error
	states   []billing.RoundState
}

func (r *readingRound) steps() []roundStep {
	open := []billing.RoundState{billing.RoundPlanned, billing.RoundAssigned, billing.RoundInProgress}
	submitted := []billing.RoundState{billing.RoundSubmitted}
	anything := func(activities.RoundDecision) error { return nil }
	return []roundStep{
		{UpdateAssignRound, r, rounds.AssignRound, anything, open},
		{UpdateSubmitRound, r, rounds.SubmitRound, r.mustBeReader, []billing.RoundState{billing.RoundInProgress}},
		{UpdateAcceptRound, r, rounds.AcceptRound, r.mustNotBeReader, submitted},
		{UpdateReturnRound, r, rounds.ReturnRound, r.mustNotBeReaderWithReason, submitted},
		{UpdateCancelRound, r, rounds.CancelRound, mustHaveReason, append(submitted, open...)},
	}
}

func (r *readingRound) mustBeReader(d activities.RoundDecision) error {
	if d.By != r.facts.Reader {
		return refuse(billing.CodeForbidden, "this round was given to another reader: only that person may enter and submit its values")
	}
	return nil
}

func (r *readingRound) mustNotBeReader(d activities.RoundDecision) error {
	if d.By == r.facts.Reader {
		return refuse(billing.CodeSelfApproval, "you read this round yourself: another supervisor must check it")
	}
	return nil
}

func (r *readingRound) mustNotBeReaderWithReason(d activities.RoundDecision) error {
	if err := r.mustNotBeReader(d); err != nil {
		return err
	}
	return mustHaveReason(d)
}

func mustHaveReason(d activities.RoundDecision) error {
	if strings.TrimSpace(d.Reason) == "" {
		return refuse(billing.CodeInvalidInput, "say why: the reason stands in the journal")
	}
	return nil
}

// may refuses in the same click; the activity and the database check again what only they can know.
func (s roundStep) may(_ workflow.Context, d activities.RoundDecision) error {
	if d.By == "" {
		return refuse(billing.CodeUnauthenticated, "sign in to do this")
	}
	if !s.round.known {
		return nil // just started: asked again when the tables have answered
	}
	if err := s.round.stands(s.states...); err != nil {
		return err
	}
	return s.check(d)
}

// stands refuses what can't be done in the state that the round is in.
func (r *readingRound) stands(states ...billing.RoundState) error {
	if slices.Contains(states, r.facts.State) {
		return nil
	}
	if r.facts.RoundID == "" {
		return refuse(billing.CodeNotFound, "this round isn't planned yet: plan it first")
	}
	return refuse(billing.CodeClosed, "this round is "+strings.ReplaceAll(string(r.facts.State), "_", " ")+": this can't be done now")
}

// begin waits until the tables were asked and nobody else is deciding.
func (r *readingRound) begin(ctx workflow.Context) error {
	if err := workflow.Await(ctx, func() bool { return r.known }); err != nil {
		return err
	}
	return r.deciding.Lock(ctx)
}

// handle takes one decision after the other, each on what the one before left.
func (s roundStep) handle(ctx workflow.Context, d activities.RoundDecision) (activities.RoundFacts, error) {
	r := s.round
	if err := r.begin(ctx); err != nil {
		return r.facts, err
	}
	defer r.deciding.Unlock()
	if err := s.may(ctx, d); err != nil {
		return r.facts, err
	}
	d.RoundID = r.in.RoundID
	var out activities.RoundFacts
	if err := workflow.ExecuteActivity(withStore(ctx), s.activity, d).Get(ctx, &out); err != nil {
		return r.facts, err
	}
	r.facts = out
	return out, nil
}

func (r *readingRound) mayEnter(_ workflow.Context, v activities.RoundValues) error {
	if v.By == "" {
		return refuse(billing.CodeUnauthenticated, "sign in to enter values")
	}
	if !r.known {
		return nil
	}
	if err := r.stands(billing.RoundAssigned, billing.RoundInProgress); err != nil {
		return err
	}
	return r.mustBeReader(activities.RoundDecision{By: v.By})
}

// enter puts a page of values on the list, or only judges them.
func (r *readingRound) enter(ctx workflow.Context, v activities.RoundValues) ([]activities.RoundVerdict, error) {
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	defer r.deciding.Unlock()
	if err := r.mayEnter(ctx, v); err != nil {
		return nil, err
	}
	v.RoundID = r.in.RoundID
	var out []activities.RoundVerdict
	if err := workflow.ExecuteActivity(withBatch(ctx), rounds.EnterRoundValues, v).Get(ctx, &out); err != nil {
		return nil, err
	}
	if !v.Preview && taken(out) {
		r.facts.State = billing.RoundInProgress
	}
	return out, nil
}

func taken(verdicts []activities.RoundVerdict) bool {
	for _, v := range verdicts {
		if v.Refused == "" && !v.Confirm {
			return true
		}
	}
	return false
}

// PlanRound plans a round. The caller reserves in.RoundID with store.NextRoundID.
func (c *Client) PlanRound(ctx context.Context, in activities.PlanRound) (activities.RoundFacts, error) {
	var out activities.RoundFacts
	id := RoundWorkflowID(in.RoundID)
	if _, err := c.startAgain(ctx, id, 0, ReadingRound, activities.RoundStart{RoundID: in.RoundID}); err != nil {
		return out, fromTemporal(err)
	}
	return out, c.update(ctx, id, UpdatePlanRound, "", in, &out)
}

// DecideRound sends a person's step on a round: one of the round's updates.
func (c *Client) DecideRound(ctx context.Context, update string, d activities.RoundDecision) error {
	return c.update(ctx, RoundWorkflowID(d.RoundID), update, d.Nonce, d, nil)
}

// EnterRoundValues sends a page of values, or has them judged only, and gives what was made of each.
func (c *Client) EnterRoundValues(ctx context.Context, v activities.RoundValues) ([]activities.RoundVerdict, error) {
	var out []activities.RoundVerdict
	return out, c.update(ctx, RoundWorkflowID(v.RoundID), UpdateEnterValues, v.Nonce, v, &out)
}

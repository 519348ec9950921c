package workflows

import (
	"context"
	"errors"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// Client is how pages, the API and receivers of callbacks start and steer workflows. Each workflow's methods stand in its own file.
// Refusals come back as billing errors in the same call; an engine that can't be reached gives billing.CodeUnavailable and
// says that nothing was done.
type Client struct {
	T client.Client
	// Review works out what decisions on cases would do, for previews; it only reads.
	Review *activities.Review
}

// start begins a workflow under its business key; one that runs or ran already is billing.CodeConflict.
func (c *Client) start(ctx context.Context, id string, wf, in any) error {
	_, err := c.T.ExecuteWorkflow(ctx, startOptions(id), wf, in)
	return fromTemporal(err)
}

func startOptions(id string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:                                       id,
		TaskQueue:                                QueueBilling,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}
}

// update sends a person's decision and waits for its outcome. The nonce makes a double click one decision; empty means none.
func (c *Client) update(ctx context.Context, id, name, nonce string, in, out any) error {
	h, err := c.T.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateID: nonce, UpdateName: name, Args: []any{in}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		return fromTemporal(err)
	}
	return fromTemporal(h.Get(ctx, out))
}

// fromTemporal turns what the engine answers into the one error vocabulary.
func fromTemporal(err error) error {
	if err == nil {
		return nil
	}
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		for _, code := range billing.Codes {
			if app.Type() == string(code) {
				return billing.Errorf(code, "%s", app.Message())
			}
		}
		return err
	}
	var ended *serviceerror.NotFound
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	switch {
	case errors.As(err, &started):
		return billing.Errorf(billing.CodeConflict, "this was started already")
	case errors.As(err, &ended):
		return billing.Errorf(billing.CodeClosed, gone)
	}
	var unavailable *serviceerror.Unavailable
	var deadline *serviceerror.DeadlineExceeded
	if errors.As(err, &unavailable) || errors.As(err, &deadline) || errors.Is(err, context.DeadlineExceeded) {
		return billing.Errorf(billing.CodeUnavailable, "the workflow engine doesn't answer: your action was not taken, try again in a minute")
	}
	return err
}

// gone is said when a workflow has ended, by whoever doesn't know better.
const gone = "this is closed already: nothing was changed"

// refuse makes a refusal inside a workflow: validators and handlers answer with it.
func refuse(code billing.Code, sentence string) error {
	return temporal.NewNonRetryableApplicationError(sentence, string(code), nil)
}

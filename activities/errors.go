package activities

import (
	"context"
	"errors"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/billing"
)

// retryable says which refusals may pass by themselves. All others need a person or another input, so repeating them is noise.
var retryable = map[billing.Code]bool{
	billing.CodeUnavailable: true,
	billing.CodeGatewayBusy: true,
	billing.CodeInternal:    true,
}

// judgedAgain has a step that worked something out from what has changed meanwhile repeated by the engine: no person decided on what it was.
func judgedAgain(err error) error {
	if billing.CodeOf(err) == billing.CodeStale {
		return billing.Errorf(billing.CodeUnavailable, "%s", billing.MessageOf(err))
	}
	return err
}

// LineMoved is the error type of a step that found itself on a worker that doesn't own the line, or that ends: nothing of it was sent, and
// its workflow asks who owns the line now.
const LineMoved = "line_moved"

// lineMoved says that a call of the pool ended so.
func lineMoved(err error) bool {
	return errors.Is(err, devices.ErrNotOwner) || errors.Is(err, devices.ErrClosed)
}

// movedFrom is what an activity returns then: the meter said nothing, so there is no outcome to record.
func movedFrom(m devices.Meter, err error) error {
	return errors.Join(billing.Errorf(billing.CodeUnavailable, "this worker doesn't own the line of gateway %s any more: its present owner goes on", m.Gateway), err)
}

// toTemporal gives an activity's error to the engine: the code as its type, the sentence as its message.
func toTemporal(err error) error {
	code := billing.CodeOf(err)
	if lineMoved(err) { // another try here would be in vain
		return temporal.NewApplicationErrorWithOptions(billing.MessageOf(err), LineMoved, temporal.ApplicationErrorOptions{
			NonRetryable: true, Category: temporal.ApplicationErrorCategoryBenign,
		})
	}
	if code == "" || code == billing.CodeInternal {
		return err
	}
	if retryable[code] {
		return temporal.NewApplicationErrorWithOptions(billing.MessageOf(err), string(code), temporal.ApplicationErrorOptions{})
	}
	// An expected refusal: it must not raise an alarm.
	return temporal.NewApplicationErrorWithOptions(billing.MessageOf(err), string(code), temporal.ApplicationErrorOptions{
		NonRetryable: true, Category: temporal.ApplicationErrorCategoryBenign,
	})
}

// ErrorInterceptor classifies the errors of all activities in one place.
type ErrorInterceptor struct {
	interceptor.WorkerInterceptorBase
}

// InterceptActivity wraps every activity.
func (*ErrorInterceptor) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &errorInbound{interceptor.ActivityInboundInterceptorBase{Next: next}}
}

type errorInbound struct {
	interceptor.ActivityInboundInterceptorBase
}

// ExecuteActivity runs the activity and classifies its error.
func (e *errorInbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	out, err := e.Next.ExecuteActivity(ctx, in)
	if err != nil {
		return nil, toTemporal(err)
	}
	return out, nil
}

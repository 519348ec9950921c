package devices

import (
	"errors"
	"fmt"

	"github.com/meterflow/meterflow/devices/cjt188"
	"github.com/meterflow/meterflow/devices/dlt645"
	"github.com/meterflow/meterflow/devices/modbus"
)

// The failures that callers tell apart with errors.Is. For a command that was sent, ErrSilent, ErrLinkDown and ErrBadAnswer
// never come out as errors: they become OutcomeUnknown or what the read-back showed. A command that certainly never left ends with one.
var (
	// ErrSilent: the meter did not answer (time-out or exception 0x0A, 0x0B).
	ErrSilent = errors.New("the meter does not answer")
	// ErrRefused: the meter answered with an exception; see RefusedError.
	ErrRefused = errors.New("the meter refused")
	// ErrWrongMeter: another serial number answers at this address.
	ErrWrongMeter = errors.New("another meter answers at this address")
	// ErrBadAnswer: bytes came that are no valid answer.
	ErrBadAnswer = errors.New("the answer makes no sense")
	// ErrLinkDown: there is no connection to the gateway.
	ErrLinkDown = errors.New("the gateway can't be reached")
	// ErrExpired: the caller's deadline passed, or the command was not wanted any more, before anything was sent.
	ErrExpired = errors.New("too late: nothing was sent")
	// ErrUnverifiedProfile: the register map was never verified, so money and switching are refused.
	ErrUnverifiedProfile = errors.New("the register map is not verified")
	// ErrUnsupported: this kind of meter can't do it.
	ErrUnsupported = errors.New("this meter can't do that")
	// ErrKeptClosed: the meter is forced closed (keep-power). It is not tripped before somebody releases it.
	ErrKeptClosed = errors.New("the meter is kept closed; release it first")
	// ErrBarred: no command may go over the meter's line as it is set; nothing was sent.
	ErrBarred = errors.New("no command may go over this line")
	// ErrSetAside: the meter or its line was silent several times and is skipped by sweeps for a while.
	ErrSetAside = errors.New("set aside after several tries without an answer")
	// ErrCountMismatch: the meter's purchase count is not the one before the order's; nothing was sent.
	ErrCountMismatch = errors.New("the meter's purchase count does not fit the order")
	// ErrVolumeMoved: the meter's volume isn't where our last look left it, so somebody else wrote it, or an earlier write of ours came
	// late; nothing was sent.
	ErrVolumeMoved = errors.New("the meter's volume is not where it was left")
	// ErrBadOrder: the order or the meter's description is wrong in itself; nothing was sent.
	ErrBadOrder = errors.New("the order can't be carried out")
	// ErrClockSkew: the meter's clock is further off than may be set; nothing was sent.
	ErrClockSkew = errors.New("the meter's clock is too far off to be set")
	// ErrNotOwner: another worker owns the line; nothing was sent.
	ErrNotOwner = errors.New("this process doesn't own the line any more")
	// ErrReadOnly: this process may only read.
	ErrReadOnly = errors.New("this process may only read from meters")
	// ErrClosed: the pool was closed.
	ErrClosed = errors.New("the device pool is closed")
)

// errNoise: what came was no answer to the request, so that it took as long as silence does. It is an ErrBadAnswer.
var errNoise = fmt.Errorf("%w: noise, or another's frame", ErrBadAnswer)

// RefusedError is a Modbus exception other than 0x0A and 0x0B, or what other protocols have for it: control code and error bits.
// errors.Is(err, ErrRefused) holds.
type RefusedError struct {
	Function  byte
	Exception byte
}

// Error tells the exception in hex.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the meter refused function 0x%02X with exception 0x%02X", e.Function, e.Exception)
}

// Is makes a RefusedError an ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// translate turns the byte level's errors into this package's.
func translate(err error) error {
	var exception *modbus.ExceptionError
	var no645 *dlt645.RefusedError
	var no188 *cjt188.RefusedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no645):
		return &RefusedError{Function: no645.Code, Exception: no645.Bits}
	case errors.As(err, &no188):
		return &RefusedError{Function: no188.Code}
	case errors.As(err, &exception):
		if exception.Exception == modbus.ExceptionGatewayTarget || exception.Exception == modbus.ExceptionGatewayPath {
			return fmt.Errorf("%w (gateway exception 0x%02X)", ErrSilent, exception.Exception)
		}
		return &RefusedError{Function: exception.Function, Exception: exception.Exception}
	case errors.Is(err, errOutside):
		return fmt.Errorf("%w: %w", ErrBadOrder, err)
	case errors.Is(err, modbus.ErrTimeout):
		return fmt.Errorf("%w: %w", ErrSilent, err)
	case errors.Is(err, modbus.ErrNotConnected), errors.Is(err, modbus.ErrLinkLost):
		return fmt.Errorf("%w: %w", ErrLinkDown, err)
	default:
		return fmt.Errorf("%w: %w", errNoise, err)
	}
}

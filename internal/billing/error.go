package billing

import (
	"errors"
	"fmt"
)

// Code is the kind of a refusal. Edges translate a code once: the store from
// constraint names, activities to error types, the API and pages to a status.
type Code string

// The codes. CodeInternal stands for every error that carries none.
const (
	CodeInvalidInput    Code = "invalid_input"
	CodeNotFound        Code = "not_found"
	CodeConflict        Code = "conflict"
	CodeForbidden       Code = "forbidden"
	CodeUnauthenticated Code = "unauthenticated"
	CodeSelfApproval    Code = "self_approval"
	CodeAlreadyApproved Code = "already_approved"
	CodeClosed          Code = "closed"
	CodeStale           Code = "stale"
	CodeUnavailable     Code = "unavailable"
	CodeBlocked         Code = "blocked"
	CodeTariffMissing   Code = "tariff_missing"
	CodeInvalidReading  Code = "invalid_reading"
	CodeGatewayBusy     Code = "gateway_busy"
	CodeInternal        Code = "internal"
)

// Codes lists every code once, so that a table test can hold each translation
// against all of them.
var Codes = []Code{
	CodeInvalidInput, CodeNotFound, CodeConflict, CodeForbidden, CodeUnauthenticated,
	CodeSelfApproval, CodeAlreadyApproved, CodeClosed, CodeStale, CodeUnavailable,
	CodeBlocked, CodeTariffMissing, CodeInvalidReading, CodeGatewayBusy, CodeInternal,
}

// Error is a refusal with a code for programs and one sentence for people.
// The sentence says what to do and holds nothing that the reader may not see.
type Error struct {
	Code    Code
	Message string
	cause   error
}

// Error returns the sentence.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause that was given to Errorf with %w, if any.
func (e *Error) Unwrap() error { return e.cause }

// Errorf makes an Error; %w keeps a cause, as in fmt.Errorf.
func Errorf(code Code, format string, args ...any) error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: wrapped.Error(), cause: errors.Unwrap(wrapped)}
}

// CodeOf returns the code of the outermost Error in err's chain, "" for a nil
// error and CodeInternal when there is none.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// MessageOf returns the sentence that may be shown to a person: that of the
// Error in err's chain, or a general one when there is none.
func MessageOf(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Message
	}
	return "Something went wrong on our side; nothing was changed. Try again, and tell the administrator if it stays."
}

package page

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/web/locale"
)

// statuses translates each code once for pages.
var statuses = map[billing.Code]int{
	billing.CodeInvalidInput:    http.StatusUnprocessableEntity,
	billing.CodeNotFound:        http.StatusNotFound,
	billing.CodeConflict:        http.StatusConflict,
	billing.CodeForbidden:       http.StatusForbidden,
	billing.CodeUnauthenticated: http.StatusUnauthorized,
	billing.CodeSelfApproval:    http.StatusForbidden,
	billing.CodeAlreadyApproved: http.StatusConflict,
	billing.CodeClosed:          http.StatusConflict,
	billing.CodeStale:           http.StatusConflict,
	billing.CodeUnavailable:     http.StatusServiceUnavailable,
	billing.CodeBlocked:         http.StatusConflict,
	billing.CodeTariffMissing:   http.StatusUnprocessableEntity,
	billing.CodeInvalidReading:  http.StatusUnprocessableEntity,
	billing.CodeGatewayBusy:     http.StatusServiceUnavailable,
	billing.CodeInternal:        http.StatusInternalServerError,
}

// Status is the HTTP status of an error; 500 for one without a code.
func Status(err error) int {
	if s, ok := statuses[billing.CodeOf(err)]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// titles are the headlines of refusals.
var titles = map[billing.Code]string{
	billing.CodeInvalidInput:    locale.Key("refusal.invalid_input"),
	billing.CodeNotFound:        locale.Key("refusal.not_found"),
	billing.CodeConflict:        locale.Key("refusal.conflict"),
	billing.CodeForbidden:       locale.Key("refusal.forbidden"),
	billing.CodeUnauthenticated: locale.Key("refusal.unauthenticated"),
	billing.CodeSelfApproval:    locale.Key("refusal.self_approval"),
	billing.CodeAlreadyApproved: locale.Key("refusal.already_approved"),
	billing.CodeClosed:          locale.Key("refusal.closed"),
	billing.CodeStale:           locale.Key("refusal.stale"),
	billing.CodeUnavailable:     locale.Key("refusal.unavailable"),
	billing.CodeBlocked:         locale.Key("refusal.blocked"),
	billing.CodeTariffMissing:   locale.Key("refusal.tariff_missing"),
	billing.CodeInvalidReading:  locale.Key("refusal.invalid_reading"),
	billing.CodeGatewayBusy:     locale.Key("refusal.gateway_busy"),
	billing.CodeInternal:        locale.Key("refusal.internal"),
}

// Title is the headline of a refusal in the language of ctx.
func Title(ctx context.Context, err error) string {
	if key, ok := titles[billing.CodeOf(err)]; ok {
		return locale.T(ctx, key)
	}
	return locale.T(ctx, titles[billing.CodeInternal])
}

// Problems are refusals of single fields: field name → what is wrong. Make it with Input.
type Problems map[string]error

// Error counts them; the sentences stand beside the fields.
func (p Problems) Error() string { return "some fields need a correction: see the notes beside them" }

// Unwrap gives them the code of bad input.
func (p Problems) Unwrap() error {
	return billing.Errorf(billing.CodeInvalidInput, "%s", p.Error())
}

// Sentence is what a person may read about an error, in the language of ctx.
func Sentence(ctx context.Context, err error) string {
	return locale.Sentence(ctx, billing.MessageOf(err))
}

type refusedKey struct{}

// refused is the last attempt of a form on this request.
type refused struct {
	action string
	typed  url.Values
	err    error
}

// Form is a form of the page: as typed and refused when it was just tried, else fresh.
type Form struct {
	ctx context.Context
	refused
}

// FormOf is the form of the named action.
func FormOf(r *http.Request, action string) Form {
	f := Form{ctx: r.Context()}
	if last, ok := r.Context().Value(refusedKey{}).(refused); ok && last.action == action {
		f.refused = last
	}
	return f
}

// Tried says that the form was just refused.
func (f Form) Tried() bool { return f.err != nil }

// Value is what was typed into a field, or fresh when nothing was tried.
func (f Form) Value(field, fresh string) string {
	if !f.Tried() {
		return fresh
	}
	return f.typed.Get(field)
}

// Values are all that was chosen of a field with several answers.
func (f Form) Values(field string) []string { return f.typed[field] }

// Problem is what is wrong with one field; empty when nothing is.
func (f Form) Problem(field string) string {
	if p, ok := errors.AsType[Problems](f.err); ok && p[field] != nil {
		return Sentence(f.ctx, p[field])
	}
	return ""
}

// Error is why the whole form was refused; empty when it wasn't, or when a field says it.
func (f Form) Error() string {
	if _, fields := errors.AsType[Problems](f.err); fields || f.err == nil {
		return ""
	}
	return Sentence(f.ctx, f.err)
}

// Refused is why a form of this request was refused; nil when none was.
func Refused(ctx context.Context) error {
	last, _ := ctx.Value(refusedKey{}).(refused)
	return last.err
}

// status is that of the page: 200 unless a form of it was refused.
func status(ctx context.Context) int {
	if last, ok := ctx.Value(refusedKey{}).(refused); ok {
		return Status(last.err)
	}
	return http.StatusOK
}

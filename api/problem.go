package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/meterflow/meterflow/internal/billing"
)

// Problem is a refusal as RFC 9457 describes it, with the code that programs act on. Detail is one sentence that says what to do.
// A test holds the enumeration of codes against billing's.
type Problem struct {
	Type   string       `json:"type" enum:"about:blank" doc:"The code says more than an address could."`
	Title  string       `json:"title" doc:"The status in words."`
	Status int          `json:"status" doc:"The HTTP status."`
	Detail string       `json:"detail" doc:"One sentence that says what to do."`
	Code   billing.Code `json:"code" enum:"invalid_input,not_found,conflict,forbidden,unauthenticated,self_approval,already_approved,closed,stale,unavailable,blocked,tariff_missing,invalid_reading,gateway_busy,internal" doc:"What kind of refusal it is."`
}

// Error is the sentence.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of RFC 9457.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// blank is the type of a problem that has no page of its own.
const blank = "about:blank"

// statuses translates each code once for the API.
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

// StatusOf is the HTTP status of an error; 500 for one without a code.
func StatusOf(err error) int { return statuses[billing.CodeOf(err)] }

func problemOf(err error) *Problem {
	code, status := billing.CodeOf(err), StatusOf(err)
	return &Problem{Title: http.StatusText(status), Status: status, Detail: billing.MessageOf(err), Code: code, Type: blank}
}

// huma builds its own refusals (a body that is no JSON, a missing field) through this one variable.
func init() {
	huma.DefaultArrayNullable = false // a list that has nothing in it is []
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError { return inputProblem(status, msg, errs) }
}

// inputProblem makes one sentence of what huma found wrong with a request.
func inputProblem(status int, msg string, errs []error) *Problem {
	p := &Problem{Title: http.StatusText(status), Status: status, Detail: msg, Code: billing.CodeInvalidInput, Type: blank}
	if status >= http.StatusInternalServerError {
		return problemOf(errors.New(msg))
	}
	var parts []string
	for _, err := range errs {
		var detail *huma.ErrorDetail
		switch {
		case err == nil:
		case errors.As(err, &detail) && detail.Location != "":
			parts = append(parts, strings.TrimPrefix(detail.Location, "body.")+": "+detail.Message)
		default:
			parts = append(parts, err.Error())
		}
	}
	if len(parts) > 0 {
		p.Detail = "The request can't be read: " + strings.Join(parts, "; ") + "."
	}
	return p
}

// problem turns an error of a handler into its answer and logs what is ours to mend.
func (s *server) problem(ctx context.Context, err error) error {
	p := problemOf(err)
	if p.Status == http.StatusInternalServerError && ctx.Err() == nil {
		s.Log.ErrorContext(ctx, "API request failed", "error", err)
	}
	return p
}

// failed answers when the session can't be read.
func (c Config) failed(w http.ResponseWriter, r *http.Request, err error) {
	c.Log.ErrorContext(r.Context(), "API session", "error", err)
	write(w, problemOf(err))
}

// handler always answers with one refusal.
func (c Config) handler(err error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { write(w, problemOf(err)) }
}

func write(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

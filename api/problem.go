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
type Problem struct {
	Title  string       `json:"title" doc:"The status in words."`
	Status int          `json:"status" doc:"The HTTP status."`
	Detail string       `json:"detail" doc:"One sentence that says what to do."`
	Code   billing.Code `json:"code" doc:"What kind of refusal it is."`
	// TypeURI is always about:blank: the code says more than an address could.
	TypeURI string `json:"type" doc:"Always about:blank."`
}

// Error is the sentence.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of RFC 9457.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// Schema lists the codes.
func (*Problem) Schema(r huma.Registry) *huma.Schema {
	codes := make([]any, 0, len(billing.Codes))
	for _, c := range billing.Codes {
		codes = append(codes, string(c))
	}
	text := func(doc string) *huma.Schema { return &huma.Schema{Type: huma.TypeString, Description: doc} }
	return &huma.Schema{
		Type: huma.TypeObject, Required: []string{"title", "status", "detail", "code", "type"},
		Properties: map[string]*huma.Schema{
			"type": text("Always about:blank."), "title": text("The status in words."), "detail": text("One sentence that says what to do."),
			"status": {Type: huma.TypeInteger, Description: "The HTTP status."},
			"code":   {Type: huma.TypeString, Enum: codes, Description: "What kind of refusal it is."},
		},
	}
}

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

func problemOf(err error) *Problem {
	code := billing.CodeOf(err)
	status := statuses[code]
	return &Problem{Title: http.StatusText(status), Status: status, Detail: billing.MessageOf(err), Code: code, TypeURI: "about:blank"}
}

// huma builds its own refusals (a body that is no JSON, a missing field) through this one variable.
func init() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError { return inputProblem(status, msg, errs) }
}

// inputProblem makes one sentence of what huma found wrong with a request.
func inputProblem(status int, msg string, errs []error) *Problem {
	p := &Problem{Title: http.StatusText(status), Status: status, Detail: msg, Code: billing.CodeInvalidInput, TypeURI: "about:blank"}
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

package page

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/web/components"
)

// nonceField carries the number that makes a double click one decision.
const nonceField = "nonce"

// parse reads a posted form.
func parse(r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return billing.Errorf(billing.CodeInvalidInput, "the form can't be read: open the page again and send it once more")
	}
	return nil
}

// Input reads the fields of a posted form and collects what is wrong with them.
type Input struct {
	values   url.Values
	problems Problems
}

// Read begins to read a form that Act has received.
func Read(r *http.Request) *Input {
	return &Input{values: r.PostForm, problems: Problems{}}
}

// Err is what is wrong with the fields read so far: Problems, or nil.
func (in *Input) Err() error {
	if len(in.problems) == 0 {
		return nil
	}
	return in.problems
}

// Refuse notes that a field is wrong.
func (in *Input) Refuse(field string, err error) {
	if in.problems[field] == nil {
		in.problems[field] = err
	}
}

// Text is a field that may be empty, without the spaces around it.
func (in *Input) Text(field string) string { return strings.TrimSpace(in.values.Get(field)) }

// Texts are all answers of a field.
func (in *Input) Texts(field string) []string { return in.values[field] }

// Required is a field that may not be empty.
func (in *Input) Required(field string) string {
	text := in.Text(field)
	if text == "" {
		in.Refuse(field, billing.Errorf(billing.CodeInvalidInput, "fill in this field"))
	}
	return text
}

// maxReason is the longest reason, in characters.
const maxReason = 500

// Reason is the field "reason": why the person decides so.
func (in *Input) Reason() string {
	text := in.Text("reason")
	switch n := utf8.RuneCountInString(text); {
	case n == 0:
		in.Refuse("reason", billing.Errorf(billing.CodeInvalidInput, "say why: the reason stands in the journal"))
	case n > maxReason:
		in.Refuse("reason", billing.Errorf(billing.CodeInvalidInput, "the reason is too long: use at most 500 characters"))
	}
	return text
}

// Money is an amount of yuan above zero with at most two decimals.
func (in *Input) Money(field string) billing.Money {
	m, err := Amount(in.values.Get(field))
	if err != nil {
		in.Refuse(field, err)
	}
	return m
}

// Amount reads yuan as people type them and refuses what is no payment: zero, negative, a third decimal.
func Amount(text string) (billing.Money, error) {
	m, err := billing.ParseMoney(text)
	if err != nil {
		return 0, err
	}
	if m <= 0 {
		return 0, billing.Errorf(billing.CodeInvalidInput, "the amount must be more than zero: write yuan and fen, such as 12.34")
	}
	return m, nil
}

// RegisterValue reads a register's value as it is displayed, kWh or m³ with the meter's decimals, thousands separated or not, and gives
// raw units.
func RegisterValue(text string, s billing.Service) (int64, error) {
	if text == "" {
		return 0, billing.Errorf(billing.CodeInvalidInput, "fill in this field")
	}
	raw, err := LeftValue(text, s)
	if err == nil && raw < 0 {
		return 0, billing.Errorf(billing.CodeInvalidInput, "a register only counts up: enter what the display shows, without a sign")
	}
	return raw, err
}

// LeftValue reads what a meter shows as left, as it is displayed; below zero in overdraft. It gives raw units.
func LeftValue(text string, s billing.Service) (int64, error) {
	q, err := billing.ParseQuantity(strings.NewReplacer(",", "", " ", "").Replace(text))
	if err != nil {
		return 0, err
	}
	return s.Raw(q)
}

// RegisterValue is a field with what a register shows.
func (in *Input) RegisterValue(field string, s billing.Service) int64 {
	raw, err := RegisterValue(in.Text(field), s)
	if err != nil {
		in.Refuse(field, err)
	}
	return raw
}

// Int is a whole number.
func (in *Input) Int(field string) int64 {
	n, err := strconv.ParseInt(in.Text(field), 10, 64)
	if err != nil {
		in.Refuse(field, billing.Errorf(billing.CodeInvalidInput, "write a whole number with digits only"))
	}
	return n
}

// Day is a date field.
func (in *Input) Day(field string) billing.Date {
	d, err := billing.ParseDate(in.Text(field))
	if err != nil {
		in.Refuse(field, err)
	}
	return d
}

// Time is a date-and-time field (datetime-local) in the given zone.
func (in *Input) Time(field string, zone *time.Location) time.Time {
	t, err := time.ParseInLocation("2006-01-02T15:04", in.Text(field), zone)
	if err != nil {
		in.Refuse(field, billing.Errorf(billing.CodeInvalidInput, "write a date and a time, such as 2026-10-31 08:15"))
	}
	return t
}

// OneOf is a choice; an answer that wasn't offered is refused.
func (in *Input) OneOf(field string, offered ...string) string {
	text := in.Text(field)
	for _, o := range offered {
		if text == o {
			return text
		}
	}
	in.Refuse(field, billing.Errorf(billing.CodeInvalidInput, "choose one of the answers"))
	return ""
}

// Nonce is the number of this filling of the form; the same number twice is one decision.
func (in *Input) Nonce() string { return in.Text(nonceField) }

// Nonce is the hidden field that Input.Nonce reads. A form tried again keeps its number, in case the first try was taken and
// only the answer was lost. What was refused gets a new one: the engine answers the same number with the same refusal, however
// the form was corrected.
func (f Form) Nonce() components.Hidden {
	fresh := rand.Text()
	if f.refusedForGood() {
		return components.Hidden{Name: nonceField, Value: fresh}
	}
	return components.Hidden{Name: nonceField, Value: f.Value(nonceField, fresh)}
}

// refusedForGood says that the form was answered with no, and not merely left unanswered or never sent because of a field.
func (f Form) refusedForGood() bool {
	if _, unsent := errors.AsType[Problems](f.err); unsent || f.err == nil {
		return false
	}
	code := billing.CodeOf(f.err)
	return code != billing.CodeUnavailable && code != billing.CodeInternal
}

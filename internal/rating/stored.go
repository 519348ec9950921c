package rating

import (
	"encoding/json"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// Stored is an Input as a bill keeps it: with it and the engine that the bill
// names, each line can be derived again.
type Stored struct {
	Tariff      billing.Tariff   `json:"tariff"`
	Zone        string           `json:"zone"`
	From        time.Time        `json:"from"`
	To          time.Time        `json:"to"`
	Open        bool             `json:"open,omitempty"`
	Fittings    []Fitting        `json:"fittings"`
	Points      []Point          `json:"points"`
	UsedInYear  billing.Quantity `json:"used_in_year"`
	UsedInMonth billing.Quantity `json:"used_in_month"`
	OpenedOn    billing.Date     `json:"opened_on,omitzero"`
	ClosedOn    billing.Date     `json:"closed_on,omitzero"`
	Terms       []Terms          `json:"terms,omitempty"`
	Months      []Month          `json:"months,omitempty"`
	Late        *Late            `json:"late,omitempty"`
}

// Store is the input to be kept.
func (in Input) Store() Stored {
	return Stored{
		Tariff: in.Tariff, Zone: in.Location.String(), From: in.From, To: in.To, Open: in.Open, Fittings: in.Fittings, Points: in.Points,
		UsedInYear: in.UsedInYear, UsedInMonth: in.UsedInMonth, OpenedOn: in.OpenedOn, ClosedOn: in.ClosedOn, Terms: in.Terms, Months: in.Months, Late: in.Late,
	}
}

// Input is what was kept.
func (s Stored) Input() (Input, error) {
	loc, err := time.LoadLocation(s.Zone)
	if err != nil {
		return Input{}, billing.Errorf(billing.CodeInvalidInput, "The time zone %q of a stored bill is not known here: install the time zone data.", s.Zone)
	}
	return Input{
		Tariff: s.Tariff, Location: loc, From: s.From, To: s.To, Open: s.Open, Fittings: s.Fittings, Points: s.Points,
		UsedInYear: s.UsedInYear, UsedInMonth: s.UsedInMonth, OpenedOn: s.OpenedOn, ClosedOn: s.ClosedOn, Terms: s.Terms, Months: s.Months, Late: s.Late,
	}, nil
}

// engines are the versions whose stored inputs this code prices to the same fen.
var engines = map[string]bool{"rating/1": true, "rating/2": true, Engine: true}

// Again prices a bill once more from the input and the engine that it keeps.
func Again(engine string, stored []byte) (Result, error) {
	in, err := Restore(engine, stored)
	if err != nil {
		return Result{}, err
	}
	return Rate(in)
}

// Restore is the input that a bill keeps, if this engine prices it to the same fen.
func Restore(engine string, stored []byte) (Input, error) {
	if !engines[engine] {
		return Input{}, billing.Errorf(billing.CodeInvalidInput, "A bill of the rating engine %q can't be derived again by %s: use the program that made it.", engine, Engine)
	}
	var s Stored
	if err := json.Unmarshal(stored, &s); err != nil {
		return Input{}, billing.Errorf(billing.CodeInvalidInput, "The stored input of a bill can't be read: %w", err)
	}
	return s.Input()
}

package api

import (
	"context"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Terms are what was agreed with a customer, from a day on until the next terms.
type Terms struct {
	From             string                `json:"from" format:"date" doc:"First day."`
	Version          int                   `json:"version" doc:"The highest version of a first day holds."`
	Tariff           billing.TariffID      `json:"tariff"`
	Class            billing.CustomerClass `json:"class"`
	Persons          int                   `json:"persons"`
	CapacityKVA      string                `json:"capacity_kva" doc:"A decimal, as text."`
	SuspendedKVA     string                `json:"suspended_kva"`
	ContractDemandKW string                `json:"contract_demand_kw"`
	Choice           billing.ChargeChoice  `json:"choice,omitempty" enum:"capacity,demand"`
	Register         string                `json:"register,omitempty" doc:"The register that the contract settles by; absent for the meter's total."`
	ArrearsContract  bool                  `json:"arrears_contract,omitempty" doc:"Unpaid bills bear a late fee, and the balance brings no reminder and no cut."`
	RecordedAt       time.Time             `json:"recorded_at"`
	RecordedBy       billing.UserID        `json:"recorded_by"`
	Reason           string                `json:"reason"`
}

func termsOf(t store.AccountTerms) Terms {
	return Terms{From: t.FromDay.String(), Version: t.Version, Tariff: t.Tariff, Class: t.Class, Persons: t.Persons, CapacityKVA: t.CapacityKVA.String(), SuspendedKVA: t.SuspendedKVA.String(),
		ContractDemandKW: t.ContractDemandKW.String(), Choice: t.ChargeChoice, Register: t.ContractRegister, ArrearsContract: t.ArrearsContract, RecordedAt: utc(t.RecordedAt), RecordedBy: t.RecordedBy, Reason: t.Reason}
}

type setTermsInput struct {
	AccountPath
	Body struct {
		Reasoned
		From             string                `json:"from" format:"date" doc:"First day; inside a billed period a correction is needed."`
		Tariff           billing.TariffID      `json:"tariff"`
		Class            billing.CustomerClass `json:"class,omitempty" enum:"household,commercial,important" doc:"Class of the customer; absent keeps what holds on the first day."`
		Persons          int                   `json:"persons,omitempty" minimum:"0" maximum:"99"`
		CapacityKVA      string                `json:"capacity_kva,omitempty" maxLength:"20"`
		SuspendedKVA     string                `json:"suspended_kva,omitempty" maxLength:"20"`
		ContractDemandKW string                `json:"contract_demand_kw,omitempty" maxLength:"20"`
		Choice           string                `json:"choice,omitempty" enum:"capacity,demand"`
		Register         string                `json:"register,omitempty" enum:"sharp,peak,flat,valley,deep_valley"`
		ArrearsContract  bool                  `json:"arrears_contract,omitempty" doc:"From this day on unpaid bills bear a late fee, and the balance brings no reminder and no cut; not for credit that is in the meter."`
	}
}

type quantityInput struct {
	AccountPath
	Body struct {
		Reasoned
		Month string `json:"month" maxLength:"7" doc:"Such as 2026-09."`
		Kind  string `json:"kind" enum:"demand_kw,kvarh,reverse"`
		Value string `json:"value" maxLength:"20" doc:"A decimal, as text."`
	}
}

func (s *server) termsOperations() {
	add(s, operation{method: http.MethodGet, path: "/accounts/{id}/terms", id: "list-terms", tag: "accounts", may: auth.View,
		summary: "All that was recorded of an account's terms, by first day and version."}, s.terms)
	add(s, operation{method: http.MethodPost, path: "/accounts/{id}/terms", id: "set-terms", tag: "accounts", may: auth.MasterData,
		done: http.StatusCreated, summary: "Change an account's terms from a day on."}, s.setTerms)
	add(s, operation{method: http.MethodPost, path: "/accounts/{id}/quantities", id: "enter-quantity", tag: "accounts", may: auth.EnterReading,
		done: http.StatusCreated, summary: "Enter a month's demand, reactive or reverse energy."}, s.enterQuantity)
}

func (s *server) terms(ctx context.Context, in *AccountPath) (*body[List[Terms]], error) {
	a, err := s.Store.Account(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := see(ctx, a.Site); err != nil {
		return nil, err
	}
	all, err := s.Store.TermsHistory(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return listOf(all, len(all), termsOf), nil
}

// decimal is a quantity as text, 0 when it is left out.
func decimal(text string) (billing.Quantity, error) {
	if text == "" {
		return billing.Quantity{}, nil
	}
	return billing.ParseQuantity(text)
}

func (s *server) setTerms(ctx context.Context, in *setTermsInput) (*body[Done], error) {
	a, err := s.Store.Account(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.MasterData, a.Site); err != nil {
		return nil, err
	}
	t := store.AccountTerms{Account: in.ID, Tariff: in.Body.Tariff, Class: in.Body.Class, Persons: in.Body.Persons, ChargeChoice: billing.ChargeChoice(in.Body.Choice), ContractRegister: in.Body.Register, ArrearsContract: in.Body.ArrearsContract, Settlement: store.SettleByMeter}
	if t.ContractRegister != "" {
		t.Settlement = store.SettleByRegister
	}
	if t.FromDay, err = billing.ParseDate(in.Body.From); err != nil {
		return nil, err
	}
	if t.CapacityKVA, err = decimal(in.Body.CapacityKVA); err != nil {
		return nil, err
	}
	if t.SuspendedKVA, err = decimal(in.Body.SuspendedKVA); err != nil {
		return nil, err
	}
	if t.ContractDemandKW, err = decimal(in.Body.ContractDemandKW); err != nil {
		return nil, err
	}
	if err := s.Store.SetTerms(ctx, store.By{Actor: string(me(ctx)), Reason: in.Body.Reason}, t); err != nil {
		return nil, err
	}
	return done(in.ID, "set"), nil
}

func (s *server) enterQuantity(ctx context.Context, in *quantityInput) (*body[Done], error) {
	a, err := s.Store.Account(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.EnterReading, a.Site); err != nil {
		return nil, err
	}
	month, err := billing.ParseMonth(in.Body.Month)
	if err != nil {
		return nil, err
	}
	value, err := billing.ParseQuantity(in.Body.Value)
	if err != nil {
		return nil, err
	}
	q := store.PeriodQuantity{Account: in.ID, Month: month.From, Kind: in.Body.Kind, Value: value, Source: "manual"}
	if err := s.Store.EnterPeriodQuantity(ctx, store.By{Actor: string(me(ctx)), Reason: in.Body.Reason}, q); err != nil {
		return nil, err
	}
	return done(in.ID, "entered"), nil
}

package accounts

import (
	"net/http"
	"strconv"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// quantity is a field that may be left empty, for 0.
func quantity(in *page.Input, field string) billing.Quantity {
	text := in.Text(field)
	if text == "" {
		return billing.Quantity{}
	}
	q, err := billing.ParseQuantity(text)
	if err == nil && q.Sign() < 0 {
		err = billing.Errorf(billing.CodeInvalidInput, "The quantity %s is negative: enter it as the meter or the slip shows it.", q)
	}
	if err != nil {
		in.Refuse(field, err)
	}
	return q
}

// setTerms records a dated change of the account's terms: master data, one transaction with its journal row. It touches no money; bills
// of days from then on are rated by it.
func (h handler) setTerms(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	a, err := h.one(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.MasterData, a.Site); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	t := store.AccountTerms{
		Account: a.ID, FromDay: in.Day("from"), Tariff: billing.TariffID(in.Required("tariff")), Class: billing.CustomerClass(in.OneOf("class", locale.Words(locale.Class)...)), CapacityKVA: quantity(in, "capacity"), SuspendedKVA: quantity(in, "suspended"),
		ContractDemandKW: quantity(in, "demand"), ChargeChoice: billing.ChargeChoice(in.OneOf("choice", "", string(billing.ChooseCapacity), string(billing.ChooseDemand))),
		ContractRegister: in.OneOf("register", "", "sharp", "peak", "flat", "valley", "deep_valley"), Settlement: store.SettleByMeter, ArrearsContract: in.Text("arrears") != "",
	}
	if t.ContractRegister != "" {
		t.Settlement = store.SettleByRegister
	}
	if text := in.Text("persons"); text != "" {
		if t.Persons, err = strconv.Atoi(text); err != nil || t.Persons < 0 || t.Persons > 99 {
			in.Refuse("persons", billing.Errorf(billing.CodeInvalidInput, "write how many persons are registered, 0 to 99"))
		}
	}
	reason := in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	err = h.Store.SetTerms(ctx, store.By{Actor: string(page.Actor(ctx).UserID), Reason: reason}, t)
	return page.Done{To: href(a.ID) + "#terms", Said: locale.T(ctx, "terms.changed", string(a.ID), t.FromDay.String())}, err
}

// enterQuantity records a quantity of a month that no register gives.
func (h handler) enterQuantity(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	a, err := h.one(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.EnterReading, a.Site); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	q := store.PeriodQuantity{Account: a.ID, Month: in.Day("month"), Kind: in.OneOf("kind", store.DemandKW, store.Kvarh, store.Reverse), Source: "manual"}
	if in.Required("value") != "" {
		q.Value = quantity(in, "value")
	}
	reason := in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	err = h.Store.EnterPeriodQuantity(ctx, store.By{Actor: string(page.Actor(ctx).UserID), Reason: reason}, q)
	return page.Done{To: href(a.ID) + "#quantities", Said: locale.T(ctx, "terms.entered", string(a.ID), billing.MonthPeriod(q.Month).String())}, err
}

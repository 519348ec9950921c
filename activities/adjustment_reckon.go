package activities

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
	"github.com/meterflow/meterflow/internal/store"
)

// reckoning is a fault on its way from what a person entered to lines.
type reckoning struct {
	fault   billing.Fault
	site    store.Site
	policy  Policy
	meter   store.Meter
	fitted  []store.Fitting // the meter's, one right after the other at one service point, the last that hung before the corrected day
	account store.Account
	out     store.NewAdjustment
}

// reckon works out what a fault did to the issued bills of the account that its meter measures. It only reads.
func (a *Adjusting) reckon(ctx context.Context, f billing.Fault) (store.NewAdjustment, error) {
	r := &reckoning{fault: f}
	for _, step := range []func(context.Context, *reckoning) error{a.findMeter, a.findAccount, a.findTime, a.findReadings, a.price} {
		if err := step(ctx, r); err != nil {
			return store.NewAdjustment{}, err
		}
	}
	return r.out, nil
}

// reckoned is what an adjustment comes to: for a fault, or as what takes another one back.
func (a *Adjusting) reckoned(ctx context.Context, f billing.Fault, undoes billing.AdjustmentID) (store.NewAdjustment, error) {
	if undoes != "" {
		return a.undo(ctx, undoes)
	}
	return a.reckon(ctx, f)
}

// stillHolds refuses when an adjustment would come out differently now.
func (a *Adjusting) stillHolds(ctx context.Context, j store.Adjustment) error {
	var f billing.Fault
	if err := json.Unmarshal(j.Fault, &f); err != nil {
		return err
	}
	now, err := a.reckoned(ctx, f, j.Undoes)
	if err != nil {
		return err
	}
	if !bytes.Equal(now.Digest, j.Digest) {
		return billing.Errorf(billing.CodeStale, "what adjustment %s was reckoned from has changed: withdraw or reject it, and enter it again", j.ID)
	}
	return nil
}

// findMeter finds where the meter hung before the day on which it was right again.
func (a *Adjusting) findMeter(ctx context.Context, r *reckoning) error {
	err := r.fault.Check()
	if err != nil {
		return err
	}
	if r.meter, err = a.Store.Meter(ctx, r.fault.Meter); err != nil {
		if billing.CodeOf(err) == billing.CodeNotFound {
			err = billing.Errorf(billing.CodeNotFound, "there is no meter %q: check its number", r.fault.Meter)
		}
		return err
	}
	if r.site, r.policy, err = sitePolicy(ctx, a.Store, r.meter.Site); err != nil {
		return err
	}
	clock, err := a.Store.Clock(ctx)
	if err != nil {
		return err
	}
	corrected := r.fault.Corrected.Start(r.site.Zone)
	if corrected.After(clock.Now) {
		return billing.Errorf(billing.CodeInvalidInput, "%s lies in the future: an adjustment is about what has passed", r.fault.Corrected)
	}
	all, err := a.Store.FittingsOfMeter(ctx, r.meter.ID)
	if err != nil {
		return err
	}
	last := -1
	for i, f := range all {
		if f.FromAt.Before(corrected) {
			last = i
		}
	}
	if last < 0 {
		return billing.Errorf(billing.CodeInvalidInput, "meter %s was not fitted before %s: nothing was billed by it then", r.meter.ID, r.fault.Corrected)
	}
	first := last
	for first > 0 && all[first-1].ServicePoint == all[last].ServicePoint && all[first-1].ToAt != nil && all[first-1].ToAt.Equal(all[first].FromAt) {
		first-- // a change of ratio is no new fitting
	}
	r.fitted = all[first : last+1]
	r.out.ToAt = corrected
	if off := all[last].ToAt; off != nil {
		if day := billing.DateOf(*off, r.site.Zone); day.Before(r.fault.Corrected) {
			return billing.Errorf(billing.CodeInvalidInput, "meter %s was taken off on %s: enter that day as the one from which on the use is registered rightly", r.meter.ID, day)
		} else if day == r.fault.Corrected {
			r.out.ToAt = *off
		}
	}
	return nil
}

func (a *Adjusting) findAccount(ctx context.Context, r *reckoning) error {
	id, err := a.Store.AccountOfPoint(ctx, r.fitted[0].ServicePoint)
	if err != nil {
		return err
	}
	if id == "" {
		return billing.Errorf(billing.CodeBlocked, "no account is billed by meter %s: there is nothing to adjust", r.meter.ID)
	}
	if r.account, err = a.Store.Account(ctx, id); err != nil {
		return err
	}
	if r.account.CreditMode == billing.CreditMeter {
		return billing.Errorf(billing.CodeBlocked, "account %s holds its credit in the meter, which an adjustment doesn't reach: settle the difference with the customer by hand", id)
	}
	r.out.Site, r.out.Account, r.out.Meter, r.out.Kind = r.account.Site, id, r.meter.ID, r.fault.Kind
	raw, err := json.Marshal(r.fault)
	r.out.Fault = raw
	return err
}

// findTime says which days are adjusted: all since the last test or the fitting for wrong wiring, the policy's part of them for an error,
// those that were entered for another fault.
func (a *Adjusting) findTime(ctx context.Context, r *reckoning) error {
	zone := r.site.Zone
	tests, err := a.Store.TestsOfMeter(ctx, r.meter.ID)
	if err != nil {
		return err
	}
	o := &r.out
	fitted := billing.DateOf(r.fitted[0].FromAt, zone)
	from := r.fault.Since
	if r.fault.Kind == billing.AdjustFault {
		o.CountedFrom, o.CountedBy = from, store.CountedAsEntered
	} else {
		if r.fault.Kind == billing.AdjustError {
			if tests, err = r.tested(tests, fitted); err != nil {
				return err
			}
		} else {
			percent := r.fault.Percent
			o.Percent = &percent
		}
		o.CountedFrom, o.CountedBy = fitted, store.CountedByFitting
		for _, t := range tests {
			if !t.TestedOn.Before(fitted) && t.TestedOn.Before(r.fault.Corrected) {
				o.CountedFrom, o.CountedBy = t.TestedOn, store.CountedByTest
			}
		}
		from = o.CountedFrom
		if r.fault.Kind == billing.AdjustError {
			from = r.fault.Corrected.AddDays(-(from.DaysUntil(r.fault.Corrected) * r.policy.Adjustment.ErrorTimePercent / 100))
		}
	}
	if from.Before(fitted) || from.Before(r.account.OpenedOn) {
		return billing.Errorf(billing.CodeInvalidInput, "meter %s did not measure account %s on %s: it was fitted on %s, and the account was opened on %s", r.meter.ID, r.account.ID, from, fitted, r.account.OpenedOn)
	}
	o.FromAt = later(from.Start(zone), r.fitted[0].FromAt)
	if !o.FromAt.Before(o.ToAt) {
		return billing.Errorf(billing.CodeInvalidInput, "no whole day lies in the time that is adjusted: there is nothing to adjust")
	}
	return nil
}

// tested takes the error from the meter's newest test, and gives the tests before it.
func (r *reckoning) tested(tests []store.MeterTest, fitted billing.Date) (before []store.MeterTest, err error) {
	if len(tests) == 0 {
		return nil, billing.Errorf(billing.CodeInvalidInput, "no test of meter %s is on file: record the test and its certificate first", r.meter.ID)
	}
	t := tests[len(tests)-1]
	if t.TestedOn.Before(fitted) {
		return nil, billing.Errorf(billing.CodeInvalidInput, "the last test of meter %s is of %s, before it was fitted on %s: record the test that found the error", r.meter.ID, t.TestedOn, fitted)
	}
	if err := billing.AdjustError.CheckPercent(t.ErrorPercent); err != nil {
		return nil, err
	}
	r.out.Test, r.out.Percent = &t.ID, &t.ErrorPercent
	return tests[:len(tests)-1], nil
}

// findReadings finds what the meter showed at both ends, where it was read then. An instant without a reading is left to an even rate.
func (a *Adjusting) findReadings(ctx context.Context, r *reckoning) error {
	o := &r.out
	good, err := a.Store.GoodReadings(ctx, []store.MeterAt{{Meter: r.meter.ID, At: o.FromAt.UTC()}, {Meter: r.meter.ID, At: o.ToAt.UTC()}})
	if err != nil {
		return err
	}
	shown := func(at time.Time) billing.Registers {
		for _, f := range r.fitted {
			if f.FromAt.Equal(at) {
				return f.Opening
			}
			if f.ToAt != nil && f.ToAt.Equal(at) {
				return f.Closing
			}
		}
		return good[store.MeterAt{Meter: r.meter.ID, At: at.UTC()}].Registers
	}
	o.Opening, o.Closing = shown(o.FromAt), shown(o.ToAt)
	return nil
}

// issuedBills are the bills that cover the time and follow it, with those before from which an earlier fault is counted. The customer pays
// as read first: all of them are issued.
func (a *Adjusting) issuedBills(ctx context.Context, r *reckoning, booked []store.Adjustment) ([]store.Bill, error) {
	first := billing.DateOf(r.out.FromAt, r.site.Zone)
	end := billing.DateOf(r.out.ToAt.Add(-1), r.site.Zone).AddDays(1)
	bills, err := a.Store.AdjustableBills(ctx, r.account.ID, r.countedFrom(first, booked))
	if err != nil {
		return nil, err
	}
	covered := first
	for _, b := range bills {
		if b.State != billing.BillIssued {
			return nil, billing.Errorf(billing.CodeBlocked, "bill %s is %s: the customer pays as read first; enter the adjustment when it is issued", b.ID, b.State)
		}
		if !b.PeriodFrom.After(covered) && b.PeriodTo.After(covered) {
			covered = b.PeriodTo
		}
		r.out.NextFrom = b.PeriodTo
	}
	if covered.Before(end) {
		return nil, billing.Errorf(billing.CodeBlocked, "no issued bill of account %s covers %s: the customer pays as read first; enter the adjustment when that day is billed", r.account.ID, covered)
	}
	return bills, nil
}

// countedFrom is the first day whose bill says what the faults that were adjusted already have made of the step year in which this one
// begins: the bills of its own time alone don't show what went before them.
func (r *reckoning) countedFrom(first billing.Date, booked []store.Adjustment) billing.Date {
	year := billing.NewDate(first.Year(), time.January, 1).Start(r.site.Zone)
	for _, j := range booked {
		if from := billing.DateOf(j.FromAt, r.site.Zone); j.ToAt.After(year) && from.Before(first) {
			first = from
		}
	}
	return first
}

// price works out the lines.
func (a *Adjusting) price(ctx context.Context, r *reckoning) error {
	booked, err := a.Store.BookedAdjustments(ctx, r.account.ID)
	if err != nil {
		return err
	}
	bills, err := a.issuedBills(ctx, r, booked)
	if err != nil {
		return err
	}
	if r.fault.Kind == billing.AdjustFault {
		if err := a.normalMonth(ctx, r); err != nil {
			return err
		}
	}
	before, err := a.adjustedBefore(ctx, booked)
	if err != nil {
		return err
	}
	billed, err := billedAs(bills)
	if err != nil {
		return err
	}
	adjusted, err := rating.Adjust(billed, before, faultOf(r.out.Adjustment))
	if err != nil {
		return err
	}
	if len(adjusted.Lines) == 0 {
		return billing.Errorf(billing.CodeInvalidInput, "the fault changes no line of any bill: there is nothing to adjust")
	}
	return r.fill(bills, adjusted)
}

// billedAs are bills with the inputs that they keep.
func billedAs(bills []store.Bill) ([]rating.Billed, error) {
	var billed []rating.Billed
	for _, b := range bills {
		in, err := rating.Restore(b.Engine, b.Input)
		if err != nil {
			return nil, err
		}
		billed = append(billed, rating.Billed{Bill: b.ID, Input: in, Total: b.TotalFen - b.LateFen})
	}
	return billed, nil
}

// adjustedBefore are an account's booked adjustments as they are priced, in order. Of one that was undone only what bills count by mistake is left.
func (a *Adjusting) adjustedBefore(ctx context.Context, booked []store.Adjustment) ([]rating.Fault, error) {
	var before []rating.Fault
	for _, j := range booked {
		switch {
		case j.Undoes != "":
			continue
		case j.UndoneBy != "":
			u, err := a.undone(ctx, j)
			if err != nil {
				return nil, err
			}
			i := slices.IndexFunc(booked, func(o store.Adjustment) bool { return o.ID == j.UndoneBy })
			u.To = booked[i].NextFrom
			before = append(before, rating.Fault{Undone: &u})
		default:
			f := faultOf(j)
			f.NextFrom = j.NextFrom
			before = append(before, f)
		}
	}
	return before, nil
}

// undone is what bills count of an adjustment toward their steps, without an end.
func (a *Adjusting) undone(ctx context.Context, j store.Adjustment) (rating.Undone, error) {
	u := rating.Undone{From: j.NextFrom, Steps: map[int]int64{}}
	bills, err := a.Store.AdjustedBills(ctx, j.ID)
	for _, b := range bills {
		u.Steps[b.PeriodFrom.Year()] += b.Steps
	}
	return u, err
}

// faultOf is an adjustment as it is priced.
func faultOf(j store.Adjustment) rating.Fault {
	f := rating.Fault{Meter: j.Meter, From: j.FromAt, To: j.ToAt, Opening: j.Opening, Closing: j.Closing}
	switch j.Kind {
	case billing.AdjustError:
		f.Factor = rating.MeterError(*j.Percent)
	case billing.AdjustWiring:
		f.Factor = rating.WiringDifference(*j.Percent)
	case billing.AdjustFault:
		f.Normal, f.NormalDays = j.Normal, *j.NormalDays
	}
	return f
}

// normalMonth takes the use of a whole issued month without an estimate, and without the fault.
func (a *Adjusting) normalMonth(ctx context.Context, r *reckoning) error {
	month := billing.MonthPeriod(r.fault.Normal)
	bills, err := a.Store.AdjustableBills(ctx, r.account.ID, month.From)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(bills, func(b store.Bill) bool { return b.PeriodFrom == month.From && b.State == billing.BillIssued })
	if i < 0 {
		return billing.Errorf(billing.CodeInvalidInput, "account %s has no issued bill of %s: choose a normal month that is billed", r.account.ID, month)
	}
	in, err := rating.Restore(bills[i].Engine, bills[i].Input)
	if err != nil {
		return err
	}
	in.Late = nil
	result, err := rating.Rate(in)
	if err != nil {
		return err
	}
	from, to := month.Instants(r.site.Zone)
	switch {
	case !in.From.Equal(from) || !in.To.Equal(to):
		return billing.Errorf(billing.CodeInvalidInput, "the bill of %s doesn't cover the whole month: choose another normal month", month)
	case result.Estimated():
		return billing.Errorf(billing.CodeInvalidInput, "the bill of %s rests on an estimate: choose another normal month", month)
	case from.Before(r.out.ToAt) && r.out.FromAt.Before(to):
		return billing.Errorf(billing.CodeInvalidInput, "%s lies in the time of the fault: choose another normal month", month)
	}
	days := month.Days()
	r.out.NormalBill, r.out.Normal, r.out.NormalDays = &bills[i].ID, slices.Clone(result.Use), &days
	return nil
}

// fill puts the result into the adjustment, under a digest of what it rests on and comes to.
func (r *reckoning) fill(bills []store.Bill, adjusted rating.Adjustment) error {
	o := &r.out
	o.Registered, o.Difference, o.TotalFen = adjusted.Registered, adjusted.Difference, adjusted.Total
	rests := addParts(o, bills, adjusted)
	return seal(o, o.Fault, o.Test, o.FromAt.UTC(), o.ToAt.UTC(), o.Opening, o.Closing, o.NormalBill, o.Registered, o.Difference, o.TotalFen, o.NextFrom, rests, o.Lines)
}

// seal puts an adjustment under a digest of what it rests on and comes to.
func seal(o *store.NewAdjustment, facts ...any) error {
	text, err := json.Marshal(facts)
	sum := sha256.Sum256(text)
	o.Digest = sum[:]
	return err
}

// addParts adds bills and lines to an adjustment, and names all bills that were priced for it.
func addParts(o *store.NewAdjustment, bills []store.Bill, adjusted rating.Adjustment) (rests []billing.BillID) {
	period := map[billing.BillID]billing.Date{}
	for _, b := range bills {
		period[b.ID], rests = b.PeriodFrom, append(rests, b.ID)
	}
	for _, b := range adjusted.Bills {
		o.Bills = append(o.Bills, store.AdjustedBill{Bill: b.Bill, PeriodFrom: period[b.Bill], BilledQuantity: b.BilledQuantity, TrueQuantity: b.TrueQuantity,
			BilledFen: b.BilledFen, TrueFen: b.TrueFen, Steps: b.Steps})
	}
	for _, l := range adjusted.Lines {
		o.Lines = append(o.Lines, store.AdjustedLine{Bill: l.Bill, Component: l.Component, NameZH: l.Name.ZH, NameEN: l.Name.EN, Register: l.Register, Tier: l.Tier, Unit: l.Unit, Thirtieths: l.Thirtieths,
			FromAt: l.From, ToAt: l.To, Price: l.Price, Factor: l.Factor, BilledQuantity: l.BilledQuantity, TrueQuantity: l.TrueQuantity, BilledFen: l.BilledFen, TrueFen: l.TrueFen})
	}
	return rests
}

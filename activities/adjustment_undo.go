package activities

import (
	"context"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
	"github.com/meterflow/meterflow/internal/store"
)

// undo works out what takes a booked adjustment back: its own lines the other way round, and what its true use changed since in the steps of bills
// that were issued after it. It only reads.
func (a *Adjusting) undo(ctx context.Context, id billing.AdjustmentID) (store.NewAdjustment, error) {
	first, booked, err := a.undoable(ctx, id)
	if err != nil {
		return store.NewAdjustment{}, err
	}
	n := store.NewAdjustment{Adjustment: first}
	n.Undoes, n.Difference, n.TotalFen = first.ID, make(billing.Registers, len(first.Difference)), -first.TotalFen
	for i, d := range first.Difference {
		n.Difference[i] = -d
	}
	if n.Bills, err = a.Store.AdjustedBills(ctx, first.ID); err != nil {
		return n, err
	}
	for i, b := range n.Bills {
		n.Bills[i].BilledQuantity, n.Bills[i].TrueQuantity, n.Bills[i].BilledFen, n.Bills[i].TrueFen, n.Bills[i].Steps = b.TrueQuantity, b.BilledQuantity, b.TrueFen, b.BilledFen, -b.Steps
	}
	if n.Lines, err = a.Store.AdjustedLines(ctx, first.ID); err != nil {
		return n, err
	}
	for i, l := range n.Lines {
		n.Lines[i].BilledQuantity, n.Lines[i].TrueQuantity, n.Lines[i].BilledFen, n.Lines[i].TrueFen = l.TrueQuantity, l.BilledQuantity, l.TrueFen, l.BilledFen
	}
	return n, a.undoSteps(ctx, &n, booked)
}

// undoable reads an adjustment that can be taken back: a booked one, once, and the newest of its account, because a later one goes on where it
// stood; and all that are booked of that account.
func (a *Adjusting) undoable(ctx context.Context, id billing.AdjustmentID) (store.Adjustment, []store.Adjustment, error) {
	first, err := a.Store.Adjustment(ctx, id)
	switch {
	case err != nil:
		return first, nil, err
	case first.Undoes != "":
		return first, nil, billing.Errorf(billing.CodeBlocked, "adjustment %s undoes another one itself: enter the fault again instead", id)
	case first.State != billing.AdjustmentBooked:
		return first, nil, billing.Errorf(billing.CodeBlocked, "adjustment %s isn't booked: there is nothing to undo; withdraw or reject it instead", id)
	case first.UndoneBy != "":
		return first, nil, store.UndoneAlready(first)
	}
	booked, err := a.Store.BookedAdjustments(ctx, first.Account)
	if err != nil {
		return first, nil, err
	}
	for i := len(booked) - 1; i >= 0 && booked[i].ID != id; i-- {
		if booked[i].Undoes == "" && booked[i].UndoneBy == "" {
			return first, nil, billing.Errorf(billing.CodeBlocked, "adjustment %s was booked after it and goes on where it stood: undo that one first", booked[i].ID)
		}
	}
	return first, booked, nil
}

// undoSteps adds the bills that were issued since and count the true use toward their steps, under a digest of it all.
func (a *Adjusting) undoSteps(ctx context.Context, n *store.NewAdjustment, booked []store.Adjustment) error {
	counted, err := a.undone(ctx, n.Adjustment)
	if err != nil {
		return err
	}
	bills, err := a.Store.AdjustableBills(ctx, n.Account, n.NextFrom)
	if err != nil {
		return err
	}
	for _, b := range bills {
		if b.State != billing.BillIssued {
			return billing.Errorf(billing.CodeBlocked, "bill %s is %s: it counts what adjustment %s changed; undo it when the bill is issued", b.ID, b.State, n.Undoes)
		}
		n.NextFrom = b.PeriodTo
	}
	before, err := a.adjustedBefore(ctx, booked)
	if err != nil {
		return err
	}
	billed, err := billedAs(bills)
	if err != nil {
		return err
	}
	since, err := rating.Undo(billed, before, counted)
	if err != nil {
		return err
	}
	if n.TotalFen, err = n.TotalFen.Add(since.Total); err != nil {
		return err
	}
	rests := addParts(n, bills, since)
	return seal(n, n.Undoes, n.TotalFen, n.NextFrom, rests, n.Lines)
}

package activities

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/supply"
)

// Reminding works off arrears cases: which notice is next, when, and when the case goes over to the cut.
type Reminding struct {
	Store *store.Store
}

// ReminderRef names an arrears case.
type ReminderRef struct {
	ReminderID billing.ReminderID
}

// ReminderState is where an arrears case stands, and the policy that it runs by.
type ReminderState struct {
	ReminderID   billing.ReminderID
	Account      billing.AccountID
	State        billing.ReminderState
	Wanted       billing.ReminderState // the level that the balance has come to
	MeterCredit  bool                  // the meter can trip by itself: it is guarded first
	ReceiptAfter time.Duration         // business time after which a message without a receipt is sent again
	SendFrom     time.Time             // not before: nobody is woken by a notice
	Now          time.Time
}

// Over says that no more notice is due.
func (r ReminderState) Over() bool {
	return r.State == billing.ReminderPaid || r.State == billing.ReminderClosed || r.State == billing.ReminderHandedOver
}

// sendingHours is the part of a site's reminder policy that says at which local hours notices go out.
type sendingHours struct {
	Reminder struct {
		FromHour  int `json:"from_hour"`
		UntilHour int `json:"until_hour"`
	} `json:"reminder"`
}

// The hours where a site says nothing; general practice, check with your regulator.
const (
	defaultFromHour  = 8
	defaultUntilHour = 20
)

// LoadReminder reads an arrears case.
func (a *Reminding) LoadReminder(ctx context.Context, in ReminderRef) (ReminderState, error) {
	r, err := a.Store.Reminder(ctx, in.ReminderID)
	if err != nil {
		return ReminderState{}, err
	}
	acc, err := a.Store.Account(ctx, r.Account)
	if err != nil {
		return ReminderState{}, err
	}
	site, policy, err := sitePolicy(ctx, a.Store, r.Site)
	if err != nil {
		return ReminderState{}, err
	}
	wanted, err := a.Store.LowLevelOf(ctx, r.Account)
	if err != nil {
		return ReminderState{}, err
	}
	clock, err := a.Store.Clock(ctx)
	if err != nil {
		return ReminderState{}, err
	}
	from, err := sendFrom(site, clock.Now)
	return ReminderState{
		ReminderID: r.ID, Account: r.Account, State: r.State, Wanted: wanted, MeterCredit: acc.CreditMode == billing.CreditMeter,
		ReceiptAfter: hours(policy.Reminder.ReceiptHours), SendFrom: from, Now: clock.Now,
	}, err
}

// sendFrom is the first instant at or after now at which notices may go out.
func sendFrom(site store.Site, now time.Time) (time.Time, error) {
	var p sendingHours
	p.Reminder.FromHour, p.Reminder.UntilHour = defaultFromHour, defaultUntilHour
	if err := json.Unmarshal(site.Policy, &p); err != nil {
		return now, billing.Errorf(billing.CodeInvalidInput, "The policy of site %s can't be read: %v", site.ID, err)
	}
	today := billing.DateOf(now, site.Zone)
	from, until := today.At(p.Reminder.FromHour, 0, site.Zone), today.At(p.Reminder.UntilHour, 0, site.Zone)
	switch {
	case now.Before(from):
		return from, nil
	case now.Before(until):
		return now, nil
	}
	return today.AddDays(1).At(p.Reminder.FromHour, 0, site.Zone), nil
}

// QueueNotice names the next message of an arrears case. Attempt counts from 1; each is sent once.
type QueueNotice struct {
	ReminderID billing.ReminderID
	Level      billing.ReminderState
	Attempt    int
}

// Notice is a message that was queued, or the news that none is needed.
type Notice struct {
	Ended   bool
	Message billing.MessageID
	State   billing.MessageState
}

// QueueNotice writes the message of a level. The final one names the first hour at which the policy allows the cut.
func (a *Reminding) QueueNotice(ctx context.Context, in QueueNotice) (Notice, error) {
	var cutAt time.Time
	if in.Level == billing.ReminderFinal {
		clock, err := a.Store.Clock(ctx)
		if err != nil {
			return Notice{}, err
		}
		if cutAt, err = a.earliestCut(ctx, in.ReminderID, clock.Now); err != nil {
			return Notice{}, err
		}
	}
	n, err := a.Store.QueueNotice(ctx, byWorkflow(ctx), in.ReminderID, in.Level, in.Attempt, cutAt, messageText)
	return Notice{Ended: n.Ended, Message: n.Message, State: n.State}, err
}

// earliestCut is the first instant at which a cut is allowed when the final notice is delivered at the given instant.
func (a *Reminding) earliestCut(ctx context.Context, id billing.ReminderID, delivered time.Time) (time.Time, error) {
	r, err := a.Store.Reminder(ctx, id)
	if err != nil {
		return time.Time{}, err
	}
	site, policy, err := sitePolicy(ctx, a.Store, r.Site)
	if err != nil {
		return time.Time{}, err
	}
	class, err := a.Store.ClassNow(ctx, r.Account)
	if err != nil {
		return time.Time{}, err
	}
	calendar, err := a.Store.Calendar(ctx)
	if err != nil {
		return time.Time{}, err
	}
	day, err := supply.NextCutDate(policy.Supply, calendar, site.Zone, class, delivered)
	if err != nil {
		return time.Time{}, err
	}
	return supply.NextCutTime(policy.Supply, calendar, site.Zone, day.Start(site.Zone))
}

// HandedOver is the cut that a case went over to; empty when the case ended otherwise.
type HandedOver struct {
	CutoffID string
}

// HandOver plans the cut after the final notice was delivered: not before the hour that it names, and not before the notice has run
// from its delivery.
func (a *Reminding) HandOver(ctx context.Context, in ReminderRef) (HandedOver, error) {
	r, err := a.Store.Reminder(ctx, in.ReminderID)
	if err != nil {
		return HandedOver{}, err
	}
	delivered, err := a.Store.FinalNoticeDelivered(ctx, in.ReminderID)
	if err != nil || r.CutAt == nil {
		return HandedOver{}, err
	}
	planned, err := a.earliestCut(ctx, in.ReminderID, delivered)
	if err != nil {
		return HandedOver{}, err
	}
	if r.CutAt.After(planned) {
		planned = *r.CutAt
	}
	site, policy, err := sitePolicy(ctx, a.Store, r.Site)
	if err != nil {
		return HandedOver{}, err
	}
	manager, err := a.needsManager(ctx, r, policy)
	if err != nil {
		return HandedOver{}, err
	}
	judge, err := judgeFor(ctx, a.Store, site, policy)
	if err != nil {
		return HandedOver{}, err
	}
	id, err := a.Store.HandOver(ctx, byWorkflow(ctx), in.ReminderID, planned, manager, judge)
	return HandedOver{CutoffID: id}, err
}

// needsManager says whether the policy wants a manager's approval for the customer's class.
func (a *Reminding) needsManager(ctx context.Context, r store.Reminder, policy Policy) (bool, error) {
	class, err := a.Store.ClassNow(ctx, r.Account)
	return slices.Contains(policy.Supply.ManagerFor, class), err
}

// CloseReminder names a case to be ended for another reason than a payment.
type CloseReminder struct {
	ReminderID billing.ReminderID
	Reason     string
}

// CloseReminder ends an arrears case.
func (a *Reminding) CloseReminder(ctx context.Context, in CloseReminder) error {
	return a.Store.CloseReminder(ctx, byWorkflow(ctx), in.ReminderID, in.Reason)
}

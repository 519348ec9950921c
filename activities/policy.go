package activities

import (
	"context"
	"encoding/json"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/supply"
)

// Policy is a site's policy data: every number that a regulator, a contract or a manager may change. A site's JSON overrides
// single fields of the defaults.
type Policy struct {
	Reading    ReadingPolicy    `json:"reading"`
	Validation ValidationPolicy `json:"validation"`
	Supply     supply.Policy    `json:"supply"`
	Recharge   RechargePolicy   `json:"recharge"`
	Reminder   ReminderPolicy   `json:"reminder"`
	Billing    BillingPolicy    `json:"billing"`
	Ledger     LedgerPolicy     `json:"ledger"`
	Rounds     RoundPolicy      `json:"rounds"`
	Correction CorrectionPolicy `json:"correction"`
	Adjustment AdjustmentPolicy `json:"adjustment"`
	Batch      BatchPolicy      `json:"batch"`
	Clock      ClockPolicy      `json:"clock"`
}

// ReadingPolicy is when and how often a cycle reads. Minutes are business time.
type ReadingPolicy struct {
	ToleranceMinutes int `json:"tolerance_minutes"`  // a live register read this long after the freeze instant counts as of it
	PassPauseMinutes int `json:"pass_pause_minutes"` // between the first and the second pass over silent meters
	LatePassMinutes  int `json:"late_pass_minutes"`  // between the second and the third
	WindowEndHour    int `json:"window_end_hour"`    // local hour after which no pass starts
	DecisionDueHours int `json:"decision_due_hours"` // an exception undecided for so long is escalated
}

// RechargePolicy bounds recharges. Amounts in fen.
type RechargePolicy struct {
	MaxFen      billing.Money `json:"max_fen"`      // one recharge at most
	CeilingFen  billing.Money `json:"ceiling_fen"`  // balance + amount at most (anti-hoarding, rule 35)
	ExpiryHours int           `json:"expiry_hours"` // without both approvals by then it expires
}

// ValidationPolicy bounds what a reading may say, by service.
type ValidationPolicy struct {
	Power metering.Limits `json:"power"`
	Water metering.Limits `json:"water"`
}

// ReminderPolicy is about the messages of an arrears case; when a customer is low stands in supply.Policy.
type ReminderPolicy struct {
	ReceiptHours int `json:"receipt_hours"` // a message without a receipt for so long is sent again
}

// BillingPolicy is how long a run waits for doubts before it holds the accounts in doubt, and what unpaid bills cost under an arrears contract, and when
// a make-up bill is paid in monthly parts.
type BillingPolicy struct {
	HoldAfterHours int                   `json:"hold_after_hours"`
	LateFees       billing.LateFeePolicy `json:"late_fees"`
	MakeUp         []billing.MakeUpRule  `json:"make_up"`
}

// CorrectionPolicy says when giving money back needs a second approval, as refunds do (rule 49): above so much to one account.
type CorrectionPolicy struct {
	RefundTwoOverFen billing.Money `json:"refund_two_over_fen"`
}

// AdjustmentPolicy says for which part of the time since the last test or the fitting a tested meter's error is adjusted: the latest days,
// cut to whole ones.
type AdjustmentPolicy struct {
	ErrorTimePercent int `json:"error_time_percent"`
}

// BatchPolicy is how fast work on many meters goes, and how long a preview of it stays good.
type BatchPolicy struct {
	RatePerMinute int `json:"rate_per_minute"` // orders per minute of real time, unless a batch says fewer or more
	PreviewHours  int `json:"preview_hours"`
}

// ClockPolicy says which clocks of meters are set (rule 17). Many meters take a set only once a day and within ten minutes; more than
// devices.MostClockSet is never set, whatever the policy says.
type ClockPolicy struct {
	ByHand         bool `json:"by_hand"`          // no batch follows the day's readings by itself
	SetOverSeconds int  `json:"set_over_seconds"` // a clock that is no further off counts as right
	SetMostSeconds int  `json:"set_most_seconds"` // one that is further off is left to the exception
}

// DefaultPolicy is in force where a site says nothing. Numbers without a source in law are general practice: check with your regulator.
func DefaultPolicy() Policy {
	return Policy{
		Reading:    ReadingPolicy{ToleranceMinutes: 15, PassPauseMinutes: 30, LatePassMinutes: 120, WindowEndHour: 6, DecisionDueHours: 24},
		Validation: ValidationPolicy{Power: metering.DefaultLimits(billing.Power), Water: metering.DefaultLimits(billing.Water)},
		Supply:     supply.DefaultPolicy(),
		Recharge:   RechargePolicy{MaxFen: 5_000_000, CeilingFen: 10_000_000, ExpiryHours: 72},
		Reminder:   ReminderPolicy{ReceiptHours: 4},
		Billing:    BillingPolicy{HoldAfterHours: 48, LateFees: billing.DefaultLateFees(), MakeUp: billing.DefaultMakeUp()},
		Rounds:     defaultRoundPolicy(),
		Correction: CorrectionPolicy{RefundTwoOverFen: 0},
		Adjustment: AdjustmentPolicy{ErrorTimePercent: 50},
		Batch:      BatchPolicy{RatePerMinute: 60, PreviewHours: 24},
		Clock:      ClockPolicy{SetOverSeconds: 30, SetMostSeconds: 600},
	}
}

// sitePolicy reads the policy that is in force at a site.
func sitePolicy(ctx context.Context, s *store.Store, id billing.SiteID) (store.Site, Policy, error) {
	p := DefaultPolicy()
	site, err := s.Site(ctx, id)
	if err != nil {
		return site, p, err
	}
	p, err = policyOf(site)
	return site, p, err
}

// policyOf is a site's policy: the defaults with what the site says otherwise.
func policyOf(site store.Site) (Policy, error) {
	p := DefaultPolicy()
	if err := json.Unmarshal(site.Policy, &p); err != nil {
		return p, billing.Errorf(billing.CodeInvalidInput, "the policy of site %s can't be read: %v", site.ID, err)
	}
	if err := p.Billing.LateFees.Validate(); err != nil {
		return p, billing.Errorf(billing.CodeInvalidInput, "the policy of site %s: %w", site.ID, err)
	}
	if err := billing.ValidateMakeUp(p.Billing.MakeUp); err != nil {
		return p, billing.Errorf(billing.CodeInvalidInput, "the policy of site %s: %w", site.ID, err)
	}
	if n := p.Adjustment.ErrorTimePercent; n < 1 || n > 100 {
		return p, billing.Errorf(billing.CodeInvalidInput, "the policy of site %s: adjustment.error_time_percent is %d: write a whole number from 1 to 100", site.ID, n)
	}
	return p, p.Supply.Validate()
}

func minutes(n int) time.Duration { return time.Duration(n) * time.Minute }

func hours(n int) time.Duration { return time.Duration(n) * time.Hour }

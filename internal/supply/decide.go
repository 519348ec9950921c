package supply

import (
	"slices"
	"strconv"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// Protection is a dated interval in which nobody cuts: keep-power, medical
// dependence, a weather alert. It can be ended, never overridden.
type Protection struct {
	Kind string
	// From is the first protected day, Until the first one after; none is open.
	From, Until billing.Date
	Reason      string
	Owner       billing.UserID
}

// Covers says whether the protection stands on a day.
func (p Protection) Covers(d billing.Date) bool {
	return !d.Before(p.From) && (p.Until.IsZero() || d.Before(p.Until))
}

// FinalNotice is the last notice of the open arrears case.
type FinalNotice struct {
	// DeliveredAt is the instant of the delivery receipt; zero without one.
	DeliveredAt time.Time
	// CutDate is the day that the notice names.
	CutDate billing.Date
}

// LastReading is the newest reading that the balance was charged by.
type LastReading struct {
	At      time.Time
	Quality billing.Quality
	// Doubtful says that a blocking finding on it is undecided.
	Doubtful bool
}

// Facts are all that a cut depends on, gathered under the supply row's lock.
type Facts struct {
	Now      time.Time
	Location *time.Location
	Calendar billing.Calendar
	Policy   Policy

	Service     billing.Service
	Class       billing.CustomerClass
	Protections []Protection
	// LifeSupport says that anyone linked to the account, at any of the
	// customer's premises, depends on supply for life.
	LifeSupport bool
	// KeepFlow says that a water line must not be closed fully: a fire line, or
	// a minimum flow that the law asks for.
	KeepFlow bool
	// Prepaid says that the contract agrees to a cut at the limit.
	Prepaid bool

	Balance billing.Money
	// Deferred is what payment plans leave to be paid later: as far as it goes, the balance may be below the limit.
	Deferred billing.Money
	// PendingPayments is money on its way that isn't in Balance yet: entered,
	// waiting for approval, delivering or in doubt.
	PendingPayments billing.Money
	Notice          *FinalNotice
	Reading         *LastReading
	// OpenExceptions counts undecided cases of the account and its meter.
	OpenExceptions int
	// StaleBill is an issued bill that rests on a reading which has changed since;
	// empty without one. Until it is corrected, the use that it billed may be in
	// the balance twice.
	StaleBill billing.BillID
	// Supply is the last verified state.
	Supply          billing.SupplyState
	ManagerApproved bool
}

// Reason is one fact that speaks for or against a cut.
type Reason struct {
	Code ReasonCode `json:"code"`
	// For is true when the fact allows the cut, false when it forbids it.
	For bool `json:"for"`
	// Numbers are what the fact was judged by, formatted.
	Numbers map[string]string `json:"numbers,omitempty"`
	// Until is when a reason against may end by itself; zero when it won't.
	Until time.Time `json:"until,omitzero"`
}

// Decision is whether an account may be cut, with every reason, in the fixed
// order of the checks, whatever the outcome.
type Decision struct {
	Allowed bool     `json:"allowed"`
	Reasons []Reason `json:"reasons"`
}

// Against lists the reasons that forbid the cut.
func (d Decision) Against() []Reason {
	var against []Reason
	for _, r := range d.Reasons {
		if !r.For {
			against = append(against, r)
		}
	}
	return against
}

// Decide checks every fact, never stopping at the first, so that the printed
// decision shows all that stands in the way. One reason against forbids.
func Decide(f Facts) Decision {
	var d Decision
	if f.Location == nil {
		d.Reasons = one(false, "", WindowUnknown, "problem", "the site's time zone is missing")
		return d
	}
	for _, check := range []func(Facts) []Reason{
		protections, lifeSupport, keepFlow, contract, balance, payments,
		notice, reading, exceptions, window, approval, supplyState,
	} {
		d.Reasons = append(d.Reasons, check(f)...)
	}
	d.Allowed = len(d.Against()) == 0
	return d
}

// one makes the single reason of a check; pairs are names and values.
func one(holds bool, ok, bad ReasonCode, pairs ...string) []Reason {
	r := Reason{Code: bad, For: holds}
	if holds {
		r.Code = ok
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if r.Numbers == nil {
			r.Numbers = map[string]string{}
		}
		r.Numbers[pairs[i]] = pairs[i+1]
	}
	return []Reason{r}
}

func against(until time.Time, code ReasonCode, pairs ...string) []Reason {
	reasons := one(false, "", code, pairs...)
	reasons[0].Until = until
	return reasons
}

func (f Facts) today() billing.Date { return billing.DateOf(f.Now, f.Location) }

func protections(f Facts) []Reason {
	var reasons []Reason
	for _, p := range f.Protections {
		if !p.Covers(f.today()) {
			continue
		}
		var end time.Time
		if !p.Until.IsZero() {
			end = p.Until.Start(f.Location)
		}
		reasons = append(reasons, against(end, Protected, "kind", p.Kind, "reason", p.Reason, "owner", string(p.Owner))...)
	}
	if reasons == nil {
		return one(true, NotProtected, Protected)
	}
	return reasons
}

func lifeSupport(f Facts) []Reason { return one(!f.LifeSupport, NoLifeSupport, LifeSupport) }

func keepFlow(f Facts) []Reason {
	return one(!f.KeepFlow, MayBeClosed, MustKeepFlow)
}

func contract(f Facts) []Reason { return one(f.Prepaid, PrepaidContract, NoPrepaidContract) }

func balance(f Facts) []Reason {
	if f.Balance <= f.Policy.DisconnectFen && f.Balance+f.Deferred > f.Policy.DisconnectFen {
		return against(time.Time{}, PaymentPlan, "balance", f.Balance.String(), "deferred", f.Deferred.String(), "limit", f.Policy.DisconnectFen.String())
	}
	return one(f.Balance <= f.Policy.DisconnectFen, BalanceAtLimit, BalanceAboveLimit,
		"balance", f.Balance.String(), "limit", f.Policy.DisconnectFen.String())
}

func payments(f Facts) []Reason {
	if f.PendingPayments == 0 {
		return one(true, NoPaymentPending, PaymentPending)
	}
	return one(false, "", PaymentPending, "amount", f.PendingPayments.String())
}

func notice(f Facts) []Reason {
	days, listed := f.Policy.NoticeDays[f.Class]
	switch n := f.Notice; {
	case !listed:
		return against(time.Time{}, NoNoticeRule, "class", string(f.Class))
	case n == nil:
		return against(time.Time{}, NoFinalNotice)
	case n.DeliveredAt.IsZero() || n.DeliveredAt.After(f.Now):
		return against(time.Time{}, NoticeNotDelivered)
	default:
		delivered := billing.DateOf(n.DeliveredAt, f.Location)
		due := delivered.AddDays(days)
		if n.CutDate.After(due) {
			due = n.CutDate
		}
		pairs := []string{"delivered", delivered.String(), "days", strconv.Itoa(days), "from", due.String()}
		if f.today().Before(due) {
			return against(due.Start(f.Location), NoticeRunning, pairs...)
		}
		// A date that was never named can't have warned anybody.
		good := !n.CutDate.IsZero() && delivered.DaysUntil(f.today()) <= max(f.Policy.NoticeValidDays, days)
		return one(good, NoticeGiven, NoticeTooOld, pairs...)
	}
}

func reading(f Facts) []Reason {
	r := f.Reading
	if r == nil {
		return against(time.Time{}, NoReading)
	}
	age := f.Now.Sub(r.At)
	pairs := []string{"quality", string(r.Quality), "hours", strconv.Itoa(int(age / time.Hour)), "limit", strconv.Itoa(f.Policy.ReadingMaxAgeHours)}
	believed := []billing.Quality{billing.QualityActual, billing.QualityManual, billing.QualityEdited}
	switch {
	case r.Doubtful:
		return one(false, "", ReadingDoubtful, pairs...)
	case !slices.Contains(believed, r.Quality):
		return one(false, "", ReadingEstimated, pairs...)
	default:
		fresh := age >= 0 && age <= time.Duration(f.Policy.ReadingMaxAgeHours)*time.Hour
		return one(fresh, ReadingFresh, ReadingStale, pairs...)
	}
}

func exceptions(f Facts) []Reason {
	open := one(f.OpenExceptions == 0, NoOpenException, OpenException, "open", strconv.Itoa(f.OpenExceptions))
	if f.StaleBill == "" {
		return open
	}
	overtaken := one(false, "", BillOvertaken, "bill", string(f.StaleBill))
	if f.OpenExceptions == 0 {
		return overtaken
	}
	return append(open, overtaken...)
}

func window(f Facts) []Reason {
	in, until, err := NoCutWindow(f.Policy, f.Calendar, f.Location, f.Now)
	if err != nil {
		return against(time.Time{}, WindowUnknown, "problem", billing.MessageOf(err))
	}
	if in {
		return against(until, InNoCutWindow)
	}
	return one(true, InCutWindow, InNoCutWindow)
}

func approval(f Facts) []Reason {
	if !slices.Contains(f.Policy.ManagerFor, f.Class) {
		return one(true, NoApprovalNeeded, ApprovalMissing)
	}
	return one(f.ManagerApproved, ManagerApproved, ApprovalMissing, "class", string(f.Class))
}

func supplyState(f Facts) []Reason {
	return one(f.Supply != billing.SupplyOff, SupplyNotOff, AlreadyOff, "supply", string(f.Supply))
}

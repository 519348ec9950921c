package supply_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/supply"
)

var shanghai = time.FixedZone("CST", 8*3600)

var delivered, cutDate = at("2026-10-07 10:00"), billing.MustDate("2026-10-14")

func at(text string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04", text, shanghai)
	if err != nil {
		panic(err)
	}
	return t
}

// calendar holds what is tested of 2026, as in NateScarlet/holiday-cn (MIT):
// National Day 1 to 7 October, worked Saturday 10 October and Sunday 20 September.
func calendar() billing.Calendar {
	year := billing.CalendarYear{Year: 2026}
	for day := billing.MustDate("2026-10-01"); day.Before(billing.MustDate("2026-10-08")); day = day.AddDays(1) {
		year.Days = append(year.Days, billing.CalendarDay{Date: day, Off: true, Name: "国庆节"})
	}
	for _, worked := range []string{"2026-09-20", "2026-10-10"} {
		year.Days = append(year.Days, billing.CalendarDay{Date: billing.MustDate(worked), Name: "国庆节"})
	}
	return billing.NewCalendar(year)
}

// mayBeCut are facts that allow a cut: Wednesday 14 October 2026, 11:00.
func mayBeCut() supply.Facts {
	now := at("2026-10-14 11:00")
	return supply.Facts{
		Now: now, Location: shanghai, Calendar: calendar(), Policy: supply.DefaultPolicy(),
		Service: billing.Power, Class: billing.ClassHousehold, Prepaid: true, Balance: -150,
		Notice:  &supply.FinalNotice{DeliveredAt: delivered, CutDate: cutDate},
		Reading: &supply.LastReading{At: now.Add(-11 * time.Hour), Quality: billing.QualityActual},
		Supply:  billing.SupplyOn,
	}
}

// spoilers turn one single fact bad, and name the reason that must forbid then.
var spoilers = []struct {
	name  string
	code  supply.ReasonCode
	spoil func(*supply.Facts)
}{
	{"keep-power", supply.Protected, func(f *supply.Facts) {
		f.Protections = []supply.Protection{{Kind: "keep_power", From: billing.MustDate("2026-10-14"), Until: billing.MustDate("2026-10-15")}}
	}},
	{"open-ended protection", supply.Protected, func(f *supply.Facts) {
		f.Protections = []supply.Protection{{Kind: "medical", From: billing.MustDate("2020-01-01")}}
	}},
	{"life support", supply.LifeSupport, func(f *supply.Facts) { f.LifeSupport = true }},
	{"fire line", supply.MustKeepFlow, func(f *supply.Facts) { f.KeepFlow = true }},
	{"no contract", supply.NoPrepaidContract, func(f *supply.Facts) { f.Prepaid = false }},
	{"one fen of credit", supply.BalanceAboveLimit, func(f *supply.Facts) { f.Balance = 1 }},
	{"payment plan", supply.PaymentPlan, func(f *supply.Facts) { f.Deferred = 1 - min(f.Balance, 0) }},
	{"payment on its way", supply.PaymentPending, func(f *supply.Facts) { f.PendingPayments = 1 }},
	{"no notice", supply.NoFinalNotice, func(f *supply.Facts) { f.Notice = nil }},
	{"no receipt", supply.NoticeNotDelivered, func(f *supply.Facts) { f.Notice = &supply.FinalNotice{CutDate: cutDate} }},
	{"receipt from the future", supply.NoticeNotDelivered, func(f *supply.Facts) {
		f.Notice = &supply.FinalNotice{DeliveredAt: f.Now.Add(1), CutDate: cutDate}
	}},
	{"notice a day short", supply.NoticeRunning, func(f *supply.Facts) {
		f.Notice = &supply.FinalNotice{DeliveredAt: at("2026-10-12 00:00"), CutDate: cutDate}
	}},
	{"a later date was named", supply.NoticeRunning, func(f *supply.Facts) {
		f.Notice = &supply.FinalNotice{DeliveredAt: delivered, CutDate: billing.MustDate("2026-10-15")}
	}},
	{"no date was named", supply.NoticeTooOld, func(f *supply.Facts) {
		f.Notice = &supply.FinalNotice{DeliveredAt: delivered}
	}},
	{"an old notice", supply.NoticeTooOld, func(f *supply.Facts) {
		f.Notice = &supply.FinalNotice{DeliveredAt: at("2026-09-13 10:00"), CutDate: billing.MustDate("2026-09-16")}
	}},
	{"unknown class", supply.NoNoticeRule, func(f *supply.Facts) { f.Class = "embassy" }},
	{"no reading", supply.NoReading, func(f *supply.Facts) { f.Reading = nil }},
	{"stale reading", supply.ReadingStale, func(f *supply.Facts) {
		f.Reading = &supply.LastReading{At: f.Now.Add(-48*time.Hour - 1), Quality: billing.QualityActual}
	}},
	{"reading from the future", supply.ReadingStale, func(f *supply.Facts) {
		f.Reading = &supply.LastReading{At: f.Now.Add(1), Quality: billing.QualityActual}
	}},
	{"estimated reading", supply.ReadingEstimated, func(f *supply.Facts) {
		f.Reading = &supply.LastReading{At: f.Now, Quality: billing.QualityEstimated}
	}},
	{"reading of no known quality", supply.ReadingEstimated, func(f *supply.Facts) {
		f.Reading = &supply.LastReading{At: f.Now}
	}},
	{"doubtful reading", supply.ReadingDoubtful, func(f *supply.Facts) {
		f.Reading = &supply.LastReading{At: f.Now, Quality: billing.QualityActual, Doubtful: true}
	}},
	{"open exception", supply.OpenException, func(f *supply.Facts) { f.OpenExceptions = 1 }},
	{"bill that waits for its correction", supply.BillOvertaken, func(f *supply.Facts) { f.StaleBill = "B1" }},
	{"after hours", supply.InNoCutWindow, func(f *supply.Facts) { f.Now = at("2026-10-14 15:00") }},
	{"calendar not loaded", supply.WindowUnknown, func(f *supply.Facts) { f.Calendar = billing.NewCalendar() }},
	{"important customer", supply.ApprovalMissing, func(f *supply.Facts) {
		f.Class = billing.ClassImportant
	}},
	{"off already", supply.AlreadyOff, func(f *supply.Facts) { f.Supply = billing.SupplyOff }},
}

func codes(reasons []supply.Reason) []supply.ReasonCode {
	var codes []supply.ReasonCode
	for _, r := range reasons {
		codes = append(codes, r.Code)
	}
	return codes
}

func TestDecide_everyFactGood(t *testing.T) {
	d := supply.Decide(mayBeCut())
	require.True(t, d.Allowed, "%s", d)
	require.Equal(t, []supply.ReasonCode{
		supply.NotProtected, supply.NoLifeSupport, supply.MayBeClosed, supply.PrepaidContract, supply.BalanceAtLimit,
		supply.NoPaymentPending, supply.NoticeGiven, supply.ReadingFresh, supply.NoOpenException, supply.InCutWindow,
		supply.NoApprovalNeeded, supply.SupplyNotOff,
	}, codes(d.Reasons))
}

func TestDecide_oneBadFactForbids(t *testing.T) {
	for _, s := range spoilers {
		t.Run(s.name, func(t *testing.T) {
			f := mayBeCut()
			s.spoil(&f)
			d := supply.Decide(f)
			require.False(t, d.Allowed)
			require.Equal(t, []supply.ReasonCode{s.code}, codes(d.Against()), "%s", d)
			require.Len(t, d.Reasons, 12, "all reasons are printed, for and against")
		})
	}
}

// Every subset of bad facts forbids, and a protected customer is never cut.
func TestDecide_noMixOfFactsCutsTheWrongOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := mayBeCut()
		f.Balance = billing.Money(rapid.Int64Range(-1e9, 0).Draw(t, "balance"))
		chosen := rapid.SliceOfNDistinct(rapid.IntRange(0, len(spoilers)-1), 0, 6, rapid.ID[int]).Draw(t, "spoilers")
		for _, i := range chosen {
			spoilers[i].spoil(&f)
		}
		d := supply.Decide(f)
		require.Equal(t, len(chosen) == 0, d.Allowed, "%v\n%s", chosen, d)
		f.Protections = append(f.Protections, supply.Protection{Kind: "keep_power", From: billing.MustDate("2026-01-01")})
		d = supply.Decide(f)
		require.False(t, d.Allowed)
		require.Contains(t, codes(d.Against()), supply.Protected)
	})
}

// A payment plan never makes anyone cut who wouldn't be without it, and protects only as far as it goes.
func TestDecide_aPaymentPlanOnlyProtects(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := mayBeCut()
		f.Policy.DisconnectFen = billing.Money(rapid.Int64Range(-5000, 5000).Draw(t, "limit"))
		f.Policy.Level2.Fen, f.Policy.Level1.Fen = f.Policy.DisconnectFen+1, f.Policy.DisconnectFen+2
		f.Balance = billing.Money(rapid.Int64Range(-20_000, 20_000).Draw(t, "balance"))
		without := supply.Decide(f).Allowed
		f.Deferred = billing.Money(rapid.Int64Range(0, 20_000).Draw(t, "deferred"))
		with := supply.Decide(f).Allowed
		if with && !without {
			t.Fatalf("cut because of a plan: %+v", f)
		}
		if with != (f.Balance+f.Deferred <= f.Policy.DisconnectFen) {
			t.Fatalf("%d with %d deferred at a limit of %d: allowed is %v", f.Balance, f.Deferred, f.Policy.DisconnectFen, with)
		}
	})
}

// All pairs: a second bad fact never makes good the first.
func TestDecide_twoBadFactsForbid(t *testing.T) {
	for _, a := range spoilers {
		for _, b := range spoilers {
			f := mayBeCut()
			a.spoil(&f)
			b.spoil(&f)
			require.False(t, supply.Decide(f).Allowed, "%s and %s", a.name, b.name)
		}
	}
}

func TestDecide_edges(t *testing.T) {
	for name, change := range map[string]func(*supply.Facts){
		"at the limit exactly":              func(f *supply.Facts) { f.Balance = 0 },
		"48 hours old exactly":              func(f *supply.Facts) { f.Reading.At = f.Now.Add(-48 * time.Hour) },
		"a household's third day of notice": func(f *supply.Facts) { f.Notice.DeliveredAt = at("2026-10-11 23:59") },
		"a manual reading":                  func(f *supply.Facts) { f.Reading.Quality = billing.QualityManual },
		"a protection that is over":         func(f *supply.Facts) { f.Protections = []supply.Protection{{Until: billing.MustDate("2026-10-14")}} },
		"a protection of tomorrow":          func(f *supply.Facts) { f.Protections = []supply.Protection{{From: billing.MustDate("2026-10-15")}} },
		"supply of unknown state":           func(f *supply.Facts) { f.Supply = billing.SupplyUnknown },
		"the first minute to cut":           func(f *supply.Facts) { f.Now = at("2026-10-14 10:00") },
		"the last minute to cut":            func(f *supply.Facts) { f.Now = at("2026-10-14 14:59") },
		"an important customer whose cut a manager approved": func(f *supply.Facts) {
			f.Class, f.ManagerApproved = billing.ClassImportant, true
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := mayBeCut()
			change(&f)
			d := supply.Decide(f)
			require.True(t, d.Allowed, "%s", d)
		})
	}
	f := mayBeCut()
	f.Location = nil
	require.False(t, supply.Decide(f).Allowed)
}

func TestDecision_printsItsReasons(t *testing.T) {
	f := mayBeCut()
	f.Now = at("2026-10-14 15:30")
	f.Protections = []supply.Protection{{
		Kind: "keep_power", From: billing.MustDate("2026-10-01"), Until: billing.MustDate("2026-10-20"),
		Reason: "school exams", Owner: "manager",
	}}
	require.Equal(t, `refused
against: a protection stands (keep_power, owner manager): school exams (until 2026-10-19T16:00:00Z)
for: nobody linked to the account depends on supply for life
for: the line may be closed fully
for: the contract agrees to a cut at the limit
for: the balance -1.50 is at or below the limit 0.00
for: no payment is on its way
for: the final notice was delivered on 2026-10-07, for 2026-10-14
for: the last reading is 15 h old (actual)
for: no exception is open
against: nobody is cut at this hour (until 2026-10-15T02:00:00Z)
for: no approval is needed for this class
for: supply is on
`, supply.Decide(f).String())
	for _, s := range spoilers {
		f := mayBeCut()
		s.spoil(&f)
		require.NotContains(t, supply.Decide(f).String(), "{", "every number is filled in: %s", s.name)
		for _, r := range supply.Decide(f).Reasons {
			require.Contains(t, supply.ReasonCodes(), r.Code)
		}
	}
}

func TestNoCutWindow(t *testing.T) {
	for _, c := range []struct {
		at, until string // until "" is: cuts are allowed
	}{
		{"2026-10-14 09:59", "2026-10-14 10:00"},
		{"2026-10-14 10:00", ""},
		{"2026-10-14 14:59", ""},
		{"2026-10-14 15:00", "2026-10-15 10:00"},
		{"2026-10-16 11:59", ""},                 // Friday
		{"2026-10-16 12:00", "2026-10-19 10:00"}, // Friday noon, to Monday
		{"2026-10-17 11:00", "2026-10-19 10:00"}, // Saturday
		{"2026-10-09 14:00", ""},                 // a Friday before a worked Saturday
		{"2026-10-10 11:00", ""},                 // that Saturday, before a Sunday
		{"2026-10-10 12:00", "2026-10-12 10:00"},
		{"2026-09-20 11:00", ""},                 // a worked Sunday
		{"2026-09-30 11:00", "2026-10-08 10:00"}, // the eve of National Day
		{"2026-10-05 11:00", "2026-10-08 10:00"}, // a Monday in the holidays
	} {
		in, until, err := supply.NoCutWindow(supply.DefaultPolicy(), calendar(), shanghai, at(c.at))
		require.NoError(t, err)
		require.Equal(t, c.until != "", in, c.at)
		next, err := supply.NextCutTime(supply.DefaultPolicy(), calendar(), shanghai, at(c.at))
		require.NoError(t, err)
		if c.until == "" {
			require.Equal(t, at(c.at), next)
			continue
		}
		require.True(t, at(c.until).Equal(until), "%s: %s", c.at, until)
		require.True(t, at(c.until).Equal(next))
	}
}

func TestNoCutWindow_withoutCalendarOrTime(t *testing.T) {
	in, _, err := supply.NoCutWindow(supply.DefaultPolicy(), calendar(), shanghai, at("2026-12-31 11:00"))
	require.True(t, in, "whether New Year follows is not known")
	require.ErrorContains(t, err, "calendar for 2027 is not loaded")
	never := supply.DefaultPolicy()
	never.CutFrom = never.CutUntil
	in, _, err = supply.NoCutWindow(never, calendar(), shanghai, at("2026-02-02 11:00"))
	require.True(t, in)
	require.ErrorContains(t, err, "leaves no time for a cut")
}

// At the instant that NextCutTime names, a cut is allowed; just before, not.
func TestNextCutTime_isTheFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := at("2026-09-01 00:00").Add(time.Duration(rapid.IntRange(0, 80*24*60).Draw(t, "minutes")) * time.Minute)
		next, err := supply.NextCutTime(supply.DefaultPolicy(), calendar(), shanghai, now)
		require.NoError(t, err)
		in, _, err := supply.NoCutWindow(supply.DefaultPolicy(), calendar(), shanghai, next)
		require.NoError(t, err)
		require.False(t, in)
		if next.After(now) {
			in, _, err = supply.NoCutWindow(supply.DefaultPolicy(), calendar(), shanghai, next.Add(-1))
			require.NoError(t, err)
			require.True(t, in)
		}
	})
}

func TestNextCutDate_isACutThatNoticeAllows(t *testing.T) {
	p := supply.DefaultPolicy()
	date, err := supply.NextCutDate(p, calendar(), shanghai, billing.ClassHousehold, at("2026-10-14 18:00"))
	require.NoError(t, err)
	require.Equal(t, "2026-10-19", date.String(), "three days on is a Saturday")
	_, err = supply.NextCutDate(p, calendar(), shanghai, "embassy", at("2026-10-14 18:00"))
	require.Equal(t, billing.CodeBlocked, billing.CodeOf(err))
}

func TestPolicy_lowAndRestore(t *testing.T) {
	p := supply.DefaultPolicy()
	for _, c := range []struct {
		balance, daily billing.Money
		want           billing.ReminderState
	}{
		{100_00, 5_00, ""}, {100_00, 0, ""}, {20_01, 0, ""}, {20_00, 0, billing.ReminderLevel1},
		{34_99, 5_00, billing.ReminderLevel1}, {35_00, 5_00, ""}, {10_00, 0, billing.ReminderLevel2},
		{14_99, 5_00, billing.ReminderLevel2}, {1, 0, billing.ReminderLevel2}, {0, 0, billing.ReminderFinal}, {-5, 5_00, billing.ReminderFinal},
	} {
		require.Equal(t, c.want, p.Low(c.balance, c.daily), "%s at %s a day", c.balance, c.daily)
	}
	require.False(t, p.MayRestore(0))
	require.True(t, p.MayRestore(1))
}

func TestPolicy_validate(t *testing.T) {
	require.NoError(t, supply.DefaultPolicy().Validate())
	for want, spoil := range map[string]func(*supply.Policy){
		"before it starts":     func(p *supply.Policy) { p.CutUntil = p.CutFrom },
		"outside 00:00":        func(p *supply.Policy) { p.EveUntil = 24*60 + 1 },
		"notice days":          func(p *supply.Policy) { p.NoticeDays[billing.ClassHousehold] = -1 },
		"good for at least":    func(p *supply.Policy) { p.NoticeValidDays = 0 },
		"at least an hour":     func(p *supply.Policy) { p.ReadingMaxAgeHours = 0 },
		"first must be larger": func(p *supply.Policy) { p.ConnectFen = p.DisconnectFen },
		"level 1 must warn":    func(p *supply.Policy) { p.Level1.Fen = 0 },
		"before the cut-off":   func(p *supply.Policy) { p.DisconnectFen, p.ConnectFen = 5000, 6000 },
	} {
		p := supply.DefaultPolicy()
		spoil(&p)
		require.ErrorContains(t, p.Validate(), want)
	}
}

func TestPolicy_roundTripsThroughJSON(t *testing.T) {
	data, err := json.Marshal(supply.DefaultPolicy())
	require.NoError(t, err)
	require.Contains(t, string(data), `"cut_from":"10:00"`)
	var back supply.Policy
	require.NoError(t, json.Unmarshal(data, &back))
	require.Equal(t, supply.DefaultPolicy(), back)
	require.Error(t, json.Unmarshal([]byte(`{"cut_from": "25:00"}`), &back))
	require.NoError(t, json.Unmarshal([]byte(`{"cut_until": "24:00"}`), &back))
	require.Equal(t, supply.ClockTime(24*60), back.CutUntil)
}

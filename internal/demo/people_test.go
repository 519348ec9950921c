package demo

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

func TestNextAt(t *testing.T) {
	var c Crew
	for _, x := range []struct{ now, next time.Time }{
		{at(0, 0, 0), at(0, 8, 30)},
		{at(0, 8, 30), at(0, 9, 30)},
		{at(0, 8, 45), at(0, 9, 30)},
		{at(0, 17, 0), at(0, 17, 30)},
		{at(0, 17, 30), at(1, 8, 30)},
		{at(0, 23, 59), at(1, 8, 30)},
		{at(29, 20, 0), at(30, 8, 30)}, // over the end of the month
	} {
		require.True(t, x.next.Equal(c.NextAt(x.now)), "after %s comes %s", x.now, c.NextAt(x.now))
		require.True(t, x.next.Equal(c.NextAt(x.now.UTC())), "in any zone")
	}
}

func TestWantsToPay(t *testing.T) {
	ago := func(d time.Duration) *time.Time { past := at(9, 9, 30).Add(-d); return &past }
	cutAt := at(9, 10, 0)
	final := wallet{Arrears: "final", FirstMessage: ago(5 * 24 * time.Hour), FinalNotice: ago(2 * time.Hour), CutAt: &cutAt, Supply: "on"}
	cut := wallet{Arrears: "handed_over", Supply: "off", SupplySince: *ago(30 * time.Hour), FirstMessage: ago(100 * time.Hour), FinalNotice: ago(99 * time.Hour)}
	fine := wallet{Supply: "on"}
	for _, x := range []struct {
		habit             Habit
		fine, final, cut_ bool
	}{
		{HabitAmple, false, true, true},
		{HabitPrompt, false, true, true},
		{HabitFinal, false, false, true},
		{HabitAfterCut, false, false, true},
		{HabitJustBefore, false, true, true},
		{HabitJustAfter, false, false, true},
		{HabitNever, false, false, false},
		{HabitProtected, false, false, false},
	} {
		p := Premise{Account: "A1000001", Habit: x.habit}
		require.Equal(t, x.fine, p.wantsToPay(fine, at(9, 9, 30)), "%s, nothing is low", x.habit)
		require.Equal(t, x.final, p.wantsToPay(final, at(9, 9, 30)), "%s, on the morning of the cut", x.habit)
		require.Equal(t, x.cut_, p.wantsToPay(cut, at(9, 9, 30)), "%s, cut", x.habit)
	}
	justBefore := Premise{Account: "A1000001", Habit: HabitJustBefore}
	require.False(t, justBefore.wantsToPay(final, at(8, 9, 30)), "not the day before")
}

func TestPayment_coversDebtAndWeeks(t *testing.T) {
	u, err := New(1)
	require.NoError(t, err)
	for i := range u.Premises {
		p := &u.Premises[i]
		pay := p.payment(wallet{Account: p.Account, Balance: -12_34, Rejected: 1})
		require.Greater(t, pay.Amount, 12_34+14*p.dailyCost())
		require.Zero(t, pay.Amount%(10*billing.Yuan))
		require.False(t, pay.wrong(), "nobody mistypes twice")
		again := p.payment(wallet{Account: p.Account, Paid: 1})
		require.NotEqual(t, pay.Key, again.Key)
		require.NotEqual(t, pay.Evidence, again.Evidence)
	}
}

func TestOtherClerk(t *testing.T) {
	require.Equal(t, billing.UserID("clerk2"), otherClerk("clerk1"))
	require.Equal(t, billing.UserID("clerk3"), otherClerk("clerk1", "clerk2"))
	require.Equal(t, billing.UserID("clerk1"), otherClerk("clerk4"))
}

// fakeOffice stands for the API: it knows sessions, remembers what was done by whom, and refuses what it is told to.
type fakeOffice struct {
	*httptest.Server
	mu     sync.Mutex
	did    []string // "<user> <path> <body>"
	refuse func(user, path string) bool
}

func newFakeOffice(t *testing.T) *fakeOffice {
	f := &fakeOffice{refuse: func(string, string) bool { return false }}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeOffice) serve(w http.ResponseWriter, r *http.Request) {
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body)
	if r.URL.Path == "/api/v1/session" {
		if body["password"] != Password {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: body["user"].(string), Path: "/"})
		return
	}
	cookie, err := r.Cookie("session")
	if err != nil {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	if f.refuse(cookie.Value, r.URL.Path) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"code": "self_approval", "detail": "another clerk must"}`))
		return
	}
	text, _ := json.Marshal(body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did = append(f.did, cookie.Value+" "+r.URL.Path+" "+string(text))
	_, _ = w.Write([]byte(`{"id": "R1"}`))
}

func TestOffice_refusal(t *testing.T) {
	f := newFakeOffice(t)
	f.refuse = func(user, _ string) bool { return user == "clerk1" }
	c := &Crew{office: newOffice(f.URL)}
	err := c.approve(context.Background(), "clerk1", "R20260902-0001")
	var r *refusal
	require.ErrorAs(t, err, &r)
	require.Equal(t, &refusal{http.StatusForbidden, "self_approval", "another clerk must"}, r)
	require.NoError(t, c.approve(context.Background(), "clerk2", "R20260902-0001"))
	require.Equal(t, []string{"clerk2 /api/v1/recharges/R20260902-0001/approve {}"}, f.did)
	require.Equal(t, map[string]int{"self_approval": 1}, c.Refusals())
}

func TestOffice_signsInAgain(t *testing.T) {
	f := newFakeOffice(t)
	o := newOffice(f.URL)
	o.people["clerk1"] = &http.Client{} // a session that the server has forgotten
	require.NoError(t, o.post(context.Background(), "clerk1", "/api/v1/recharges", map[string]string{}, nil))
}

func TestMustRefuse(t *testing.T) {
	c := &Crew{}
	require.NoError(t, c.mustRefuse(&refusal{status: 403}, "x"))
	require.ErrorContains(t, c.mustRefuse(nil, "an approval by the maker"), "an approval by the maker")
	other := errors.New("other")
	require.ErrorIs(t, c.mustRefuse(other, "x"), other)
}

// crewOnSeed is a crew with a fleet and a seeded database, at the office of a fake API.
func crewOnSeed(t *testing.T) (*Crew, *store.Store, *fakeOffice) {
	s, _ := seeded(t)
	spec, err := Fleet(1)
	require.NoError(t, err)
	fleet, err := simulator.NewFleet(spec, filepath.Join(t.TempDir(), "meters"), Start)
	require.NoError(t, err)
	t.Cleanup(func() { _ = fleet.Close() })
	f := newFakeOffice(t)
	c, err := NewCrew(CrewConfig{Seed: 1, Store: s, Fleet: fleet, URL: f.URL, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	require.NoError(t, err)
	return c, s, f
}

func TestAct_atNightOnlyTheFieldFails(t *testing.T) {
	ctx := context.Background()
	c, _, f := crewOnSeed(t)
	did, err := c.Act(ctx, at(0, 0, 5))
	require.NoError(t, err)
	require.Zero(t, did)
	require.Empty(t, f.did)
	injected := 0
	for _, n := range c.fleet.Faults().Injected {
		injected += n
	}
	require.Equal(t, len(c.incidents), injected)

	again, err := NewCrew(CrewConfig{Seed: 1, Store: c.store, Fleet: c.fleet, URL: f.URL, Log: c.log})
	require.NoError(t, err)
	_, err = again.Act(ctx, at(0, 0, 5))
	require.NoError(t, err)
	require.Equal(t, c.fleet.Faults(), again.fleet.Faults(), "a restart injects nothing twice")
}

func TestAct_regularCustomersPay(t *testing.T) {
	ctx := context.Background()
	c, _, f := crewOnSeed(t)
	f.refuse = func(user, path string) bool { return user == "admin1" && strings.HasSuffix(path, "/price-ceilings") }
	did, err := c.Act(ctx, at(10, 9, 30))
	require.NoError(t, err)
	require.Positive(t, did)
	require.Contains(t, f.did[0], "/api/v1/recharges")

	require.NoError(t, GiveGrace(ctx, c.store, 3600))
	require.NoError(t, GiveGrace(ctx, c.store, 0), "what was set stays")
	f.did = nil
	c.seen = map[string]time.Time{}
	did, err = c.Act(ctx, at(10, 10, 30))
	require.NoError(t, err)
	require.Zero(t, did, "work is left alone for the grace time")
	require.Empty(t, f.did)

	require.NoError(t, c.store.SetSetting(ctx, store.By{Actor: "manager1"}, ColleaguesSetting, Colleagues{On: false}))
	did, err = c.Act(ctx, at(10, 11, 30))
	require.NoError(t, err)
	require.Zero(t, did, "switched off")
}

func TestAct_leavesRefusedWorkForAWhile(t *testing.T) {
	ctx := context.Background()
	c, _, f := crewOnSeed(t)
	var asked int // for recharges: other colleagues go on with their next matter
	f.refuse = func(_, path string) bool {
		if path == "/api/v1/recharges" {
			asked++
		}
		return true
	}
	did, err := c.Act(ctx, at(10, 9, 30))
	require.NoError(t, err)
	require.Zero(t, did, "a refusal is no deed, or the clock would never move on")
	first := asked
	require.Positive(t, first)
	require.GreaterOrEqual(t, c.Refusals()["self_approval"], first)
	_, err = c.Act(ctx, at(10, 9, 30))
	require.NoError(t, err)
	require.Equal(t, first, asked, "nobody asks again at once")
	_, err = c.Act(ctx, at(10, 10, 30))
	require.NoError(t, err)
	require.Greater(t, asked, first)
}

func TestAct_daysOff(t *testing.T) {
	c, _, _ := crewOnSeed(t)
	for _, x := range []struct {
		now  time.Time
		open bool
	}{
		{at(0, 8, 30), true}, {at(0, 17, 30), true}, {at(0, 18, 30), false}, {at(0, 7, 30), false},
		{at(11, 9, 30), false}, {at(11, 11, 30), true}, // a Saturday
		{at(19, 9, 30), true},                          // a Sunday that is worked
		{at(30, 9, 30), false}, {at(30, 12, 30), true}, // National Day
	} {
		open, err := c.atWork(context.Background(), x.now)
		require.NoError(t, err)
		require.Equal(t, x.open, open, x.now)
	}
}

func TestWeigh(t *testing.T) {
	ctx := context.Background()
	c, _, _ := crewOnSeed(t)
	dead := at(0, 0, 0)
	var deadMeter billing.MeterID
	for _, i := range c.incidents {
		if i.Name == "meter-dead" {
			deadMeter = c.utility.at(i.Account).Meter
			dead = i.Fault.From
		}
	}
	water := c.utility.Premises[20]
	require.Equal(t, billing.Water, water.Service)
	opening := water.Spec.OpeningRegisters[0]
	for _, x := range []struct {
		name  string
		k     openCase
		tries int
		day   time.Time
		want  string
	}{
		{"silent gateway, first", openCase{Kind: "gateway_silent"}, 0, at(11, 8, 30), "reread"},
		{"silent gateway, then", openCase{Kind: "gateway_silent"}, 1, at(11, 9, 30), "estimate"},
		{"water, first", openCase{Kind: "missing", Members: []billing.MeterID{water.Meter}}, 0, at(4, 8, 30), "reread"},
		{"water, then", openCase{Kind: "missing", Members: []billing.MeterID{water.Meter}}, 1, at(4, 9, 30), "manual"},
		{"dead, second day", openCase{Kind: "missing", Members: []billing.MeterID{deadMeter}}, 1, dead.Add(9 * time.Hour), "estimate"},
		{"dead, third day", openCase{Kind: "missing", Members: []billing.MeterID{deadMeter}}, 0, dead.Add(57 * time.Hour), "exchange"},
		{"too high, the display says less", openCase{Kind: "too_high", Members: []billing.MeterID{water.Meter}, Doubtful: []int64{opening + 1}}, 1, at(9, 9, 30), "estimate"},
		{"too high, the display agrees", openCase{Kind: "too_high", Members: []billing.MeterID{water.Meter}, Doubtful: []int64{opening}}, 1, at(9, 9, 30), "accept"},
		{"credit in doubt", openCase{Kind: "credit_in_doubt", Account: "A2000001", Intended: 1}, 1, at(9, 9, 30), "settle_not_credited"},
		{"credit in doubt, nothing left", openCase{Kind: "credit_in_doubt", Account: "A2000001"}, 1, at(9, 9, 30), "settle_not_credited"},
		{"credit in doubt, that was refused", openCase{Kind: "credit_in_doubt", Account: "A2000001"}, 2, at(9, 9, 30), "settle_credited"},
		{"supply unknown", openCase{Kind: "supply_unknown", Account: "A2000001"}, 0, at(9, 9, 30), "reread"},
		{"supply unknown, looked at", openCase{Kind: "supply_unknown", Account: "A2000001"}, 2, at(9, 9, 30), "confirm_on"},
		{"relay mismatch", openCase{Kind: "relay_mismatch"}, 0, at(9, 9, 30), "accept"},
	} {
		d, err := c.weigh(ctx, x.k, x.tries, x.day)
		require.NoError(t, err, x.name)
		if x.name != "dead, second day" { // estimated or read by hand, as its number has it
			require.Equal(t, x.want, d.What, x.name)
		}
		require.NotEmpty(t, d.Reason, x.name)
	}
}

func TestHangNewMeters(t *testing.T) {
	ctx := context.Background()
	c, s, _ := crewOnSeed(t)
	p := c.utility.Premises[0]
	id, serial := successor(&p)
	_, err := s.Pool.Exec(ctx, `UPDATE fittings SET to_at = from_at + interval '1 day', closing = opening WHERE meter_id = $1`, p.Meter)
	require.NoError(t, err)
	require.NoError(t, s.FitMeter(ctx, store.By{Actor: "supervisor1"}, store.NewFitting{
		Meter:        store.Meter{ID: id, Site: p.Site, Gateway: p.Gateway, Unit: 99, Serial: serial, Profile: p.Spec.Profile, Service: p.Service, Digits: 8, Ratio: 1, CapacityPerHour: 1},
		ServicePoint: p.ServicePoint, At: at(1, 0, 0), Opening: make(billing.Registers, 6),
	}))
	for range 2 {
		require.NoError(t, c.hangNewMeters(ctx))
		state, err := c.fleet.MeterState(serial)
		require.NoError(t, err)
		require.Equal(t, p.Spec.Unit, state.Unit)
		require.Zero(t, state.Registers[0])
	}
	_, err = c.fleet.MeterState(p.Spec.Serial)
	require.Error(t, err, "the old one is gone")
}

func TestTrySlips_onceAWeekAndAllRefused(t *testing.T) {
	ctx := context.Background()
	c, _, f := crewOnSeed(t)
	_, err := c.trySlips(ctx, at(9, 9, 30))
	require.ErrorContains(t, err, "must refuse", "a hole in the software ends the demo")
	f.refuse = func(string, string) bool { return true }
	_, err = c.trySlips(ctx, at(16, 9, 30))
	require.NoError(t, err)
	asked := c.Refusals()["self_approval"]
	require.Equal(t, 5, asked)
	_, err = c.trySlips(ctx, at(16, 10, 30))
	require.NoError(t, err)
	require.Equal(t, asked, c.Refusals()["self_approval"])
}

// A refund is paid out by three persons, and a protection ended by three: the colleagues try it with fewer, and it must be refused.
func TestAct_threePersons(t *testing.T) {
	ctx := context.Background()
	c, s, f := crewOnSeed(t)
	_, err := s.Pool.Exec(ctx, `INSERT INTO holds (id, site_id, account_id, amount_fen, purpose, subject, state, idempotency_key, request_hash, placed_by, placed_at, expires_at)
		SELECT h.id, a.site_id, a.id, 1, 'refund', h.id, 'open', h.id, '\x', 'clerk1', $2, $3 FROM (SELECT * FROM accounts WHERE site_id = $1 AND credit_mode = 'platform' ORDER BY id LIMIT 1) a, (VALUES ('H1'), ('H2')) h (id)`,
		Garden, at(3, 9, 0), at(6, 9, 0))
	require.NoError(t, err)
	_, err = s.Pool.Exec(ctx, `UPDATE holds SET approved_by = 'manager1', approved_at = $1 WHERE id = 'H2'`, at(3, 10, 0)) // by somebody who tries the demo
	require.NoError(t, err)
	approved, asked := false, 0
	f.refuse = func(user, path string) bool {
		switch path {
		case "/api/v1/holds/H1/approve":
			approved = true
		case "/api/v1/holds/H1/post":
			return user != "manager1" || !approved
		case "/api/v1/holds/H2/post":
			return user != "supervisor1"
		}
		if strings.HasPrefix(path, "/api/v1/protections/") {
			asked++
			return asked == 1
		}
		return false
	}
	did, err := c.settleRefunds(ctx, at(4, 9, 0))
	require.NoError(t, err)
	require.Equal(t, 3, did)
	require.Len(t, f.did, 3)
	for i, want := range []string{"supervisor1 /api/v1/holds/H1/approve ", "manager1 /api/v1/holds/H1/post ", "supervisor1 /api/v1/holds/H2/post "} {
		require.Contains(t, f.did[i], want)
	}
	f.did = nil
	did, err = c.endProtection(ctx, at(protectionEnds, 9, 0))
	require.NoError(t, err)
	require.Equal(t, 1, did)
	require.Contains(t, f.did[0], `"second_user":"supervisor1"`)
	require.Contains(t, f.did[0], `"third_user":"supervisor2"`)
}

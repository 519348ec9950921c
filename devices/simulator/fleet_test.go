package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// ticker is a business clock that the test sets.
type ticker struct{ at time.Time }

func (c *ticker) now() time.Time { return c.at }

func ids(t require.TestingT, water bool) []string {
	all, err := SeriesIDs(water)
	require.NoError(t, err)
	return all
}

func oneMeter(t require.TestingT, change func(*MeterSpec)) FleetSpec {
	m := MeterSpec{
		Unit: 1, Serial: "000000000001", Profile: "sim-ddsy1352", LoadProfile: ids(t, false)[0], CreditMode: true,
		RemainingFen: 3000, PricesE8: [5]int64{101_234_567, 81_234_567, 61_234_567, 41_234_567, 21_234_567},
		BandTable: []BandSpan{
			{From: 0, To: 6 * 60, Band: BandDeepValley}, {From: 6 * 60, To: 8 * 60, Band: BandValley},
			{From: 10 * 60, To: 12 * 60, Band: BandSharp, Months: []int{3}}, {From: 18 * 60, To: 22 * 60, Band: BandPeak},
		},
	}
	if change != nil {
		change(&m)
	}
	return FleetSpec{Gateways: []GatewaySpec{{ID: "g1", Meters: []MeterSpec{m}}}}
}

func open(t require.TestingT, spec FleetSpec, dir string, c *ticker) *Fleet {
	f, err := NewFleet(spec, dir, c.now)
	require.NoError(t, err)
	return f
}

func state(t require.TestingT, f *Fleet, serial string) State {
	s, err := f.MeterState(serial)
	require.NoError(t, err)
	return s
}

// However often a meter is asked on the way, and however often its process is killed, it stands at the same place at the
// same instant, to the last mWh and the last part of a fen.
func TestStateDoesNotDependOnTheWay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		scale := rapid.Int64Range(1, 3000).Draw(t, "scale")
		spec := oneMeter(t, func(m *MeterSpec) { m.ScalePermille = scale })
		steps := rapid.SliceOfN(rapid.IntRange(1, 200_000), 1, 12).Draw(t, "steps")
		kills := rapid.SliceOfN(rapid.Bool(), len(steps), len(steps)).Draw(t, "kills")
		dir, err := os.MkdirTemp("", "simulator")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		c := &ticker{at: epoch}
		stepped := open(t, spec, filepath.Join(dir, "a"), c)
		direct := open(t, spec, filepath.Join(dir, "b"), c)
		for i, seconds := range steps {
			c.at = c.at.Add(time.Duration(seconds) * time.Second)
			state(t, stepped, "000000000001")
			if kills[i] { // nothing is written on the way out
				require.NoError(t, stepped.Close())
				stepped = open(t, spec, filepath.Join(dir, "a"), c)
			}
		}
		want := state(t, direct, "000000000001")
		got := state(t, stepped, "000000000001")
		require.True(t, want.At.Equal(got.At))
		want.At, got.At = time.Time{}, time.Time{}
		require.Equal(t, want, got)
		require.NoError(t, stepped.Close())
		require.NoError(t, direct.Close())
	})
}

// A clock that gains is right after it was set, and gains again from there on; a restart doesn't change that.
func TestClockGains(t *testing.T) {
	t.Parallel()
	c := &ticker{at: epoch}
	dir, spec := t.TempDir(), oneMeter(t, func(m *MeterSpec) { m.ClockGains, m.ClockOffset = 40, 5 })
	f := open(t, spec, dir, c)
	ahead := func() time.Duration {
		m, err := f.find("000000000001")
		require.NoError(t, err)
		s := state(t, f, "000000000001")
		return m.wall(&change{state: s}).Sub(c.at)
	}
	c.at = epoch.Add(3 * 24 * time.Hour)
	require.Equal(t, 125*time.Second, ahead())
	m, err := f.find("000000000001")
	require.NoError(t, err)
	set := &change{state: state(t, f, "000000000001"), real: c.at}
	now := c.at.In(m.location)
	require.True(t, m.setClock(set, []byte{byte(now.Second()), byte(now.Minute()), byte(now.Hour()), 1, byte(now.Day()), byte(now.Month()), byte(now.Year() - 2000)}))
	require.NoError(t, m.commit(set))
	require.Zero(t, ahead())
	require.NoError(t, f.Close())
	f = open(t, spec, dir, c)
	defer f.Close()
	c.at = c.at.Add(24 * time.Hour)
	require.Equal(t, 40*time.Second, ahead())
}

// The total is the sum of the bands, and the money is the registers times the prices, with nothing lost.
func TestEnergyAndMoneyAgree(t *testing.T) {
	t.Parallel()
	c := &ticker{at: epoch}
	spec := oneMeter(t, func(m *MeterSpec) { m.RemainingFen, m.Ratio, m.ScalePermille = 10_000_000, 5, 40_000 })
	f := open(t, spec, t.TempDir(), c)
	defer f.Close()
	c.at = epoch.Add(20 * 24 * time.Hour)
	s := state(t, f, "000000000001")
	var bands, money int64
	for band := BandSharp; band <= BandDeepValley; band++ {
		require.Greater(t, s.Registers[band], int64(0), "band %d", band)
		bands += s.Registers[band]
		money += s.Registers[band] * 5 * spec.Gateways[0].Meters[0].PricesE8[band-1]
	}
	require.Equal(t, s.Registers[0], bands)
	require.Equal(t, money, (10_000_000-s.RemainingFen)*1e8+s.MoneyRemainder)
}

func TestMeterTripsAtItsLimit(t *testing.T) {
	t.Parallel()
	c := &ticker{at: epoch}
	dir := t.TempDir()
	f := open(t, oneMeter(t, func(m *MeterSpec) { m.RemainingFen, m.OverdraftFen = 10, 300 }), dir, c)
	defer f.Close()
	for s := state(t, f, "000000000001"); s.RelayOn; s = state(t, f, "000000000001") {
		require.Greater(t, s.RemainingFen, int64(-400))
		c.at = c.at.Add(7 * time.Minute)
	}
	s := state(t, f, "000000000001")
	require.LessOrEqual(t, s.RemainingFen, int64(-300))
	require.True(t, s.SelfTripped)
	entries, err := ReadRecord(dir)
	require.NoError(t, err)
	last := entries[len(entries)-1]
	require.Equal(t, EntrySelfTrip, last.Kind)
	require.Zero(t, last.Business.Unix()%secondsPerSlot, "it looks at its credit at the end of a half hour")
}

// A purchase is accepted only with the next count; everything else leaves count and balance as they were.
func TestPurchaseCount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "simulator")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		f := open(t, oneMeter(t, nil), dir, &ticker{at: epoch})
		defer f.Close()
		m, err := f.find("000000000001")
		require.NoError(t, err)
		count, balance := int64(0), int64(3000)
		for range rapid.IntRange(1, 20).Draw(t, "purchases") {
			offered := rapid.Int64Range(0, count+3).Draw(t, "count")
			amount := rapid.Int64Range(0, 5000).Draw(t, "amount")
			pdu := []byte{
				0x20, 0x01, 0x00, 0, 4, 8, 0, 0, byte(amount >> 8), byte(amount), byte(offered >> 8), byte(offered), 0, 0,
			}
			reply := m.serve(pdu, epoch)
			if offered == count+1 && amount > 0 {
				count, balance = offered, balance+amount
				require.Len(t, reply, 12)
			} else {
				require.Equal(t, []byte{0xA0, exValue}, reply)
			}
			s := state(t, f, "000000000001")
			require.Equal(t, count, s.PurchaseCount)
			require.Equal(t, balance, s.RemainingFen)
		}
		entries, err := ReadRecord(dir)
		require.NoError(t, err)
		require.Len(t, Purchases(entries, "000000000001"), int(count))
	})
}

func TestTornLastLineIsCutOff(t *testing.T) {
	t.Parallel()
	c, dir := &ticker{at: epoch}, t.TempDir()
	f := open(t, oneMeter(t, nil), dir, c)
	require.NoError(t, f.Close())
	file, err := os.OpenFile(filepath.Join(dir, recordFile), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.WriteString(`{"kind":"purchase","serial":"0000000`)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	f = open(t, oneMeter(t, nil), dir, c)
	require.NoError(t, f.checkpoint())
	require.NoError(t, f.Close())
	entries, err := ReadRecord(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2)

	path := filepath.Join(dir, recordFile)
	require.NoError(t, os.WriteFile(path, []byte("nonsense\n"), 0o600))
	_, err = NewFleet(oneMeter(t, nil), dir, c.now)
	require.ErrorContains(t, err, "line 1 is damaged")
}

func TestFaultsSurviveARestart(t *testing.T) {
	t.Parallel()
	c, dir := &ticker{at: epoch}, t.TempDir()
	f := open(t, oneMeter(t, nil), dir, c)
	_, err := f.Inject(Fault{Kind: FaultStuckRelay, Serial: "000000000001"})
	require.NoError(t, err)
	gone, err := f.Inject(Fault{Kind: FaultSilent, Unit: 1})
	require.NoError(t, err)
	cleared, err := f.Clear(Fault{ID: gone})
	require.NoError(t, err)
	require.Equal(t, 1, cleared)
	_, err = f.Inject(Fault{Kind: "gremlin"})
	require.ErrorContains(t, err, "unknown")
	require.NoError(t, f.Close())

	f = open(t, oneMeter(t, nil), dir, c)
	defer f.Close()
	require.Len(t, f.faults.active[struck{kind: FaultStuckRelay}], 1)
	require.Empty(t, f.faults.active[struck{kind: FaultSilent}])
	require.Equal(t, 2, f.Faults().Injected[FaultStuckRelay]+f.Faults().Injected[FaultSilent])
	m, err := f.find("000000000001")
	require.NoError(t, err)
	m.serve([]byte{0x10, 0, 0x57, 0, 2, 4, 0, 1, 0, 1}, epoch)
	s := state(t, f, "000000000001")
	require.True(t, s.RelayOn, "stuck")
	require.Equal(t, forcedOff, s.Forced)
	require.Equal(t, 1, f.Faults().Hit[FaultStuckRelay])
	cleared, err = f.Clear(Fault{Serial: "000000000001"})
	require.NoError(t, err)
	require.Equal(t, 1, cleared)
}

func TestExchangeSurvivesARestart(t *testing.T) {
	t.Parallel()
	c, dir := &ticker{at: epoch}, t.TempDir()
	spec := oneMeter(t, nil)
	f := open(t, spec, dir, c)
	c.at = c.at.Add(24 * time.Hour)
	fresh := spec.Gateways[0].Meters[0]
	fresh.Serial = "000000000009"
	require.NoError(t, f.ExchangeMeter("g1", 1, fresh))
	require.Error(t, f.ExchangeMeter("g1", 1, fresh), "it is there already")
	require.Error(t, f.ExchangeMeter("g9", 1, fresh))
	require.Zero(t, state(t, f, "000000000009").Registers[0])
	c.at = c.at.Add(24 * time.Hour)
	used := state(t, f, "000000000009").Registers
	_, err := f.MeterState("000000000001")
	require.Error(t, err)
	require.NoError(t, f.Close())
	f = open(t, spec, dir, c)
	defer f.Close()
	require.Equal(t, used, state(t, f, "000000000009").Registers)
	_, err = f.MeterState("000000000001")
	require.Error(t, err)
}

func TestRelayAt(t *testing.T) {
	t.Parallel()
	at := func(second int) time.Time { return epoch.Add(time.Duration(second) * time.Second) }
	entry := func(second int, kind string, s State) RecordEntry {
		return RecordEntry{Real: at(second), Kind: kind, Serial: "a", State: &s}
	}
	entries := []RecordEntry{
		entry(10, EntryOpened, State{RelayOn: true}),
		entry(20, EntryTrip, State{RelayOn: false, MovesUntil: at(25)}),
		entry(30, EntryRelease, State{Abnormal: true}),
		{Real: at(35), Kind: EntryFault, Serial: "a"},
	}
	for second, want := range map[int]SupplyState{
		10: SupplyOn, 19: SupplyOn, 20: SupplyMoving, 24: SupplyMoving, 25: SupplyOff, 29: SupplyOff, 99: SupplyFault,
	} {
		got, known := RelayAt(entries, "a", at(second))
		require.True(t, known)
		require.Equal(t, want, got, "second %d", second)
	}
	_, known := RelayAt(entries, "a", at(9))
	require.False(t, known)
	_, known = RelayAt(entries, "b", at(50))
	require.False(t, known)
}

func TestGlitchesAreReplayedOnRequest(t *testing.T) {
	t.Parallel()
	var id string
	var first glitch
	for _, candidate := range ids(t, true) {
		if s, err := findSeries(true, candidate); err == nil && len(s.glitches) > 0 && s.glitches[0].to > s.glitches[0].from {
			id, first = candidate, s.glitches[0]
			break
		}
	}
	c := &ticker{at: epoch}
	f := open(t, oneMeter(t, func(m *MeterSpec) {
		m.Profile, m.LoadProfile, m.CreditMode, m.ReplayGlitches = "sim-valve-water", id, false, true
		m.OpeningRegisters = []int64{1_000_000}
	}), t.TempDir(), c)
	defer f.Close()
	m, err := f.find("000000000001")
	require.NoError(t, err)
	wait := first.from - m.seriesSecond(localSeconds(epoch, m.location))
	c.at = epoch.Add(time.Duration(floorMod(wait, int64(m.load.days())*secondsPerDay)) * time.Second)
	truth := state(t, f, "000000000001").Registers[0]
	shown := m.shownRegisters(&change{state: m.state.clone()}, true)
	require.Equal(t, first.offset, shown[0]-truth)
}

func TestSpecsAreValidated(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(*MeterSpec){
		"12 digits":                   func(m *MeterSpec) { m.Serial = "12" },
		"1 to 247":                    func(m *MeterSpec) { m.Unit = 0 },
		"must be one of sim-ddsy1352": func(m *MeterSpec) { m.Profile = "acrel" },
		"no load series":              func(m *MeterSpec) { m.LoadProfile = "x" },
		"takes 6":                     func(m *MeterSpec) { m.OpeningRegisters = []int64{1} },
		"does not fit 8 digits":       func(m *MeterSpec) { m.OpeningRegisters = []int64{1e8, 0, 0, 0, 0, 0} },
		"must be half hours":          func(m *MeterSpec) { m.BandTable = []BandSpan{{From: 5, To: 60, Band: 1}} },
		"must be 1 (sharp)":           func(m *MeterSpec) { m.BandTable = []BandSpan{{From: 0, To: 60}} },
		"holds no credit":             func(m *MeterSpec) { m.Profile, m.LoadProfile = "sim-valve-water", ids(t, true)[0] },
		"ratio":                       func(m *MeterSpec) { m.Ratio = -1 },
		"register_digits":             func(m *MeterSpec) { m.RegisterDigits = 12 },
		"scale_permille":              func(m *MeterSpec) { m.ScalePermille = -5 },
	} {
		_, err := NewFleet(oneMeter(t, spoil), t.TempDir(), (&ticker{at: epoch}).now)
		require.ErrorContains(t, err, want)
	}
	_, err := NewFleet(FleetSpec{}, t.TempDir(), time.Now)
	require.ErrorContains(t, err, "no gateway")
	twice := oneMeter(t, nil)
	twice.Gateways[0].Meters = append(twice.Gateways[0].Meters, twice.Gateways[0].Meters[0])
	_, err = NewFleet(twice, t.TempDir(), time.Now)
	require.ErrorContains(t, err, "taken twice")
	taken := oneMeter(t, nil)
	taken.Gateways[0].Listen = "127.0.0.1:nowhere"
	_, err = NewFleet(taken, t.TempDir(), time.Now)
	require.ErrorContains(t, err, "choose a free port")
}

func TestControl(t *testing.T) {
	t.Parallel()
	c := &ticker{at: epoch}
	spec := oneMeter(t, nil)
	f := open(t, spec, t.TempDir(), c)
	defer f.Close()
	server := httptest.NewServer(f.Control())
	defer server.Close()
	call := func(method, path string, body any, status int) string {
		t.Helper()
		data, err := json.Marshal(body)
		require.NoError(t, err)
		request, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, bytes.NewReader(data))
		require.NoError(t, err)
		response, err := server.Client().Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		var text bytes.Buffer
		_, err = text.ReadFrom(response.Body)
		require.NoError(t, err)
		require.Equal(t, status, response.StatusCode, text.String())
		return text.String()
	}
	require.JSONEq(t, `{"id":"f1"}`, call("POST", "/faults", Fault{Kind: FaultSilent, Unit: 1}, 200))
	call("POST", "/faults", map[string]string{"colour": "red"}, 400)
	call("POST", "/faults", Fault{Kind: "gremlin"}, 400)
	require.Contains(t, call("GET", "/faults", nil, 200), `"silent":1`)
	require.JSONEq(t, `{"cleared":1}`, call("DELETE", "/faults", Fault{ID: "f1"}, 200))
	require.Contains(t, call("GET", "/meters/000000000001", nil, 200), `"relay_on":true`)
	call("GET", "/meters/1", nil, 404)
	fresh := spec.Gateways[0].Meters[0]
	fresh.Serial = "000000000009"
	call("POST", "/exchange", Exchange{Gateway: "g1", Unit: 1, Meter: fresh}, 204)
	call("POST", "/exchange", Exchange{Gateway: "g1", Unit: 1, Meter: fresh}, 400)
	require.Contains(t, call("GET", "/gateways", nil, 200), f.Addr("g1"))
	require.Equal(t, 5, strings.Count(call("GET", "/record", nil, 200), "\n"))
	require.Empty(t, f.Addr("g9"))
}

func TestServeTwiceIsRefused(t *testing.T) {
	t.Parallel()
	f := open(t, oneMeter(t, nil), t.TempDir(), &ticker{at: epoch})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, f.Serve(ctx))
	require.ErrorContains(t, f.Serve(ctx), "already")
}

// A DL/T 645 meter knows no time but its own: until when an order holds is held against its clock, however wrong that is.
func TestOrdersExpireByTheMetersClock(t *testing.T) {
	t.Parallel()
	c := &ticker{at: epoch}
	order := func(until time.Time) []byte {
		data := append([]byte{0x02, 0x56, 0x34, 0x12, 0, 0, 0, 0, 0x1A, 0}, lowFirst("%s", until.In(time.FixedZone("CST", 8*3600)).Format("060102150405"))...)
		return data
	}
	for name, test := range map[string]struct {
		offset  int64
		until   time.Duration // by the true time
		refusal byte
		forced  string
	}{
		"in time by a slow clock":                      {-600, -8 * time.Minute, 0, forcedOff},
		"too late by a slow clock":                     {-600, -11 * time.Minute, refuseOther, forcedNone},
		"by the true time, which a fast clock is past": {600, 2 * time.Minute, refuseOther, forcedNone},
		"in time by a fast clock":                      {600, 12 * time.Minute, 0, forcedOff},
	} {
		spec := oneMeter(t, func(m *MeterSpec) { m.Profile, m.CreditMode, m.ClockOffset = "sim-dlt645", false, test.offset })
		spec.Gateways[0].Link = "transparent"
		f := open(t, spec, t.TempDir(), c)
		m, err := f.find("000000000001")
		require.NoError(t, err)
		_, refusal := m.serve645(0x1C, order(c.at.Add(test.until)), c.at)
		require.Equal(t, test.refusal, refusal, name)
		require.Equal(t, test.forced, state(t, f, "000000000001").Forced, name)
		require.NoError(t, f.Close())
	}
}

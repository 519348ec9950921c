package devices_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
)

var update = flag.Bool("update", false, "rewrite docs/fault-matrix.md from what happens; the rules that no cell may break stay")

// matrixFile holds the expected end state of every fault, operation and link, for people and for the test.
const matrixFile = "../docs/fault-matrix.md"

// The links of the matrix: how bytes travel and what the meters speak.
var matrixLinks = []struct {
	name, key string
	link      string
	power     string // profile of the electricity meter
	water     string
}{
	{"Modbus TCP", "tcp", "modbus_tcp", "sim-ddsy1352", "sim-valve-water"},
	{"RTU over TCP", "rtu", "transparent", "sim-ddsy1352", "sim-valve-water"},
	{"RTU, dialled in", "dial-in", "dial_in", "sim-ddsy1352", "sim-valve-water"},
	{"DL/T 645 and CJ/T 188", "own", "transparent", "sim-dlt645", "sim-cjt188"},
	{"DL/T 645 and CJ/T 188, dialled in", "own-dial-in", "dial_in", "sim-dlt645", "sim-cjt188"},
}

// matrixFaults are what goes wrong, each with the request that it strikes.
var matrixFaults = []matrixFault{
	{name: "none"},
	{name: "silent, once, at the read", fault: simulator.Fault{Kind: simulator.FaultSilent, On: "read", Times: 1}},
	{name: "silent, once, at the write", fault: simulator.Fault{Kind: simulator.FaultSilent, On: "write", Times: 1}},
	{name: "silent from the start", fault: simulator.Fault{Kind: simulator.FaultSilent}},
	{name: "silent once the command is out", fault: simulator.Fault{Kind: simulator.FaultSilent}, after: true},
	{name: "no word from the gateway, once, at the read", fault: simulator.Fault{Kind: simulator.FaultMute, On: "read", Times: 1}},
	{name: "no word from the gateway, once, at the write", fault: simulator.Fault{Kind: simulator.FaultMute, On: "write", Times: 1}},
	{name: "answer after the time-out, once, at the read", fault: simulator.Fault{Kind: simulator.FaultSlow, On: "read", Times: 1, DelayMillis: matrixLate}},
	{name: "answer after the time-out, once, at the write", fault: simulator.Fault{Kind: simulator.FaultSlow, On: "write", Times: 1, DelayMillis: matrixLate}},
	{name: "answer to the write lost", fault: simulator.Fault{Kind: simulator.FaultLostReply, Times: 1}},
	{name: "write repeated by the gateway", fault: simulator.Fault{Kind: simulator.FaultRepeatWrite, Times: 1}},
	{name: "answer of another unit, once, at the read", fault: simulator.Fault{Kind: simulator.FaultWrongUnit, On: "read", Times: 1}},
	{name: "answer of another unit, once, at the write", fault: simulator.Fault{Kind: simulator.FaultWrongUnit, On: "write", Times: 1}},
	{name: "link dropped, once, at the read", fault: simulator.Fault{Kind: simulator.FaultDropLink, On: "read", Times: 1}},
	{name: "link dropped, once, at the write", fault: simulator.Fault{Kind: simulator.FaultDropLink, On: "write", Times: 1}},
	{name: "wrong checksum, once, at the read", fault: simulator.Fault{Kind: simulator.FaultBadSum, On: "read", Times: 1}},
	{name: "wrong checksum, once, at the write", fault: simulator.Fault{Kind: simulator.FaultBadSum, On: "write", Times: 1}},
	{name: "answer broken off, once, at the read", fault: simulator.Fault{Kind: simulator.FaultShort, On: "read", Times: 1}},
	{name: "answer broken off, once, at the write", fault: simulator.Fault{Kind: simulator.FaultShort, On: "write", Times: 1}},
	{name: "bytes behind the answer, once, at the read", fault: simulator.Fault{Kind: simulator.FaultLong, On: "read", Times: 1}},
	{name: "bytes behind the answer, once, at the write", fault: simulator.Fault{Kind: simulator.FaultLong, On: "write", Times: 1}},
	{name: "answer too long in a sound frame, once, at the read", fault: simulator.Fault{Kind: simulator.FaultOverlong, On: "read", Times: 1}},
	{name: "answer too long in a sound frame, once, at the write", fault: simulator.Fault{Kind: simulator.FaultOverlong, On: "write", Times: 1}},
	{name: "gateway takes the connection and says nothing", fault: simulator.Fault{Kind: simulator.FaultGatewaySilent}},
	{name: "relay stuck", fault: simulator.Fault{Kind: simulator.FaultStuckRelay}},
	{name: "relay welded, valve leaks", fault: simulator.Fault{Kind: simulator.FaultWelded}},
	{name: "valve stuck", fault: simulator.Fault{Kind: simulator.FaultStuckValve}},
	{name: "valve slow", fault: simulator.Fault{Kind: simulator.FaultMovingValve, DelayMillis: 200}},
	{name: "clock wrong", fault: simulator.Fault{Kind: simulator.FaultWrongClock, Offset: -400}},
	{name: "clock lost", fault: simulator.Fault{Kind: simulator.FaultLostClock}},
	{name: "registers jump", fault: simulator.Fault{Kind: simulator.FaultRegisterJump, Offset: 1000}},
	{name: "ratio wrong", fault: simulator.Fault{Kind: simulator.FaultWrongRatio, Offset: 7}},
	{name: "counts too little", fault: simulator.Fault{Kind: simulator.FaultUnderCount, Offset: 500}},
}

type matrixFault struct {
	name  string
	fault simulator.Fault
	// after says that it begins once the command is out.
	after bool
}

const (
	matrixTimeout = 400 * time.Millisecond
	matrixLate    = 600
)

// The operations; from the water read on they are on water meters, the last one on a meter that holds a volume.
var matrixOps = []string{"read", "credit", "trip", "close", "allow closing", "keep on", "release", "price", "clock", "water read", "valve close", "valve open", "volume"}

// cantBe says why a cell can't exist; empty for one that does.
func cantBe(link, fault, op string) string {
	atWrite := strings.Contains(fault, "write") || strings.Contains(fault, "command is out")
	own, onWater := strings.HasPrefix(link, "own"), slices.Contains(matrixOps[slices.Index(matrixOps, "water read"):], op)
	switch {
	case own && (op == "credit" || op == "price" || op == "clock" || op == "volume"):
		return "no such command in these protocols' maps"
	case !own && op == "allow closing":
		return "only DL/T 645 has this command"
	case strings.HasSuffix(op, "read") && atWrite:
		return "a read writes nothing"
	case fault == "counts too little":
		return "no answer differs: the register itself holds too little, and only comparing what was used shows it"
	case fault == "clock lost" && (!own || onWater):
		return "only DL/T 645 orders say by the meter's clock until when they hold"
	case fault == "ratio wrong" && (own || onWater):
		return "these meters show no transformer ratio"
	case link == "tcp" && strings.Contains(fault, "checksum"):
		return "Modbus TCP has no checksum of its own"
	case strings.Contains(fault, "welded"):
		if op == "close" || op == "allow closing" || op == "valve open" {
			return "what doesn't cut needs no giving back"
		}
		if op != "trip" && op != "valve close" {
			return "nothing cuts"
		}
		if own && op == "valve close" {
			return "CJ/T 188 readings of cold water show no flow"
		}
	case strings.Contains(fault, "relay") && op != "trip" && op != "close":
		return "no relay moves"
	case strings.Contains(fault, "valve") && op != "valve close" && op != "valve open":
		return "no valve moves"
	}
	return ""
}

// cell is one run of the matrix.
type cell struct {
	*bench
	power, water, volume devices.Meter
	fault                simulator.Fault
}

// newCell starts a fleet and a pool of its own.
func newCell(t *testing.T, link int) *cell {
	l := matrixLinks[link]
	spec := testSpec(t)
	g := &spec.Gateways[0]
	g.Link, g.Meters = l.link, []simulator.MeterSpec{g.Meters[0], g.Meters[2]}
	g.Meters[0].Profile, g.Meters[1].Profile = l.power, l.water
	g.Meters[0].ClockOffset = 120
	held := g.Meters[1]
	held.Unit, held.Serial, held.Profile, held.CreditMode, held.RemainingLitres = 4, volume, "sim-volume-water", true, 5000
	if l.water == "sim-cjt188" {
		g.Meters[1].OpeningRegisters = []int64{1109250}
	} else {
		g.Meters = append(g.Meters, held)
	}
	config := devices.Config{
		Timeout: matrixTimeout, SwitchPoll: 20 * time.Millisecond, SwitchLimit: 500 * time.Millisecond, SetAsideAfter: 99, Password645: "02123456",
	}
	if l.link == "dial_in" {
		config.DialIn = dialInServer(t, g)
	}
	b := newBenchWith(t, spec, config)
	at := devices.Address{Gateway: "g1", HostPort: b.fleet.Addr("g1"), Link: devices.Link{Kind: devices.LinkKind(l.link)}, Unit: 1}
	c := &cell{bench: b, power: devices.Meter{Address: at, Serial: single, Profile: l.power}}
	at.Unit = 3
	c.water = devices.Meter{Address: at, Serial: water, Profile: l.water}
	at.Unit = 4
	c.volume = devices.Meter{Address: at, Serial: volume, Profile: "sim-volume-water"}
	if config.DialIn != nil {
		require.Eventually(t, func() bool { _, _, ok := config.DialIn.Connected("g1"); return ok }, 10*time.Second, 5*time.Millisecond)
	}
	return c
}

// dialInServer listens for the gateway's unit.
func dialInServer(t *testing.T, g *simulator.GatewaySpec) *devices.DialIn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g.DialTo, g.Registration, g.Secret = l.Addr().String(), "unit-1", "for-this-test-only"
	d := devices.NewDialIn(func(_ context.Context, id string) (devices.Unit, bool, error) {
		return devices.Unit{Gateway: "g1", Secret: sha256.Sum256([]byte(g.Secret))}, id == "unit-1", nil
	}, nil, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- d.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-served)
	})
	return d
}

// begin starts the fault now, or once a command is out.
func (c *cell) begin(fault simulator.Fault, after bool) {
	c.fault = fault
	if fault.Kind == "" {
		return
	}
	if !after {
		c.inject(fault)
		return
	}
	var once sync.Once
	c.pool.OnPoint = func(point string) {
		if strings.HasSuffix(point, "-sent") {
			once.Do(func() { c.inject(fault) })
		}
	}
}

// run does one operation under one fault, and then, with the fault gone, what settles a doubt. It gives the end state in words and
// breaks the test when a value was wrong, a credit came twice, or something was called verified that wasn't.
func (c *cell) run(op string) string {
	ctx := devices.WithWall(c.t.Context(), func() time.Time { return c.clock.now().Add(8 * time.Hour) })
	switch op {
	case "read":
		return c.look(ctx, c.power)
	case "water read":
		return c.look(ctx, c.water)
	case "credit":
		return c.credit(ctx)
	case "volume":
		return c.bought(ctx)
	case "trip":
		return c.switched(ctx, c.pool.Trip, c.power, simulator.SupplyOff, "off")
	case "close":
		return c.switched(ctx, c.pool.Close, c.power, simulator.SupplyOn, "")
	case "allow closing":
		return c.switched(ctx, c.pool.AllowClosing, c.power, simulator.SupplyOff, "")
	case "keep on":
		return c.switched(ctx, c.pool.KeepClosed, c.power, simulator.SupplyOn, "on")
	case "release":
		return c.switched(ctx, c.pool.Release, c.power, simulator.SupplyOn, "")
	case "valve close":
		return c.switched(ctx, c.pool.Trip, c.water, simulator.SupplyOff, "")
	case "valve open":
		return c.switched(ctx, c.pool.Close, c.water, simulator.SupplyOn, "")
	case "price":
		r, err := c.pool.SetPrices(ctx, c.power, newPrices, nil)
		held := c.truth(single).PricesE8 == [5]int64(newPrices)
		require.False(c.t, r.Outcome == devices.OutcomeVerified && !held, "verified, but the meter holds other prices")
		require.False(c.t, r.Outcome == devices.OutcomeRefused && held, "refused, but the meter holds the prices")
		return ending(r.Outcome, err, func() string { return fmt.Sprintf("reads back %t", held) })
	default:
		wall := func() time.Time { return c.clock.now().In(time.FixedZone("CST", 8*3600)) }
		r, err := c.pool.SetClock(ctx, c.power, devices.MostClockSet, wall, nil)
		right := c.truth(single).ClockOffset == 0
		require.False(c.t, r.Outcome == devices.OutcomeVerified && !right, "verified, but the clock is wrong")
		return ending(r.Outcome, err, func() string { return fmt.Sprintf("reads back %t", right) })
	}
}

// credit delivers a purchase and settles it.
func (c *cell) credit(ctx context.Context) string {
	order := devices.CreditOrder{AmountFen: 10000, Count: 1}
	r, err := c.pool.DeliverCredit(ctx, c.power, order, nil)
	first := ending(r.Outcome, err, nil)
	c.calm()
	if r.Outcome == devices.OutcomeUnknown {
		require.Eventually(c.t, func() bool {
			r, err = c.pool.VerifyCredit(ctx, c.power, order, r.Before)
			return err == nil && r.Outcome != devices.OutcomeUnknown
		}, 20*time.Second, 10*time.Millisecond)
		first += ", then " + string(r.Outcome)
	}
	accepted := c.purchases(single)
	require.Equal(c.t, r.Outcome == devices.OutcomeVerified, len(accepted) == 1, "%s, and the meter accepted %d", r.Outcome, len(accepted))
	require.LessOrEqual(c.t, len(accepted), 1)
	return first
}

// bought delivers water to a meter that holds an absolute volume and settles it. Whatever happened, the meter holds the purchase once
// or not at all, also when it was written twice.
func (c *cell) bought(ctx context.Context) string {
	order := devices.VolumeOrder{Litres: 3000}
	var before devices.Volume
	r, err := c.pool.DeliverVolume(ctx, c.volume, order, func(b devices.Volume, _ int64) error { before = b; return nil })
	first := ending(r.Outcome, err, nil)
	c.calm()
	if r.Outcome == devices.OutcomeUnknown {
		require.Eventually(c.t, func() bool {
			r, err = c.pool.VerifyVolume(ctx, c.volume, order, before)
			return err == nil && r.Outcome != devices.OutcomeUnknown
		}, 20*time.Second, 10*time.Millisecond)
		first += ", then " + string(r.Outcome)
	}
	held := c.truth(volume).RemainingLitres
	require.Equal(c.t, map[bool]int64{true: 8000, false: 5000}[r.Outcome == devices.OutcomeVerified], held, "%s", r.Outcome)
	return first
}

// look reads a meter. What the meter itself shows wrongly is read as it shows it.
func (c *cell) look(ctx context.Context, m devices.Meter) string {
	shot, err := c.pool.Snapshot(ctx, m)
	if err != nil {
		return "no value: " + kindOf(err)
	}
	want, end := c.truth(m.Serial), "right value"
	switch c.fault.Kind {
	case simulator.FaultRegisterJump:
		for i := range want.Registers {
			if i == 0 || i == simulator.BandFlat { // a total and the band that it jumps with
				want.Registers[i] += c.fault.Offset
			}
		}
		end = "the wrong value that it shows"
	case simulator.FaultWrongRatio:
		require.Equal(c.t, c.fault.Offset, shot.Ratio)
		end = "right value, and the wrong ratio that it shows"
	case simulator.FaultWrongClock:
		wall := c.clock.now().Add(8*time.Hour + time.Duration(want.ClockOffset+c.fault.Offset)*time.Second)
		require.Equal(c.t, wall.Format(time.DateTime), shot.MeterClock.Format(time.DateTime))
		end = "right value, and the wrong time that it shows"
	case simulator.FaultLostClock:
		require.Zero(c.t, shot.MeterClock)
		end = "right value, and no time"
	}
	require.Equal(c.t, want.Registers, shot.Registers)
	return end
}

// prepare leaves something to do for an operation that undoes another; the fault has not begun yet.
func (c *cell) prepare(ctx context.Context, op string) {
	do, m := c.pool.Trip, c.power
	switch op {
	case "close", "allow closing":
	case "release":
		do = c.pool.KeepClosed
	case "valve open":
		m = c.water
	default:
		return
	}
	r, err := do(ctx, m)
	require.NoError(c.t, err)
	require.Equal(c.t, devices.OutcomeVerified, r.Outcome)
}

// switched does a switching command, which is to end in a supply and a forced control (empty: none).
func (c *cell) switched(
	ctx context.Context, do func(context.Context, devices.Meter) (devices.SwitchResult, error), m devices.Meter, want simulator.SupplyState, forced string,
) string {
	r, err := do(ctx, m)
	is, truthErr := c.fleet.Supply(m.Serial)
	require.NoError(c.t, truthErr)
	stands := is == want && c.truth(m.Serial).Forced == forced
	require.False(c.t, r.Outcome == devices.OutcomeVerified && !stands, "verified, and it is %s and forced %q", is, c.truth(m.Serial).Forced)
	return ending(r.Outcome, err, func() string {
		c.calm()
		var shot devices.Snapshot
		require.Eventually(c.t, func() bool {
			shot, err = c.pool.Snapshot(ctx, m)
			return err == nil
		}, 20*time.Second, 10*time.Millisecond)
		end := "then read as " + string(shot.Supply)
		if shot.ForcedOn {
			end += " and held"
		}
		return end
	})
}

// calm ends what goes wrong on the line; what is wrong with the meter stays.
func (c *cell) calm() {
	c.pool.OnPoint = nil
	for _, kind := range simulator.LineFaults {
		_, err := c.fleet.Clear(simulator.Fault{Kind: kind})
		require.NoError(c.t, err)
	}
}

func ending(o devices.Outcome, err error, settle func() string) string {
	switch {
	case err != nil:
		return "nothing sent: " + kindOf(err)
	case o == devices.OutcomeUnknown && settle != nil:
		return "unknown, " + settle()
	}
	return string(o)
}

func kindOf(err error) string {
	for _, k := range []struct {
		err  error
		word string
	}{
		{devices.ErrSilent, "silent"}, {devices.ErrLinkDown, "link down"}, {devices.ErrBadAnswer, "bad answer"}, {devices.ErrWrongMeter, "wrong meter"},
		{devices.ErrRefused, "refused"}, {devices.ErrUnsupported, "no time to say"},
	} {
		if errors.Is(err, k.err) {
			return k.word
		}
	}
	return err.Error()
}

// TestFaultMatrix runs every fault against every operation on every link, and compares the end states with the table in docs.
func TestFaultMatrix(t *testing.T) {
	t.Parallel()
	for _, kind := range slices.Concat(simulator.LineFaults, simulator.MeterFaults) {
		require.True(t, slices.ContainsFunc(matrixFaults, func(f matrixFault) bool { return f.fault.Kind == kind }), "%s has no row in the matrix", kind)
	}
	got := map[string]string{}
	var mu sync.Mutex
	var cells sync.WaitGroup
	slots := make(chan struct{}, 16)
	for link, l := range matrixLinks {
		for _, f := range matrixFaults {
			for _, op := range matrixOps {
				name := l.key + " | " + f.name + " | " + op
				if why := cantBe(l.key, f.name, op); why != "" {
					mu.Lock()
					got[name] = "– " + why
					mu.Unlock()
					continue
				}
				cells.Go(func() {
					slots <- struct{}{}
					defer func() { <-slots }()
					end := "(failed)"
					t.Run(strings.ReplaceAll(name, " | ", "/"), func(t *testing.T) {
						c := newCell(t, link)
						c.prepare(t.Context(), op)
						c.begin(f.fault, f.after)
						end = c.run(op)
						if hit := c.fleet.Faults().Hit[f.fault.Kind]; f.fault.Kind != "" && f.fault.Kind != simulator.FaultWelded { // which isn't counted
							require.Positive(t, hit, "the fault struck nothing")
						}
					})
					mu.Lock()
					defer mu.Unlock()
					got[name] = end
				})
			}
		}
	}
	cells.Wait()
	text := matrixText(got)
	if *update {
		require.NoError(t, os.WriteFile(matrixFile, []byte(text), 0o644))
	}
	want, err := os.ReadFile(matrixFile)
	require.NoError(t, err)
	require.Equal(t, string(want), text)
}

// matrixText is the table: one per link, a row per fault, and the reasons of cells that can't exist below.
func matrixText(got map[string]string) string {
	var b strings.Builder
	b.WriteString(matrixHead)
	for _, l := range matrixLinks {
		fmt.Fprintf(&b, "\n## %s\n\n| fault | %s |\n|%s\n", l.name, strings.Join(matrixOps, " | "), strings.Repeat("---|", len(matrixOps)+1))
		var reasons []string
		for _, f := range matrixFaults {
			row := []string{f.name}
			for _, op := range matrixOps {
				end := got[l.key+" | "+f.name+" | "+op]
				if why, ok := strings.CutPrefix(end, "– "); ok {
					if !slices.Contains(reasons, why) {
						reasons = append(reasons, why)
					}
					end = fmt.Sprintf("–%d", slices.Index(reasons, why)+1)
				}
				row = append(row, end)
			}
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		}
		b.WriteString("\n")
		for i, why := range reasons {
			fmt.Fprintf(&b, "–%d: %s.  \n", i+1, why)
		}
	}
	return b.String()
}

const matrixHead = `# What each fault comes to

Every fault of the simulator against every operation on every link, as [devices/matrix_test.go](../devices/matrix_test.go) runs them on
real sockets. The test fails when a cell ends otherwise, and whatever the table says when a value is wrong, a credit is accepted twice, or
something is called verified that the meter's own record contradicts. "unknown, then …" is a doubt and what reading settled it to once
the fault was over; "nothing sent" means that no command left.

A register that jumps, a wrong ratio and a wrong clock are the meter's own showing: they are read as they are shown, and validation judges them.
`

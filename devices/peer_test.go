package devices_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	simonvetter "github.com/simonvetter/modbus"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
)

// Our client and our simulator were written by the same people, so a wrong belief could be wrong on both sides. Here each of them
// meets a peer that knows nothing of us: pymodbus, with the vendor's function 0x20 added.

// peer runs testdata/peer.py. A machine without it fails the test.
type peer struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

func startPeer(t *testing.T, role, framing string, port int) *peer {
	t.Helper()
	// Debian's own Python, which Debian's pymodbus is installed for.
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "testdata/peer.py", role, framing, strconv.Itoa(port), "1")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = t.Output()
	require.NoError(t, cmd.Start(), "python3 and python3-pymodbus are needed: tools/install-missing test")
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	return &peer{t: t, in: in, out: bufio.NewReader(out)}
}

func (p *peer) line() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	require.NoError(p.t, err, "the peer ended; is python3-pymodbus installed?")
	return line
}

// peerAnswer is what the peer saw of a meter.
type peerAnswer struct {
	Registers []uint16 `json:"registers"`
	Error     string   `json:"error"`
	Exception byte     `json:"exception"`
}

func (p *peer) ask(format string, args ...any) peerAnswer {
	p.t.Helper()
	_, err := fmt.Fprintf(p.in, format+"\n", args...)
	require.NoError(p.t, err)
	var a peerAnswer
	require.NoError(p.t, json.Unmarshal([]byte(p.line()), &a))
	return a
}

// The simulator, asked by another's client: reads, forced control, a purchase, its repetition, and what isn't there.
func TestSimulatorToAnIndependentClient(t *testing.T) {
	t.Parallel()
	for framing, link := range map[string]string{"tcp": "modbus_tcp", "rtu": "transparent"} {
		t.Run(framing, func(t *testing.T) {
			t.Parallel()
			spec := testSpec(t)
			spec.Gateways[0].Link = link
			b := newBench(t, spec)
			_, port, err := net.SplitHostPort(b.fleet.Addr("g1"))
			require.NoError(t, err)
			number, err := strconv.Atoi(port)
			require.NoError(t, err)
			p := startPeer(t, "client", framing, number)

			require.Equal(t, []uint16{0, 0, 1}, p.ask(`{"do": "read", "address": 67, "words": 3}`).Registers, "the meter number in BCD")
			require.Equal(t, []uint16{0, 5000, 0, 1000}, p.ask(`{"do": "read", "address": 533, "words": 4}`).Registers)
			require.Equal(t, []uint16{0, 5000, 0}, p.ask(`{"do": "read", "address": 543, "words": 3}`).Registers, "50 yuan, no purchase yet")
			require.Equal(t, byte(2), p.ask(`{"do": "read", "address": 40000, "words": 1}`).Exception)

			require.Empty(t, p.ask(`{"do": "command", "address": 256, "values": [1, 34464, 1, 0]}`).Error)
			require.Equal(t, []uint16{1, 39464, 1}, p.ask(`{"do": "read", "address": 543, "words": 3}`).Registers, "1000 yuan more")
			require.Equal(t, byte(3), p.ask(`{"do": "command", "address": 256, "values": [1, 34464, 1, 0]}`).Exception, "the count was used")
			require.Len(t, b.purchases(single), 1)

			require.Empty(t, p.ask(`{"do": "write", "address": 87, "values": [1, 1]}`).Error)
			require.Equal(t, simulator.SupplyOff, b.relayAt(single, time.Now()))
			status := p.ask(`{"do": "read", "address": 548, "words": 1}`).Registers[0]
			require.Zero(t, status&(1<<13), "the relay is open")
			require.NotZero(t, status&(1<<3), "forced control is on")
			require.Empty(t, p.ask(`{"do": "write", "address": 87, "values": [0, 0]}`).Error)
			require.Equal(t, simulator.SupplyOn, b.relayAt(single, time.Now()))
		})
	}
}

// Our client, answered by another's server.
func TestClientToAnIndependentServer(t *testing.T) {
	t.Parallel()
	for framing, kind := range map[string]devices.LinkKind{"tcp": devices.LinkTCP, "rtu": devices.LinkTransparent} {
		t.Run(framing, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			port := l.Addr().(*net.TCPAddr).Port
			require.NoError(t, l.Close())
			p := startPeer(t, "server", framing, port)
			require.Equal(t, "ready\n", p.line())
			pool := devices.NewPool(devices.Config{Timeout: 3 * time.Second})
			t.Cleanup(pool.Shutdown)
			m := devices.Meter{Address: devices.Address{
				Gateway: "g1", HostPort: fmt.Sprint("127.0.0.1:", port), Link: devices.Link{Kind: kind}, Unit: 1,
			}, Serial: single, Profile: "sim-ddsy1352"}

			var shot devices.Snapshot
			require.Eventually(t, func() bool { shot, err = pool.Snapshot(t.Context(), m); return err == nil }, 20*time.Second, 50*time.Millisecond, "%v", err)
			require.Equal(t, []int64{1500, 100, 200, 300, 400, 500}, shot.Registers)
			require.Equal(t, int64(5000), *shot.RemainingFen)
			require.Equal(t, devices.SupplyOn, shot.Supply)
			require.Equal(t, "2026-03-01 12:30:00", shot.MeterClock.Format(time.DateTime))

			r, err := pool.DeliverCredit(t.Context(), m, devices.CreditOrder{AmountFen: 123456, Count: 1}, nil)
			require.NoError(t, err)
			require.Equal(t, devices.OutcomeVerified, r.Outcome, r.Note)
			require.Equal(t, int64(128456), *r.After.RemainingFen)
			require.JSONEq(t, `{"amount": 123456, "count": 1}`, p.line())
			_, err = pool.DeliverCredit(t.Context(), m, devices.CreditOrder{AmountFen: 1, Count: 1}, nil)
			require.ErrorIs(t, err, devices.ErrCountMismatch, "asked first, so nothing was sent")
		})
	}
}

// A second independent peer, for the standard functions: simonvetter/modbus asks the simulator, and answers our client.
func TestStandardFunctionsAgainstAnotherLibrary(t *testing.T) {
	t.Parallel()
	for scheme, link := range map[string]string{"tcp": "modbus_tcp", "rtuovertcp": "transparent"} {
		t.Run("client "+scheme, func(t *testing.T) {
			t.Parallel()
			spec := testSpec(t)
			spec.Gateways[0].Link = link
			b := newBench(t, spec)
			c, err := simonvetter.NewClient(&simonvetter.ClientConfiguration{URL: scheme + "://" + b.fleet.Addr("g1"), Timeout: 2 * time.Second})
			require.NoError(t, err)
			require.NoError(t, c.Open())
			t.Cleanup(func() { _ = c.Close() })
			require.NoError(t, c.SetUnitId(1))
			total, err := c.ReadUint32(0x0215, simonvetter.HOLDING_REGISTER)
			require.NoError(t, err)
			require.Equal(t, uint32(5000), total)
			require.NoError(t, c.WriteRegisters(0x0057, []uint16{1, 1}))
			require.Equal(t, simulator.SupplyOff, b.relayAt(single, time.Now()))
			_, err = c.ReadRegisters(0x9000, 1, simonvetter.HOLDING_REGISTER)
			require.ErrorIs(t, err, simonvetter.ErrIllegalDataAddress)
			require.NoError(t, c.SetUnitId(3))
			require.NoError(t, c.WriteRegister(0x001C, 2), "function 06 moves the valve")
			require.Eventually(t, func() bool { return b.relayAt(water, time.Now()) == simulator.SupplyOff }, 5*time.Second, 10*time.Millisecond)
		})
	}
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address := l.Addr().String()
		require.NoError(t, l.Close())
		cells := &theirMeter{cells: map[uint16]uint16{0x0045: 1, 0x0216: 700, 0x0218: 700, 0x0224: 1 << 13, 0x0214: 1}}
		s, err := simonvetter.NewServer(&simonvetter.ServerConfiguration{URL: "tcp://" + address, MaxClients: 5}, cells)
		require.NoError(t, err)
		require.NoError(t, s.Start())
		t.Cleanup(func() { _ = s.Stop() })
		pool := devices.NewPool(devices.Config{SwitchPoll: 10 * time.Millisecond, SwitchLimit: time.Second})
		t.Cleanup(pool.Shutdown)
		m := devices.Meter{Address: devices.Address{Gateway: "g1", HostPort: address, Unit: 1}, Serial: single, Profile: "sim-ddsy1352"}
		shot, err := pool.Snapshot(t.Context(), m)
		require.NoError(t, err)
		require.Equal(t, []int64{700, 700, 0, 0, 0, 0}, shot.Registers)
		r, err := pool.Trip(t.Context(), m)
		require.NoError(t, err)
		require.Equal(t, devices.OutcomeVerified, r.Outcome, r.Note)
		require.Equal(t, [2]uint16{1, 1}, cells.forced())
	})
}

// theirMeter holds registers behind the other library's server: forced control opens its relay.
type theirMeter struct {
	mu    sync.Mutex
	cells map[uint16]uint16
}

func (m *theirMeter) forced() [2]uint16 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return [2]uint16{m.cells[0x0057], m.cells[0x0058]}
}

func (m *theirMeter) HandleHoldingRegisters(q *simonvetter.HoldingRegistersRequest) ([]uint16, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, value := range q.Args {
		m.cells[q.Addr+uint16(i)] = value
	}
	if q.IsWrite && q.Addr == 0x0057 && q.Args[0] == 1 && q.Args[1] == 1 {
		m.cells[0x0224] = 1 << 3
	}
	values := make([]uint16, q.Quantity)
	for i := range values {
		values[i] = m.cells[q.Addr+uint16(i)]
	}
	return values, nil
}

func (m *theirMeter) HandleCoils(*simonvetter.CoilsRequest) ([]bool, error) {
	return nil, simonvetter.ErrIllegalFunction
}

func (m *theirMeter) HandleDiscreteInputs(*simonvetter.DiscreteInputsRequest) ([]bool, error) {
	return nil, simonvetter.ErrIllegalFunction
}

func (m *theirMeter) HandleInputRegisters(*simonvetter.InputRegistersRequest) ([]uint16, error) {
	return nil, simonvetter.ErrIllegalFunction
}

// mbpoll, a command-line master, reads the simulator.
func TestSimulatorToMbpoll(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	host, port, err := net.SplitHostPort(b.fleet.Addr("g1"))
	require.NoError(t, err)
	// -0: addresses count from 0; -B: 32 bits, high word first.
	out, err := exec.CommandContext(t.Context(), "mbpoll", "-m", "tcp", "-p", port, "-a", "1", "-0", "-r", "533", "-c", "2", "-t", "4:int", "-B", "-1", "-q", host).CombinedOutput()
	require.NoError(t, err, "%s\nmbpoll is needed: tools/install-missing test", out)
	require.Regexp(t, `\[533\]:\s+5000\n\[535\]:\s+1000\n`, string(out))
}

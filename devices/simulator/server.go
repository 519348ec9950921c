package simulator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// request is one Modbus TCP frame: transaction, unit and PDU.
type request struct {
	transaction uint16
	unit        byte
	pdu         []byte
}

const (
	headerSize = 7
	// serialExtra is what an RTU frame has beside its PDU: unit and CRC.
	serialExtra = 3
	mostPDU     = 253
)

var errNotModbus = errors.New("not a Modbus TCP frame")

// readRequest takes one frame off a stream. Anything that is no Modbus TCP ends the connection: after it the stream can't
// be trusted to be in step.
func readRequest(r io.Reader) (request, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return request{}, err
	}
	length := int(binary.BigEndian.Uint16(header[4:]))
	if binary.BigEndian.Uint16(header[2:]) != 0 || length < 2 || length > 1+mostPDU {
		return request{}, errNotModbus
	}
	pdu := make([]byte, length-1)
	if _, err := io.ReadFull(r, pdu); err != nil {
		return request{}, err
	}
	return request{transaction: binary.BigEndian.Uint16(header[:]), unit: header[6], pdu: pdu}, nil
}

func (q request) reply(unit byte, pdu []byte) []byte {
	frame := binary.BigEndian.AppendUint16(make([]byte, 0, headerSize+len(pdu)), q.transaction)
	frame = binary.BigEndian.AppendUint16(frame, 0)
	frame = binary.BigEndian.AppendUint16(frame, uint16(1+len(pdu)))
	return append(append(frame, unit), pdu...)
}

// gateway is one TCP server with one serial line behind it.
type gateway struct {
	spec     GatewaySpec
	location *time.Location
	listener net.Listener
	faults   *faults
	now      func() time.Time

	line       sync.Mutex // one exchange at a time on the serial line
	remembered map[string]remembered
	use        lineUse

	mu     sync.Mutex
	meters map[byte]*meter
}

func (g *gateway) meter(unit byte) (*meter, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, ok := g.meters[unit]
	return m, ok
}

// serve accepts connections until the context ends, or keeps one of its own when it dials in.
func (g *gateway) serve(ctx context.Context) error {
	if g.spec.Link == linkDialIn {
		return g.dialIn(ctx)
	}
	var connections sync.WaitGroup
	defer connections.Wait()
	stop := context.AfterFunc(ctx, func() { _ = g.listener.Close() })
	defer stop()
	for {
		conn, err := g.listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("gateway %s: %w", g.spec.ID, err)
		}
		connections.Go(func() {
			if g.spec.Link == linkTransparent {
				g.talkSerial(ctx, conn)
				return
			}
			g.talk(ctx, conn)
		})
	}
}

// talk serves one connection.
func (g *gateway) talk(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	g.use.count(func(u *LineUse) { u.Connections++ })
	for {
		q, err := readRequest(conn)
		if err != nil {
			return
		}
		frame, keep := g.answer(ctx, q)
		if !keep {
			return
		}
		if _, err := conn.Write(frame); err != nil && len(frame) > 0 {
			return
		}
	}
}

// answer executes one Modbus TCP request. An empty frame is silence; keep is false when the gateway drops the link.
func (g *gateway) answer(ctx context.Context, q request) (frame []byte, keep bool) {
	m, known := g.meter(q.unit)
	known = known && m.spec.modbus()
	return g.carry(ctx, exchange{
		unit: q.unit, meter: m, known: known, write: q.pdu[0] != fnRead,
		serve:     func(now time.Time) []byte { return q.reply(q.unit, m.serve(q.pdu, now)) },
		noTarget:  q.reply(q.unit, []byte{q.pdu[0] | 0x80, exNoTarget}),
		elsewhere: func(frame []byte) []byte { frame[headerSize-1]++; return frame },
		longer:    func(frame []byte) []byte { return q.reply(q.unit, longerPDU(frame[headerSize:])) },
		bytes:     len(q.pdu) + serialExtra, head: headerSize - serialExtra,
		key:   string(append([]byte{q.unit}, q.pdu...)),
		again: func(frame []byte) []byte { return q.reply(q.unit, frame[headerSize:]) },
	})
}

// remembered is an answer in the memory of a gateway that caches reads.
type remembered struct {
	frame []byte
	at    time.Time
}

// recall gives the answer to a read from the gateway's memory, as optional caches of real gateways do. The line is locked.
func (g *gateway) recall(x exchange) ([]byte, bool) {
	r, ok := g.remembered[x.key]
	if g.spec.CacheMillis == 0 || x.write || !ok || time.Since(r.at) >= time.Duration(g.spec.CacheMillis)*time.Millisecond {
		return nil, false
	}
	return x.again(append([]byte(nil), r.frame...)), true
}

func (g *gateway) remember(x exchange, frame []byte) {
	if g.spec.CacheMillis == 0 || x.write {
		return
	}
	if g.remembered == nil {
		g.remembered = map[string]remembered{}
	}
	g.remembered[x.key] = remembered{append([]byte(nil), frame...), time.Now()}
}

// exchange is one request on the serial line, in whatever framing.
type exchange struct {
	unit      byte
	meter     *meter
	known     bool
	write     bool
	serve     func(now time.Time) []byte // the meter's whole answer
	noTarget  []byte                     // what the gateway says when the meter doesn't answer; nil is silence
	elsewhere func(frame []byte) []byte  // the answer as another meter would give it
	longer    func(frame []byte) []byte  // the answer with more data than was asked for
	checked   bool                       // the framing has a checksum of its own
	bytes     int                        // of the request on the serial line
	head      int                        // bytes of the answer's frame that aren't on the serial line, less those that only are there
	key       string                     // the request without what differs each time, for a gateway that caches
	again     func(frame []byte) []byte  // a remembered answer made to fit this request
}

// carry lets the line and the meter do an exchange, and faults have their way with it.
func (g *gateway) carry(ctx context.Context, x exchange) (frame []byte, keep bool) {
	business := g.now()
	at := place{gateway: g.spec.ID, unit: x.unit, request: onRead}
	if x.write {
		at.request = onWrite
	}
	if x.known {
		at.serial = x.meter.spec.Serial
	}
	if _, hit := g.faults.take(FaultGatewaySilent, at, business); hit {
		return nil, true
	}
	if _, hit := g.faults.take(FaultDropLink, at, business); hit {
		return nil, false
	}
	g.line.Lock()
	defer g.line.Unlock()
	if _, hit := g.faults.take(FaultMute, at, business); hit {
		return nil, true
	}
	g.use.count(func(u *LineUse) {
		u.Exchanges++
		if x.write {
			u.LastWrite = u.Exchanges
		}
	})
	_, silent := g.faults.take(FaultSilent, at, business)
	if !x.known || silent {
		g.use.count(func(u *LineUse) { u.Silent++ })
		hold(ctx, g.spec.SilentTime())
		return x.noTarget, true
	}
	if frame, ok := g.recall(x); ok {
		return frame, true
	}
	frame = x.serve(g.now())
	wire, began := g.spec.WireTime(x.bytes, len(frame)-x.head), time.Now()
	hold(ctx, wire)
	g.use.count(func(u *LineUse) { u.Answered, u.Wire, u.Held = u.Answered+1, u.Wire+wire, u.Held+time.Since(began) })
	g.remember(x, frame)
	if x.write {
		if _, hit := g.faults.take(FaultRepeatWrite, at, business); hit {
			frame = x.serve(g.now())
		}
		if _, hit := g.faults.take(FaultLostReply, at, business); hit {
			return nil, true
		}
	}
	if fault, hit := g.faults.take(FaultSlow, at, business); hit {
		pause(ctx, fault.DelayMillis)
	}
	return g.distort(frame, x, at, business), true
}

// distort is what a noisy line makes of an answer.
func (g *gateway) distort(frame []byte, x exchange, at place, business time.Time) []byte {
	if _, hit := g.faults.take(FaultWrongUnit, at, business); hit {
		frame = x.elsewhere(frame)
	}
	if _, hit := g.faults.take(FaultOverlong, at, business); hit {
		frame = x.longer(frame)
	}
	if _, hit := g.faults.take(FaultBadSum, at, business); hit && x.checked {
		frame[len(frame)-2] ^= 0x55
	}
	if _, hit := g.faults.take(FaultShort, at, business); hit {
		frame = frame[:len(frame)/2]
	}
	if _, hit := g.faults.take(FaultLong, at, business); hit {
		frame = append(frame, 0x00, 0x00)
	}
	return frame
}

// longerPDU is an answer of Modbus with one register more, which a read's byte count covers.
func longerPDU(pdu []byte) []byte {
	longer := append(append([]byte(nil), pdu...), 0, 0)
	if longer[0] == fnRead {
		longer[1] += 2
	}
	return longer
}

// pause waits in real time, as meters do.
func pause(ctx context.Context, millis int) { hold(ctx, time.Duration(millis)*time.Millisecond) }

// hold keeps the line busy, in real time.
func hold(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

package simulator

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"
)

// A gateway that passes bytes on: whatever comes is tried as an RTU frame, a DL/T 645 frame and a CJ/T 188 frame, as the meters on a
// line do. The framing is written down here again, apart from the client's.

const (
	mostSerial = 1024
	// redialAfter is how long a unit waits before it dials again.
	redialAfter = 50 * time.Millisecond
)

// talkSerial serves one connection.
func (g *gateway) talkSerial(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	g.use.count(func(u *LineUse) { u.Connections++ })
	var waiting []byte
	piece := make([]byte, 512)
	for {
		n, err := conn.Read(piece)
		if err != nil {
			return
		}
		waiting = append(waiting, piece[:n]...)
		for {
			x, length := g.find(waiting)
			if length == 0 {
				break
			}
			waiting = waiting[length:]
			frame, keep := g.carry(ctx, x)
			if !keep {
				return
			}
			if _, err := conn.Write(frame); err != nil && len(frame) > 0 {
				return
			}
		}
		if len(waiting) > mostSerial {
			waiting = nil
		}
	}
}

// dialIn keeps a connection to where the unit registers, and dials again whenever it is lost.
func (g *gateway) dialIn(ctx context.Context) error {
	for ctx.Err() == nil {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", g.spec.DialTo)
		if err == nil {
			if _, err = fmt.Fprintf(conn, "REG %s %s\r\n", g.spec.Registration, g.spec.Secret); err == nil {
				g.talkSerial(ctx, conn)
			}
			_ = conn.Close()
		}
		pause(ctx, int(redialAfter/time.Millisecond))
	}
	return nil
}

// find takes the first request out of what a line brought, with the bytes that it and the noise before it take.
func (g *gateway) find(b []byte) (x exchange, length int) {
	for from := range b {
		for _, try := range []func([]byte) (exchange, int){g.rtu, g.dlt645, g.cjt188} {
			if x, n := try(b[from:]); n > 0 {
				return x, from + n
			}
		}
	}
	return exchange{}, 0
}

// rtu finds a Modbus RTU request.
func (g *gateway) rtu(b []byte) (exchange, int) {
	n := rtuRequest(b)
	if n == 0 || n > len(b) || crc16(b[:n]) != 0 {
		return exchange{}, 0
	}
	unit, pdu := b[0], append([]byte(nil), b[1:n-2]...)
	m, known := g.meter(unit)
	return exchange{
		unit: unit, meter: m, known: known && m.spec.modbus(), write: pdu[0] != fnRead, checked: true,
		serve:     func(now time.Time) []byte { return withCRC(append([]byte{unit}, m.serve(pdu, now)...)) },
		elsewhere: func(frame []byte) []byte { frame[0]++; return withCRC(frame[:len(frame)-2]) },
		longer:    func(frame []byte) []byte { return withCRC(append([]byte{unit}, longerPDU(frame[1:len(frame)-2])...)) },
		bytes:     n, key: string(b[:n-2]), again: func(frame []byte) []byte { return frame },
	}, n
}

// rtuRequest is the length of the request that bytes begin with, 0 when they are too few or none.
func rtuRequest(b []byte) int {
	if len(b) < 8 {
		return 0
	}
	switch b[1] {
	case fnRead, fnWrite1:
		return 8
	case fnWriteN, fnCommand:
		return 9 + int(b[6])
	}
	return 0
}

func withCRC(b []byte) []byte { return binary.LittleEndian.AppendUint16(b, crc16(b)) }

// crc16 is the check of Modbus RTU: reflected polynomial 8005, start FFFF, by table.
func crc16(b []byte) uint16 {
	sum := uint16(0xFFFF)
	for _, octet := range b {
		sum = sum>>8 ^ crcTable[byte(sum)^octet]
	}
	return sum
}

var crcTable = func() (table [256]uint16) {
	for i := range table {
		sum := uint16(i)
		for range 8 {
			if sum&1 == 1 {
				sum = sum>>1 ^ 0xA001
			} else {
				sum >>= 1
			}
		}
		table[i] = sum
	}
	return table
}()

// bySerial finds a meter of a profile on the line by its number.
func (g *gateway) bySerial(serial, profile string) (*meter, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.meters {
		if m.spec.Serial == serial && m.spec.Profile == profile {
			return m, true
		}
	}
	return nil, false
}

// checksum is the sum of bytes, as both meter protocols have it.
func checksum(b []byte) byte {
	var sum byte
	for _, octet := range b {
		sum += octet
	}
	return sum
}

// lowFirst packs decimal digits, two a byte, lowest byte first.
func lowFirst(format string, args ...any) []byte {
	packed := packBCD(fmt.Sprintf(format, args...))
	for i, j := 0, len(packed)-1; i < j; i, j = i+1, j-1 {
		packed[i], packed[j] = packed[j], packed[i]
	}
	return packed
}

// digitsOf are the decimal digits of bytes that came lowest first.
func digitsOf(b []byte) string {
	text := ""
	for i := len(b) - 1; i >= 0; i-- {
		text += fmt.Sprintf("%02X", b[i])
	}
	return text
}

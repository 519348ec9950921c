// Package modbus carries single requests to meters behind one gateway line and decodes what comes back.
//
// It owns the byte level: the goburrow transport and its known faults, RTU framing over transparent channels, vendor function
// 0x20, length checks, and the decoders of registers, BCD and clocks. It knows no register map, no money rule and no queue; it never repeats a request.
//
// How goburrow v0.1.0 is held. Its handler keeps the unit id as a plain field, so every unit gets a packager of its own
// and only the transporter is shared. It never drops a broken or out-of-step connection, so the link is closed after every
// error that is not a Modbus exception: a late reply dies with its connection and can't be taken for another answer.
// It accepts short replies, so every reply's length is checked here.
package modbus

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"time"

	gomodbus "github.com/goburrow/modbus"

	"github.com/meterflow/meterflow/devices/wire"
)

// Function codes that the meters use. VendorCommand carries money commands on Acrel-like prepaid meters.
const (
	ReadHolding   byte = 0x03
	WriteSingle   byte = 0x06
	WriteMultiple byte = 0x10
	VendorCommand byte = 0x20
)

// Exception codes that mean "the gateway answered, the meter did not".
const (
	ExceptionGatewayPath   byte = 0x0A
	ExceptionGatewayTarget byte = 0x0B
)

// Protocol limits of one request.
const (
	MaxReadWords  = 125
	MaxWriteWords = 123
)

// The kinds of failure of one exchange, as in package wire. Exceptions are none of these: they arrive as *ExceptionError.
var (
	ErrTimeout      = wire.ErrTimeout
	ErrNotConnected = wire.ErrNotConnected
	ErrLinkLost     = wire.ErrLinkLost
	ErrBadReply     = wire.ErrBadReply
)

// ExceptionError is a Modbus exception: a well-formed refusal by the meter or the gateway.
type ExceptionError struct {
	Function  byte
	Exception byte
}

// Error names the exception in the protocol's words.
func (e *ExceptionError) Error() string {
	inner := gomodbus.ModbusError{FunctionCode: e.Function, ExceptionCode: e.Exception}
	return inner.Error()
}

// gateways says that the gateway speaks, and the meter doesn't.
func (e *ExceptionError) gateways() bool {
	return e.Exception == ExceptionGatewayTarget || e.Exception == ExceptionGatewayPath
}

// Frame is one exchange as it was on the wire.
type Frame = wire.Frame

// carrier moves one request to a unit and its answer back, in one framing. After an error that is no *ExceptionError it sees to it that
// no late answer is taken for the next one.
type carrier interface {
	exchange(unit, function byte, data []byte) (body []byte, frame Frame, err error)
	close()
	connected() bool
}

// Link is the one connection to one gateway line. It is not safe for concurrent use: its owner sends one request at a time.
type Link struct {
	carrier carrier
}

// Locate says where a gateway's host:port is to be dialled now, or why it must not be. It may take as long as soon.
type Locate func(hostPort string, soon time.Duration) (string, error)

// NewLink prepares a link to a gateway that speaks Modbus TCP; it connects at the first exchange, to where locate says (nil: to hostPort).
// The time-out covers one whole exchange and must exceed the gateway's own worst case, or the link itself makes late replies.
func NewLink(hostPort string, timeout time.Duration, locate Locate) *Link {
	transport := gomodbus.NewTCPClientHandler(hostPort)
	transport.Timeout = timeout
	transport.IdleTimeout = 0 // its idle timer would close the link behind the owner's back
	return &Link{carrier: &tcp{hostPort: hostPort, locate: locate, transport: transport, units: make(map[byte]*gomodbus.TCPClientHandler)}}
}

// Close drops the connection; the next exchange makes a new one.
func (l *Link) Close() { l.carrier.close() }

// Connected reports whether the last exchange left a usable connection.
func (l *Link) Connected() bool { return l.carrier.connected() }

// Exchange sends one request and returns the data after the function code of the answer.
func (l *Link) Exchange(unit, function byte, data []byte) ([]byte, Frame, error) {
	return l.carrier.exchange(unit, function, data)
}

// tcp carries requests in Modbus TCP frames, through goburrow.
type tcp struct {
	hostPort  string
	locate    Locate
	transport *gomodbus.TCPClientHandler
	units     map[byte]*gomodbus.TCPClientHandler
	open      bool
}

func (l *tcp) close() {
	l.open = false
	_ = l.transport.Close() // the connection is given up either way
}

func (l *tcp) connected() bool { return l.open }

func (l *tcp) exchange(unit, function byte, data []byte) ([]byte, Frame, error) {
	packager := l.packager(unit)
	request, err := packager.Encode(&gomodbus.ProtocolDataUnit{FunctionCode: function, Data: data})
	if err != nil {
		return nil, Frame{}, fmt.Errorf("encode function 0x%02X: %w", function, err)
	}
	if !l.open && l.locate != nil {
		if l.transport.Address, err = l.locate(l.hostPort, l.transport.Timeout); err != nil {
			return nil, Frame{}, fmt.Errorf("%w: %w", ErrNotConnected, err)
		}
	}
	frame := Frame{SentAt: time.Now(), Request: hex.EncodeToString(request)}
	reply, err := l.transport.Send(request)
	frame.AnsweredAt = time.Now()
	frame.Reply = hex.EncodeToString(reply)
	if err != nil {
		l.close()
		return nil, frame, classify(err)
	}
	body, err := take(packager, function, request, reply)
	var exception *ExceptionError
	if err != nil && !errors.As(err, &exception) {
		l.close()
		return nil, frame, err
	}
	l.open = true
	return body, frame, err
}

// take checks a reply against its request and takes the data out of it.
func take(packager gomodbus.Packager, function byte, request, reply []byte) ([]byte, error) {
	if err := packager.Verify(request, reply); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadReply, err)
	}
	pdu, err := packager.Decode(reply)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadReply, err)
	}
	switch {
	case pdu.FunctionCode == function:
		return pdu.Data, nil
	case pdu.FunctionCode == function|0x80 && len(pdu.Data) == 1:
		return nil, &ExceptionError{Function: function, Exception: pdu.Data[0]}
	default:
		return nil, fmt.Errorf("%w: function 0x%02X answered with 0x%02X", ErrBadReply, function, pdu.FunctionCode)
	}
}

func (l *tcp) packager(unit byte) *gomodbus.TCPClientHandler {
	packager, ok := l.units[unit]
	if !ok {
		packager = gomodbus.NewTCPClientHandler("")
		packager.SlaveId = unit
		l.units[unit] = packager
	}
	return packager
}

// classify sorts transport errors by what they say about the request: certainly not sent, or perhaps applied.
func classify(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return fmt.Errorf("%w: %w", ErrLinkLost, err)
}

// Read reads holding registers and returns exactly 2×words bytes.
func (l *Link) Read(unit byte, address, words uint16) ([]byte, Frame, error) {
	if words == 0 || words > MaxReadWords {
		return nil, Frame{}, fmt.Errorf("a read takes 1 to %d words, not %d", MaxReadWords, words)
	}
	reply, frame, err := l.Exchange(unit, ReadHolding, pair(address, words))
	if err != nil {
		return nil, frame, err
	}
	if len(reply) != 1+2*int(words) || int(reply[0]) != 2*int(words) {
		l.Close()
		return nil, frame, fmt.Errorf("%w: asked for %d words, got %d bytes", ErrBadReply, words, len(reply)-1)
	}
	return reply[1:], frame, nil
}

// WriteOne writes one register with function 06 and checks the echo.
func (l *Link) WriteOne(unit byte, address, value uint16) (Frame, error) {
	request := pair(address, value)
	reply, frame, err := l.Exchange(unit, WriteSingle, request)
	if err == nil && !bytes.Equal(reply, request) {
		l.Close()
		err = fmt.Errorf("%w: a write of one register must be echoed", ErrBadReply)
	}
	return frame, err
}

// WriteMany writes registers with function 16 and checks the echo of address and count.
func (l *Link) WriteMany(unit byte, address uint16, values []uint16) (Frame, error) {
	if len(values) == 0 || len(values) > MaxWriteWords {
		return Frame{}, fmt.Errorf("a write takes 1 to %d words, not %d", MaxWriteWords, len(values))
	}
	reply, frame, err := l.Exchange(unit, WriteMultiple, withPayload(address, values))
	if err == nil && !bytes.Equal(reply, pair(address, uint16(len(values)))) {
		l.Close()
		err = fmt.Errorf("%w: a write must be echoed with address and count", ErrBadReply)
	}
	return frame, err
}

// Command sends vendor function 0x20, shaped like function 16. What a meter puts into the answer is not published, so
// nothing is concluded from it: only a read-back tells what happened.
func (l *Link) Command(unit byte, address uint16, values []uint16) (Frame, error) {
	if len(values) == 0 || len(values) > MaxWriteWords {
		return Frame{}, fmt.Errorf("a command takes 1 to %d words, not %d", MaxWriteWords, len(values))
	}
	_, frame, err := l.Exchange(unit, VendorCommand, withPayload(address, values))
	return frame, err
}

func pair(a, b uint16) []byte {
	data := make([]byte, 4)
	binary.BigEndian.PutUint16(data, a)
	binary.BigEndian.PutUint16(data[2:], b)
	return data
}

func withPayload(address uint16, values []uint16) []byte {
	data := append(pair(address, uint16(len(values))), byte(2*len(values)))
	for _, value := range values {
		data = binary.BigEndian.AppendUint16(data, value)
	}
	return data
}

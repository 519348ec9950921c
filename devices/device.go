// Package devices reads meters, delivers credit to them and switches their supply, over Modbus TCP gateways.
//
// It owns the lines: one goroutine per gateway line sends one request at a time, in order of urgency. It owns what may be
// concluded from an answer: a command is verified only by what the meter shows afterwards, it is never sent twice by this
// package, and a doubt comes out as a doubt. It decides nothing about customers, stores nothing, and knows no workflow;
// whether a gateway is ours to talk to (the lease) is the caller's business.
//
// Quantities are integers: electricity in 0.01 kWh, water in litres, money in fen.
package devices

import (
	"time"

	"github.com/meterflow/meterflow/devices/modbus"
)

// LinkKind says how the bytes of a request reach a gateway's line.
type LinkKind string

// The kinds of links. On the last two the gateway passes bytes on, so that RTU, DL/T 645 and CJ/T 188 frames all travel.
const (
	// LinkTCP: the gateway speaks Modbus TCP and converts. It is the zero value's meaning.
	LinkTCP LinkKind = "modbus_tcp"
	// LinkTransparent: a serial server that we dial.
	LinkTransparent LinkKind = "transparent"
	// LinkDialIn: a unit behind NAT that dials us; see DialIn.
	LinkDialIn LinkKind = "dial_in"
)

// Link is how a gateway is reached: its settings, the same for all its meters. Zero values are those of the pool.
type Link struct {
	Kind LinkKind
	// Timeout bounds one exchange. It must exceed the gateway's own worst case.
	Timeout time.Duration
	// Pause is kept between two requests.
	Pause time.Duration
	// CachesReads is for how long the gateway answers reads from its memory. What it may remember is no proof: a command waits until it is forgotten.
	CachesReads time.Duration
	// Barred is why no command may go over it, in a whole sentence; empty when commands may go. It is read over all the same.
	Barred string
}

// Address is the place of one meter: unit id Unit on the one line of a gateway.
type Address struct {
	Gateway  string // the gateway's id
	HostPort string // where we dial; empty for a unit that dials in
	Link     Link
	Unit     byte
}

// Meter is a meter as we expect to find it.
type Meter struct {
	Address
	Serial  string // 12 digits; checked before every reading is believed and every command is sent
	Profile string // name of the register map
	Box     Box    // the box that it is a circuit of; zero for a meter of its own
}

// Box is a multi-circuit box: one device that answers on a run of consecutive unit ids, a meter on each.
type Box struct {
	Base     byte // its first unit id
	Circuits int  // 12, 24 or 36
}

// holds says whether a circuit with so many unit ids lies in the box.
func (b Box) holds(unit byte, units int) bool {
	return unit >= b.Base && int(unit)+units <= int(b.Base)+b.Circuits
}

// SupplyState is what the status word says about relay or valve.
type SupplyState string

// The states of supply. Unknown is the zero reading: nothing was learnt.
const (
	SupplyOn     SupplyState = "on"
	SupplyOff    SupplyState = "off"
	SupplyMoving SupplyState = "moving"
	// SupplyAllowed: off, and the customer's button closes it.
	SupplyAllowed SupplyState = "allowed"
	// SupplyFault: the switch says so itself, or says that it is off while the load flows on: welded contacts, a valve that leaks.
	SupplyFault   SupplyState = "fault"
	SupplyUnknown SupplyState = "unknown"
)

// Frame is one exchange as it was on the wire: evidence.
type Frame = modbus.Frame

// Snapshot is one look at a meter.
type Snapshot struct {
	TakenAt    time.Time // real time of the answer
	MeterClock time.Time // the meter's wall time, without a zone; zero when it shows none
	Serial     string
	// Profile is the register map that it was decoded with.
	Profile        string
	ProfileVersion int
	// Registers are total, sharp, peak, flat, valley, deep valley in 0.01 kWh, or the total in litres. They come from more
	// than one request; a vector whose bands don't add up is read a second time before it is believed.
	Registers []int64
	// Reverse is what went the other way in all, in the same units; nil where the meter doesn't tell. It is reported, never netted.
	Reverse       *int64
	RemainingFen  *int64 // credit held in the meter, negative in overdraft; nil when the meter holds none
	PurchaseCount *int64
	// RemainingLitres is the bought volume left in a water meter, negative in overdraft; nil when the meter holds none.
	RemainingLitres *int64
	Supply          SupplyState
	ForcedOff       bool
	ForcedOn        bool
	InArrears       bool // the meter says that its own credit is used up
	StatusWord      uint16
	PowerW          int64   // load in W; for water the flow in l/h
	Ratio           int64   // transformer ratio that the meter is set to; 0 when it shows none
	Frames          []Frame // with WithFrames, and always for commands
}

// creep is the load, in W or l/h, that a meter may show behind an open relay or a closed valve: no more than it takes to start one (0.4 % of
// 5 A at 220 V).
const creep = 5

// loaded says that something flows.
func (s Snapshot) loaded() bool { return max(s.PowerW, -s.PowerW) > creep }

// Outcome is what a command came to, by the meter's own showing.
type Outcome string

const (
	// OutcomeVerified: the meter shows what was commanded.
	OutcomeVerified Outcome = "verified"
	// OutcomeRefused: the meter shows that the command was not applied. A purchase may be ordered again with the same
	// count: should the first one still arrive, the meter refuses one of the two.
	OutcomeRefused Outcome = "refused"
	// OutcomeUnknown: nobody knows yet. Verify later; a person or a reading settles it.
	OutcomeUnknown Outcome = "unknown"
)

// CreditOrder is one purchase to be written to a meter. Count is the new purchase count: the stored one plus one.
type CreditOrder struct {
	AmountFen int64
	Count     int64
}

// CreditResult is what became of a purchase. Note says in words why the outcome is not "verified".
type CreditResult struct {
	Before, After Snapshot
	Frames        []Frame
	Outcome       Outcome
	Note          string
	Sent          bool // the purchase left for the meter in this call
}

// SwitchResult is what became of a switching command.
type SwitchResult struct {
	Before, After Snapshot
	Frames        []Frame
	Outcome       Outcome
	Note          string
	Sent          bool // false when the switch already stood as commanded
	// HeldOpen says of a close that was refused that the meter holds itself open without credit of its own: only keep-power gives supply back.
	HeldOpen bool
}

// Stats counts what the pool did since it was made.
type Stats struct {
	Requests int64 // frames sent, or tried to be sent
	Timeouts int64 // requests without an answer, exception 0x0B included
	Retries  int64 // reads that were sent again; commands never are
	Errors   int64 // other failures: broken links, answers that don't fit, refusals
}

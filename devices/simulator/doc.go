// Package simulator is a fleet of gateways on real TCP sockets, each with prepaid meters behind it that speak Modbus TCP
// byte by byte.
//
// It owns its own frame parser, its own register layout and its own physics: it shares neither the register maps nor the
// decoders of the client, so a mistake in one of them shows as a difference. Every meter follows a real load series along
// business time, holds credit, trips itself at zero, refuses a wrong purchase count, and fails on request. Its registers,
// counts and relays outlive the process: every accepted command and every act of a meter's own is a line in an append-only
// record, which is the independent witness of what really happened.
//
// Physics, in short:
//   - Consumption is exact integer arithmetic. A slot of half an hour is spread evenly over its seconds; what does not fill
//     a register unit is kept. The state at an instant does not depend on how often the meter was asked in between.
//   - A missing half hour of an electricity series adds nothing. Water series are registers: a gap's water is spread over
//     the gap.
//   - Credit goes down with the register, unit by unit, at the price of the band; fractions of a fen are kept.
//   - A meter with credit looks at its balance at the end of each half hour, and trips when it is at or below minus the
//     overdraft limit, unless it is forced to stay closed. A purchase that lifts the balance above zero closes it again,
//     unless it is forced off.
//   - A relay or valve that is off lets nothing through.
package simulator

// Package rating prices use: readings and a tariff in, bill lines out. It is
// pure and re-runnable: the same input gives the same lines to the fen.
//
// It owns where a period is split (a new price, the end of a step period, a
// meter exchange), how use is counted toward steps, and that each line is
// rounded once. It refuses to own readings' plausibility (package metering),
// posting (ledger) and storage. No floats, no clock, no I/O.
//
// Within one fitting, tariff version and step period the result doesn't depend on how
// often the meter was read: only the readings at the splits count.
package rating

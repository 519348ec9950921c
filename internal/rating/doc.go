// Package rating prices use: readings and a tariff in, bill lines out. It is
// pure and re-runnable: the same input gives the same lines to the fen.
//
// It owns where a period is split (a new price, the end of a step period, a
// meter exchange), how use is counted toward steps, and that each line is
// rounded once. It refuses to own readings' plausibility (package metering),
// posting (ledger) and storage. No floats, no clock, no I/O.
//
// docs/tariffs.md says what each part of a tariff means to the fen; a second
// rating can be written from it. Rate prices one account; a Rater prices many,
// with what they share worked out once.
//
// Only the readings at the ends and at the splits count, so that the result
// doesn't depend on how often the meter was read. The stored inputs of earlier
// engines give the same fen; see Again.
package rating

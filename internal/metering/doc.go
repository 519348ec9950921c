// Package metering judges readings and fills gaps: is this reading to be
// believed, what did a register probably show. It is pure.
//
// It owns the validation rules with their default limits, estimation and
// interpolation. It refuses to own what follows from a finding: opening a
// case, deciding it and blocking a bill are the workflows' and the store's.
// Raw units are those of billing.Service; all of it is before the meter's
// ratio unless a name says otherwise. No floats, no clock, no I/O.
package metering

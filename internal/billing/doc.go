// Package billing holds the nouns of Meterflow: identifiers, money, exact
// quantities and prices, civil dates, states, tariffs as data and the one
// error vocabulary.
//
// It owns what these words mean and how they are written down (text, JSON,
// SQL). It refuses to own procedure: pricing is package rating, validation of
// readings is metering, permission to cut is supply. It imports the standard
// library and govalues/decimal only, so that every other package can import
// it, and it never asks for the time.
//
// Times that must not be confused: a reading is taken at one instant and
// stands for another (the freeze instant); a period is a half-open span of
// local days; a bill covers a period and is issued later.
package billing

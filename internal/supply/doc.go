// Package supply is the policy of cutting off and restoring: may this account
// be cut now, and why or why not. It is pure.
//
// It owns the order and wording of the reasons, the no-cut windows and the
// levels of low credit; all numbers are policy data with defaults. It refuses
// to own the cut itself: the caller locks the supply row, gathers Facts, asks
// Decide at every attempt and sends only on Allowed. Doubt always forbids.
package supply

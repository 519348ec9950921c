//go:build !prove

package app_test

// began is the demo's first day, so that its bills are issued, which takes the end of a month, on the last of its days.
const began = "2026-09-12"

// wanted is what the short proof asks for: as many days as it takes until bills are issued.
var wanted = demand{
	days: 20, stored: 6000, estimated: 1, manual: 1, decisions: 20, issued: 2, reminded: 1,
	credited: 30, rejected: 1, cut: 5, prevented: 1, restored: 5, faults: 1,
}

// kills are the deaths of the short kill test, each in the middle of something else.
var kills, killDays = []string{"mid-sweep:2", "credit-sent-not-recorded:1", "switch-sent-not-recorded:1", "posted-not-acked:2"}, 5

//go:build prove

package app_test

// began is the demo's first day.
const began = "2026-09-01"

// wanted is what the first month must come to.
var wanted = demand{
	days: 35, stored: 10_000, estimated: 1, manual: 1, decisions: 30, issued: 2, reminded: 1,
	credited: 50, rejected: 1, cut: 10, prevented: 3, restored: 10, faults: 1,
}

var kills, killDays = allKills, 35

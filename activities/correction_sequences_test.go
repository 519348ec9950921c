//go:build !prove

package activities_test

// correctionSequences is how many random histories are corrected, correctionsEach how many times each.
const (
	correctionSequences = 1
	correctionsEach     = 14
)

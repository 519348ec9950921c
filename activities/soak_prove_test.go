//go:build prove

package activities_test

// The long soak: so many operations, so many faults among them.
const (
	soakOperations = 10_000
	soakFaults     = 1_000
)

//go:build !prove

package activities_test

// The short soak: so many operations, so many faults among them.
const (
	soakOperations = 200
	soakFaults     = 40
)

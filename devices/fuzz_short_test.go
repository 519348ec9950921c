//go:build !prove

package devices_test

// fuzzTime is for how long each decoder is fuzzed.
const fuzzTime = "1s"

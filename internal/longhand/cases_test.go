//go:build !prove

package longhand_test

// cases is how many histories are rated twice; `make prove` takes 10,000.
const cases = 1_500

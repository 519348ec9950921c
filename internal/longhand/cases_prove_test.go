//go:build prove

package longhand_test

const cases = 10_000

package bench

import (
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
)

// ratedAccounts is how many accounts a turn of either side prices: a page of a billing run, which is read and then rated, so that it is near the
// processor. ratingRounds is how many turns each side has.
const (
	ratedAccounts = 500
	ratingRounds  = 1000
)

// Rating adds rating_vs_arithmetic to the report: the time of rating months of a time-of-use × step tariff, against that of a bare loop
// which does the same multiplications and roundings in 64-bit fixed point. Both sides must come to the same fen. Each side's fastest turn counts: the
// turns last a fraction of a millisecond, so that anything else that runs on the machine falls on one side only.
func Rating(r *Report) error {
	sides, err := rating.BenchSides(ratedAccounts)
	if err != nil {
		return err
	}
	var rated, bare Side
	for range ratingRounds {
		began := time.Now()
		sum, err := sides.Rated()
		if err != nil {
			return err
		}
		took := time.Since(began)
		began = time.Now()
		want := sides.Bare()
		bareTook := time.Since(began)
		if int64(sum) != want {
			return billing.Errorf(billing.CodeInternal, "rating gives %s yuan, the bare loop %s: nothing can be compared", sum, billing.Money(want))
		}
		rated.fastest(ratedAccounts, took)
		bare.fastest(ratedAccounts, bareTook)
	}
	r.Sides["rating"], r.Sides["arithmetic"] = rated, bare
	r.Ratios["rating_vs_arithmetic"] = bare.PerSecond() / rated.PerSecond()
	return nil
}

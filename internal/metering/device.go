package metering

import (
	"strconv"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// clock compares the meter's clock with ours. Where the tariff prices the bands, the split of the total is in doubt and blocks. A skew
// that a person has accepted before is not reported again unless it has grown by as much again.
func (v *validation) clock() {
	limit := time.Duration(v.Limits.ClockSkewSeconds) * time.Second
	if v.Current.Skew == nil || limit <= 0 || v.Current.Skew.Abs() <= limit {
		return
	}
	if p := v.Previous; p != nil && p.Skew != nil && p.Skew.Abs() > limit && (*v.Current.Skew-*p.Skew).Abs() <= limit {
		return
	}
	seconds := func(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
	v.found(RuleClockSkew, v.Meter.BandsPriced && v.Current.Registers.HasBands(), "skew", seconds(*v.Current.Skew), "limit", seconds(limit))
}

// ratio compares the transformer ratio that the meter shows with the one on file, by which its use is multiplied. What a person has
// accepted before is not reported again.
func (v *validation) ratio() {
	shown := v.Current.Ratio
	if shown == 0 || v.Meter.Ratio == 0 || shown == v.Meter.Ratio || (v.Previous != nil && v.Previous.Ratio == shown) {
		return
	}
	v.found(RuleRatioMismatch, true, "shown", strconv.FormatInt(shown, 10), "on_file", strconv.FormatInt(v.Meter.Ratio, 10))
}

// Recovered says what a doubtful reading was, seen from the good ones around it: a drop or a spike that went by. It is empty when
// the later reading doesn't settle that.
func Recovered(previous, doubted, current billing.Registers, digits int) Rule {
	if len(previous) != len(current) || len(doubted) != len(current) {
		return ""
	}
	if _, err := billing.Usage(previous, current, digits); err != nil {
		return ""
	}
	switch {
	case doubted.Total() < previous.Total() && previous.Total() <= current.Total():
		return RuleDropRecovered
	case doubted.Total() > current.Total() && previous.Total() <= current.Total():
		return RuleSpikeRecovered
	}
	return ""
}

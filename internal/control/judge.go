package control

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/meterflow/meterflow/internal/billing"
)

// Past is the use and price of an earlier stretch. Zero Days means that there is none.
type Past struct {
	Days     int64
	Quantity int64 // raw units after the ratio
	Fen      billing.Money
}

// Facts are what a bill is judged by.
type Facts struct {
	Service  billing.Service
	Class    billing.CustomerClass
	Days     int64 // of the bill
	Quantity int64 // raw units after the ratio
	Total    billing.Money
	// Estimated is how much of Quantity nobody measured.
	Estimated int64
	// Last is the issued bill of the period before; Year the issued bills of the twelve months before, or what the former system
	// said of the year.
	Last, Year Past
	// EarlierHeld is the first day of an earlier period of the account whose bill is held; zero without one.
	EarlierHeld billing.Date
}

// Rule names a limit.
type Rule string

// The rules. EarlierHeld is no limit but an order: periods are billed one after the other.
const (
	RuleAmount      Rule = "amount"
	RuleChange      Rule = "change"
	RuleLast        Rule = "last"
	RuleAverage     Rule = "average"
	RuleFall        Rule = "fall"
	RuleEstimated   Rule = "estimated"
	RuleNegative    Rule = "negative"
	RuleZero        Rule = "zero_with_use"
	RuleEarlierHeld Rule = "earlier_held"
)

// Rules lists every rule.
var Rules = []Rule{RuleAmount, RuleChange, RuleLast, RuleAverage, RuleFall, RuleEstimated, RuleNegative, RuleZero, RuleEarlierHeld}

// Stop is one reason why a bill doesn't go out: what the bill says, and what was allowed. Both are texts for people: amounts in yuan,
// use a day with its unit, a percentage, a month.
type Stop struct {
	Rule  Rule
	Was   string
	Limit string
}

// sentences say a stop in words: what the bill is, and what the limit allows.
var sentences = map[Rule]string{
	RuleAmount:      "the bill comes to %s yuan, the limit is %s yuan",
	RuleChange:      "the bill differs by %s yuan from the one before, the limit is %s yuan",
	RuleLast:        "the use of %s a day is above the limit of %s, set by the period before",
	RuleAverage:     "the use of %s a day is above the limit of %s, set by the average of the year",
	RuleFall:        "the use of %s a day is below the limit of %s, set by the period before",
	RuleEstimated:   "%s of the use is estimated, the limit is %s",
	RuleNegative:    "the bill is negative (%s yuan), the limit is %s yuan",
	RuleZero:        "the bill is for nothing, though %s were used; the limit is %s yuan",
	RuleEarlierHeld: "the bill of %s is still held: bill that period first (%s)",
}

// String says it in words.
func (s Stop) String() string { return fmt.Sprintf(sentences[s.Rule], s.Was, s.Limit) }

// Reason joins stops to one sentence.
func Reason(stops []Stop) string {
	texts := make([]string, len(stops))
	for i, s := range stops {
		texts[i] = s.String()
	}
	return strings.Join(texts, "; ")
}

// Judge says why a bill is stopped; an empty answer lets it go out. Reasons come in the order of Rules.
func (l Limits) Judge(f Facts) []Stop {
	var stops []Stop
	stop := func(r Rule, was, limit string) { stops = append(stops, Stop{r, was, limit}) }
	most := l.OtherFen
	if f.Class == billing.ClassHousehold {
		most = l.HouseholdFen
	}
	if most > 0 && f.Total > most {
		stop(RuleAmount, f.Total.Grouped(), most.Grouped())
	}
	if change := abs(f.Total - f.Last.Fen); l.ChangeFen > 0 && f.Last.Days > 0 && change > l.ChangeFen {
		stop(RuleChange, change.Grouped(), l.ChangeFen.Grouped())
	}
	stops = append(stops, l.compare(f)...)
	if f.Quantity > 0 && l.EstimatedPercent > 0 && over(f.Estimated, 100, f.Quantity, l.EstimatedPercent) {
		stop(RuleEstimated, fmt.Sprintf("%d %%", share(f.Estimated, f.Quantity)), fmt.Sprintf("%d %%", l.EstimatedPercent))
	}
	if l.Negative && f.Total < 0 {
		stop(RuleNegative, f.Total.Grouped(), billing.Money(0).String())
	}
	if l.ZeroWithUse && f.Total == 0 && f.Quantity > 0 {
		stop(RuleZero, f.Service.Format(f.Quantity)+" "+f.Service.Unit(), billing.Money(0).String())
	}
	if !f.EarlierHeld.IsZero() {
		stop(RuleEarlierHeld, f.EarlierHeld.String()[:7], f.EarlierHeld.String())
	}
	return stops
}

// compare holds the use a day against the past. All comparisons are made by multiplying, so that nothing is rounded before it is decided.
func (l Limits) compare(f Facts) []Stop {
	var stops []Stop
	if f.Days <= 0 {
		return nil
	}
	above := func(r Rule, times int64, p Past) {
		if times > 0 && p.Days > 0 && f.Quantity > l.IgnoreBelow && p.Quantity >= 0 && over(f.Quantity, 10*p.Days, p.Quantity, times*f.Days) {
			stops = append(stops, Stop{r, perDay(f.Service, f.Quantity, f.Days, 1, 1), perDay(f.Service, p.Quantity, p.Days, times, 10)})
		}
	}
	above(RuleLast, l.LastTimesTenths, f.Last)
	above(RuleAverage, l.AverageTimesTenths, f.Year)
	// Below: last/day > times × this/day.
	if l.FallTimesTenths > 0 && f.Last.Days > 0 && f.Last.Quantity > l.IgnoreBelow && f.Quantity >= 0 && over(f.Last.Quantity, 10*f.Days, f.Quantity, l.FallTimesTenths*f.Last.Days) {
		stops = append(stops, Stop{RuleFall, perDay(f.Service, f.Quantity, f.Days, 1, 1), perDay(f.Service, f.Last.Quantity, f.Last.Days, 10, l.FallTimesTenths)})
	}
	return stops
}

// over says whether a·b > c·d for values that are not negative, whatever their product.
func over(a, b, c, d int64) bool {
	h1, l1 := bits.Mul64(uint64(max(a, 0)), uint64(b)) //nolint:gosec // not negative
	h2, l2 := bits.Mul64(uint64(c), uint64(d))         //nolint:gosec // not negative
	return h1 > h2 || (h1 == h2 && l1 > l2)
}

// share is part of whole in percent, cut.
func share(part, whole int64) int64 {
	h, l := bits.Mul64(uint64(max(part, 0)), 100) //nolint:gosec // not negative
	if h >= uint64(whole) {                       //nolint:gosec // above zero
		return 100
	}
	q, _ := bits.Div64(h, l, uint64(whole)) //nolint:gosec // above zero
	return int64(q)                         //nolint:gosec // at most 100 in sense
}

// perDay writes quantity × times / (days × by) with its unit, cut to the register's decimals: it is for reading, nothing is decided by it.
func perDay(s billing.Service, quantity, days, times, by int64) string {
	h, l := bits.Mul64(uint64(max(quantity, 0)), uint64(times)) //nolint:gosec // not negative
	divisor := uint64(days * by)                                //nolint:gosec // above zero
	if h >= divisor {
		return s.Format(quantity) + " " + s.Unit()
	}
	q, _ := bits.Div64(h, l, divisor)
	return s.Format(int64(q)) + " " + s.Unit() //nolint:gosec // no larger than the product
}

func abs(m billing.Money) billing.Money {
	if m < 0 {
		return -m
	}
	return m
}

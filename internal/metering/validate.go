package metering

import (
	"strconv"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// Rule names what a finding is about.
type Rule string

// The rules, in the order in which they are checked.
const (
	RuleMissing       Rule = "missing"
	RuleMalformed     Rule = "malformed"
	RuleEstimateLimit Rule = "estimate_limit"
	RuleNegative      Rule = "negative"
	RuleFalseRollover Rule = "false_rollover"
	RuleRollover      Rule = "rollover"
	// RuleDropRecovered and RuleSpikeRecovered are said of an earlier reading, when a later one shows that it was a glitch.
	RuleDropRecovered  Rule = "drop_recovered"
	RuleSpikeRecovered Rule = "spike_recovered"
	RuleCapacity       Rule = "capacity"
	RuleTooHigh        Rule = "too_high"
	RuleTooLow         Rule = "too_low"
	RuleSumMismatch    Rule = "sum_mismatch"
	RuleUseWhileOff    Rule = "use_while_off"
	RuleZeroStreak     Rule = "zero_streak"
	RuleRelayMismatch  Rule = "relay_mismatch"
	RuleCreditDrift    Rule = "credit_drift"
	RuleClockSkew      Rule = "clock_skew"
	RuleRatioMismatch  Rule = "ratio_mismatch"
	// RuleMasterMismatch is found by ValidateMaster.
	RuleMasterMismatch Rule = "master_mismatch"
)

// Rules lists every rule, so that screens and messages can be held against it.
var Rules = []Rule{
	RuleMissing, RuleEstimateLimit, RuleMalformed, RuleNegative, RuleFalseRollover, RuleRollover, RuleDropRecovered, RuleSpikeRecovered,
	RuleCapacity, RuleTooHigh, RuleTooLow, RuleSumMismatch, RuleUseWhileOff, RuleZeroStreak, RuleRelayMismatch, RuleCreditDrift,
	RuleClockSkew, RuleRatioMismatch, RuleMasterMismatch,
}

// Finding is one doubt about a reading, with the numbers that a person needs
// to judge it. Registers are formatted in kWh or m³, money in yuan.
type Finding struct {
	Rule Rule `json:"rule"`
	// Blocking says that the registers are in doubt: nothing may be billed and
	// nobody cut on them until a person has decided.
	Blocking bool              `json:"blocking"`
	Numbers  map[string]string `json:"numbers"`
}

// OpensCase says whether a person must look. A plausible rollover is only noted.
func (f Finding) OpensCase() bool { return f.Rule != RuleRollover }

// Meter is what validation needs to know about the device.
type Meter struct {
	Service billing.Service
	// Digits is the number of digits of a raw register; it wraps at 10^Digits.
	Digits int
	// CapacityPerHour is the rated capacity in raw units per hour; 0 is unknown.
	CapacityPerHour int64
	// Ratio is the transformer ratio on file, 1 for a direct meter; 0 leaves it unjudged.
	Ratio int64
	// BandsPriced says that the account's tariff prices the bands, so that a wrong clock costs money.
	BandsPriced bool
}

// Reading is what the meter said at one instant.
type Reading struct {
	At        time.Time
	Registers billing.Registers
	// Remaining is the credit that the meter holds, if it holds any.
	Remaining *billing.Money
	Supply    billing.SupplyState
	// KeepOn is the meter's own keep-power flag, if it has one.
	KeepOn *bool
	// Ratio is what the meter shows; 0 when it shows none.
	Ratio int64
	// Skew is how far the meter's clock was ahead of ours; nil when it shows none.
	Skew *time.Duration
}

// DailyUse is the raw use of one local day.
type DailyUse struct {
	Day     billing.Date
	Raw     int64
	Quality billing.Quality
}

// Check is a reading and all that it is judged by.
type Check struct {
	Meter Meter
	// Previous is the last good reading of this fitting; nil for the first.
	Previous *Reading
	// Measured is the last reading before Previous that somebody or something measured, when Previous is an estimate; nil otherwise.
	// It never lies before a change of customer. Estimates counts the estimates since.
	Measured  *Reading
	Estimates int
	// Current is nil when the meter gave none.
	Current *Reading
	// History holds the last days, up to 30, oldest first, without gaps filled in.
	History []DailyUse
	Limits  Limits
	// Expected is the shadow ledger's balance at Current, for meter credit.
	Expected *billing.Money
	// Volume is how many litres are left in a meter that holds a volume, of which Current.Remaining is the worth; nil for others. Price is
	// what a m³ costs, in yuan×10^8.
	Volume *int64
	Price  int64
	// Commanded is the last verified or standing command; "" or unknown when none.
	Commanded billing.SupplyState
	// CommandedKeepOn says whether a keep-power command stands.
	CommandedKeepOn bool
}

// Accepted says whether nothing blocks.
func Accepted(findings []Finding) bool {
	for _, f := range findings {
		if f.Blocking {
			return false
		}
	}
	return true
}

// Validate applies every rule: one that passes, or was decided by a person,
// never skips another. It returns findings in the order of Rules.
func Validate(c Check) []Finding {
	if c.Current == nil {
		return c.missing()
	}
	if f := c.malformed(); f != nil {
		return []Finding{*f}
	}
	v := validation{Check: c}
	if c.Previous != nil {
		v.elapsed = c.Current.At.Sub(c.Previous.At)
		v.use()
		if v.counted != nil {
			v.high()
			v.low()
			v.sum()
			v.useWhileOff()
			v.zeroStreak()
		}
	}
	v.relay()
	v.credit()
	v.clock()
	v.ratio()
	return v.findings
}

// missing says that there is no reading, and that there have been enough estimates in a row.
func (c Check) missing() []Finding {
	findings := []Finding{{RuleMissing, true, map[string]string{}}}
	if limit := c.Limits.EstimateLimit; limit > 0 && c.Estimates >= limit {
		findings = append(findings, Finding{RuleEstimateLimit, true, map[string]string{"estimates": strconv.Itoa(c.Estimates), "limit": strconv.Itoa(limit)}})
	}
	return findings
}

// malformed finds a vector that is none, or that cannot follow the previous.
func (c Check) malformed() *Finding {
	reason := ""
	if err := c.Current.Registers.Validate(c.Meter.Service); err != nil {
		reason = billing.MessageOf(err)
	} else if p := c.Previous; p != nil {
		switch {
		case len(p.Registers) != len(c.Current.Registers):
			reason = "The reading has " + strconv.Itoa(len(c.Current.Registers)) + " registers, the one before had " + strconv.Itoa(len(p.Registers)) + "."
		case !c.Current.At.After(p.At):
			reason = "The reading is not later than the one before."
		}
	}
	if reason == "" {
		return nil
	}
	return &Finding{RuleMalformed, true, map[string]string{"reason": reason}}
}

type validation struct {
	Check
	elapsed  time.Duration
	counted  billing.Registers // nil when a register went back
	findings []Finding
}

// found adds a finding; pairs are names and values for the screen.
func (v *validation) found(rule Rule, blocking bool, pairs ...string) {
	numbers := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		numbers[pairs[i]] = pairs[i+1]
	}
	v.findings = append(v.findings, Finding{rule, blocking, numbers})
}

func (v *validation) format(raw int64) string { return v.Meter.Service.Format(raw) }

func (v *validation) hours() string {
	return strconv.FormatInt(int64(v.elapsed/time.Hour), 10)
}

// use computes what was counted and tells a rollover from a step back. A wrap
// is believed only if what it would mean is plausible; a counter that shows 0
// for a moment would otherwise book the whole register.
func (v *validation) use() {
	previous, current := v.Previous.Registers, v.Current.Registers
	counted, err := billing.Usage(previous, current, v.Meter.Digits)
	if v.overEstimated() {
		return
	}
	for i := range current {
		if current[i] >= previous[i] {
			continue
		}
		reg := billing.Register(i).String()
		if err != nil || !v.plausibleWrap(i, counted[i]) {
			v.found(RuleNegative, true, "register", reg, "previous", v.format(previous[i]), "current", v.format(current[i]))
			counted, err = nil, billing.Errorf(billing.CodeInvalidReading, "negative")
			continue
		}
		v.found(RuleRollover, false, "register", reg, "previous", v.format(previous[i]), "current", v.format(current[i]), "use", v.format(counted[i]))
	}
	v.counted = counted
}

// overEstimated finds a reading that counted less since the last measured one than was estimated: no rollover and no step back, but
// estimates that were too high. They are cancelled and spread again, once a person has agreed.
func (v *validation) overEstimated() bool {
	if v.Measured == nil {
		return false
	}
	estimated, err := billing.Usage(v.Measured.Registers, v.Previous.Registers, v.Meter.Digits)
	if err != nil {
		return false
	}
	counted, err := billing.Usage(v.Measured.Registers, v.Current.Registers, v.Meter.Digits)
	if err != nil {
		return false
	}
	since := validation{Check: v.Check, elapsed: v.Current.At.Sub(v.Measured.At)}
	since.Previous = v.Measured
	over := -1
	for i := range counted {
		if v.Current.Registers[i] < v.Measured.Registers[i] && !since.plausibleWrap(i, counted[i]) {
			return false
		}
		if counted[i] < estimated[i] && over < 0 {
			over = i
		}
	}
	if over < 0 {
		return false
	}
	v.found(RuleFalseRollover, true, "register", billing.Register(over).String(), "previous", v.format(v.Previous.Registers[over]), "current", v.format(v.Current.Registers[over]),
		"measured", v.format(v.Measured.Registers[over]), "estimates", strconv.Itoa(v.Estimates))
	return true
}

func (v *validation) plausibleWrap(register int, use int64) bool {
	limit, known := v.capacityLimit()
	if high, ok := v.highLimit(); ok && (!known || high < limit) {
		limit, known = high, true
	}
	if known {
		return use <= limit
	}
	// Nothing is known about this meter: believe only the last tenth of the
	// range followed by the first.
	tenth := billing.Wrap(v.Meter.Digits) / 10
	return v.Previous.Registers[register] >= 9*tenth && v.Current.Registers[register] < tenth
}

// capacityLimit is the most that the meter can have counted since Previous.
func (v *validation) capacityLimit() (int64, bool) {
	if v.Meter.CapacityPerHour <= 0 {
		return 0, false
	}
	seconds := int64(v.elapsed / time.Second)
	return v.Meter.CapacityPerHour * v.Limits.CapacityPercent / 100 * seconds / 3600, true
}

// highLimit is the most that this customer is believed to have used since
// Previous, by the largest of the last days. Parts of a day count as one,
// because an hour may well hold half of a day's use.
func (v *validation) highLimit() (int64, bool) {
	own := v.ownDays()
	if len(own) < v.Limits.HistoryDays || len(own) == 0 {
		return 0, false
	}
	var largest int64
	for _, day := range own {
		largest = max(largest, day.Raw)
	}
	level, ok := v.Limits.level(largest)
	perDay := max(largest*level.HighPercent/100, level.FloorRaw)
	minutes := max(int64(v.elapsed/time.Minute), 24*60)
	return perDay * minutes / (24 * 60), ok
}

// ownDays leaves out days that nobody measured.
func (v *validation) ownDays() []DailyUse {
	var own []DailyUse
	for _, day := range v.History {
		if day.Quality != billing.QualityEstimated {
			own = append(own, day)
		}
	}
	return own
}

func (v *validation) high() {
	use := v.counted.Total()
	if limit, known := v.capacityLimit(); known && use > limit {
		v.found(RuleCapacity, true, "use", v.format(use), "limit", v.format(limit), "hours", v.hours())
	}
	if limit, known := v.highLimit(); known && use > limit {
		v.found(RuleTooHigh, true, "use", v.format(use), "limit", v.format(limit), "hours", v.hours())
	}
}

func (v *validation) low() {
	own := v.ownDays()
	if len(own) == 0 || len(own) < 2*v.Limits.HistoryDays || v.elapsed < 20*time.Hour || !v.on() {
		return
	}
	smallest, largest := own[0].Raw, own[0].Raw
	for _, day := range own {
		smallest, largest = min(smallest, day.Raw), max(largest, day.Raw)
	}
	level, ok := v.Limits.level(largest)
	minutes := int64(v.elapsed / time.Minute)
	limit := smallest * level.LowPercent / 100 * minutes / (24 * 60)
	if use := v.counted.Total(); ok && smallest >= v.Limits.LowFloorRaw && use < limit {
		v.found(RuleTooLow, true, "use", v.format(use), "limit", v.format(limit), "hours", v.hours())
	}
}

// on says whether supply was on at both ends, as far as known.
func (v *validation) on() bool {
	return !v.Previous.Supply.Dark() && !v.Current.Supply.Dark()
}

func (v *validation) sum() {
	if !v.counted.HasBands() {
		return
	}
	total, bands := v.counted.Total(), v.counted.BandSum()
	if difference := max(total-bands, bands-total); difference > v.Limits.SumToleranceRaw {
		v.found(RuleSumMismatch, true, "total", v.format(total), "bands", v.format(bands), "difference", v.format(difference))
	}
}

func (v *validation) useWhileOff() {
	off := billing.SupplyOff
	if v.Commanded != off || v.Previous.Supply != off || v.Current.Supply != off {
		return
	}
	if use := v.counted.Total(); use > v.Limits.OffToleranceRaw {
		v.found(RuleUseWhileOff, true, "use", v.format(use), "hours", v.hours())
	}
}

// zeroStreak reports on the day on which the streak becomes long enough, and
// not again on each day after it.
func (v *validation) zeroStreak() {
	if v.counted.Total() != 0 || !v.on() || v.Limits.ZeroStreakDays <= 0 {
		return
	}
	before := 0
	for i := len(v.History) - 1; i >= 0 && v.History[i].Raw == 0; i-- {
		before++
	}
	days := before + int((v.elapsed+12*time.Hour)/(24*time.Hour))
	if before < v.Limits.ZeroStreakDays && days >= v.Limits.ZeroStreakDays && before < len(v.History) {
		v.found(RuleZeroStreak, true, "days", strconv.Itoa(days))
	}
}

func (v *validation) relay() {
	read := v.Current.Supply
	if known(v.Commanded) && known(read) && read != v.Commanded {
		v.found(RuleRelayMismatch, false, "commanded", string(v.Commanded), "read", string(read))
	}
	if keep := v.Current.KeepOn; keep != nil && *keep != v.CommandedKeepOn {
		v.found(RuleRelayMismatch, false, "commanded_keep_on", strconv.FormatBool(v.CommandedKeepOn), "read_keep_on", strconv.FormatBool(*keep))
	}
}

func known(s billing.SupplyState) bool { return s == billing.SupplyOn || s == billing.SupplyOff }

// credit compares the meter's amount with ours. The registers stay good, so
// the finding doesn't block the bill; its open case keeps the account from a cut.
func (v *validation) credit() {
	if v.Expected == nil || v.Current.Remaining == nil {
		return
	}
	drift := *v.Current.Remaining - *v.Expected
	if max(drift, -drift) <= max(v.Limits.CreditDriftFen, v.dayWorth()) {
		return
	}
	numbers := []string{"meter", v.Current.Remaining.String(), "ledger", v.Expected.String(), "difference", drift.String()}
	if v.Volume != nil {
		numbers = append(numbers, "volume", v.format(*v.Volume))
	}
	v.found(RuleCreditDrift, false, numbers...)
}

// dayWorth is what a usual day's use costs, where the meter holds a volume: so much may lie between it and the books, because what flows
// while it is credited is the customer's gain. It is 0 for a meter that holds money, and without a history.
func (v *validation) dayWorth() billing.Money {
	if v.Volume == nil || len(v.History) == 0 {
		return 0
	}
	var used int64
	for _, d := range v.History {
		used += d.Raw
	}
	return billing.LitresWorth(used/int64(len(v.History)), v.Price)
}

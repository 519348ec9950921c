package billing

// AdjustmentID names the refund or charge for a faulty meter, such as J20261103-0002.
type AdjustmentID string

// AdjustmentKind says why a meter registered wrongly, which decides how its true use is found.
type AdjustmentKind string

// The kinds of adjustments (供电营业规则 Art. 80 and 81).
const (
	// AdjustError: a test measured by how many percent the meter registers too much (positive) or too little. The true use is what an
	// error of zero would have registered, for half of the time since the last test or the fitting.
	AdjustError AdjustmentKind = "meter_error"
	// AdjustFault: another fault that nobody caused. The true use is that of a normal month, day by day.
	AdjustFault AdjustmentKind = "other_fault"
	// AdjustWiring: the meter was wired wrongly. The true use is what was registered and the difference rate on it, since the last test
	// or the fitting.
	AdjustWiring AdjustmentKind = "wrong_wiring"
)

// AdjustmentKinds lists the kinds.
var AdjustmentKinds = []AdjustmentKind{AdjustError, AdjustFault, AdjustWiring}

// AdjustmentState is the progress of an adjustment.
type AdjustmentState string

// The states of an adjustment. Its money moves with the second approval, in one transaction; before that nothing has changed.
const (
	AdjustmentPreviewed    AdjustmentState = "previewed"
	AdjustmentApprovedOnce AdjustmentState = "approved_once"
	AdjustmentBooked       AdjustmentState = "booked"
	AdjustmentRejected     AdjustmentState = "rejected"
	AdjustmentWithdrawn    AdjustmentState = "withdrawn"
)

// AdjustmentStates lists the states in order.
var AdjustmentStates = []AdjustmentState{AdjustmentPreviewed, AdjustmentApprovedOnce, AdjustmentBooked, AdjustmentRejected, AdjustmentWithdrawn}

// Final says whether nothing more will happen to the adjustment.
func (s AdjustmentState) Final() bool {
	return s == AdjustmentBooked || s == AdjustmentRejected || s == AdjustmentWithdrawn
}

// Fault is what a person enters of a faulty meter.
type Fault struct {
	Kind  AdjustmentKind `json:"kind"`
	Meter MeterID        `json:"meter"`
	// Corrected is the day on which the meter registers rightly again: the first that isn't adjusted.
	Corrected Date `json:"corrected"`
	// Since is the first day that is adjusted, for AdjustFault alone: the other kinds count from the last test or the fitting.
	Since Date `json:"since,omitzero"`
	// Percent is the difference rate of AdjustWiring: what is missing of the registered use, in percent of it; negative when too much was
	// registered. The error of AdjustError is that of the meter's test on file.
	Percent Percent `json:"percent,omitzero"`
	// Normal is the first day of the normal month of AdjustFault.
	Normal Date `json:"normal,omitzero"`
}

// Bounds of what a person can mean by a percentage. A meter that registers nothing has no error that could be reckoned back.
var (
	leastPercent = MustPercent("-99.9999")
	mostPercent  = MustPercent("10000")
)

// CheckPercent refuses an error or a difference rate of 0 and one that can't be: what is 100 percent short leaves nothing to reckon from.
func (k AdjustmentKind) CheckPercent(p Percent) error {
	switch {
	case p.IsZero():
		return Errorf(CodeInvalidInput, "An error of 0 percent changes nothing: there is nothing to adjust.")
	case p.d.Cmp(leastPercent.d) < 0 || p.d.Cmp(mostPercent.d) > 0:
		return Errorf(CodeInvalidInput, "%s percent can't be reckoned with: the percentage lies above -100 and is %s at most; for a meter that registered nothing enter another fault with a normal month.", p, mostPercent)
	}
	return nil
}

// Check refuses what can't be meant, whatever is on file.
func (f Fault) Check() error {
	if f.Meter == "" {
		return Errorf(CodeInvalidInput, "Say which meter was faulty.")
	}
	if f.Corrected.IsZero() {
		return Errorf(CodeInvalidInput, "Say from which day on the meter registers rightly again.")
	}
	switch f.Kind {
	case AdjustError:
		if !f.Percent.IsZero() || !f.Since.IsZero() || !f.Normal.IsZero() {
			return Errorf(CodeInvalidInput, "The error and the time of a tested meter come from its test on file: leave percentage, first day and normal month empty.")
		}
		return nil
	case AdjustWiring:
		if !f.Since.IsZero() || !f.Normal.IsZero() {
			return Errorf(CodeInvalidInput, "Wrong wiring counts since the last test or the fitting: leave first day and normal month empty.")
		}
		return f.Kind.CheckPercent(f.Percent)
	case AdjustFault:
		switch {
		case !f.Percent.IsZero():
			return Errorf(CodeInvalidInput, "Another fault is reckoned by a normal month: leave the percentage empty.")
		case f.Since.IsZero() || f.Normal.IsZero():
			return Errorf(CodeInvalidInput, "Another fault needs its first day and a normal month: enter both.")
		case !f.Since.Before(f.Corrected):
			return Errorf(CodeInvalidInput, "The fault ends (%s) before it begins (%s): enter the first faulty day and the first right one.", f.Corrected, f.Since)
		case f.Normal.Day() != 1:
			return Errorf(CodeInvalidInput, "A normal month is named by its first day, such as 2026-03-01.")
		}
		return nil
	}
	return Errorf(CodeInvalidInput, "The kind of fault %q is unknown: use meter_error, other_fault or wrong_wiring.", string(f.Kind))
}

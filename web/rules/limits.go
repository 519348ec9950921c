package rules

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// unit is what a limit counts.
type unit int

const (
	whole    unit = iota // a number of its own unit
	quantity             // raw register units, shown in kWh or m³
	money                // fen, shown in yuan
)

// limit is one number of a rule set: its name in data and forms, its words, and where it stands.
type limit struct {
	name string
	key  string
	kind unit
	unit string // of whole numbers: a key or a sign
	get  func(workflows.RuleSet) int64
	set  func(*workflows.RuleSet, int64)
}

var limits = []limit{
	{"history_days", locale.Key("rules.history_days"), whole, locale.Key("rules.days"), func(r workflows.RuleSet) int64 { return int64(r.HistoryDays) }, func(r *workflows.RuleSet, v int64) { r.HistoryDays = int(v) }},
	{"capacity_percent", locale.Key("rules.capacity_percent"), whole, "%", func(r workflows.RuleSet) int64 { return r.CapacityPercent }, func(r *workflows.RuleSet, v int64) { r.CapacityPercent = v }},
	{"low_floor_raw", locale.Key("rules.low_floor"), quantity, "", func(r workflows.RuleSet) int64 { return r.LowFloorRaw }, func(r *workflows.RuleSet, v int64) { r.LowFloorRaw = v }},
	{"zero_streak_days", locale.Key("rules.zero_streak_days"), whole, locale.Key("rules.days"), func(r workflows.RuleSet) int64 { return int64(r.ZeroStreakDays) }, func(r *workflows.RuleSet, v int64) { r.ZeroStreakDays = int(v) }},
	{"credit_drift_fen", locale.Key("rules.credit_drift"), money, "", func(r workflows.RuleSet) int64 { return int64(r.CreditDriftFen) }, func(r *workflows.RuleSet, v int64) { r.CreditDriftFen = billing.Money(v) }},
	{"sum_tolerance_raw", locale.Key("rules.sum_tolerance"), quantity, "", func(r workflows.RuleSet) int64 { return r.SumToleranceRaw }, func(r *workflows.RuleSet, v int64) { r.SumToleranceRaw = v }},
	{"off_tolerance_raw", locale.Key("rules.off_tolerance"), quantity, "", func(r workflows.RuleSet) int64 { return r.OffToleranceRaw }, func(r *workflows.RuleSet, v int64) { r.OffToleranceRaw = v }},
	{"clock_skew_seconds", locale.Key("rules.clock_skew"), whole, "s", func(r workflows.RuleSet) int64 { return r.ClockSkewSeconds }, func(r *workflows.RuleSet, v int64) { r.ClockSkewSeconds = v }},
	{"loss_permille", locale.Key("rules.loss_permille"), whole, "‰", func(r workflows.RuleSet) int64 { return r.LossPermille }, func(r *workflows.RuleSet, v int64) { r.LossPermille = v }},
	{"loss_floor_raw", locale.Key("rules.loss_floor"), quantity, "", func(r workflows.RuleSet) int64 { return r.LossFloorRaw }, func(r *workflows.RuleSet, v int64) { r.LossFloorRaw = v }},
	{"estimate_limit", locale.Key("rules.estimate_limit"), whole, locale.Key("rules.times"), func(r workflows.RuleSet) int64 { return int64(r.EstimateLimit) }, func(r *workflows.RuleSet, v int64) { r.EstimateLimit = int(v) }},
	{"spread_meters", locale.Key("rules.spread_meters"), whole, "", func(r workflows.RuleSet) int64 { return int64(r.SpreadMeters) }, func(r *workflows.RuleSet, v int64) { r.SpreadMeters = int(v) }},
	{"similar_meters", locale.Key("rules.similar_meters"), whole, "", func(r workflows.RuleSet) int64 { return int64(r.SimilarMeters) }, func(r *workflows.RuleSet, v int64) { r.SimilarMeters = int(v) }},
}

// unitText is what stands after the number.
func (l limit) unitText(ctx context.Context, s billing.Service) string {
	switch {
	case l.kind == quantity:
		return s.Unit()
	case l.kind == money:
		return locale.T(ctx, "unit.yuan")
	case strings.HasPrefix(l.unit, "rules."):
		return locale.T(ctx, l.unit)
	default:
		return l.unit
	}
}

// text is a limit's value as it is typed.
func (l limit) text(v int64, s billing.Service) string {
	switch l.kind {
	case quantity:
		return s.Format(v)
	case money:
		return billing.Money(v).String()
	default:
		return strconv.FormatInt(v, 10)
	}
}

// parse reads what was typed. A missing or negative number is refused beside its field.
func (l limit) parse(in *page.Input, s billing.Service) int64 {
	text := in.Required(l.name)
	if text == "" {
		return 0
	}
	var v int64
	var err error
	switch l.kind {
	case quantity:
		v, err = rawOf(text, s)
	case money:
		var fen billing.Money
		fen, err = billing.ParseMoney(text)
		v = int64(fen)
	default:
		v = in.Int(l.name)
	}
	if err == nil && v < 0 {
		err = billing.Errorf(billing.CodeInvalidInput, "a limit is never negative: write 0 or more")
	}
	if err != nil {
		in.Refuse(l.name, err)
	}
	return v
}

func rawOf(text string, s billing.Service) (int64, error) {
	q, err := billing.ParseQuantity(text)
	if err != nil {
		return 0, err
	}
	return s.Raw(q)
}

// mostLevels is how many levels of use the form offers.
const mostLevels = 3

func levelName(field string, no int) string { return field + "_" + strconv.Itoa(no) }

// versionOf reads the dates and, unless a group begins with the site's defaults, every limit.
func versionOf(in *page.Input, s billing.Service, datesOnly bool) store.RuleVersion {
	v := store.RuleVersion{FromDay: in.Day("from")}
	if in.Text("to") != "" {
		v.ToDay = in.Day("to")
	}
	if datesOnly {
		return v
	}
	var rules workflows.RuleSet
	for _, l := range limits {
		l.set(&rules, l.parse(in, s))
	}
	for no := 1; no <= mostLevels; no++ {
		if in.Text(levelName("high", no)) == "" {
			continue // fewer levels
		}
		level := workflows.RuleLevel{HighPercent: in.Int(levelName("high", no)), LowPercent: in.Int(levelName("low", no))}
		var err error
		if text := in.Text(levelName("up", no)); text != "" {
			if level.UpToRaw, err = rawOf(text, s); err != nil {
				in.Refuse(levelName("up", no), err)
			}
		}
		if level.FloorRaw, err = rawOf(in.Required(levelName("floor", no)), s); err != nil {
			in.Refuse(levelName("floor", no), err)
		}
		rules.Levels = append(rules.Levels, level)
	}
	for _, m := range strings.FieldsFunc(in.Required("methods"), func(r rune) bool { return r == ',' || r == ' ' || r == '，' || r == '、' }) {
		rules.Methods = append(rules.Methods, workflows.RuleMethod(m))
	}
	if in.Err() != nil {
		return v
	}
	var err error
	if v.Rules, err = json.Marshal(rules); err != nil {
		panic(err) // numbers and words: it can't fail
	}
	return v
}

// limitFields ask for every limit, as the rules have it now.
func limitFields(ctx context.Context, f page.Form, r workflows.RuleSet, s billing.Service) []components.Field {
	var fields []components.Field
	add := func(kind components.FieldKind, name, label, value, unit string, required bool) {
		fields = append(fields, components.Field{Kind: kind, Name: name, Label: label, Value: f.Value(name, value), Unit: unit, Error: f.Problem(name), Required: required, Autocomplete: "off"})
	}
	for no := 1; no <= mostLevels; no++ {
		var up, high, floor, low string
		if no <= len(r.Levels) {
			l := r.Levels[no-1]
			high, floor, low = strconv.FormatInt(l.HighPercent, 10), s.Format(l.FloorRaw), strconv.FormatInt(l.LowPercent, 10)
			if l.UpToRaw > 0 {
				up = s.Format(l.UpToRaw)
			}
		}
		add(components.QuantityField, levelName("up", no), locale.T(ctx, "rules.up_to", no), up, s.Unit(), false)
		add(components.QuantityField, levelName("high", no), locale.T(ctx, "rules.high", no), high, "%", no == 1)
		add(components.QuantityField, levelName("floor", no), locale.T(ctx, "rules.floor", no), floor, s.Unit(), no == 1)
		add(components.QuantityField, levelName("low", no), locale.T(ctx, "rules.low", no), low, "%", no == 1)
	}
	for _, l := range limits {
		add(components.QuantityField, l.name, locale.T(ctx, l.key), l.text(l.get(r), s), l.unitText(ctx, s), true)
	}
	methods := make([]string, len(r.Methods))
	for i, m := range r.Methods {
		methods[i] = string(m)
	}
	add(components.TextField, "methods", locale.T(ctx, "rules.methods"), strings.Join(methods, ", "), "", true)
	fields[len(fields)-1].Hint = locale.T(ctx, "rules.methods_hint")
	return fields
}

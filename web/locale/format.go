package locale

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// minus is U+2212: as wide as a digit in tabular figures, which a hyphen is not. Files for machines don't pass here.
const minus = "\u2212"

// Money writes an amount in fen as yuan with two decimals, thousands separated and the sign in front: "−1,234.56".
// It takes any type built on int64, so that billing's money needs no conversion.
func Money[F ~int64](fen F) string { return Quantity(fen, 2) }

// MoneySigned is Money with a plus in front of what is above zero, for changes and postings.
func MoneySigned[F ~int64](fen F) string {
	if fen > 0 {
		return "+" + Money(fen)
	}
	return Money(fen)
}

// Quantity writes raw·10^−scale with exactly scale decimals and thousands separated: Quantity(1234567, 2) is
// "12,345.67". No binary float is involved. A scale below zero is taken as zero.
func Quantity[N ~int64](raw N, scale int) string {
	scale = max(scale, 0)
	digits := strconv.FormatInt(int64(raw), 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = minus, digits[1:]
	}
	if pad := scale + 1 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	whole, rest := digits[:len(digits)-scale], digits[len(digits)-scale:]
	if scale > 0 {
		rest = "." + rest
	}
	return sign + grouped(whole) + rest
}

// Count writes a whole number with thousands separated.
func Count[N ~int | ~int32 | ~int64](n N) string { return Quantity(int64(n), 0) }

func grouped(digits string) string {
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// Date writes the day of t in the zone of ctx: "2026-10-31". A zero instant is an en dash, as in all of these.
func Date(ctx context.Context, t time.Time) string { return layout(ctx, t, time.DateOnly) }

// DateTime writes minute precision, which is what people decide on: "2026-10-31 08:15".
func DateTime(ctx context.Context, t time.Time) string { return layout(ctx, t, "2006-01-02 15:04") }

// Stamp writes second precision for timelines and evidence: "2026-10-31 08:15:04".
func Stamp(ctx context.Context, t time.Time) string { return layout(ctx, t, time.DateTime) }

// Clock writes the time of the day only: "08:15".
func Clock(ctx context.Context, t time.Time) string { return layout(ctx, t, "15:04") }

// Day writes a date with its weekday, for deadlines: "2026-10-31 周六", "2026-10-31 Sat".
func Day(ctx context.Context, t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return Date(ctx, t) + " " + Weekday(ctx, t)
}

// ShortDay writes month and day for axes: "10-31".
func ShortDay(ctx context.Context, t time.Time) string { return layout(ctx, t, "01-02") }

// Weekday is the short name of the day of t in the zone of ctx.
func Weekday(ctx context.Context, t time.Time) string {
	keys := [...]string{
		Key("weekday.sun"), Key("weekday.mon"), Key("weekday.tue"), Key("weekday.wed"),
		Key("weekday.thu"), Key("weekday.fri"), Key("weekday.sat"),
	}
	return T(ctx, keys[t.In(Zone(ctx)).Weekday()])
}

func layout(ctx context.Context, t time.Time, form string) string {
	if t.IsZero() {
		return "–"
	}
	return t.In(Zone(ctx)).Format(form)
}

// Span writes how long something takes or waits, in its largest whole unit: "3 小时", "3 h". Below a minute it counts
// seconds. Negative spans are written as their size; Ago and Until say the direction.
func Span(ctx context.Context, d time.Duration) string {
	d = d.Abs()
	switch {
	case d < time.Minute:
		return T(ctx, "span.seconds", int64(d/time.Second))
	case d < time.Hour:
		return T(ctx, "span.minutes", int64(d/time.Minute))
	case d < 48*time.Hour:
		return T(ctx, "span.hours", int64(d/time.Hour))
	default:
		return T(ctx, "span.days", int64(d/(24*time.Hour)))
	}
}

// Ago says how long before now t was ("3 小时前", "3 h ago"), or how long after ("3 小时后", "in 3 h") when it is to come.
func Ago(ctx context.Context, t, now time.Time) string {
	switch d := now.Sub(t); {
	case t.IsZero():
		return "–"
	case d < 0:
		return T(ctx, "span.until", Span(ctx, d))
	default:
		return T(ctx, "span.ago", Span(ctx, d))
	}
}

// Waiting says how long something has been open: "已 3 小时", "for 3 h".
func Waiting(ctx context.Context, since, now time.Time) string {
	if since.IsZero() {
		return "–"
	}
	return T(ctx, "span.for", Span(ctx, max(now.Sub(since), 0)))
}

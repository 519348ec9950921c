package components

import (
	"context"
	"strconv"
	"strings"

	"github.com/meterflow/meterflow/web/locale"
)

// percent is done/total as an SVG length, cut to 0–100 %; 0 % while the total isn't known.
func percent(done, total int) string {
	if total <= 0 {
		return "0%"
	}
	return strconv.Itoa(min(max(done*100/total, 0), 100)) + "%"
}

// progressTone is good when all is done, unless the page says otherwise.
func progressTone(v ProgressView) Tone {
	switch {
	case v.Tone != Neutral:
		return v.Tone
	case v.Total > 0 && v.Done >= v.Total:
		return Good
	default:
		return Running
	}
}

const pending = "pending"

func cellWord(ctx context.Context, state string) string {
	if state == pending {
		return locale.T(ctx, "strip.pending")
	}
	return locale.State(ctx, locale.Quality, state)
}

func stripTitle(ctx context.Context, c StripCell) string {
	return c.Label + " · " + cellWord(ctx, c.State)
}

// stripSummary counts the results in the order of the vocabulary: "26 actual · 1 missing".
func stripSummary(ctx context.Context, cells []StripCell) string {
	counts := map[string]int{}
	for _, c := range cells {
		counts[c.State]++
	}
	var parts []string
	for _, state := range append(locale.Words(locale.Quality), pending) {
		if n := counts[state]; n > 0 {
			parts = append(parts, cellWord(ctx, state)+" "+locale.Count(n))
		}
	}
	return strings.Join(parts, " · ")
}

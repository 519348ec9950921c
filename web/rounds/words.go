package rounds

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/workflows"
)

// warnings are what is said about a value at once, in two wordings: with the numbers behind it, and without them for a reader who
// may not see the last value.
var warnings = map[string]struct{ open, hidden string }{
	"negative":     {locale.Key("rounds.warn_negative"), locale.Key("rounds.warn_negative_hidden")},
	"later":        {locale.Key("rounds.warn_later"), locale.Key("rounds.warn_later_hidden")},
	"capacity":     {locale.Key("rounds.warn_use"), locale.Key("rounds.warn_capacity_hidden")},
	"too_high":     {locale.Key("rounds.warn_use"), locale.Key("rounds.warn_high_hidden")},
	"too_low":      {locale.Key("rounds.warn_low"), locale.Key("rounds.warn_low_hidden")},
	"rollover":     {locale.Key("rounds.warn_rollover"), locale.Key("rounds.warn_rollover_hidden")},
	"sum_mismatch": {locale.Key("rounds.warn_sum"), locale.Key("rounds.warn_sum")},
	"zero_streak":  {locale.Key("rounds.warn_zero"), locale.Key("rounds.warn_zero")},
}

// warningText says one doubt. A rule without words of its own is named.
func warningText(ctx context.Context, w workflows.RoundWarning, open bool, service billing.Service) string {
	n := w.Numbers
	rule := string(w.Rule)
	if n["later"] != "" {
		rule = "later"
	}
	words, ok := warnings[rule]
	if !ok {
		return locale.State(ctx, locale.Rule, w.Rule)
	}
	if !open {
		return locale.T(ctx, words.hidden)
	}
	switch rule {
	case "negative", "rollover":
		return locale.T(ctx, words.open, n["current"], n["previous"], service.Unit())
	case "later":
		return locale.T(ctx, words.open, n["current"], n["previous"], service.Unit())
	case "capacity", "too_high", "too_low":
		return locale.T(ctx, words.open, n["use"], n["hours"], n["limit"], service.Unit())
	}
	return locale.T(ctx, words.open)
}

func warningTexts(ctx context.Context, ws []workflows.RoundWarning, open bool, service billing.Service) string {
	texts := make([]string, len(ws))
	for i, w := range ws {
		texts[i] = warningText(ctx, w, open, service)
	}
	return strings.Join(texts, " ")
}

// findingKeys say what was found about a reader's work, with its numbers.
var findingKeys = map[string]string{
	"round_digits":    locale.Key("rounds.found_round_digits"),
	"regular_use":     locale.Key("rounds.found_regular_use"),
	"regular_pace":    locale.Key("rounds.found_regular_pace"),
	"too_fast":        locale.Key("rounds.found_too_fast"),
	"equals_estimate": locale.Key("rounds.found_equals_estimate"),
	"skips":           locale.Key("rounds.found_skips"),
	"always_late":     locale.Key("rounds.found_always_late"),
}

func findingText(ctx context.Context, f store.ReaderFinding) string {
	var n map[string]string
	if json.Unmarshal(f.Numbers, &n) != nil {
		n = map[string]string{}
	}
	key, ok := findingKeys[f.Rule]
	if !ok {
		return f.Rule
	}
	switch f.Rule {
	case "regular_pace":
		return locale.T(ctx, key, n["count"], n["of"], n["seconds"])
	case "too_fast":
		return locale.T(ctx, key, n["count"], n["of"], n["least_seconds"], n["seconds"])
	}
	return locale.T(ctx, key, n["count"], n["of"])
}

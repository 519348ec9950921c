package cutoffs

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/supply"
	"github.com/meterflow/meterflow/web/locale"
)

// Each reason that the policy can print has its sentence in both languages, with the same numbers.
func TestReasons_coverThePolicy(t *testing.T) {
	zh, en := context.Background(), locale.WithLang(context.Background(), locale.EN)
	require.Len(t, reasons, len(supply.ReasonCodes()))
	for _, code := range supply.ReasonCodes() {
		require.Contains(t, reasons, string(code))
		r := reason{Code: string(code), For: true}
		require.NotEqual(t, string(code), sentence(zh, r))
		printed := supply.Reason{Code: code}.String()
		for _, part := range strings.Split(printed, "{")[1:] {
			name, _, _ := strings.Cut(part, "}")
			if code == supply.ReadingStale || code == supply.NoticeGiven { // say less than they know
				continue
			}
			require.Contains(t, sentence(en, r), "{"+name+"}", "%s", code)
			require.Contains(t, sentence(zh, r), "{"+name+"}", "%s", code)
		}
	}
}

func TestDecisionOf_readsWhatThePolicyPrints(t *testing.T) {
	d := supply.Decision{Reasons: []supply.Reason{{Code: supply.ReadingFresh, For: true, Numbers: map[string]string{"hours": "9", "quality": "actual"}}, {Code: supply.InNoCutWindow}}}
	raw, err := json.Marshal(d)
	require.NoError(t, err)
	got := decisionOf(raw)
	require.Len(t, got.Reasons, 2)
	require.Equal(t, "最近示数为 9 小时前（实抄）", sentence(context.Background(), got.Reasons[0]))
	all := lines(context.Background(), got)
	require.Equal(t, "此时段不停供", all[0].text, "what stands against comes first")
	require.Equal(t, "此时段不停供", brief(context.Background(), got))
	require.Empty(t, decisionOf(json.RawMessage(`{}`)).Reasons)
	require.Empty(t, decisionOf(json.RawMessage(`nonsense`)).Reasons)
}

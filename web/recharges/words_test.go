package recharges

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
)

func TestInWords(t *testing.T) {
	for fen, words := range map[billing.Money]string{
		1: "壹分", 10: "壹角整", 5: "伍分", 100: "壹元整", 105: "壹元零伍分", 12050: "壹佰贰拾元伍角整", 1234: "壹拾贰元叁角肆分", 10000: "壹佰元整", 100500: "壹仟零伍元整",
		1000000: "壹万元整", 1000100: "壹万零壹元整", 10010000: "壹拾万零壹佰元整", 100000000: "壹佰万元整", 100000001: "壹佰万元零壹分", 1000000000000: "壹佰亿元整",
		12345678: "壹拾贰万叁仟肆佰伍拾陆元柒角捌分", 1000001000: "壹仟万零壹拾元整",
	} {
		require.Equal(t, words, inWords(fen), "%d fen", fen)
	}
}

// Two amounts never read alike, and no gap is written twice.
func TestInWords_tellsAmountsApart(t *testing.T) {
	seen := map[string]billing.Money{}
	rapid.Check(t, func(t *rapid.T) {
		m := billing.Money(rapid.Int64Range(1, 5_000_000_00).Draw(t, "fen"))
		words := inWords(m)
		if other, ok := seen[words]; ok && other != m {
			t.Fatalf("%d and %d are both %s", other, m, words)
		}
		seen[words] = m
		if strings.Contains(words, "零零") || strings.Contains(words, "零元") || strings.Contains(words, "零万") {
			t.Fatalf("%d is written %s", m, words)
		}
	})
}

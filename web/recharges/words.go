package recharges

import (
	"strings"

	"github.com/meterflow/meterflow/internal/billing"
)

// Chinese receipts repeat the amount in capital numerals, which can't be altered with a pen (支付结算办法, 附一).
const numerals = "零壹贰叁肆伍陆柒捌玖"

func numeral(d int64) string { return string([]rune(numerals)[d]) }

// inWords writes an amount above zero as 壹佰贰拾元叁角肆分, ending in 整 when there are no fen.
func inWords(m billing.Money) string {
	yuan, jiao, fen := int64(m)/100, int64(m)/10%10, int64(m)%10
	var b strings.Builder
	if yuan > 0 {
		b.WriteString(wholeInWords(yuan) + "元")
	}
	switch {
	case jiao > 0:
		b.WriteString(numeral(jiao) + "角")
	case fen > 0 && yuan > 0:
		b.WriteString("零")
	}
	if fen > 0 {
		return b.String() + numeral(fen) + "分"
	}
	return b.String() + "整"
}

// wholeInWords writes a number above zero in groups of four digits: 万 and 亿 close a group, a gap of zeros is one 零.
func wholeInWords(n int64) string {
	groups := []string{"", "万", "亿", "万亿", "亿亿"}
	var text string
	gap := false // zeros stand between what is written and what comes before it
	for g := 0; n > 0; g, n = g+1, n/10000 {
		part := n % 10000
		if part == 0 {
			gap = text != ""
			continue
		}
		if gap {
			text = "零" + text
		}
		text = groupInWords(part) + groups[g] + text
		gap = part < 1000 && n >= 10000
	}
	return text
}

// groupInWords writes 1 to 9999.
func groupInWords(n int64) string {
	units := []string{"", "拾", "佰", "仟"}
	var text string
	for i := 0; n > 0; i, n = i+1, n/10 {
		switch d := n % 10; {
		case d > 0:
			text = numeral(d) + units[i] + text
		case text != "" && !strings.HasPrefix(text, "零"):
			text = "零" + text
		}
	}
	return text
}

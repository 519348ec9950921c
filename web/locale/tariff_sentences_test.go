package locale

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
)

// A tariff's refusal is put together from the place and what is wrong there; both have to arrive in Chinese.
func TestSentence_refusedTariffs(t *testing.T) {
	const head = `{"id": "t", "name": {"zh": "价", "en": "p"}, "service": "power", "versions": [{"from": "2026-12-01", `
	steps := func(tiers string) string {
		return head + `"components": [{"key": "energy", "name": {"zh": "电", "en": "e"}, "kind": "steps", "accumulate": "year", "tiers": [` + tiers + `]}]}]}`
	}
	bands := func(list string) string {
		return head + `"components": [{"key": "energy", "name": {"zh": "电", "en": "e"}, "kind": "bands", "bands": [` + list + `]}]}]}`
	}
	days := func(segments string) string {
		return head + `"calendar": {"seasons": [{"months": [1,2,3,4,5,6,7,8,9,10,11,12], "days": [{"segments": [` + segments + `]}]}]},
			"components": [{"key": "energy", "name": {"zh": "电", "en": "e"}, "kind": "flat", "price": "0.5"}]}]}`
	}
	for chinese, file := range map[string]string{
		"价目 t：版本 2026-12-01，构成项 energy：平时段：缺少价格：每个时段都须有价格，与其他时段相同也要写。":               bands(`{"register": "sharp", "price": "1"}, {"register": "peak", "price": "1"}`),
		"价目 t：版本 2026-12-01，构成项 energy：尖时段：有两个价格。":                                   bands(`{"register": "sharp", "price": "1"}, {"register": "sharp", "price": "1"}`),
		"价目 t：版本 2026-12-01，构成项 energy：尖时段：价格 -1 是负数。":                               bands(`{"register": "sharp", "price": "-1"}`),
		"价目 t：版本 2026-12-01，构成项 energy：第 2 档：上限 2000 不高于本档起点 2760，与前一档重叠。":           steps(`{"up_to": "2760", "price": "0.5"}, {"up_to": "2000", "price": "0.6"}, {"price": "0.8"}`),
		"价目 t：版本 2026-12-01，构成项 energy：第 2 档：最后一档不能有上限，否则超过 4800 的用量没有价格。":           steps(`{"up_to": "2760", "price": "0.5"}, {"up_to": "4800", "price": "0.6"}`),
		"价目 t：版本 2026-12-01，构成项 energy：第 1 档：缺少价格。":                                  steps(`{"up_to": "2760"}, {"price": "0.8"}`),
		"价目 t：版本 2026-12-01，构成项 energy：第 1 档：上限 -5 是负数。":                             steps(`{"up_to": "-5", "price": "0.5"}, {"price": "0.8"}`),
		"价目 t：版本 2026-12-01，终止日（until 2026-11-01）不晚于执行首日。":                           head + `"until": "2026-11-01", "components": [{"key": "e", "name": {"zh": "电", "en": "e"}, "kind": "flat", "price": "0.5"}]}]}`,
		"价目 t：版本 2026-12-01，时段日历：第 1 个季节：第 1 类日：时段 07:00–24:00：平与 00:00–08:00 的谷重叠。": days(`{"from": "00:00", "to": "08:00", "band": "valley"}, {"from": "07:00", "to": "24:00", "band": "flat"}`),
		"价目文件第 2 行，versions[0].components[0].price：请写成带引号的文本，例如 \"0.538\"。":          head + `"components": [` + "\n" + `{"price": 0.5}]}]}`,
		"价目文件第 1 行，prize：此处没有字段 \"prize\"。":                                          `{"prize": 1}`,
	} {
		_, err := billing.ParseTariff([]byte(file))
		require.Error(t, err, chinese)
		require.Equal(t, chinese, Sentence(context.Background(), billing.MessageOf(err)))
	}
}

package storybook

import (
	"context"
	"strconv"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
)

func caseRows(ctx context.Context) []components.Row {
	rules := []string{"too_high", "missing", "rollover", "relay_mismatch", "credit_drift", "sum_mismatch"}
	names := [][2]string{
		{"李强", "Li Qiang"}, {"王秀英", "Wang Xiuying"}, {"张伟", "Zhang Wei"}, {"滨江幼儿园", "Riverside Kindergarten"},
		{"陈洁", "Chen Jie"}, {"中央广场 B1 冷冻机房", "Central Plaza B1 chiller room"},
	}
	rows := make([]components.Row, 0, len(rules))
	for i, rule := range rules {
		since := noon.Add(-time.Duration(70-11*i) * time.Hour)
		no := "EX-20261031-000" + strconv.Itoa(7-i)
		row := components.Row{ID: no, Href: "?page=story", Cells: []templ.Component{
			components.Text(no),
			components.StateBadge(locale.Rule, rule),
			components.Text("330001" + strconv.Itoa(i) + " " + say(ctx, names[i][0], names[i][1])),
			components.Quantity(int64(3870+i*129), 2, ""),
			components.MoneySigned(int64(1542 - i*930)),
			components.Waited(since, noon),
			components.StateBadge(locale.Case, "open"),
		}}
		if i == 0 {
			row.Tone = components.Danger
		}
		rows = append(rows, row)
	}
	return rows
}

func timeline(ctx context.Context) components.TimelineView {
	return components.TimelineView{Title: say(ctx, "经过", "Timeline"), Events: []components.Event{
		{
			Business: noon, Real: noon.Add(-40 * time.Hour), By: say(ctx, "周敏", "Zhou Min"), Role: locale.State(ctx, locale.Role, "supervisor"),
			What: say(ctx, "要求重抄", "Asked for a new reading"), Why: say(ctx, "用量是平日的四倍，先确认示数。", "Four times the usual; confirm the reading first."),
			Workflow: "exception/EX-20261031-0007", WorkflowHref: "#",
		},
		{
			Business: noon.Add(-3 * time.Hour), What: say(ctx, "工单开立", "Case opened"), Kind: locale.Case, To: "open",
			Workflow: "cycle/river/2026-10-31", WorkflowHref: "#", EvidenceHref: "#", EvidenceLabel: say(ctx, "示数", "Reading"),
			Detail: frames(),
		},
		{
			Business: noon.Add(-26 * time.Hour), What: say(ctx, "充值", "Recharge"), Kind: locale.Recharge, From: "delivering", To: "credited",
			Workflow: "recharge/R-20261030-0042", By: say(ctx, "王芳", "Wang Fang"), Role: locale.State(ctx, locale.Role, "clerk"),
		},
		{
			Business: noon.Add(-27 * time.Hour), What: say(ctx, "充值", "Recharge"), Kind: locale.Recharge, From: "approved", To: "in_doubt",
			Why: say(ctx, "写入后没有应答，购电次数未知。", "No answer after the write; the purchase count is unknown."), Workflow: "recharge/R-20261030-0042",
		},
	}}
}

func decide(ctx context.Context) components.Action {
	return components.Action{
		ID: "decide", Title: say(ctx, "处理", "Decide"), URL: "/storybook", Submit: say(ctx, "提交处理", "Submit decision"), Key: "s",
		Error: say(ctx, "示数低于上次关闭的示数 12,306.97；请核对后再提交。", "The value is below the last closed reading, 12,306.97; check it and submit again."),
		Fields: []components.Field{
			{Kind: components.ChoiceField, Name: "decision", Label: say(ctx, "处理方式", "Proposal"), Value: "estimate", Required: true, Options: []components.Option{
				{Value: "reread", Label: say(ctx, "重抄", "Read again"), Hint: say(ctx, "约 2 分钟后得到新示数", "A new value in about 2 min")},
				{Value: "estimate", Label: say(ctx, "估抄 9.02 kWh", "Estimate 9.02 kWh"), Hint: say(ctx, "本日电费 4.85 元（−15.97）", "4.85 for the day (−15.97)")},
				{Value: "accept", Label: say(ctx, "采用 38.70 kWh", "Accept 38.70 kWh"), Hint: say(ctx, "本日电费 20.82 元", "20.82 for the day")},
				{Value: "exchange", Label: say(ctx, "按换表处理", "Exchange"), Disabled: say(ctx, "没有登记的换表", "No exchange is registered")},
			}},
			{Kind: components.QuantityField, Name: "value", Label: say(ctx, "示数", "Value"), Value: "12300.00", Unit: "kWh"},
			components.ReasonField(say(ctx, "原因", "Reason"), "", ""),
		},
	}
}

func cut(ctx context.Context) components.Action {
	return components.Action{
		ID: "cut", Title: say(ctx, "停电", "Cut supply"), URL: "/storybook", Tone: components.Danger, Submit: say(ctx, "停电", "Cut"),
		Confirm: say(ctx, "对户号 3300018 停电？", "Cut account 3300018?"),
		Consequence: components.Facts([]components.Fact{
			{Label: say(ctx, "将停电", "Will be cut"), Value: components.Text(say(ctx, "3300018 李强", "3300018 Li Qiang"))},
			{Label: say(ctx, "余额", "Balance"), Value: components.Money(int64(-4215))},
			{Label: say(ctx, "停电通知送达", "Final notice delivered"), Value: components.When(noon.Add(-50 * time.Hour))},
		}),
		Fields: []components.Field{components.ReasonField(say(ctx, "原因", "Reason"), "", say(ctx, "请写明原因。", "Write the reason."))},
	}
}

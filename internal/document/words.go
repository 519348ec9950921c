package document

import "fmt"

// Language is one of the two languages of papers.
type Language string

// The languages. Chinese is the usual one.
const (
	ZH Language = "zh"
	EN Language = "en"
)

// word is a text in both languages.
type word struct{ zh, en string }

// words are all texts that stand on papers and over the columns of lists.
var words = map[string]word{
	"power_bill": {"电费账单", "Electricity bill"}, "water_bill": {"水费账单", "Water bill"},
	"power": {"电", "Power"}, "water": {"水", "Water"},
	"number": {"编号", "No."}, "account": {"户号", "Account"}, "customer": {"户名", "Customer"}, "address": {"用电/用水地址", "Service address"},
	"period": {"账期", "Period"}, "tariff": {"电价/水价", "Tariff"}, "use": {"用量", "Use"}, "issued": {"发行时间", "Issued"}, "printed": {"打印时间", "Printed"},
	"not_issued": {"未发行", "not issued"}, "held": {"暂缓发行，非正式账单", "held, not a bill yet"}, "draft": {"未发行，非正式账单", "draft, not a bill yet"}, "cancelled": {"已作废", "cancelled"},
	"lines": {"计费明细", "Lines"}, "line": {"项目", "Item"}, "band": {"时段/阶梯", "Band/step"}, "days": {"起止", "Days"}, "opening": {"起码", "Opening"}, "closing": {"止码", "Closing"},
	"price": {"单价（元）", "Price (CNY)"}, "factor": {"系数", "Factor"}, "amount": {"金额（元）", "Amount (CNY)"}, "total": {"合计", "Total"}, "step": {"%s·第%d档", "%s, step %d"},
	"readings": {"抄表示数", "Readings"}, "meter": {"表号", "Meter"}, "register": {"示数类型", "Register"}, "from": {"起", "From"}, "to": {"止", "To"}, "ratio": {"倍率", "Ratio"}, "counted": {"计量", "Counted"},
	"estimated":  {"*含估抄", "*partly estimated"},
	"adjustment": {"计量退补 %s", "Fault adjustment %s"}, "undoes": {"撤销计量退补 %s", "Undoes fault adjustment %s"}, "adjusted": {"已单独入账，不含在本账单合计内", "Booked by itself, no part of this bill"}, "billed_use": {"已计", "Billed"}, "true_use": {"应计", "True"},
	"billed_fen": {"已计金额", "Billed CNY"}, "true_fen": {"应计金额", "True CNY"}, "of_bill": {"账单", "Bill"},
	"plan": {"补收分期 %s", "Payment plan %s"}, "plan_part": {"每期至多（元）", "A month at most (CNY)"}, "plan_later": {"未到期（元）", "Not due yet (CNY)"},
	"planned": {"估抄后补收 %s 元按分期 %s 缴纳，每期至多 %s 元，尚有 %s 元未到期；本账单合计不变", "A make-up of CNY %s is paid by plan %s, at most CNY %s a month; CNY %s is not due yet. The bill's total stays"},
	"sum":     {"应收合计（元）", "Total due (CNY)"}, "yuan": {"元", "CNY"}, "charged": {"已按日扣费（元）", "Charged day by day (CNY)"}, "rest": {"本次扣收（元）", "Charged with this bill (CNY)"}, "balance": {"当前余额（元）", "Balance now (CNY)"},
	"tax_on_top": {"税率 %s，价外", "rate %s, on top"}, "tax_inclusive": {"税率 %s，价内", "rate %s, in the prices"}, "invoice": {"发票：%s", "invoice: %s"},
	"tax_at_billing": {"纳税时点：发行账单", "arises when the bill is issued"}, "tax_at_recharge": {"纳税时点：收款", "arises when money is received"},
	"about": {"每行金额＝用量×单价×系数，四舍五入到分一次；合计为各行之和。", "Each line is use × price × factor, rounded to fen once; the total is the sum of its lines."},
	"page":  {"第 %d 页", "Page %d"}, "copy": {"第%s联 %s", "Copy %s: %s"},
	"for_customer": {"用户联", "customer"}, "for_file": {"存档联", "file"}, "for_desk": {"收费联", "cash desk"}, "for_finance": {"财务联", "finance"},
	"payment_list": {"缴费清单", "Payment list"}, "counter_list": {"柜台缴费清单", "Payment list (counter)"}, "paid": {"已扣缴（元）", "Paid (CNY)"}, "to_pay": {"应补缴（元）", "To pay (CNY)"},
	"accounts_of": {"共 %d 户", "%d accounts"}, "verified_by": {"复核", "Verified by"}, "issued_by": {"发行", "Issued by"}, "signed": {"签收", "Received"},
	"paid_on": {"缴费时间", "Paid on"}, "channel": {"方式", "Channel"}, "cash": {"现金", "cash"}, "transfer": {"转账", "transfer"}, "online": {"线上", "online"}, "receipt": {"收据号", "Receipt"},
	"payments": {"本期缴费", "Payments of the period"}, "no_payments": {"本期没有缴费", "No payments in the period"}, "bills_of": {"本期账单", "Bills of the period"}, "no_bills": {"本期没有账单", "No bills of the period"},
	"statement": {"账户对账单", "Account statement"}, "months": {"各月收支与用量", "Month by month"}, "days_of": {"每日收支与用量", "Day by day"}, "month": {"月份", "Month"}, "day": {"日期", "Day"},
	"opening_balance": {"期初余额", "Opening balance"}, "recharged": {"充值", "Recharged"}, "charged_short": {"扣费", "Charged"}, "other": {"其他", "Other"}, "closing_balance": {"期末余额", "Closing balance"},
	"billed":    {"账单金额", "Billed"},
	"total_reg": {"总", "Total"}, "sharp": {"尖", "Sharp"}, "peak": {"峰", "Peak"}, "flat": {"平", "Flat"}, "valley": {"谷", "Valley"}, "deep_valley": {"深谷", "Deep valley"},
	"site": {"站点", "Site"}, "service": {"类别", "Service"}, "unit": {"单位", "Unit"}, "quality": {"示数质量", "Quality"}, "until": {"止（不含）", "Until (excl.)"},
	"average_use": {"月均用量", "Average use a month"}, "average_fen": {"月均金额（元）", "Average a month (CNY)"}, "recharges": {"充值笔数", "Recharges"}, "phone": {"电话", "Phone"},
	"opening_reg": {"起码", "Opening reading"}, "closing_reg": {"止码", "Closing reading"}, "state": {"状态", "State"}, "bill": {"账单号", "Bill"}, "unpaid": {"未缴金额（元）", "Unpaid (CNY)"},
	"opening_yuan": {"期初余额（元）", "Opening balance (CNY)"}, "recharged_yuan": {"充值（元）", "Recharged (CNY)"}, "charged_yuan": {"扣费（元）", "Charged (CNY)"}, "other_yuan": {"其他（元）", "Other (CNY)"},
	"closing_yuan": {"期末余额（元）", "Closing balance (CNY)"}, "billed_yuan": {"账单金额（元）", "Billed (CNY)"}, "balance_yuan": {"余额（元）", "Balance (CNY)"}, "bill_yuan": {"账单金额（元）", "Bill (CNY)"},
	"since":        {"起始日", "Since"},
	"state_level1": {"一级提醒", "level 1"}, "state_level2": {"二级提醒", "level 2"}, "state_final": {"最后通知", "final notice"}, "state_handed_over": {"转停供", "handed over"}, "state_": {"", ""},
	"quality_": {"", ""}, "quality_actual": {"实抄", "actual"}, "quality_manual": {"手抄", "manual"}, "quality_estimated": {"估抄", "estimated"}, "quality_edited": {"更正", "edited"},
}

// say is a text with its placeholders filled.
func (l Language) say(key string, args ...any) string {
	w := words[key]
	text := w.zh
	if l == EN {
		text = w.en
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// name chooses the language of a thing that has a name in both.
func (l Language) name(zh, en string) string {
	if l == EN && en != "" {
		return en
	}
	return zh
}

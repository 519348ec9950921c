package notify

import (
	"strings"
	"text/template"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// Language of a text.
type Language string

// The languages.
const (
	Chinese Language = "zh"
	English Language = "en"
)

// Facts are what a text may mention. Times are in the site's own zone.
type Facts struct {
	Site    string
	Account billing.AccountID
	Service billing.Service
	Amount  billing.Money
	Part    billing.Money // of a payment plan: a month at most
	Balance billing.Money
	Receipt string
	CutAt   time.Time
	At      time.Time
}

// Kinds lists every kind of message.
var Kinds = []string{"level1", "level2", "final", "recharged", "cut", "restored", "allowed", "corrected", "refunded", "undercharged", "refund_undone", "charge_undone", "make_up", "part_due", "plan_ended"}

// A message says amount, new balance and receipt number where there are any: a text without them makes people call.
var texts = map[Language]map[string]string{
	Chinese: {
		"level1":        "【{{.Site}}】户号{{.Account}}{{.Word}}余额{{.Balance}}元,即将不足,请及时充值。",
		"level2":        "【{{.Site}}】再次提醒:户号{{.Account}}{{.Word}}余额仅{{.Balance}}元,请尽快充值。",
		"final":         "【{{.Site}}】停供通知:户号{{.Account}}{{.Word}}余额{{.Balance}}元。如未在{{.Cut}}前充值,将停止供{{.Supply}}。如有生命支持设备请立即联系我们。",
		"recharged":     "【{{.Site}}】户号{{.Account}}充值{{.Amount}}元已到账,余额{{.Balance}}元,收据号{{.Receipt}}。",
		"cut":           "【{{.Site}}】户号{{.Account}}因余额不足已于{{.Now}}停{{.Supply}},余额{{.Balance}}元。充值到账后自动恢复。",
		"corrected":     "【{{.Site}}】户号{{.Account}}的账单已更正,补收{{.Amount}}元,余额{{.Balance}}元,已不足,请尽快充值。如有疑问请联系我们。",
		"refunded":      "【{{.Site}}】户号{{.Account}}因计量表计故障多计,退还{{.Amount}}元,余额{{.Balance}}元。明细见下期账单。",
		"undercharged":  "【{{.Site}}】户号{{.Account}}因计量表计故障少计,补收{{.Amount}}元,余额{{.Balance}}元。明细见下期账单,如有疑问请联系我们。",
		"refund_undone": "【{{.Site}}】户号{{.Account}}的计量退还有误,已撤销,收回{{.Amount}}元,余额{{.Balance}}元。明细见下期账单,如有疑问请联系我们。",
		"charge_undone": "【{{.Site}}】户号{{.Account}}的计量补收有误,已撤销,退还{{.Amount}}元,余额{{.Balance}}元。明细见下期账单。",
		"make_up":       "【{{.Site}}】户号{{.Account}}连续估抄后按实抄补收{{.Amount}}元,已批准分月交纳,每月不超过{{.Part}}元,自下月1日起。未到期部分不会导致停供。",
		"part_due":      "【{{.Site}}】户号{{.Account}}补收款本月应交{{.Amount}}元已到期,余额{{.Balance}}元,请及时充值。",
		"plan_ended":    "【{{.Site}}】户号{{.Account}}补收款分月交纳已结束,未到期的{{.Amount}}元现已到期,余额{{.Balance}}元,请及时充值。",
		"restored":      "【{{.Site}}】户号{{.Account}}已于{{.Now}}恢复供{{.Supply}},余额{{.Balance}}元。",
		"allowed":       "【{{.Site}}】户号{{.Account}}已于{{.Now}}允许合闸,余额{{.Balance}}元。请确认用电安全后按住电表上的按键合闸,即恢复供{{.Supply}}。不便操作请联系我们。",
	},
	English: {
		"level1":        "[{{.Site}}] Account {{.Account}} ({{.Word}}) has {{.Balance}} yuan left. Please top up soon.",
		"level2":        "[{{.Site}}] Second reminder: account {{.Account}} ({{.Word}}) has only {{.Balance}} yuan left. Please top up now.",
		"final":         "[{{.Site}}] Final notice: account {{.Account}} ({{.Word}}) has {{.Balance}} yuan. Unless you top up, {{.Supply}} will be cut from {{.Cut}}. If anyone depends on it for life, call us at once.",
		"recharged":     "[{{.Site}}] {{.Amount}} yuan were credited to account {{.Account}}. New balance {{.Balance}} yuan, receipt {{.Receipt}}.",
		"cut":           "[{{.Site}}] {{.Supply}} of account {{.Account}} was cut at {{.Now}} for lack of credit (balance {{.Balance}} yuan). It returns when a payment arrives.",
		"corrected":     "[{{.Site}}] A bill of account {{.Account}} was corrected: {{.Amount}} yuan more. New balance {{.Balance}} yuan, which is too low: please top up soon. Call us if you have questions.",
		"refunded":      "[{{.Site}}] The meter of account {{.Account}} counted too much: {{.Amount}} yuan were given back. New balance {{.Balance}} yuan. The next bill shows how it was reckoned.",
		"undercharged":  "[{{.Site}}] The meter of account {{.Account}} counted too little: {{.Amount}} yuan were charged. New balance {{.Balance}} yuan. The next bill shows how it was reckoned; call us if you have questions.",
		"refund_undone": "[{{.Site}}] A refund for the meter of account {{.Account}} was a mistake and is undone: {{.Amount}} yuan were taken back. New balance {{.Balance}} yuan. The next bill shows how it was reckoned; call us if you have questions.",
		"charge_undone": "[{{.Site}}] A charge for the meter of account {{.Account}} was a mistake and is undone: {{.Amount}} yuan were given back. New balance {{.Balance}} yuan. The next bill shows how it was reckoned.",
		"make_up":       "[{{.Site}}] After estimated readings, account {{.Account}} was charged {{.Amount}} yuan more. You may pay it month by month, {{.Part}} yuan a month at most, from the 1st of next month. Nobody is cut for a part that isn't due.",
		"part_due":      "[{{.Site}}] This month's part of {{.Amount}} yuan of account {{.Account}} is due. Balance {{.Balance}} yuan: please top up in time.",
		"plan_ended":    "[{{.Site}}] The monthly payment of account {{.Account}} has ended: the remaining {{.Amount}} yuan are due now. Balance {{.Balance}} yuan: please top up in time.",
		"restored":      "[{{.Site}}] {{.Supply}} of account {{.Account}} is back since {{.Now}}. Balance {{.Balance}} yuan.",
		"allowed":       "[{{.Site}}] Account {{.Account}} may be switched on since {{.Now}}. Balance {{.Balance}} yuan. Make sure that it is safe, then hold down the button on your meter: {{.Supply}} is back then. Call us if you can't.",
	},
}

var words = map[Language]map[billing.Service][2]string{ // what the balance is for, and what is supplied
	Chinese: {billing.Power: {"电费", "电"}, billing.Water: {"水费", "水"}},
	English: {billing.Power: {"electricity", "electricity"}, billing.Water: {"water", "water"}},
}

// parsed are the texts as templates; a text that can't be parsed stops the program where it is built, in its tests.
var parsed = parse()

func parse() map[Language]map[string]*template.Template {
	all := map[Language]map[string]*template.Template{}
	for lang, kinds := range texts {
		all[lang] = map[string]*template.Template{}
		for kind, text := range kinds {
			all[lang][kind] = template.Must(template.New(kind).Option("missingkey=error").Parse(text))
		}
	}
	return all
}

// Text writes a message of a kind. An unknown kind or language is billing.CodeInvalidInput.
func Text(lang Language, kind string, f Facts) (string, error) {
	t := parsed[lang][kind]
	if t == nil {
		return "", billing.Errorf(billing.CodeInvalidInput, "There is no %s text for a message of the kind %q.", lang, kind)
	}
	word := words[lang][f.Service]
	var b strings.Builder
	err := t.Execute(&b, map[string]string{
		"Site": f.Site, "Account": string(f.Account), "Word": word[0], "Supply": word[1],
		"Amount": f.Amount.Grouped(), "Part": f.Part.Grouped(), "Balance": f.Balance.Grouped(), "Receipt": f.Receipt,
		"Cut": f.CutAt.Format("2006-01-02 15:04"), "Now": f.At.Format("2006-01-02 15:04"),
	})
	return b.String(), err
}

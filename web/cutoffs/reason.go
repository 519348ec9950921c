package cutoffs

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
)

// decision is the printed decision of a cut, as stored: every reason, for and against, in the order of the checks.
type decision struct {
	Allowed bool     `json:"allowed"`
	Reasons []reason `json:"reasons"`
}

type reason struct {
	Code    string            `json:"code"`
	For     bool              `json:"for"`
	Numbers map[string]string `json:"numbers"`
	Until   time.Time         `json:"until"`
}

// decisionOf reads a stored decision; one that isn't made yet has no reasons.
func decisionOf(raw json.RawMessage) decision {
	var d decision
	if json.Unmarshal(raw, &d) != nil {
		return decision{}
	}
	return d
}

func (d decision) against() []reason {
	var list []reason
	for _, r := range d.Reasons {
		if !r.For {
			list = append(list, r)
		}
	}
	return list
}

// reasons are the sentences of the reasons' codes; {name} is a number of the reason. A test holds them against the policy's codes.
var reasons = map[string]string{
	"not_protected": locale.Key("cutoffs.why.not_protected"), "protected": locale.Key("cutoffs.why.protected"),
	"no_life_support": locale.Key("cutoffs.why.no_life_support"), "life_support": locale.Key("cutoffs.why.life_support"),
	"may_be_closed": locale.Key("cutoffs.why.may_be_closed"), "must_keep_flow": locale.Key("cutoffs.why.must_keep_flow"),
	"prepaid_contract": locale.Key("cutoffs.why.prepaid_contract"), "no_prepaid_contract": locale.Key("cutoffs.why.no_prepaid_contract"),
	"balance_at_limit": locale.Key("cutoffs.why.balance_at_limit"), "balance_above_limit": locale.Key("cutoffs.why.balance_above_limit"),
	"no_payment_pending": locale.Key("cutoffs.why.no_payment_pending"), "payment_pending": locale.Key("cutoffs.why.payment_pending"),
	"payment_plan": locale.Key("cutoffs.why.payment_plan"),
	"notice_given": locale.Key("cutoffs.why.notice_given"), "no_notice_rule": locale.Key("cutoffs.why.no_notice_rule"),
	"no_final_notice": locale.Key("cutoffs.why.no_final_notice"), "notice_not_delivered": locale.Key("cutoffs.why.notice_not_delivered"),
	"notice_running": locale.Key("cutoffs.why.notice_running"), "notice_too_old": locale.Key("cutoffs.why.notice_too_old"),
	"reading_fresh": locale.Key("cutoffs.why.reading_fresh"), "no_reading": locale.Key("cutoffs.why.no_reading"),
	"reading_stale": locale.Key("cutoffs.why.reading_stale"), "reading_estimated": locale.Key("cutoffs.why.reading_estimated"),
	"reading_doubtful": locale.Key("cutoffs.why.reading_doubtful"), "no_open_exception": locale.Key("cutoffs.why.no_open_exception"),
	"open_exception": locale.Key("cutoffs.why.open_exception"), "bill_overtaken": locale.Key("cutoffs.why.bill_overtaken"), "in_cut_window": locale.Key("cutoffs.why.in_cut_window"),
	"in_no_cut_window": locale.Key("cutoffs.why.in_no_cut_window"), "window_unknown": locale.Key("cutoffs.why.window_unknown"),
	"no_approval_needed": locale.Key("cutoffs.why.no_approval_needed"), "manager_approved": locale.Key("cutoffs.why.manager_approved"),
	"approval_missing": locale.Key("cutoffs.why.approval_missing"), "supply_not_off": locale.Key("cutoffs.why.supply_not_off"),
	"already_off": locale.Key("cutoffs.why.already_off"),
}

// vocabularies are the numbers of reasons that are words of ours.
var vocabularies = map[string]locale.Kind{"quality": locale.Quality, "class": locale.Class, "supply": locale.Supply, "kind": locale.Protection}

// sentence is a reason in the language of ctx; a code without a sentence is shown as it is stored.
func sentence(ctx context.Context, r reason) string {
	text := r.Code
	if key, ok := reasons[r.Code]; ok {
		text = locale.T(ctx, key)
	}
	pairs := make([]string, 0, 2*len(r.Numbers))
	for name, value := range r.Numbers {
		if kind, ok := vocabularies[name]; ok {
			value = locale.State(ctx, kind, value)
		} else {
			value = locale.Sentence(ctx, value)
		}
		pairs = append(pairs, "{"+name+"}", value)
	}
	text = strings.NewReplacer(pairs...).Replace(text)
	if !r.For && !r.Until.IsZero() {
		text += locale.T(ctx, "cutoffs.until", locale.DateTime(ctx, r.Until))
	}
	return text
}

// line is one reason as it is drawn: a word says its side, the colour repeats it.
type line struct {
	tone components.Tone
	side string
	text string
}

// lines are the reasons of a decision, those against first: they decide.
func lines(ctx context.Context, d decision) []line {
	var against, in []line
	for _, r := range d.Reasons {
		if r.For {
			in = append(in, line{components.Neutral, locale.T(ctx, "cutoffs.for"), sentence(ctx, r)})
			continue
		}
		against = append(against, line{components.Good, locale.T(ctx, "cutoffs.against"), sentence(ctx, r)})
	}
	return append(against, in...)
}

// brief is a decision in one line, for a list: what stands against it, or that nothing does.
func brief(ctx context.Context, d decision) string {
	if len(d.Reasons) == 0 {
		return locale.T(ctx, "cutoffs.not_judged")
	}
	var texts []string
	for _, r := range d.against() {
		texts = append(texts, sentence(ctx, r))
	}
	if len(texts) == 0 {
		return locale.T(ctx, "cutoffs.nothing_against")
	}
	return strings.Join(texts, locale.T(ctx, "cutoffs.semicolon"))
}

// verdict says what the reasons came to.
func verdict(ctx context.Context, v showView) string {
	switch {
	case len(v.lines) == 0:
		return ""
	case v.allowed:
		return locale.T(ctx, "cutoffs.allowed")
	default:
		return locale.T(ctx, "cutoffs.refused")
	}
}

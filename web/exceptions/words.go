package exceptions

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/workflows"
)

// ruleWords is the sentence of a rule with the names of the numbers that it takes, in order.
type ruleWords struct {
	key     string
	numbers []string
}

var rules = map[string]ruleWords{
	"too_high":        {locale.Key("exceptions.rule_too_high"), []string{"use", "hours", "limit"}},
	"too_low":         {locale.Key("exceptions.rule_too_low"), []string{"use", "hours", "limit"}},
	"capacity":        {locale.Key("exceptions.rule_capacity"), []string{"use", "hours", "limit"}},
	"negative":        {locale.Key("exceptions.rule_negative"), []string{"register", "previous", "current"}},
	"rollover":        {locale.Key("exceptions.rule_rollover"), []string{"register", "previous", "current", "use"}},
	"sum_mismatch":    {locale.Key("exceptions.rule_sum_mismatch"), []string{"total", "bands", "difference"}},
	"use_while_off":   {locale.Key("exceptions.rule_use_while_off"), []string{"use", "hours"}},
	"zero_streak":     {locale.Key("exceptions.rule_zero_streak"), []string{"days"}},
	"relay_mismatch":  {locale.Key("exceptions.rule_relay_mismatch"), []string{"commanded", "read"}},
	"credit_drift":    {locale.Key("exceptions.rule_credit_drift"), []string{"meter", "ledger", "difference"}},
	"malformed":       {locale.Key("exceptions.rule_malformed"), []string{"reason"}},
	"missing":         {locale.Key("exceptions.rule_missing"), []string{"outcome"}},
	"estimate_limit":  {locale.Key("vee.rule_estimate_limit"), []string{"estimates", "limit"}},
	"false_rollover":  {locale.Key("vee.rule_false_rollover"), []string{"register", "current", "previous", "measured"}},
	"drop_recovered":  {locale.Key("vee.rule_drop_recovered"), []string{"previous", "current", "later_day", "later"}},
	"spike_recovered": {locale.Key("vee.rule_spike_recovered"), []string{"previous", "current", "later_day", "later"}},
	"clock_skew":      {locale.Key("vee.rule_clock_skew"), []string{"skew", "limit"}},
	"ratio_mismatch":  {locale.Key("vee.rule_ratio_mismatch"), []string{"shown", "on_file"}},
	"master_mismatch": {locale.Key("vee.rule_master_mismatch"), []string{"master", "members", "subs", "difference", "limit"}},
	"volume_drift":    {locale.Key("exceptions.rule_volume_drift"), []string{"volume", "meter", "ledger", "difference"}},
	"keep_on":         {locale.Key("exceptions.rule_keep_on"), []string{"commanded_keep_on", "read_keep_on"}},
}

// quantities are the numbers that are in the meter's unit.
var quantities = map[string]bool{"use": true, "limit": true, "previous": true, "current": true, "total": true, "bands": true, "difference": true,
	"measured": true, "later": true, "master": true, "subs": true, "volume": true}

// ruleText says which rule fired and what it saw. An unknown rule is named.
func ruleText(ctx context.Context, rule string, raw json.RawMessage, service billing.Service) string {
	numbers := map[string]json.RawMessage{}
	if json.Unmarshal(raw, &numbers) != nil {
		numbers = nil
	}
	if rule == "relay_mismatch" && numbers["commanded"] == nil && numbers["read_keep_on"] != nil {
		rule = "keep_on"
	}
	if rule == "credit_drift" && numbers["volume"] != nil {
		rule = "volume_drift"
	}
	words, known := rules[rule]
	if !known {
		return locale.State(ctx, locale.Rule, rule)
	}
	args := make([]any, len(words.numbers))
	for i, name := range words.numbers {
		args[i] = numberText(ctx, rule, name, numbers[name], service)
	}
	return locale.T(ctx, words.key, args...)
}

func numberText(ctx context.Context, rule, name string, raw json.RawMessage, service billing.Service) string {
	var text string
	if json.Unmarshal(raw, &text) != nil || text == "" {
		if name == "outcome" {
			return missText(ctx, "silent")
		}
		return "–"
	}
	switch {
	case name == "register":
		return registerName(ctx, text)
	case name == "commanded" || name == "read":
		return locale.State(ctx, locale.Supply, text)
	case name == "commanded_keep_on" || name == "read_keep_on":
		if text == "true" {
			return locale.T(ctx, "exceptions.yes")
		}
		return locale.T(ctx, "exceptions.no")
	case name == "outcome":
		return missText(ctx, text)
	case name == "reason":
		return locale.Sentence(ctx, text)
	case name == "skew" || rule == "clock_skew" || rule == "estimate_limit":
		return text
	case rule == "credit_drift" || rule == "volume_drift" && name != "volume":
		if fen, err := billing.ParseMoney(text); err == nil {
			return locale.Money(fen)
		}
		return text
	case quantities[name] && service.Valid():
		if q, err := billing.ParseQuantity(text); err == nil {
			if units, err := service.Raw(q); err == nil {
				return locale.Quantity(units, service.Scale()) + " " + service.Unit()
			}
		}
	}
	return text
}

var missKeys = map[string]string{
	"silent": locale.Key("exceptions.miss_silent"), "refused": locale.Key("exceptions.miss_refused"), "wrong": locale.Key("exceptions.miss_wrong"),
}

// missText says why there is no reading.
func missText(ctx context.Context, outcome string) string {
	if key, ok := missKeys[outcome]; ok {
		return locale.T(ctx, key)
	}
	return outcome
}

// lineAnswer is what the line said when a member was asked, as it was recorded; empty when it said nothing special.
func lineAnswer(raw json.RawMessage) string {
	var n struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(raw, &n) != nil {
		return ""
	}
	return n.Error
}

// registerName is the word of a register by its name in data.
func registerName(ctx context.Context, name string) string {
	var r billing.Register
	if r.UnmarshalText([]byte(name)) != nil {
		return name
	}
	return registerWord(ctx, int(r))
}

func registerWord(ctx context.Context, i int) string {
	words := locale.Words(locale.Register)
	if i < 0 || i >= len(words) {
		return billing.Register(i).String()
	}
	return locale.State(ctx, locale.Register, words[i])
}

// finding is one of several rules that fired on one reading.
type finding struct {
	Rule    string          `json:"rule"`
	Numbers json.RawMessage `json:"numbers"`
}

// findingTexts are the sentences of all rules that fired on a member.
func findingTexts(ctx context.Context, m store.Member, service billing.Service) []string {
	var more struct {
		Findings []finding `json:"findings"`
	}
	if json.Unmarshal(m.Numbers, &more) != nil || len(more.Findings) == 0 {
		return []string{ruleText(ctx, m.Rule, m.Numbers, service)}
	}
	texts := make([]string, len(more.Findings))
	for i, f := range more.Findings {
		texts[i] = ruleText(ctx, f.Rule, f.Numbers, service)
	}
	return texts
}

// about is what a case is about: a meter and its customer, a gateway, or an account.
func about(k store.CaseRow) string {
	var parts []string
	switch {
	case k.Meter != nil:
		parts = append(parts, string(*k.Meter))
	case k.Gateway != nil && k.GatewayName != "":
		parts = append(parts, k.GatewayName)
	}
	if k.Account != nil && k.Meter == nil {
		parts = append(parts, string(*k.Account))
	}
	if k.Customer != "" {
		parts = append(parts, k.Customer)
	}
	if len(parts) == 0 {
		return k.Cause
	}
	return strings.Join(parts, " · ")
}

// caseText says in one sentence what is in doubt.
func caseText(ctx context.Context, k store.CaseRow) string {
	switch {
	case k.Kind == store.KindGatewaySilent:
		return locale.T(ctx, "exceptions.gateway_silent", k.Members)
	case k.Kind == store.KindSiteSilent:
		return locale.T(ctx, "vee.site_silent", k.Members)
	case k.Meter == nil && k.Gateway != nil && k.Members > 1:
		return locale.T(ctx, "vee.spread", k.Members, locale.State(ctx, locale.Rule, k.Kind))
	case k.Kind == store.KindCreditInDoubt && k.AmountFen != nil:
		return locale.T(ctx, "exceptions.credit_in_doubt", locale.Money(*k.AmountFen))
	case k.Kind == store.KindPricesNotSet:
		return locale.T(ctx, "exceptions.prices_not_set")
	case k.Kind == store.KindSupplyUnknown:
		return locale.T(ctx, "exceptions.supply_unknown")
	case k.SubjectRule != "":
		return ruleText(ctx, k.SubjectRule, k.SubjectNumbers, k.SubjectService)
	default:
		return locale.State(ctx, locale.Rule, k.Kind)
	}
}

// briefs are the few words of a rule in the queue, where each case has one line.
var briefs = map[string]ruleWords{
	"too_high":       {locale.Key("exceptions.brief_high"), []string{"use", "limit"}},
	"capacity":       {locale.Key("exceptions.brief_high"), []string{"use", "limit"}},
	"too_low":        {locale.Key("exceptions.brief_low"), []string{"use", "limit"}},
	"negative":       {locale.Key("exceptions.brief_back"), []string{"previous", "current"}},
	"sum_mismatch":   {locale.Key("exceptions.brief_difference"), []string{"difference"}},
	"credit_drift":   {locale.Key("exceptions.brief_drift"), []string{"difference"}},
	"relay_mismatch": {locale.Key("exceptions.brief_relay"), []string{"commanded", "read"}},
	"missing":        {locale.Key("exceptions.brief_missing"), []string{"outcome"}},

	"false_rollover":  {locale.Key("exceptions.brief_back"), []string{"previous", "current"}},
	"drop_recovered":  {locale.Key("exceptions.brief_back"), []string{"previous", "current"}},
	"spike_recovered": {locale.Key("exceptions.brief_back"), []string{"previous", "current"}},
	"clock_skew":      {locale.Key("vee.brief_clock"), []string{"skew"}},
	"ratio_mismatch":  {locale.Key("vee.brief_ratio"), []string{"shown", "on_file"}},
	"master_mismatch": {locale.Key("exceptions.brief_difference"), []string{"difference"}},
}

// briefText says in a few words what is in doubt.
func briefText(ctx context.Context, k store.CaseRow) string {
	words, known := briefs[k.SubjectRule]
	numbers := map[string]json.RawMessage{}
	if !known || k.Kind != k.SubjectRule || k.Meter == nil || json.Unmarshal(k.SubjectNumbers, &numbers) != nil {
		return caseText(ctx, k)
	}
	if k.Kind == "relay_mismatch" && numbers["commanded"] == nil {
		return caseText(ctx, k)
	}
	args := make([]any, len(words.numbers))
	for i, name := range words.numbers {
		args[i] = numberText(ctx, k.Kind, name, numbers[name], k.SubjectService)
	}
	return locale.T(ctx, words.key, args...)
}

var decisionKeys = map[string]string{
	workflows.DecideAccept: locale.Key("exceptions.accept"), workflows.DecideReread: locale.Key("exceptions.reread"),
	workflows.DecideEstimate: locale.Key("exceptions.estimate"), workflows.DecideManual: locale.Key("exceptions.manual"),
	workflows.DecideExchange: locale.Key("exceptions.exchange"), workflows.DecideCredited: locale.Key("exceptions.credited"),
	workflows.DecideNotCredited: locale.Key("exceptions.not_credited"), workflows.DecideOn: locale.Key("exceptions.confirm_on"),
	workflows.DecideOff: locale.Key("exceptions.confirm_off"), workflows.DecideTrueUp: locale.Key("vee.true_up"), workflows.DecideResplit: locale.Key("vee.resplit"),
}

// decisionWord is the word for a decision, as stored when it has none.
func decisionWord(ctx context.Context, decision string) string {
	if key, ok := decisionKeys[decision]; ok {
		return locale.T(ctx, key)
	}
	return decision
}

var outcomeKeys = map[string]string{
	"accepted": locale.Key("exceptions.was_accepted"), "reread": locale.Key("exceptions.was_reread"), "estimated": locale.Key("exceptions.was_estimated"),
	"manual": locale.Key("exceptions.was_manual"), "exchanged": locale.Key("exceptions.was_exchanged"), "trued_up": locale.Key("vee.was_trued_up"), "resplit": locale.Key("vee.was_resplit"), "true_up": locale.Key("vee.spread_again"),
}

func outcomeWord(ctx context.Context, outcome string) string {
	if key, ok := outcomeKeys[outcome]; ok {
		return locale.T(ctx, key)
	}
	return outcome
}

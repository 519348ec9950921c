package page

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
)

// homes are the pages of things, by their kind in the journal; a kind without one is read in its timeline.
var homes = map[string]string{
	"account": "/accounts/", "meter": "/meters/", "recharge": "/recharges/", "bill": "/bills/", "run": "/runs/", "cycle": "/cycles/",
	"bills": "/runs/", "case": "/exceptions/", "cutoff": "/cutoffs/", "message": "/messages/", "supply": "/accounts/",
	"charge_run": "/cycles/", "ledger_day": "/ledger/days/", "round": "/rounds/", "route": "/rounds/routes/", "tariff": "/tariffs/",
	"tariff_change": "/tariff-changes/", "correction": "/corrections/", "adjustment": "/adjustments/", "payment_plan": "/payment-plans/", "batch": "/batches/", "gateway": "/gateways/",
	"billing_limits": "/limits/", "late_fees": "/late-fees/",
}

// Home is the address of a thing's own page; its timeline when it has none. kind is that of the journal.
func Home(kind, id string) string {
	if base, ok := homes[kind]; ok {
		return base + id
	}
	return TraceHref(id)
}

// HasHome says whether things of a kind have a page of their own.
func HasHome(kind string) bool { return homes[kind] != "" }

// TracePath is the page that leads from any number to its story.
const TracePath = "/trace"

// TraceHref is the address of the timeline of any number.
func TraceHref(number string) string { return TracePath + "?" + url.Values{"q": {number}}.Encode() }

// vocabularies are the words for the states of the journal's kinds.
var vocabularies = map[string]locale.Kind{
	"recharge": locale.Recharge, "case": locale.Case, "cycle": locale.Cycle, "run": locale.Run, "bill": locale.Bill, "bills": locale.Bill,
	"reminder": locale.Reminder, "command": locale.Command, "message": locale.Message, "supply": locale.Supply,
	"cutoff": locale.Cutoff, "restore": locale.Restore, "hold": locale.Hold, "ledger_day": locale.BooksState, "round": locale.Round,
	"tariff_change": locale.TariffChange, "price_push": locale.PricePush, "correction": locale.Correction, "adjustment": locale.Adjustment, "payment_plan": locale.PaymentPlan, "batch": locale.Batch,
}

// Vocabulary is the words for the states of a kind of the journal; ok is false for a kind without states.
func Vocabulary(kind string) (words locale.Kind, ok bool) {
	words, ok = vocabularies[kind]
	return words, ok
}

// kinds are the words for the things of the journal.
var kinds = map[string]string{
	"recharge": locale.Key("kind.recharge"), "case": locale.Key("kind.case"), "cycle": locale.Key("kind.cycle"),
	"charge_run": locale.Key("kind.charge_run"), "run": locale.Key("kind.run"), "bill": locale.Key("kind.bill"), "bills": locale.Key("kind.bills"),
	"reminder": locale.Key("kind.reminder"), "cutoff": locale.Key("kind.cutoff"), "restore": locale.Key("kind.restore"),
	"command": locale.Key("kind.command"), "supply": locale.Key("kind.supply"), "message": locale.Key("kind.message"),
	"meter": locale.Key("kind.meter"), "account": locale.Key("kind.account"), "customer": locale.Key("kind.customer"),
	"protection": locale.Key("kind.protection"), "user": locale.Key("kind.user"), "gateway": locale.Key("kind.gateway"),
	"billing_limits": locale.Key("kind.billing_limits"), "late_fees": locale.Key("kind.late_fees"),
	"clock": locale.Key("kind.clock"), "setting": locale.Key("kind.setting"), "tariff": locale.Key("kind.tariff"),
	"round": locale.Key("kind.round"), "route": locale.Key("kind.route"), "calendar": locale.Key("kind.calendar"),
	"site": locale.Key("kind.site"), "hold": locale.Key("kind.hold"), "ledger_day": locale.Key("kind.ledger_day"),
	"ledger_account": locale.Key("kind.ledger_account"), "tariff_change": locale.Key("kind.tariff_change"),
	"price_push": locale.Key("kind.price_push"), "ceiling": locale.Key("kind.ceiling"), "correction": locale.Key("kind.correction"), "batch": locale.Key("kind.batch"),
	"exchange": locale.Key("kind.exchange"), "adjustment": locale.Key("kind.adjustment"), "payment_plan": locale.Key("kind.payment_plan"),
}

// KindWord is the word for a kind of the journal, as stored when it has none.
func KindWord(ctx context.Context, kind string) string {
	if key, ok := kinds[kind]; ok {
		return locale.T(ctx, key)
	}
	return kind
}

// eventWord is the word for an event. The journal is written by many hands: one that has no word yet is shown as it is stored.
func eventWord(ctx context.Context, event string) string {
	if key, ok := events[event]; ok {
		return locale.T(ctx, key)
	}
	return strings.ReplaceAll(event, "_", " ")
}

// Timeline makes the timeline of a thing from its journal rows. The thing itself isn't named in each row, others are.
func Timeline(ctx context.Context, kind, entity string, rows []store.Event) components.TimelineView {
	v := components.TimelineView{
		Title: locale.T(ctx, "timeline.title"),
		Empty: components.EmptyView{Title: locale.T(ctx, "timeline.none"), Body: locale.T(ctx, "timeline.none_body")},
	}
	for _, e := range rows {
		v.Events = append(v.Events, timelineEvent(ctx, kind, entity, e))
	}
	return v
}

func timelineEvent(ctx context.Context, kind, entity string, e store.Event) components.Event {
	v := components.Event{
		Business: e.BusinessAt, Real: e.RealAt, By: e.ActorName, Workflow: e.WorkflowID, What: eventWord(ctx, e.Event),
		Kind: vocabularies[e.Kind], From: e.From, To: e.To, Why: locale.Sentence(ctx, e.Reason), Detail: detail(ctx, e.Data),
	}
	if e.From == e.To {
		v.From = ""
	}
	if _, known := vocabularies[e.Kind]; !known && (e.From == e.To || e.To == e.Event) {
		v.To = "" // a state without a word of its own that says nothing new
	}
	if v.By == "" && e.Actor != "workflow" {
		v.By = e.Actor
	}
	if e.WorkflowID != "" {
		v.WorkflowHref = TraceHref(e.WorkflowID)
	}
	if e.Kind != kind || e.Entity != entity {
		v.What = KindWord(ctx, e.Kind) + " " + e.Entity + " · " + v.What
		v.EvidenceHref, v.EvidenceLabel = Home(e.Kind, e.Entity), e.Entity
	}
	first, size := utf8.DecodeRuneInString(v.What) // English words of events begin a line here, and stand in the middle elsewhere
	v.What = string(unicode.ToUpper(first)) + v.What[size:]
	return v
}

// datum is one fact of a journal row, as stored.
type datum struct{ name, text string }

// detail shows what a journal row holds beside its states; nil when that is nothing.
func detail(ctx context.Context, raw json.RawMessage) templ.Component {
	var data map[string]json.RawMessage
	if json.Unmarshal(raw, &data) != nil || len(data) == 0 {
		return nil
	}
	facts := make([]datum, 0, len(data))
	for _, name := range slices.Sorted(maps.Keys(data)) {
		facts = append(facts, datum{name, datumText(ctx, name, data[name])})
	}
	return details(facts)
}

// datumText writes amounts as money, sentences of ours in the language of ctx, and everything else as it is stored.
func datumText(ctx context.Context, name string, raw json.RawMessage) string {
	if strings.HasSuffix(name, "fen") {
		if fen, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
			return locale.Money(fen)
		}
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return locale.Sentence(ctx, text)
	}
	return string(raw)
}

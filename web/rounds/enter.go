package rounds

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// entryView is one meter on a phone: where it hangs, what it shows, on to the next.
type entryView struct {
	head       components.Head
	progress   components.ProgressView
	facts      []components.Fact
	action     components.Action
	prev, next string // addresses of the meters beside it; empty at the ends
}

func (h handler) entry(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rd, err := h.one(r)
	if err != nil {
		return err
	}
	if err := mayEnter(ctx, rd); err != nil {
		return err
	}
	items, err := h.Store.RoundItems(ctx, rd.ID)
	if err != nil {
		return err
	}
	item, ok := chosen(r, items)
	if !ok {
		return billing.Errorf(billing.CodeNotFound, "this list has no such line: open the round again")
	}
	last, err := h.Store.LastPoints(ctx, []billing.MeterID{item.Meter}, page.Now(ctx))
	if err != nil {
		return err
	}
	v := entryView{
		head: components.Head{Title: item.Address, Subtitle: string(rd.ID) + " · " + rd.RouteName, BackHref: href(rd.ID), BackLabel: locale.T(ctx, "rounds.list")},
		facts: []components.Fact{
			{ID: "meter", Label: locale.T(ctx, "rounds.meter"), Value: components.Text(string(item.Meter)), Hint: locale.State(ctx, locale.Service, item.Service)},
			{ID: "serial", Label: locale.T(ctx, "rounds.serial"), Value: components.Code(item.Serial)},
		},
		action:   entryAction(r, rd, item),
		progress: components.ProgressView{Label: locale.T(ctx, "rounds.progress"), Done: rd.Entered, Total: rd.Meters},
	}
	if p, known := last[item.Meter]; known && seesLast(ctx, rd.Round) {
		v.facts = append(v.facts, components.Fact{ID: "last", Label: locale.T(ctx, "rounds.last"), Value: valueCell(ctx, item.Service, p.Registers), Hint: locale.Day(ctx, p.At)})
	}
	if v.head.Title == "" {
		v.head.Title = string(item.Meter)
	}
	v.prev, v.next = beside(rd.ID, items, item.Seq)
	return h.Render(w, r, page.View{Title: locale.T(ctx, "rounds.enter_title", item.Seq, len(items)), Nav: path, Narrow: true, Body: entry(v)})
}

// chosen is the line that the address or the form names, else the first one without an entry, else the first.
func chosen(r *http.Request, items []store.RoundItem) (store.RoundItem, bool) {
	typed := r.URL.Query().Get("seq")
	if typed == "" {
		typed = r.PostFormValue("seq")
	}
	if typed == "" {
		for _, i := range items {
			if i.EnteredAt == nil {
				return i, true
			}
		}
		if len(items) > 0 {
			return items[0], true
		}
		return store.RoundItem{}, false
	}
	for _, i := range items {
		if strconv.Itoa(i.Seq) == typed {
			return i, true
		}
	}
	return store.RoundItem{}, false
}

func beside(id billing.RoundID, items []store.RoundItem, seq int) (prev, next string) {
	at := func(seq int) string { return href(id) + "/enter?seq=" + strconv.Itoa(seq) }
	for i, item := range items {
		if item.Seq != seq {
			continue
		}
		if i > 0 {
			prev = at(items[i-1].Seq)
		}
		if i+1 < len(items) {
			next = at(items[i+1].Seq)
		}
	}
	return prev, next
}

func registerKey(i int) string { return billing.Register(i).String() }

func registerName(i int) string { return "value-" + billing.Register(i).String() }

func entryAction(r *http.Request, rd store.RoundRow, item store.RoundItem) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "enter")
	var fields []components.Field
	for i := range item.Count {
		field := components.Field{Kind: components.QuantityField, Name: registerName(i), Label: locale.State(ctx, locale.Register, billing.Register(i).String()), Unit: item.Service.Unit(),
			Value: f.Value(registerName(i), entered(item, i)), Error: f.Problem(registerName(i)), Focus: i == 0, MaxLength: 20, Placeholder: item.Service.Format(0)}
		if item.Count == 1 {
			field.Label = locale.T(ctx, "rounds.shows")
		}
		fields = append(fields, field)
	}
	if doubt := f.Problem("confirmed"); doubt != "" {
		fields = append(fields, components.Field{Kind: components.CheckField, Name: "confirmed", Label: locale.T(ctx, "rounds.confirm"), Error: doubt})
	}
	reasons := []components.Option{{Label: locale.T(ctx, "rounds.has_value")}}
	for _, n := range billing.NoReadings {
		reasons = append(reasons, components.Option{Value: string(n), Label: locale.State(ctx, locale.NoReading, n)})
	}
	fields = append(fields,
		components.Field{Kind: components.SelectField, Name: "no_reading", Label: locale.T(ctx, "rounds.no_reading"), Value: f.Value("no_reading", string(item.NoReading)), Error: f.Problem("no_reading"), Options: reasons},
		components.Field{Kind: components.TextField, Name: "note", Label: locale.T(ctx, "rounds.note"), Value: f.Value("note", item.Note), Error: f.Problem("note"), MaxLength: 200, Autocomplete: "off"},
		components.Field{Kind: components.TimeField, Name: "taken_at", Label: locale.T(ctx, "rounds.taken_at"), Value: f.Value("taken_at", ""), Error: f.Problem("taken_at"), Hint: locale.T(ctx, "rounds.taken_hint")},
	)
	// No nonce: the same value again changes nothing, and a value with a second look at it is another answer to the same form.
	hidden := []components.Hidden{{Name: "seq", Value: strconv.Itoa(item.Seq)}}
	return components.Action{ID: "enter", Title: locale.T(ctx, "rounds.enter_one", item.Seq, rd.Meters), URL: href(rd.ID) + "/enter", Submit: locale.T(ctx, "rounds.save_next"), Error: f.Error(), Hidden: hidden, Fields: fields}
}

func entered(item store.RoundItem, register int) string {
	if register >= len(item.Registers) {
		return ""
	}
	return item.Service.Format(item.Registers[register])
}

// enter takes what was read at one meter, and leads to the next one without an entry.
func (h handler) enter(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	rd, err := h.one(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := mayEnter(ctx, rd); err != nil {
		return page.Done{}, err
	}
	items, err := h.Store.RoundItems(ctx, rd.ID)
	if err != nil {
		return page.Done{}, err
	}
	item, ok := chosen(r, items)
	if !ok {
		return page.Done{}, billing.Errorf(billing.CodeNotFound, "this list has no such line: open the round again")
	}
	in := page.Read(r)
	v := readEntry(in, item, page.SiteZone(ctx, rd.Site), page.Now(ctx))
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	verdicts, err := h.Workflows.EnterRoundValues(ctx, workflows.RoundValues{
		RoundID: rd.ID, By: page.Actor(ctx).UserID, Source: "form", Values: []workflows.RoundValue{v},
	})
	if err != nil {
		return page.Done{}, err
	}
	verdict := verdicts[0]
	switch text := warningTexts(ctx, verdict.Warnings, seesLast(ctx, rd.Round), item.Service); {
	case verdict.Refused != "":
		in.Refuse(registerName(0), billing.Errorf(billing.CodeInvalidInput, "%s", verdict.Refused))
	case verdict.Confirm:
		in.Refuse("confirmed", billing.Errorf(billing.CodeInvalidInput, "%s", text))
	case text != "":
		return page.Done{To: nextAfter(rd.ID, items, item.Seq), Said: locale.T(ctx, "rounds.said_noted", string(item.Meter), text)}, nil
	default:
		return page.Done{To: nextAfter(rd.ID, items, item.Seq), Said: locale.T(ctx, "rounds.said_entered", string(item.Meter))}, nil
	}
	return page.Done{}, in.Err()
}

func readEntry(in *page.Input, item store.RoundItem, zone *time.Location, now time.Time) workflows.RoundValue {
	v := workflows.RoundValue{Meter: item.Meter, NoReading: billing.NoReading(in.Text("no_reading")), Note: in.Text("note"), TakenAt: now, Confirmed: in.Text("confirmed") != ""}
	if in.Text("taken_at") != "" {
		v.TakenAt = in.Time("taken_at", zone)
	}
	if v.NoReading != "" {
		for i := range item.Count { // a value beside a reason is for the reader to sort out, not to drop
			if in.Text(registerName(i)) != "" {
				in.Refuse("no_reading", billing.Errorf(billing.CodeInvalidInput, "give a value or a reason why there is none, not both"))
			}
		}
		return v
	}
	v.Registers = make(billing.Registers, item.Count)
	for i := range item.Count {
		raw, err := rawValue(item.Service, in.Required(registerName(i)))
		if err != nil {
			in.Refuse(registerName(i), err)
			continue
		}
		v.Registers[i] = raw
	}
	return v
}

// rawValue reads what a display shows. A value that is finer than the register is a slip of the pen.
func rawValue(service billing.Service, text string) (int64, error) {
	q, err := billing.ParseQuantity(strings.TrimSpace(text))
	if err != nil {
		return 0, err
	}
	return service.Raw(q)
}

// nextAfter is the next line without an entry, in walking order, from the top again at the end; the round when all have one.
func nextAfter(id billing.RoundID, items []store.RoundItem, seq int) string {
	first := 0
	for _, i := range items {
		if i.EnteredAt != nil || i.Seq == seq {
			continue
		}
		if i.Seq > seq {
			return href(id) + "/enter?seq=" + strconv.Itoa(i.Seq)
		}
		if first == 0 {
			first = i.Seq
		}
	}
	if first > 0 {
		return href(id) + "/enter?seq=" + strconv.Itoa(first)
	}
	return href(id)
}

package meters

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// outgoing is a meter that is to be exchanged, with what its form must know.
type outgoing struct {
	row   store.MeterRow
	last  store.Point
	known bool              // that there is a last point
	seen  *store.CreditSeen // of its own credit; nil where the balance is ours, or it holds a volume
	water *store.VolumeSeen // of the volume that it holds; nil where it holds none
}

// registers is how many values the meter shows.
func (o outgoing) registers() int {
	if !o.known {
		return 1
	}
	return len(o.last.Registers)
}

// outgoing reads the meter of the path and checks that the person may exchange it.
func (h handler) outgoing(r *http.Request) (outgoing, error) {
	var o outgoing
	var err error
	ctx := r.Context()
	if o.row, err = h.Store.MeterRow(ctx, billing.MeterID(page.Param(r, "id"))); err != nil {
		return o, err
	}
	if err := page.See(ctx, o.row.Site); err != nil {
		return o, err
	}
	if err := auth.Can(page.Actor(ctx), auth.ExchangeMeter, o.row.Site); err != nil {
		return o, err
	}
	if o.row.State != "fitted" {
		return o, billing.Errorf(billing.CodeClosed, "meter %s is not fitted any more: open the meter that took its place", o.row.ID)
	}
	ids := []billing.MeterID{o.row.ID}
	points, err := h.Store.LastPoints(ctx, ids, page.Now(ctx))
	if err != nil {
		return o, err
	}
	o.last, o.known = points[o.row.ID]
	conns, err := h.Store.Connections(ctx, ids)
	if err != nil || conns[o.row.ID].CreditMode != billing.CreditMeter {
		return o, err
	}
	if workflows.HoldsVolume(o.row.Profile) {
		seen, err := h.Store.VolumeSeen(ctx, o.row.ID)
		o.water = &seen
		return o, err
	}
	seen, err := h.Store.CreditSeen(ctx, o.row.ID)
	o.seen = &seen
	return o, err
}

// exchangePage is the form of a planned exchange, and what it would do once that was asked.
func (h handler) exchangePage(w http.ResponseWriter, r *http.Request) error {
	o, err := h.outgoing(r)
	if err != nil {
		return err
	}
	ctx := locale.WithZone(r.Context(), page.SiteZone(r.Context(), o.row.Site))
	r = r.WithContext(ctx)
	f := exchangeForm{page.FormOf(r, "exchange"), r.URL.Query()}
	var facts []components.Fact
	if typed := r.URL.Query(); typed.Has(seenField) && !f.Tried() {
		in := reader{values: typed}
		order := in.order(o, page.Actor(ctx).UserID)
		if in.problems == nil && seenOf(typed) == typed.Get(seenField) {
			p, err := h.Workflows.PreviewExchange(ctx, order)
			if err != nil {
				return err
			}
			facts = exchangeFacts(ctx, o, p)
		}
	}
	title := locale.T(ctx, "meters.exchange_of", string(o.row.ID))
	head := components.Head{Title: title, Subtitle: subtitle(ctx, o.row), BackHref: page.Home("meter", string(o.row.ID)), BackLabel: string(o.row.ID)}
	return h.Render(w, r, page.View{Title: title, Nav: base, Body: exchangeBody(head, facts, exchangeAction(ctx, o, f, len(facts) > 0))})
}

// exchange shows what the exchange would do, and does it once its effect was in sight.
func (h handler) exchange(r *http.Request) (page.Done, error) {
	o, err := h.outgoing(r)
	if err != nil {
		return page.Done{}, err
	}
	ctx := r.Context()
	in := reader{values: r.PostForm}
	order := in.order(o, page.Actor(ctx).UserID)
	if in.problems != nil {
		return page.Done{}, in.problems
	}
	order.Nonce = page.Read(r).Nonce()
	if seen := seenOf(r.PostForm); r.PostForm.Get(seenField) != seen || r.PostForm.Get("again") != "" {
		if _, err := h.Workflows.PreviewExchange(ctx, order); err != nil {
			return page.Done{}, err
		}
		typed := typedOf(r.PostForm)
		typed.Set(seenField, seen)
		return page.Done{To: page.Home("meter", string(o.row.ID)) + "/exchange?" + typed.Encode()}, nil
	}
	if err := h.Workflows.ExchangeMeter(ctx, order); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: page.Home("meter", string(order.Form.NewMeter)), Said: locale.T(ctx, "meters.exchanged", string(o.row.ID), string(order.Form.NewMeter))}, nil
}

// seenField carries which values a person has seen the effect of.
const seenField = "seen"

// typedOf are the fields of the form without what only carries it.
func typedOf(values url.Values) url.Values {
	typed := url.Values{}
	for name, v := range values {
		if strings.HasPrefix(name, "closing-") || strings.HasPrefix(name, "opening-") || name == "new_meter" || name == "serial" || name == "unit" || name == "profile" || name == "remaining" || name == "reason" {
			typed[name] = v
		}
	}
	return typed
}

func seenOf(values url.Values) string {
	sum := sha256.Sum256([]byte(typedOf(values).Encode()))
	return hex.EncodeToString(sum[:8])
}

// reader reads the form from what was posted, or from the address of its preview.
type reader struct {
	values   url.Values
	problems page.Problems
}

func (in *reader) refuse(field string, err error) {
	if in.problems == nil {
		in.problems = page.Problems{}
	}
	if in.problems[field] == nil {
		in.problems[field] = err
	}
}

func (in *reader) text(field string) string { return strings.TrimSpace(in.values.Get(field)) }

func (in *reader) required(field string) string {
	text := in.text(field)
	if text == "" {
		in.refuse(field, billing.Errorf(billing.CodeInvalidInput, "fill in this field"))
	}
	return text
}

// serialForm is what the database asks of a serial number.
var serialForm = regexp.MustCompile(`^[0-9]{12}$`)

// mostUnits is the highest unit id on a line.
const mostUnits = 247

func (in *reader) order(o outgoing, by billing.UserID) workflows.OrderExchange {
	x := workflows.OrderExchange{Meter: o.row.ID, By: by, Reason: in.required("reason"), Form: workflows.ExchangeForm{
		Closing: in.registers("closing", o), Opening: in.registers("opening", o), NewMeter: billing.MeterID(in.required("new_meter")), Serial: in.required("serial"), Profile: in.text("profile"),
	}}
	if x.Form.Serial != "" && !serialForm.MatchString(x.Form.Serial) {
		in.refuse("serial", billing.Errorf(billing.CodeInvalidInput, "a serial number has 12 digits: copy it from the meter's plate"))
	}
	if text := in.text("unit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > mostUnits {
			in.refuse("unit", billing.Errorf(billing.CodeInvalidInput, "a unit is a whole number from 1 to 247: see the meter's own setting"))
		}
		x.Form.Unit = n
	}
	switch text := in.text("remaining"); {
	case text == "":
	case o.water != nil:
		litres, err := page.LeftValue(text, o.row.Service)
		if err != nil {
			in.refuse("remaining", err)
		}
		x.Form.RemainingLitres = &litres
	default:
		fen, err := billing.ParseMoney(text)
		if err != nil {
			in.refuse("remaining", err)
		}
		x.Form.Remaining = &fen
	}
	return x
}

func (in *reader) registers(prefix string, o outgoing) billing.Registers {
	registers := make(billing.Registers, o.registers())
	for i := range registers {
		name := registerField(prefix, i)
		var err error
		if registers[i], err = page.RegisterValue(in.text(name), o.row.Service); err != nil {
			in.refuse(name, err)
		}
	}
	return registers
}

func registerField(prefix string, i int) string { return prefix + "-" + billing.Register(i).String() }

// exchangeForm is a form whose fresh values stand in the address: what was typed before the preview.
type exchangeForm struct {
	page.Form
	query url.Values
}

// Value is what was typed into a field.
func (f exchangeForm) Value(field, fresh string) string {
	if typed := f.query.Get(field); typed != "" {
		fresh = typed
	}
	return f.Form.Value(field, fresh)
}

func exchangeAction(ctx context.Context, o outgoing, f exchangeForm, seen bool) components.Action {
	text := func(name, label, fresh, hint string, required bool) components.Field {
		return components.Field{Kind: components.TextField, Name: name, Label: label, Hint: hint, Value: f.Value(name, fresh), Error: f.Problem(name), Required: required, Autocomplete: "off", MaxLength: 40}
	}
	a := components.Action{
		ID: "exchange", Title: locale.T(ctx, "exceptions.exchange"), URL: page.Home("meter", string(o.row.ID)) + "/exchange", Submit: locale.T(ctx, "vee.preview"), Error: f.Error(),
		Hidden: []components.Hidden{f.Nonce()}, Consequence: components.Text(locale.T(ctx, "exceptions.exchange_effect", string(o.row.ID))),
	}
	a.Fields = append(a.Fields, registerFields(ctx, f, "closing", o)...)
	if o.seen != nil {
		field := components.Field{Kind: components.MoneyField, Name: "remaining", Label: locale.T(ctx, "meters.exchange_remaining"), Value: f.Value("remaining", ""), Error: f.Problem("remaining"),
			Hint: locale.T(ctx, "meters.exchange_remaining_unseen"), Required: o.seen.Fen == nil}
		if o.seen.Fen != nil {
			field.Hint = locale.T(ctx, "meters.exchange_remaining_hint", locale.Money(*o.seen.Fen), locale.DateTime(ctx, *o.seen.At))
		}
		a.Fields = append(a.Fields, field)
	}
	if o.water != nil {
		field := components.Field{Kind: components.QuantityField, Name: "remaining", Label: locale.T(ctx, "meters.exchange_volume"), Value: f.Value("remaining", ""), Unit: o.row.Service.Unit(),
			Error: f.Problem("remaining"), Hint: locale.T(ctx, "meters.exchange_volume_unseen"), Required: o.water.Total == nil}
		if o.water.Total != nil {
			field.Hint = locale.T(ctx, "meters.exchange_volume_hint", locale.Quantity(*o.water.Litres, o.row.Service.Scale()), locale.DateTime(ctx, *o.water.At))
		}
		a.Fields = append(a.Fields, field)
	}
	a.Fields = append(a.Fields,
		text("new_meter", locale.T(ctx, "exceptions.new_meter"), "", "", true), text("serial", locale.T(ctx, "exceptions.serial"), "", locale.T(ctx, "exceptions.serial_hint"), true),
		text("profile", locale.T(ctx, "meters.profile"), o.row.Profile, locale.T(ctx, "meters.exchange_profile_hint"), true),
		text("unit", locale.T(ctx, "meters.unit"), strconv.Itoa(o.row.Unit), locale.T(ctx, "meters.exchange_unit_hint"), true))
	a.Fields = append(a.Fields, registerFields(ctx, f, "opening", o)...)
	a.Fields = append(a.Fields, components.ReasonField(locale.T(ctx, "exceptions.reason"), f.Value("reason", ""), f.Problem("reason")))
	if seen {
		a.Submit = locale.T(ctx, "exceptions.exchange_submit")
		a.Hidden = append(a.Hidden, components.Hidden{Name: seenField, Value: f.query.Get(seenField)})
		a.More = []components.Button{{Label: locale.T(ctx, "vee.preview_again"), Name: "again", Value: "1"}}
	}
	return a
}

func registerFields(ctx context.Context, f exchangeForm, prefix string, o outgoing) []components.Field {
	key := map[string]string{"closing": locale.Key("exceptions.closing_of"), "opening": locale.Key("exceptions.opening_of")}[prefix]
	fields := make([]components.Field, o.registers())
	for i := range fields {
		name := registerField(prefix, i)
		fields[i] = components.Field{Kind: components.QuantityField, Name: name, Label: locale.T(ctx, key, registerWord(ctx, i)), Value: f.Value(name, ""), Unit: o.row.Service.Unit(), Error: f.Problem(name), Required: true}
		if prefix == "closing" && o.known {
			fields[i].Hint = locale.T(ctx, "exceptions.last_value", locale.Quantity(o.last.Registers[i], o.row.Service.Scale()), locale.ShortDay(ctx, o.last.At))
		}
	}
	return fields
}

// exchangeFacts are what the exchange would do.
func exchangeFacts(ctx context.Context, o outgoing, p workflows.ExchangePreview) []components.Fact {
	facts := []components.Fact{
		{ID: "used", Label: locale.T(ctx, "meters.exchange_used"), Value: components.Quantity(p.Used, o.row.Service.Scale(), o.row.Service.Unit()), Hint: locale.T(ctx, "meters.exchange_used_since", locale.DateTime(ctx, p.Last.At))},
		{ID: "steps", Label: locale.T(ctx, "meters.exchange_steps"), Value: components.Text(locale.T(ctx, "meters.exchange_steps_stay"))},
		{ID: "balance", Label: locale.T(ctx, "meters.exchange_balance"), Value: components.Money(p.Balance), Hint: locale.T(ctx, "meters.exchange_balance_stays")},
	}
	if p.Spread > 0 {
		facts = append(facts, components.Fact{ID: "spread", Label: locale.T(ctx, "meters.exchange_spread"), Value: components.Count(p.Spread)})
	}
	if p.Remaining != nil {
		carry := components.Fact{ID: "carry", Label: locale.T(ctx, "meters.exchange_carry"), Value: components.Money(max(*p.Remaining, 0)), Hint: locale.T(ctx, "meters.exchange_carry_display")}
		switch {
		case *p.Remaining <= 0:
			carry.Hint = locale.T(ctx, "meters.exchange_carry_nothing")
		case p.RemainingFrom == store.RemainingFromReading:
			carry.Hint = locale.T(ctx, "meters.exchange_carry_reading")
		}
		facts = append(facts, carry)
		if drift := *p.Remaining - p.Balance; drift != 0 {
			facts = append(facts, components.Fact{ID: "drift", Label: locale.T(ctx, "meters.exchange_drift"), Value: components.Money(drift), Hint: locale.T(ctx, "meters.exchange_drift_stays")})
		}
	}
	facts = append(facts, volumeFacts(ctx, o.row.Service, p)...)
	if p.Hold {
		facts = append(facts, components.Fact{ID: "hold", Label: locale.T(ctx, "meters.exchange_supply"), Value: components.Text(locale.T(ctx, "meters.exchange_hold"))})
	}
	if p.Cut {
		facts = append(facts, components.Fact{ID: "cut", Label: locale.T(ctx, "meters.exchange_supply"), Value: components.Text(locale.T(ctx, "meters.exchange_cut"))})
	}
	return facts
}

// volumeFacts are what becomes of the water in the old meter.
func volumeFacts(ctx context.Context, s billing.Service, p workflows.ExchangePreview) []components.Fact {
	if p.RemainingLitres == nil {
		return nil
	}
	left := *p.RemainingLitres
	carry := components.Fact{ID: "carry", Label: locale.T(ctx, "meters.exchange_carry_volume"), Value: components.Quantity(max(left, 0), s.Scale(), s.Unit()), Hint: locale.T(ctx, "meters.exchange_carry_display")}
	switch {
	case left <= 0:
		carry.Hint = locale.T(ctx, "meters.exchange_carry_nothing")
	case p.WithNext:
		carry.Hint = locale.T(ctx, "meters.exchange_carry_next")
	case p.RemainingFrom == store.RemainingFromReading:
		carry.Hint = locale.T(ctx, "meters.exchange_carry_reckoned")
	}
	facts := []components.Fact{carry}
	if p.Reckoned != nil && *p.Reckoned != left {
		facts = append(facts, components.Fact{ID: "reckoned", Label: locale.T(ctx, "meters.exchange_reckoned"), Value: components.Quantity(*p.Reckoned, s.Scale(), s.Unit()),
			Hint: locale.T(ctx, "meters.exchange_reckoned_hint")})
	}
	return facts
}

// exchangeLink leads to the form; nil for those who may not exchange the meter, and when it is gone.
func exchangeLink(ctx context.Context, m store.MeterRow) templ.Component {
	if m.State != "fitted" || auth.Can(page.Actor(ctx), auth.ExchangeMeter, m.Site) != nil {
		return nil
	}
	return components.ButtonLink(page.Home("meter", string(m.ID))+"/exchange", locale.T(ctx, "exceptions.exchange"), false)
}

// underWay says what of an exchange is still to be brought to the new meter.
func underWay(ctx context.Context, xs []store.MeterExchange) []components.NoticeView {
	var list []components.NoticeView
	for _, x := range xs {
		say := func(title string) {
			list = append(list, components.NoticeView{Tone: components.Watch, Title: title, LinkHref: page.TraceHref(string(x.ID)), LinkLabel: string(x.ID)})
		}
		switch {
		case x.Credit == store.CarryDelivering && x.Litres != nil:
			say(locale.T(ctx, "meters.exchange_delivering_volume", *x.Litres, string(x.Old)))
		case x.Credit == store.CarryInDoubt && x.Litres != nil:
			say(locale.T(ctx, "meters.exchange_in_doubt_volume", *x.Litres, string(x.Old)))
		case x.Credit == store.CarryDelivering:
			say(locale.T(ctx, "meters.exchange_delivering", locale.Money(*x.Remaining), string(x.Old)))
		case x.Credit == store.CarryInDoubt:
			say(locale.T(ctx, "meters.exchange_in_doubt", locale.Money(*x.Remaining), string(x.Old)))
		}
		if x.Hold == store.HoldWanted {
			say(locale.T(ctx, "meters.exchange_holding", string(x.Old)))
		}
	}
	return list
}

package document

import (
	"encoding/json"
	"io"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Bills writes bills one after the other into one file, each on pages of its own, while they are read: neither the bills nor the file
// are held in memory. An error of the reader ends the file where it stands, which no program opens as a whole one.
func Bills(out io.Writer, o Options, title string, bills iter.Seq2[store.BillSheet, error]) error {
	s, err := begin(out, o, title)
	if err != nil {
		return err
	}
	for b, err := range bills {
		if err != nil {
			return err
		}
		if err := s.bill(b); err != nil {
			return err
		}
	}
	if s.w.PageCount() == 0 && s.w.Err() == nil {
		s.front(title, "–", "")
		s.note(o.Lang.say("no_bills"))
	}
	return s.w.Close()
}

func (s *canvas) bill(b store.BillSheet) error {
	var readings []store.BillReading
	if err := json.Unmarshal(b.Readings, &readings); err != nil {
		return err
	}
	taxes, err := b.Taxes()
	if err != nil {
		return err
	}
	for n := range min(s.o.copies(), len(twoCopies)) {
		name := ""
		if s.o.copies() > 1 {
			name = s.o.copyName(n, twoCopies)
		} else {
			name = s.o.Lang.say(twoCopies[0])
		}
		if s.o.Paper == Roll {
			s.rollBill(b, readings, taxes, name)
			continue
		}
		s.front(s.o.Lang.say(string(b.Service)+"_bill"), string(b.ID), name)
		s.facts(s.billFacts(b))
		s.billLines(b)
		s.billReadings(b, readings)
		s.facts(s.billSums(b, taxes))
		s.adjustments(b)
		for _, p := range paidLater(b) {
			s.note(s.planned(p))
		}
		s.note(s.o.Lang.say("about"))
	}
	return s.w.Err()
}

// lastDay is the last day of a half-open period.
func lastDay(to billing.Date) string { return to.AddDays(-1).String() }

func (s *canvas) billFacts(b store.BillSheet) []fact {
	say := s.o.Lang.say
	issued := say("not_issued")
	switch b.State {
	case billing.BillIssued:
		if b.IssuedAt != nil {
			issued = s.o.time(*b.IssuedAt)
		}
	case billing.BillHeld, billing.BillDraft, billing.BillCancelled:
		issued = say(string(b.State))
	}
	return []fact{
		{say("account"), string(b.Account)}, {say("customer"), b.Customer}, {say("address"), b.Address},
		{say("period"), b.PeriodFrom.String() + " – " + lastDay(b.PeriodTo)}, {say("tariff"), s.o.Lang.name(b.TariffZH, b.TariffEN)},
		{say("use"), use(b.Quantity, b.Service) + " " + b.Service.Unit()}, {say("issued"), issued},
	}
}

// band names the register and the step of a line; a charge by the month and a late fee rest on no register.
func (s *canvas) band(l store.BillLine) string {
	if l.Unit != "" {
		return "–"
	}
	word := s.register(l.Register)
	if l.Tier > 0 {
		return s.o.Lang.say("step", word, l.Tier)
	}
	return word
}

func (s *canvas) register(r billing.Register) string {
	if r == billing.Total {
		return s.o.Lang.say("total_reg")
	}
	return s.o.Lang.say(r.String())
}

func (s *canvas) billLines(b store.BillSheet) {
	say := s.o.Lang.say
	t := s.table(say("lines"), []col{
		{say("line"), 18, false}, {say("band"), 12, false}, {say("days"), 12, false}, {say("opening"), 11, true}, {say("closing"), 11, true},
		{say("use") + " " + b.Service.Unit(), 12, true}, {say("price"), 11, true}, {say("factor"), 10, true}, {say("amount"), 12, true},
	})
	for _, l := range b.Lines {
		t.row(s.o.Lang.name(l.NameZH, l.NameEN), s.band(l), s.span(l.FromAt, l.ToAt), raw(l.Opening, b.Service), raw(l.Closing, b.Service),
			s.quantity(l), l.Price.String(), factorText(l), l.AmountFen.Grouped())
	}
	t.foot(say("total"), "", "", "", "", "", "", "", b.TotalFen.Grouped())
}

// span is the first and the last day of a stretch, without years.
func (s *canvas) span(from, to time.Time) string {
	return s.o.day(from)[5:] + "–" + s.o.day(to.Add(-time.Second))[5:]
}

func raw(v *int64, service billing.Service) string {
	if v == nil {
		return "–"
	}
	return use(*v, service)
}

// quantity is a line's quantity; what isn't in the service's unit says its own.
func (s *canvas) quantity(l store.BillLine) string {
	text := group(l.Quantity.Fixed(2))
	switch l.Unit {
	case "":
		return text
	case "yuan":
		return text + " " + s.o.Lang.say("yuan")
	}
	return text + " " + l.Unit
}

// factorText is a line's factor, whose zero value means 1, and the part of a month that it charges.
func factorText(l store.BillLine) string {
	text := "1"
	if !l.Factor.IsZero() {
		text = l.Factor.String()
	}
	if l.Thirtieths == 0 || l.Thirtieths == 30 {
		return text
	}
	part := strconv.Itoa(l.Thirtieths) + "/30"
	if text == "1" {
		return part
	}
	return text + "×" + part
}

func (s *canvas) billReadings(b store.BillSheet, readings []store.BillReading) {
	if len(readings) == 0 {
		return
	}
	say := s.o.Lang.say
	t := s.table(say("readings"), []col{
		{say("meter"), 16, false}, {say("register"), 10, false}, {say("from"), 15, false}, {say("to"), 15, false},
		{say("opening"), 12, true}, {say("closing"), 12, true}, {say("ratio"), 7, true}, {say("counted") + " " + b.Service.Unit(), 13, true},
	})
	estimated := false
	for _, r := range readings {
		counted, err := billing.Usage(r.Opening, r.Closing, r.Digits)
		for i := range min(len(r.Opening), len(r.Closing)) {
			if i > 0 && r.Opening[i] == 0 && r.Closing[i] == 0 {
				continue // a band that the meter doesn't count
			}
			meter, sum := "", "–"
			if i == 0 {
				if meter = string(r.Meter); r.Estimated {
					meter, estimated = meter+" *", true
				}
			}
			if err == nil {
				sum = use(counted[i]*r.Ratio, b.Service)
			}
			t.row(meter, s.register(billing.Register(i)), s.o.time(r.From), s.o.time(r.To), use(r.Opening[i], b.Service), use(r.Closing[i], b.Service),
				strconv.FormatInt(r.Ratio, 10), sum)
		}
	}
	s.y += 4
	if estimated {
		s.note(say("estimated"))
	}
}

func (s *canvas) billSums(b store.BillSheet, taxes []billing.Component) []fact {
	say := s.o.Lang.say
	sums := []fact{
		{say("sum"), b.TotalFen.Grouped()}, {say("charged"), b.ChargedFen.Grouped()}, {say("rest"), (b.TotalFen - b.ChargedFen).Grouped()},
		{say("balance"), b.BalanceFen.Grouped()},
	}
	for _, c := range taxes {
		text := say("tax_on_top", c.Rate)
		if c.Inclusive {
			text = say("tax_inclusive", c.Rate)
		}
		if c.Invoice != "" {
			text += " · " + say("invoice", c.Invoice)
		}
		sums = append(sums, fact{s.o.Lang.name(c.Name.ZH, c.Name.EN), text + " · " + say("tax_at_"+string(c.Arises()))})
	}
	return sums
}

// adjustments are what was refunded or charged for a faulty meter in the bill's period, each with its derivation.
func (s *canvas) adjustments(b store.BillSheet) {
	say := s.o.Lang.say
	for _, a := range b.Adjustments {
		title := say("adjustment", string(a.ID))
		if a.Undoes != "" {
			title += " · " + say("undoes", string(a.Undoes))
		}
		t := s.table(title, []col{
			{say("line"), 14, false}, {say("band"), 10, false}, {say("of_bill"), 16, false}, {say("days"), 10, false}, {say("billed_use") + " " + b.Service.Unit(), 10, true},
			{say("true_use") + " " + b.Service.Unit(), 10, true}, {say("price"), 9, true}, {say("factor"), 7, true}, {say("billed_fen"), 9, true}, {say("true_fen"), 9, true}, {say("amount"), 9, true},
		})
		for _, l := range a.Lines {
			billed, right := asBilled(l)
			t.row(s.o.Lang.name(l.NameZH, l.NameEN), s.band(billed), string(l.Bill), s.span(l.FromAt, l.ToAt), s.quantity(billed), s.quantity(right), l.Price.String(), factorText(billed),
				l.BilledFen.Grouped(), l.TrueFen.Grouped(), l.AmountFen().Grouped())
		}
		t.foot(say("total"), "", "", "", "", "", "", "", "", "", a.TotalFen.Grouped())
		s.note(say("adjusted"))
	}
}

// paidLater are a bill's payment plans without those that ended before they were paid.
func paidLater(b store.BillSheet) []store.PaymentPlan {
	return slices.DeleteFunc(slices.Clone(b.Plans), func(p store.PaymentPlan) bool {
		return p.State == billing.PlanRejected || p.State == billing.PlanCancelled || p.State == billing.PlanLapsed
	})
}

// planned says what may be paid later.
func (s *canvas) planned(p store.PaymentPlan) string {
	return s.o.Lang.say("planned", p.TotalFen.Grouped(), string(p.ID), p.PartFen.Grouped(), p.Outstanding.Grouped())
}

// asBilled is an adjusted line as two lines of a bill: as it was billed, and for the true use.
func asBilled(l store.AdjustedLine) (billed, right store.BillLine) {
	billed = store.BillLine{Register: l.Register, Tier: l.Tier, Unit: l.Unit, Thirtieths: l.Thirtieths, Factor: l.Factor, Price: l.Price, Quantity: l.BilledQuantity, AmountFen: l.BilledFen}
	right = billed
	right.Quantity, right.AmountFen = l.TrueQuantity, l.TrueFen
	return billed, right
}

// rollBill draws a bill on a roll: one page as long as it needs.
func (s *canvas) rollBill(b store.BillSheet, readings []store.BillReading, taxes []billing.Component, copyName string) {
	say := s.o.Lang.say
	lines := []fact{{say("number"), string(b.ID)}}
	lines = append(lines, s.billFacts(b)...)
	for _, r := range readings {
		lines = append(lines, fact{}, fact{say("meter"), string(r.Meter)}, fact{say("opening"), use(r.Opening.Total(), b.Service)}, fact{say("closing"), use(r.Closing.Total(), b.Service)})
		if r.Ratio != 1 {
			lines = append(lines, fact{say("ratio"), strconv.FormatInt(r.Ratio, 10)})
		}
	}
	lines = append(lines, fact{})
	for _, l := range b.Lines {
		title, sum := s.o.Lang.name(l.NameZH, l.NameEN), s.quantity(l)+" × "+l.Price.String()
		if l.Unit == "" {
			title += " " + s.band(l)
		}
		if factor := factorText(l); factor != "1" {
			sum += " × " + factor
		}
		lines = append(lines, fact{title, ""}, fact{sum, l.AmountFen.Grouped()})
	}
	lines = append(lines, fact{})
	lines = append(lines, s.billSums(b, taxes)...)
	for _, a := range b.Adjustments {
		lines = append(lines, fact{}, fact{say("adjustment", string(a.ID)), a.TotalFen.Grouped()})
		if a.Undoes != "" {
			lines = append(lines, fact{say("undoes", string(a.Undoes)), ""})
		}
		lines = append(lines, fact{say("adjusted"), ""})
		for _, l := range a.Lines {
			billed, right := asBilled(l)
			lines = append(lines, fact{s.o.Lang.name(l.NameZH, l.NameEN) + " " + s.band(billed), ""},
				fact{s.quantity(billed) + " → " + s.quantity(right) + " × " + l.Price.String() + " × " + factorText(billed), l.AmountFen().Grouped()})
		}
	}
	for _, p := range paidLater(b) {
		lines = append(lines, fact{}, fact{say("plan", string(p.ID)), p.TotalFen.Grouped()}, fact{say("plan_part"), p.PartFen.Grouped()}, fact{say("plan_later"), p.Outstanding.Grouped()})
	}
	s.roll(say(string(b.Service)+"_bill"), copyName, lines)
}

// roll draws labels left and values right on a roll; an empty fact is a line. What doesn't fit beside its label goes below it.
func (s *canvas) roll(title, copyName string, lines []fact) {
	const step = 12.5
	width := rollWidth - 2*rollMargin
	below := func(f fact) bool {
		return f.value != "" && s.w.Width(f.label, bodySize)+s.w.Width(f.value, bodySize)+8 > width
	}
	height := 84.0
	for _, f := range lines {
		height += step
		if below(f) {
			height += step
		}
	}
	s.p = s.w.NewPage(rollWidth, height)
	middle := func(y, size float64, text string) {
		s.p.Text((rollWidth-s.w.Width(text, size))/2, y, size, black, text)
	}
	middle(20, 9, s.o.siteName())
	middle(36, 12, title)
	middle(50, smallSize, copyName)
	s.y = 66
	for _, f := range lines {
		if f == (fact{}) {
			s.p.Line(rollMargin, s.y-4, rollWidth-rollMargin, s.y-4, 0.4, lineGrey)
			s.y += step
			continue
		}
		s.p.Text(rollMargin, s.y, bodySize, black, s.fit(f.label, bodySize, width))
		if below(f) {
			s.y += step
		}
		s.right(rollWidth-rollMargin, s.y, bodySize, black, s.fit(f.value, bodySize, width))
		s.y += step
	}
	s.p.Text(rollMargin, s.y+4, smallSize, grey, s.o.Lang.say("printed")+" "+s.o.time(s.o.Printed))
}

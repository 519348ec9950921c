package document

import (
	"io"
	"iter"
	"strconv"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// PaymentList writes the payment list of a run, as many copies as asked for, one after the other. payments is called once per copy and
// read while it is written.
func PaymentList(out io.Writer, o Options, run store.RunRow, payments func() iter.Seq2[store.PaymentRow, error]) error {
	title := o.Lang.say("payment_list") + " " + run.Period().String()
	s, err := begin(out, o, title)
	if err != nil {
		return err
	}
	for n := range min(o.copies(), len(twoCopies)) {
		s.front(title, string(run.ID), o.copyName(n, twoCopies))
		if err := s.payments(run, payments()); err != nil {
			return err
		}
	}
	return s.w.Close()
}

func (s *canvas) payments(run store.RunRow, payments iter.Seq2[store.PaymentRow, error]) error {
	say := s.o.Lang.say
	t := s.table("", []col{
		{say("bill"), 17, false}, {say("account"), 10, false}, {say("customer"), 13, false}, {say("address"), 18, false}, {say("use"), 13, true},
		{say("amount"), 11, true}, {say("paid"), 11, true}, {say("to_pay"), 11, true},
	})
	var amount, paid, open billing.Money
	n := 0
	for p, err := range payments {
		if err != nil {
			return err
		}
		n++
		amount, paid, open = amount+p.TotalFen, paid+p.ChargedFen, open+p.ToPay()
		t.row(string(p.Bill), string(p.Account), p.Customer, p.Address, use(p.Quantity, p.Service)+" "+p.Service.Unit(),
			p.TotalFen.Grouped(), p.ChargedFen.Grouped(), p.ToPay().Grouped())
		if err := s.w.Err(); err != nil {
			return err
		}
	}
	t.foot(say("accounts_of", n), "", "", "", "", amount.Grouped(), paid.Grouped(), open.Grouped())
	s.y += 6
	s.facts([]fact{{say("verified_by"), run.VerifiedName}, {say("issued_by"), run.IssuedName}})
	return nil
}

// CounterList writes the payment list that the counter keeps for an account and month, in three copies, one of them the customer's.
func CounterList(out io.Writer, o Options, c store.Counter) error {
	number := string(c.Account.ID) + "-" + c.Month.From.String()[:7]
	s, err := begin(out, o, o.Lang.say("counter_list")+" "+number)
	if err != nil {
		return err
	}
	for n := range min(o.copies(), len(threeCopies)) {
		name := o.copyName(n, threeCopies)
		if o.Paper == Roll {
			s.roll(o.Lang.say("counter_list"), name, s.counterLines(c, number))
			continue
		}
		s.front(o.Lang.say("counter_list"), number, name)
		s.counter(c)
	}
	return s.w.Close()
}

func (s *canvas) counterFacts(c store.Counter) []fact {
	say := s.o.Lang.say
	var used int64
	for _, b := range c.Bills {
		used += b.Quantity
	}
	return []fact{
		{say("account"), string(c.Account.ID)}, {say("customer"), c.Account.Name}, {say("address"), c.Account.Address}, {say("period"), c.Month.String()},
		{say("use"), use(used, c.Account.Service) + " " + c.Account.Service.Unit()}, {say("balance"), c.Account.Balance.Grouped()},
	}
}

func (s *canvas) counter(c store.Counter) {
	say := s.o.Lang.say
	s.facts(s.counterFacts(c))
	t := s.table(say("bills_of"), []col{{say("bill"), 30, false}, {say("period"), 25, false}, {say("use"), 20, true}, {say("amount"), 20, true}})
	var amount billing.Money
	for _, b := range c.Bills {
		amount += b.TotalFen
		t.row(string(b.ID), b.PeriodFrom.String()+" – "+lastDay(b.PeriodTo), use(b.Quantity, b.Service)+" "+b.Service.Unit(), b.TotalFen.Grouped())
	}
	if len(c.Bills) == 0 {
		t.row(say("no_bills"))
	}
	t.foot(say("total"), "", "", amount.Grouped())
	t = s.table(say("payments"), []col{{say("paid_on"), 25, false}, {say("channel"), 15, false}, {say("receipt"), 35, false}, {say("amount"), 20, true}})
	var paid billing.Money
	for _, p := range c.Paid {
		paid += p.AmountFen
		t.row(s.o.time(p.At), say(p.Channel), p.Receipt, p.AmountFen.Grouped())
	}
	if len(c.Paid) == 0 {
		t.row(say("no_payments"))
	}
	t.foot(say("total"), "", "", paid.Grouped())
	s.y += 16
	s.p.Text(margin, s.y, bodySize, black, say("signed")+"：______________________")
}

func (s *canvas) counterLines(c store.Counter, number string) []fact {
	say := s.o.Lang.say
	lines := append([]fact{{say("number"), number}}, s.counterFacts(c)...)
	lines = append(lines, fact{}, fact{say("bills_of"), ""})
	for _, b := range c.Bills {
		lines = append(lines, fact{string(b.ID), b.TotalFen.Grouped()})
	}
	lines = append(lines, fact{}, fact{say("payments"), ""})
	for _, p := range c.Paid {
		lines = append(lines, fact{s.o.time(p.At) + " " + say(p.Channel), p.AmountFen.Grouped()})
	}
	return append(lines, fact{}, fact{say("signed"), "______________"})
}

// AccountStatement writes an account's statement: what it had, paid, was charged and used, month by month and day by day, and after it
// each bill on pages of its own.
func AccountStatement(out io.Writer, o Options, st store.Statement) error {
	number := string(st.Account.ID) + " " + st.Period.From.String() + "–" + lastDay(st.Period.To)
	s, err := begin(out, o, o.Lang.say("statement")+" "+number)
	if err != nil {
		return err
	}
	s.front(o.Lang.say("statement"), number, o.Lang.say("for_customer"))
	say := o.Lang.say
	s.facts([]fact{
		{say("account"), string(st.Account.ID)}, {say("customer"), st.Account.Name}, {say("address"), st.Account.Address},
		{say("tariff"), o.Lang.name(st.Account.TariffZH, st.Account.TariffEN)}, {say("balance"), st.Account.Balance.Grouped()},
	})
	s.flows(say("months"), say("month"), st.Months, func(r store.UseRow) string { return r.From.String()[:7] })
	if len(st.Days) > 0 {
		s.flows(say("days_of"), say("day"), st.Days, func(r store.UseRow) string { return r.From.String() })
	}
	if len(st.Bills) > 0 {
		t := s.table(say("bills_of"), []col{{say("bill"), 30, false}, {say("period"), 25, false}, {say("use"), 20, true}, {say("amount"), 20, true}})
		for _, b := range st.Bills {
			t.row(string(b.ID), b.PeriodFrom.String()+" – "+lastDay(b.PeriodTo), use(b.Quantity, b.Service)+" "+b.Service.Unit(), b.TotalFen.Grouped())
		}
	}
	s.o.Copies = 1
	for _, b := range st.Bills {
		if err := s.bill(b); err != nil {
			return err
		}
	}
	return s.w.Close()
}

// flows writes energy and money, line by line, with what they were at both ends.
func (s *canvas) flows(headline, span string, rows []store.UseRow, name func(store.UseRow) string) {
	say := s.o.Lang.say
	t := s.table(headline, []col{
		{span, 13, false}, {say("meter"), 12, false}, {say("opening_reg"), 11, true}, {say("closing_reg"), 11, true}, {say("ratio"), 5, true}, {say("use"), 10, true},
		{say("opening_balance"), 11, true}, {say("recharged"), 10, true}, {say("charged_short"), 10, true}, {say("other"), 9, true}, {say("closing_balance"), 11, true},
	})
	var recharged, charged, other billing.Money
	for _, r := range rows {
		money := make([]string, 5)
		if r.Money {
			recharged, charged, other = recharged+r.RechargedFen, charged+r.ChargedFen, other+r.OtherFen
			money = []string{r.OpeningFen.Grouped(), r.RechargedFen.Grouped(), r.ChargedFen.Grouped(), r.OtherFen.Grouped(), r.ClosingFen.Grouped()}
		}
		ratio := ""
		if r.Ratio > 0 {
			ratio = strconv.Itoa(r.Ratio)
		}
		t.row(append([]string{name(r), string(r.Meter), raw(r.Opening, r.Service), raw(r.Closing, r.Service), ratio, raw(r.Use, r.Service)}, money...)...)
	}
	t.foot(say("total"), "", "", "", "", "", "", recharged.Grouped(), charged.Grouped(), other.Grouped(), "")
}

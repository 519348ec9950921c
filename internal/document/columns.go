package document

import (
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/document/sheet"
	"github.com/meterflow/meterflow/internal/store"
)

// UseColumns are the columns of the report of energy and money; UseCells is a row of it.
func UseColumns(l Language) []sheet.Column {
	return columns(l, "site", "account", "customer", "service", "from", "until", "meter", "ratio", "opening_reg", "closing_reg", "use", "unit", "quality",
		"opening_yuan", "recharged_yuan", "charged_yuan", "other_yuan", "closing_yuan", "bill", "bill_yuan")
}

// wide are the columns that need more than the usual room.
var wide = map[string]int{"customer": 22, "address": 28, "bill": 22, "tariff": 24, "meter": 18}

func columns(l Language, keys ...string) []sheet.Column {
	list := make([]sheet.Column, len(keys))
	for i, k := range keys {
		list[i] = sheet.Column{Title: l.say(k), Width: wide[k]}
	}
	return list
}

// UseCells is a row of the report of energy and money.
func UseCells(l Language, r store.UseRow) []any {
	cells := []any{
		string(r.Site), string(r.Account), r.Customer, l.say(string(r.Service)), r.From, r.To, string(r.Meter), count(r.Ratio), quantity(r.Opening, r.Service),
		quantity(r.Closing, r.Service), quantity(r.Use, r.Service), r.Service.Unit(), l.say("quality_" + string(r.Quality)),
	}
	if !r.Money {
		return append(cells, nil, nil, nil, nil, nil, nil, nil)
	}
	cells = append(cells, r.OpeningFen, r.RechargedFen, r.ChargedFen, r.OtherFen, r.ClosingFen, string(r.Bill))
	if r.Bill == "" {
		return append(cells, nil)
	}
	return append(cells, r.BilledFen)
}

func count(n int) any {
	if n == 0 {
		return nil
	}
	return n
}

// quantity is raw units as a cell; empty where a reading is missing.
func quantity(raw *int64, s billing.Service) any {
	if raw == nil {
		return nil
	}
	return sheet.Raw{N: *raw, Scale: s.Scale()}
}

// CustomerColumns are the columns of a month's table of customers; CustomerCells is a row of it.
func CustomerColumns(l Language) []sheet.Column {
	return columns(l, "site", "account", "customer", "address", "service", "month", "use", "unit", "billed_yuan", "average_use", "average_fen", "recharges", "recharged_yuan",
		"charged_yuan", "opening_yuan", "closing_yuan")
}

// CustomerCells is a row of a month's table of customers.
func CustomerCells(l Language, r store.CustomerRow) []any {
	cells := []any{
		string(r.Site), string(r.Account), r.Customer, r.Address, l.say(string(r.Service)), r.From.String()[:7], quantity(r.Used(), r.Service), r.Service.Unit(),
	}
	if r.Bill == "" {
		cells = append(cells, nil)
	} else {
		cells = append(cells, r.BilledFen)
	}
	if r.Bills == 0 {
		cells = append(cells, nil, nil)
	} else {
		cells = append(cells, sheet.Raw{N: r.AverageUse(), Scale: r.Service.Scale()}, r.AverageFen())
	}
	return append(cells, r.Recharges, r.RechargedFen, r.ChargedFen, r.OpeningFen, r.ClosingFen)
}

// OwedColumns are the columns of the lists of who is short, in arrears or unpaid; OwedCells is a row of them.
func OwedColumns(l Language) []sheet.Column {
	return columns(l, "site", "account", "customer", "phone", "address", "service", "balance_yuan", "state", "since", "bill", "bill_yuan", "unpaid")
}

// OwedCells is a row of the lists of who is short, in arrears or unpaid. Days are those of the site.
func OwedCells(o Options, r store.OwedRow) []any {
	cells := []any{string(r.Site), string(r.Account), r.Customer, r.Phone, r.Address, o.Lang.say(string(r.Service)), r.BalanceFen, o.Lang.say("state_" + r.Reminder)}
	if r.Since == nil {
		cells = append(cells, nil)
	} else {
		cells = append(cells, billing.DateOf(*r.Since, o.Site.Zone))
	}
	if r.UnpaidFen == 0 {
		return append(cells, nil, nil, nil)
	}
	return append(cells, string(r.Bill), r.BillFen, r.UnpaidFen)
}

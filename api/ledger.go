package api

import (
	"context"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// ChartAccount is an account of a site's books with its balance. The customers' accounts of a site come as one, without a code.
type ChartAccount struct {
	Site       billing.SiteID `json:"site"`
	Code       string         `json:"code" doc:"Empty for all customers' accounts together."`
	Kind       string         `json:"kind" enum:"asset,liability,revenue,expense"`
	NameZH     string         `json:"name_zh"`
	NameEN     string         `json:"name_en"`
	BalanceFen billing.Money  `json:"balance_fen" doc:"Debit positive, credit negative."`
	Accounts   int            `json:"accounts,omitempty" doc:"How many customers' accounts."`
}

// BookBalance is what an account of the books held at the end of a day, as it was known then or later.
type BookBalance struct {
	Code       string        `json:"code"`
	AsOf       string        `json:"as_of" format:"date"`
	KnownOn    string        `json:"known_on,omitempty" format:"date" doc:"What was recorded up to the end of this day; absent for all that is recorded now."`
	BalanceFen billing.Money `json:"balance_fen" doc:"Debit positive, credit negative; a customer's credit is negative."`
}

// BookEntry is one entry of the ledger.
type BookEntry struct {
	ID         int64         `json:"id"`
	Kind       string        `json:"kind"`
	Key        string        `json:"idempotency_key"`
	Subject    string        `json:"subject"`
	Day        string        `json:"day" format:"date" doc:"The accounting day that it is effective on."`
	Corrects   string        `json:"corrects,omitempty" format:"date" doc:"The closed day that it corrects."`
	Reverses   *int64        `json:"reverses,omitempty"`
	ReversedBy *int64        `json:"reversed_by,omitempty"`
	RecordedAt time.Time     `json:"recorded_at" doc:"Business time."`
	RecordedRT time.Time     `json:"recorded_real" doc:"Real time."`
	AmountFen  billing.Money `json:"amount_fen,omitempty" doc:"On the account that was asked for."`
	DebitFen   billing.Money `json:"debit_fen" doc:"Of the whole entry; its credits are the same."`
}

// BookPosting is one line of an entry.
type BookPosting struct {
	Code      string        `json:"code"`
	AmountFen billing.Money `json:"amount_fen" doc:"Debit positive, credit negative."`
}

// BookEntryDetail is an entry with its lines.
type BookEntryDetail struct {
	BookEntry
	Postings []BookPosting `json:"postings"`
}

// BookDay is an accounting day of a site.
type BookDay struct {
	Site       billing.SiteID `json:"site"`
	Day        string         `json:"day" format:"date"`
	State      string         `json:"state" enum:"open,closed"`
	Entries    int64          `json:"entries"`
	DebitFen   billing.Money  `json:"debit_fen"`
	CreditFen  billing.Money  `json:"credit_fen"`
	Accounts   int            `json:"accounts" doc:"That moved."`
	CountedFen *billing.Money `json:"counted_fen,omitempty" doc:"Cash that was counted at the closing."`
	Digest     string         `json:"digest,omitempty" doc:"The seal, in hex."`
	ClosedBy   string         `json:"closed_by,omitempty"`
	ClosedAt   *time.Time     `json:"closed_at,omitempty"`
}

// BookDayDetail is a day with what each account moved by.
type BookDayDetail struct {
	BookDay
	Intact *bool       `json:"intact,omitempty" doc:"Whether the seal is that of the entries as they are now; for a closed day."`
	Totals []BookTotal `json:"totals" doc:"House accounts first, then customers' accounts; 200 in all at most."`
}

// BookTotal is what one account moved by on a day.
type BookTotal struct {
	Code       string        `json:"code"`
	DebitFen   billing.Money `json:"debit_fen"`
	CreditFen  billing.Money `json:"credit_fen"`
	BalanceFen billing.Money `json:"balance_fen,omitempty" doc:"At the end of a closed day."`
}

// AsOfPoint names a point in both times.
type AsOfPoint struct {
	Day   string `query:"day" format:"date" doc:"The end of this accounting day; today when left out."`
	Known string `query:"known_on" format:"date" doc:"As it was known at the end of this day; as it is known now when left out."`
}

type chartInput struct {
	Site billing.SiteID `query:"site" doc:"One of your sites; all of them when left out."`
	AsOfPoint
}

type bookBalanceInput struct {
	Code string `query:"code" required:"true" doc:"Such as park/cash or customer/A0001."`
	AsOfPoint
}

type entriesInput struct {
	Code   string `query:"code" required:"true"`
	Day    string `query:"day" format:"date" doc:"Only entries that are effective on this day."`
	Before int64  `query:"before" doc:"The id of the last entry of the part before; 0 for the first part."`
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"500"`
}

type entryPath struct {
	ID int64 `path:"id"`
}

// DayPath is the address of an accounting day.
type DayPath struct {
	Site billing.SiteID `path:"site"`
	Day  string         `path:"day" format:"date"`
}

type closeInput struct {
	DayPath
	Body struct {
		Counted string `json:"counted,omitempty" doc:"The cash that you counted, in yuan such as 1234.50; the day closes only when the books say the same."`
	}
}

type openAccountInput struct {
	Body struct {
		Site   billing.SiteID `json:"site"`
		Name   string         `json:"name" maxLength:"100" doc:"Within the site, such as fees/late."`
		Kind   string         `json:"kind" enum:"asset,liability,revenue,expense"`
		NameZH string         `json:"name_zh" maxLength:"200"`
		NameEN string         `json:"name_en" maxLength:"200"`
	}
}

func (s *server) ledgerOperations() {
	add(s, operation{method: http.MethodGet, path: "/ledger/chart", id: "chart-of-accounts", tag: "books", may: auth.View,
		summary: "The accounts of the books with their balances: the trial balance of any day, as known on any day."}, s.chart)
	add(s, operation{method: http.MethodPost, path: "/ledger/accounts", id: "open-ledger-account", tag: "books", may: auth.MasterData, done: http.StatusCreated,
		summary: "Add an account of the house to a site's chart."}, s.openLedgerAccount)
	add(s, operation{method: http.MethodGet, path: "/ledger/balance", id: "balance-as-of", tag: "books", may: auth.View,
		summary: "What an account held at the end of a day, as it was known on a day."}, s.bookBalance)
	add(s, operation{method: http.MethodGet, path: "/ledger/entries", id: "list-ledger-entries", tag: "books", may: auth.View,
		summary: "The entries that move an account, newest first."}, s.bookEntries)
	add(s, operation{method: http.MethodGet, path: "/ledger/entries/{id}", id: "get-ledger-entry", tag: "books", may: auth.View, summary: "An entry with its postings."}, s.bookEntry)
	add(s, operation{method: http.MethodGet, path: "/ledger/days", id: "list-ledger-days", tag: "books", may: auth.View, summary: "Accounting days, newest first."}, s.bookDays)
	add(s, operation{method: http.MethodGet, path: "/ledger/days/{site}/{day}", id: "get-ledger-day", tag: "books", may: auth.View,
		summary: "An accounting day with what each account moved by, and whether its seal holds."}, s.bookDay)
	add(s, operation{method: http.MethodPost, path: "/ledger/days/{site}/{day}/close", id: "close-ledger-day", tag: "books", may: auth.CloseDay,
		summary: "Close the books up to and with a day that is over. It can't be opened again."}, s.closeDay)
}

// point is the point in both times that a request names; days are those of the zone.
func (in AsOfPoint) point(now time.Time, zone *time.Location) (store.AsOf, error) {
	t := store.AsOf{Day: billing.DateOf(now, zone)}
	if in.Day != "" {
		day, err := billing.ParseDate(in.Day)
		if err != nil {
			return t, err
		}
		t.Day = day
	}
	if in.Known == "" {
		return t, nil
	}
	known, err := billing.ParseDate(in.Known)
	if err != nil {
		return t, err
	}
	return store.KnownOn(t.Day, known, zone), nil
}

func (s *server) pointAt(ctx context.Context, site billing.SiteID, in AsOfPoint) (store.AsOf, error) {
	place, err := s.Store.Site(ctx, site)
	if err != nil {
		return store.AsOf{}, err
	}
	clock, err := s.Store.Clock(ctx)
	if err != nil {
		return store.AsOf{}, err
	}
	return in.point(clock.Now, place.Zone)
}

func (s *server) chart(ctx context.Context, in *chartInput) (*body[List[ChartAccount]], error) {
	sites, err := Page{Site: in.Site}.sites(ctx)
	if err != nil {
		return nil, err
	}
	var all []store.ChartRow
	for _, site := range sites {
		t, err := s.pointAt(ctx, site, in.AsOfPoint)
		if err != nil {
			return nil, err
		}
		rows, err := s.Store.Chart(ctx, []billing.SiteID{site}, t)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return listOf(all, len(all), func(r store.ChartRow) ChartAccount {
		return ChartAccount{Site: r.Site, Code: string(r.Code), Kind: string(r.Kind), NameZH: r.NameZH, NameEN: r.NameEN, BalanceFen: r.Balance, Accounts: r.Count}
	}), nil
}

func (s *server) openLedgerAccount(ctx context.Context, in *openAccountInput) (*body[Done], error) {
	if err := may(ctx, auth.MasterData, in.Body.Site); err != nil {
		return nil, err
	}
	code, err := s.Store.OpenChartAccount(ctx, by(ctx, ""), in.Body.Site, in.Body.Name, in.Body.Kind, in.Body.NameZH, in.Body.NameEN)
	if err != nil {
		return nil, err
	}
	return done(code, "opened"), nil
}

// seenBook is an account of the books of one of the person's sites.
func (s *server) seenBook(ctx context.Context, code string) (store.BookAccount, error) {
	a, err := s.Store.BookAccount(ctx, store.LedgerCode(code))
	if err != nil {
		return a, err
	}
	return a, see(ctx, a.Site)
}

func (s *server) bookBalance(ctx context.Context, in *bookBalanceInput) (*body[BookBalance], error) {
	a, err := s.seenBook(ctx, in.Code)
	if err != nil {
		return nil, err
	}
	t, err := s.pointAt(ctx, a.Site, in.AsOfPoint)
	if err != nil {
		return nil, err
	}
	m, err := s.Store.BalanceAsOf(ctx, a.Code, t)
	if err != nil {
		return nil, err
	}
	return &body[BookBalance]{BookBalance{Code: in.Code, AsOf: t.Day.String(), KnownOn: in.Known, BalanceFen: m}}, nil
}

func bookEntryOf(e store.BookEntry) BookEntry {
	return BookEntry{ID: e.ID, Kind: string(e.Kind), Key: e.Key, Subject: e.Subject, Day: e.Day.String(), Corrects: e.Corrects.String(), Reverses: e.Reverses,
		ReversedBy: e.ReversedBy, RecordedAt: utc(e.BusinessAt), RecordedRT: utc(e.RealAt), AmountFen: e.Amount, DebitFen: e.Debit}
}

func (s *server) bookEntries(ctx context.Context, in *entriesInput) (*body[List[BookEntry]], error) {
	a, err := s.seenBook(ctx, in.Code)
	if err != nil {
		return nil, err
	}
	var day billing.Date
	if in.Day != "" {
		if day, err = billing.ParseDate(in.Day); err != nil {
			return nil, err
		}
	}
	rows, err := s.Store.EntriesOf(ctx, a.Code, day, in.Before, in.Limit)
	if err != nil {
		return nil, err
	}
	return listOf(rows, len(rows), bookEntryOf), nil
}

func (s *server) bookEntry(ctx context.Context, in *entryPath) (*body[BookEntryDetail], error) {
	e, lines, err := s.Store.BookEntry(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := see(ctx, e.Site); err != nil {
		return nil, err
	}
	d := BookEntryDetail{BookEntry: bookEntryOf(e)}
	for _, l := range lines {
		d.Postings = append(d.Postings, BookPosting{Code: string(l.Code), AmountFen: l.Amount})
	}
	return &body[BookEntryDetail]{d}, nil
}

func bookDayOf(d store.LedgerDay) BookDay {
	v := BookDay{Site: d.Site, Day: d.Day.String(), State: "open", Entries: d.Entries, DebitFen: d.Debit, CreditFen: d.Credit, Accounts: d.Accounts,
		CountedFen: d.Counted, Digest: hex.EncodeToString(d.Digest), ClosedBy: d.ClosedBy, ClosedAt: utcOrNil(d.ClosedAt)}
	if d.Closed() {
		v.State = "closed"
	}
	return v
}

func (s *server) bookDays(ctx context.Context, in *Page) (*body[List[BookDay]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	rows, total, err := s.Store.LedgerDays(ctx, sites, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, bookDayOf), nil
}

func (s *server) bookDay(ctx context.Context, in *DayPath) (*body[BookDayDetail], error) {
	if err := see(ctx, in.Site); err != nil {
		return nil, err
	}
	day, err := billing.ParseDate(in.Day)
	if err != nil {
		return nil, err
	}
	d, totals, err := s.Store.LedgerDay(ctx, in.Site, day)
	if err != nil {
		return nil, err
	}
	v := BookDayDetail{BookDay: bookDayOf(d), Totals: make([]BookTotal, 0, len(totals))}
	for _, t := range totals {
		v.Totals = append(v.Totals, BookTotal{Code: string(t.Code), DebitFen: t.Debit, CreditFen: t.Credit, BalanceFen: t.Balance})
	}
	if d.Closed() {
		intact, err := s.Store.VerifyDay(ctx, in.Site, day)
		if err != nil {
			return nil, err
		}
		v.Intact = &intact
	}
	return &body[BookDayDetail]{v}, nil
}

func (s *server) closeDay(ctx context.Context, in *closeInput) (*body[BookDayDetail], error) {
	if err := may(ctx, auth.CloseDay, in.Site); err != nil {
		return nil, err
	}
	day, err := billing.ParseDate(in.Day)
	if err != nil {
		return nil, err
	}
	order := workflows.CloseDays{Site: in.Site, Through: day, By: me(ctx)}
	if in.Body.Counted != "" {
		counted, err := billing.ParseMoney(in.Body.Counted)
		if err != nil {
			return nil, err
		}
		order.Counted = &counted
	}
	if err := s.Workflows.CloseDays(ctx, order); err != nil {
		return nil, err
	}
	return s.bookDay(ctx, &in.DayPath)
}

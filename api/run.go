package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Run is all bills of one site and period. The period is half-open: period_to is the first day after it.
type Run struct {
	ID         billing.RunID    `json:"id"`
	Site       billing.SiteID   `json:"site"`
	PeriodFrom string           `json:"period_from" format:"date"`
	PeriodTo   string           `json:"period_to" format:"date" doc:"The first day after the period."`
	Version    int              `json:"version"`
	State      billing.RunState `json:"state"`
	Bills      int              `json:"bills" doc:"Without the held and cancelled ones."`
	Held       int              `json:"held"`
	TotalFen   billing.Money    `json:"total_fen"`
	OpenedAt   time.Time        `json:"opened_at"`
	VerifiedBy *billing.UserID  `json:"verified_by,omitempty"`
	VerifiedAt *time.Time       `json:"verified_at,omitempty"`
	IssuedBy   *billing.UserID  `json:"issued_by,omitempty"`
	IssuedAt   *time.Time       `json:"issued_at,omitempty"`
}

func runOf(r store.RunRow) Run {
	return Run{ID: r.ID, Site: r.Site, PeriodFrom: r.PeriodFrom.String(), PeriodTo: r.PeriodTo.String(), Version: r.Version, State: r.State,
		Bills: r.Bills, Held: r.Held, TotalFen: r.TotalFen, OpenedAt: utc(r.OpenedAt), VerifiedBy: r.VerifiedBy, VerifiedAt: utcOrNil(r.VerifiedAt),
		IssuedBy: r.IssuedBy, IssuedAt: utcOrNil(r.IssuedAt)}
}

// RunDetail is a run with its control totals.
type RunDetail struct {
	Run
	Totals json.RawMessage `json:"totals" doc:"Control totals against the period before, amounts in fen; empty until rated."`
}

// Bill is the priced use of one account and period.
type Bill struct {
	ID         billing.BillID    `json:"id"`
	Account    billing.AccountID `json:"account"`
	Service    billing.Service   `json:"service"`
	State      billing.BillState `json:"state"`
	HoldReason string            `json:"hold_reason,omitempty"`
	Quantity   int64             `json:"quantity" doc:"Raw units after the ratio: 0.01 kWh or litres."`
	TotalFen   billing.Money     `json:"total_fen"`
	LateFen    billing.Money     `json:"late_fen,omitempty" doc:"The part of total_fen that late fees are."`
}

// BillLine is one printed line, rounded once.
type BillLine struct {
	Component string           `json:"component"`
	NameZH    string           `json:"name_zh"`
	NameEN    string           `json:"name_en"`
	Register  billing.Register `json:"register"`
	Tier      int              `json:"tier" doc:"Counts from 1; 0 without steps."`
	FromAt    time.Time        `json:"from_at"`
	ToAt      time.Time        `json:"to_at"`
	Opening   *int64           `json:"opening,omitempty"`
	Closing   *int64           `json:"closing,omitempty"`
	Quantity  string           `json:"quantity" doc:"kWh or m³, or in unit, exact decimal."`
	Price     string           `json:"price" doc:"Yuan per unit of the quantity, exact decimal."`
	Factor    string           `json:"factor" doc:"Share of the quantity that the component charges, exact decimal."`
	AmountFen billing.Money    `json:"amount_fen"`
	Unit      string           `json:"unit,omitempty" doc:"kVA, kW or yuan on lines by the month."`
	// Thirtieths is the part of a month that a line by the month charges.
	Thirtieths int `json:"thirtieths,omitempty" doc:"Of a month: the amount is quantity × price × factor × thirtieths/30."`
}

// BillDetail is a bill with its lines and the readings that they rest on.
type BillDetail struct {
	Bill
	Run        billing.RunID    `json:"run"`
	PeriodFrom string           `json:"period_from" format:"date"`
	PeriodTo   string           `json:"period_to" format:"date" doc:"The first day after the period."`
	Tariff     billing.TariffID `json:"tariff"`
	ChargedFen billing.Money    `json:"charged_fen" doc:"Charged day by day before the issue."`
	Readings   json.RawMessage  `json:"readings" doc:"Per fitting: meter, both ends, raw registers, ratio."`
	Lines      []BillLine       `json:"lines"`
	Waived     *Waiver          `json:"waived,omitempty" doc:"Whether the customer was let off the late fee."`
}

// Waiver is the late fee of a bill that the customer was let off.
type Waiver struct {
	AmountFen   billing.Money   `json:"amount_fen"`
	Reason      string          `json:"reason"`
	By          billing.UserID  `json:"by"`
	At          time.Time       `json:"at"`
	CarriedFrom *billing.BillID `json:"carried_from,omitempty" doc:"The reversed bill whose waiver goes on with this one."`
	AskedFen    *billing.Money  `json:"asked_fen,omitempty" doc:"The part that was to be waived, goes on with a successor; absent for the whole fee."`
	AgreedBy    *billing.UserID `json:"agreed_by,omitempty" doc:"The second person, above the ceiling of the late-fee rules."`
}

func waiverOf(w store.Waiver) Waiver {
	return Waiver{AmountFen: w.AmountFen, Reason: w.Reason, By: w.By, At: utc(w.At), CarriedFrom: w.CarriedFrom, AskedFen: w.AskedFen, AgreedBy: w.AgreedBy}
}

type runsInput struct {
	Page
	State string `query:"state" enum:"rating,blocked,awaiting_verification,verified,issued,cancelled"`
}

// RunPath is the address of a run.
type RunPath struct {
	Site    billing.SiteID `path:"site"`
	Month   string         `path:"month" pattern:"^[0-9]{4}-[0-9]{2}$"`
	Version string         `path:"version" pattern:"^[0-9]+$"`
}

func (in RunPath) id() billing.RunID {
	return billing.RunID(strings.Join([]string{string(in.Site), in.Month, in.Version}, "/"))
}

type billsInput struct {
	RunPath
	Limit int               `query:"limit" default:"50" minimum:"1" maximum:"500"`
	After billing.AccountID `query:"after" maxLength:"64" doc:"The account that the page before ended with."`
	State string            `query:"state" enum:"draft,held,issued,cancelled"`
}

// BillPath is the address of a bill.
type BillPath struct {
	ID billing.BillID `path:"id"`
}

type waiveInput struct {
	BillPath
	Body struct {
		Reasoned
		AmountFen billing.Money `json:"amount_fen,omitempty" minimum:"1" doc:"A part of the late fee; absent for the whole."`
		Second    string        `json:"second_user,omitempty" maxLength:"64" doc:"The colleague who agrees; needed above the ceiling of the late-fee rules."`
		Password  string        `json:"second_password,omitempty" maxLength:"512" doc:"Typed by that colleague."`
	}
	remote string
}

// Resolve takes the client's address from the request, for counting wrong passwords.
func (in *waiveInput) Resolve(ctx huma.Context) []error {
	in.remote = ctx.RemoteAddr()
	return nil
}

type billReasonInput struct {
	BillPath
	Body Reasoned
}

func (s *server) runOperations() {
	const path = "/runs/{site}/{month}/{version}"
	add(s, operation{method: http.MethodGet, path: "/runs", id: "list-runs", tag: "runs", may: auth.View, summary: "Billing runs, newest period first."}, s.runs)
	add(s, operation{method: http.MethodGet, path: path, id: "get-run", tag: "runs", may: auth.View, summary: "A run with its control totals."}, s.run)
	add(s, operation{method: http.MethodGet, path: path + "/bills", id: "list-bills", tag: "runs", may: auth.View, summary: "The bills of a run, by account, a page at a time."}, s.bills)
	add(s, operation{method: http.MethodPost, path: path + "/verify", id: "verify-run", tag: "runs", may: auth.VerifyRun,
		summary: "First signature under a run."}, s.verifyRun)
	add(s, operation{method: http.MethodPost, path: path + "/issue", id: "issue-run", tag: "runs", may: auth.IssueRun,
		summary: "Second signature, by another supervisor: the bills are posted."}, s.issueRun)
	add(s, operation{method: http.MethodGet, path: path + "/progress", id: "get-run-progress", tag: "runs", may: auth.View, summary: "How far a run is."}, s.runProgress)
	add(s, operation{method: http.MethodPost, path: path + "/cancel", id: "cancel-run", tag: "runs", may: auth.StartRun,
		summary: "Give a run up before its issue is approved; its bills are cancelled."}, s.cancelRun)
	add(s, operation{method: http.MethodGet, path: "/bills/{id}", id: "get-bill", tag: "runs", may: auth.View, summary: "A bill with its lines."}, s.bill)
	add(s, operation{method: http.MethodPost, path: "/bills/{id}/hold", id: "hold-bill", tag: "runs", may: auth.VerifyRun,
		summary: "Leave a bill out of its run's issue."}, s.holdBill)
	add(s, operation{method: http.MethodPost, path: "/bills/{id}/waive-late-fee", id: "waive-late-fee", tag: "runs", may: auth.WaiveLateFee,
		summary: "Let the customer off the late fee of an issued bill, or a part of it; a second person agrees to more than the ceiling. The bill stays; an entry gives the amount back."}, s.waiveLateFee)
	add(s, operation{method: http.MethodPost, path: "/bills/{id}/release", id: "release-bill", tag: "runs", may: auth.VerifyRun,
		summary: "Take a held bill in again; it is rated anew."}, s.releaseBill)
}

func (s *server) runs(ctx context.Context, in *runsInput) (*body[List[Run]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	rows, total, err := s.Store.RunPage(ctx, sites, in.State, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, runOf), nil
}

func (s *server) run(ctx context.Context, in *RunPath) (*body[RunDetail], error) {
	r, err := s.seenRun(ctx, in.id())
	if err != nil {
		return nil, err
	}
	return &body[RunDetail]{RunDetail{Run: runOf(r), Totals: r.Totals}}, nil
}

func (s *server) seenRun(ctx context.Context, id billing.RunID) (store.RunRow, error) {
	r, err := s.Store.RunRow(ctx, id)
	if err != nil {
		return r, err
	}
	return r, see(ctx, r.Site)
}

func (s *server) bills(ctx context.Context, in *billsInput) (*body[Part[Bill]], error) {
	r, err := s.seenRun(ctx, in.id())
	if err != nil {
		return nil, err
	}
	rows, more, err := s.Store.BillPage(ctx, store.BillFilter{Run: r.ID, State: in.State}, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	next := ""
	if more {
		next = string(rows[len(rows)-1].Account)
	}
	return partOf(rows, next, func(b store.BillRow) Bill {
		return Bill{ID: b.ID, Account: b.Account, Service: b.Service, State: b.State, HoldReason: b.HoldReason, Quantity: b.Quantity, TotalFen: b.TotalFen, LateFen: b.LateFen}
	}), nil
}

func (s *server) bill(ctx context.Context, in *BillPath) (*body[BillDetail], error) {
	b, err := s.Store.BillSheet(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := see(ctx, b.Site); err != nil {
		return nil, err
	}
	d := BillDetail{
		Bill: Bill{ID: b.ID, Account: b.Account, Service: b.Service, State: b.State, HoldReason: b.HoldReason, Quantity: b.Quantity, TotalFen: b.TotalFen, LateFen: b.LateFen},
		Run:  b.Run, PeriodFrom: b.PeriodFrom.String(), PeriodTo: b.PeriodTo.String(), Tariff: b.Tariff, ChargedFen: b.ChargedFen, Readings: b.Readings,
		Lines: make([]BillLine, 0, len(b.Lines)),
	}
	for _, l := range b.Lines {
		d.Lines = append(d.Lines, BillLine{Component: l.Component, NameZH: l.NameZH, NameEN: l.NameEN, Register: l.Register, Tier: l.Tier,
			FromAt: utc(l.FromAt), ToAt: utc(l.ToAt), Opening: l.Opening, Closing: l.Closing, Quantity: l.Quantity.String(), Price: l.Price.String(),
			Factor: l.Factor.String(), AmountFen: l.AmountFen, Unit: l.Unit, Thirtieths: l.Thirtieths})
	}
	w, err := s.Store.WaiverOf(ctx, b.ID)
	if err != nil {
		return nil, err
	}
	if w != nil {
		waived := waiverOf(*w)
		d.Waived = &waived
	}
	return &body[BillDetail]{d}, nil
}

func (s *server) verifyRun(ctx context.Context, in *RunPath) (*body[Run], error) {
	return s.sign(ctx, in.id(), auth.VerifyRun, s.Workflows.VerifyRun)
}

func (s *server) issueRun(ctx context.Context, in *RunPath) (*body[Run], error) {
	return s.sign(ctx, in.id(), auth.IssueRun, s.Workflows.IssueRun)
}

// sign gives a signature under a run and answers with the run as it stands then.
func (s *server) sign(ctx context.Context, id billing.RunID, action auth.Action, give func(context.Context, billing.RunID, billing.UserID) error) (*body[Run], error) {
	r, err := s.Store.RunRow(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, action, r.Site); err != nil {
		return nil, err
	}
	if err := give(ctx, id, me(ctx)); err != nil {
		return nil, err
	}
	if r, err = s.Store.RunRow(ctx, id); err != nil {
		return nil, err
	}
	return &body[Run]{runOf(r)}, nil
}

func (s *server) holdBill(ctx context.Context, in *billReasonInput) (*body[Done], error) {
	return s.moveBill(ctx, in, s.Workflows.HoldBills)
}

func (s *server) releaseBill(ctx context.Context, in *billReasonInput) (*body[Done], error) {
	return s.moveBill(ctx, in, s.Workflows.ReleaseBills)
}

func (s *server) waiveLateFee(ctx context.Context, in *waiveInput) (*body[Waiver], error) {
	b, err := s.Store.BillSheet(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.WaiveLateFee, b.Site); err != nil {
		return nil, err
	}
	var agreed billing.UserID
	if strings.TrimSpace(in.Body.Second) != "" {
		if agreed, err = s.agrees(ctx, in.Body.Second, in.Body.Password, in.remote, auth.ApproveCorrection, b.Site); err != nil { // who may agree to giving money back
			return nil, err
		}
	}
	w, err := s.Store.WaiveLateFee(ctx, by(ctx, in.Body.Reason), b.ID, in.Body.AmountFen, agreed)
	if err != nil {
		return nil, err
	}
	return &body[Waiver]{waiverOf(w)}, nil
}

func (s *server) moveBill(ctx context.Context, in *billReasonInput,
	move func(context.Context, billing.RunID, []billing.BillID, billing.UserID, string) error,
) (*body[Done], error) {
	b, err := s.Store.BillSheet(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.VerifyRun, b.Site); err != nil {
		return nil, err
	}
	if err := move(ctx, b.Run, []billing.BillID{b.ID}, me(ctx), in.Body.Reason); err != nil {
		return nil, err
	}
	if b, err = s.Store.BillSheet(ctx, in.ID); err != nil {
		return nil, err
	}
	return done(b.ID, b.State), nil
}

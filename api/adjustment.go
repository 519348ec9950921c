package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Adjustment is the refund or charge for a faulty meter.
type Adjustment struct {
	ID          billing.AdjustmentID    `json:"id"`
	Site        billing.SiteID          `json:"site"`
	Account     billing.AccountID       `json:"account"`
	Meter       billing.MeterID         `json:"meter"`
	Kind        billing.AdjustmentKind  `json:"kind"`
	Fault       json.RawMessage         `json:"fault" doc:"As it was entered."`
	Percent     *billing.Percent        `json:"percent,omitempty" doc:"The measured error, positive when too much was registered, or the difference rate of the wiring."`
	CountedFrom string                  `json:"counted_from" format:"date" doc:"The last test or the fitting before; as entered for another fault."`
	CountedBy   string                  `json:"counted_by" enum:"test,fitting,entered"`
	FromAt      time.Time               `json:"from_at" doc:"What is adjusted, half-open."`
	ToAt        time.Time               `json:"to_at"`
	Opening     billing.Registers       `json:"opening,omitempty" doc:"Raw registers at from_at; left out where no reading is on file, and the bill's use counts at an even rate."`
	Closing     billing.Registers       `json:"closing,omitempty"`
	NormalBill  *billing.BillID         `json:"normal_bill,omitempty" doc:"The bill of the normal month."`
	Normal      billing.Registers       `json:"normal,omitempty" doc:"Its use, raw, after the ratio."`
	NormalDays  *int                    `json:"normal_days,omitempty"`
	Registered  billing.Registers       `json:"registered" doc:"Use in that time by register, raw, after the ratio: 0.01 kWh or litres."`
	Difference  billing.Registers       `json:"difference" doc:"True use less registered use."`
	TotalFen    billing.Money           `json:"total_fen" doc:"Positive is charged, negative given back."`
	Reason      string                  `json:"reason"`
	Evidence    string                  `json:"evidence,omitempty"`
	State       billing.AdjustmentState `json:"state"`
	Digest      string                  `json:"digest" doc:"Of the result; an approval names it."`
	DraftedBy   billing.UserID          `json:"drafted_by"`
	DraftedAt   time.Time               `json:"drafted_at"`
	Approved1By billing.UserID          `json:"approved1_by,omitempty"`
	Approved1At *time.Time              `json:"approved1_at,omitempty"`
	Approved2By billing.UserID          `json:"approved2_by,omitempty"`
	BookedAt    *time.Time              `json:"booked_at,omitempty"`
	EntryID     *int64                  `json:"entry_id,omitempty"`
	AfterFen    *billing.Money          `json:"balance_after_fen,omitempty"`
	EndedBy     billing.UserID          `json:"ended_by,omitempty"`
	EndedAt     *time.Time              `json:"ended_at,omitempty"`
	EndedWhy    string                  `json:"ended_why,omitempty"`
	Undoes      billing.AdjustmentID    `json:"undoes,omitempty" doc:"The booked adjustment that this one takes back."`
	UndoneBy    billing.AdjustmentID    `json:"undone_by,omitempty" doc:"The booked one that took this back."`
	Reversed    bool                    `json:"reversed" doc:"A bill that it rests on was reversed by a correction since."`
}

func adjustmentOf(j store.AdjustmentRow) Adjustment {
	return Adjustment{ID: j.ID, Site: j.Site, Account: j.Account, Meter: j.Meter, Kind: j.Kind, Fault: j.Fault, Percent: j.Percent, CountedFrom: j.CountedFrom.String(), CountedBy: j.CountedBy,
		FromAt: utc(j.FromAt), ToAt: utc(j.ToAt), Opening: j.Opening, Closing: j.Closing, NormalBill: j.NormalBill, Normal: j.Normal, NormalDays: j.NormalDays,
		Registered: j.Registered, Difference: j.Difference, TotalFen: j.TotalFen, Reason: j.Reason, Evidence: j.Evidence, State: j.State, Digest: hex.EncodeToString(j.Digest),
		DraftedBy: j.DraftedBy, DraftedAt: utc(j.DraftedAt), Approved1By: j.Approved1By, Approved1At: utcOrNil(j.Approved1At), Approved2By: j.Approved2By, BookedAt: utcOrNil(j.Approved2At),
		EntryID: j.EntryID, AfterFen: j.AfterFen, EndedBy: j.EndedBy, EndedAt: utcOrNil(j.EndedAt), EndedWhy: j.EndedWhy, Undoes: j.Undoes, UndoneBy: j.UndoneBy, Reversed: j.Reversed}
}

// AdjustedLine is one printed line of a bill, as billed and for the true use.
type AdjustedLine struct {
	Bill           billing.BillID   `json:"bill"`
	Component      string           `json:"component"`
	NameZH         string           `json:"name_zh"`
	NameEN         string           `json:"name_en"`
	Register       string           `json:"register"`
	Tier           int              `json:"tier,omitempty"`
	Unit           string           `json:"unit,omitempty" doc:"kVA, kW or yuan; left out for the service's own."`
	Thirtieths     int              `json:"thirtieths,omitempty" doc:"The part of a month that is charged."`
	From           time.Time        `json:"from"`
	To             time.Time        `json:"to"`
	Price          billing.Price    `json:"price"`
	Factor         billing.Factor   `json:"factor"`
	BilledQuantity billing.Quantity `json:"billed_quantity"`
	TrueQuantity   billing.Quantity `json:"true_quantity"`
	BilledFen      billing.Money    `json:"billed_fen"`
	TrueFen        billing.Money    `json:"true_fen"`
	AmountFen      billing.Money    `json:"amount_fen" doc:"True less billed."`
}

// MeterTest is what a test found of a meter's error.
type MeterTest struct {
	TestedOn     string          `json:"tested_on" format:"date"`
	ErrorPercent billing.Percent `json:"error_percent" doc:"(registered − true) ÷ true; positive when it registers too much."`
	Certificate  string          `json:"certificate"`
	RecordedBy   billing.UserID  `json:"recorded_by"`
	RecordedAt   time.Time       `json:"recorded_at"`
}

type adjustmentsInput struct {
	Page
	State   string `query:"state" enum:"previewed,approved_once,booked,rejected,withdrawn"`
	Kind    string `query:"kind" enum:"meter_error,other_fault,wrong_wiring"`
	Waiting bool   `query:"waiting" doc:"Only those that you may approve."`
	Open    bool   `query:"open" doc:"Only those that aren't ended."`
	About   string `query:"about" maxLength:"64" doc:"Part of the number, or an account's, meter's or bill's number."`
}

// AdjustmentPath is the address of an adjustment.
type AdjustmentPath struct {
	ID billing.AdjustmentID `path:"id"`
}

type submitAdjustmentInput struct {
	Keyed
	Body struct {
		Kind      string `json:"kind" enum:"meter_error,other_fault,wrong_wiring"`
		Meter     string `json:"meter" minLength:"1" maxLength:"64"`
		Corrected string `json:"corrected" format:"date" doc:"The day on which the use is registered rightly again: the first that isn't adjusted."`
		Since     string `json:"since,omitempty" format:"date" doc:"The first faulty day, of another fault alone."`
		Percent   string `json:"percent,omitempty" doc:"The difference rate of wrong wiring: what is missing of the registered use, in percent of it."`
		Normal    string `json:"normal_month,omitempty" doc:"The normal month of another fault, such as 2026-03."`
		Reason    string `json:"reason" minLength:"1" maxLength:"500"`
		Evidence  string `json:"evidence,omitempty" maxLength:"120" doc:"Number of the paper that it rests on."`
	}
}

type approveAdjustmentInput struct {
	AdjustmentPath
	Keyed
	Body struct {
		Digest string `json:"digest" minLength:"1" maxLength:"64" doc:"Of the result that you saw."`
	}
}

type undoAdjustmentInput struct {
	AdjustmentPath
	Keyed
	Body struct {
		Reasoned
		Evidence string `json:"evidence,omitempty" maxLength:"120" doc:"Number of the paper that it rests on."`
	}
}

type endAdjustmentInput struct {
	AdjustmentPath
	Body Reasoned
}

type meterTestInput struct {
	MeterPath
	Body struct {
		TestedOn     string `json:"tested_on" format:"date"`
		ErrorPercent string `json:"error_percent" minLength:"1" maxLength:"16" doc:"Exact, four decimals at most; positive when the meter registers too much."`
		Certificate  string `json:"certificate" minLength:"1" maxLength:"120"`
	}
}

func (s *server) adjustmentOperations() {
	const one, tag = "/adjustments/{id}", "adjustments"
	add(s, operation{method: http.MethodGet, path: "/adjustments", id: "list-adjustments", tag: tag, may: auth.View, summary: "Refunds and charges for faulty meters: open ones first."}, s.adjustments)
	add(s, operation{method: http.MethodGet, path: one, id: "get-adjustment", tag: tag, may: auth.View, summary: "A refund or charge for a faulty meter."}, s.adjustment)
	add(s, operation{method: http.MethodGet, path: one + "/lines", id: "list-adjusted-lines", tag: tag, may: auth.View, summary: "How it was reckoned: every line that differs."}, s.adjustedLines)
	add(s, operation{method: http.MethodPost, path: "/adjustments", id: "submit-adjustment", tag: tag, may: auth.MakeAdjustment, done: http.StatusCreated,
		summary: "Enter a fault; what it did to the issued bills is reckoned. Nothing is charged by it. The same key twice is one adjustment."}, s.submitAdjustment)
	add(s, operation{method: http.MethodPost, path: one + "/approve", id: "approve-adjustment", tag: tag, may: auth.ApproveAdjustment, summary: "Agree to a result. Two others than who entered it; the second approval books it."}, s.approveAdjustment)
	add(s, operation{method: http.MethodPost, path: one + "/reject", id: "reject-adjustment", tag: tag, may: auth.ApproveAdjustment, summary: "Refuse an adjustment that isn't booked."}, s.rejectAdjustment)
	add(s, operation{method: http.MethodPost, path: one + "/withdraw", id: "withdraw-adjustment", tag: tag, may: auth.MakeAdjustment, summary: "Withdraw your own adjustment that isn't booked."}, s.withdrawAdjustment)
	add(s, operation{method: http.MethodPost, path: one + "/undo", id: "undo-adjustment", tag: tag, may: auth.MakeAdjustment, done: http.StatusCreated,
		summary: "Enter what takes a booked adjustment back: an adjustment of its own, which two others approve. The same key twice is one."}, s.undoAdjustment)
	add(s, operation{method: http.MethodGet, path: "/meters/{id}/tests", id: "list-meter-tests", tag: "meters", may: auth.View, summary: "The tests of a meter's error, oldest first."}, s.meterTests)
	add(s, operation{method: http.MethodPost, path: "/meters/{id}/tests", id: "record-meter-test", tag: "meters", may: auth.RecordMeterTest, done: http.StatusCreated, summary: "Record a test of a meter's error. It isn't changed afterwards."}, s.recordMeterTest)
}

func (s *server) adjustments(ctx context.Context, in *adjustmentsInput) (*body[List[Adjustment]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	f := store.AdjustmentFilter{Sites: sites, State: in.State, Kind: in.Kind, Open: in.Open, Text: in.About}
	if in.Waiting {
		f.Waiting = me(ctx)
	}
	rows, total, err := s.Store.AdjustmentPage(ctx, f, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, adjustmentOf), nil
}

// seenAdjustment reads an adjustment that the person may see, and do something to when the action says so.
func (s *server) seenAdjustment(ctx context.Context, id billing.AdjustmentID, action auth.Action) (store.AdjustmentRow, error) {
	j, err := s.Store.AdjustmentRow(ctx, id)
	if err != nil {
		return j, err
	}
	if err := see(ctx, j.Site); err != nil {
		return j, err
	}
	return j, may(ctx, action, j.Site)
}

func (s *server) adjustment(ctx context.Context, in *AdjustmentPath) (*body[Adjustment], error) {
	j, err := s.seenAdjustment(ctx, in.ID, auth.View)
	if err != nil {
		return nil, err
	}
	return &body[Adjustment]{adjustmentOf(j)}, nil
}

func (s *server) adjustedLines(ctx context.Context, in *AdjustmentPath) (*body[[]AdjustedLine], error) {
	if _, err := s.seenAdjustment(ctx, in.ID, auth.View); err != nil {
		return nil, err
	}
	rows, err := s.Store.AdjustedLines(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	lines := make([]AdjustedLine, len(rows))
	for i, l := range rows {
		lines[i] = AdjustedLine{Bill: l.Bill, Component: l.Component, NameZH: l.NameZH, NameEN: l.NameEN, Register: l.Register.String(), Tier: l.Tier, Unit: l.Unit, Thirtieths: l.Thirtieths,
			From: utc(l.FromAt), To: utc(l.ToAt), Price: l.Price, Factor: l.Factor, BilledQuantity: l.BilledQuantity, TrueQuantity: l.TrueQuantity,
			BilledFen: l.BilledFen, TrueFen: l.TrueFen, AmountFen: l.AmountFen()}
	}
	return &body[[]AdjustedLine]{lines}, nil
}

// fault reads the texts of a request.
func (in *submitAdjustmentInput) fault() (f billing.Fault, err error) {
	f = billing.Fault{Kind: billing.AdjustmentKind(in.Body.Kind), Meter: billing.MeterID(in.Body.Meter)}
	if f.Corrected, err = billing.ParseDate(in.Body.Corrected); err != nil {
		return f, err
	}
	if in.Body.Since != "" {
		if f.Since, err = billing.ParseDate(in.Body.Since); err != nil {
			return f, err
		}
	}
	if in.Body.Percent != "" {
		if f.Percent, err = billing.ParsePercent(in.Body.Percent); err != nil {
			return f, err
		}
	}
	if in.Body.Normal != "" {
		month, err := billing.ParseMonth(in.Body.Normal)
		if err != nil {
			return f, err
		}
		f.Normal = month.From
	}
	return f, nil
}

func (s *server) submitAdjustment(ctx context.Context, in *submitAdjustmentInput) (*body[Adjustment], error) {
	fault, err := in.fault()
	if err != nil {
		return nil, err
	}
	return s.enterAdjustment(ctx, workflows.SubmitAdjustment{By: me(ctx), Fault: fault, Reason: in.Body.Reason, Evidence: in.Body.Evidence, Key: in.Key})
}

func (s *server) enterAdjustment(ctx context.Context, submission workflows.SubmitAdjustment) (*body[Adjustment], error) {
	if submission.Key == "" {
		submission.Key = rand.Text() // a request without a key is a new adjustment each time
	}
	var err error
	if submission.AdjustmentID, err = s.Store.NextAdjustmentID(ctx); err != nil {
		return nil, err
	}
	id, err := s.Workflows.SubmitAdjustment(ctx, submission)
	if err != nil {
		return nil, err
	}
	return s.adjustment(ctx, &AdjustmentPath{ID: id})
}

func (s *server) undoAdjustment(ctx context.Context, in *undoAdjustmentInput) (*body[Adjustment], error) {
	if _, err := s.seenAdjustment(ctx, in.ID, auth.MakeAdjustment); err != nil {
		return nil, err
	}
	return s.enterAdjustment(ctx, workflows.SubmitAdjustment{By: me(ctx), Undoes: in.ID, Reason: in.Body.Reason, Evidence: in.Body.Evidence, Key: in.Key})
}

// decideAdjustment does something to an adjustment that the person may do, and answers with it as it stands then.
func (s *server) decideAdjustment(ctx context.Context, id billing.AdjustmentID, action auth.Action, do func() error) (*body[Adjustment], error) {
	if _, err := s.seenAdjustment(ctx, id, action); err != nil {
		return nil, err
	}
	if err := do(); err != nil {
		return nil, err
	}
	return s.adjustment(ctx, &AdjustmentPath{ID: id})
}

func (s *server) approveAdjustment(ctx context.Context, in *approveAdjustmentInput) (*body[Adjustment], error) {
	return s.decideAdjustment(ctx, in.ID, auth.ApproveAdjustment, func() error {
		return s.Workflows.ApproveAdjustment(ctx, in.ID, me(ctx), in.Body.Digest, in.Key)
	})
}

func (s *server) rejectAdjustment(ctx context.Context, in *endAdjustmentInput) (*body[Adjustment], error) {
	return s.decideAdjustment(ctx, in.ID, auth.ApproveAdjustment, func() error {
		return s.Workflows.RejectAdjustment(ctx, in.ID, me(ctx), in.Body.Reason)
	})
}

func (s *server) withdrawAdjustment(ctx context.Context, in *endAdjustmentInput) (*body[Adjustment], error) {
	return s.decideAdjustment(ctx, in.ID, auth.MakeAdjustment, func() error {
		return s.Workflows.WithdrawAdjustment(ctx, in.ID, me(ctx), in.Body.Reason)
	})
}

func (s *server) meterTests(ctx context.Context, in *MeterPath) (*body[[]MeterTest], error) {
	m, err := s.seenMeter(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	rows, err := s.Store.TestsOfMeter(ctx, m.ID)
	if err != nil {
		return nil, err
	}
	tests := make([]MeterTest, len(rows))
	for i, t := range rows {
		tests[i] = MeterTest{TestedOn: t.TestedOn.String(), ErrorPercent: t.ErrorPercent, Certificate: t.Certificate, RecordedBy: t.RecordedBy, RecordedAt: utc(t.RecordedAt)}
	}
	return &body[[]MeterTest]{tests}, nil
}

func (s *server) recordMeterTest(ctx context.Context, in *meterTestInput) (*body[[]MeterTest], error) {
	m, err := s.seenMeter(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.RecordMeterTest, m.Site); err != nil {
		return nil, err
	}
	t := store.MeterTest{Meter: in.ID, Certificate: in.Body.Certificate}
	if t.TestedOn, err = billing.ParseDate(in.Body.TestedOn); err != nil {
		return nil, err
	}
	if t.ErrorPercent, err = billing.ParsePercent(in.Body.ErrorPercent); err != nil {
		return nil, err
	}
	if err := s.Store.RecordMeterTest(ctx, by(ctx, ""), t); err != nil {
		return nil, err
	}
	return s.meterTests(ctx, &in.MeterPath)
}

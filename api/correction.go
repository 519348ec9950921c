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

// Correction is a change of what issued bills rest on, with its preview's totals.
type Correction struct {
	ID              billing.CorrectionID    `json:"id"`
	Sites           []billing.SiteID        `json:"sites" doc:"Of all accounts that it touches."`
	Kind            billing.CorrectionKind  `json:"kind"`
	Subject         string                  `json:"subject" doc:"The meter's, account's or tariff's number."`
	Change          json.RawMessage         `json:"change"`
	Before          json.RawMessage         `json:"before" doc:"What stands on file instead."`
	FromAt          time.Time               `json:"from_at" doc:"The first instant that it touches."`
	Reason          string                  `json:"reason"`
	Evidence        string                  `json:"evidence,omitempty"`
	State           billing.CorrectionState `json:"state"`
	Digest          string                  `json:"digest,omitempty" doc:"Of the preview's inputs; an approval names it."`
	ApprovalsNeeded int                     `json:"approvals_needed"`
	DraftedBy       billing.UserID          `json:"drafted_by"`
	DraftedAt       time.Time               `json:"drafted_at"`
	Approved1By     billing.UserID          `json:"approved1_by,omitempty"`
	Approved1At     *time.Time              `json:"approved1_at,omitempty"`
	Approved2By     billing.UserID          `json:"approved2_by,omitempty"`
	Approved2At     *time.Time              `json:"approved2_at,omitempty"`
	EndedBy         billing.UserID          `json:"ended_by,omitempty"`
	EndedAt         *time.Time              `json:"ended_at,omitempty"`
	EndedWhy        string                  `json:"ended_why,omitempty"`
	StoppedBill     billing.BillID          `json:"stopped_bill,omitempty" doc:"Where it stopped; nothing after it was changed."`
	StoppedWhy      string                  `json:"stopped_why,omitempty"`
	Totals          store.CorrectionTotals  `json:"totals"`
}

func correctionOf(k store.CorrectionRow) Correction {
	return Correction{ID: k.ID, Sites: k.Sites, Kind: k.Kind, Subject: k.Subject, Change: k.Change, Before: k.Before, FromAt: utc(k.FromAt), Reason: k.Reason, Evidence: k.Evidence,
		State: k.State, Digest: hex.EncodeToString(k.Digest), ApprovalsNeeded: k.ApprovalsNeeded, DraftedBy: k.DraftedBy, DraftedAt: utc(k.DraftedAt),
		Approved1By: k.Approved1By, Approved1At: utcOrNil(k.Approved1At), Approved2By: k.Approved2By, Approved2At: utcOrNil(k.Approved2At),
		EndedBy: k.EndedBy, EndedAt: utcOrNil(k.EndedAt), EndedWhy: k.EndedWhy, StoppedBill: k.StoppedBill, StoppedWhy: k.StoppedWhy, Totals: k.CorrectionTotals}
}

// CorrectedBill is one bill of a preview: as it stands, and as it will be.
type CorrectedBill struct {
	Bill        billing.BillID    `json:"bill"`
	Account     billing.AccountID `json:"account"`
	Service     billing.Service   `json:"service"`
	PeriodFrom  string            `json:"period_from" format:"date"`
	PeriodTo    string            `json:"period_to" format:"date" doc:"The first day after the period."`
	Was         billing.BillState `json:"was" enum:"draft,issued"`
	OldQuantity int64             `json:"old_quantity" doc:"Raw units after the ratio: 0.01 kWh or litres."`
	NewQuantity int64             `json:"new_quantity"`
	OldFen      billing.Money     `json:"old_fen"`
	NewFen      billing.Money     `json:"new_fen"`
	State       string            `json:"state" enum:"pending,done"`
	NewBill     *billing.BillID   `json:"new_bill,omitempty" doc:"Its successor, once it is done."`
}

// CorrectedAccount is one balance of a preview.
type CorrectedAccount struct {
	Account      billing.AccountID  `json:"account"`
	Site         billing.SiteID     `json:"site"`
	CreditMode   billing.CreditMode `json:"credit_mode"`
	BalanceFen   billing.Money      `json:"balance_fen" doc:"When previewed."`
	BillsFen     billing.Money      `json:"bills_fen" doc:"By how much the issued bills change the credit; positive gives back."`
	OpenFen      billing.Money      `json:"open_fen" doc:"What the next daily charge gives back for periods that aren't billed."`
	AfterFen     billing.Money      `json:"after_fen"`
	RemainingFen *billing.Money     `json:"remaining_fen,omitempty" doc:"What the meter itself held at its last reading; it isn't changed."`
	FallsShort   bool               `json:"falls_short" doc:"It comes to its cut limit or below; nobody is cut for that without a notice first."`
	Problem      string             `json:"problem,omitempty" doc:"Why it can't be rated; nothing can be approved with it."`
}

type correctionsInput struct {
	Page
	State   string `query:"state" enum:"drafted,previewed,approved_once,approved,applying,applied,rejected,withdrawn,stopped"`
	Kind    string `query:"kind" enum:"reading,ratio,exchange,price,terms,quantity,carry_over"`
	Waiting bool   `query:"waiting" doc:"Only those that you may approve."`
	Open    bool   `query:"open" doc:"Only those that aren't ended."`
	About   string `query:"about" maxLength:"64" doc:"Part of the number or the subject, or an account's or bill's number."`
}

// CorrectionPath is the address of a correction.
type CorrectionPath struct {
	ID billing.CorrectionID `path:"id"`
}

type correctionListInput struct {
	CorrectionPath
	Limit  int `query:"limit" default:"50" minimum:"1" maximum:"500"`
	Offset int `query:"offset" default:"0" minimum:"0" maximum:"1000000"`
}

type submitInput struct {
	Keyed
	Body struct {
		Change   json.RawMessage `json:"change" doc:"One of reading {meter, at, registers}, ratio {fitting, at, ratio, registers}, exchange {fitting, opening, closing}, price {tariff, version}, terms {account, from, tariff, class, persons, capacity_kva, suspended_kva, contract_demand_kw, choice, register, arrears_contract}; what is left out of terms but the class is none; quantity {account, month, kind, value}: the month's first day, kind demand_kw, kvarh or reverse; carry_over {account, use}: used in the step year before the account was opened, raw, after the ratio. Registers are raw: 0.01 kWh or litres."`
		Reason   string          `json:"reason" minLength:"1" maxLength:"500"`
		Evidence string          `json:"evidence,omitempty" maxLength:"120" doc:"Number of the paper that it rests on."`
		DatedOn  string          `json:"dated_on,omitempty" format:"date" doc:"The accounting day of the entries. Only the open day, today, is possible; left out means it."`
	}
}

type approveCorrectionInput struct {
	CorrectionPath
	Keyed
	Body struct {
		Digest string `json:"digest" minLength:"1" maxLength:"64" doc:"Of the preview that you saw."`
	}
}

type endCorrectionInput struct {
	CorrectionPath
	Body Reasoned
}

func (s *server) correctionOperations() {
	const one = "/corrections/{id}"
	add(s, operation{method: http.MethodGet, path: "/corrections", id: "list-corrections", tag: "corrections", may: auth.View, summary: "Corrections: open ones first."}, s.corrections)
	add(s, operation{method: http.MethodGet, path: one, id: "get-correction", tag: "corrections", may: auth.View, summary: "A correction with its preview's totals."}, s.correction)
	add(s, operation{method: http.MethodGet, path: one + "/bills", id: "list-corrected-bills", tag: "corrections", may: auth.View, summary: "Every bill that a correction touches."}, s.correctedBills)
	add(s, operation{method: http.MethodGet, path: one + "/accounts", id: "list-corrected-accounts", tag: "corrections", may: auth.View, summary: "Every balance that a correction touches."}, s.correctedAccounts)
	add(s, operation{method: http.MethodPost, path: "/corrections", id: "submit-correction", tag: "corrections", may: auth.MakeCorrection, done: http.StatusCreated,
		summary: "Draft a correction and compute its preview. Nothing is changed by it. The same key twice is one correction."}, s.submitCorrection)
	add(s, operation{method: http.MethodPost, path: one + "/approve", id: "approve-correction", tag: "corrections", may: auth.ApproveCorrection, summary: "Agree to a preview. Another person than the maker, or two."}, s.approveCorrection)
	add(s, operation{method: http.MethodPost, path: one + "/reject", id: "reject-correction", tag: "corrections", may: auth.ApproveCorrection, summary: "Refuse a correction of which nothing is applied."}, s.rejectCorrection)
	add(s, operation{method: http.MethodPost, path: one + "/withdraw", id: "withdraw-correction", tag: "corrections", may: auth.MakeCorrection, summary: "Withdraw your own correction of which nothing is applied."}, s.withdrawCorrection)
	add(s, operation{method: http.MethodPost, path: one + "/preview", id: "preview-correction", tag: "corrections", may: auth.MakeCorrection, summary: "Compute the preview again; of a stopped correction, that of the rest."}, s.previewCorrection)
	add(s, operation{method: http.MethodPost, path: one + "/resume", id: "resume-correction", tag: "corrections", may: auth.MakeCorrection, summary: "Let a stopped correction go on."}, s.resumeCorrection)
}

func (s *server) corrections(ctx context.Context, in *correctionsInput) (*body[List[Correction]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	f := store.CorrectionFilter{Sites: sites, State: in.State, Kind: in.Kind, Open: in.Open, Text: in.About}
	if in.Waiting {
		f.Waiting = me(ctx)
	}
	rows, total, err := s.Store.CorrectionPage(ctx, f, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, correctionOf), nil
}

// seenCorrection reads a correction that the person may see, and do something to when the action says so.
func (s *server) seenCorrection(ctx context.Context, id billing.CorrectionID, action auth.Action) (store.CorrectionRow, error) {
	k, err := s.Store.CorrectionRow(ctx, id)
	if err != nil {
		return k, err
	}
	for _, site := range k.Sites {
		if err := may(ctx, action, site); err != nil {
			return k, err
		}
	}
	return k, nil
}

func (s *server) correction(ctx context.Context, in *CorrectionPath) (*body[Correction], error) {
	k, err := s.seenCorrection(ctx, in.ID, auth.View)
	if err != nil {
		return nil, err
	}
	return &body[Correction]{correctionOf(k)}, nil
}

func (s *server) correctedBills(ctx context.Context, in *correctionListInput) (*body[List[CorrectedBill]], error) {
	if _, err := s.seenCorrection(ctx, in.ID, auth.View); err != nil {
		return nil, err
	}
	rows, total, err := s.Store.CorrectedBills(ctx, in.ID, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, func(b store.CorrectedBillRow) CorrectedBill {
		return CorrectedBill{Bill: b.Bill, Account: b.Account, Service: b.Service, PeriodFrom: b.PeriodFrom.String(), PeriodTo: b.PeriodTo.String(), Was: b.Was,
			OldQuantity: b.OldQuantity, NewQuantity: b.NewQuantity, OldFen: b.OldFen, NewFen: b.NewFen, State: b.State, NewBill: b.NewBill}
	}), nil
}

func (s *server) correctedAccounts(ctx context.Context, in *correctionListInput) (*body[List[CorrectedAccount]], error) {
	if _, err := s.seenCorrection(ctx, in.ID, auth.View); err != nil {
		return nil, err
	}
	rows, total, err := s.Store.CorrectedAccounts(ctx, in.ID, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, func(a store.CorrectedAccountRow) CorrectedAccount {
		return CorrectedAccount{Account: a.Account, Site: a.Site, CreditMode: a.CreditMode, BalanceFen: a.BalanceFen, BillsFen: a.BillsFen, OpenFen: a.OpenFen, AfterFen: a.After(),
			RemainingFen: a.RemainingFen, FallsShort: a.FallsShort(), Problem: a.Problem}
	}), nil
}

func (s *server) submitCorrection(ctx context.Context, in *submitInput) (*body[Correction], error) {
	submission := workflows.SubmitCorrection{By: me(ctx), Reason: in.Body.Reason, Evidence: in.Body.Evidence, Key: in.Key}
	if err := json.Unmarshal(in.Body.Change, &submission.Change); err != nil {
		return nil, billing.Errorf(billing.CodeInvalidInput, "the change can't be read (%v): see the document for its shape", err)
	}
	if in.Body.DatedOn != "" {
		day, err := billing.ParseDate(in.Body.DatedOn)
		if err != nil {
			return nil, err
		}
		submission.DatedOn = day
	}
	if submission.Key == "" {
		submission.Key = rand.Text() // a request without a key is a new correction each time
	}
	var err error
	if submission.CorrectionID, err = s.Store.NextCorrectionID(ctx); err != nil {
		return nil, err
	}
	facts, err := s.Workflows.SubmitCorrection(ctx, submission)
	if err != nil {
		return nil, err
	}
	return s.correction(ctx, &CorrectionPath{ID: facts.CorrectionID})
}

// decideCorrection does something to a correction that the person may do, and answers with it as it stands then.
func (s *server) decideCorrection(ctx context.Context, id billing.CorrectionID, action auth.Action, do func() error) (*body[Correction], error) {
	if _, err := s.seenCorrection(ctx, id, action); err != nil {
		return nil, err
	}
	if err := do(); err != nil {
		return nil, err
	}
	return s.correction(ctx, &CorrectionPath{ID: id})
}

func (s *server) approveCorrection(ctx context.Context, in *approveCorrectionInput) (*body[Correction], error) {
	return s.decideCorrection(ctx, in.ID, auth.ApproveCorrection, func() error {
		return s.Workflows.ApproveCorrection(ctx, in.ID, me(ctx), in.Body.Digest, in.Key)
	})
}

func (s *server) rejectCorrection(ctx context.Context, in *endCorrectionInput) (*body[Correction], error) {
	return s.decideCorrection(ctx, in.ID, auth.ApproveCorrection, func() error {
		return s.Workflows.RejectCorrection(ctx, in.ID, me(ctx), in.Body.Reason)
	})
}

func (s *server) withdrawCorrection(ctx context.Context, in *endCorrectionInput) (*body[Correction], error) {
	return s.decideCorrection(ctx, in.ID, auth.MakeCorrection, func() error {
		return s.Workflows.WithdrawCorrection(ctx, in.ID, me(ctx), in.Body.Reason)
	})
}

func (s *server) previewCorrection(ctx context.Context, in *CorrectionPath) (*body[Correction], error) {
	return s.decideCorrection(ctx, in.ID, auth.MakeCorrection, func() error { return s.Workflows.PreviewCorrection(ctx, in.ID, me(ctx)) })
}

func (s *server) resumeCorrection(ctx context.Context, in *CorrectionPath) (*body[Correction], error) {
	return s.decideCorrection(ctx, in.ID, auth.MakeCorrection, func() error { return s.Workflows.ResumeCorrection(ctx, in.ID, me(ctx)) })
}

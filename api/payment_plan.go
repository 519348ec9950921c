package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// PaymentPlan is a make-up bill that is paid in monthly parts.
type PaymentPlan struct {
	ID          billing.PlanID     `json:"id"`
	Site        billing.SiteID     `json:"site"`
	Account     billing.AccountID  `json:"account"`
	Cycle       billing.CycleID    `json:"cycle" doc:"Whose charge brought the true-up."`
	State       billing.PlanState  `json:"state" enum:"proposed,running,settled,rejected,cancelled,lapsed"`
	TotalFen    billing.Money      `json:"total_fen"`
	PartFen     billing.Money      `json:"part_fen" doc:"Each monthly part but the last, which is the rest."`
	Outstanding billing.Money      `json:"outstanding_fen" doc:"Not due yet: left out of what reminds, cuts and restores."`
	EarlyFen    billing.Money      `json:"early_fen" doc:"What became due at once when it ended."`
	NextDue     string             `json:"next_due,omitempty" format:"date" doc:"Of a running plan."`
	Rule        billing.MakeUpRule `json:"rule" doc:"In force then."`
	Facts       billing.MakeUp     `json:"facts" doc:"What the total was reckoned from; amounts in fen."`
	ProposedAt  time.Time          `json:"proposed_at"`
	ApprovedBy  billing.UserID     `json:"approved_by,omitempty"`
	ApprovedAt  *time.Time         `json:"approved_at,omitempty"`
	EndedBy     billing.UserID     `json:"ended_by,omitempty"`
	AgreedBy    billing.UserID     `json:"agreed_by,omitempty"`
	Agreed2By   billing.UserID     `json:"agreed2_by,omitempty"`
	EndedWhy    string             `json:"ended_why,omitempty"`
	EndedAt     *time.Time         `json:"ended_at,omitempty"`
	Parts       []PlanPart         `json:"parts" doc:"That have fallen due."`
}

// PlanPart is a part that has fallen due.
type PlanPart struct {
	No        int           `json:"no"`
	AmountFen billing.Money `json:"amount_fen"`
	DueOn     string        `json:"due_on" format:"date"`
}

func planOf(p store.PaymentPlanRow) PaymentPlan {
	v := PaymentPlan{ID: p.ID, Site: p.Site, Account: p.Account, Cycle: p.Cycle, State: p.State, TotalFen: p.TotalFen, PartFen: p.PartFen, Outstanding: p.Outstanding, EarlyFen: p.EarlyFen,
		Rule: p.Rule, Facts: p.Facts, ProposedAt: utc(p.ProposedAt), ApprovedBy: p.ApprovedBy, ApprovedAt: utcOrNil(p.ApprovedAt), EndedBy: p.EndedBy, AgreedBy: p.AgreedBy, Agreed2By: p.Agreed2By, EndedWhy: p.EndedWhy, EndedAt: utcOrNil(p.EndedAt),
		Parts: []PlanPart{}}
	if p.State == billing.PlanRunning {
		v.NextDue = p.NextDue.String()
	}
	for _, part := range p.Parts {
		v.Parts = append(v.Parts, PlanPart{No: part.No, AmountFen: part.AmountFen, DueOn: part.DueOn.String()})
	}
	return v
}

// PlanPath is the address of a payment plan.
type PlanPath struct {
	ID billing.PlanID `path:"id"`
}

type endPlanInput struct {
	PlanPath
	Body struct {
		Reasoned
		Second        string `json:"second_user" maxLength:"64" doc:"A colleague who agrees."`
		Password      string `json:"second_password" maxLength:"512" doc:"Typed by that colleague."`
		Third         string `json:"third_user" maxLength:"64" doc:"Another colleague who agrees."`
		ThirdPassword string `json:"third_password" maxLength:"512" doc:"Typed by that colleague."`
	}
	remote string
}

// Resolve takes the client's address from the request, for counting wrong passwords.
func (in *endPlanInput) Resolve(ctx huma.Context) []error {
	in.remote = ctx.RemoteAddr()
	return nil
}

type settlePlanInput struct {
	PlanPath
	Body Reasoned
}

func (s *server) planOperations() {
	const one, tag = "/payment-plans/{id}", "payment plans"
	add(s, operation{method: http.MethodGet, path: "/accounts/{id}/payment-plans", id: "list-payment-plans", tag: tag, may: auth.View, summary: "The payment plans of an account, newest first."}, s.accountPlans)
	add(s, operation{method: http.MethodGet, path: one, id: "get-payment-plan", tag: tag, may: auth.View, summary: "A make-up bill in monthly parts."}, s.plan)
	add(s, operation{method: http.MethodPost, path: one + "/approve", id: "approve-payment-plan", tag: tag, may: auth.DecidePlan, summary: "Let a proposed plan run: a part falls due on the first of each month."}, s.approvePlan)
	add(s, operation{method: http.MethodPost, path: one + "/settle", id: "settle-payment-plan", tag: tag, may: auth.DecidePlan,
		summary: "Make the rest of a running plan due, while the balance is above the cut limit."}, s.settlePlan)
	add(s, operation{method: http.MethodPost, path: one + "/end", id: "end-payment-plan", tag: tag, may: auth.DecidePlan,
		summary: "Reject a proposed plan or cancel a running one: the rest is due at once. Two colleagues agree with their passwords."}, s.endPlan)
}

func (s *server) planRow(ctx context.Context, id billing.PlanID) (store.PaymentPlanRow, error) {
	return s.Store.PlanRow(ctx, id, auth.FromContext(ctx).Sites)
}

func (s *server) plan(ctx context.Context, in *PlanPath) (*body[PaymentPlan], error) {
	p, err := s.planRow(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &body[PaymentPlan]{planOf(p)}, nil
}

// mostPlans bounds what is told of one account.
const mostPlans = 100

func (s *server) accountPlans(ctx context.Context, in *AccountPath) (*body[[]PaymentPlan], error) {
	a, err := s.seenAccount(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	plans, _, err := s.Store.PlanPage(ctx, store.PlanFilter{Sites: []billing.SiteID{a.Site}, Account: a.ID}, mostPlans, 0)
	if err != nil {
		return nil, err
	}
	list := []PaymentPlan{}
	for _, p := range plans {
		list = append(list, planOf(p))
	}
	return &body[[]PaymentPlan]{list}, nil
}

// decidable reads a plan that the signed-in person may decide on.
func (s *server) decidable(ctx context.Context, id billing.PlanID) (store.PaymentPlanRow, error) {
	p, err := s.planRow(ctx, id)
	if err != nil {
		return p, err
	}
	return p, may(ctx, auth.DecidePlan, p.Site)
}

func (s *server) approvePlan(ctx context.Context, in *PlanPath) (*body[PaymentPlan], error) {
	if _, err := s.decidable(ctx, in.ID); err != nil {
		return nil, err
	}
	if err := s.Store.ApprovePlan(ctx, by(ctx, ""), in.ID); err != nil {
		return nil, err
	}
	return s.plan(ctx, in)
}

func (s *server) settlePlan(ctx context.Context, in *settlePlanInput) (*body[PaymentPlan], error) {
	if _, err := s.decidable(ctx, in.ID); err != nil {
		return nil, err
	}
	if err := s.Store.EndPlan(ctx, by(ctx, in.Body.Reason), in.ID, billing.PlanSettled, "", ""); err != nil {
		return nil, err
	}
	return s.plan(ctx, &in.PlanPath)
}

// endPlan asks for the two colleagues' own passwords, as the end of a protection does.
func (s *server) endPlan(ctx context.Context, in *endPlanInput) (*body[PaymentPlan], error) {
	p, err := s.decidable(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	second, err := s.agrees(ctx, in.Body.Second, in.Body.Password, in.remote, auth.DecidePlan, p.Site)
	if err != nil {
		return nil, err
	}
	third, err := s.agrees(ctx, in.Body.Third, in.Body.ThirdPassword, in.remote, auth.DecidePlan, p.Site)
	if err != nil {
		return nil, err
	}
	to := billing.PlanCancelled
	if p.State == billing.PlanProposed {
		to = billing.PlanRejected
	}
	if err := s.Store.EndPlan(ctx, by(ctx, in.Body.Reason), in.ID, to, second, third); err != nil {
		return nil, err
	}
	return s.plan(ctx, &in.PlanPath)
}

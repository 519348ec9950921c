package api

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Recharge is money that becomes credit after two approvals by clerks who are not its maker.
type Recharge struct {
	ID          billing.RechargeID    `json:"id"`
	Site        billing.SiteID        `json:"site"`
	Account     billing.AccountID     `json:"account"`
	Meter       billing.MeterID       `json:"meter,omitempty" doc:"Where the credit is written; absent when the balance is ours."`
	AmountFen   billing.Money         `json:"amount_fen"`
	Channel     string                `json:"channel" enum:"cash,transfer,online"`
	Evidence    string                `json:"evidence"`
	State       billing.RechargeState `json:"state"`
	EnteredBy   billing.UserID        `json:"entered_by"`
	EnteredAt   time.Time             `json:"entered_at"`
	ExpiresAt   time.Time             `json:"expires_at"`
	Approved1By billing.UserID        `json:"approved1_by,omitempty"`
	Approved1At *time.Time            `json:"approved1_at,omitempty"`
	Approved2By billing.UserID        `json:"approved2_by,omitempty"`
	Approved2At *time.Time            `json:"approved2_at,omitempty"`
	RejectedBy  billing.UserID        `json:"rejected_by,omitempty"`
	Reason      string                `json:"reason,omitempty"`
	SettledAt   *time.Time            `json:"settled_at,omitempty"`
	ReceiptNo   string                `json:"receipt_no,omitempty"`
}

func rechargeOf(r store.Recharge) Recharge {
	return Recharge{ID: r.ID, Site: r.Site, Account: r.Account, Meter: r.Meter, AmountFen: r.Amount, Channel: r.Channel, Evidence: r.Evidence, State: r.State,
		EnteredBy: r.EnteredBy, EnteredAt: utc(r.EnteredAt), ExpiresAt: utc(r.ExpiresAt), Approved1By: r.Approved1By, Approved1At: utcOrNil(r.Approved1At),
		Approved2By: r.Approved2By, Approved2At: utcOrNil(r.Approved2At), RejectedBy: r.RejectedBy, Reason: r.Reason, SettledAt: utcOrNil(r.SettledAt),
		ReceiptNo: r.ReceiptNo}
}

type rechargesInput struct {
	Page
	State   string            `query:"state" enum:"entered,approved_once,approved,delivering,credited,rejected,expired,in_doubt"`
	Account billing.AccountID `query:"account"`
	Waiting bool              `query:"waiting" doc:"Only those that you may approve."`
	Since   string            `query:"since" format:"date" doc:"Entered or settled on this day or later."`
}

type enterInput struct {
	Keyed
	Body struct {
		Account  billing.AccountID `json:"account" minLength:"1"`
		Amount   string            `json:"amount" maxLength:"20" doc:"Yuan with at most two decimals, as text: \"12.34\"."`
		Channel  string            `json:"channel" enum:"cash,transfer,online"`
		Evidence string            `json:"evidence,omitempty" maxLength:"64" doc:"Number of the slip or online payment that was checked; cash needs none."`
		Key      string            `json:"idempotency_key,omitempty" maxLength:"128" doc:"Instead of the header Idempotency-Key."`
	}
}

// RechargePath is the address of a recharge.
type RechargePath struct {
	ID billing.RechargeID `path:"id"`
}

type approveInput struct {
	RechargePath
	Keyed
}

type rejectInput struct {
	RechargePath
	Body Reasoned
}

func (s *server) rechargeOperations() {
	add(s, operation{method: http.MethodGet, path: "/recharges", id: "list-recharges", tag: "recharges", may: auth.View,
		summary: "Recharges: what waits for you first."}, s.recharges)
	add(s, operation{method: http.MethodGet, path: "/recharges/{id}", id: "get-recharge", tag: "recharges", may: auth.View, summary: "A recharge."}, s.recharge)
	add(s, operation{method: http.MethodPost, path: "/recharges", id: "enter-recharge", tag: "recharges", may: auth.EnterRecharge, done: http.StatusCreated,
		summary: "Enter what a customer paid. The same key twice is one recharge."}, s.enterRecharge)
	add(s, operation{method: http.MethodPost, path: "/recharges/{id}/approve", id: "approve-recharge", tag: "recharges", may: auth.ApproveRecharge,
		summary: "Give one of the two approvals."}, s.approveRecharge)
	add(s, operation{method: http.MethodPost, path: "/recharges/{id}/reject", id: "reject-recharge", tag: "recharges", may: auth.ApproveRecharge,
		summary: "Refuse a recharge that isn't approved yet."}, s.rejectRecharge)
}

func (s *server) recharges(ctx context.Context, in *rechargesInput) (*body[List[Recharge]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	from, err := since(in.Since)
	if err != nil {
		return nil, err
	}
	f := store.RechargeFilter{Sites: sites, State: in.State, Account: in.Account, Since: from, Viewer: me(ctx)}
	if in.Waiting {
		f.Waiting = me(ctx)
	}
	rows, tally, err := s.Store.RechargePage(ctx, f, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, tally.N, func(r store.RechargeRow) Recharge { return rechargeOf(r.Recharge) }), nil
}

func (s *server) recharge(ctx context.Context, in *RechargePath) (*body[Recharge], error) {
	r, err := s.Store.Recharge(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := see(ctx, r.Site); err != nil {
		return nil, err
	}
	return &body[Recharge]{rechargeOf(r)}, nil
}

// amount reads yuan and refuses what is no payment: zero, negative, a third decimal.
func amount(text string) (billing.Money, error) {
	m, err := billing.ParseMoney(text)
	if err != nil {
		return 0, err
	}
	if m <= 0 {
		return 0, billing.Errorf(billing.CodeInvalidInput, "the amount must be more than zero: write yuan and fen, such as 12.34")
	}
	return m, nil
}

func (s *server) enterRecharge(ctx context.Context, in *enterInput) (*body[Recharge], error) {
	a, err := s.Store.Account(ctx, in.Body.Account)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.EnterRecharge, a.Site); err != nil {
		return nil, err
	}
	fen, err := amount(in.Body.Amount)
	if err != nil {
		return nil, err
	}
	key := in.Key
	switch {
	case key == "":
		key = in.Body.Key
	case in.Body.Key != "" && in.Body.Key != key:
		return nil, billing.Errorf(billing.CodeInvalidInput, "the header Idempotency-Key and the field idempotency_key differ: send one of them")
	}
	if key == "" {
		// A request without a key is a new recharge each time.
		key = rand.Text()
	}
	id, err := s.Store.NextRechargeID(ctx, a.Site)
	if err != nil {
		return nil, err
	}
	entered, err := s.Workflows.EnterRecharge(ctx, workflows.EnterRecharge{
		RechargeID: id, Account: a.ID, Amount: fen, Channel: in.Body.Channel, Evidence: in.Body.Evidence, Key: key, By: me(ctx),
	})
	if err != nil {
		return nil, err
	}
	return s.recharge(ctx, &RechargePath{ID: entered.RechargeID})
}

func (s *server) approveRecharge(ctx context.Context, in *approveInput) (*body[Recharge], error) {
	r, err := s.Store.Recharge(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.ApproveRecharge, r.Site); err != nil {
		return nil, err
	}
	if err := s.Workflows.ApproveRecharge(ctx, r.ID, me(ctx), in.Key); err != nil {
		return nil, err
	}
	return s.recharge(ctx, &in.RechargePath)
}

func (s *server) rejectRecharge(ctx context.Context, in *rejectInput) (*body[Recharge], error) {
	r, err := s.Store.Recharge(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.ApproveRecharge, r.Site); err != nil {
		return nil, err
	}
	if err := s.Workflows.RejectRecharge(ctx, r.ID, me(ctx), in.Body.Reason); err != nil {
		return nil, err
	}
	return s.recharge(ctx, &in.RechargePath)
}

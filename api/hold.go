package api

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Hold is a part of a customer's credit that is kept back until it is paid out, released, or expires.
type Hold struct {
	ID         string            `json:"id"`
	Account    billing.AccountID `json:"account"`
	AmountFen  billing.Money     `json:"amount_fen"`
	Purpose    string            `json:"purpose" enum:"refund,transfer,dispute"`
	Subject    string            `json:"subject" doc:"The number of what it is about."`
	State      string            `json:"state" enum:"open,posted,voided,expired"`
	PostedFen  billing.Money     `json:"posted_fen" doc:"What was paid out; the rest was released."`
	Entry      *int64            `json:"entry,omitempty" doc:"The entry that paid it out."`
	PlacedBy   string            `json:"placed_by"`
	PlacedAt   time.Time         `json:"placed_at"`
	ExpiresAt  time.Time         `json:"expires_at"`
	ApprovedBy string            `json:"approved_by,omitempty" doc:"Who agreed that it is paid out; another person pays it out."`
	ApprovedAt *time.Time        `json:"approved_at,omitempty"`
	SettledBy  string            `json:"settled_by,omitempty"`
	SettledAt  *time.Time        `json:"settled_at,omitempty"`
	Reason     string            `json:"reason,omitempty"`
}

func holdOf(h store.Hold) Hold {
	return Hold{ID: h.ID, Account: h.Account, AmountFen: h.Amount, Purpose: string(h.Purpose), Subject: h.Subject, State: h.State, PostedFen: h.Posted, Entry: h.EntryID,
		PlacedBy: h.PlacedBy, PlacedAt: utc(h.PlacedAt), ExpiresAt: utc(h.ExpiresAt), ApprovedBy: h.ApprovedBy, ApprovedAt: utcOrNil(h.ApprovedAt), SettledBy: h.SettledBy, SettledAt: utcOrNil(h.SettledAt), Reason: h.Reason}
}

type placeHoldInput struct {
	AccountPath
	Keyed
	Body struct {
		Reasoned
		Amount  string    `json:"amount" maxLength:"20" doc:"Yuan, such as 12.34."`
		Purpose string    `json:"purpose" enum:"refund,transfer,dispute"`
		Subject string    `json:"subject" minLength:"1" maxLength:"100" doc:"The number of the request or message that it is about."`
		Expires time.Time `json:"expires_at" doc:"When it ends by itself."`
	}
}

// HoldPath is the address of a hold.
type HoldPath struct {
	ID string `path:"id"`
}

type postHoldInput struct {
	HoldPath
	Body struct {
		Reasoned
		Amount  string `json:"amount" maxLength:"20" doc:"Yuan, the hold's amount at most; the rest is released."`
		Channel string `json:"channel" enum:"cash,transfer,online" doc:"Where the money leaves from."`
	}
}

type holdsInput struct {
	Page
	Waiting bool `query:"waiting" doc:"Only those that you may approve or pay out next."`
}

type decideHoldInput struct {
	HoldPath
	Body Reasoned
}

func (s *server) holdOperations() {
	add(s, operation{method: http.MethodGet, path: "/holds", id: "list-open-holds", tag: "accounts", may: auth.View, summary: "Open holds, the oldest first."}, s.openHolds)
	add(s, operation{method: http.MethodGet, path: "/accounts/{id}/holds", id: "list-holds", tag: "accounts", may: auth.View, summary: "What is kept back of an account's credit."}, s.holds)
	add(s, operation{method: http.MethodPost, path: "/accounts/{id}/holds", id: "place-hold", tag: "accounts", may: auth.PlaceHold, done: http.StatusCreated,
		summary: "Keep back a part of an account's credit. The same key twice is one hold."}, s.placeHold)
	add(s, operation{method: http.MethodPost, path: "/holds/{id}/approve", id: "approve-hold", tag: "accounts", may: auth.SettleHold,
		summary: "Agree that a hold is paid out; another person than who placed it."}, s.approveHold)
	add(s, operation{method: http.MethodPost, path: "/holds/{id}/post", id: "post-hold", tag: "accounts", may: auth.SettleHold,
		summary: "Pay out an approved hold, whole or in part; a third person beside those who placed and approved it."}, s.postHold)
	add(s, operation{method: http.MethodPost, path: "/holds/{id}/void", id: "void-hold", tag: "accounts", may: auth.SettleHold, summary: "Release a hold."}, s.voidHold)
}

func (s *server) holds(ctx context.Context, in *AccountPath) (*body[List[Hold]], error) {
	a, err := s.seenAccount(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	rows, err := s.Store.HoldsOf(ctx, a.ID, 500)
	if err != nil {
		return nil, err
	}
	return listOf(rows, len(rows), holdOf), nil
}

func (s *server) openHolds(ctx context.Context, in *holdsInput) (*body[List[Hold]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	var waiting billing.UserID
	if in.Waiting {
		waiting = me(ctx)
	}
	rows, total, err := s.Store.HoldPage(ctx, sites, waiting, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, holdOf), nil
}

func (s *server) placeHold(ctx context.Context, in *placeHoldInput) (*body[Hold], error) {
	a, err := s.seenAccount(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.PlaceHold, a.Site); err != nil {
		return nil, err
	}
	fen, err := amount(in.Body.Amount)
	if err != nil {
		return nil, err
	}
	clock, err := s.Store.Clock(ctx)
	if err != nil {
		return nil, err
	}
	if !in.Body.Expires.After(clock.Now) {
		return nil, billing.Errorf(billing.CodeInvalidInput, "The hold would have ended already: choose a later day.")
	}
	key := in.Key
	if key == "" {
		key = rand.Text() // a request without a key is a new hold each time
	}
	h, err := s.Store.PlaceHold(ctx, by(ctx, in.Body.Reason), store.HoldFor(a.ID, fen, in.Body.Purpose, in.Body.Subject, "hold/"+key, in.Body.Expires))
	if err != nil {
		return nil, err
	}
	return &body[Hold]{holdOf(h)}, nil
}

func (s *server) seenHold(ctx context.Context, id string, action auth.Action) (store.Hold, error) {
	h, err := s.Store.Hold(ctx, id)
	if err != nil {
		return h, err
	}
	return h, may(ctx, action, h.Site)
}

func (s *server) approveHold(ctx context.Context, in *decideHoldInput) (*body[Hold], error) {
	h, err := s.seenHold(ctx, in.ID, auth.SettleHold)
	if err != nil {
		return nil, err
	}
	if h, err = s.Store.ApproveHold(ctx, by(ctx, in.Body.Reason), h.ID); err != nil {
		return nil, err
	}
	return &body[Hold]{holdOf(h)}, nil
}

func (s *server) postHold(ctx context.Context, in *postHoldInput) (*body[Hold], error) {
	h, err := s.seenHold(ctx, in.ID, auth.SettleHold)
	if err != nil {
		return nil, err
	}
	fen, err := amount(in.Body.Amount)
	if err != nil {
		return nil, err
	}
	if h, err = s.Store.PayOutHold(ctx, by(ctx, in.Body.Reason), h.ID, fen, in.Body.Channel); err != nil {
		return nil, err
	}
	return &body[Hold]{holdOf(h)}, nil
}

func (s *server) voidHold(ctx context.Context, in *decideHoldInput) (*body[Hold], error) {
	h, err := s.seenHold(ctx, in.ID, auth.SettleHold)
	if err != nil {
		return nil, err
	}
	if h, err = s.Store.VoidHold(ctx, by(ctx, in.Body.Reason), h.ID); err != nil {
		return nil, err
	}
	return &body[Hold]{holdOf(h)}, nil
}

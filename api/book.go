package api

import (
	"context"
	"net/http"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
)

// HouseAccount is the balance of one account of the house: cash, bank, in transit, unbilled, revenue.
type HouseAccount struct {
	Code       string        `json:"code"`
	Kind       string        `json:"kind"`
	BalanceFen billing.Money `json:"balance_fen" doc:"Debit positive, credit negative."`
}

// TrialBalance is the books in one line, with the house accounts.
type TrialBalance struct {
	Entries      int64          `json:"entries"`
	DebitFen     billing.Money  `json:"debit_fen"`
	CreditFen    billing.Money  `json:"credit_fen"`
	Balanced     bool           `json:"balanced"`
	CustomersFen billing.Money  `json:"customers_fen" doc:"What customers have with us."`
	House        []HouseAccount `json:"house"`
}

// Verification is what recomputing the journal gave.
type Verification struct {
	Rows   int64  `json:"rows"`
	Chains int64  `json:"chains"`
	Intact bool   `json:"intact"`
	Break  string `json:"break,omitempty" doc:"Where the first break is."`
}

type balanceInput struct {
	Site billing.SiteID `query:"site" doc:"One of your sites; all of them when left out."`
}

func (s *server) bookOperations() {
	add(s, operation{method: http.MethodGet, path: "/ledger/trial-balance", id: "trial-balance", tag: "books", may: auth.View,
		summary: "Debits, credits and the house accounts."}, s.trialBalance)
	s.ledgerOperations()
	s.holdOperations()
	add(s, operation{method: http.MethodGet, path: "/journal/verification", id: "verify-journal", tag: "books", may: auth.VerifyJournal,
		summary: "Recompute every hash chain and seal of the journal."}, s.verifyJournal)
}

func (s *server) trialBalance(ctx context.Context, in *balanceInput) (*body[TrialBalance], error) {
	sites, err := Page{Site: in.Site}.sites(ctx)
	if err != nil {
		return nil, err
	}
	t, err := s.Store.TrialBalance(ctx, sites)
	if err != nil {
		return nil, err
	}
	b := TrialBalance{Entries: t.Entries, DebitFen: t.Debit, CreditFen: t.Credit, Balanced: t.Balanced(), CustomersFen: t.Customers, House: []HouseAccount{}}
	for _, site := range sites {
		house, err := s.Store.HouseBalances(ctx, site)
		if err != nil {
			return nil, err
		}
		for _, h := range house {
			b.House = append(b.House, HouseAccount{Code: string(h.Code), Kind: string(h.Kind), BalanceFen: h.Balance})
		}
	}
	return &body[TrialBalance]{b}, nil
}

func (s *server) verifyJournal(ctx context.Context, _ *none) (*body[Verification], error) {
	rows, chains, first, err := s.Store.VerifyJournal(ctx)
	if err != nil {
		return nil, err
	}
	v := Verification{Rows: rows, Chains: chains, Intact: first == nil}
	if first != nil {
		v.Break = first.String()
	}
	return &body[Verification]{v}, nil
}

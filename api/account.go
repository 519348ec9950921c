package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Account is the balance of one service: what is billed and cut.
type Account struct {
	ID          billing.AccountID     `json:"id"`
	Site        billing.SiteID        `json:"site"`
	Service     billing.Service       `json:"service"`
	CreditMode  billing.CreditMode    `json:"credit_mode"`
	Customer    billing.CustomerID    `json:"customer"`
	Name        string                `json:"name"`
	Phone       string                `json:"phone"`
	Class       billing.CustomerClass `json:"class" doc:"Today; dated, see its terms."`
	LifeSupport bool                  `json:"life_support"`
	Address     string                `json:"address"`
	Tariff      billing.TariffID      `json:"tariff"`
	BalanceFen  billing.Money         `json:"balance_fen"`
	HeldFen     billing.Money         `json:"held_fen" doc:"Kept back by open holds."`
	Available   billing.Money         `json:"available_fen" doc:"The balance without what is held."`
	CutLimitFen billing.Money         `json:"cut_limit_fen" doc:"Cut when the balance is at or below."`
	PendingFen  billing.Money         `json:"pending_fen" doc:"Recharges that are entered or on their way."`
	LastsDays   *int                  `json:"lasts_days,omitempty" doc:"Days down to the limit at the use of late; absent when unknown."`
	Supply      billing.SupplyState   `json:"supply" doc:"As proved."`
	Wanted      billing.SupplyState   `json:"supply_wanted"`
	SupplySince time.Time             `json:"supply_since"`
	Protected   *time.Time            `json:"protected_until,omitempty"`
	Arrears     billing.ReminderState `json:"arrears,omitempty"`
	Meter       billing.MeterID       `json:"meter,omitempty"`
	OpenCases   int                   `json:"open_cases"`
	NotCharged  string                `json:"not_charged,omitempty" doc:"Why the newest daily charge couldn't rate it; absent when it could."`
	NotSince    *time.Time            `json:"not_charged_since,omitempty"`
}

func accountOf(a store.AccountRow) Account {
	v := Account{ID: a.ID, Site: a.Site, Service: a.Service, CreditMode: a.CreditMode, Customer: a.Account.Customer, Name: a.Name, Phone: a.Phone,
		Class: a.Class, LifeSupport: a.LifeSupport, Address: a.Address, Tariff: a.Tariff, BalanceFen: a.Balance, HeldFen: a.Held, Available: a.Available(), CutLimitFen: a.CutLimit,
		PendingFen: a.Pending, Supply: a.Supply, Wanted: a.Wanted, SupplySince: utc(a.SupplySince), Protected: utcOrNil(a.Protected), Arrears: a.Arrears,
		Meter: a.Meter, OpenCases: a.OpenCases, NotCharged: a.Uncharged, NotSince: utcOrNil(a.UnchargedAt)}
	if days, ok := a.Lasts(); ok {
		v.LastsDays = &days
	}
	return v
}

// Movement is one posting on a customer's credit.
type Movement struct {
	Kind       string        `json:"kind"`
	Subject    string        `json:"subject" doc:"Number of the recharge, bill or cycle."`
	AmountFen  billing.Money `json:"amount_fen" doc:"Positive is credit for the customer."`
	BalanceFen billing.Money `json:"balance_fen" doc:"After it."`
	BusinessAt time.Time     `json:"business_at"`
}

// Protection is a dated ban on cutting an account.
type Protection struct {
	ID      int64          `json:"id"`
	Kind    string         `json:"kind" enum:"keep_power,medical,special_day"`
	FromAt  time.Time      `json:"from_at"`
	UntilAt time.Time      `json:"until_at"`
	Owner   billing.UserID `json:"owner"`
	Reason  string         `json:"reason"`
	EndedAt *time.Time     `json:"ended_at,omitempty"`
}

// AccountDetail is an account with its newest movements and its protections.
type AccountDetail struct {
	Account
	Movements   []Movement   `json:"movements" doc:"The newest 50, newest first."`
	Protections []Protection `json:"protections" doc:"Newest first, the ended ones too."`
}

type accountsInput struct {
	Page
	Text       string `query:"q" doc:"Part of the number, name, phone or address."`
	Service    string `query:"service" enum:"power,water"`
	CreditMode string `query:"credit_mode" enum:"platform,meter"`
	Low        bool   `query:"low" doc:"Only those in arrears or at their limit."`
	Off        bool   `query:"off" doc:"Only those whose supply isn't proved to be on."`
	Protected  bool   `query:"protected"`
	NotCharged bool   `query:"not_charged" doc:"Only those that the newest daily charge couldn't rate."`
	ByBalance  bool   `query:"by_balance" doc:"Lowest balance first."`
}

// AccountPath is the address of an account.
type AccountPath struct {
	ID billing.AccountID `path:"id"`
}

type restoreInput struct {
	AccountPath
	Body Reasoned
}

type protectInput struct {
	AccountPath
	Body struct {
		Reasoned
		Kind    string    `json:"kind" enum:"keep_power,medical,special_day"`
		FromAt  time.Time `json:"from_at"`
		UntilAt time.Time `json:"until_at"`
	}
}

type endProtectionInput struct {
	ID   int64 `path:"id"`
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
func (in *endProtectionInput) Resolve(ctx huma.Context) []error {
	in.remote = ctx.RemoteAddr()
	return nil
}

func (s *server) accountOperations() {
	add(s, operation{method: http.MethodGet, path: "/accounts", id: "list-accounts", tag: "accounts", may: auth.View, summary: "Accounts with their balances."}, s.accounts)
	add(s, operation{method: http.MethodGet, path: "/accounts/{id}", id: "get-account", tag: "accounts", may: auth.View,
		summary: "An account with its newest movements and its protections."}, s.account)
	add(s, operation{method: http.MethodPost, path: "/accounts/{id}/restore", id: "order-restore", tag: "accounts", may: auth.OrderRestore,
		done: http.StatusAccepted, summary: "Give supply back."}, s.restore)
	add(s, operation{method: http.MethodPost, path: "/accounts/{id}/protections", id: "protect", tag: "accounts", may: auth.Protect,
		done: http.StatusCreated, summary: "Forbid cuts for a time."}, s.protect)
	add(s, operation{method: http.MethodPost, path: "/protections/{id}/end", id: "end-protection", tag: "accounts", may: auth.EndProtection,
		summary: "End a protection before its time; two colleagues agree with their passwords."}, s.endProtection)
}

func (s *server) accounts(ctx context.Context, in *accountsInput) (*body[List[Account]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	f := store.AccountFilter{Sites: sites, Text: strings.TrimSpace(in.Text), Service: in.Service, CreditMode: in.CreditMode, Low: in.Low, Off: in.Off,
		Protected: in.Protected, Uncharged: in.NotCharged, ByBalance: in.ByBalance}
	rows, total, err := s.Store.AccountPage(ctx, f, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, accountOf), nil
}

// accountMovements is how many movements an account is given with.
const accountMovements = 50

func (s *server) account(ctx context.Context, in *AccountPath) (*body[AccountDetail], error) {
	a, err := s.seenAccount(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	moves, err := s.Store.Movements(ctx, a.ID, accountMovements)
	if err != nil {
		return nil, err
	}
	protections, err := s.Store.Protections(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	d := AccountDetail{Account: accountOf(a), Movements: make([]Movement, 0, len(moves)), Protections: make([]Protection, 0, len(protections))}
	for _, m := range moves {
		d.Movements = append(d.Movements, Movement{Kind: string(m.Kind), Subject: m.Subject, AmountFen: m.Amount, BalanceFen: m.Balance, BusinessAt: utc(m.BusinessAt)})
	}
	for _, p := range protections {
		d.Protections = append(d.Protections, Protection{ID: p.ID, Kind: p.Kind, FromAt: utc(p.FromAt), UntilAt: utc(p.UntilAt), Owner: p.Owner,
			Reason: p.Reason, EndedAt: utcOrNil(p.EndedAt)})
	}
	return &body[AccountDetail]{d}, nil
}

func (s *server) seenAccount(ctx context.Context, id billing.AccountID) (store.AccountRow, error) {
	a, err := s.Store.AccountRow(ctx, id)
	if err != nil {
		return a, err
	}
	return a, see(ctx, a.Site)
}

func (s *server) restore(ctx context.Context, in *restoreInput) (*body[Done], error) {
	a, err := s.seenAccount(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.OrderRestore, a.Site); err != nil {
		return nil, err
	}
	if err := s.Workflows.StartRestore(ctx, a.ID, me(ctx), in.Body.Reason); err != nil {
		return nil, err
	}
	if a, err = s.Store.AccountRow(ctx, in.ID); err != nil {
		return nil, err
	}
	return done(a.ID, a.Supply), nil
}

func (s *server) protect(ctx context.Context, in *protectInput) (*body[Protection], error) {
	a, err := s.seenAccount(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.Protect, a.Site); err != nil {
		return nil, err
	}
	p := store.Protection{Account: a.ID, Kind: in.Body.Kind, FromAt: in.Body.FromAt, UntilAt: in.Body.UntilAt, Reason: in.Body.Reason}
	id, err := s.Store.AddProtection(ctx, by(ctx, in.Body.Reason), p)
	if err != nil {
		return nil, err
	}
	return &body[Protection]{Protection{ID: id, Kind: p.Kind, FromAt: utc(p.FromAt), UntilAt: utc(p.UntilAt), Owner: me(ctx), Reason: p.Reason}}, nil
}

// endProtection asks for the two colleagues' own passwords: a name that the first person types would be no second person.
func (s *server) endProtection(ctx context.Context, in *endProtectionInput) (*body[Done], error) {
	p, err := s.Store.ProtectionOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	a, err := s.seenAccount(ctx, p.Account)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.EndProtection, a.Site); err != nil {
		return nil, err
	}
	second, err := s.agrees(ctx, in.Body.Second, in.Body.Password, in.remote, auth.Protect, a.Site)
	if err != nil {
		return nil, err
	}
	third, err := s.agrees(ctx, in.Body.Third, in.Body.ThirdPassword, in.remote, auth.Protect, a.Site)
	if err != nil {
		return nil, err
	}
	if err := s.Store.EndProtection(ctx, by(ctx, in.Body.Reason), in.ID, second, third); err != nil {
		return nil, err
	}
	return done(a.ID, "ended"), nil
}

// agrees is a colleague who has typed their own password and may do something at the site.
func (s *server) agrees(ctx context.Context, user, password, remote string, action auth.Action, site billing.SiteID) (billing.UserID, error) {
	colleague, err := s.Sessions.Confirm(ctx, billing.UserID(strings.TrimSpace(user)), password, remote)
	if err != nil {
		return "", err
	}
	if err := auth.NotMaker(colleague, me(ctx)); err != nil {
		return "", err
	}
	return colleague.UserID, auth.Can(colleague, action, site)
}

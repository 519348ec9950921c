package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Tariff is a tariff as the list shows it; its prices are in its file.
type Tariff struct {
	ID       billing.TariffID       `json:"id"`
	Service  billing.Service        `json:"service"`
	NameZH   string                 `json:"name_zh"`
	NameEN   string                 `json:"name_en"`
	Accounts int                    `json:"accounts"`
	Since    string                 `json:"in_force_since,omitempty" format:"date" doc:"First day of the version in force."`
	Next     string                 `json:"next_from,omitempty" format:"date" doc:"First day of the next published version."`
	Change   billing.TariffChangeID `json:"change,omitempty" doc:"The change that is on its way."`
}

// TariffChange is one change of prices.
type TariffChange struct {
	ID          billing.TariffChangeID `json:"id"`
	Tariff      billing.TariffID       `json:"tariff"`
	From        string                 `json:"from" format:"date" doc:"First local day of the new prices."`
	State       billing.TariffState    `json:"state"`
	Revision    int                    `json:"revision" doc:"Grows with each edit; a decision names the one that was seen."`
	Editors     []billing.UserID       `json:"editors" doc:"None of them may approve."`
	MadeBy      billing.UserID         `json:"made_by"`
	MadeAt      time.Time              `json:"made_at"`
	Why         string                 `json:"why,omitempty"`
	Approved1By billing.UserID         `json:"approved1_by,omitempty"`
	Approved1At *time.Time             `json:"approved1_at,omitempty"`
	Approved2By billing.UserID         `json:"approved2_by,omitempty"`
	Approved2At *time.Time             `json:"approved2_at,omitempty"`
	RejectedBy  billing.UserID         `json:"rejected_by,omitempty"`
	Reason      string                 `json:"reason,omitempty"`
	InForceAt   *time.Time             `json:"in_force_at,omitempty"`
	Meters      map[string]int         `json:"meters,omitempty" doc:"Meters that hold prices, by how far the new ones have got: waiting, sending, verified, failed."`
	Simulation  *Simulation            `json:"simulation,omitempty" doc:"The newest one."`
	File        json.RawMessage        `json:"file,omitempty" doc:"The tariff with this one version, in the format of docs/tariffs.md."`
}

// Simulation is what a revision of a change would have meant for real use.
type Simulation struct {
	ID        int64            `json:"id"`
	Revision  int              `json:"revision"`
	Tariff    billing.TariffID `json:"tariff" doc:"Whose accounts were taken."`
	State     string           `json:"state" enum:"running,done,failed"`
	From      string           `json:"from" format:"date"`
	To        string           `json:"to" format:"date" doc:"The day after the last."`
	Planned   int              `json:"planned"`
	Done      int              `json:"done"`
	Skipped   int              `json:"skipped"`
	BeforeFen billing.Money    `json:"before_fen"`
	AfterFen  billing.Money    `json:"after_fen"`
	Error     string           `json:"error,omitempty"`
}

// SimulatedAccount is what one account's use costs by the prices in force and by the draft.
type SimulatedAccount struct {
	Account   billing.AccountID `json:"account"`
	Site      billing.SiteID    `json:"site"`
	Quantity  string            `json:"quantity" doc:"kWh or m³."`
	Days      int               `json:"days"`
	BeforeFen billing.Money     `json:"before_fen"`
	AfterFen  billing.Money     `json:"after_fen"`
}

// PriceCeiling is the most that one unit may cost at a site.
type PriceCeiling struct {
	Site    billing.SiteID  `json:"site"`
	Service billing.Service `json:"service" enum:"power,water"`
	From    string          `json:"from" format:"date"`
	Price   string          `json:"price,omitempty" doc:"Yuan per kWh or m³, as decimal text; absent: none from this day on."`
	Reason  string          `json:"reason"`
	SetBy   billing.UserID  `json:"set_by"`
	SetAt   time.Time       `json:"set_at"`
}

// PriceAbove is a published price that is above the ceiling of a site where accounts pay by it.
type PriceAbove struct {
	Tariff  billing.TariffID `json:"tariff"`
	Site    billing.SiteID   `json:"site"`
	Price   string           `json:"price" doc:"The most that one kWh or m³ costs by it, yuan, as decimal text."`
	Ceiling string           `json:"ceiling" doc:"Yuan per kWh or m³, as decimal text."`
	From    string           `json:"ceiling_from" format:"date"`
	Says    string           `json:"says" doc:"Which component it is, and what to do."`
}

func day(d billing.Date) string { return d.String() }

func changeOf(c store.TariffChange) TariffChange {
	return TariffChange{ID: c.ID, Tariff: c.Tariff, From: day(c.From), State: c.State, Revision: c.Revision, Editors: c.Editors, MadeBy: c.MadeBy, MadeAt: utc(c.MadeAt), Why: c.Why,
		Approved1By: c.Approved1By, Approved1At: utcOrNil(c.Approved1At), Approved2By: c.Approved2By, Approved2At: utcOrNil(c.Approved2At), RejectedBy: c.RejectedBy, Reason: c.Reason,
		InForceAt: utcOrNil(c.InForceAt)}
}

type tariffPath struct {
	ID billing.TariffID `path:"id"`
}

// TariffChangePath is the address of a change.
type TariffChangePath struct {
	ID billing.TariffChangeID `path:"id"`
}

type tariffChangesInput struct {
	Limit   int              `query:"limit" default:"50" minimum:"1" maximum:"500"`
	Offset  int              `query:"offset" default:"0" minimum:"0" maximum:"1000000"`
	Tariff  billing.TariffID `query:"tariff"`
	Waiting bool             `query:"waiting" doc:"Only those that you may approve."`
	Open    bool             `query:"open" doc:"Only those that are not published or withdrawn."`
}

type draftBody struct {
	File     json.RawMessage `json:"file" doc:"The tariff with exactly one new version, in the format of docs/tariffs.md."`
	Why      string          `json:"why" minLength:"1" maxLength:"500" doc:"The ground: a notice, a contract. It stands in the journal."`
	Revision int             `json:"revision,omitempty" minimum:"0" doc:"Of the change that is edited; absent for a new one."`
}

type draftInput struct {
	Body draftBody
}

type editInput struct {
	TariffChangePath
	Keyed
	Body draftBody
}

type decideTariffInput struct {
	TariffChangePath
	Keyed
	Body struct {
		Revision int    `json:"revision" minimum:"1" doc:"The one that you saw."`
		Reason   string `json:"reason,omitempty" maxLength:"500" doc:"Needed to reject and to withdraw."`
	}
}

type simulateInput struct {
	TariffChangePath
	Keyed
	Body struct {
		Tariff billing.TariffID `json:"tariff,omitempty" doc:"Whose accounts; the change's own when left out."`
		Sample int              `json:"sample,omitempty" minimum:"0" maximum:"1000000" doc:"How many accounts at most; 0: all."`
	}
}

type pushInput struct {
	TariffChangePath
	Keyed
}

type simulatedInput struct {
	TariffChangePath
	Limit  int `query:"limit" default:"50" minimum:"1" maximum:"500"`
	Offset int `query:"offset" default:"0" minimum:"0" maximum:"1000000"`
}

type ceilingInput struct {
	Site billing.SiteID `path:"site"`
	Body struct {
		Service billing.Service `json:"service" enum:"power,water"`
		From    string          `json:"from" format:"date"`
		Price   string          `json:"price,omitempty" maxLength:"20" doc:"Yuan per kWh or m³, as decimal text; left out ends the ceiling."`
		Reason  string          `json:"reason" minLength:"1" maxLength:"500"`
	}
}

func (s *server) tariffOperations() {
	get, post := http.MethodGet, http.MethodPost
	add(s, operation{method: get, path: "/tariffs", id: "list-tariffs", tag: "tariffs", may: auth.View, summary: "Tariffs, those in use first."}, s.tariffs)
	add(s, operation{method: get, path: "/tariffs/{id}", id: "get-tariff-file", tag: "tariffs", may: auth.View, summary: "A tariff with all its published versions, as a file that can be imported."}, s.tariffFile)
	add(s, operation{method: get, path: "/tariff-changes", id: "list-tariff-changes", tag: "tariffs", may: auth.View, summary: "Changes of prices: what waits for an approval first."}, s.tariffChanges)
	add(s, operation{method: get, path: "/tariff-changes/{id}", id: "get-tariff-change", tag: "tariffs", may: auth.View, summary: "A change of prices."}, s.tariffChange)
	add(s, operation{method: post, path: "/tariff-changes", id: "draft-tariff", tag: "tariffs", may: auth.EditTariff, done: http.StatusCreated, summary: "Begin a change from a tariff file."}, s.draftTariff)
	add(s, operation{method: http.MethodPut, path: "/tariff-changes/{id}", id: "edit-tariff", tag: "tariffs", may: auth.EditTariff,
		summary: "Write a new revision of a change that isn't published; approvals that it had are void."}, s.editTariff)
	add(s, operation{method: post, path: "/tariff-changes/{id}/simulate", id: "simulate-tariff", tag: "tariffs", may: auth.SimulateTariff,
		summary: "Rate last month's real use by the draft; nothing is posted."}, s.simulateTariff)
	add(s, operation{method: get, path: "/tariff-changes/{id}/simulation", id: "list-simulated-accounts", tag: "tariffs", may: auth.View,
		summary: "The accounts of the newest simulation, the largest changes first."}, s.simulatedAccounts)
	add(s, operation{method: post, path: "/tariff-changes/{id}/submit", id: "submit-tariff", tag: "tariffs", may: auth.EditTariff, summary: "Put a draft before those who approve."}, s.submitTariff)
	add(s, operation{method: post, path: "/tariff-changes/{id}/approve", id: "approve-tariff", tag: "tariffs", may: auth.ApproveTariff,
		summary: "Give one of the two approvals; the second one publishes."}, s.approveTariff)
	add(s, operation{method: post, path: "/tariff-changes/{id}/reject", id: "reject-tariff", tag: "tariffs", may: auth.ApproveTariff, summary: "Send a change back to its maker."}, s.rejectTariff)
	add(s, operation{method: post, path: "/tariff-changes/{id}/withdraw", id: "withdraw-tariff", tag: "tariffs", may: auth.EditTariff, summary: "End a change that isn't published."}, s.withdrawTariff)
	add(s, operation{method: post, path: "/tariff-changes/{id}/push", id: "push-tariff", tag: "tariffs", may: auth.PushPrices,
		summary: "Have the meters that don't hold the prices yet tried again now."}, s.pushTariff)
	add(s, operation{method: get, path: "/price-ceilings", id: "list-price-ceilings", tag: "tariffs", may: auth.View, summary: "The price ceilings of your sites."}, s.ceilings)
	add(s, operation{method: get, path: "/price-ceilings/above", id: "list-prices-above-ceilings", tag: "tariffs", may: auth.View,
		summary: "Published prices, in force now or later, that are above a ceiling of your sites: it was lowered after they were published. Of each tariff and site the first."}, s.pricesAbove)
	add(s, operation{method: post, path: "/sites/{site}/price-ceilings", id: "set-price-ceiling", tag: "tariffs", may: auth.SetCeiling, done: http.StatusCreated,
		summary: "Set or end the ceiling of a site and service from a day on."}, s.setCeiling)
}

// tariffDay is the day by which versions of tariffs are in force: they are of no site.
func (s *server) tariffDay(ctx context.Context) (billing.Date, error) {
	clock, err := s.Store.Clock(ctx)
	return billing.DateOf(clock.Now, time.FixedZone("Asia/Shanghai", 8*60*60)), err
}

func (s *server) tariffs(ctx context.Context, _ *none) (*body[List[Tariff]], error) {
	today, err := s.tariffDay(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.Store.TariffRows(ctx, today)
	if err != nil {
		return nil, err
	}
	return listOf(rows, len(rows), func(r store.TariffRow) Tariff {
		t := Tariff{ID: r.ID, Service: r.Service, NameZH: r.NameZH, NameEN: r.NameEN, Accounts: r.Accounts, Since: day(r.Since), Next: day(r.Next)}
		if r.Change != nil {
			t.Change = *r.Change
		}
		return t
	}), nil
}

func (s *server) tariffFile(ctx context.Context, in *tariffPath) (*body[json.RawMessage], error) {
	t, err := s.Store.Tariff(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	data, err := billing.WriteTariff(t)
	return &body[json.RawMessage]{data}, err
}

func (s *server) tariffChanges(ctx context.Context, in *tariffChangesInput) (*body[List[TariffChange]], error) {
	f := store.TariffChangeFilter{Tariff: in.Tariff, Open: in.Open}
	if in.Waiting {
		f.Waiting = me(ctx)
	}
	rows, total, err := s.Store.TariffChangeRows(ctx, f, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, func(r store.TariffChangeRow) TariffChange { return changeOf(r.TariffChange) }), nil
}

func (s *server) tariffChange(ctx context.Context, in *TariffChangePath) (*body[TariffChange], error) {
	c, err := s.Store.TariffChange(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := changeOf(c)
	if out.File, err = billing.WriteTariff(c.File()); err != nil {
		return nil, err
	}
	sim, err := s.Store.LatestSimulation(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	if sim != nil {
		out.Simulation = &Simulation{ID: sim.ID, Revision: sim.Revision, Tariff: sim.Tariff, State: sim.State, From: day(sim.From), To: day(sim.To), Planned: sim.Planned, Done: sim.Done,
			Skipped: sim.Skipped, BeforeFen: sim.BeforeFen, AfterFen: sim.AfterFen, Error: sim.Error}
	}
	counts, err := s.Store.PushCounts(ctx, c.ID)
	if len(counts) > 0 {
		out.Meters = map[string]int{}
		for state, n := range counts {
			out.Meters[string(state)] = n
		}
	}
	return &body[TariffChange]{out}, err
}

func (s *server) draftTariff(ctx context.Context, in *draftInput) (*body[TariffChange], error) {
	file, err := billing.ParseTariff(in.Body.File)
	if err != nil {
		return nil, err
	}
	id, err := s.Store.NextTariffChangeID(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.Workflows.DraftTariff(ctx, workflows.EditTariff{Change: id, By: me(ctx), File: file, Why: in.Body.Why}); err != nil {
		return nil, err
	}
	return s.tariffChange(ctx, &TariffChangePath{ID: id})
}

func (s *server) editTariff(ctx context.Context, in *editInput) (*body[TariffChange], error) {
	if _, err := s.Store.TariffChange(ctx, in.ID); err != nil {
		return nil, err
	}
	file, err := billing.ParseTariff(in.Body.File)
	if err != nil {
		return nil, err
	}
	if err := s.Workflows.EditTariff(ctx, workflows.EditTariff{Change: in.ID, By: me(ctx), File: file, Why: in.Body.Why, Revision: in.Body.Revision}, in.Key); err != nil {
		return nil, err
	}
	return s.tariffChange(ctx, &in.TariffChangePath)
}

// decideTariff hands a decision on a change that exists to its workflow, and gives the change as it is then.
func (s *server) decideTariff(ctx context.Context, in *decideTariffInput, decide func(context.Context, billing.TariffChangeID, workflows.DecideTariff, string) error) (*body[TariffChange], error) {
	if _, err := s.Store.TariffChange(ctx, in.ID); err != nil {
		return nil, err
	}
	if err := decide(ctx, in.ID, workflows.DecideTariff{By: me(ctx), Revision: in.Body.Revision, Reason: in.Body.Reason}, in.Key); err != nil {
		return nil, err
	}
	return s.tariffChange(ctx, &in.TariffChangePath)
}

func (s *server) submitTariff(ctx context.Context, in *decideTariffInput) (*body[TariffChange], error) {
	return s.decideTariff(ctx, in, s.Workflows.SubmitTariff)
}

func (s *server) approveTariff(ctx context.Context, in *decideTariffInput) (*body[TariffChange], error) {
	return s.decideTariff(ctx, in, s.Workflows.ApproveTariff)
}

func (s *server) rejectTariff(ctx context.Context, in *decideTariffInput) (*body[TariffChange], error) {
	return s.decideTariff(ctx, in, s.Workflows.RejectTariff)
}

func (s *server) withdrawTariff(ctx context.Context, in *decideTariffInput) (*body[TariffChange], error) {
	return s.decideTariff(ctx, in, s.Workflows.WithdrawTariff)
}

func (s *server) simulateTariff(ctx context.Context, in *simulateInput) (*body[TariffChange], error) {
	if _, err := s.Store.TariffChange(ctx, in.ID); err != nil {
		return nil, err
	}
	if _, err := s.Workflows.SimulateTariff(ctx, in.ID, workflows.SimulateTariff{By: me(ctx), Tariff: in.Body.Tariff, Sample: in.Body.Sample}, in.Key); err != nil {
		return nil, err
	}
	return s.tariffChange(ctx, &in.TariffChangePath)
}

func (s *server) simulatedAccounts(ctx context.Context, in *simulatedInput) (*body[List[SimulatedAccount]], error) {
	c, err := s.Store.TariffChange(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	sim, err := s.Store.LatestSimulation(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if sim == nil {
		return nil, billing.Errorf(billing.CodeNotFound, "this change was not simulated yet")
	}
	rows, err := s.Store.LargestChanges(ctx, sim.ID, auth.FromContext(ctx).Sites, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, sim.Done, func(a store.SimulatedAccount) SimulatedAccount {
		return SimulatedAccount{Account: a.Account, Site: a.Site, Quantity: c.Service.Quantity(a.Quantity).String(), Days: a.Days, BeforeFen: a.BeforeFen, AfterFen: a.AfterFen}
	}), nil
}

func (s *server) pushTariff(ctx context.Context, in *pushInput) (*body[TariffChange], error) {
	if _, err := s.Store.TariffChange(ctx, in.ID); err != nil {
		return nil, err
	}
	if err := s.Workflows.PushPricesAgain(ctx, in.ID, me(ctx), in.Key); err != nil {
		return nil, err
	}
	return s.tariffChange(ctx, &in.TariffChangePath)
}

func ceilingOf(c store.PriceCeiling) PriceCeiling {
	out := PriceCeiling{Site: c.Site, Service: c.Service, From: day(c.From), Reason: c.Reason, SetBy: c.SetBy, SetAt: utc(c.SetAt)}
	if c.Price != nil {
		out.Price = c.Price.String()
	}
	return out
}

func (s *server) ceilings(ctx context.Context, _ *none) (*body[List[PriceCeiling]], error) {
	rows, err := s.Store.PriceCeilings(ctx, auth.FromContext(ctx).Sites)
	if err != nil {
		return nil, err
	}
	return listOf(rows, len(rows), ceilingOf), nil
}

func (s *server) pricesAbove(ctx context.Context, _ *none) (*body[List[PriceAbove]], error) {
	today, err := s.tariffDay(ctx)
	if err != nil {
		return nil, err
	}
	above, err := s.Store.PricesAbove(ctx, auth.FromContext(ctx).Sites, today)
	if err != nil {
		return nil, err
	}
	return listOf(above, len(above), func(p store.PriceAbove) PriceAbove {
		return PriceAbove{Tariff: p.Tariff.ID, Site: p.Site, Price: p.Unit.String(), Ceiling: p.Ceiling.String(), From: day(p.From), Says: billing.MessageOf(p.Refusal())}
	}), nil
}

func (s *server) setCeiling(ctx context.Context, in *ceilingInput) (*body[Done], error) {
	if err := may(ctx, auth.SetCeiling, in.Site); err != nil {
		return nil, err
	}
	from, err := billing.ParseDate(in.Body.From)
	if err != nil {
		return nil, err
	}
	c := store.PriceCeiling{Site: in.Site, Service: in.Body.Service, From: from, Reason: in.Body.Reason, SetBy: me(ctx)}
	if in.Body.Price != "" {
		p, err := billing.ParsePrice(in.Body.Price)
		if err != nil {
			return nil, err
		}
		c.Price = &p
	}
	if err := s.Store.SetPriceCeiling(ctx, by(ctx, in.Body.Reason), c); err != nil {
		return nil, err
	}
	return done(in.Site, "set"), nil
}

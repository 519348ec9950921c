package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
	"github.com/meterflow/meterflow/internal/store"
)

// Billing makes, verifies and issues the bills of a site and period.
type Billing struct {
	Store *store.Store
}

// RunStart names a billing run to be made. By is the supervisor who asked for it; empty when the end of the month did.
type RunStart struct {
	RunID   billing.RunID
	Site    billing.SiteID
	Period  billing.Period
	Version int
	By      billing.UserID
}

// RunRef names a billing run.
type RunRef struct {
	RunID billing.RunID
}

// RunOpened says where a run stands and how long it may wait for doubts.
type RunOpened struct {
	State     billing.RunState
	HoldAfter time.Duration
	OpenedAt  time.Time
	Verifier  billing.UserID
}

// OpenRun creates the run.
func (a *Billing) OpenRun(ctx context.Context, in RunStart) (RunOpened, error) {
	_, policy, err := sitePolicy(ctx, a.Store, in.Site)
	if err != nil {
		return RunOpened{}, err
	}
	by := byWorkflow(ctx)
	if in.By != "" {
		if err := authorize(ctx, a.Store, in.By, auth.StartRun, in.Site); err != nil {
			return RunOpened{}, err
		}
		by = byPerson(ctx, in.By, "")
	}
	r, err := a.Store.OpenRun(ctx, by, store.NewRun{ID: in.RunID, Site: in.Site, Period: in.Period, Version: in.Version})
	if err != nil {
		return RunOpened{}, err
	}
	opened := RunOpened{State: r.State, HoldAfter: hours(policy.Billing.HoldAfterHours), OpenedAt: r.OpenedAt}
	if r.VerifiedBy != nil {
		opened.Verifier = *r.VerifiedBy
	}
	return opened, nil
}

// CheckBlocking asks whether open cases doubt readings of a run's period. GiveUp lets the run go on without the accounts in doubt.
type CheckBlocking struct {
	RunID  billing.RunID
	GiveUp bool
}

// Blocked counts the cases that block.
type Blocked struct {
	Cases int
}

// CheckBlocking blocks the run while cases doubt its readings, and lets it go on when they are decided or not waited for any more.
func (a *Billing) CheckBlocking(ctx context.Context, in CheckBlocking) (Blocked, error) {
	r, site, err := a.runAndSite(ctx, in.RunID)
	if err != nil {
		return Blocked{}, err
	}
	from, to := r.Period().Instants(site.Zone)
	cases, err := a.Store.BlockingCases(ctx, r.Site, from, to)
	if err != nil {
		return Blocked{}, err
	}
	by := byWorkflow(ctx)
	if len(cases) > 0 && !in.GiveUp {
		return Blocked{Cases: len(cases)}, a.Store.BlockRun(ctx, by, r.ID, len(cases))
	}
	return Blocked{}, a.Store.UnblockRun(ctx, by, r.ID, len(cases))
}

func (a *Billing) runAndSite(ctx context.Context, id billing.RunID) (store.Run, store.Site, error) {
	r, err := a.Store.Run(ctx, id)
	if err != nil {
		return r, store.Site{}, err
	}
	site, err := a.Store.Site(ctx, r.Site)
	return r, site, err
}

// loadBills loads what rating the page's accounts over the run's period takes.
func (a *Billing) loadBills(ctx context.Context, r store.Run, site store.Site, accounts []store.MeteredAccount) (*metered, map[billing.AccountID]span, error) {
	m, err := loadMetered(ctx, a.Store, site, accounts)
	if err != nil {
		return nil, nil, err
	}
	_, to := r.Period().Instants(site.Zone)
	spans := map[billing.AccountID]span{}
	var all []span
	for _, account := range accounts {
		if !account.OpenedOn.Before(r.PeriodTo) || r.PeriodFrom.Before(account.BilledTo) {
			continue
		}
		if sp, ok := m.open(account, r.Period(), to); ok {
			spans[account.ID] = sp
			all = append(all, sp)
		}
	}
	if err := m.want(ctx, a.Store, all); err != nil {
		return nil, nil, err
	}
	ids := make([]billing.AccountID, len(all))
	for i, sp := range all {
		ids[i] = sp.account.ID
	}
	if m.before, err = a.Store.BillsEnding(ctx, ids, r.PeriodFrom); err != nil {
		return nil, nil, err
	}
	return m, spans, m.wantLate(ctx, a.Store, all)
}

// billID is the number of an account's bill in a run.
func billID(r store.Run, account billing.AccountID) billing.BillID {
	return billing.BillID(fmt.Sprintf("B%s-%s-%d", account, strings.ReplaceAll(r.PeriodFrom.String()[:7], "-", ""), r.Version))
}

// draft rates one bill. A doubt, or readings that don't carry the period, make it a held one; only what no reading can mend is an error.
func (m *metered) draft(r store.Run, sp span, doubt billing.CaseID) (store.Draft, error) {
	d := store.Draft{ID: billID(r, sp.account.ID), Account: sp.account.ID, Tariff: m.termsAt(sp.account.ID, r.PeriodTo.AddDays(-1)).Tariff, Engine: rating.Engine, Input: struct{}{}}
	if doubt != "" {
		d.Hold = "case " + string(doubt) + " is not decided"
		return d, nil
	}
	result, in, err := m.rate(sp)
	switch billing.CodeOf(err) {
	case "":
	case billing.CodeInvalidReading, billing.CodeTariffMissing, billing.CodeInvalidInput:
		d.Hold = billing.MessageOf(err)
		return d, nil
	default:
		return d, err
	}
	readings := billReadings(result, in)
	if d.Hold = m.apart(sp, readings); d.Hold != "" {
		return d, nil
	}
	d.Quantity, d.TotalFen, d.LateFen, d.Input = result.Use.Total(), result.Total, result.Late, in.Store()
	d.Readings = readings
	d.Lines = billLines(result)
	return d, nil
}

// apart says when the bill before ended at other registers than this one begins at: use would be billed twice, or never. A meter that was
// fitted then counts from its own opening.
func (m *metered) apart(sp span, readings []store.BillReading) string {
	b, ok := m.before[sp.account.ID]
	if !ok || len(readings) == 0 {
		return ""
	}
	first := readings[0]
	if b.Last.Meter != first.Meter || !b.Last.To.Equal(first.From) || slices.Equal(b.Last.Closing, first.Opening) ||
		slices.ContainsFunc(m.fittings[sp.account.ServicePoint], func(f store.Fitting) bool { return f.FromAt.Equal(first.From) }) {
		return ""
	}
	return fmt.Sprintf("bill %s ended at other registers of meter %s than this one begins at (%s): correct that reading first", b.Bill, first.Meter, billing.DateOf(first.From, m.site.Zone))
}

// billReadings joins the segments of each fitting: what its registers showed when the period, or the fitting, began and ended.
func billReadings(r rating.Result, in rating.Input) []store.BillReading {
	var list []store.BillReading
	last := 0
	for _, s := range r.Segments {
		estimated := s.Closing.Interpolated || s.Closing.Quality == billing.QualityEstimated
		if s.Fitting == last {
			b := &list[len(list)-1]
			b.To, b.Closing, b.Estimated = s.Closing.At, s.Closing.Registers, b.Estimated || estimated
			continue
		}
		last = s.Fitting
		estimated = estimated || s.Opening.Interpolated || s.Opening.Quality == billing.QualityEstimated
		list = append(list, store.BillReading{
			Meter: s.Meter, Ratio: s.Ratio, Digits: in.Fittings[s.Fitting-1].Digits, From: s.Opening.At, To: s.Closing.At,
			Opening: s.Opening.Registers, Closing: s.Closing.Registers, Estimated: estimated,
		})
	}
	return list
}

func billLines(r rating.Result) []store.BillLine {
	lines := make([]store.BillLine, len(r.Lines))
	for i, l := range r.Lines {
		line := store.BillLine{
			Seq: i + 1, Component: l.Component, NameZH: l.Name.ZH, NameEN: l.Name.EN, Register: l.Register, Tier: l.Tier,
			FromAt: l.From, ToAt: l.To, Opening: &l.Opening, Closing: &l.Closing, Quantity: l.Quantity, Price: l.Price, Factor: l.Factor, AmountFen: l.Amount,
			Unit: l.Unit, Thirtieths: l.Thirtieths,
		}
		if l.Kind != "" {
			line.Opening, line.Closing = nil, nil // a charge by the month rests on no register
		}
		lines[i] = line
	}
	return lines
}

// SumRun computes the control totals and hands the run to the supervisors.
func (a *Billing) SumRun(ctx context.Context, in RunRef) error {
	_, err := a.Store.SumRun(ctx, byWorkflow(ctx), in.RunID)
	return err
}

// RunDecision is a supervisor's signature under a run.
type RunDecision struct {
	RunID billing.RunID
	By    billing.UserID
}

// VerifyRun records the first signature.
func (a *Billing) VerifyRun(ctx context.Context, in RunDecision) error {
	r, err := a.Store.Run(ctx, in.RunID)
	if err != nil {
		return err
	}
	if err := authorize(ctx, a.Store, in.By, auth.VerifyRun, r.Site); err != nil {
		return err
	}
	return a.Store.VerifyRun(ctx, byPerson(ctx, in.By, ""), in.RunID, in.By)
}

// ApproveIssue records the second signature, by another supervisor.
func (a *Billing) ApproveIssue(ctx context.Context, in RunDecision) error {
	r, err := a.Store.Run(ctx, in.RunID)
	if err != nil {
		return err
	}
	if err := authorize(ctx, a.Store, in.By, auth.IssueRun, r.Site); err != nil {
		return err
	}
	return a.Store.ApproveIssue(ctx, byPerson(ctx, in.By, ""), in.RunID, in.By)
}

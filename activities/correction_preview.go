package activities

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// correctionPage is how many accounts are rated at once.
const correctionPage = 100

// recalculation is a page of accounts of one site with the correction's values in the place of what is on file.
type recalculation struct {
	m      *metered
	bills  map[billing.AccountID][]store.Bill
	lines  map[billing.BillID][]store.BillLine
	remain map[billing.AccountID]*billing.Money
	waived map[billing.BillID]store.Waiver // bills whose late fee the customer was let off; it goes on with their successors
}

// recalculate loads what rating the accounts' bills from the correction's day on takes. Once the change is written into the inputs
// there is nothing to put in their place.
func (a *Correcting) recalculate(ctx context.Context, k store.Correction, ids []billing.AccountID) (*recalculation, error) {
	accounts, err := a.Store.MeteredAccountsOf(ctx, ids)
	if err != nil || len(accounts) == 0 {
		return nil, err
	}
	site, err := a.Store.Site(ctx, accounts[0].Site)
	if err != nil {
		return nil, err
	}
	parts, err := k.Parts()
	if err != nil {
		return nil, err
	}
	c := change{parts}
	if k.InputsAt != nil {
		c = change{}
	}
	r := &recalculation{}
	if r.m, err = loadMetered(ctx, a.Store, site, accounts); err != nil {
		return nil, err
	}
	if err := c.inputs(r.m); err != nil {
		return nil, err
	}
	if r.bills, r.lines, err = a.Store.CorrectableBills(ctx, ids, billing.DateOf(k.FromAt, site.Zone)); err != nil {
		return nil, err
	}
	var spans []span
	for _, account := range r.m.accounts {
		for _, b := range r.bills[account.ID] {
			if sp, ok := r.billed(account, b); ok {
				spans = append(spans, sp)
			}
		}
		spans = append(spans, r.open(account)...)
	}
	if err := r.m.want(ctx, a.Store, spans); err != nil {
		return nil, err
	}
	if err := r.m.wantLate(ctx, a.Store, spans); err != nil {
		return nil, err
	}
	c.readings(r.m)
	if r.waived, err = a.waived(ctx, r.bills); err != nil {
		return nil, err
	}
	r.remain, err = a.remaining(ctx, r.m)
	return r, err
}

// waived are the waivers of the bills' late fees.
func (a *Correcting) waived(ctx context.Context, bills map[billing.AccountID][]store.Bill) (map[billing.BillID]store.Waiver, error) {
	var ids []billing.BillID
	for _, all := range bills {
		for _, b := range all {
			if b.LateFen > 0 {
				ids = append(ids, b.ID)
			}
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	return a.Store.WaivedOf(ctx, ids)
}

// billed is the span of a bill.
func (r *recalculation) billed(account store.MeteredAccount, b store.Bill) (span, bool) {
	p := billing.Period{From: b.PeriodFrom, To: b.PeriodTo}
	_, to := p.Instants(r.m.site.Zone)
	return r.m.open(account, p, to)
}

// open are the periods that were charged and have no bill, up to the last charge; those with a draft are its bill's.
func (r *recalculation) open(account store.MeteredAccount) []span {
	if account.LastUpto == nil {
		return nil
	}
	account.LastPeriod = billing.Date{} // all of them, not the last one only
	return slices.DeleteFunc(r.m.openSpans(account, *account.LastUpto), func(sp span) bool {
		day := billing.DateOf(sp.from, r.m.site.Zone)
		return slices.ContainsFunc(r.bills[account.ID], func(b store.Bill) bool { return !day.Before(b.PeriodFrom) && day.Before(b.PeriodTo) })
	})
}

// remaining is what the meters of meter-credit accounts held at their last reading.
func (a *Correcting) remaining(ctx context.Context, m *metered) (map[billing.AccountID]*billing.Money, error) {
	held := map[billing.AccountID]*billing.Money{}
	var meters []billing.MeterID
	owner := map[billing.MeterID]billing.AccountID{}
	for _, account := range m.accounts {
		if fs := m.fittings[account.ServicePoint]; account.CreditMode == billing.CreditMeter && len(fs) > 0 {
			meter := fs[len(fs)-1].Meter
			meters, owner[meter] = append(meters, meter), account.ID
		}
	}
	if len(meters) == 0 {
		return held, nil
	}
	clock, err := a.Store.Clock(ctx)
	if err != nil {
		return nil, err
	}
	latest, err := a.Store.LatestGood(ctx, meters, clock.Now)
	for meter, reading := range latest {
		held[owner[meter]] = reading.RemainingFen
	}
	return held, err
}

// rebilled is a bill as the corrected inputs make it.
func (r *recalculation) rebilled(account store.MeteredAccount, b store.Bill) (store.Draft, error) {
	sp, ok := r.billed(account, b)
	if !ok {
		return store.Draft{}, billing.Errorf(billing.CodeInvalidReading, "bill %s would have nothing to measure", b.ID)
	}
	d, err := r.m.draft(store.Run{PeriodFrom: b.PeriodFrom, PeriodTo: b.PeriodTo, Version: b.Version}, sp, "")
	if err == nil && d.Hold != "" {
		err = billing.Errorf(billing.CodeInvalidReading, "%s", d.Hold)
	}
	if err == nil {
		r.m.revise(account.ID, d, b.PeriodFrom)
	}
	return d, err
}

// preview rates one account's bills and open periods, and says what changes.
func (r *recalculation) preview(ctx context.Context, s *store.Store, account store.MeteredAccount) (store.CorrectedAccount, error) {
	p := store.CorrectedAccount{Account: account.ID, Site: account.Site, BalanceFen: account.BalanceFen, CutLimitFen: account.CutLimitFen, RemainingFen: r.remain[account.ID]}
	h := sha256.New()
	for _, b := range r.bills[account.ID] {
		d, err := r.rebilled(account, b)
		if refusal(err) {
			p.Problem = billing.MessageOf(err)
			break
		}
		if err != nil {
			return p, err
		}
		input, err := json.Marshal(d.Input)
		if err != nil {
			return p, err
		}
		list := []any{b.ID, b.State, b.TotalFen, b.Quantity, d.TotalFen, d.Quantity}
		waiver, waived := r.waived[b.ID]
		if waived {
			list = append(list, "late fee waived", waiver.AskedFen)
		}
		facts, err := json.Marshal(list)
		if err != nil {
			return p, err
		}
		h.Write(facts)
		h.Write(input)
		same, err := sameBill(b, r.lines[b.ID], d)
		if err != nil {
			return p, err
		}
		if same {
			continue
		}
		p.Bills = append(p.Bills, store.CorrectedBill{Bill: b.ID, Account: account.ID, PeriodFrom: b.PeriodFrom, PeriodTo: b.PeriodTo, Was: b.State,
			OldQuantity: b.Quantity, OldFen: b.TotalFen, NewQuantity: d.Quantity, NewFen: d.TotalFen})
		if b.State == billing.BillIssued {
			p.BillsFen += b.TotalFen - d.TotalFen
			if waived {
				p.BillsFen -= waiver.AmountFen - waiver.Of(d.LateFen)
			}
		}
	}
	p.Digest = h.Sum(nil)
	if p.Problem != "" {
		return p, nil
	}
	return p, r.openPeriods(ctx, s, account, &p)
}

// openPeriods says what the next daily charge gives back for the periods that were charged and aren't billed.
func (r *recalculation) openPeriods(ctx context.Context, s *store.Store, account store.MeteredAccount, p *store.CorrectedAccount) error {
	for _, sp := range r.open(account) {
		total, err := r.m.toDate(sp)
		if refusal(err) {
			continue // its bill would be held: a doubt of its own, which the correction neither makes nor mends
		}
		if err != nil {
			return err
		}
		period := billing.MonthPeriod(billing.DateOf(sp.from, r.m.site.Zone))
		charged, err := s.ChargedSoFar(ctx, []billing.AccountID{account.ID}, period.From)
		if err != nil {
			return err
		}
		p.OpenFen += charged[account.ID] - total
	}
	return nil
}

// refusal says that an account's inputs can't be rated, which another try won't mend.
func refusal(err error) bool {
	code := billing.CodeOf(err)
	return code != "" && !retryable[code]
}

// sameBill says that a bill would be issued again just as it stands: its quantity, each line, and the registers printed on it.
func sameBill(b store.Bill, lines []store.BillLine, d store.Draft) (bool, error) {
	if b.Quantity != d.Quantity || b.TotalFen != d.TotalFen || b.Tariff != d.Tariff || len(lines) != len(d.Lines) {
		return false, nil
	}
	for i, l := range lines {
		n := d.Lines[i]
		if n.Factor.IsZero() {
			n.Factor = billing.MustFactor("1") // as it is stored
		}
		if l.Component != n.Component || l.Register != n.Register || l.Tier != n.Tier || l.Quantity != n.Quantity || l.Price != n.Price || l.Factor != n.Factor || l.AmountFen != n.AmountFen || l.Unit != n.Unit || l.Thirtieths != n.Thirtieths {
			return false, nil
		}
	}
	var readings []store.BillReading
	if err := json.Unmarshal(b.Readings, &readings); err != nil {
		return false, err
	}
	return slices.EqualFunc(readings, d.Readings, func(x, y store.BillReading) bool {
		return x.Meter == y.Meter && x.Ratio == y.Ratio && x.From.Equal(y.From) && x.To.Equal(y.To) && slices.Equal(x.Opening, y.Opening) && slices.Equal(x.Closing, y.Closing)
	}), nil
}

// previews rates a page of accounts, site by site. What is done already is left out, and so are those of many that a price doesn't touch.
func (a *Correcting) previews(ctx context.Context, k store.Correction, ids []billing.AccountID) ([]store.CorrectedAccount, error) {
	ids, err := a.Store.NotDone(ctx, k.ID, ids)
	if err != nil {
		return nil, err
	}
	bySite, order, err := a.bySite(ctx, ids)
	if err != nil {
		return nil, err
	}
	var all []store.CorrectedAccount
	for _, site := range order {
		r, err := a.recalculate(ctx, k, bySite[site])
		if refusal(err) {
			for _, id := range bySite[site] {
				all = append(all, store.CorrectedAccount{Account: id, Site: site, Problem: billing.MessageOf(err), Digest: []byte{}})
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, account := range r.m.accounts {
			p, err := r.preview(ctx, a.Store, account)
			if err != nil {
				return nil, err
			}
			if p.Touched() || k.Kind != billing.CorrectPrice {
				all = append(all, p)
			}
		}
	}
	return all, nil
}

func (a *Correcting) bySite(ctx context.Context, ids []billing.AccountID) (map[billing.SiteID][]billing.AccountID, []billing.SiteID, error) {
	accounts, err := a.Store.MeteredAccountsOf(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	by := map[billing.SiteID][]billing.AccountID{}
	var order []billing.SiteID
	for _, account := range accounts {
		if by[account.Site] == nil {
			order = append(order, account.Site)
		}
		by[account.Site] = append(by[account.Site], account.ID)
	}
	return by, order, nil
}

// touched lists a page of the accounts that a correction may touch, after the given one.
func (a *Correcting) touched(ctx context.Context, k store.Correction, after billing.AccountID) ([]billing.AccountID, error) {
	parts, err := k.Parts()
	if err != nil {
		return nil, err
	}
	if parts.Price != nil {
		return a.Store.AccountsOfTariff(ctx, parts.Price.Tariff, after, correctionPage)
	}
	if after != "" {
		return nil, nil
	}
	checked := checked{}
	switch {
	case parts.Terms != nil:
		return []billing.AccountID{parts.Terms.Account}, nil
	case parts.Quantity != nil:
		return []billing.AccountID{parts.Quantity.Account}, nil
	case parts.CarryOver != nil:
		return []billing.AccountID{parts.CarryOver.Account}, nil
	case parts.Reading != nil:
		fs, err := a.Store.FittingsOfMeter(ctx, parts.Reading.Meter)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(fs, func(f store.Fitting) bool { return f.ToAt == nil || !parts.Reading.At.After(*f.ToAt) })
		if i < 0 {
			return nil, nil
		}
		err = a.accountOf(ctx, fs[i], &checked)
		return []billing.AccountID{checked.account}, err
	}
	fitting := int64(0)
	if parts.Ratio != nil {
		fitting = parts.Ratio.Fitting
	} else if parts.Exchange != nil {
		fitting = parts.Exchange.Fitting
	}
	f, _, err := a.fitting(ctx, fitting)
	if err != nil {
		return nil, err
	}
	err = a.accountOf(ctx, f, &checked)
	return []billing.AccountID{checked.account}, err
}

// PreviewCorrection computes the preview anew, in pages, and puts it up for approval. Interrupted, it goes on after the last page.
func (a *Correcting) PreviewCorrection(ctx context.Context, in CorrectionRef) (CorrectionFacts, error) {
	by := byWorkflow(ctx)
	var after billing.AccountID
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &after); err != nil {
			return CorrectionFacts{}, err
		}
	}
	k, err := a.Store.Correction(ctx, in.CorrectionID)
	if err != nil {
		return CorrectionFacts{}, err
	}
	if after == "" {
		if k, err = a.Store.OpenPreview(ctx, by, in.CorrectionID); err != nil {
			return CorrectionFacts{}, err
		}
	}
	for {
		ids, err := a.touched(ctx, k, after)
		if err != nil {
			return CorrectionFacts{}, err
		}
		if len(ids) == 0 {
			break
		}
		if err := a.previewPage(ctx, k, ids); err != nil {
			return CorrectionFacts{}, err
		}
		after = ids[len(ids)-1]
		activity.RecordHeartbeat(ctx, after)
	}
	policy, err := a.strictest(ctx, k.Sites)
	if err != nil {
		return CorrectionFacts{}, err
	}
	k, err = a.Store.ClosePreview(ctx, by, in.CorrectionID, policy.RefundTwoOverFen)
	return correctionFacts(k), err
}

func (a *Correcting) previewPage(ctx context.Context, k store.Correction, ids []billing.AccountID) error {
	all, err := a.previews(ctx, k, ids)
	if err != nil {
		return err
	}
	return a.Store.SavePreview(ctx, byWorkflow(ctx), k.ID, all)
}

// strictest is the policy of the site that asks for the second approval first.
func (a *Correcting) strictest(ctx context.Context, sites []billing.SiteID) (CorrectionPolicy, error) {
	var strict CorrectionPolicy
	for i, id := range sites {
		_, p, err := sitePolicy(ctx, a.Store, id)
		if err != nil {
			return strict, err
		}
		if i == 0 || p.Correction.RefundTwoOverFen < strict.RefundTwoOverFen {
			strict = p.Correction
		}
	}
	return strict, nil
}

// holds compares the preview with one computed now: the same accounts, resting on the same inputs.
func (a *Correcting) holds(ctx context.Context, k store.Correction) error {
	if k.InputsAt == nil {
		if err := a.Store.OnFileHolds(ctx, byWorkflow(ctx), k); err != nil {
			return err
		}
	}
	var after billing.AccountID
	for {
		ids, err := a.touched(ctx, k, after)
		if err != nil || len(ids) == 0 {
			return err
		}
		now, err := a.previews(ctx, k, ids)
		if err != nil {
			return err
		}
		if err := a.Store.PreviewHolds(ctx, k.ID, ids, now); err != nil {
			return err
		}
		after = ids[len(ids)-1]
		activity.RecordHeartbeat(ctx, after)
	}
}

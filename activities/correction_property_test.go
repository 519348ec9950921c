package activities_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/proof"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// The days on which the meters of a history are read: each month's first, its middle, and the days after the last bill.
var historyDays = []string{"2026-01-02", "2026-01-15", "2026-02-01", "2026-02-15", "2026-03-01", "2026-03-15", "2026-04-01", "2026-04-15", "2026-05-01", "2026-05-02"}

// oneDay is what these meters can count in a day at most, in 0.01 kWh: a correction beyond it is refused.
const oneDay = 50_000

// history is all that bills rest on: what the meters showed, where they hung, prices and terms. Playing it is the fresh computation.
type history struct {
	accounts []*lived
	tariffs  map[billing.TariffID]billing.Tariff
}

// lived is one account of a history. Its only meter may change its ratio once, on splitDay.
type lived struct {
	opening  int64
	ratio    int
	tariff   billing.TariffID
	agreed   []billing.TermsChange // after the first day, in the order in which they were corrected
	kvarh    map[string]int64      // by month, of the one with a two-part tariff
	before   int64                 // use before it was opened
	shown    map[string]int64      // by day
	splitDay string
	closing  int64 // of the first fitting, and opening of the second
	ratio2   int
}

func drawHistory(t *rapid.T) *history {
	h := &history{tariffs: map[billing.TariffID]billing.Tariff{}}
	for range 4 {
		a := &lived{
			ratio: rapid.IntRange(1, 12).Draw(t, "ratio"), tariff: rapid.SampledFrom([]billing.TariffID{"zj-residential", "zj-residential-tou"}).Draw(t, "tariff"),
			opening: rapid.Int64Range(0, 500_000).Draw(t, "opening"), before: rapid.Int64Range(0, 300_000).Draw(t, "before"), shown: map[string]int64{},
		}
		total := a.opening
		for _, day := range historyDays {
			total += rapid.Int64Range(0, 18_000).Draw(t, "use")
			a.shown[day] = total
		}
		h.accounts = append(h.accounts, a)
	}
	works := h.accounts[len(h.accounts)-1]
	works.tariff, works.kvarh = "demo-two-part", map[string]int64{}
	for _, month := range []string{"2026-01", "2026-02", "2026-03", "2026-04"} {
		works.kvarh[month] = rapid.Int64Range(0, 3000).Draw(t, "kvarh")
	}
	works.agreed = []billing.TermsChange{{From: billing.MustDate("2026-01-01"), Tariff: works.tariff, CapacityKVA: billing.MustQuantity("100"), Choice: billing.ChooseCapacity}}
	return h
}

// played is a history in a database: read, charged and billed by the activities.
type played struct {
	*books
	accounts []billing.AccountID
	meters   []billing.MeterID
}

// play lives a history from its first day to the last bill.
func play(t *testing.T, h *history) *played {
	t.Helper()
	p := &played{books: newBooks(t, slices.Collect(maps.Values(h.tariffs))...)}
	for _, a := range h.accounts {
		account, meter := p.Account(storetest.NewAccount{Opening: regs(a.opening), Ratio: a.ratio, Tariff: a.tariff, UseBefore: a.before, Fen: 50_000_000})
		p.accounts, p.meters = append(p.accounts, account), append(p.meters, meter)
		for i := range a.agreed {
			c := a.agreed[i]
			c.Account = account
			require.NoError(t, p.SetTerms(context.Background(), storetest.By, store.TermsOfChange(c)))
		}
	}
	for i, day := range historyDays[:len(historyDays)-1] {
		p.split(h, day)
		p.live(h, day)
		if i > 0 && day[8:] == "01" {
			month := billing.MustDate(day).AddDays(-1).String()[:7]
			p.enter(h, month)
			p.issue(month)
		}
	}
	return p
}

// enter puts on file what a month's reactive energy came to.
func (p *played) enter(h *history, month string) {
	p.t.Helper()
	for i, a := range h.accounts {
		if a.kvarh == nil {
			continue
		}
		require.NoError(p.t, p.EnterPeriodQuantity(context.Background(), storetest.By, store.QuantityOfChange(kvarhChange(p.accounts[i], month, a.kvarh[month]))))
	}
}

func kvarhChange(account billing.AccountID, month string, v int64) billing.QuantityChange {
	return billing.QuantityChange{Account: account, Month: billing.MustDate(month + "-01"), Kind: store.Kvarh, Value: billing.MustQuantity(strconv.FormatInt(v, 10))}
}

// split gives the meters that change their ratio on a day their second fitting.
func (p *played) split(h *history, day string) {
	p.t.Helper()
	for i, a := range h.accounts {
		if a.splitDay != day {
			continue
		}
		_, err := p.Pool.Exec(context.Background(), `WITH old AS (UPDATE fittings SET to_at = $2, closing = $3 WHERE meter_id = $1 RETURNING service_point_id)
			INSERT INTO fittings (service_point_id, meter_id, ratio, from_at, opening) SELECT service_point_id, $1, $4, $2, $3 FROM old`, p.meters[i], midnight(day), regs(a.closing), a.ratio2)
		require.NoError(p.t, err)
	}
}

// live reads one day and charges it. Its readings are believed: what the rules doubt is tested elsewhere.
func (p *played) live(h *history, day string) {
	p.t.Helper()
	shown := map[billing.MeterID]billing.Registers{}
	for i, a := range h.accounts {
		shown[p.meters[i]] = regs(a.shown[day])
	}
	id := p.sweep(day, shown)
	for _, state := range []billing.CycleState{billing.CycleValidating, billing.CycleClosed} {
		_, err := p.AdvanceCycle(context.Background(), storetest.By, id, state)
		require.NoError(p.t, err)
	}
	p.charge(id)
	p.at(day, 9, 0)
}

// fittings are those of an account's meter.
func (p *played) fittings(account int) []store.Fitting {
	p.t.Helper()
	fs, err := p.FittingsOfMeter(context.Background(), p.meters[account])
	require.NoError(p.t, err)
	return fs
}

// drawCorrection changes the history in one way and gives the correction that would.
func (p *played) drawCorrection(t *rapid.T, h *history) (change billing.CorrectionChange, undo func()) {
	i := rapid.IntRange(0, len(h.accounts)-1).Draw(t, "account")
	a := h.accounts[i]
	was := *a
	was.shown, was.agreed, was.kvarh = maps.Clone(a.shown), slices.Clone(a.agreed), maps.Clone(a.kvarh)
	undo = func() { *a = was }
	fs := p.fittings(i)
	switch rapid.SampledFrom([]string{"reading", "reading", "reading", "opening", "ratio", "split", "closing", "price", "terms", "terms", "quantity", "carry over"}).Draw(t, "kind") {
	case "opening":
		a.opening = rapid.Int64Range(max(0, a.shown[historyDays[0]]-oneDay), a.shown[historyDays[0]]).Draw(t, "new opening")
		if a.opening != was.opening {
			return billing.CorrectionChange{Exchange: &billing.ExchangeChange{Fitting: fs[0].ID, Opening: regs(a.opening)}}, undo
		}
	case "ratio":
		if a.ratio = rapid.IntRange(1, 12).Draw(t, "new ratio"); a.ratio != was.ratio {
			return billing.CorrectionChange{Ratio: &billing.RatioChange{Fitting: fs[0].ID, At: fs[0].FromAt, Ratio: a.ratio}}, undo
		}
	case "split":
		if a.splitDay != "" {
			break
		}
		a.splitDay, a.ratio2 = rapid.SampledFrom([]string{"2026-01-15", "2026-02-15", "2026-03-01"}).Draw(t, "split"), a.ratio+rapid.IntRange(1, 5).Draw(t, "more")
		a.closing = a.shown[a.splitDay]
		return billing.CorrectionChange{Ratio: &billing.RatioChange{Fitting: fs[0].ID, At: midnight(a.splitDay), Ratio: a.ratio2}}, undo
	case "closing":
		if len(fs) < 2 {
			break
		}
		n := slices.Index(historyDays, a.splitDay)
		if a.closing = rapid.Int64Range(a.shown[historyDays[n-1]], a.shown[historyDays[n+1]]).Draw(t, "new closing"); a.closing != was.closing {
			return billing.CorrectionChange{Exchange: &billing.ExchangeChange{Fitting: fs[1].ID, Closing: regs(a.closing), Opening: regs(a.closing)}}, undo
		}
	case "carry over":
		if a.before = rapid.SampledFrom([]int64{0, rapid.Int64Range(0, 300_000).Draw(t, "new use before")}).Draw(t, "use before"); a.before != was.before {
			return billing.CorrectionChange{CarryOver: &billing.CarryOverChange{Account: p.accounts[i], Use: a.before}}, undo
		}
	case "price":
		return p.drawPrice(t, h)
	case "quantity":
		works := h.accounts[len(h.accounts)-1]
		month := rapid.SampledFrom([]string{"2026-01", "2026-02", "2026-03", "2026-04"}).Draw(t, "month")
		old := works.kvarh[month]
		works.kvarh[month] = rapid.Int64Range(0, 3000).Draw(t, "new kvarh")
		if works.kvarh[month] == old {
			return billing.CorrectionChange{}, undo
		}
		c := kvarhChange(p.accounts[len(p.accounts)-1], month, works.kvarh[month])
		return billing.CorrectionChange{Quantity: &c}, func() { works.kvarh[month] = old }
	case "terms":
		c := billing.TermsChange{Account: p.accounts[i], From: billing.MustDate("2026-01-01").AddDays(rapid.IntRange(0, 119).Draw(t, "agreed from")),
			Tariff: rapid.SampledFrom([]billing.TariffID{"zj-residential", "zj-residential-tou"}).Draw(t, "agreed tariff"), Persons: rapid.IntRange(3, 8).Draw(t, "persons"), Class: rapid.SampledFrom([]billing.CustomerClass{billing.ClassHousehold, billing.ClassCommercial}).Draw(t, "class"),
			ArrearsContract: rapid.Bool().Draw(t, "arrears")}
		if a.kvarh != nil {
			c.Tariff, c.Choice, c.CapacityKVA = a.tariff, billing.ChooseCapacity, billing.MustQuantity(strconv.Itoa(rapid.IntRange(50, 500).Draw(t, "kVA")))
		}
		a.agreed = append(a.agreed, c)
		return billing.CorrectionChange{Terms: &c}, undo
	}
	return p.drawReading(t, i, a), undo
}

// drawReading moves one reading between its neighbours.
func (p *played) drawReading(t *rapid.T, i int, a *lived) billing.CorrectionChange {
	days := slices.DeleteFunc(slices.Clone(historyDays[:len(historyDays)-1]), func(d string) bool { return d == a.splitDay })
	day := rapid.SampledFrom(days).Draw(t, "day")
	n := slices.Index(historyDays, day)
	low, high := a.opening, a.shown[historyDays[n+1]]
	if n > 0 {
		low = a.shown[historyDays[n-1]]
	}
	if n > 0 && historyDays[n-1] == a.splitDay {
		low = max(low, a.closing)
	}
	if historyDays[n+1] == a.splitDay {
		high = min(high, a.closing)
	}
	if n == len(historyDays)-2 { // a day before the last one
		low = max(low, high-oneDay)
	}
	if n == 0 { // a day after the opening
		high = min(high, low+oneDay)
	}
	v := rapid.Int64Range(low, max(low, high)).Draw(t, "shows")
	if v == a.shown[day] {
		return billing.CorrectionChange{}
	}
	a.shown[day] = v
	return readingChange(p.meters[i], day, regs(v))
}

// drawPrice gives a tariff another price from a day on.
func (p *played) drawPrice(t *rapid.T, h *history) (billing.CorrectionChange, func()) {
	id := rapid.SampledFrom([]billing.TariffID{"zj-residential", "zj-residential-tou"}).Draw(t, "of")
	was, err := p.Tariff(context.Background(), id)
	require.NoError(p.t, err)
	tariff, err := p.Tariff(context.Background(), id) // a copy of its own
	require.NoError(p.t, err)
	from := billing.MustDate("2026-01-01").AddDays(rapid.IntRange(0, 119).Draw(t, "from"))
	version, _, err := tariff.VersionAt(from)
	require.NoError(p.t, err)
	version.From = from
	for i := range version.Components {
		for j := range version.Components[i].Tiers {
			price := billing.MustPrice(fmt.Sprintf("0.%04d", rapid.IntRange(0, 9999).Draw(t, "price")))
			version.Components[i].Tiers[j].Price = &price
		}
	}
	change := billing.PriceCorrection{Tariff: id, Version: version}
	inUse := slices.ContainsFunc(h.accounts, func(a *lived) bool {
		return a.tariff == id || slices.ContainsFunc(a.agreed, func(c billing.TermsChange) bool { return c.Tariff == id })
	})
	if !inUse {
		return billing.CorrectionChange{}, func() {}
	}
	h.tariffs[id], err = change.With(was)
	require.NoError(p.t, err)
	return billing.CorrectionChange{Price: &change}, func() { h.tariffs[id] = was }
}

// TestCorrection_aSequenceEndsWhereAFreshComputationEnds plays a random history, corrects it at random through the real store, and plays
// what the corrections make of it afresh: every bill, every line and every balance must be the same to the fen.
func TestCorrection_aSequenceEndsWhereAFreshComputationEnds(t *testing.T) {
	require.NoError(t, flag.Set("rapid.checks", strconv.Itoa(correctionSequences)))
	require.NoError(t, flag.Set("rapid.shrinktime", "1s")) // each try is a database
	require.NoError(t, flag.Set("rapid.nofailfile", "true"))
	rapid.Check(t, func(r *rapid.T) {
		h := drawHistory(r)
		p := play(t, h)
		for range correctionsEach {
			p.correctAtRandom(r, h)
		}
		p.sameAs(t, h, play(t, h))
	})
}

// correctAtRandom draws one correction: it is applied, rejected, or overtaken by another one between its preview and its approval.
func (p *played) correctAtRandom(r *rapid.T, h *history) {
	change, undo := p.drawCorrection(r, h)
	if _, err := change.Kind(); err != nil {
		return // the draw changed nothing
	}
	in := p.submission(change)
	if _, err := p.env.ExecuteActivity(p.correct.DraftCorrection, in); err != nil {
		require.ErrorContains(p.t, err, "nothing would change", "%+v", change) // terms that were agreed already
		undo()
		return
	}
	do[activities.CorrectionFacts](p.field, p.correct.PreviewCorrection, activities.CorrectionRef{CorrectionID: in.CorrectionID})
	k := p.correction(in.CorrectionID)
	require.Zero(p.t, k.Problems, "%s", k.Change)
	switch rapid.SampledFrom([]string{"approve", "approve", "approve", "approve", "reject", "overtake"}).Draw(r, "fate") {
	case "reject":
		undo()
		do[activities.CorrectionFacts](p.field, p.correct.RejectCorrection, activities.CorrectionDecision{CorrectionID: k.ID, By: "sup2", Reason: "not proved"})
		return
	case "overtake":
		other, undoOther := p.drawCorrection(r, h)
		if _, err := other.Kind(); err != nil {
			break
		}
		if sameTarget(change, other) {
			undoOther() // whichever comes last wins, which the history can't tell
			break
		}
		if !p.draftOrUndo(other, undoOther) {
			break
		}
		k = p.correction(k.ID)
		if _, err := p.env.ExecuteActivity(p.correct.ApproveCorrection, p.approval(k, "sup2", 1)); err == nil {
			break // it touched other bills
		}
		do[activities.CorrectionFacts](p.field, p.correct.PreviewCorrection, activities.CorrectionRef{CorrectionID: k.ID})
		k = p.correction(k.ID)
	}
	p.approve(k)
	require.Equal(p.t, billing.CorrectionApplied, p.apply(k.ID).State)
}

// sameTarget says that two corrections replace the same thing.
func sameTarget(a, b billing.CorrectionChange) bool {
	switch {
	case a.Reading != nil && b.Reading != nil:
		return a.Reading.Meter == b.Reading.Meter && a.Reading.At.Equal(b.Reading.At)
	case a.Ratio != nil && b.Ratio != nil:
		return a.Ratio.Fitting == b.Ratio.Fitting
	case a.Exchange != nil && b.Exchange != nil:
		return a.Exchange.Fitting == b.Exchange.Fitting
	case a.Quantity != nil && b.Quantity != nil:
		return a.Quantity.Month == b.Quantity.Month
	case a.Terms != nil && b.Terms != nil:
		return a.Terms.Account == b.Terms.Account
	case a.CarryOver != nil && b.CarryOver != nil:
		return a.CarryOver.Account == b.CarryOver.Account
	}
	return a.Price != nil && b.Price != nil
}

// draftOrUndo carries a correction out, or forgets it when it can't be drafted beside the one that is previewed.
func (p *played) draftOrUndo(change billing.CorrectionChange, undo func()) bool {
	in := p.submission(change)
	if _, err := p.env.ExecuteActivity(p.correct.DraftCorrection, in); err != nil {
		undo()
		return false
	}
	do[activities.CorrectionFacts](p.field, p.correct.PreviewCorrection, activities.CorrectionRef{CorrectionID: in.CorrectionID})
	k := p.correction(in.CorrectionID)
	p.approve(k)
	return p.apply(k.ID).State == billing.CorrectionApplied
}

// sameAs compares with a fresh play of the same history after one more day, which brings the open period up to date.
func (p *played) sameAs(t *testing.T, h *history, fresh *played) {
	t.Helper()
	last := historyDays[len(historyDays)-1]
	p.live(h, last)
	fresh.live(h, last)
	reversed := 0
	for i, account := range p.accounts {
		require.Equal(t, fresh.printed(account), p.printed(account), "account %s, history %+v", account, *h.accounts[i])
		require.Equal(t, fresh.balance(account), p.balance(account), "account %s, history %+v", account, *h.accounts[i])
		require.Equal(t, fresh.classes(account), p.classes(account), "account %s, history %+v", account, *h.accounts[i])
	}
	require.NoError(t, p.Pool.QueryRow(context.Background(), `SELECT count(*) FROM bills WHERE state = 'reversed'`).Scan(&reversed))
	require.Positive(t, reversed, "nothing was corrected")
	p.intact()
	p.proved(t)
}

// classes are an account's classes by day.
func (p *played) classes(account billing.AccountID) (classes []billing.CustomerClass) {
	p.t.Helper()
	rows, _ := p.Pool.Query(context.Background(), `SELECT account_class($1, day::date) FROM generate_series('2026-01-01', '2026-05-02', interval '1 day') day`, account)
	classes, err := pgx.CollectRows(rows, pgx.RowTo[billing.CustomerClass])
	require.NoError(p.t, err)
	return classes
}

// printed are an account's bills that count, with their lines, as text, without the instants of lines: terms that begin a day later over a day without use leave every
// quantity, register and fen as it was, and no bill is issued again for that.
func (p *played) printed(account billing.AccountID) []string {
	p.t.Helper()
	by, lines, err := p.CorrectableBills(context.Background(), []billing.AccountID{account}, billing.MustDate("2026-01-01"))
	require.NoError(p.t, err)
	var text []string
	for _, b := range by[account] {
		text = append(text, fmt.Sprint(b.PeriodFrom, b.PeriodTo, b.State, b.Tariff, b.Quantity, b.TotalFen))
		for _, l := range lines[b.ID] {
			text = append(text, fmt.Sprint(l.Seq, l.Component, l.Register, l.Tier, raw(l.Opening), raw(l.Closing), l.Quantity, l.Price, l.AmountFen))
		}
	}
	return text
}

// raw is a register of a line; a line by the month has none.
func raw(n *int64) int64 {
	if n == nil {
		return -1
	}
	return *n
}

// proved holds the invariants that the report checks, from the tables alone.
func (b *books) proved(t *testing.T) {
	t.Helper()
	found, err := proof.Check(context.Background(), b.Pool, nil)
	require.NoError(t, err)
	for _, inv := range found {
		if slices.Contains([]string{proof.LedgerBalances, proof.BilledEqualsRead, proof.JournalComplete}, inv.Name) {
			require.Zero(t, inv.Violations, "%s: %v", inv.Name, inv.Details)
		}
	}
}

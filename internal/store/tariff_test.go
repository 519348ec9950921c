package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// priced is a utility with an administrator, whose account A0001 is on zj-residential. Its clock stands on 10 January 2026, 10:00.
func priced(t *testing.T) *storetest.Utility {
	t.Helper()
	u := storetest.NewUtility(t, time.Date(2026, 1, 10, 2, 0, 0, 0, time.UTC))
	for _, id := range []billing.UserID{"admin", "admin2"} {
		require.NoError(t, u.AddUser(context.Background(), storetest.By, store.User{ID: id, Name: string(id), Role: billing.RoleAdministrator, Active: true, Sites: []billing.SiteID{u.Site}}, "none"))
	}
	u.Account(storetest.NewAccount{})
	return u
}

// flatAt is a tariff file with one version of one price.
func flatAt(id billing.TariffID, from, price string) billing.Tariff {
	p := billing.MustPrice(price)
	return billing.Tariff{ID: id, Service: billing.Power, Name: billing.Names{ZH: "试", EN: "Trial"}, Versions: []billing.TariffVersion{{
		From: billing.MustDate(from), Components: []billing.Component{{Key: "energy", Name: billing.Names{ZH: "电度电费", EN: "Energy"}, Kind: billing.KindFlat, Price: &p}},
	}}}
}

// residential is a change of zj-residential, which account A0001 uses.
func residential(t *testing.T, u *storetest.Utility, from, price string) billing.Tariff {
	t.Helper()
	now, err := u.Tariff(context.Background(), "zj-residential")
	require.NoError(t, err)
	now.Versions = flatAt(now.ID, from, price).Versions
	return now
}

func draft(t *testing.T, u *storetest.Utility, file billing.Tariff) store.TariffChange {
	t.Helper()
	ctx := context.Background()
	id, err := u.NextTariffChangeID(ctx)
	require.NoError(t, err)
	c, err := u.SaveTariffEdit(ctx, storetest.By, store.TariffEdit{ID: id, By: "admin", Why: "notice 7/2026", File: file})
	require.NoError(t, err)
	return c
}

// simulated makes the simulation that submitting asks for.
func simulated(t *testing.T, u *storetest.Utility, c store.TariffChange) {
	t.Helper()
	ctx := context.Background()
	sim, err := u.OpenSimulation(ctx, storetest.By, store.NewSimulation{Change: c.ID, By: "admin", Period: billing.MonthPeriod(billing.MustDate("2025-12-01"))})
	require.NoError(t, err)
	require.NoError(t, u.SaveSimulationPage(ctx, sim.ID, []store.SimulatedAccount{{Account: "A0001", Site: u.Site, Quantity: 10_000, Days: 31, BeforeFen: 5380, AfterFen: 5500}}))
	_, err = u.EndSimulation(ctx, storetest.By, sim.ID, "")
	require.NoError(t, err)
}

func submitted(t *testing.T, u *storetest.Utility, file billing.Tariff) store.TariffChange {
	t.Helper()
	c := draft(t, u, file)
	simulated(t, u, c)
	c, err := u.SubmitTariff(context.Background(), storetest.By, store.TariffDecision{ID: c.ID, By: "admin", Revision: c.Revision})
	require.NoError(t, err)
	return c
}

func approve(u *storetest.Utility, c store.TariffChange, by billing.UserID, number int) (store.TariffChange, error) {
	return u.ApproveTariff(context.Background(), storetest.By, store.TariffDecision{ID: c.ID, By: by, Revision: c.Revision, Number: number})
}

func TestTariffChange_threePersonsPublish(t *testing.T) {
	t.Parallel()
	u, ctx := priced(t), context.Background()
	before, err := u.Tariff(ctx, "zj-residential")
	require.NoError(t, err)
	c := submitted(t, u, residential(t, u, "2026-02-01", "0.55"))

	_, err = approve(u, c, "admin", 1)
	require.Equal(t, billing.CodeSelfApproval, billing.CodeOf(err))
	c, err = approve(u, c, "sup1", 1)
	require.NoError(t, err)
	again, err := approve(u, c, "sup1", 1)
	require.NoError(t, err, "an approval whose answer was lost")
	require.Equal(t, billing.TariffApprovedOnce, again.State)
	_, err = approve(u, c, "sup1", 2)
	require.Equal(t, billing.CodeAlreadyApproved, billing.CodeOf(err))
	unpublished, err := u.Tariff(ctx, "zj-residential")
	require.NoError(t, err)
	require.Equal(t, before, unpublished)

	c, err = approve(u, c, "boss", 2)
	require.NoError(t, err)
	require.Equal(t, billing.TariffPublished, c.State)
	after, err := u.Tariff(ctx, "zj-residential")
	require.NoError(t, err)
	require.Equal(t, append(before.Versions, c.Version), after.Versions)
	require.NoError(t, after.Validate())
	asOf, err := u.TariffAsOf(ctx, "zj-residential", time.Date(2026, 1, 9, 0, 0, 0, 0, time.UTC))
	require.NoError(t, err)
	require.Empty(t, asOf.Versions, "the utility itself was made on the tenth")

	_, err = u.WithdrawTariff(ctx, storetest.By, store.TariffDecision{ID: c.ID, By: "admin", Reason: "too late"})
	require.Equal(t, billing.CodeClosed, billing.CodeOf(err))
	_, err = u.SaveTariffEdit(ctx, storetest.By, store.TariffEdit{ID: c.ID, By: "admin", File: residential(t, u, "2026-03-01", "0.5"), Revision: c.Revision})
	require.Error(t, err, "what is published stays")
	_, _, first, err := u.VerifyJournal(ctx)
	require.NoError(t, err)
	require.Nil(t, first)
}

// The database holds three persons, whatever the code above it forgot.
func TestTariffChange_constraints(t *testing.T) {
	t.Parallel()
	u, ctx := priced(t), context.Background()
	c := submitted(t, u, residential(t, u, "2026-02-01", "0.55"))
	for name, sql := range map[string]string{
		"maker approves first":   `UPDATE tariff_changes SET state = 'approved_once', approved1_by = 'admin' WHERE id = $1`,
		"maker approves second":  `UPDATE tariff_changes SET state = 'published', approved1_by = 'sup1', approved2_by = 'admin' WHERE id = $1`,
		"one person twice":       `UPDATE tariff_changes SET state = 'published', approved1_by = 'sup1', approved2_by = 'sup1' WHERE id = $1`,
		"published unapproved":   `UPDATE tariff_changes SET state = 'published' WHERE id = $1`,
		"draft with an approval": `UPDATE tariff_changes SET state = 'draft', approved1_by = 'sup1' WHERE id = $1`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := u.Pool.Exec(ctx, sql, c.ID)
			require.ErrorContains(t, err, "violates check constraint")
		})
	}
	version, err := json.Marshal(c.Version)
	require.NoError(t, err)
	insert := func(from, version string, change any) error {
		_, err := u.Pool.Exec(ctx, `INSERT INTO tariff_versions (tariff_id, from_day, version, change_id, published_at) VALUES ('zj-residential', $1::date, $2, $3, business_now())`, from, version, change)
		return err
	}
	require.ErrorContains(t, insert("2026-02-01", string(version), c.ID), "was not approved twice")
	require.ErrorContains(t, insert("2026-02-02", string(version), c.ID), "the row says 2026-02-02")
	require.ErrorContains(t, insert("2026-01-10", `{"from": "2026-01-10"}`, c.ID), "has begun already")
	require.ErrorContains(t, insert("2020-01-01", `{"from": "2020-01-01"}`, c.ID), "or later")
	_, err = u.Pool.Exec(ctx, `UPDATE tariffs SET definition = jsonb_set(definition, '{versions,0,components,0,tiers,0,price}', '"0.01"') WHERE id = 'zj-residential'`)
	require.ErrorContains(t, err, "follows from its published versions")
	for _, sql := range []string{`UPDATE tariff_versions SET version = '{}'`, `DELETE FROM tariff_versions`} {
		_, err = u.Pool.Exec(ctx, sql)
		require.ErrorContains(t, err, "append-only")
	}
}

func TestTariffChange_editingAfterAnApprovalVoidsIt(t *testing.T) {
	t.Parallel()
	u, ctx := priced(t), context.Background()
	c := submitted(t, u, residential(t, u, "2026-02-01", "0.55"))
	c, err := approve(u, c, "sup1", 1)
	require.NoError(t, err)
	edit := store.TariffEdit{ID: c.ID, By: "admin2", Why: "one digit was wrong", File: residential(t, u, "2026-02-01", "0.56"), Revision: c.Revision}
	edited, err := u.SaveTariffEdit(ctx, storetest.By, edit)
	require.NoError(t, err)
	require.Equal(t, billing.TariffDraft, edited.State)
	require.Empty(t, edited.Approved1By)
	require.Equal(t, c.Revision+1, edited.Revision)
	require.Equal(t, []billing.UserID{"admin", "admin2"}, edited.Editors)
	same, err := u.SaveTariffEdit(ctx, storetest.By, edit)
	require.NoError(t, err, "a repeat whose answer was lost")
	require.Equal(t, edited.Revision, same.Revision)

	_, err = approve(u, c, "boss", 2)
	require.Equal(t, billing.CodeClosed, billing.CodeOf(err), "nothing is left of the approvals")
	_, err = u.SubmitTariff(ctx, storetest.By, store.TariffDecision{ID: c.ID, By: "admin2", Revision: edited.Revision})
	require.Equal(t, billing.CodeBlocked, billing.CodeOf(err), "the simulation was of another revision")
	simulated(t, u, edited)
	_, err = u.SubmitTariff(ctx, storetest.By, store.TariffDecision{ID: c.ID, By: "admin2", Revision: c.Revision})
	require.Equal(t, billing.CodeStale, billing.CodeOf(err))
	edited, err = u.SubmitTariff(ctx, storetest.By, store.TariffDecision{ID: c.ID, By: "admin2", Revision: edited.Revision})
	require.NoError(t, err)
	_, err = approve(u, c, "boss", 1)
	require.Equal(t, billing.CodeStale, billing.CodeOf(err), "an approval names what it saw")
	for _, maker := range []billing.UserID{"admin", "admin2"} {
		_, err = approve(u, edited, maker, 1)
		require.Equal(t, billing.CodeSelfApproval, billing.CodeOf(err))
	}
	edit.By, edit.Revision, edit.File = "admin", c.Revision, residential(t, u, "2026-02-01", "0.57")
	_, err = u.SaveTariffEdit(ctx, storetest.By, edit)
	require.Equal(t, billing.CodeStale, billing.CodeOf(err))
}

func TestTariffChange_refusesWhatWouldChangeThePast(t *testing.T) {
	t.Parallel()
	u, ctx := priced(t), context.Background()
	for _, from := range []string{"2026-01-09", "2026-01-10"} {
		c := draft(t, u, residential(t, u, from, "0.55"))
		simulated(t, u, c)
		_, err := u.SubmitTariff(ctx, storetest.By, store.TariffDecision{ID: c.ID, By: "admin", Revision: c.Revision})
		require.Equal(t, billing.CodeBlocked, billing.CodeOf(err))
		require.ErrorContains(t, err, "correct what was billed by a correction")
		_, err = u.WithdrawTariff(ctx, storetest.By, store.TariffDecision{ID: c.ID, By: "admin", Reason: "in the past"})
		require.NoError(t, err)
	}
	c := submitted(t, u, residential(t, u, "2026-01-11", "0.55"))
	c, err := approve(u, c, "sup1", 1)
	require.NoError(t, err)
	storetest.SetClock(t, u.Store, time.Date(2026, 1, 10, 16, 0, 0, 0, time.UTC)) // midnight of the eleventh in Shanghai
	_, err = approve(u, c, "boss", 2)
	require.ErrorContains(t, err, "has begun already", "it waited for too long")

	file := residential(t, u, "2026-02-01", "0.55")
	for says, spoil := range map[string]func(*billing.Tariff){
		"has 0 new versions": func(f *billing.Tariff) { f.Versions = mustTariff(t, u).Versions },
		"has 2 new versions": func(f *billing.Tariff) {
			f.Versions = append(f.Versions, flatAt(f.ID, "2026-03-01", "0.5").Versions...)
		},
		"published and never changes": func(f *billing.Tariff) {
			f.Versions = append([]billing.TariffVersion{flatAt(f.ID, mustTariff(t, u).Versions[0].From.String(), "0.1").Versions[0]}, f.Versions...)
		},
		"must start after the last published": func(f *billing.Tariff) { f.Versions = flatAt(f.ID, "2001-01-01", "0.5").Versions },
		"must stay as they are published":     func(f *billing.Tariff) { f.Name.EN = "Another name" },
	} {
		t.Run(says, func(t *testing.T) {
			spoiled := file
			spoiled.Versions = append([]billing.TariffVersion{}, file.Versions...)
			spoil(&spoiled)
			id, err := u.NextTariffChangeID(ctx)
			require.NoError(t, err)
			_, err = u.SaveTariffEdit(ctx, storetest.By, store.TariffEdit{ID: id, By: "admin", File: spoiled})
			require.ErrorContains(t, err, says)
			_, err = u.TariffChange(ctx, id)
			require.Equal(t, billing.CodeNotFound, billing.CodeOf(err))
		})
	}
	id, err := u.NextTariffChangeID(ctx)
	require.NoError(t, err)
	_, err = u.SaveTariffEdit(ctx, storetest.By, store.TariffEdit{ID: id, By: "admin2", File: file})
	require.ErrorContains(t, err, "another change of this tariff is open")
}

func mustTariff(t *testing.T, u *storetest.Utility) billing.Tariff {
	t.Helper()
	tariff, err := u.Tariff(context.Background(), "zj-residential")
	require.NoError(t, err)
	return tariff
}

func TestPriceCeiling_namesComponentAndSite(t *testing.T) {
	t.Parallel()
	u, ctx := priced(t), context.Background()
	ceiling := func(from, price string) {
		t.Helper()
		p := billing.MustPrice(price)
		require.NoError(t, u.SetPriceCeiling(ctx, storetest.By, store.PriceCeiling{Site: u.Site, Service: billing.Power, From: billing.MustDate(from), Price: &p, Reason: "notice 3", SetBy: "boss"}))
	}
	ceiling("2026-01-01", "0.90")
	ceiling("2026-06-01", "0.70")
	file := residential(t, u, "2026-02-01", "0.60")
	fund := billing.MustPrice("0.02")
	file.Versions[0].Components = append(file.Versions[0].Components, billing.Component{Key: "fund", Name: billing.Names{ZH: "基金", EN: "Fund"}, Kind: billing.KindFlat, Price: &fund})
	c := draft(t, u, file)
	simulated(t, u, c)
	submit := store.TariffDecision{ID: c.ID, By: "admin", Revision: 1}
	_, err := u.SubmitTariff(ctx, storetest.By, submit)
	require.NoError(t, err, "0.62 is below both")
	ceiling("2026-06-01", "0.61") // the newer row of a day counts
	_, err = approve(u, c, "sup1", 1)
	require.Equal(t, billing.CodeBlocked, billing.CodeOf(err))
	require.Equal(t, "component energy: one kWh would cost up to 0.62 yuan, above the ceiling of 0.61 yuan that site park has from 2026-06-01 on: lower the price or have the ceiling changed", err.Error())
	require.NoError(t, u.SetPriceCeiling(ctx, storetest.By, store.PriceCeiling{Site: u.Site, Service: billing.Power, From: billing.MustDate("2026-06-01"), Reason: "repealed", SetBy: "boss"}))
	_, err = approve(u, c, "sup1", 1)
	require.NoError(t, err)
	p := billing.MustPrice("0.1")
	require.NoError(t, u.SetPriceCeiling(ctx, storetest.By, store.PriceCeiling{Site: u.Site, Service: billing.Water, From: billing.MustDate("2026-01-01"), Price: &p, Reason: "water", SetBy: "boss"}))
	_, err = approve(u, c, "boss", 2)
	require.NoError(t, err, "the ceiling of water is none of power's")
}

// capped sets the most that one kWh may cost at the site from a day on; an empty price ends it.
func capped(t *testing.T, u *storetest.Utility, from, price string) {
	t.Helper()
	c := store.PriceCeiling{Site: u.Site, Service: billing.Power, From: billing.MustDate(from), Reason: "notice 3", SetBy: "boss"}
	if price != "" {
		p := billing.MustPrice(price)
		c.Price = &p
	}
	require.NoError(t, u.SetPriceCeiling(context.Background(), storetest.By, c))
}

// An account can't be given prices above its site's ceiling, on any day up to its next terms.
func TestSetTerms_belowTheCeiling(t *testing.T) {
	t.Parallel()
	u, ctx := priced(t), context.Background()
	require.NoError(t, u.AddTariff(ctx, storetest.By, flatAt("cheap", "2026-01-01", "0.55")))
	dear := flatAt("dear", "2026-01-01", "0.58")
	dear.Versions = append(dear.Versions, flatAt("dear", "2026-04-01", "0.90").Versions...)
	require.NoError(t, u.AddTariff(ctx, storetest.By, dear), "nobody has it: no ceiling is in its way")
	capped(t, u, "2026-01-01", "0.60")
	capped(t, u, "2026-09-01", "")
	set := func(tariff billing.TariffID, day string) error {
		n := newTerms("A0001", day)
		n.Tariff = tariff
		return u.SetTerms(ctx, termsBy, n)
	}
	history, err := u.TermsHistory(ctx, "A0001")
	require.NoError(t, err)
	for _, day := range []string{"2026-02-01", "2026-04-01", "2026-08-31"} {
		err := set("dear", day)
		require.Equal(t, billing.CodeBlocked, billing.CodeOf(err), day)
		require.ErrorContains(t, err, "choose another tariff than dear for account A0001: component energy: one kWh would cost up to 0.9 yuan, above the ceiling of 0.6 yuan that site park has from 2026-01-01 on")
	}
	after, err := u.TermsHistory(ctx, "A0001")
	require.NoError(t, err)
	require.Equal(t, history, after, "nothing was changed")
	require.NoError(t, set("dear", "2026-09-01"), "the ceiling has ended")
	require.NoError(t, set("cheap", "2026-04-01"))
	require.NoError(t, set("dear", "2026-02-01"), "its dear version comes when the account has other terms")

	capped(t, u, "2026-01-01", "0.50") // lowered below what is in use
	five := newTerms("A0001", "2026-03-01")
	five.Tariff, five.Persons = "dear", 5
	require.NoError(t, u.SetTerms(ctx, termsBy, five), "the tariff is the account's already: its other terms can change")
	above, err := u.PricesAbove(ctx, []billing.SiteID{u.Site}, billing.MustDate("2026-03-15"))
	require.NoError(t, err)
	var said []string
	for _, p := range above {
		said = append(said, string(p.Tariff.ID)+": "+p.Refusal().Error())
	}
	require.Equal(t, []string{
		"cheap: component energy: one kWh would cost up to 0.55 yuan, above the ceiling of 0.5 yuan that site park has from 2026-01-01 on: lower the price or have the ceiling changed",
		"dear: component energy: one kWh would cost up to 0.58 yuan, above the ceiling of 0.5 yuan that site park has from 2026-01-01 on: lower the price or have the ceiling changed",
	}, said, "zj-residential is above it too, but the account has left it")
	none, err := u.PricesAbove(ctx, []billing.SiteID{"plaza"}, billing.MustDate("2026-03-15"))
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestOpenAccount_belowTheCeiling(t *testing.T) {
	t.Parallel()
	u, ctx := priced(t), context.Background()
	require.NoError(t, u.AddTariff(ctx, storetest.By, flatAt("dear", "2026-01-01", "0.90")))
	capped(t, u, "2026-01-01", "0.60")
	_, err := u.Pool.Exec(ctx, `INSERT INTO service_points (id, site_id, service, address) VALUES ('P9', 'park', 'power', 'Room 9')`)
	require.NoError(t, err)
	err = u.OpenAccount(ctx, storetest.By, store.NewAccount{Account: store.Account{ID: "A9", Site: u.Site, Customer: "C0001", ServicePoint: "P9", Service: billing.Power,
		CreditMode: billing.CreditPlatform, Tariff: "dear", OpenedOn: billing.MustDate("2026-01-10")}})
	require.Equal(t, billing.CodeBlocked, billing.CodeOf(err))
	require.ErrorContains(t, err, "above the ceiling of 0.6 yuan")
}

func TestTariffOfADay_isWhatItsTermsSay(t *testing.T) {
	t.Parallel()
	u, ctx := priced(t), context.Background()
	_, err := u.Pool.Exec(ctx, `INSERT INTO sites (id, name_zh, name_en, time_zone) VALUES ('plaza', '广场', 'Plaza', 'Asia/Shanghai')`)
	require.NoError(t, err)
	require.NoError(t, u.AddTariff(ctx, storetest.By, flatAt("later", "2026-01-01", "0.50")))
	require.NoError(t, u.SetTerms(ctx, termsBy, store.AccountTerms{Account: "A0001", FromDay: billing.MustDate("2026-03-01"), Tariff: "later", Settlement: store.SettleByMeter}))

	// From the moment on at which terms name it, it is in use: it is simulated, bounded, approved where the account is, and begins there.
	use := func(tariff billing.TariffID) map[billing.SiteID]int {
		t.Helper()
		n, err := u.TariffUse(ctx, tariff)
		require.NoError(t, err)
		return n
	}
	require.Equal(t, map[billing.SiteID]int{"park": 1}, use("later"))
	require.Equal(t, map[billing.SiteID]int{"park": 1}, use("zj-residential"))
	c := draft(t, u, flatAt("later", "2026-04-01", "0.70"))
	submit := store.TariffDecision{ID: c.ID, By: "admin", Revision: 1}
	_, err = u.SubmitTariff(ctx, storetest.By, submit)
	require.ErrorContains(t, err, "simulate this draft")
	sim, err := u.OpenSimulation(ctx, storetest.By, store.NewSimulation{Change: c.ID, By: "admin", Period: billing.MonthPeriod(billing.MustDate("2025-12-01"))})
	require.NoError(t, err)
	require.Equal(t, 1, sim.Planned)
	sites, err := u.SimulationSites(ctx, sim)
	require.NoError(t, err)
	require.Equal(t, []billing.SiteID{"park"}, sites)
	accounts, err := u.SimulatedAccounts(ctx, sim, "park", "", 10)
	require.NoError(t, err)
	require.Len(t, accounts, 1)
	first, err := u.FirstOpened(ctx, "later")
	require.NoError(t, err)
	require.Equal(t, "2026-01-10", first.String())
	_, err = u.EndSimulation(ctx, storetest.By, sim.ID, "")
	require.NoError(t, err)
	capped(t, u, "2026-01-01", "0.60")
	_, err = u.SubmitTariff(ctx, storetest.By, submit)
	require.ErrorContains(t, err, "above the ceiling of 0.6 yuan")
	capped(t, u, "2026-04-01", "")
	_, err = u.SubmitTariff(ctx, storetest.By, submit)
	require.NoError(t, err)
	starts, err := u.TariffStarts(ctx, c.ID)
	require.NoError(t, err)
	require.Len(t, starts, 1, "not at the plaza, where nobody has it")
	require.Equal(t, billing.SiteID("park"), starts[0].Site)

	// Its day comes without anybody doing anything.
	for day, want := range map[string]billing.TariffID{"2026-02-28": "zj-residential", "2026-03-01": "later"} {
		storetest.SetClock(t, u.Store, billing.MustDate(day).Start(storetest.Zone))
		a, err := u.Store.Account(ctx, "A0001")
		require.NoError(t, err)
		require.Equal(t, want, a.Tariff, day)
		row, err := u.AccountRow(ctx, "A0001")
		require.NoError(t, err)
		require.Equal(t, want, row.Tariff, day)
		for _, id := range []billing.TariffID{"zj-residential", "later"} {
			rows, n, err := u.AccountPage(ctx, store.AccountFilter{Sites: []billing.SiteID{u.Site}, Tariff: string(id)}, 10, 0)
			require.NoError(t, err)
			require.Equal(t, id == want, n == 1 && len(rows) == 1, "%s: accounts by tariff %s", day, id)
		}
		on, err := u.Connections(ctx, []billing.MeterID{"M0001"})
		require.NoError(t, err)
		require.Equal(t, want, on["M0001"].Tariff, day)
		facts, err := u.BatchFacts(ctx, store.BatchScope{Site: u.Site, Meters: []billing.MeterID{"M0001"}}, 10)
		require.NoError(t, err)
		require.Equal(t, want, facts[0].Tariff, day)
	}
	storetest.SetClock(t, u.Store, billing.MustDate("2026-03-01").Start(storetest.Zone))
	require.Empty(t, use("zj-residential"), "nobody will have it any more")
	rows, err := u.TariffRows(ctx, billing.MustDate("2026-03-01"))
	require.NoError(t, err)
	require.Equal(t, billing.TariffID("later"), rows[0].ID)
	require.Equal(t, 1, rows[0].Accounts)
}

// Publishing never changes the price of any instant before the first day of what is published: the tariff as a list of days stays the
// same up to that day, whatever is drafted, in whatever order, and at whatever time.
func TestTariffChange_neverChangesThePast(t *testing.T) {
	t.Parallel()
	u, ctx := priced(t), context.Background()
	last := mustTariff(t, u)
	day := billing.MustDate("2026-01-10")
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		if n++; n > 40 {
			return // forty publications are enough; each costs a few transactions
		}
		day = day.AddDays(rapid.IntRange(0, 20).Draw(rt, "days later"))
		storetest.SetClock(t, u.Store, day.At(9, 30, storetest.Zone))
		from := day.AddDays(rapid.IntRange(-5, 30).Draw(rt, "starts in"))
		price := fmt.Sprintf("0.%02d", rapid.IntRange(1, 99).Draw(rt, "price"))
		published := tryToPublish(t, u, residential(t, u, from.String(), price))
		now := mustTariff(t, u)
		if !published {
			require.Equal(rt, last, now)
			return
		}
		require.True(rt, day.Before(from), "published on %s from %s", day, from)
		for d := billing.MustDate("2025-12-01"); d.Before(from); d = d.AddDays(1) {
			was, _, errWas := last.VersionAt(d)
			is, _, errIs := now.VersionAt(d)
			require.Equal(rt, errWas, errIs)
			require.Equal(rt, was, is, "the price of %s, published on %s from %s", d, day, from)
		}
		is, _, err := now.VersionAt(from)
		require.NoError(rt, err)
		require.Equal(rt, price, is.Components[0].Price.Fixed(2))
		last = now
	})
	rows, err := u.PublishedVersions(ctx, "zj-residential")
	require.NoError(t, err)
	require.Greater(t, len(rows), 3, "some were published")
}

// tryToPublish goes the whole way and withdraws what is refused.
func tryToPublish(t *testing.T, u *storetest.Utility, file billing.Tariff) bool {
	t.Helper()
	ctx := context.Background()
	id, err := u.NextTariffChangeID(ctx)
	require.NoError(t, err)
	c, err := u.SaveTariffEdit(ctx, storetest.By, store.TariffEdit{ID: id, By: "admin", File: file})
	if err != nil {
		return false
	}
	simulated(t, u, c)
	c, err = u.SubmitTariff(ctx, storetest.By, store.TariffDecision{ID: id, By: "admin", Revision: 1})
	if err == nil {
		c, err = approve(u, c, "sup1", 1)
	}
	if err == nil {
		_, err = approve(u, c, "boss", 2)
	}
	if err == nil {
		return true
	}
	_, err = u.WithdrawTariff(ctx, storetest.By, store.TariffDecision{ID: id, By: "admin", Reason: "refused"})
	require.NoError(t, err)
	return false
}

func TestSimulation_sumsAndDistributes(t *testing.T) {
	t.Parallel()
	u, ctx := priced(t), context.Background()
	for range 6 {
		u.Account(storetest.NewAccount{})
	}
	c := draft(t, u, residential(t, u, "2026-02-01", "0.55"))
	sim, err := u.OpenSimulation(ctx, storetest.By, store.NewSimulation{Change: c.ID, By: "admin", Sample: 3, Period: billing.MonthPeriod(billing.MustDate("2025-12-01"))})
	require.NoError(t, err)
	require.Equal(t, 3, sim.Planned)
	taken, err := u.SimulatedAccounts(ctx, sim, u.Site, "", 10)
	require.NoError(t, err)
	var ids []billing.AccountID
	for _, a := range taken {
		ids = append(ids, a.ID)
	}
	require.Equal(t, []billing.AccountID{"A0003", "A0005", "A0007"}, ids, "spread evenly")
	_, err = u.OpenSimulation(ctx, storetest.By, store.NewSimulation{Change: c.ID, By: "admin", Period: billing.Period{From: sim.From, To: sim.To}})
	require.ErrorContains(t, err, "is running")
	page := []store.SimulatedAccount{{Account: "A0003", Site: u.Site, BeforeFen: 10_000, AfterFen: 10_700, Days: 31}, {Account: "A0005", Site: u.Site, BeforeFen: 0, AfterFen: 0, Days: 31}}
	for range 2 { // a repeated page counts once
		require.NoError(t, u.SaveSimulationPage(ctx, sim.ID, page))
	}
	sim, err = u.EndSimulation(ctx, storetest.By, sim.ID, "")
	require.NoError(t, err)
	require.Equal(t, []any{"done", 2, 1, billing.Money(10_000), billing.Money(10_700)}, []any{sim.State, sim.Done, sim.Skipped, sim.BeforeFen, sim.AfterFen})
	buckets, err := u.Distribution(ctx, sim.ID)
	require.NoError(t, err)
	var accounts int
	for _, b := range buckets {
		accounts += b.Accounts
		if b.From != nil && *b.From == 5 {
			require.Equal(t, 1, b.Accounts)
			require.Equal(t, billing.Money(700), b.Fen)
		}
	}
	require.Equal(t, 2, accounts)
	largest, err := u.LargestChanges(ctx, sim.ID, []billing.SiteID{u.Site}, 10, 0)
	require.NoError(t, err)
	require.Equal(t, page, largest)
}

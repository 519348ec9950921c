package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
)

// TestPages is the morning after a month's end, told by the pages: people sign in, a payment is taken and approved, the night's cycles
// run while the clock is let go, a dead meter's value is typed in, and the month is billed. Each part builds on the one before.
func TestPages(t *testing.T) {
	w := walk{base: startUtility(t), browser: startBrowser(t)}
	for _, part := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"signing in", w.signingIn},
		{"language", w.language},
		{"recharge", w.recharge},
		{"night", w.night},
		{"exception", w.exception},
		{"billing run", w.billingRun},
		{"every page", w.everyPage},
	} {
		t.Run(part.name, part.run)
	}
}

// walk is what the parts of the story share.
type walk struct {
	base    string
	browser context.Context
	// paid is the recharge that was credited.
	paid string
}

// person signs somebody in for one part of the story.
func (w *walk) person(t *testing.T, user string) *visitor {
	t.Helper()
	return signIn(t, w.browser, w.base, user)
}

func (w *walk) signingIn(t *testing.T) {
	stranger := visit(t, w.browser, w.base)
	stranger.open("/recharges")
	require.Equal(t, "/sign-in?back=%2Frecharges", stranger.where(), "a page without a person")
	require.Equal(t, http.StatusUnauthorized, stranger.trySignIn("clerk1", "guess"))
	stranger.see(`[data-testid=action-error]`, "password")
	require.Equal(t, "clerk1", stranger.typed(`[name=user]`), "the name is kept")
	require.Empty(t, stranger.typed(`[name=password]`), "the password isn't")

	for _, c := range []struct{ user, role, first, refused string }{
		{"supervisor1", "Billing supervisor", "/exceptions", "/recharges"},
		{"clerk1", "Clerk", "/recharges", "/clock?pause=1&pace=60"},
		{"manager1", "Manager", "/cutoffs", "/recharges"},
		{"admin1", "Administrator", "/sites", "/recharges"},
	} {
		v := w.person(t, c.user)
		v.see(`[data-testid=user]`, c.role)
		require.Equal(t, []string{"/", c.first}, v.links(`[data-testid=nav] .nav-link`)[:2], "what a %s comes for stands first", c.role)
		require.Equal(t, http.StatusForbidden, v.post(c.refused), "a %s posts to %s", c.role, c.refused)
		v.see("main", "ask a ")
		v.open("/")
		v.click(`[data-testid=user] summary`)
		require.Equal(t, http.StatusOK, v.press(`[data-testid=sign-out]`))
		v.open("/accounts")
		require.Contains(t, v.where(), "/sign-in", "signed out")
	}
}

func (w *walk) language(t *testing.T) {
	v := w.person(t, "manager1")
	v.open("/accounts?q=A100")
	v.see("h1", "Accounts")
	require.Equal(t, http.StatusOK, v.press(`[data-testid=lang]`))
	require.Equal(t, "/accounts?q=A100", v.where(), "the same page in the other language")
	v.see("h1", "户号")
	require.True(t, strings.HasPrefix(value(v, chromedp.Evaluate[string](`document.documentElement.lang`)), "zh"))
	v.open("/")
	v.see("h1", "今日")
	v.press(`[data-testid=lang]`)
	v.see("h1", "Today")
}

// shop is an account whose meter holds the credit.
const shop = "A2000003"

func (w *walk) recharge(t *testing.T) {
	maker := w.person(t, "clerk1")
	maker.press(`[data-testid=nav] a[href="/recharges"]`)
	maker.press(`a[href="/recharges/new"]`)
	maker.fill(`[name=account]`, shop)
	maker.press(`[data-testid=lookup] button`)
	w.enter(maker)
	w.paid = strings.TrimPrefix(maker.where(), "/recharges/")
	maker.see("h1", w.paid)

	maker.see(`[data-testid=why-approve]`, "two other clerks must approve it")
	require.Equal(t, 0, maker.count(`[data-testid=action-approve] form`))
	require.Equal(t, http.StatusForbidden, maker.post("/recharges/"+w.paid+"/approve"), "the maker approves")
	maker.see("main", "two other clerks must approve it")

	second := w.person(t, "clerk2")
	second.open("/recharges?waiting=mine")
	second.press(`[data-testid="row-` + w.paid + `"] a`)
	require.Equal(t, http.StatusOK, second.press(`[data-testid=action-approve] form button`))
	second.open("/recharges/" + w.paid)
	second.see(`[data-testid=why-approve]`, "another clerk must give the second approval")
	require.Equal(t, http.StatusConflict, second.post("/recharges/"+w.paid+"/approve"), "the same clerk approves twice")
	second.see("main", "Awaiting 2nd approval")

	third := w.person(t, "clerk3")
	third.withoutScripts(func() {
		require.Equal(t, http.StatusOK, third.open("/recharges/"+w.paid))
		require.Equal(t, http.StatusOK, third.press(`[data-testid=action-approve] form button`))
	})
	w.credited(third)
	w.traced(third)
}

// enter types a payment: two amounts that are refused, with what was typed kept, then a good one.
func (w *walk) enter(v *visitor) {
	v.t.Helper()
	const form = `[data-testid=action-enter] `
	v.click(form + `[name=channel][value=transfer]`)
	v.fill(form+`[name=evidence]`, "SLIP 4711")
	for amount, says := range map[string]string{"0": "more than zero", "12.345": "two decimals"} {
		v.fill(form+`[name=amount]`, amount)
		require.Equal(v.t, http.StatusUnprocessableEntity, v.press(form+`form button`), amount)
		v.see(`[data-testid=error-amount]`, says)
		require.Equal(v.t, amount, v.typed(form+`[name=amount]`))
		require.Equal(v.t, "SLIP 4711", v.typed(form+`[name=evidence]`))
		require.Equal(v.t, "transfer", v.typed(form+`[name=channel]:checked`))
		require.Equal(v.t, shop, v.typed(form+`[name=account]`))
	}
	v.fill(form+`[name=amount]`, "200")
	require.Equal(v.t, http.StatusOK, v.press(form+`form button`))
}

// credited waits for the credit, and looks at what it moved: the ledger's balance and the meter's own.
func (w *walk) credited(v *visitor) {
	v.t.Helper()
	v.await("/recharges/"+w.paid, "credited", func() bool { return v.count(`[data-testid=fact-receipt]`) == 1 })
	require.Equal(v.t, 200*billing.Yuan, v.money("after")-v.money("before"))
	v.see(`[data-testid=fact-count]`, "0 → 1")
	require.Equal(v.t, 200*billing.Yuan, v.money("meter-after")-v.money("meter-before"))
	v.see(`[data-testid=fact-approved2]`, "陈雨欣")
	after := v.text(`[data-testid=fact-after] dd`)
	number := v.text(`[data-testid=fact-receipt] dd`)
	require.Equal(v.t, http.StatusOK, v.press(`a[href="/recharges/`+w.paid+`/receipt"]`))
	for _, text := range []string{number, shop, "200.00", after, "李晓敏", "王海涛"} {
		v.see("main", text)
	}
}

// traced follows the recharge's number to its story.
func (w *walk) traced(v *visitor) {
	v.t.Helper()
	v.fill(`[data-testid=trace-box]`, w.paid)
	v.arrive(chromedp.SendKeys(chromedp.CSS(`[data-testid=trace-box]`), "\r"))
	require.Equal(v.t, "/trace?q="+w.paid, v.where())
	require.GreaterOrEqual(v.t, v.count(`[data-testid=timeline] [data-testid=event]`), 5, v.main())
	for _, who := range []string{"李晓敏", "王海涛", "陈雨欣"} {
		v.see(`[data-testid=timeline]`, who)
	}
	require.Equal(v.t, http.StatusOK, v.press(`[data-testid=verify]`))
	v.see(`[data-testid=verdict]`, "intact")
}

// night lets the clock go until the morning's billing runs are there.
func (w *walk) night(t *testing.T) {
	v := w.person(t, "supervisor1")
	v.click(`[data-testid=clock] summary`)
	v.do(chromedp.SetValue(chromedp.CSS(`[name=pace]`), "3600"))
	require.Equal(t, http.StatusOK, v.press(`[data-testid=clock-run]`))
	v.await("/runs", "begun", func() bool { return v.count(`[data-testid=table-runs] tbody tr[data-row]`) == 2 })
	v.click(`[data-testid=clock] summary`)
	require.Equal(t, http.StatusOK, v.press(`[data-testid=clock-pause]`))
	v.see(`[data-testid=clock]`, "paused")
}

// decimal is a register's value as a page shows it.
var decimal = regexp.MustCompile(`[0-9][0-9,]*\.[0-9]{2}`)

// exception decides on a meter that has died: nobody can read it but with the eyes.
func (w *walk) exception(t *testing.T) {
	v := w.person(t, "supervisor1")
	v.press(`[data-testid=nav] a[href="/exceptions"]`)
	v.press(`[data-testid=table-cases] tbody a`)
	at := v.where()
	v.see("h1", "Missing reading")
	const form = `[data-testid=action-manual] `
	v.click(`[data-testid=extra-manual] summary`)
	fields := value(v, chromedp.Evaluate[[]string](`[...document.querySelectorAll('[data-testid=action-manual] [name^=value-]')].map(e => e.name)`))
	require.NotEmpty(t, fields)
	for _, name := range fields {
		v.fill(form+`[name="`+name+`"]`, "0.01")
	}
	v.fill(form+`[name=reason]`, "read off the display")
	require.GreaterOrEqual(t, v.press(form+`form button`), 400, "a register that went back")
	v.see(form+`[role=alert]`, "is below the last reading")
	require.Equal(t, "0.01", v.typed(form+`[name="`+fields[0]+`"]`), "what was typed is kept: %s", v.main())

	for i, name := range fields {
		shown := decimal.FindString(v.text(`[data-testid="field-` + name + `"] .field-hint`))
		require.NotEmpty(t, shown, "the last good value stands beside the field %s", name)
		last, err := billing.ParseMoney(strings.ReplaceAll(shown, ",", "")) // hundredths of a kWh
		require.NoError(t, err)
		if i == 0 || strings.Contains(name, "flat") {
			last += 150_00
		}
		v.fill(form+`[name="`+name+`"]`, last.String())
	}
	require.Equal(t, http.StatusOK, v.press(form+`form button`), v.main())
	v.see(form, "Change of charges")
	require.Equal(t, http.StatusOK, v.press(form+`form button`), v.main())

	v.open(at)
	v.see("main", "Resolved")
	v.see(`#decided`, "孙丽华")
	v.see(`#decided`, "read off the display")
	v.see(`[data-testid=timeline]`, "孙丽华")
	require.Equal(t, 0, v.count(`[data-testid=action-decide]`), "a closed case offers no decision")
	require.Equal(t, http.StatusConflict, v.post(strings.SplitN(at, "?", 2)[0]+"/decide"), "a decision on a closed case")
}

const month = "/runs/garden/2026-09/1"

func (w *walk) billingRun(t *testing.T) {
	v := w.person(t, "supervisor1")
	v.await(month, "rated", func() bool { return v.count(`[data-testid=action-verify] form`) == 1 })
	require.Equal(t, http.StatusConflict, v.post(month+"/issue"), "issued before it was verified")
	v.open(month)
	require.Equal(t, http.StatusOK, v.press(`[data-testid=action-verify] form button`))
	v.see(`[data-testid=fact-verified]`, "孙丽华")
	require.Equal(t, 0, v.count(`[data-testid=action-issue] form`))
	v.see(`[data-testid=why-issue]`, "孙丽华")
	require.Equal(t, http.StatusForbidden, v.post(month+"/issue"), "issued by who verified")

	other := w.person(t, "supervisor2")
	other.open(month)
	require.Equal(t, http.StatusOK, other.press(`[data-testid=action-issue] form button`))
	other.await(month, "issued", func() bool {
		return strings.Contains(other.text(`[data-testid=fact-issued]`), "周建国") && other.count(`[data-testid=action-issue]`) == 0
	})
	other.press(`[data-testid=table-bills] tbody a`)
	require.True(t, strings.HasPrefix(other.where(), "/bills/"), other.where())
	require.NotZero(t, other.count(`[data-testid=table-lines] tbody tr[data-row]`), other.main())
	require.NotZero(t, other.count(`[data-testid=table-readings] tbody tr[data-row]`), other.main())
}

// post sends a form that the page doesn't offer; its fields stand in the path as in an address.
func (v *visitor) post(path string) int {
	v.t.Helper()
	send := fmt.Sprintf(`(() => {
		const to = new URL(%q, location), f = document.createElement("form");
		f.method = "post";
		f.action = to.pathname;
		to.searchParams.forEach((value, name) => { const i = document.createElement("input"); i.name = name; i.value = value; f.append(i); });
		document.body.append(f);
		f.submit();
	})()`, path)
	return v.arrive(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := chromedp.Evaluate[any](send)(ctx, t)
		return err
	}))
}

// money is the amount of a fact.
func (v *visitor) money(fact string) billing.Money {
	v.t.Helper()
	text := v.text(`[data-testid=fact-` + fact + `] dd`)
	m, err := billing.ParseMoney(strings.NewReplacer(",", "", "−", "-").Replace(decimal.FindString(text)))
	require.NoError(v.t, err, "fact %s: %q", fact, text)
	return m
}

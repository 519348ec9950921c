package e2e_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// everyPage opens each place of each role's navigation on a phone in Chinese, and for the supervisor the first thing that each list leads
// to as well, also on a desk's screen in English: nothing sticks out sideways, nothing is missing, and no console complains.
func (w *walk) everyPage(t *testing.T) {
	for _, user := range []string{"supervisor1", "clerk1", "manager1", "admin1"} {
		t.Run(user, func(t *testing.T) {
			v := w.person(t, user)
			paths := v.links(`[data-testid=nav] .nav-link`)
			if user == "supervisor1" {
				paths = append(paths, w.details(v, paths)...)
				for _, path := range paths {
					v.fits(path)
				}
			}
			v.screen(phone, phoneHigh)
			v.open("/")
			v.press(`[data-testid=lang]`)
			for _, path := range paths {
				v.fits(path)
			}
		})
	}
}

// details are the pages that the lists lead to: the first of each, and those that hang on it.
func (w *walk) details(v *visitor, lists []string) []string {
	v.t.Helper()
	paths := []string{
		"/exceptions?state=all", month + "/payment-list", "/recharges/" + w.paid, "/recharges/" + w.paid + "/receipt", "/recharges/" + w.paid + "/receipt?paper=a4",
		"/recharges/new?account=" + shop, "/recharges/new?account=A1", "/trace?q=" + w.paid, "/trace?q=nothing", "/accounts/" + shop,
	}
	for _, list := range append(slices.Clone(lists), "/exceptions?state=all", month) {
		v.open(list)
		if rows := v.links(`main [data-row] a.row-link`); len(rows) > 0 && !slices.Contains(paths, rows[0]) {
			paths = append(paths, rows[0])
		}
	}
	return paths
}

// fits asks that a page is there and that none of it sticks out sideways.
func (v *visitor) fits(path string) {
	v.t.Helper()
	if status := v.open(path); status != http.StatusOK {
		v.t.Errorf("%s answers %d", path, status)
		return
	}
	out := value(v, chromedp.Evaluate[[]string](sticksOut))
	if len(out) > 0 {
		v.t.Errorf("%s sticks out sideways: %v", path, out)
	}
	require.NotEmpty(v.t, v.text("h1"), "%s has no headline", path)
}

// sticksOut names the outermost elements that make a page wider than its window.
const sticksOut = `(() => {
	if (document.documentElement.scrollWidth <= innerWidth) return [];
	const out = [...document.body.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > innerWidth + 1);
	return [document.documentElement.scrollWidth + " px", ...out.slice(0, 5).map(e => e.tagName + "." + e.className + " " + (e.dataset.testid ?? ""))];
})()`

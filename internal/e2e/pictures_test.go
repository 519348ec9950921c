package e2e_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/app"
)

// The variables that ask for the README's pictures: where to put them, and the data folder of a finished demo of a month to take them
// of, such as `meterflow demo --exit --data DIR` leaves.
const (
	picturesVariable = "METERFLOW_PICTURES"
	dataVariable     = "METERFLOW_PICTURES_DATA"
	// albumVariable asks for a picture of every page instead, whole, wide in English and on a phone in Chinese, to be looked at.
	albumVariable = "METERFLOW_PICTURES_ALBUM"
)

// TestPictures takes the README's pictures when it is asked to, and checks on the way that what they show is there.
func TestPictures(t *testing.T) {
	folder := os.Getenv(picturesVariable)
	if folder == "" {
		return
	}
	p := newPictures(t, folder)
	sup := signIn(t, p.browser, p.base, "supervisor1")
	p.take(sup, "today-en", "/")
	p.take(sup, "exception-en", p.first(sup, "/exceptions?state=all&kind=too_high", "cases"))
	p.take(sup, "run-en", "/runs/garden/2026-09/1")
	p.take(sup, "cutoffs-en", "/cutoffs")
	p.take(sup, "correction-en", p.first(sup, "/corrections?state=applied", "corrections"))
	p.take(sup, "tariff-change-en", "/tariff-changes/T1#simulation")
	p.take(sup, "area-en", "/areas/site/garden")
	recharge := p.first(sup, "/recharges?state=credited", "")
	p.take(sup, "trace-en", "/trace?q="+filepath.Base(recharge))
	clerk := signIn(t, p.browser, p.base, "clerk1")
	p.take(clerk, "recharge-en", recharge)
	clerk.press(`[data-testid=lang]`)
	p.take(clerk, "account-zh", p.first(clerk, "/accounts?arrears=open", ""))
	sup.screen(phone, phoneHigh)
	sup.open("/")
	sup.press(`[data-testid=lang]`)
	p.take(sup, "today-zh-phone", "/")
}

// TestAlbum takes the whole of every page when it is asked to.
func TestAlbum(t *testing.T) {
	folder := os.Getenv(albumVariable)
	if folder == "" {
		return
	}
	p := newPictures(t, folder)
	for _, user := range []string{"supervisor1", "admin1"} {
		v := signIn(t, p.browser, p.base, user)
		paths := onePerKind(v, v.links(`[data-testid=nav] .nav-link`))
		all := func(as string) {
			for _, path := range paths {
				p.whole(v, user+as+path, path)
			}
		}
		all("-wide-en")
		v.screen(phone, phoneHigh)
		all("-phone-en")
		v.open("/")
		v.press(`[data-testid=lang]`)
		all("-phone-zh")
		v.screen(wide, wideHigh)
		all("-wide-zh")
		v.forgive() // a live page that is left while it fetches itself says so
	}
}

// notPages are addresses that give a file or paper; anID is a part of an address that names one thing.
var (
	notPages = regexp.MustCompile(`\.(pdf|csv|xlsx)$|/(file|print|receipt)$`)
	anID     = regexp.MustCompile(`/[^/]*[0-9%][^/]*`)
)

// onePerKind follows all links from some pages and gives one address of each kind of page: those whose addresses differ in more than an id, and
// of forms those for each kind of thing.
func onePerKind(v *visitor, paths []string) []string {
	seen := map[string]bool{}
	var kinds []string
	for len(paths) > 0 {
		at, err := url.Parse(paths[0])
		require.NoError(v.t, err)
		paths = paths[1:]
		kind := anID.ReplaceAllString(at.EscapedPath(), "/#")
		if strings.HasSuffix(kind, "/new") {
			kind += at.Query().Get("kind")
		}
		if seen[kind] || notPages.MatchString(at.Path) {
			continue
		}
		seen[kind] = true
		v.open(at.RequestURI())
		kinds = append(kinds, at.RequestURI())
		paths = append(paths, value(v, chromedp.Evaluate[[]string](`[...document.querySelectorAll("main a[href]")].filter(a => a.origin === location.origin).map(a => a.pathname + a.search)`))...)
	}
	return kinds
}

// whole keeps all of a page, however long it is.
func (p pictures) whole(v *visitor, name, path string) {
	v.t.Helper()
	v.fits(path)
	v.do(chromedp.Sleep(200 * time.Millisecond))
	file := filepath.Join(p.folder, strings.NewReplacer("/", "_", "?", "_", "&", "_", "%", "").Replace(name)+".png")
	require.NoError(v.t, os.WriteFile(file, value(v, chromedp.FullScreenshot(100)), 0o600))
}

// newPictures starts the demo whose data folder the environment names, with a clock that stands.
func newPictures(t *testing.T, folder string) pictures {
	t.Helper()
	data := os.Getenv(dataVariable)
	require.NotEmpty(t, data, "say in %s which demo's data folder to take the pictures of", dataVariable)
	require.NoError(t, os.MkdirAll(folder, 0o755))
	d := app.Demo{Temporal: app.Temporal{TemporalNamespace: "default"}, Listen: freeAddress(t), Data: data, Seed: seed, Days: 35}
	p := pictures{folder: folder, base: serve(context.Background(), t, d), browser: startBrowser(t)}
	p.pause(t)
	return p
}

type pictures struct {
	folder, base string
	browser      context.Context
}

// pause stops the clock, so that all pictures show one instant.
func (p pictures) pause(t *testing.T) {
	t.Helper()
	v := signIn(t, p.browser, p.base, "manager1")
	v.click(`[data-testid=clock] summary`)
	if v.count(`[data-testid=clock-pause]`) > 0 {
		v.press(`[data-testid=clock-pause]`)
	}
}

// first is the address of the first thing in a list.
func (p pictures) first(v *visitor, list, table string) string {
	v.t.Helper()
	v.open(list)
	rows := v.links(`main [data-row] a.row-link`)
	require.NotEmpty(v.t, rows, "%s %s: %s", list, table, v.main())
	return rows[0]
}

// take keeps what the window shows of a page.
func (p pictures) take(v *visitor, name, path string) {
	v.t.Helper()
	v.fits(path)
	v.do(chromedp.Sleep(300 * time.Millisecond)) // fonts and fades
	file := filepath.Join(p.folder, name+".png")
	require.NoError(v.t, os.WriteFile(file, value(v, chromedp.CaptureScreenshot()), 0o600))
}

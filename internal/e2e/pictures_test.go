package e2e_test

import (
	"context"
	"os"
	"path/filepath"
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
)

// TestPictures takes the README's pictures when it is asked to, and checks on the way that what they show is there.
func TestPictures(t *testing.T) {
	folder, data := os.Getenv(picturesVariable), os.Getenv(dataVariable)
	if folder == "" {
		return
	}
	require.NotEmpty(t, data, "say in %s which demo's data folder to take the pictures of", dataVariable)
	require.NoError(t, os.MkdirAll(folder, 0o755))
	d := app.Demo{Temporal: app.Temporal{TemporalNamespace: "default"}, Listen: freeAddress(t), Data: data, Seed: seed, Days: 35}
	p := pictures{folder: folder, base: serve(context.Background(), t, d), browser: startBrowser(t)}
	p.pause(t)

	sup := signIn(t, p.browser, p.base, "supervisor1")
	p.take(sup, "today-en", "/")
	p.take(sup, "exception-en", p.first(sup, "/exceptions?state=all&kind=too_high", "cases"))
	p.take(sup, "run-en", "/runs/garden/2026-09/1")
	p.take(sup, "cutoffs-en", "/cutoffs")
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

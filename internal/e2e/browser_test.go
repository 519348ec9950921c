package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/demo"
)

// The sizes of a desk's screen and of a phone's.
const (
	wide, wideHigh   = 1280, 900
	phone, phoneHigh = 390, 844
)

// startBrowser starts Debian's Chromium with a profile of its own, which is removed with it.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	require.NoError(t, err, "this test needs a browser: install Debian's package chromium (apt-get install chromium)")
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("accept-lang", "en"),
		chromedp.WSURLReadTimeout(time.Minute))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits until the browser has left its profile
		cancel()
	})
	require.NoError(t, chromedp.Do(ctx), "the browser doesn't start")
	return ctx
}

// visitor is somebody at a browser window of their own: nobody else's cookies.
type visitor struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu sync.Mutex
	// said are the errors of the console, of any page: scripts, the content security policy, missing files.
	said []string
}

// visit opens a window. What its console says by the end of the test fails the test.
func visit(t *testing.T, browser context.Context, base string) *visitor {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	v := &visitor{t: t, ctx: ctx, base: base}
	console := chromedp.Console(ctx)
	dialogs := chromedp.Events(ctx, page.JavascriptDialogOpening)
	var listening sync.WaitGroup
	listening.Go(func() {
		for m, err := range console {
			if err != nil {
				return
			}
			v.note(m)
		}
	})
	listening.Go(func() { // every "really?" is answered with yes
		for _, err := range dialogs {
			if err != nil {
				return
			}
			_, _ = chromedp.Call(ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
		}
	})
	t.Cleanup(func() {
		cancel()
		listening.Wait()
		require.Empty(t, v.complaints(), "the console of the browser")
	})
	v.screen(wide, wideHigh)
	return v
}

// note keeps what a page's console complains about. That a page was refused, with a status of 400 to 499, is the server's answer to
// what the test tried, and is checked there.
func (v *visitor) note(m chromedp.ConsoleMessage) {
	refusal := m.Source == "network" && strings.Contains(m.Text, "responded with a status of 4") && !strings.Contains(m.URL, "/static/")
	if m.Type != chromedp.ConsoleError && m.Type != chromedp.ConsoleWarning && !m.IsException() || refusal {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.said = append(v.said, fmt.Sprintf("%s (%s)", m, m.URL))
}

// complaints are what the consoles said so far.
func (v *visitor) complaints() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.said)
}

// forgive forgets the complaints that a test expected.
func (v *visitor) forgive() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.said = nil
}

// do runs steps of the browser; none may take longer than what a person would put up with.
func (v *visitor) do(steps ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, 40*time.Second)
	defer cancel()
	require.NoError(v.t, chromedp.Do(ctx, steps...), "at %s: %s", v.where(), v.main())
}

func value[T any](v *visitor, a chromedp.Action[T]) T {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, 40*time.Second)
	defer cancel()
	got, err := chromedp.Run(ctx, a)
	require.NoError(v.t, err)
	return got
}

func (v *visitor) screen(width, height int64) {
	v.t.Helper()
	v.do(chromedp.EmulateViewport(width, height))
}

// withoutScripts runs f in a window in which no page's script runs.
func (v *visitor) withoutScripts(f func()) {
	v.t.Helper()
	set := func(off bool) {
		_, err := chromedp.Call(v.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: off})
		require.NoError(v.t, err)
	}
	set(true)
	f()
	set(false)
}

// open goes to a path and gives the status of its page.
func (v *visitor) open(path string) int {
	v.t.Helper()
	return v.arrive(chromedp.Navigate(v.base + path))
}

// arrive runs steps that lead to another page, and gives the status of that page.
func (v *visitor) arrive(steps ...chromedp.Action[chromedp.Void]) int {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, 40*time.Second)
	defer cancel()
	answer, err := chromedp.RunResponse(ctx, steps...)
	require.NoError(v.t, err, "at %s: %s", v.where(), v.main())
	require.NotNil(v.t, answer)
	return int(answer.Status)
}

// press clicks what leads to another page.
func (v *visitor) press(css string) int {
	v.t.Helper()
	return v.arrive(chromedp.Click(chromedp.CSS(css), chromedp.NodeVisible))
}

// fill types into a field, over what stands there.
func (v *visitor) fill(css, text string) {
	v.t.Helper()
	value(v, chromedp.Evaluate[any](fmt.Sprintf(`document.querySelector(%q)?.select()`, css)))
	v.do(chromedp.SendKeys(chromedp.CSS(css), text))
}

func (v *visitor) click(css string) {
	v.t.Helper()
	v.do(chromedp.Click(chromedp.CSS(css), chromedp.NodeVisible))
}

func (v *visitor) where() string {
	at, _ := chromedp.Run(v.ctx, chromedp.Location())
	return strings.TrimPrefix(at, v.base)
}

// text is what can be read in the first element that fits; empty when there is none.
func (v *visitor) text(css string) string {
	v.t.Helper()
	return value(v, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector(%q)?.innerText ?? ""`, css)))
}

// typed is what stands in a field.
func (v *visitor) typed(css string) string {
	v.t.Helper()
	return value(v, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector(%q)?.value ?? ""`, css)))
}

func (v *visitor) count(css string) int {
	v.t.Helper()
	return value(v, chromedp.Evaluate[int](fmt.Sprintf(`document.querySelectorAll(%q).length`, css)))
}

// links are the addresses, within the pages, of all elements that fit.
func (v *visitor) links(css string) []string {
	v.t.Helper()
	return value(v, chromedp.Evaluate[[]string](fmt.Sprintf(`[...document.querySelectorAll(%q)].map(a => a.getAttribute("href"))`, css)))
}

// main is what a person reads on the page, for messages of failed tests.
func (v *visitor) main() string {
	text, _ := chromedp.Run(v.ctx, chromedp.Evaluate[string](`document.querySelector("main")?.innerText ?? document.body?.innerText ?? ""`))
	return text
}

// see asks that the page says something.
func (v *visitor) see(css, text string) {
	v.t.Helper()
	require.Contains(v.t, v.text(css), text, "at %s: %s", v.where(), v.main())
}

// await opens a page again and again until it is as it should be.
func (v *visitor) await(path, what string, as func() bool) {
	v.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(lookPage) {
		require.Equal(v.t, http.StatusOK, v.open(path), path)
		if as() {
			return
		}
		require.True(v.t, time.Now().Before(end), "%s: not %s after %s: %s", path, what, patience, v.main())
	}
}

// signIn signs a person of the demo in.
func signIn(t *testing.T, browser context.Context, base, user string) *visitor {
	t.Helper()
	v := visit(t, browser, base)
	require.Equal(t, http.StatusOK, v.open("/sign-in"))
	require.Equal(t, http.StatusOK, v.trySignIn(user, demo.Password))
	require.Equal(t, "/", v.where(), v.main())
	return v
}

// trySignIn fills the form of the sign-in page.
func (v *visitor) trySignIn(user, password string) int {
	v.t.Helper()
	v.fill(`[name=user]`, user)
	v.fill(`[name=password]`, password)
	return v.press(`[data-testid=action-sign-in] button`)
}

package e2e_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// TestVisitor_seesWhatIsWrong holds the checks of every page against a page on which all of it is wrong.
func TestVisitor_seesWhatIsWrong(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'")
		_, _ = io.WriteString(w, "<!DOCTYPE html><h1>Wrong</h1><pre>"+strings.Repeat("wide ", 100)+"</pre><script>document.title = 'blocked'</script>")
	}))
	t.Cleanup(page.Close)
	v := visit(t, startBrowser(t), page.URL)
	v.screen(phone, phoneHigh)
	require.Equal(t, http.StatusOK, v.open("/"))
	require.NotEmpty(t, value(v, chromedp.Evaluate[[]string](sticksOut)), "a line that doesn't wrap")
	require.Eventually(t, func() bool { return len(v.complaints()) > 0 }, patience, lookPage, "a script that the policy forbids")
	require.Contains(t, v.complaints()[0], "Content Security Policy")
	v.forgive()
}

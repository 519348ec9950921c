package locale

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMiddleware_order(t *testing.T) {
	for name, c := range map[string]struct {
		cookie, accept string
		want           Language
	}{
		"nothing asked":           {"", "", ZH},
		"browser asks English":    {"", "en-GB,en;q=0.9", EN},
		"browser asks French":     {"", "fr", ZH},
		"Taiwanese reads Chinese": {"", "zh-TW,en;q=0.8", ZH},
		"cookie wins":             {"zh", "en", ZH},
		"cookie English":          {"en", "zh-CN", EN},
		"broken cookie":           {"xx", "en", EN},
		"broken header":           {"", ";;;", ZH},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			if c.cookie != "" {
				r.AddCookie(&http.Cookie{Name: cookieName, Value: c.cookie})
			}
			r.Header.Set("Accept-Language", c.accept)
			var got Language
			Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = Lang(r.Context()) })).
				ServeHTTP(httptest.NewRecorder(), r)
			require.Equal(t, c.want, got)
		})
	}
}

func TestSwitch_staysOnThisSite(t *testing.T) {
	for back, want := range map[string]string{
		"/accounts/7?x=1": "/accounts/7?x=1", "": "/", "https://evil.example": "/", "//evil.example": "/", `/\evil.example`: "/",
	} {
		r := httptest.NewRequest(http.MethodGet, "/lang", nil)
		q := r.URL.Query()
		q.Set("to", "en")
		q.Set("back", back)
		r.URL.RawQuery = q.Encode()
		w := httptest.NewRecorder()
		Switch(w, r)
		require.Equal(t, want, w.Header().Get("Location"))
		require.Equal(t, "en", w.Result().Cookies()[0].Value)
	}
}

package static

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func get(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestHandler(t *testing.T) {
	w := get(URL("app.css"))
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Header().Get("Cache-Control"), "immutable")
	require.Contains(t, w.Header().Get("Content-Type"), "text/css")

	old := get("/static/000000000000/app.js")
	require.Equal(t, http.StatusOK, old.Code)
	require.Equal(t, "no-cache", old.Header().Get("Cache-Control"))

	for _, path := range []string{URL("nothing.css"), "/static/", "/static/x/static.go", "/static/x/../static.go"} {
		require.Equal(t, http.StatusNotFound, get(path).Code, path)
	}
}

// The pages have no other source of colour than the tokens, so that light and dark never drift apart.
func TestStylesheet_coloursAreTokens(t *testing.T) {
	css := string(assets()["app.css"].content)
	_, rules, found := strings.Cut(css, "/* rules */")
	require.True(t, found, "app.css marks where its tokens end with /* rules */")
	rules, _, _ = strings.Cut(rules, "/* print */")
	require.Empty(t, regexp.MustCompile(`#[0-9a-fA-F]{3,8}\b|rgba?\(`).FindAllString(rules, -1))
}

func TestScript_staysSmall(t *testing.T) {
	require.Less(t, strings.Count(string(assets()["app.js"].content), "\n"), 150)
}

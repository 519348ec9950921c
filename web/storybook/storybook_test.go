package storybook

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"

	"github.com/PuerkitoBio/goquery"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/web/locale"
)

func TestStorybook_everyPageInBothLanguages(t *testing.T) {
	for name := range pages() {
		for _, lang := range []locale.Language{locale.ZH, locale.EN} {
			t.Run(name+"/"+string(lang), func(t *testing.T) {
				r := httptest.NewRequest(http.MethodGet, "/storybook?page="+name, nil)
				r.Header.Set("Accept-Language", string(lang))
				w := httptest.NewRecorder()
				locale.Middleware(Handler()).ServeHTTP(w, r)
				require.Equal(t, http.StatusOK, w.Code)
				doc, err := goquery.NewDocumentFromReader(w.Body)
				require.NoError(t, err)
				uniqueIDs(t, doc)
				if lang == locale.EN {
					doc.Find(`[data-testid="lang"], script`).Remove()
					at := strings.IndexFunc(doc.Find("body").Text(), func(r rune) bool { return unicode.Is(unicode.Han, r) })
					require.Negative(t, at, "Chinese on an English page")
				}
			})
		}
	}
}

func uniqueIDs(t *testing.T, doc *goquery.Document) {
	seen := map[string]bool{}
	doc.Find("[id]").Each(func(_ int, s *goquery.Selection) {
		id := s.AttrOr("id", "")
		require.False(t, seen[id], "id %q stands twice on the page", id)
		seen[id] = true
	})
	doc.Find("label[for]").Each(func(_ int, s *goquery.Selection) {
		require.True(t, seen[s.AttrOr("for", "")], "label for nothing: %s", s.Text())
	})
}

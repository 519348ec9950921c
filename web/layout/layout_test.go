package layout

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
)

func draw(t *testing.T, ctx context.Context, p Page) *goquery.Document {
	t.Helper()
	var b strings.Builder
	require.NoError(t, Layout(p).Render(ctx, &b))
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(b.String()))
	require.NoError(t, err)
	return doc
}

func page() Page {
	nav := make([]NavItem, 0, 7)
	for _, name := range []string{"today", "cycles", "exceptions", "runs", "recharges", "accounts", "meters"} {
		nav = append(nav, NavItem{Label: name, Href: "/" + name, Icon: name, Active: name == "meters"})
	}
	nav[2].Count, nav[2].Tone = 7, components.Watch
	return Page{
		Title: "Meters", Path: "/meters?site=river", User: &User{Name: "Zhou Min", Role: "Clerk"}, Nav: nav, Query: "3300018",
		Sites: []Site{{Name: "River", Href: "/site/river", Current: true}, {Name: "Plaza", Href: "/site/plaza"}},
		Clock: &Clock{Now: time.Date(2026, 10, 31, 4, 0, 0, 0, time.UTC), Note: "×600"},
		Flash: []components.NoticeView{{Tone: components.Danger, Title: "Not done."}},
	}
}

func TestLayout_frame(t *testing.T) {
	doc := draw(t, locale.WithLang(context.Background(), locale.EN), page())
	require.Equal(t, "en", doc.Find("html").AttrOr("lang", ""))
	require.Equal(t, "#main", doc.Find("a.skip").AttrOr("href", ""))
	require.Equal(t, 1, doc.Find("main#main").Length())
	trace := doc.Find("form.trace")
	require.Equal(t, "/trace", trace.AttrOr("action", ""))
	require.Equal(t, "3300018", trace.Find(`input[name="q"]`).AttrOr("value", ""))
	require.Equal(t, "meters", strings.TrimSpace(doc.Find(`.side-nav [aria-current="page"] .nav-label`).Text()))
	require.Equal(t, "7", doc.Find(".side-nav .nav-count").Text())
	require.Equal(t, 4, doc.Find(".bottom-bar > a").Length())
	require.Equal(t, 3, doc.Find(".bottom-bar details li").Length())
	require.Equal(t, "true", doc.Find(".bottom-bar summary").AttrOr("aria-current", ""), "the bar marks that the page is behind more")
	require.Equal(t, "post", doc.Find(`form[action="/sign-out"]`).AttrOr("method", ""))
	require.Equal(t, "alert", doc.Find("#flash .notice").AttrOr("role", ""))
	require.Contains(t, strings.Join(strings.Fields(doc.Find("#clock-now").Text()), " "), "2026-10-31 Sat 12:00 ×600")

	lang, err := url.Parse(doc.Find(`[data-testid="lang"]`).AttrOr("href", ""))
	require.NoError(t, err)
	require.Equal(t, "zh", lang.Query().Get("to"))
	require.Equal(t, "/meters?site=river", lang.Query().Get("back"))
}

func TestLayout_signedOut(t *testing.T) {
	doc := draw(t, context.Background(), Page{Title: "登录", Path: "/sign-in"})
	require.Equal(t, "zh-CN", doc.Find("html").AttrOr("lang", ""))
	require.Zero(t, doc.Find("nav, form").Length())
}

// The pages' security policy allows neither inline scripts nor inline styles.
func TestLayout_nothingInline(t *testing.T) {
	doc := draw(t, context.Background(), page())
	require.Zero(t, doc.Find("script:not([src]), style, [style]").Length())
	doc.Find("*").Each(func(_ int, s *goquery.Selection) {
		for _, a := range s.Get(0).Attr {
			require.False(t, strings.HasPrefix(a.Key, "on"), "%s on %s", a.Key, s.Get(0).Data)
		}
	})
}

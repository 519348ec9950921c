package web_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/webtest"
	"github.com/meterflow/meterflow/web/page"
)

func TestSignIn(t *testing.T) {
	s := webtest.New(t)
	b := s.Open(t)

	t.Run("sends strangers to the form and back to where they wanted to go", func(t *testing.T) {
		a := b.Get("/trace?q=A1")
		require.Equal(t, http.StatusSeeOther, a.Status)
		require.Equal(t, "/sign-in?back=%2Ftrace%3Fq%3DA1", a.Header.Get("Location"))
		form := b.Get(a.Header.Get("Location"))
		back, _ := form.Doc().Find(`input[name="back"]`).Attr("value")
		require.Equal(t, "/trace?q=A1", back)
	})
	t.Run("keeps the name and never the password when it refuses", func(t *testing.T) {
		a := b.Post(page.SignInPath, "user", "sup1", "password", "wrong one")
		require.Equal(t, http.StatusUnauthorized, a.Status)
		require.Contains(t, a.Find("action-error").Text(), "password is wrong")
		user, _ := a.Doc().Find(`input[name="user"]`).Attr("value")
		require.Equal(t, "sup1", user)
		require.NotContains(t, a.Body, "wrong one")
	})
	t.Run("gives the same page for an unknown name", func(t *testing.T) {
		wrong := b.Post(page.SignInPath, "user", "sup1", "password", "x")
		unknown := b.Post(page.SignInPath, "user", "sup9", "password", "x")
		require.Equal(t, wrong.Status, unknown.Status)
		require.Equal(t, wrong.Find("action-error").Text(), unknown.Find("action-error").Text())
	})
	t.Run("says in Chinese what it refuses", func(t *testing.T) {
		zh := s.Open(t)
		zh.Header.Set("Accept-Language", "zh-CN")
		a := zh.Post(page.SignInPath, "user", "sup1", "password", "x")
		require.Contains(t, a.Find("action-error").Text(), "密码不正确")
	})
	t.Run("leads nowhere outside", func(t *testing.T) {
		for _, back := range []string{"https://evil.example/", "//evil.example", `/\evil.example`, ""} {
			a := s.Open(t).Post(page.SignInPath, "user", "sup1", "password", webtest.Password, "back", back)
			require.Equal(t, "/", a.Header.Get("Location"), back)
		}
	})
	t.Run("keeps no token that works in the database", func(t *testing.T) {
		require.Equal(t, http.StatusOK, s.SignIn(t, webtest.Clerk).Get("/").Status)
		var stored []string
		require.NoError(t, s.Store.Pool.QueryRow(context.Background(), `SELECT array_agg(token) FROM sessions`).Scan(&stored))
		require.NotEmpty(t, stored)
		for _, token := range stored {
			thief := s.Open(t)
			thief.Header.Set("Cookie", "meterflow="+token)
			require.Equal(t, http.StatusSeeOther, thief.Get("/").Status)
		}
	})
	t.Run("ends with signing out, and with being switched off", func(t *testing.T) {
		in := s.SignIn(t, webtest.Clerk2)
		require.Equal(t, http.StatusSeeOther, in.Post("/sign-out").Status)
		require.Equal(t, http.StatusSeeOther, in.Get("/").Status)
		in = s.SignIn(t, webtest.Clerk2)
		_, err := s.Store.Pool.Exec(context.Background(), `UPDATE users SET active = false WHERE id = 'clerk2'`)
		require.NoError(t, err)
		require.Equal(t, http.StatusSeeOther, in.Get("/").Status)
		require.Equal(t, http.StatusUnauthorized, s.Open(t).Post(page.SignInPath, "user", "clerk2", "password", webtest.Password).Status)
	})
}

func TestServer_forEveryRequest(t *testing.T) {
	s := webtest.New(t)
	b := s.SignIn(t, webtest.Manager)

	t.Run("lets pages load only what is ours", func(t *testing.T) {
		a := b.Get("/")
		require.Contains(t, a.Header.Get("Content-Security-Policy"), "default-src 'self'")
		require.NotContains(t, a.Header.Get("Content-Security-Policy"), "unsafe")
		require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		require.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"))
		require.Zero(t, a.Doc().Find("[style],script:not([src])").Length())
	})
	t.Run("refuses actions that another site starts", func(t *testing.T) {
		b.Header.Set("Sec-Fetch-Site", "cross-site")
		defer b.Header.Del("Sec-Fetch-Site")
		require.Equal(t, http.StatusForbidden, b.Post("/sign-out").Status)
		a := b.JSON("DELETE", "/api/v1/session", "")
		require.Equal(t, http.StatusForbidden, a.Status)
		require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"))
	})
	t.Run("says in the frame that a page doesn't exist", func(t *testing.T) {
		a := b.Get("/nothing/here")
		require.Equal(t, http.StatusNotFound, a.Status)
		require.Contains(t, a.Find("notice").Text(), "no page at this address")
		require.NotZero(t, a.Find("nav").Length())
	})
	t.Run("refuses pages of staff to customers", func(t *testing.T) {
		a := s.SignIn(t, webtest.Customer).Get("/")
		require.Equal(t, http.StatusForbidden, a.Status)
		require.Contains(t, a.Find("notice").Text(), "may not see this page")
	})
	t.Run("switches the language and comes back", func(t *testing.T) {
		require.Equal(t, "en", b.Get("/").Doc().Find("html").AttrOr("lang", ""))
		require.Equal(t, "/trace", b.Get("/lang?to=zh&back=/trace").Header.Get("Location"))
		require.Equal(t, "zh-CN", b.Get("/").Doc().Find("html").AttrOr("lang", ""))
		b.Get("/lang?to=en&back=/")
	})
	t.Run("switches the site, but only to one's own", func(t *testing.T) {
		require.Contains(t, b.Get("/").Find("sites").Text(), "All sites")
		require.Equal(t, http.StatusSeeOther, b.Get("/site?to=plaza&back=/").Status)
		require.Contains(t, b.Get("/").Find("sites").Find("[aria-current]").Text(), "Plaza")
		clerk := s.SignIn(t, webtest.Clerk)
		require.Equal(t, http.StatusForbidden, clerk.Get("/site?to=plaza&back=/").Status)
	})
	t.Run("answers machines", func(t *testing.T) {
		stranger := s.Open(t)
		require.Equal(t, http.StatusOK, stranger.Get("/healthz").Status)
		ready := stranger.Get("/readyz")
		require.Equal(t, http.StatusServiceUnavailable, ready.Status)
		require.Contains(t, ready.Body, "engine")
		require.Contains(t, stranger.Get("/metrics").Body, `meterflow_http_request_seconds_count{method="GET",route="/readyz",status="503"} 1`)
		require.Equal(t, http.StatusOK, stranger.Get("/api/v1/openapi.json").Status)
	})
}

func TestClock_isSteeredByThoseWhoMay(t *testing.T) {
	s := webtest.New(t)
	b := s.SignIn(t, webtest.Supervisor)
	require.Equal(t, 1, b.Get("/").Find("clock-form").Length())
	require.Equal(t, http.StatusSeeOther, b.Post("/clock", "pause", "1", "pace", "600", "back", "/trace").Status)
	c, err := s.Store.Clock(t.Context())
	require.NoError(t, err)
	require.True(t, c.Paused)
	require.Equal(t, int64(600), c.WantedPace)
	require.Equal(t, http.StatusUnprocessableEntity, b.Post("/clock", "pause", "1", "pace", "7").Status)
	require.Equal(t, http.StatusUnprocessableEntity, b.Post("/clock", "pause", "maybe", "pace", "600").Status)

	require.Equal(t, http.StatusSeeOther, b.Post("/colleagues", "on", "1", "back", "/").Status)
	on, err := s.Store.Colleagues(t.Context())
	require.NoError(t, err)
	require.True(t, on.On)
	require.Contains(t, b.Get("/").Find("notice").Text(), "help again", "the answer is said once")
	require.Zero(t, b.Get("/").Find("notice").Length())

	clerk := s.SignIn(t, webtest.Clerk)
	require.Zero(t, clerk.Get("/").Find("clock-form").Length())
	require.Equal(t, http.StatusForbidden, clerk.Post("/clock", "pause", "0", "pace", "0").Status)
	require.Equal(t, http.StatusForbidden, clerk.Post("/colleagues", "on", "0").Status)
}

func TestEvents_tellOfEachChange(t *testing.T) {
	s := webtest.New(t)
	b := s.SignIn(t, webtest.Clerk)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+page.EventsPath, nil)
	require.NoError(t, err)
	resp, err := b.Client.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	lines := bufio.NewScanner(resp.Body)
	require.True(t, lines.Scan())
	require.Equal(t, "retry: 2000", lines.Text())
	// The stream compares with what it saw first, so the change is made again until it has begun to look.
	stop := make(chan struct{})
	go func() {
		for i := 0; ; i++ {
			_ = s.Store.SetSetting(ctx, store.By{Actor: "test"}, "n", i)
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	defer close(stop)
	for lines.Scan() {
		if lines.Text() == "event: changed" {
			require.True(t, lines.Scan())
			require.True(t, strings.HasPrefix(lines.Text(), "data: "))
			return
		}
	}
	t.Fatal("the stream ended without an event")
}

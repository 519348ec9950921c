package messages_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/webtest"
)

func seed(t *testing.T, s *store.Store) {
	t.Helper()
	_, err := s.Pool.Exec(context.Background(), `
		INSERT INTO tariffs (id, service, name_zh, name_en, definition) VALUES ('t', 'power', '居民', 'Household', '{}');
		INSERT INTO customers (id, site_id, name, phone, class) VALUES ('K1', 'compound', '林一', '13800000001', 'household'), ('K2', 'plaza', '林二', '13800000002', 'commercial');
		INSERT INTO service_points (id, site_id, service, address) VALUES ('P1', 'compound', 'power', '1栋'), ('P2', 'plaza', 'power', 'A座');
		INSERT INTO accounts (id, site_id, customer_id, service_point_id, service, credit_mode, tariff_id, opened_on)
			VALUES ('1', 'compound', 'K1', 'P1', 'power', 'platform', 't', '2026-09-01'), ('2', 'plaza', 'K2', 'P2', 'power', 'platform', 't', '2026-09-01');
		INSERT INTO messages (id, site_id, account_id, kind, cause, phone, body, state, provider_no, queued_at, sent_at, delivered_at, error) VALUES
			('S1', 'compound', '1', 'level1', 'N7/level1', '13800000001', '余额不足', 'delivered', 'X1', '2026-09-08', '2026-09-08', '2026-09-08', ''),
			('S2', 'compound', '1', 'final', 'N7/final', '13800000001', '停供通知', 'failed', 'X2', '2026-09-09', '2026-09-09', NULL, '空号'),
			('S3', 'compound', '1', 'recharged', 'recharge/R9/recharged', '13800000001', '已到账', 'queued', NULL, '2026-09-10', NULL, NULL, ''),
			('S4', 'plaza', '2', 'level1', 'N8/level1', '13800000002', '余额不足', 'failed', 'X4', '2026-09-09', '2026-09-09', NULL, '停机')`)
	require.NoError(t, err)
}

func TestList(t *testing.T) {
	s := webtest.New(t)
	b := s.SignIn(t, webtest.Clerk)
	require.Equal(t, 1, b.Get("/messages").Find("empty").Length())
	seed(t, s.Store)
	for path, want := range map[string][]string{
		"/messages":                              {"S3", "S2", "S1"},
		"/messages?state=failed":                 {"S2"},
		"/messages?kind=level1":                  {"S1"},
		"/messages?state=melted":                 {"S3", "S2", "S1"},
		"/messages?q=X1":                         {"S1"},
		"/messages?since=2026-09-10":             {"S3"},
		"/messages?state=failed&site=plaza":      {"S2"}, // another's site narrows nothing
		"/messages?q=13800000002":                nil,
		"/messages?state=delivered&kind=level1":  {"S1"},
		"/messages?q=%E6%9E%97%E4%B8%80&page=-1": {"S3", "S2", "S1"},
	} {
		a := b.Get(path)
		require.Equal(t, http.StatusOK, a.Status, path)
		var ids []string
		for _, n := range a.Find("table-messages").Find("tbody [data-row]").EachIter() {
			ids = append(ids, n.AttrOr("data-id", ""))
		}
		require.Equal(t, want, ids, path)
	}
	a := b.Get("/messages")
	require.Equal(t, 1, a.Find("row-S3").Find(`a[href="/recharges/R9"]`).Length(), "to the cause")
	require.Equal(t, 1, a.Find("row-S2").Find(`a[href="/trace?q=N7"]`).Length())
	require.Equal(t, 1, a.Find("row-S2").Find(`a[href="/accounts/1"]`).Length(), "to the account")
	require.True(t, a.Find("row-S2").HasClass("tone-danger"))
}

func TestShow(t *testing.T) {
	s := webtest.New(t)
	seed(t, s.Store)
	b := s.SignIn(t, webtest.Clerk)
	a := b.Get("/messages/S2")
	require.Equal(t, "停供通知", a.Find("body").Text())
	require.Contains(t, a.Find("fact-error").Text(), "空号")
	require.Equal(t, http.StatusNotFound, b.Get("/messages/S4").Status, "another site's message is like none")
	require.Equal(t, http.StatusNotFound, b.Get("/messages/S99").Status)
}

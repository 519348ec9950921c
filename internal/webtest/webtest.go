// Package webtest serves the whole web server on a real PostgreSQL for tests of pages and API: two sites, one person or two of
// each role, and clients that sign in and read HTML. The workflow engine is absent unless a test brings one, so that every action
// answers that it was not taken.
package webtest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/api"
	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/billing/tariffdata"
	"github.com/meterflow/meterflow/internal/session"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/web"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// The sites and people that every test has. OtherSupervisor works at the plaza only; all others work at the compound only, and
// the manager and the administrator at both.
const (
	Compound = billing.SiteID("compound")
	Plaza    = billing.SiteID("plaza")

	Supervisor, Supervisor2, OtherSupervisor = "sup1", "sup2", "sup-plaza"
	Clerk, Clerk2, Clerk3                    = "clerk1", "clerk2", "clerk3"
	Manager, Administrator, Customer         = "manager", "admin", "customer"
	Reader, Reader2                          = "reader1", "reader2"

	// Password is everybody's.
	Password = "correct horse"
	// ReceiptSecret is what the message provider sends.
	ReceiptSecret = "receipt secret"
)

// Start is the business instant at which the clock of a test stands.
var Start = time.Date(2026, 9, 10, 1, 0, 0, 0, time.UTC) // 09:00 in China

// setup is who makes the test's utility.
var setup = store.By{Actor: "test", Reason: "test utility"}

// Server is a running server and its store.
type Server struct {
	URL   string
	Store *store.Store

	accounts int
}

// New starts a server without a workflow engine, in demo mode.
func New(t testing.TB) *Server {
	t.Helper()
	// Nobody listens on port 1; the client connects when it is first used, so that reading works.
	c, err := client.NewLazyClient(client.Options{HostPort: "127.0.0.1:1", Logger: tlog.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return NewWith(t, storetest.New(t), &workflows.Client{T: c})
}

// NewWith starts a server on a store and an engine of the test's own.
func NewWith(t testing.TB, s *store.Store, w *workflows.Client) *Server {
	t.Helper()
	w.Review = &activities.Review{Store: s}
	storetest.SetClock(t, s, Start)
	seed(t, s)
	var now time.Time // real time stands still: nothing here may depend on it
	log := slog.New(slog.DiscardHandler)
	clock := func() time.Time { return now }
	sessions := session.New(session.Config{Store: s, Log: log, Now: clock})
	h := web.NewServer(web.Config{
		Store: s, Workflows: w, Sessions: sessions, Log: log, Demo: true, Now: clock,
		API: api.New(api.Config{Store: s, Workflows: w, Sessions: sessions, Log: log, Demo: true, ReceiptSecret: ReceiptSecret}),
	})
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return &Server{URL: srv.URL, Store: s}
}

func seed(t testing.TB, s *store.Store) {
	t.Helper()
	ctx := context.Background()
	_, err := s.Pool.Exec(ctx, `INSERT INTO sites (id, name_zh, name_en) VALUES ('compound', '翠苑小区', 'Cuiyuan'), ('plaza', '银泰广场', 'Plaza')`)
	require.NoError(t, err)
	tariffs, err := tariffdata.LoadDemoTariffs()
	require.NoError(t, err)
	for _, tariff := range tariffs {
		require.NoError(t, s.AddTariff(ctx, setup, tariff))
	}
	for i, site := range []billing.SiteID{Compound, Plaza} {
		require.NoError(t, s.OpenHouse(ctx, setup, site))
		g := store.Gateway{ID: billing.GatewayID("G-" + site), Site: site, Name: string(site), Address: fmt.Sprintf("127.0.0.1:%d", i+1), TimeoutMillis: 200}
		require.NoError(t, s.AddGateway(ctx, setup, g))
	}
	hash, err := auth.HashPassword(Password)
	require.NoError(t, err)
	one, both := []billing.SiteID{Compound}, []billing.SiteID{Compound, Plaza}
	for _, u := range []store.User{
		{ID: Supervisor, Name: "王主管", Role: billing.RoleSupervisor, Sites: one},
		{ID: Supervisor2, Name: "李主管", Role: billing.RoleSupervisor, Sites: one},
		{ID: OtherSupervisor, Name: "赵主管", Role: billing.RoleSupervisor, Sites: []billing.SiteID{Plaza}},
		{ID: Clerk, Name: "陈收费", Role: billing.RoleClerk, Sites: one},
		{ID: Clerk2, Name: "刘收费", Role: billing.RoleClerk, Sites: one},
		{ID: Clerk3, Name: "周收费", Role: billing.RoleClerk, Sites: one},
		{ID: Reader, Name: "何抄表", Role: billing.RoleReader, Sites: one},
		{ID: Reader2, Name: "吕抄表", Role: billing.RoleReader, Sites: one},
		{ID: Manager, Name: "孙经理", Role: billing.RoleManager, Sites: both},
		{ID: Administrator, Name: "吴管理", Role: billing.RoleAdministrator, Sites: both},
		{ID: Customer, Name: "郑用户", Role: billing.RoleCustomer, Sites: one},
	} {
		require.NoError(t, s.AddUser(ctx, setup, u, hash))
	}
}

// Account opens a residential power account on platform credit, with a customer and a fitted meter, and gives the meter's number.
// The balance is in fen.
func (s *Server) Account(t testing.TB, site billing.SiteID, id billing.AccountID, fen billing.Money) billing.MeterID {
	t.Helper()
	ctx := context.Background()
	s.accounts++
	point, meter := billing.ServicePointID("P"+id), billing.MeterID("M"+id)
	_, err := s.Store.Pool.Exec(ctx, `INSERT INTO service_points (id, site_id, service, address) VALUES ($1, $2, 'power', $3)`, point, site, "Room "+string(id))
	require.NoError(t, err)
	c := store.Customer{ID: billing.CustomerID("C" + id), Site: site, Name: "客户" + string(id), Phone: fmt.Sprintf("139%08d", s.accounts), Class: "household"}
	require.NoError(t, s.Store.AddCustomer(ctx, setup, c))
	opened := billing.DateOf(Start, storetest.Zone)
	require.NoError(t, s.Store.FitMeter(ctx, setup, store.NewFitting{
		Meter: store.Meter{
			ID: meter, Site: site, Gateway: billing.GatewayID("G-" + site), Unit: s.accounts, Serial: fmt.Sprintf("%012d", s.accounts),
			Profile: "sim-ddsy1352", Service: billing.Power, Digits: 8, Ratio: 1, CapacityPerHour: 2200,
		},
		ServicePoint: point, At: opened.Start(storetest.Zone), Opening: make(billing.Registers, 6),
	}))
	require.NoError(t, s.Store.OpenAccount(ctx, setup, store.NewAccount{
		Account: store.Account{
			ID: id, Site: site, Customer: c.ID, ServicePoint: point, Service: billing.Power, CreditMode: billing.CreditPlatform,
			Tariff: "zj-residential", PrepaidContract: true, OpenedOn: opened,
		},
		Opening: fen,
	}))
	return meter
}

// Browser is a client with its own cookies that doesn't follow redirects.
type Browser struct {
	t   testing.TB
	url string
	// Client is its HTTP client.
	Client *http.Client
	// Header is sent with each request; Accept-Language is en unless changed.
	Header http.Header
}

// Open is a new browser where nobody is signed in.
func (s *Server) Open(t testing.TB) *Browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &Browser{t: t, url: s.URL, Header: http.Header{"Accept-Language": {"en"}}, Client: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// SignIn is a new browser in which a person is signed in.
func (s *Server) SignIn(t testing.TB, user string) *Browser {
	t.Helper()
	b := s.Open(t)
	a := b.Post(page.SignInPath, "user", user, "password", Password)
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	return b
}

// Answer is what the server said.
type Answer struct {
	t      testing.TB
	Status int
	Header http.Header
	Body   string
}

// Doc is the answer's HTML.
func (a Answer) Doc() *goquery.Document {
	a.t.Helper()
	d, err := goquery.NewDocumentFromReader(strings.NewReader(a.Body))
	require.NoError(a.t, err)
	return d
}

// Find selects by data-testid.
func (a Answer) Find(testid string) *goquery.Selection {
	a.t.Helper()
	return a.Doc().Find(`[data-testid="` + testid + `"]`)
}

// Get asks for a path.
func (b *Browser) Get(path string) Answer {
	b.t.Helper()
	return b.Do(http.MethodGet, path, "", "")
}

// Post sends a form of names and values.
func (b *Browser) Post(path string, fields ...string) Answer {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return b.Do(http.MethodPost, path, "application/x-www-form-urlencoded", form.Encode())
}

// JSON sends a JSON body; an empty one sends none.
func (b *Browser) JSON(method, path, body string) Answer {
	b.t.Helper()
	return b.Do(method, path, "application/json", body)
}

// Do sends one request.
func (b *Browser) Do(method, path, contentType, body string) Answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, b.url+path, strings.NewReader(body))
	require.NoError(b.t, err)
	for name, values := range b.Header {
		req.Header[name] = values
	}
	if contentType != "" && body != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := b.Client.Do(req)
	require.NoError(b.t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	return Answer{t: b.t, Status: resp.StatusCode, Header: resp.Header, Body: string(text)}
}

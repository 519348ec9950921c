package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/billing/tariffdata"
	"github.com/meterflow/meterflow/internal/store"
)

// Zone is the time zone of the test utility.
var Zone = must(time.LoadLocation("Asia/Shanghai"))

// Utility is a small site with its people, tariffs and gateways. Add accounts to it with Account.
type Utility struct {
	*store.Store
	Site billing.SiteID
	t    testing.TB
	next int
}

// By is who made the test utility.
var By = store.By{Actor: "admin", Reason: "test utility"}

// NewUtility makes the site "park" with the supervisors sup1 and sup2, the clerks clerk1 to clerk3, the readers reader1 and reader2, the manager boss, all demo tariffs,
// and gateways G1 and G2. The business clock stands at the given instant. A tariff that is given takes the place of the demo's of its id.
func NewUtility(t testing.TB, at time.Time, instead ...billing.Tariff) *Utility {
	t.Helper()
	s := New(t)
	ctx := context.Background()
	SetClock(t, s, at)
	u := &Utility{Store: s, Site: "park", t: t}
	_, err := s.Pool.Exec(ctx, `INSERT INTO sites (id, name_zh, name_en, time_zone) VALUES ('park', '测试园区', 'Test Park', 'Asia/Shanghai')`)
	require.NoError(t, err)
	require.NoError(t, s.OpenHouse(ctx, By, u.Site))
	for id, role := range map[billing.UserID]billing.Role{
		"sup1": billing.RoleSupervisor, "sup2": billing.RoleSupervisor, "boss": billing.RoleManager,
		"reader1": billing.RoleReader, "reader2": billing.RoleReader,
		"clerk1": billing.RoleClerk, "clerk2": billing.RoleClerk, "clerk3": billing.RoleClerk,
	} {
		user := store.User{ID: id, Name: string(id), Role: role, Active: true, Sites: []billing.SiteID{u.Site}}
		require.NoError(t, s.AddUser(ctx, By, user, "no password"))
	}
	tariffs, err := tariffdata.LoadDemoTariffs()
	require.NoError(t, err)
	for _, tariff := range tariffs {
		if i := slices.IndexFunc(instead, func(t billing.Tariff) bool { return t.ID == tariff.ID }); i >= 0 {
			tariff = instead[i]
		}
		require.NoError(t, s.AddTariff(ctx, By, tariff))
	}
	for i := range 2 {
		id := billing.GatewayID(fmt.Sprintf("G%d", i+1))
		require.NoError(t, s.AddGateway(ctx, By, store.Gateway{ID: id, Site: u.Site, Name: string(id), Address: fmt.Sprintf("127.0.0.1:%d", i+1), TimeoutMillis: 200}))
	}
	return u
}

// NewAccount says how an account of the test utility differs from the usual one: single-phase power on platform credit with the
// residential step tariff, opened with the meter's fitting, with 100 yuan.
type NewAccount struct {
	Gateway  billing.GatewayID // G1
	Service  billing.Service   // power
	Mode     billing.CreditMode
	Tariff   billing.TariffID
	OpenedOn billing.Date      // the day of the clock
	Opening  billing.Registers // all 0
	Fen      billing.Money     // 10000
	Digits   int               // 8
	Ratio    int               // 1
	Serial   string
	Unit     int
	Profile  string
	// UseBefore is what was used in the step year before OpenedOn, raw units.
	UseBefore int64
	// Arrears gives it an arrears contract from its first day on.
	Arrears bool
}

// Account opens an account with its customer, service point and meter, and gives its number and the meter's.
func (u *Utility) Account(n NewAccount) (billing.AccountID, billing.MeterID) {
	u.t.Helper()
	ctx := context.Background()
	u.next++
	clock, err := u.Clock(ctx)
	require.NoError(u.t, err)
	n.fill(u.next, billing.DateOf(clock.Now, Zone))
	account, meter := billing.AccountID(fmt.Sprintf("A%04d", u.next)), billing.MeterID(fmt.Sprintf("M%04d", u.next))
	customer, point := billing.CustomerID("C"+account[1:]), billing.ServicePointID("P"+account[1:])
	_, err = u.Pool.Exec(ctx, `INSERT INTO service_points (id, site_id, service, address) VALUES ($1, $2, $3, $4)`, point, u.Site, n.Service, "Room "+string(account))
	require.NoError(u.t, err)
	_, err = u.Pool.Exec(ctx, `INSERT INTO customers (id, site_id, name, phone, class) VALUES ($1, $2, $3, '13900000000', 'household')`, customer, u.Site, "Customer "+string(account))
	require.NoError(u.t, err)
	require.NoError(u.t, u.FitMeter(ctx, By, store.NewFitting{
		Meter: store.Meter{
			ID: meter, Site: u.Site, Gateway: n.Gateway, Unit: n.Unit, Serial: n.Serial, Profile: n.Profile, Service: n.Service,
			Digits: n.Digits, Ratio: n.Ratio, CapacityPerHour: 2200,
		},
		ServicePoint: point, At: n.OpenedOn.Start(Zone), Opening: n.Opening,
	}))
	require.NoError(u.t, u.OpenAccount(ctx, By, store.NewAccount{
		Account: store.Account{
			ID: account, Site: u.Site, Customer: customer, ServicePoint: point, Service: n.Service, CreditMode: n.Mode, Tariff: n.Tariff,
			PrepaidContract: true, OpenedOn: n.OpenedOn, UseBefore: n.UseBefore,
		},
		Opening: n.Fen,
	}))
	if n.Arrears {
		u.Arrears(account, n.OpenedOn.String())
	}
	return account, meter
}

// Class records that an account's customer is of a class from a day on, as a correction would; the rest of its newest terms goes on.
func (u *Utility) Class(account billing.AccountID, from string, class billing.CustomerClass) {
	u.t.Helper()
	u.newTerms(account, from, func(t *store.AccountTerms) { t.Class = class })
}

// Arrears records that an account has an arrears contract from a day on, as Class does.
func (u *Utility) Arrears(account billing.AccountID, from string) {
	u.t.Helper()
	u.newTerms(account, from, func(t *store.AccountTerms) { t.ArrearsContract = true })
}

func (u *Utility) newTerms(account billing.AccountID, from string, change func(*store.AccountTerms)) {
	u.t.Helper()
	all, err := u.TermsOf(context.Background(), []billing.AccountID{account})
	require.NoError(u.t, err)
	terms := all[account][len(all[account])-1]
	terms.FromDay = billing.MustDate(from)
	change(&terms)
	require.NoError(u.t, u.Change(context.Background(), By, func(tx *store.Tx) error { return store.RecordTerms(context.Background(), tx, terms) }))
}

func (n *NewAccount) fill(number int, today billing.Date) {
	usual(&n.Gateway, "G1")
	usual(&n.Service, billing.Power)
	usual(&n.Mode, billing.CreditPlatform)
	usual(&n.OpenedOn, today)
	usual(&n.Fen, 10_000)
	usual(&n.Digits, 8)
	usual(&n.Ratio, 1)
	usual(&n.Unit, number)
	usual(&n.Serial, fmt.Sprintf("%012d", number))
	if n.Service == billing.Water {
		usual(&n.Tariff, "bj-water-residential")
		usual(&n.Profile, "sim-valve-water")
	}
	usual(&n.Tariff, "zj-residential")
	usual(&n.Profile, "sim-ddsy1352")
	if n.Opening == nil {
		n.Opening = make(billing.Registers, map[billing.Service]int{billing.Power: 6, billing.Water: 1}[n.Service])
	}
}

func usual[T comparable](field *T, value T) {
	var none T
	if *field == none {
		*field = value
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

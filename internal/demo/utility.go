package demo

import (
	"fmt"
	"time"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/billing/tariffdata"
)

// The two sites.
const (
	Garden billing.SiteID = "garden" // 翠园小区, a residential compound
	Plaza  billing.SiteID = "plaza"  // 金座广场, a commercial plaza
)

// Password is every demo person's password. It is no secret: the console prints it beside the people's names, and the demo listens on
// this machine only.
const Password = "meterflow-demo"

// firstDay is when the utility's life with Meterflow begins. From here 35 days reach over the end of a month, so that a billing run
// is due, and into the National Day holiday, so that days without cuts show.
var firstDay = billing.MustDate(began)

// began is set by the linker where a month is too long: tests that want bills begin nearer to its end.
var began = "2026-09-01"

// zone is the time zone of both sites. China has had no summer time since 1991, so that it needs no zone database.
var zone = time.FixedZone("Asia/Shanghai", 8*60*60)

// Start is the business instant at which the demo begins: midnight of its first day, when all opening registers were read.
func Start() time.Time { return firstDay.Start(zone) }

// horizon is for how many days the rehearsal knows what each meter will count: the month that is shown, and a little more.
const horizon = 42

// MaxDays is for how many days the demo's cast has parts; a longer run would show the same again.
const MaxDays = 35

// Person is someone who works for the demo utility and may sign in.
type Person struct {
	ID   billing.UserID
	Name string
	Role billing.Role
}

// People are the staff, all of them on both sites.
func People() []Person {
	return []Person{
		{"supervisor1", "孙丽华", billing.RoleSupervisor},
		{"supervisor2", "周建国", billing.RoleSupervisor},
		{"clerk1", "李晓敏", billing.RoleClerk},
		{"clerk2", "王海涛", billing.RoleClerk},
		{"clerk3", "陈雨欣", billing.RoleClerk},
		{"clerk4", "赵志强", billing.RoleClerk},
		{"reader1", "钱学勤", billing.RoleReader},
		{"reader2", "冯守时", billing.RoleReader},
		{"manager1", "吴卫东", billing.RoleManager},
		{"admin1", "郑文博", billing.RoleAdministrator},
	}
}

// Habit is how a simulated customer behaves when credit runs out.
type Habit string

// The habits. Together they make every branch of reminders, cuts and restores happen.
const (
	HabitAmple      Habit = "ample"       // has credit for the whole month
	HabitTopUp      Habit = "top_up"      // pays now and then, before anybody reminds
	HabitPrompt     Habit = "prompt"      // pays after the first message
	HabitFinal      Habit = "final"       // pays after the final notice
	HabitAfterCut   Habit = "after_cut"   // pays some hours after the cut
	HabitNever      Habit = "never"       // doesn't pay
	HabitJustBefore Habit = "just_before" // pays in the last hour before the cut
	HabitJustAfter  Habit = "just_after"  // pays when the command is out already
	HabitProtected  Habit = "protected"   // is protected, runs to zero and below, and doesn't pay
)

// Premise is one account with everything that belongs to it: its customer, its service point, its meter, and how it will fare.
type Premise struct {
	Site         billing.SiteID
	Account      billing.AccountID
	Customer     billing.CustomerID
	Name         string
	Phone        string
	Class        string // household, commercial or large
	LifeSupport  bool
	Service      billing.Service
	Credit       billing.CreditMode
	Tariff       billing.TariffID
	Agreed       Agreed
	ServicePoint billing.ServicePointID
	Address      string
	Meter        billing.MeterID
	Gateway      billing.GatewayID
	Spec         simulator.MeterSpec
	// UseBefore is the raw use in the step year before the first day.
	UseBefore int64
	// Balance is the opening balance; a meter with credit shows the same.
	Balance billing.Money
	Habit   Habit
	// LastsDays is for how many days of the premise's own use the opening balance lasts; 0 is longer than the demo.
	LastsDays int

	// costs[d] is what the use from the first day to the start of day d costs, when supply is never cut.
	costs []billing.Money
	// uses[d] is the use over the same days, raw, before the ratio.
	uses []billing.Registers
}

// dailyCost is what a day costs on average over the horizon, at least one fen.
func (p Premise) dailyCost() billing.Money {
	return max(1, p.costs[len(p.costs)-1]/billing.Money(len(p.costs)-1))
}

// capacityPerHour is what the meter can pass in an hour at most, raw, before the ratio: 60 A at 220 V in one or three phases; a
// water meter of nominal 4 m³/h.
func (p Premise) capacityPerHour() int64 {
	switch p.Spec.Profile {
	case profileWater:
		return 4000
	case profileThreePhase:
		return 3960
	default:
		return 1320
	}
}

// digits is the width of the meter's registers.
func (p Premise) digits() int {
	switch {
	case p.Spec.RegisterDigits != 0:
		return p.Spec.RegisterDigits
	case p.Service == billing.Water:
		return 7
	default:
		return 8
	}
}

// Gateway is one gateway of the utility.
type Gateway struct {
	ID   billing.GatewayID
	Site billing.SiteID
	Name string
}

// Utility is the whole demo utility, made from a seed: the same seed gives the same utility.
type Utility struct {
	Seed     int64
	Gateways []Gateway
	Premises []Premise
	Masters  []Master
}

// How the sites are built: gateways, and meters per gateway by unit id.
const (
	gardenGateways = 8 // one per building
	plazaGateways  = 4 // one per floor
	powerUnits     = 20
	waterUnits     = 5
	// meterCreditUnits of a plaza gateway's power meters hold the credit themselves.
	meterCreditUnits = 15
)

// build lays out sites, gateways and premises, without anything that needs to know the meters' use.
func build(seed int64) *Utility {
	u := &Utility{Seed: seed}
	names := newNamer(seed)
	for g := 1; g <= gardenGateways; g++ {
		gateway := Gateway{billing.GatewayID(fmt.Sprintf("garden-gw%d", g)), Garden, fmt.Sprintf("%d栋网关", g)}
		u.Gateways = append(u.Gateways, gateway)
		u.addHomes(gateway, g, names)
	}
	for g := 1; g <= plazaGateways; g++ {
		gateway := Gateway{billing.GatewayID(fmt.Sprintf("plaza-gw%d", g)), Plaza, fmt.Sprintf("%d层网关", g)}
		u.Gateways = append(u.Gateways, gateway)
		u.addShops(gateway, g, names)
	}
	return u
}

// addHomes adds a building of twenty homes; every fourth has a remotely read water meter too.
func (u *Utility) addHomes(gateway Gateway, building int, names *namer) {
	for i := range powerUnits {
		no := (building-1)*powerUnits + i + 1
		p := Premise{
			Site: Garden, Customer: billing.CustomerID(fmt.Sprintf("K1%06d", no)), Name: names.person(), Phone: phone(no),
			Class: "household", Service: billing.Power, Credit: billing.CreditPlatform, Gateway: gateway.ID,
			Tariff:  tariffdata.ZhejiangResidential,
			Address: fmt.Sprintf("%d栋%d单元%d0%d", building, i/10+1, i%10/2+1, i%2+1),
			Spec:    simulator.MeterSpec{Unit: byte(i + 1), Profile: profileSinglePhase, BandTable: zhejiangHomeBands},
		}
		if no%4 == 1 {
			p.Tariff = tariffdata.ZhejiangResidentialTOU
		}
		agreeHome(&p, i)
		u.add(p, "1", no)
	}
	for i := range waterUnits {
		home := u.Premises[len(u.Premises)-powerUnits-i+4*i]
		no := (building-1)*waterUnits + i + 1
		home.Service, home.Agreed, home.Tariff = billing.Water, Agreed{}, tariffdata.BeijingWater
		home.Spec = simulator.MeterSpec{Unit: byte(powerUnits + i + 1), Profile: profileWater, ValveMillis: valveMillis}
		u.add(home, "15", no)
	}
}

// addShops adds a floor of twenty shops; every fourth has a water meter of its own.
func (u *Utility) addShops(gateway Gateway, floor int, names *namer) {
	for i := range powerUnits {
		no := (floor-1)*powerUnits + i + 1
		p := Premise{
			Site: Plaza, Customer: billing.CustomerID(fmt.Sprintf("K2%06d", no)), Name: names.company(), Phone: phone(500 + no),
			Class: "commercial", Service: billing.Power, Credit: billing.CreditPlatform, Gateway: gateway.ID,
			Tariff:  tariffdata.CommercialTOU,
			Address: fmt.Sprintf("A座%d层%d%02d铺", floor, floor, i+1),
			Spec:    simulator.MeterSpec{Unit: byte(i + 1), Profile: profileThreePhase, BandTable: plazaBands},
		}
		switch {
		case i < meterCreditUnits:
			p.Credit, p.Spec.CreditMode = billing.CreditMeter, true
		case i == powerUnits-1:
			p.Tariff = tariffdata.CommercialFlat
		}
		if floor == 1 && i == fastClockShop {
			p.Spec.ClockGains = fastClockGains
		}
		if i%10 == largeShop {
			p.Class, p.Spec.Ratio = "important", largeRatio(i)
		}
		agreeShop(&p, floor, i)
		u.add(p, "2", no)
	}
	for i := range waterUnits {
		shop := u.Premises[len(u.Premises)-powerUnits-i+4*i]
		no := (floor-1)*waterUnits + i + 1
		shop.Service, shop.Credit, shop.Agreed, shop.Tariff = billing.Water, billing.CreditPlatform, Agreed{}, tariffdata.BeijingWaterCommercial
		shop.Spec = simulator.MeterSpec{Unit: byte(powerUnits + i + 1), Profile: profileWater, ValveMillis: valveMillis}
		u.add(shop, "25", no)
	}
}

// add numbers a premise and appends it. The numbers of an account, its meter and its service point share their digits.
func (u *Utility) add(p Premise, prefix string, no int) {
	digits := fmt.Sprintf("%s%0*d", prefix, 7-len(prefix), no)
	p.Account = billing.AccountID("A" + digits)
	p.Meter = billing.MeterID("M" + digits)
	p.ServicePoint = billing.ServicePointID("P" + digits)
	p.Spec.Serial = "26010" + digits
	u.Premises = append(u.Premises, p)
}

// at finds the premise of an account.
func (u *Utility) at(account billing.AccountID) *Premise {
	for i := range u.Premises {
		if u.Premises[i].Account == account {
			return &u.Premises[i]
		}
	}
	return nil
}

package demo

import (
	"fmt"
	"math/rand/v2"

	"github.com/meterflow/meterflow/internal/billing"
)

// plan gives every premise its past, its prices, its part in the month, and the opening balance that goes with the part.
func (u *Utility) plan(uses map[string][]billing.Registers) error {
	tariffs, err := demoTariffs()
	if err != nil {
		return err
	}
	random := newRandom(u.Seed, "past")
	for i := range u.Premises {
		p := &u.Premises[i]
		p.uses = uses[p.Spec.Serial]
		p.UseBefore = useBefore(random, p, i)
		if err := p.price(tariffs[p.Tariff]); err != nil {
			return fmt.Errorf("account %s: %w", p.Account, err)
		}
		if p.Spec.CreditMode {
			if p.Spec.PricesE8, err = pricesE8(p.Tariff, tariffs); err != nil {
				return err
			}
			p.Spec.AlarmFen = alarmFen
		}
	}
	for _, c := range cast() {
		if err := u.assign(c); err != nil {
			return err
		}
	}
	for i := range u.Premises {
		u.Premises[i].open(random)
	}
	u.placeRollovers()
	return nil
}

// daysBefore is how many days of the step year lie before the first day.
var daysBefore = int64(billing.NewDate(firstDay.Year(), 1, 1).DaysUntil(firstDay))

// useBefore is the use of the year so far: near what the premise's own days make, and for one home in six such that it crosses the
// edge of a step within the month.
func useBefore(random *rand.Rand, p *Premise, i int) int64 {
	ratio := max(1, p.Spec.Ratio)
	perDay := p.uses[horizon].Total() * ratio / horizon
	likely := perDay * daysBefore * (80 + random.Int64N(40)) / 100
	if p.Site != Garden || i%6 != 2 {
		return likely
	}
	edges := []int64{276_000, 480_000} // 0.01 kWh: Zhejiang's yearly steps
	if p.Service == billing.Water {
		edges = []int64{180_000, 260_000} // litres: Beijing's
	}
	crossing := p.uses[4+random.IntN(24)].Total()
	edge := edges[0]
	if likely > (edges[0]+edges[1])/2 {
		edge = edges[1]
	}
	return max(0, edge-crossing)
}

// group is where a part may be played.
type group struct {
	site    billing.SiteID
	service billing.Service
	credit  billing.CreditMode
	large   bool
}

func (g group) has(p *Premise) bool {
	return p.Site == g.site && p.Service == g.service && p.Credit == g.credit && (p.Class == "important") == g.large
}

// part is one role to be given to one premise per entry of lasts: for how many days its credit lasts.
type part struct {
	group group
	habit Habit
	lasts []int
}

// cast lists the parts. Who is to be cut runs out by the middle of the month: the notice takes days, and no cut is made from the
// Mid-Autumn holiday on a day off. Two run out just before the National Day holiday, so that their cuts are seen to wait.
// Meters with credit last six days at least: a meter is guarded from its first reminder on, and mustn't trip before.
func cast() []part {
	homes := group{Garden, billing.Power, billing.CreditPlatform, false}
	homeWater := group{Garden, billing.Water, billing.CreditPlatform, false}
	shops := group{Plaza, billing.Power, billing.CreditMeter, false}
	large := group{Plaza, billing.Power, billing.CreditMeter, true}
	platform := group{Plaza, billing.Power, billing.CreditPlatform, false}
	shopWater := group{Plaza, billing.Water, billing.CreditPlatform, false}
	return []part{
		{homes, HabitPrompt, []int{6, 8, 9, 11, 13, 15, 17, 19, 22, 25, 28, 31}},
		{homes, HabitFinal, []int{5, 7, 10, 13, 16, 20, 27}},
		{homes, HabitAfterCut, []int{2, 3, 5, 6, 8, 9, 11, 12, 13, 14}},
		{homes, HabitNever, []int{4, 28}},
		{homes, HabitJustBefore, []int{8}},
		{homes, HabitJustAfter, []int{10}},
		{homes, HabitProtected, []int{5, 7, 9}},
		{homes, HabitTopUp, []int{30, 32, 34, 36, 38, 40}},
		{homeWater, HabitPrompt, []int{9, 14, 21}},
		{homeWater, HabitFinal, []int{12}},
		{homeWater, HabitAfterCut, []int{3, 6, 8, 11}},
		{large, HabitAfterCut, []int{9}},
		{large, HabitTopUp, []int{32, 38}},
		{shops, HabitPrompt, []int{7, 8, 10, 12, 14, 16, 18, 20, 22, 24, 27, 30}},
		{shops, HabitFinal, []int{8, 12, 15, 19}},
		{shops, HabitAfterCut, []int{6, 7, 8, 9, 11, 12, 14}},
		{shops, HabitNever, []int{28}},
		{shops, HabitJustBefore, []int{11}},
		{shops, HabitJustAfter, []int{13}},
		{shops, HabitProtected, []int{8, 10}},
		{shops, HabitTopUp, []int{28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40}},
		{platform, HabitPrompt, []int{10, 18}},
		{platform, HabitAfterCut, []int{5, 9}},
		{platform, HabitTopUp, []int{30, 36}},
		{shopWater, HabitAfterCut, []int{7}},
		{shopWater, HabitTopUp, []int{31, 37}},
	}
}

// assign finds premises for a part: those of its group that use something every day, so that their credit runs out when it should.
func (u *Utility) assign(c part) error {
	random := newRandom(u.Seed, fmt.Sprint(c.group, c.habit))
	for _, lasts := range c.lasts {
		var free []*Premise
		for i := range u.Premises {
			if p := &u.Premises[i]; c.group.has(p) && p.Habit == "" && (c.habit == HabitTopUp || p.steady(lasts+2)) && (c.habit != HabitJustAfter || p.Gateway != silentGateway) {
				free = append(free, p)
			}
		}
		if len(free) == 0 {
			return fmt.Errorf("the demo has nobody left in %v who could be %s: seed %d doesn't work, take another", c.group, c.habit, u.Seed)
		}
		p := pick(random, free)
		p.Habit, p.LastsDays = c.habit, lasts
		if c.habit == HabitProtected && lasts%4 == 1 {
			p.LifeSupport = p.Class == "household"
		}
	}
	return nil
}

// steady says whether every day up to the given one costs at least a fifth of the average one.
func (p *Premise) steady(days int) bool {
	for day := 1; day <= days; day++ {
		if 5*(p.costs[day]-p.costs[day-1]) < p.dailyCost() {
			return false
		}
	}
	return true
}

// open sets the opening balance: half-way through the day on which it shall run out, or enough for the whole demo.
func (p *Premise) open(random *rand.Rand) {
	if p.Habit == "" {
		p.Habit = HabitAmple
		p.Balance = p.costs[horizon]*billing.Money(120+random.IntN(150))/100 + 50*billing.Yuan
	} else {
		p.Balance = (p.costs[p.LastsDays] + p.costs[p.LastsDays+1]) / 2
	}
	if p.Spec.CreditMode {
		p.Spec.RemainingFen = int64(p.Balance)
	}
}

// rolloverDays is when the two meters that stand near the end of their registers pass it.
const rolloverDays = 11

// placeRollovers puts one electricity and one water meter just below the end of their registers.
func (u *Utility) placeRollovers() {
	for _, service := range []billing.Service{billing.Power, billing.Water} {
		for i := range u.Premises {
			p := &u.Premises[i]
			if p.Site != Garden || p.Service != service || p.Habit != HabitAmple || !p.steady(rolloverDays) {
				continue
			}
			if service == billing.Power {
				p.Spec.RegisterDigits = 6 // an old meter: 9,999.99 kWh
			}
			total := billing.Wrap(p.digits()) - p.uses[rolloverDays].Total()
			p.Spec.OpeningRegisters = []int64{total}
			if service == billing.Power {
				p.Spec.OpeningRegisters = spread(total, 0, 62, 0, 38, 0)
			}
			break
		}
	}
}

// protection is one dated protection of the first day.
type protection struct {
	site    billing.SiteID
	account billing.AccountID
	kind    string
	until   billing.Date
	owner   billing.UserID
	reason  string
}

// protections are those of the customers who run to zero under one, and two more of customers who don't. Life support is a mark of
// the customer and needs no date.
func (u *Utility) protections() []protection {
	var all []protection
	year := firstDay.AddDays(365)
	spare := map[billing.SiteID]bool{}
	for _, p := range u.Premises {
		grant := protection{site: p.Site, account: p.Account, kind: "keep_power", until: year, owner: "manager1"}
		switch {
		case p.Habit == HabitProtected && p.Site == Plaza:
			grant.reason = "冷库存药，停电须先转移（Cold store of medicines: to be moved before any cut）"
		case p.Habit == HabitProtected && !p.LifeSupport:
			grant.reason = "社区保电名单（On the district's keep-power list）"
		case p.Habit == HabitAmple && p.Service == billing.Power && !spare[p.Site] && p.Class != "important":
			spare[p.Site] = true
			grant.kind, grant.until = "special_day", firstDay.AddDays(20)
			grant.reason = "活动期间保电（Keep power during an event）"
		default:
			continue
		}
		all = append(all, grant)
	}
	return all
}

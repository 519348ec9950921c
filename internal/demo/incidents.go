package demo

import (
	"fmt"
	"time"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
)

// Incident is one thing that goes wrong in the demo's month: a fault of the simulated field, bounded in business time, and what the
// software is expected to make of it.
type Incident struct {
	Name    string
	Account billing.AccountID // empty when it concerns a whole gateway
	Fault   simulator.Fault
	Expect  string
}

// The days of the month on which the field fails, counted from the first day (0). The silent gateway has a Saturday, on which
// nobody is cut, so that it shows in readings and not in commands.
const (
	silentGatewayDay = 11 // Saturday, 12 September
	silentNightDay   = 7
	deadMeterDay     = 13
	spikeDay         = 15
	longSpikeDay     = 21
	stepBackDay      = 17
	wrongClockDay    = 18
)

// Gateways with a part in the month.
const (
	silentGateway  = "garden-gw3"
	nightlyGateway = "plaza-gw2"
)

// realStepBack is a step back that really happened: DAIAD meter 1de2cf65 showed 12,292 litres too little on 2016-09-30. It was at
// noon there; here it meets the nightly reading.
const (
	realStepBack       = -12_292
	realStepBackSeries = "1de2cf65-092d-4791-9257-374470bdb3c3"
)

// at is an instant of the month by day, hour and minute.
func at(day, hour, minute int) time.Time { return firstDay.AddDays(day).At(hour, minute, zone) }

// casting hands out the premises that incidents need, each once.
type casting struct {
	u    *Utility
	used map[billing.AccountID]bool
	all  []Incident
	err  error
}

// find is the first free premise that fits; none is an error of the cast.
func (c *casting) find(what string, fits func(*Premise) bool) *Premise {
	for i := range c.u.Premises {
		p := &c.u.Premises[i]
		if !c.used[p.Account] && fits(p) {
			c.used[p.Account] = true
			return p
		}
	}
	if c.err == nil {
		c.err = fmt.Errorf("the demo has nobody for the incident %q", what)
	}
	return &Premise{}
}

// quiet is a home that nothing else happens to and that uses something every day.
func quiet(service billing.Service) func(*Premise) bool {
	return func(p *Premise) bool {
		return p.Site == Garden && p.Service == service && p.Habit == HabitAmple && p.Gateway != silentGateway && p.Spec.RegisterDigits == 0 && p.steady(30)
	}
}

func habit(site billing.SiteID, service billing.Service, h Habit) func(*Premise) bool {
	return func(p *Premise) bool {
		return p.Site == site && p.Service == service && p.Habit == h && p.Class != "important" && p.Gateway != silentGateway
	}
}

func (c *casting) add(name string, p *Premise, f simulator.Fault, expect string) {
	f.ID = "incident-" + name
	if p != nil {
		f.Serial = p.Spec.Serial
		c.all = append(c.all, Incident{Name: name, Account: p.Account, Fault: f, Expect: expect})
		return
	}
	c.all = append(c.all, Incident{Name: name, Fault: f, Expect: expect})
}

// Incidents lists the month's incidents.
func (u *Utility) Incidents() ([]Incident, error) {
	c := &casting{u: u, used: map[billing.AccountID]bool{}}
	c.silences()
	c.wrongReadings()
	c.badLines()
	c.commands()
	c.doubts()
	return c.all, c.err
}

// silences are meters and gateways that don't answer.
func (c *casting) silences() {
	c.add("gateway-silent-for-a-day", nil, simulator.Fault{Kind: simulator.FaultGatewaySilent, Gateway: silentGateway, From: at(silentGatewayDay, 0, 0), Until: at(silentGatewayDay+1, 0, 0)},
		"one case for its 25 meters; a re-read in the morning still fails, then they are estimated")
	c.add("gateway-silent-in-the-night", nil, simulator.Fault{Kind: simulator.FaultGatewaySilent, Gateway: nightlyGateway, From: at(silentNightDay, 0, 0), Until: at(silentNightDay, 2, 0)},
		"the third pass, after two o'clock, reads all its meters: no case")
	c.add("meter-dead", c.find("dead meter", quiet(billing.Power)), simulator.Fault{Kind: simulator.FaultSilent, From: at(deadMeterDay, 0, 0)},
		"estimated for two days, then exchanged for a new meter; nobody can be cut on the estimates")
	for i, day := range []int{4, 8, 12, 16, 19, 22, 24, 27, 29, 32} {
		service := billing.Power
		if i%2 == 1 {
			service = billing.Water
		}
		c.add(fmt.Sprintf("meter-silent-%d", i+1), c.find("silent meter", quiet(service)), simulator.Fault{Kind: simulator.FaultSilent, From: at(day, 0, 0), Until: at(day+1, 0, 0)},
			"a case the next morning; the value is read off the meter by hand or estimated")
	}
	c.add("meter-mute-once", c.find("mute meter", quiet(billing.Power)), simulator.Fault{Kind: simulator.FaultMute, From: at(14, 0, 0), Until: at(14, 0, 20)},
		"the line waits for the time-out; the second pass reads it")
}

// wrongReadings are meters that answer with wrong values.
func (c *casting) wrongReadings() {
	spike := func(p *Premise) int64 { return 10 * p.uses[30].Total() / 30 }
	p := c.find("spike", quiet(billing.Power))
	c.add("spike", p, simulator.Fault{Kind: simulator.FaultRegisterJump, From: at(spikeDay, 0, 0), Until: at(spikeDay, 6, 0), Offset: c.offset(p, spike)},
		"too high against its own history; the re-read in the morning is believed")
	p = c.find("long spike", quiet(billing.Power))
	c.add("spike-for-a-day", p, simulator.Fault{Kind: simulator.FaultRegisterJump, From: at(longSpikeDay, 0, 0), Until: at(longSpikeDay, 23, 59), Offset: c.offset(p, spike)},
		"too high, and again at the re-read: estimated")
	p = c.find("step back", func(p *Premise) bool { return p.Service == billing.Water && p.Spec.LoadProfile == realStepBackSeries })
	c.add("step-back", p, simulator.Fault{Kind: simulator.FaultRegisterJump, From: at(stepBackDay, 0, 0), Until: at(stepBackDay, 6, 0), Offset: realStepBack},
		"negative use: blocked, and settled by a re-read")
	c.add("clock-wrong", c.find("wrong clock", timeOfUse), simulator.Fault{Kind: simulator.FaultWrongClock, From: at(wrongClockDay, 0, 0), Until: at(wrongClockDay+2, 0, 0), Offset: 5400},
		"a clock skew where the bands are priced: the total is believed, the bands are divided anew")
}

func (c *casting) offset(p *Premise, of func(*Premise) int64) int64 {
	if c.err != nil {
		return 0
	}
	return of(p)
}

// badLines are answers that come late, from elsewhere or not at all.
func (c *casting) badLines() {
	night := func(day int) simulator.Fault { return simulator.Fault{From: at(day, 0, 0), Until: at(day, 6, 0)} }
	f := night(6)
	f.Kind, f.Times = simulator.FaultWrongUnit, 2
	c.add("wrong-unit", c.find("wrong unit", quiet(billing.Power)), f, "an answer with another unit's address is thrown away, and asked for again")
	f = night(8)
	f.Kind, f.Times = simulator.FaultDropLink, 3
	c.add("dropped-link", c.find("dropped link", quiet(billing.Power)), f, "the connection is opened again")
	f = night(10)
	f.Kind, f.Times, f.DelayMillis = simulator.FaultSlow, 2, timeoutMillis+400
	c.add("slow-meter", c.find("slow meter", quiet(billing.Water)), f, "the late answer isn't taken for the next request's")
}

// commands are faults that strike when a meter is written to. They stand from the first day on and strike once, whenever that is.
func (c *casting) commands() {
	topUp := habit(Plaza, billing.Power, HabitTopUp)
	inMeter := func(p *Premise) bool { return topUp(p) && p.Spec.CreditMode }
	for i := range 2 {
		c.add(fmt.Sprintf("credit-reply-lost-%d", i+1), c.find("lost reply after a credit write", inMeter), simulator.Fault{Kind: simulator.FaultLostReply, From: at(1, 0, 0), Times: 1},
			"the purchase is not written again: count and balance are read back, and it is credited once")
	}
	c.add("credit-write-repeated", c.find("repeated write", inMeter), simulator.Fault{Kind: simulator.FaultRepeatWrite, From: at(1, 0, 0), Times: 1},
		"the gateway sends the purchase twice; the meter refuses the second, and the read-back shows one")
	cut := habit(Garden, billing.Power, HabitAfterCut)
	c.add("relay-stuck", c.find("stuck relay", cut), simulator.Fault{Kind: simulator.FaultStuckRelay, From: at(1, 0, 0), Times: 1},
		"the read-back shows the relay closed: the cut is unknown, with a case, until somebody has looked")
	c.add("cut-reply-lost", c.find("lost reply after a cut", cut), simulator.Fault{Kind: simulator.FaultLostReply, From: at(1, 0, 0), Times: 1},
		"the read-back, not the answer, verifies the cut")
	c.add("valve-slow", c.find("slow valve", habit(Garden, billing.Water, HabitAfterCut)), simulator.Fault{Kind: simulator.FaultMovingValve, From: at(1, 0, 0), Times: 1, DelayMillis: 5000},
		"neither open nor closed at first: unknown, and verified by a later look")
	for _, site := range []billing.SiteID{Garden, Plaza} {
		p := c.find("pays when the command is out", habit(site, billing.Power, HabitJustAfter))
		for day := p.LastsDays + 1; day <= p.LastsDays+9; day++ {
			c.add(fmt.Sprintf("slow-at-the-cut-%s-%d", site, day), p, simulator.Fault{Kind: simulator.FaultSlow, From: at(day, 9, 55), Until: at(day, 10, 5), DelayMillis: 300},
				"the command takes so long that the payment comes while it is out; the payment starts a restore")
		}
	}
}

// MessageFails says which messages the simulated SMS centre fails to deliver: the second one to the customers who run low on some
// days. Without a receipt it is sent again, and until a receipt is there nobody is cut.
func (u *Utility) MessageFails() func(phone string, nth int) bool {
	unlucky := map[string]bool{}
	for _, p := range u.Premises {
		if (p.LastsDays == 9 || p.LastsDays == 13) && p.Habit != HabitTopUp {
			unlucky[p.Phone] = true
		}
	}
	return func(phone string, nth int) bool { return unlucky[phone] && nth == 2 }
}

package demo

import (
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/billing/tariffdata"
)

// The days of the doubts that validation is for.
const (
	awayDay   = 19 // nobody at home for three days, and the meter silent on two of them
	dropDay   = 23
	ratioDay  = 24
	bypassDay = 25
)

// timeOfUse is a quiet home whose bands have prices of their own.
func timeOfUse(p *Premise) bool {
	return quiet(billing.Power)(p) && p.Tariff == tariffdata.ZhejiangResidentialTOU
}

// doubts are readings that only a rule with more than one value in sight can judge.
func (c *casting) doubts() {
	away := c.find("away", func(p *Premise) bool { return quiet(billing.Power)(p) && p.mark()%2 == 1 })
	c.add("away-while-silent", away, simulator.Fault{Kind: simulator.FaultUnderCount, From: at(awayDay, 0, 10), Until: at(awayDay+3, 0, 0), Offset: 1000},
		"nobody is at home, so that the estimates of the silent days are too high")
	c.add("silent-while-away", away, simulator.Fault{Kind: simulator.FaultSilent, From: at(awayDay+1, 0, 0), Until: at(awayDay+2, 20, 0)},
		"estimated twice; the next reading is below the estimates but not below the last actual: no rollover, the estimates are spread again")
	c.add("drop-for-a-day", c.find("drop", quiet(billing.Water)), simulator.Fault{Kind: simulator.FaultRegisterJump, From: at(dropDay, 0, 0), Until: at(dropDay, 23, 59), Offset: -15_000},
		"negative; the next night it shows what it should: a drop that recovered, filled in between")
	c.add("ratio-shown-wrong", c.find("ratio", func(p *Premise) bool {
		return p.Class == "important" && p.Spec.Ratio == 20 && p.Gateway != masterGateway
	}),
		simulator.Fault{Kind: simulator.FaultWrongRatio, From: at(ratioDay, 0, 0), Until: at(ratioDay+2, 0, 0), Offset: 30},
		"the meter shows another transformer ratio than the file: blocked until somebody has looked at the plate")
	c.add("bypass", c.find("bypass", func(p *Premise) bool { return p.Gateway == masterGateway && p.Class == "important" }),
		simulator.Fault{Kind: simulator.FaultUnderCount, From: at(bypassDay, 0, 10), Until: at(bypassDay+1, 0, 10), Offset: 500},
		"half of a large shop's use goes past its meter: the master of the floor shows more than its sub-meters together")
}

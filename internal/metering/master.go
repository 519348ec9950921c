package metering

import (
	"strconv"

	"github.com/meterflow/meterflow/internal/billing"
)

// MasterCheck is a master meter and its sub-meters over the same stretch, raw, after ratio.
type MasterCheck struct {
	Service billing.Service
	Master  int64
	Subs    []int64
	// Units is the sum of all ratios: each register may hide up to one unit of its own.
	Units  int64
	Limits Limits
}

// ValidateMaster says when a master meter and its subs part by more than the line may lose.
func ValidateMaster(c MasterCheck) (Finding, bool) {
	var subs int64
	for _, use := range c.Subs {
		subs += use
	}
	difference, slack := c.Master-subs, c.Limits.LossFloorRaw+c.Units
	if difference <= c.Master*c.Limits.LossPermille/1000+slack && difference >= -slack {
		return Finding{}, false
	}
	return Finding{RuleMasterMismatch, true, map[string]string{
		"master": c.Service.Format(c.Master), "subs": c.Service.Format(subs), "difference": c.Service.Format(difference), "members": strconv.Itoa(len(c.Subs)),
		"limit": c.Service.Format(c.Master*c.Limits.LossPermille/1000 + slack),
	}}, true
}

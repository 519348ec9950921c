package demo

import (
	"context"
	"encoding/json"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// weighDoubt is what a sensible supervisor decides on the doubts that need no second look at the meter.
func weighDoubt(k openCase, tries int) (decision, bool) {
	switch k.Kind {
	case "false_rollover":
		return decision{What: "true_up", Reason: "估抄过高，按实抄重新分摊（Nobody was at home: the estimates are spread again）"}, true
	case "drop_recovered", "spike_recovered":
		return decision{What: "estimate", Reason: "瞬时错误，取前后实抄之间（A glitch: between the readings around it）"}, true
	case "clock_skew":
		if tries > 0 {
			return decision{What: "accept", Reason: "单一电价，时段不影响电费（One price: the bands cost nothing）"}, true
		}
		return decision{What: "resplit", Reason: "表钟快一个半小时，按以往比例划分时段（The clock is ahead: bands as in its past）"}, true
	case "ratio_mismatch":
		return decision{What: "accept", Reason: "铭牌与档案一致，表内设置已通知厂家（The plate agrees with the file）"}, true
	case "master_mismatch":
		return decision{What: "accept", Reason: "查获绕越用电，已处理（A bypass was found and removed）"}, true
	}
	return decision{}, false
}

// decideAll decides a case. Where a whole gateway or site is the cause, it looks at what the decision will do to each member first, and
// then takes it for all of them in one act.
func (c *Crew) decideAll(ctx context.Context, by billing.UserID, id billing.CaseID, d decision) error {
	if d.What != "estimate" {
		return c.decide(ctx, by, id, d)
	}
	choice := map[string]any{"decision": d.What, "cases": []map[string]any{{"case": id}}}
	var preview struct {
		Items []struct {
			Refused string `json:"refused"`
		} `json:"items"`
	}
	if err := c.office.post(ctx, by, "/api/v1/cases/preview", choice, &preview); err != nil {
		return err
	}
	if len(preview.Items) == 1 && preview.Items[0].Refused != "" {
		return &refusal{status: 409, message: preview.Items[0].Refused}
	}
	return c.decide(ctx, by, id, d)
}

// Rules of the shops, from the second working day on: the administrator tightens what a shop's credit may drift.
const ruleGroupName = "商铺三相表"

// keepRules lets the administrator publish a rule group once, with a version that begins some days later.
func (c *Crew) keepRules(ctx context.Context, now time.Time) (int, error) {
	const item = "rules/shops"
	day := billing.DateOf(now, zone)
	if day.Before(firstDay.AddDays(1)) || !c.due(item, now) {
		return 0, nil
	}
	var there bool
	if err := c.store.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM rule_groups WHERE site_id = $1 AND name = $2)`, Plaza, ruleGroupName).Scan(&there); err != nil || there {
		return 0, err
	}
	body := map[string]any{
		"site": Plaza, "name": ruleGroupName, "service": "power", "profile": profileThreePhase, "rules": json.RawMessage(shopRules), "from": day.AddDays(3).String(),
		"reason": "商铺用量大，收紧倍率与线损检查（Shops use much: narrower limits）",
	}
	return c.outcome(item, now, c.office.post(ctx, "admin1", "/api/v1/rules", body, nil))
}

// shopRules are the default limits with narrower ones for line loss and clock.
const shopRules = `{"levels": [{"up_to_raw": 1000, "high_percent": 250, "floor_raw": 1000, "low_percent": 10}, {"up_to_raw": 10000, "high_percent": 200, "floor_raw": 1000, "low_percent": 10},
	{"up_to_raw": 0, "high_percent": 150, "floor_raw": 10000, "low_percent": 20}], "history_days": 7, "capacity_percent": 110, "low_floor_raw": 2000, "zero_streak_days": 14,
	"credit_drift_fen": 100, "sum_tolerance_raw": 5, "off_tolerance_raw": 5, "clock_skew_seconds": 180, "loss_permille": 40, "loss_floor_raw": 100, "estimate_limit": 3,
	"spread_meters": 3, "similar_meters": 5, "methods": ["between", "last_month", "similar", "manual"]}`

package demo

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// openCase is an exception case as a supervisor sees it in the list.
type openCase struct {
	ID       billing.CaseID
	Kind     string
	Account  billing.AccountID
	OpenedAt time.Time
	// Intended is the purchase count that a credit in doubt was to bring the meter to; 0 for other cases, when nothing ever left for the meter, and when another
	// credit has taken that count.
	Intended int64
	// Members are the meters without an outcome, and what their doubtful reading says.
	Members  []billing.MeterID
	Doubtful []int64
}

const selectOpenCases = `
	SELECT k.id, k.kind, coalesce(k.account_id, ''), k.opened_at,
		coalesce((SELECT c.count_intended FROM commands c WHERE k.kind = 'credit_in_doubt' AND c.kind = 'credit' AND (c.cause = k.cause OR c.cause LIKE k.cause || '/%') AND c.count_intended IS NOT NULL
			AND NOT EXISTS (SELECT 1 FROM commands o WHERE o.meter_id = c.meter_id AND o.kind = 'credit' AND o.state = 'verified' AND o.count_intended = c.count_intended)
			ORDER BY length(c.id) DESC, c.id DESC LIMIT 1), 0),
		coalesce((SELECT array_agg(m.meter_id ORDER BY m.meter_id, m.freeze_at) FROM case_members m WHERE m.case_id = k.id AND m.outcome = ''), '{}'),
		coalesce((SELECT array_agg(coalesce(r.registers[1], -1) ORDER BY m.meter_id, m.freeze_at) FROM case_members m
			LEFT JOIN readings r ON r.meter_id = m.meter_id AND r.freeze_at = m.freeze_at AND r.version = m.reading_version
			WHERE m.case_id = k.id AND m.outcome = ''), '{}')
	FROM cases k WHERE k.state = 'open' ORDER BY k.opened_at, k.id`

// decideCases lets a supervisor decide what waits. A re-read comes first where one can help; if the case stays open after it, the
// next hour brings another decision.
func (c *Crew) decideCases(ctx context.Context, now time.Time) (did int, err error) {
	rows, _ := c.store.Pool.Query(ctx, selectOpenCases)
	cases, err := pgx.CollectRows(rows, pgx.RowToStructByPos[openCase])
	if err != nil {
		return 0, err
	}
	for i, k := range cases {
		item := "case/" + string(k.ID)
		if !c.due(item, now) {
			continue
		}
		d, err := c.weigh(ctx, k, c.tries[k.ID], now)
		if err != nil {
			return did, err
		}
		if d.What == "" {
			continue // tomorrow's reading will tell
		}
		c.tries[k.ID]++
		n, err := c.outcome(item, now, c.decideAll(ctx, []billing.UserID{"supervisor1", "supervisor2"}[i%2], k.ID, d))
		did += n
		if err != nil {
			return did, err
		}
	}
	return did, nil
}

// decision is what a supervisor decides on a case.
type decision struct {
	What     string
	Reason   string
	Values   map[billing.MeterID]billing.Registers
	Exchange *exchange
}

// exchange is the form that goes with a meter exchange.
type exchange struct {
	Closing   billing.Registers
	NewMeter  billing.MeterID
	NewSerial string
	Opening   billing.Registers
}

// weigh is what a sensible supervisor decides at the nth try.
func (c *Crew) weigh(ctx context.Context, k openCase, tries int, now time.Time) (decision, error) {
	switch k.Kind {
	case "credit_drift", "relay_mismatch", "too_low", "zero_streak":
		return decision{What: "accept", Reason: "已向用户核实，读数可信（Checked with the customer: the reading is right）"}, nil
	case "credit_in_doubt":
		return c.weighCredit(ctx, k, tries)
	case "supply_unknown":
		return c.weighSupply(ctx, k, tries)
	}
	if d, ok := weighDoubt(k, tries); ok {
		return d, nil
	}
	switch {
	case tries == 0 && !c.knownDead(k, now):
		return decision{What: "reread", Reason: "先远程补抄（Read again first）"}, nil
	case k.Kind == "missing" && c.knownDead(k, now) && now.After(at(deadMeterDay+2, 0, 0)):
		return c.weighExchange(ctx, k)
	case k.Kind == "gateway_silent" || k.Kind == "site_silent":
		return estimate(), nil
	case k.Kind == "negative" && now.Before(k.OpenedAt.Add(20*time.Hour)):
		return decision{}, nil
	case k.Kind == "missing" && tries < 3 && c.byHand(k):
		return c.readByHand(ctx, k)
	case k.Kind != "missing" && tries < 3 && c.dialAgrees(ctx, k):
		return decision{What: "accept", Reason: "现场核对示数无误（The display shows the same）"}, nil
	case tries%3 != 2:
		return estimate(), nil
	default: // an estimate was refused
		return c.readByHand(ctx, k)
	}
}

func estimate() decision {
	return decision{What: "estimate", Reason: "当日无法抄到，按历史用量估算（No reading to be had today: estimated from its past）"}
}

// premiseOf is whose meter it is, also after an exchange.
func (c *Crew) premiseOf(id billing.MeterID) *Premise {
	for i := range c.utility.Premises {
		p := &c.utility.Premises[i]
		if next, _ := successor(p); p.Meter == id || next == id {
			return p
		}
	}
	return nil
}

// knownDead says that the case is about the meter that the field crew knows to be dead: nobody reads it again in vain.
func (c *Crew) knownDead(k openCase, now time.Time) bool {
	for _, i := range c.incidents {
		if i.Name == "meter-dead" && len(k.Members) > 0 {
			p := c.premiseOf(k.Members[0])
			return p != nil && p.Account == i.Account && p.Meter == k.Members[0] && now.After(at(deadMeterDay+1, 0, 0))
		}
	}
	return false
}

// byHand says whether somebody goes and reads: for water, and for every other home.
func (c *Crew) byHand(k openCase) bool {
	if len(k.Members) != 1 {
		return false
	}
	p := c.premiseOf(k.Members[0])
	return p != nil && (p.Service == billing.Water || p.mark()%2 == 0)
}

// readByHand enters what the displays show.
func (c *Crew) readByHand(ctx context.Context, k openCase) (decision, error) {
	d := decision{What: "manual", Reason: "现场抄表（Read off the display）", Values: map[billing.MeterID]billing.Registers{}}
	for _, id := range k.Members {
		p := c.premiseOf(id)
		if p == nil {
			return estimate(), nil
		}
		state, err := c.dial(ctx, p.Account)
		if err != nil {
			return d, err
		}
		d.Values[id] = state.Registers
	}
	return d, nil
}

// dialAgrees says whether the displays show at least what the doubtful readings say, so that they were right.
func (c *Crew) dialAgrees(ctx context.Context, k openCase) bool {
	for i, id := range k.Members {
		p := c.premiseOf(id)
		if p == nil {
			return false
		}
		state, err := c.dial(ctx, p.Account)
		if err != nil || k.Doubtful[i] < 0 || state.Registers[0] < k.Doubtful[i] {
			return false
		}
	}
	return len(k.Members) > 0
}

// weighExchange reads the old meter's display a last time.
func (c *Crew) weighExchange(ctx context.Context, k openCase) (decision, error) {
	p := c.premiseOf(k.Members[0])
	state, err := c.dial(ctx, p.Account)
	if err != nil {
		return decision{}, err
	}
	id, serial := successor(p)
	return decision{What: "exchange", Reason: "通信模块损坏，换表（Its communication is broken: exchanged）", Exchange: &exchange{
		Closing: state.Registers, NewMeter: id, NewSerial: serial, Opening: make(billing.Registers, len(state.Registers)),
	}}, nil
}

// weighCredit asks for another read-back first, and then goes by what the meter's own counter shows.
func (c *Crew) weighCredit(ctx context.Context, k openCase, tries int) (decision, error) {
	if tries == 0 {
		return decision{What: "reread", Reason: "先回读表内次数和余额（Read count and balance back first）"}, nil
	}
	state, err := c.dial(ctx, k.Account)
	if err != nil {
		return decision{}, err
	}
	// Without a count, a volume for instance, the other decision follows when one was refused.
	if k.Intended > 0 && state.PurchaseCount >= k.Intended || k.Intended == 0 && tries%2 == 0 {
		return decision{What: "settle_credited", Reason: "现场查看：购电次数已增加（The meter's count has gone up）"}, nil
	}
	return decision{What: "settle_not_credited", Reason: "现场查看：购电次数未增加（The meter's count has not gone up）"}, nil
}

// weighSupply asks the meter again twice, and then sends somebody to look.
func (c *Crew) weighSupply(ctx context.Context, k openCase, tries int) (decision, error) {
	if tries < 2 {
		return decision{What: "reread", Reason: "先回读开关状态（Read the relay's state back first）"}, nil
	}
	state, err := c.dial(ctx, k.Account)
	if err != nil {
		return decision{}, err
	}
	if state.RelayOn {
		return decision{What: "confirm_on", Reason: "现场确认：有电（Seen on site: supply is on）"}, nil
	}
	return decision{What: "confirm_off", Reason: "现场确认：已断（Seen on site: supply is off）"}, nil
}

// mustRefuse takes the outcome of something that isn't allowed: a refusal is as it should be. Success would be a hole, and ends the demo.
func (c *Crew) mustRefuse(err error, what string) error {
	var r *refusal
	if errors.As(err, &r) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.New(strings.Join([]string{"the software allowed what it must refuse:", what}, " "))
}

package demo

import (
	"context"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// The reasons that supervisors give.
const (
	seenAndRight    = "已核对示数和用电情况，用量属实，放行（Readings and use were checked: it is right）"
	customerDoubts  = "用户对示数有异议，现场核对后再发行（The customer doubts the reading: we look on site first）"
	oneDoubter      = "customer doubts/" // the item of the bill that is held by hand
	furtherAfter    = 20 * time.Hour
	holdsAtSite     = Garden
	stoppedByLimits = `SELECT b.id FROM bills b JOIN billing_runs r ON r.id = b.run_id
		WHERE b.state = 'held' AND r.state IN ('awaiting_verification', 'verified') AND r.issued_by IS NULL
			AND EXISTS (SELECT 1 FROM bill_stops s WHERE s.bill_id = b.id AND s.rule <> 'earlier_held') ORDER BY b.id`
)

// lookAtBills lets a supervisor look at the bills that limits stopped, before the run is verified, and release them; and hold one bill of
// the compound's first run because its customer doubts the reading.
func (c *Crew) lookAtBills(ctx context.Context, now time.Time) (did int, err error) {
	rows, _ := c.store.Pool.Query(ctx, stoppedByLimits)
	stopped, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, err
	}
	for _, bill := range stopped {
		if item := "release/" + bill; c.due(item, now) {
			n, err := c.outcome(item, now, c.changeBill(ctx, "supervisor2", bill, "release", seenAndRight))
			did += n
			if err != nil {
				return did, err
			}
		}
	}
	n, err := c.holdOne(ctx, now)
	return did + n, err
}

func (c *Crew) holdOne(ctx context.Context, now time.Time) (int, error) {
	// The first of those that are neither large nor stopped for another reason; none when somebody holds one already.
	rows, _ := c.store.Pool.Query(ctx, `SELECT b.id FROM bills b JOIN billing_runs r ON r.id = b.run_id
		WHERE r.site_id = $1 AND r.version = 1 AND r.state = 'awaiting_verification' AND b.state = 'draft'
			AND NOT EXISTS (SELECT 1 FROM bill_stops s WHERE s.bill_id = b.id)
			AND NOT EXISTS (SELECT 1 FROM bills h WHERE h.run_id = r.id AND h.hold_reason = $2) ORDER BY b.id LIMIT 1`, holdsAtSite, customerDoubts)
	bills, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(bills) == 0 {
		return 0, err
	}
	item := oneDoubter + bills[0]
	if !c.due(item, now) {
		return 0, nil
	}
	return c.outcome(item, now, c.changeBill(ctx, "supervisor2", bills[0], "hold", customerDoubts))
}

// startFurther lets a supervisor bill what was held, the day after its run was issued, unless all of it is still in doubt.
func (c *Crew) startFurther(ctx context.Context, now time.Time) (did int, err error) {
	type waiting struct {
		Site     billing.SiteID
		From, To billing.Date
	}
	rows, _ := c.store.Pool.Query(ctx, `SELECT b.site_id, b.period_from, b.period_to FROM bills b JOIN billing_runs r ON r.id = b.run_id
		WHERE b.state = 'held' AND r.state = 'issued' GROUP BY 1, 2, 3 HAVING max(r.issued_at) <= $1 ORDER BY 1, 2`, now.Add(-furtherAfter))
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[waiting])
	if err != nil {
		return 0, err
	}
	for _, w := range all {
		item := "further/" + string(w.Site) + "/" + w.From.String()
		ready, err := c.undoubted(ctx, w.Site, billing.Period{From: w.From, To: w.To})
		if err != nil {
			return did, err
		}
		if !ready || !c.due(item, now) {
			continue
		}
		err = c.office.post(ctx, "supervisor1", "/api/v1/sites/"+url.PathEscape(string(w.Site))+"/further-runs", map[string]string{"month": w.From.String()[:7]}, nil)
		n, err := c.outcome(item, now, err)
		did += n
		if err != nil {
			return did, err
		}
	}
	return did, nil
}

// undoubted says whether a held bill of a site and period could be billed now.
func (c *Crew) undoubted(ctx context.Context, site billing.SiteID, p billing.Period) (bool, error) {
	held, err := c.store.HeldOf(ctx, site, p.From)
	if err != nil {
		return false, err
	}
	from, to := p.Instants(zone)
	cases, err := c.store.BlockingCases(ctx, site, from, to)
	if err != nil {
		return false, err
	}
	doubted := map[billing.AccountID]bool{}
	for _, k := range cases {
		for _, a := range k.Accounts {
			doubted[a] = true
		}
	}
	for _, b := range held {
		if !doubted[b.Account] {
			return true, nil
		}
	}
	return false, nil
}

func (c *Crew) changeBill(ctx context.Context, by billing.UserID, bill, what, reason string) error {
	return c.office.post(ctx, by, "/api/v1/bills/"+url.PathEscape(bill)+"/"+what, map[string]string{"reason": reason}, nil)
}

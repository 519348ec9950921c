package demo

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// wrongReading is a month's closing reading that turns out to be wrong after the bill was issued.
type wrongReading struct {
	Meter  billing.MeterID
	At     time.Time
	Shown  billing.Registers
	Before billing.Registers // the good reading of the day before
}

// right is what the display showed: half of the last day's use less.
func (w wrongReading) right() billing.Registers {
	r := make(billing.Registers, len(w.Shown))
	for i := range r {
		r[i] = w.Before[i] + (w.Shown[i]-w.Before[i])/2
	}
	if r.HasBands() { // the total counts what the bands count
		r[billing.Total] = w.Before.Total() + r.BandSum() - w.Before.BandSum()
	}
	return r
}

// correctBills lets a supervisor find, once the month's bills are out, that a closing reading was wrong: it is corrected, approved by
// others, and billed again. The maker's own approval is refused. A second correction isn't proved, and is rejected.
func (c *Crew) correctBills(ctx context.Context, now time.Time) (did int, err error) {
	var drafted int
	if err := c.store.Pool.QueryRow(ctx, `SELECT count(*) FROM corrections`).Scan(&drafted); err != nil {
		return 0, err
	}
	makers := []billing.UserID{"supervisor1", "supervisor2"}
	if drafted < len(makers) {
		n, err := c.draftCorrection(ctx, now, drafted, makers[drafted])
		if did += n; err != nil {
			return did, err
		}
	}
	n, err := c.decideCorrections(ctx, now)
	return did + n, err
}

func (c *Crew) draftCorrection(ctx context.Context, now time.Time, nth int, maker billing.UserID) (int, error) {
	var w wrongReading
	err := c.store.Pool.QueryRow(ctx, `SELECT r.meter_id, r.freeze_at, r.registers, p.registers
		FROM bills b JOIN billing_runs n ON n.id = b.run_id AND n.state = 'issued' JOIN accounts a ON a.id = b.account_id AND a.credit_mode = 'platform' JOIN sites s ON s.id = b.site_id
		JOIN fittings f ON f.service_point_id = a.service_point_id AND f.to_at IS NULL
		JOIN good_readings r ON r.meter_id = f.meter_id AND r.freeze_at = b.period_to::timestamp AT TIME ZONE s.time_zone AND f.from_at < r.freeze_at - interval '1 day'
		JOIN good_readings p ON p.meter_id = f.meter_id AND p.freeze_at = r.freeze_at - interval '1 day' AND r.registers[1] - p.registers[1] > 10
		WHERE b.state = 'issued' AND b.version = 1 ORDER BY r.quality = 'actual', b.id OFFSET $1 LIMIT 1`, nth).Scan(&w.Meter, &w.At, &w.Shown, &w.Before)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	item := fmt.Sprint("correction/", nth)
	if err != nil || !c.due(item, now) {
		return 0, err
	}
	body := map[string]any{
		"reason": "用户提供的照片与月末示数不符（The customer's photo shows another number than the month's closing reading）", "evidence": fmt.Sprint("PHOTO-", nth+1),
		"change": billing.CorrectionChange{Reading: &billing.ReadingChange{Meter: w.Meter, At: w.At, Registers: w.right()}},
	}
	return c.outcome(item, now, c.office.post(ctx, maker, "/api/v1/corrections", body, nil))
}

// decideCorrections gives each previewed correction its next approval, or rejects the one that isn't proved.
func (c *Crew) decideCorrections(ctx context.Context, now time.Time) (did int, err error) {
	type waiting struct {
		ID       billing.CorrectionID
		State    billing.CorrectionState
		Maker    billing.UserID
		Evidence string
		Digest   []byte
	}
	rows, _ := c.store.Pool.Query(ctx, `SELECT id, state, drafted_by, evidence, digest FROM corrections WHERE state IN ('previewed', 'approved_once') ORDER BY id`)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[waiting])
	if err != nil {
		return 0, err
	}
	for _, k := range all {
		item := "correction/" + string(k.ID) + "/" + string(k.State)
		if !c.due(item, now) {
			continue
		}
		address := "/api/v1/corrections/" + url.PathEscape(string(k.ID))
		approve := func(by billing.UserID) error {
			return c.office.post(ctx, by, address+"/approve", map[string]string{"digest": hex.EncodeToString(k.Digest)}, nil)
		}
		act := func() error { return approve("supervisor2") }
		switch {
		case k.Evidence == "PHOTO-2":
			act = func() error {
				return c.office.post(ctx, "supervisor1", address+"/reject", map[string]string{"reason": "照片看不清表号，不能作为凭证（The photo doesn't show the meter's number）"}, nil)
			}
		case k.State == billing.CorrectionApprovedOnce:
			act = func() error { return approve("manager1") }
		default:
			if err := c.mustRefuse(approve(k.Maker), "approval of "+string(k.ID)+" by its maker"); err != nil {
				return did, err
			}
		}
		n, err := c.outcome(item, now, act())
		if did += n; err != nil {
			return did, err
		}
	}
	return did, nil
}

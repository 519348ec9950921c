package store

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// onFile is what a correction would replace, as it stands now: kept beside the change, so that both values are there for good.
func onFile(ctx context.Context, tx *Tx, c billing.CorrectionChange) ([]byte, error) {
	switch {
	case c.Reading != nil:
		r, err := readingAt(ctx, tx, c.Reading.Meter, c.Reading.At)
		if err != nil {
			return nil, err
		}
		return json.Marshal(map[string]any{"version": r.Version, "registers": r.Registers, "quality": r.Quality, "recorded_by": r.RecordedBy})
	case c.Ratio != nil:
		f, err := lockFitting(ctx, tx, c.Ratio.Fitting)
		if err != nil {
			return nil, err
		}
		return json.Marshal(map[string]any{"meter": f.Meter, "ratio": f.Ratio, "from_at": f.FromAt, "to_at": f.ToAt})
	case c.Exchange != nil:
		f, err := lockFitting(ctx, tx, c.Exchange.Fitting)
		if err != nil {
			return nil, err
		}
		before, err := fittingBefore(ctx, tx, f)
		if err != nil {
			return nil, err
		}
		return json.Marshal(map[string]any{"meter": f.Meter, "opening": f.Opening, "meter_before": before.Meter, "closing": before.Closing})
	case c.Price != nil:
		var versions []byte
		err := tx.QueryRow(ctx, `SELECT definition -> 'versions' FROM tariffs WHERE id = $1`, c.Price.Tariff).Scan(&versions)
		return versions, err
	case c.Terms != nil:
		t, err := termsOn(ctx, tx, c.Terms.Account, c.Terms.From)
		if err != nil {
			return nil, err
		}
		return json.Marshal(t.facts())
	case c.Quantity != nil:
		rows, _ := tx.Query(ctx, selectQuantity+` WHERE account_id = $1 AND month = $2 AND kind = $3 ORDER BY account_id, month, kind, version DESC`,
			c.Quantity.Account, c.Quantity.Month, c.Quantity.Kind)
		q, err := optional[PeriodQuantity](rows)
		if err != nil || q == nil {
			return []byte(`{}`), err
		}
		return json.Marshal(map[string]any{"version": q.Version, "value": q.Value, "source": q.Source, "recorded_by": q.RecordedBy})
	case c.CarryOver != nil:
		a, err := readAccount(ctx, tx, c.CarryOver.Account)
		if err != nil {
			return nil, err
		}
		return json.Marshal(map[string]any{"use": a.UseBefore, "opened_on": a.OpenedOn})
	}
	return nil, billing.Errorf(billing.CodeInvalidInput, "the correction changes nothing")
}

func readingAt(ctx context.Context, tx *Tx, meter billing.MeterID, at time.Time) (Reading, error) {
	rows, _ := tx.Query(ctx, `SELECT `+readingColumns+` FROM current_readings r WHERE r.meter_id = $1 AND r.freeze_at = $2`, meter, at)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Reading])
}

const selectFitting = `SELECT f.id, f.service_point_id, f.meter_id, m.service, m.digits, f.ratio, f.from_at, f.to_at, f.opening, f.closing FROM fittings f JOIN meters m ON m.id = f.meter_id`

func lockFitting(ctx context.Context, tx *Tx, id int64) (Fitting, error) {
	rows, _ := tx.Query(ctx, selectFitting+` WHERE f.id = $1 FOR UPDATE OF f`, id)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Fitting])
}

// Fitting reads one fitting.
func (s *Store) Fitting(ctx context.Context, id int64) (Fitting, error) {
	rows, _ := s.Pool.Query(ctx, selectFitting+` WHERE f.id = $1`, id)
	f, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Fitting])
	return f, translate(err)
}

// fittingBefore is the fitting that ended where f began; a zero one when f was the first.
func fittingBefore(ctx context.Context, tx *Tx, f Fitting) (Fitting, error) {
	rows, _ := tx.Query(ctx, selectFitting+` WHERE f.service_point_id = $1 AND f.to_at = $2 FOR UPDATE OF f`, f.ServicePoint, f.FromAt)
	found, err := optional[Fitting](rows)
	if err != nil || found == nil {
		return Fitting{}, err
	}
	return *found, nil
}

// writeChange writes a correction's change into what bills rest on.
func writeChange(ctx context.Context, tx *Tx, k Correction) error {
	c, err := k.Parts()
	if err != nil {
		return err
	}
	switch {
	case c.Reading != nil:
		return writeReading(ctx, tx, k, *c.Reading)
	case c.Ratio != nil:
		return writeRatio(ctx, tx, k, *c.Ratio)
	case c.Exchange != nil:
		return writeExchange(ctx, tx, k, *c.Exchange)
	case c.Price != nil:
		return writePrice(ctx, tx, k, *c.Price)
	case c.Terms != nil:
		return writeTerms(ctx, tx, k, *c.Terms)
	case c.Quantity != nil:
		return writeQuantity(ctx, tx, k, *c.Quantity)
	case c.CarryOver != nil:
		return writeCarryOver(ctx, tx, k, *c.CarryOver)
	}
	return billing.Errorf(billing.CodeInvalidInput, "the correction changes nothing")
}

// writeReading adds a version of the reading: what was read besides the registers stays, and so does the version before.
func writeReading(ctx context.Context, tx *Tx, k Correction, c billing.ReadingChange) error {
	r, err := readingAt(ctx, tx, c.Meter, c.At)
	if err != nil {
		return err
	}
	before := r.Registers
	r.Registers, r.Quality, r.Doubtful, r.Interpolated = c.Registers, billing.QualityEdited, false, false
	r.TakenAt, r.TakenReal = tx.Now, time.Time{}
	r.RecordedBy, r.Reason = string(k.DraftedBy), string(k.ID)+": "+k.Reason
	version, err := addVersion(ctx, tx, r)
	if err != nil {
		return err
	}
	return k.journalMeter(ctx, tx, c.Meter, "reading_corrected", map[string]any{"at": c.At, "version": version, "before": before, "after": c.Registers})
}

// journalMeter says on the meter's own chain what was corrected.
func (c Correction) journalMeter(ctx context.Context, tx *Tx, meter billing.MeterID, event string, data map[string]any) error {
	var state string
	if err := tx.QueryRow(ctx, `SELECT state FROM meters WHERE id = $1`, meter).Scan(&state); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: c.site(), Kind: "meter", ID: string(meter), Event: event, From: state, To: state, Reason: c.Reason, Refs: []string{string(c.ID)}, Data: data})
}

// writeRatio gives a fitting another ratio, as a whole or from an instant on: then it ends there, with the registers as its closing, and
// a fitting of the same meter begins with them (rule 14).
func writeRatio(ctx context.Context, tx *Tx, k Correction, c billing.RatioChange) error {
	f, err := lockFitting(ctx, tx, c.Fitting)
	if err != nil {
		return err
	}
	if c.At.Equal(f.FromAt) {
		_, err = tx.Exec(ctx, `UPDATE fittings SET ratio = $2 WHERE id = $1`, f.ID, c.Ratio)
	} else {
		if _, err = tx.Exec(ctx, `UPDATE fittings SET to_at = $2, closing = $3 WHERE id = $1`, f.ID, c.At, c.Registers); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO fittings (service_point_id, meter_id, ratio, from_at, to_at, opening, closing) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			f.ServicePoint, f.Meter, c.Ratio, c.At, f.ToAt, c.Registers, f.Closing)
	}
	if err != nil {
		return err
	}
	if f.ToAt == nil {
		if _, err := tx.Exec(ctx, `UPDATE meters SET ratio = $2 WHERE id = $1`, f.Meter, c.Ratio); err != nil {
			return err
		}
	}
	return k.journalMeter(ctx, tx, f.Meter, "ratio_corrected", map[string]any{"at": c.At, "before": f.Ratio, "after": c.Ratio, "registers": c.Registers})
}

func writeExchange(ctx context.Context, tx *Tx, k Correction, c billing.ExchangeChange) error {
	f, err := lockFitting(ctx, tx, c.Fitting)
	if err != nil {
		return err
	}
	if len(c.Opening) > 0 {
		if _, err := tx.Exec(ctx, `UPDATE fittings SET opening = $2 WHERE id = $1`, f.ID, c.Opening); err != nil {
			return err
		}
		if err := k.journalMeter(ctx, tx, f.Meter, "opening_corrected", map[string]any{"at": f.FromAt, "before": f.Opening, "after": c.Opening}); err != nil {
			return err
		}
	}
	if len(c.Closing) == 0 {
		return nil
	}
	before, err := fittingBefore(ctx, tx, f)
	if err != nil {
		return err
	}
	if before.ID == 0 {
		return billing.Errorf(billing.CodeInvalidInput, "no meter hung there before meter %s: only its opening can be corrected", f.Meter)
	}
	if _, err := tx.Exec(ctx, `UPDATE fittings SET closing = $2 WHERE id = $1`, before.ID, c.Closing); err != nil {
		return err
	}
	return k.journalMeter(ctx, tx, before.Meter, "closing_corrected", map[string]any{"at": f.FromAt, "before": before.Closing, "after": c.Closing})
}

// writePrice puts a version into a tariff whose start has passed. Bills keep the tariff that they were rated with in their own input,
// so the earlier prices stay on record with whatever was billed by them, and with the correction.
func writePrice(ctx context.Context, tx *Tx, k Correction, c billing.PriceCorrection) error {
	var definition []byte
	if err := tx.QueryRow(ctx, `SELECT definition FROM tariffs WHERE id = $1 FOR UPDATE`, c.Tariff).Scan(&definition); err != nil {
		return err
	}
	var t billing.Tariff
	if err := json.Unmarshal(definition, &t); err != nil {
		return err
	}
	corrected, err := c.With(t)
	if err != nil {
		return err
	}
	_, until, err := corrected.VersionAt(c.Version.From)
	if err != nil {
		return err
	}
	if err := belowCeilings(ctx, tx, c.Tariff, t.Service, c.Version, until); err != nil {
		return err
	}
	version, err := json.Marshal(c.Version)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO tariff_versions (tariff_id, from_day, number, version, correction_id, published_at)
		SELECT $1, $2::date, coalesce(max(number), 0) + 1, $3, $4, $5 FROM tariff_versions WHERE tariff_id = $1 AND from_day = $2::date`,
		c.Tariff, c.Version.From, string(version), k.ID, tx.Now)
	if err != nil {
		return err
	}
	var was *billing.TariffVersion
	if i := slices.IndexFunc(t.Versions, func(v billing.TariffVersion) bool { return v.From == c.Version.From }); i >= 0 {
		was = &t.Versions[i]
	}
	return tx.Journal(ctx, Entry{Site: "-", Kind: "tariff", ID: string(c.Tariff), Event: "price_corrected", Reason: k.Reason, Refs: []string{string(k.ID)},
		Data: map[string]any{"before": was, "after": c.Version}})
}

// TermsOfChange are the terms that a correction puts in force.
func TermsOfChange(c billing.TermsChange) AccountTerms {
	t := AccountTerms{Account: c.Account, FromDay: c.From, Tariff: c.Tariff, Class: c.Class, Persons: c.Persons, CapacityKVA: c.CapacityKVA, SuspendedKVA: c.SuspendedKVA,
		ContractDemandKW: c.ContractDemandKW, ChargeChoice: c.Choice, Settlement: SettleByMeter, ContractRegister: c.Register, ArrearsContract: c.ArrearsContract}
	if c.Register != "" {
		t.Settlement = SettleByRegister
	}
	return t
}

// writeTerms records the terms in the name of who made the correction; what was agreed before stays on record.
func writeTerms(ctx context.Context, tx *Tx, k Correction, c billing.TermsChange) error {
	made := *tx
	made.Actor, made.Reason = string(k.DraftedBy), string(k.ID)+": "+k.Reason
	if err := RecordTerms(ctx, &made, TermsOfChange(c)); err != nil {
		return err
	}
	a, err := readAccount(ctx, tx, c.Account)
	if err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: a.Site, Kind: "account", ID: string(c.Account), Event: "terms_corrected", Reason: k.Reason, Refs: []string{string(k.ID)},
		Data: map[string]any{"from": c.From, "tariff": c.Tariff, "class": c.Class}})
}

// QuantityOfChange is the quantity that a correction puts on file.
func QuantityOfChange(c billing.QuantityChange) PeriodQuantity {
	return PeriodQuantity{Account: c.Account, Month: c.Month, Kind: c.Kind, Value: c.Value, Source: "manual"}
}

// writeQuantity records the quantity in the name of who made the correction; what was entered before stays on record.
func writeQuantity(ctx context.Context, tx *Tx, k Correction, c billing.QuantityChange) error {
	made := *tx
	made.Actor, made.Reason = string(k.DraftedBy), string(k.ID)+": "+k.Reason
	return RecordPeriodQuantity(ctx, &made, QuantityOfChange(c))
}

// writeCarryOver replaces the use that an account was opened with. The earlier value stays with the correction and in the journal.
func writeCarryOver(ctx context.Context, tx *Tx, k Correction, c billing.CarryOverChange) error {
	a, err := readAccount(ctx, tx, c.Account)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE accounts SET use_before = $2 WHERE id = $1`, a.ID, c.Use); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: a.Site, Kind: "account", ID: string(a.ID), Event: "carry_over_corrected", Reason: k.Reason, Refs: []string{string(k.ID)},
		Data: map[string]any{"before": a.UseBefore, "after": c.Use}})
}

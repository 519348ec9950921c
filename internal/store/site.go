package store

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Site is a place with its own time zone and policy: the unit of data access.
type Site struct {
	ID     billing.SiteID
	NameZH string
	NameEN string
	Zone   *time.Location
	// Policy is the site's deviations from the defaults, as JSON; package activities knows its shape.
	Policy json.RawMessage
}

const selectSite = `SELECT id, name_zh, name_en, time_zone, policy FROM sites`

// Site reads one site.
func (s *Store) Site(ctx context.Context, id billing.SiteID) (Site, error) {
	rows, _ := s.Pool.Query(ctx, selectSite+` WHERE id = $1`, id)
	site, err := pgx.CollectExactlyOneRow(rows, scanSite)
	return site, translate(err)
}

// Sites reads all sites, by id.
func (s *Store) Sites(ctx context.Context) ([]Site, error) {
	rows, _ := s.Pool.Query(ctx, selectSite+` ORDER BY id`)
	sites, err := pgx.CollectRows(rows, scanSite)
	return sites, translate(err)
}

func scanSite(row pgx.CollectableRow) (Site, error) {
	var site Site
	var zone string
	if err := row.Scan(&site.ID, &site.NameZH, &site.NameEN, &zone, &site.Policy); err != nil {
		return site, err
	}
	var err error
	if site.Zone, err = time.LoadLocation(zone); err != nil {
		return site, billing.Errorf(billing.CodeInvalidInput, "site %s has the time zone %q, which isn't known: correct it to a name such as Asia/Shanghai", site.ID, zone)
	}
	return site, nil
}

// Calendar reads all holidays and the weekend days that are worked for them.
func (s *Store) Calendar(ctx context.Context) (billing.Calendar, error) {
	rows, err := s.Pool.Query(ctx, `SELECT day, off, name FROM calendar_days ORDER BY day`)
	if err != nil {
		return billing.Calendar{}, translate(err)
	}
	var years []billing.CalendarYear
	var at time.Time
	var day billing.CalendarDay
	_, err = pgx.ForEachRow(rows, []any{&at, &day.Off, &day.Name}, func() error {
		day.Date = billing.DateOf(at, time.UTC)
		if n := len(years); n == 0 || years[n-1].Year != at.Year() {
			years = append(years, billing.CalendarYear{Year: at.Year()})
		}
		y := &years[len(years)-1]
		y.Days = append(y.Days, day)
		return nil
	})
	return billing.NewCalendar(years...), translate(err)
}

// AddCalendarYear loads the published list of one year; loading it again replaces it.
func (s *Store) AddCalendarYear(ctx context.Context, by By, year billing.CalendarYear) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM calendar_days WHERE extract(year FROM day) = $1`, year.Year); err != nil {
			return err
		}
		for _, d := range year.Days {
			if _, err := tx.Exec(ctx, `INSERT INTO calendar_days (day, off, name) VALUES ($1, $2, $3)`, d.Date.String(), d.Off, d.Name); err != nil {
				return err
			}
		}
		return tx.Journal(ctx, Entry{Site: "-", Kind: "calendar", ID: strconv.Itoa(year.Year), Event: "loaded", Data: map[string]int{"days": len(year.Days)}})
	})
}

// Setting reads a setting into v; a missing one leaves v as it is.
func (s *Store) Setting(ctx context.Context, key string, v any) error {
	var raw []byte
	err := s.Pool.QueryRow(ctx, `SELECT value FROM settings WHERE key = $1`, key).Scan(&raw)
	if err == pgx.ErrNoRows {
		return nil
	}
	if err != nil {
		return translate(err)
	}
	return json.Unmarshal(raw, v)
}

// SetSetting writes a setting and says so in the journal.
func (s *Store) SetSetting(ctx context.Context, by By, key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.Change(ctx, by, func(tx *Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, key, string(raw)); err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: "-", Kind: "setting", ID: key, Event: "set", Data: map[string]json.RawMessage{"value": raw}})
	})
}

package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// RuleGroup is the kind of meters at a site that one rule set judges. Empty Profile or Class fits any.
type RuleGroup struct {
	ID      string
	Site    billing.SiteID `db:"site_id"`
	Name    string
	Service billing.Service
	Profile string
	Class   billing.CustomerClass
}

// Fits says whether a meter of this kind belongs to the group, and how much the group says of it: of several that fit, the highest wins.
func (g RuleGroup) Fits(service billing.Service, profile string, class billing.CustomerClass) (weight int, ok bool) {
	if g.Service != service || (g.Profile != "" && g.Profile != profile) || (g.Class != "" && g.Class != class) {
		return 0, false
	}
	if g.Profile != "" {
		weight += 2
	}
	if g.Class != "" {
		weight++
	}
	return weight, true
}

// RuleVersion is a rule set with the days on which it holds: readings with freeze instants in [FromDay, ToDay), local. ToDay is zero
// where it holds until the next version begins. Rules is metering.Limits as JSON; package activities knows its shape.
type RuleVersion struct {
	Group       string `db:"group_id"`
	Version     int
	FromDay     billing.Date
	ToDay       billing.Date
	Rules       json.RawMessage
	MadeBy      billing.UserID
	MadeName    string
	Reason      string
	MadeAt      time.Time
	WithdrawnBy billing.UserID // empty while it stands
	Withdrawal  string         // why
}

const selectRuleVersion = `SELECT v.group_id, v.version, v.from_day, v.to_day, v.rules, v.made_by, coalesce(u.name, '') AS made_name, v.reason, v.made_at,
		coalesce(w.withdrawn_by, '') AS withdrawn_by, coalesce(w.reason, '') AS withdrawal
	FROM rule_versions v LEFT JOIN users u ON u.id = v.made_by LEFT JOIN rule_withdrawals w ON w.group_id = v.group_id AND w.version = v.version`

const selectRuleGroup = `SELECT g.id, g.site_id, g.name, g.service, g.profile, g.class FROM rule_groups g`

// RuleGroups lists the groups of some sites.
func (s *Store) RuleGroups(ctx context.Context, sites []billing.SiteID) ([]RuleGroup, error) {
	rows, _ := s.Pool.Query(ctx, selectRuleGroup+` WHERE g.site_id = ANY($1) ORDER BY g.site_id, g.service, g.profile, g.class`, sites)
	gs, err := pgx.CollectRows(rows, pgx.RowToStructByName[RuleGroup])
	return gs, translate(err)
}

// RuleGroup reads one group with all its versions, newest first.
func (s *Store) RuleGroup(ctx context.Context, id string) (RuleGroup, []RuleVersion, error) {
	rows, _ := s.Pool.Query(ctx, selectRuleGroup+` WHERE g.id = $1`, id)
	g, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[RuleGroup])
	if err != nil {
		return g, nil, translate(err)
	}
	rows, _ = s.Pool.Query(ctx, selectRuleVersion+` WHERE v.group_id = $1 ORDER BY v.version DESC`, id)
	vs, err := pgx.CollectRows(rows, pgx.RowToStructByName[RuleVersion])
	return g, vs, translate(err)
}

// GroupRules is a group with the version that is in force.
type GroupRules struct {
	RuleGroup
	Version int
	Rules   json.RawMessage
}

// RulesInForce lists a site's groups with the versions that judge readings of a freeze instant; a group without one then is missing.
func (s *Store) RulesInForce(ctx context.Context, site billing.SiteID, freeze time.Time) ([]GroupRules, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT g.id, g.site_id, g.name, g.service, g.profile, g.class, v.version, v.rules
		FROM rule_groups g JOIN sites s ON s.id = g.site_id CROSS JOIN LATERAL (
			SELECT x.version, x.rules, x.to_day FROM rule_versions x WHERE x.group_id = g.id AND x.from_day <= ($2 AT TIME ZONE s.time_zone)::date
				AND NOT EXISTS (SELECT 1 FROM rule_withdrawals w WHERE w.group_id = x.group_id AND w.version = x.version)
			ORDER BY x.from_day DESC LIMIT 1) v
		WHERE g.site_id = $1 AND (v.to_day IS NULL OR v.to_day > ($2 AT TIME ZONE s.time_zone)::date) ORDER BY g.id`, site, freeze)
	gs, err := pgx.CollectRows(rows, pgx.RowToStructByName[GroupRules])
	return gs, translate(err)
}

// AddRuleGroup makes a group with its first version, which begins in the future, and gives the group's id.
func (s *Store) AddRuleGroup(ctx context.Context, by By, g RuleGroup, v RuleVersion) (string, error) {
	err := s.Change(ctx, by, func(tx *Tx) error {
		var other string
		err := tx.QueryRow(ctx, `SELECT id FROM rule_groups WHERE site_id = $1 AND service = $2 AND profile = $3 AND class = $4`, g.Site, g.Service, g.Profile, g.Class).Scan(&other)
		if err == nil {
			return billing.Errorf(billing.CodeConflict, "group %s is for the same kind of meter at this site already: give that one a new version", other)
		}
		if err != pgx.ErrNoRows {
			return err
		}
		if err := tx.QueryRow(ctx, `INSERT INTO rule_groups (id, site_id, name, service, profile, class) VALUES ('RG' || nextval('rule_group_no'), $1, $2, $3, $4, $5) RETURNING id`,
			g.Site, g.Name, g.Service, g.Profile, g.Class).Scan(&g.ID); err != nil {
			return err
		}
		err = tx.Journal(ctx, Entry{Site: g.Site, Kind: "rule_group", ID: g.ID, Event: "added", To: "added",
			Data: map[string]any{"name": g.Name, "service": g.Service, "profile": g.Profile, "class": g.Class}})
		if err != nil {
			return err
		}
		v.Group = g.ID
		return addRuleVersion(ctx, tx, g, v)
	})
	return g.ID, err
}

// AddRuleVersion gives a group a rule set from a day in the future on. Nothing that holds already is changed: the version before ends
// where this one begins.
func (s *Store) AddRuleVersion(ctx context.Context, by By, v RuleVersion) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		rows, _ := tx.Query(ctx, selectRuleGroup+` WHERE g.id = $1 FOR UPDATE`, v.Group)
		g, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[RuleGroup])
		if err != nil {
			return err
		}
		return addRuleVersion(ctx, tx, g, v)
	})
}

func addRuleVersion(ctx context.Context, tx *Tx, g RuleGroup, v RuleVersion) error {
	if err := ruleDates(ctx, tx, g, v); err != nil {
		return err
	}
	var end *string
	if !v.ToDay.IsZero() {
		day := v.ToDay.String()
		end = &day
	}
	err := tx.QueryRow(ctx, `INSERT INTO rule_versions (group_id, version, from_day, to_day, rules, made_by, reason, made_at)
		SELECT $1, coalesce(max(version), 0) + 1, $2, $3, $4, $5, $6, $7 FROM rule_versions WHERE group_id = $1 RETURNING version`,
		v.Group, v.FromDay.String(), end, string(v.Rules), tx.Actor, tx.Reason, tx.Now).Scan(&v.Version)
	if err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: g.Site, Kind: "rule_group", ID: g.ID, Event: "version_added", From: "added", To: "added",
		Data: map[string]any{"version": v.Version, "from_day": v.FromDay, "to_day": v.ToDay, "rules": v.Rules}})
}

// ruleDates refuses dates that are past, turned round, or those of another version.
func ruleDates(ctx context.Context, tx *Tx, g RuleGroup, v RuleVersion) error {
	var today billing.Date
	if err := tx.QueryRow(ctx, `SELECT (business_now() AT TIME ZONE time_zone)::date FROM sites WHERE id = $1`, g.Site).Scan(&today); err != nil {
		return err
	}
	if !v.FromDay.After(today) {
		return billing.Errorf(billing.CodeInvalidInput, "the rules can't begin on %s: choose a day after today, %s, so that no reading is judged twice", v.FromDay, today)
	}
	if !v.ToDay.IsZero() && !v.ToDay.After(v.FromDay) {
		return billing.Errorf(billing.CodeInvalidInput, "the rules end on %s, which is not after they begin on %s: correct one of the days", v.ToDay, v.FromDay)
	}
	rows, _ := tx.Query(ctx, selectRuleVersion+` WHERE v.group_id = $1 AND w.version IS NULL AND (v.from_day >= $2 OR v.to_day > $2) ORDER BY v.from_day LIMIT 1`, v.Group, v.FromDay.String())
	other, err := optional[RuleVersion](rows)
	if err != nil || other == nil {
		return err
	}
	if !other.FromDay.Before(v.FromDay) {
		return billing.Errorf(billing.CodeInvalidInput, "the dates overlap version %d, which begins on %s: begin after it, or withdraw it first", other.Version, other.FromDay)
	}
	return billing.Errorf(billing.CodeInvalidInput, "the dates overlap version %d, which holds from %s to %s: begin on %s or later", other.Version, other.FromDay, other.ToDay, other.ToDay)
}

// WithdrawRuleVersion takes back a version that has not begun.
func (s *Store) WithdrawRuleVersion(ctx context.Context, by By, group string, version int) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		rows, _ := tx.Query(ctx, selectRuleGroup+` WHERE g.id = $1 FOR UPDATE`, group)
		g, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[RuleGroup])
		if err != nil {
			return err
		}
		var begun, withdrawn bool
		err = tx.QueryRow(ctx, `SELECT v.from_day <= (business_now() AT TIME ZONE s.time_zone)::date, w.version IS NOT NULL
			FROM rule_versions v JOIN sites s ON s.id = $3 LEFT JOIN rule_withdrawals w ON w.group_id = v.group_id AND w.version = v.version
			WHERE v.group_id = $1 AND v.version = $2`, group, version, g.Site).Scan(&begun, &withdrawn)
		switch {
		case err != nil:
			return err
		case withdrawn:
			return billing.Errorf(billing.CodeClosed, "version %d was withdrawn already: nothing was changed", version)
		case begun:
			return billing.Errorf(billing.CodeClosed, "version %d is in force and has judged readings: add a version that begins later instead", version)
		}
		_, err = tx.Exec(ctx, `INSERT INTO rule_withdrawals (group_id, version, withdrawn_by, reason, withdrawn_at) VALUES ($1, $2, $3, $4, $5)`,
			group, version, tx.Actor, tx.Reason, tx.Now)
		if err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: g.Site, Kind: "rule_group", ID: g.ID, Event: "version_withdrawn", From: "added", To: "added", Data: map[string]any{"version": version}})
	})
}

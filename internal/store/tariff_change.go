package store

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// TariffChange is one change of prices on its way: a new version of a tariff, or a new tariff.
type TariffChange struct {
	ID          billing.TariffChangeID
	Tariff      billing.TariffID `db:"tariff_id"`
	Service     billing.Service
	NameZH      string
	NameEN      string
	From        billing.Date          `db:"from_day"` // first local day of the new prices
	Version     billing.TariffVersion // decoded from JSON
	State       billing.TariffState
	Revision    int              // grows with each edit
	Editors     []billing.UserID // none of them may approve
	MadeBy      billing.UserID   // who wrote this revision
	MadeAt      time.Time
	Why         string
	SubmittedAt *time.Time
	Approved1By billing.UserID
	Approved1At *time.Time
	Approved2By billing.UserID
	Approved2At *time.Time
	RejectedBy  billing.UserID
	Reason      string
	ClosedAt    *time.Time
	InForceAt   *time.Time
}

const tariffChangeColumns = `c.id, c.tariff_id, c.service, c.name_zh, c.name_en, c.from_day, c.version, c.state, c.revision, c.editors, c.made_by, c.made_at, c.why,
	c.submitted_at, coalesce(c.approved1_by, '') AS approved1_by, c.approved1_at, coalesce(c.approved2_by, '') AS approved2_by, c.approved2_at,
	coalesce(c.rejected_by, '') AS rejected_by, c.reason, c.closed_at, c.in_force_at`

// refs are the numbers that lead to a change.
func (c TariffChange) refs() []string { return []string{string(c.Tariff)} }

// File is the change in the form of a tariff file: its tariff with this one version.
func (c TariffChange) File() billing.Tariff {
	return billing.Tariff{ID: c.Tariff, Name: billing.Names{ZH: c.NameZH, EN: c.NameEN}, Service: c.Service, Versions: []billing.TariffVersion{c.Version}}
}

// Edited says whether a person ever wrote in the change.
func (c TariffChange) Edited(by billing.UserID) bool {
	for _, e := range c.Editors {
		if e == by {
			return true
		}
	}
	return false
}

// TariffChange reads one change.
func (s *Store) TariffChange(ctx context.Context, id billing.TariffChangeID) (TariffChange, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+tariffChangeColumns+` FROM tariff_changes c WHERE c.id = $1`, id)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[TariffChange])
	return c, translate(err)
}

func lockTariffChange(ctx context.Context, tx *Tx, id billing.TariffChangeID) (TariffChange, error) {
	rows, _ := tx.Query(ctx, `SELECT `+tariffChangeColumns+` FROM tariff_changes c WHERE c.id = $1 FOR UPDATE`, id)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[TariffChange])
}

// NextTariffChangeID reserves the number of a change, such as T12. One that isn't used leaves a gap, no more.
func (s *Store) NextTariffChangeID(ctx context.Context) (billing.TariffChangeID, error) {
	var id billing.TariffChangeID
	err := s.Pool.QueryRow(ctx, `SELECT 'T' || nextval('tariff_no')`).Scan(&id)
	return id, translate(err)
}

// TariffEdit is what a person writes into a change: the whole tariff with its one new version.
type TariffEdit struct {
	ID  billing.TariffChangeID
	By  billing.UserID
	Why string
	// File holds the tariff. Versions that are published already may be among its versions, unchanged; exactly one is new, the last.
	File billing.Tariff
	// Revision is the one that the person saw; 0 begins the change.
	Revision int
}

// SaveTariffEdit begins a change, or writes a new revision of one that is not published. Approvals that were given to an earlier
// revision are void: the change is a draft again. A repeat with the same content by the same person changes nothing.
func (s *Store) SaveTariffEdit(ctx context.Context, by By, e TariffEdit) (c TariffChange, err error) {
	e.Why = strings.TrimSpace(e.Why)
	err = s.Change(ctx, by, func(tx *Tx) error {
		version, err := newVersion(ctx, tx, e.File)
		if err != nil {
			return err
		}
		c, err = lockTariffChange(ctx, tx, e.ID)
		if err == pgx.ErrNoRows && e.Revision == 0 {
			c, err = insertTariffChange(ctx, tx, e, version)
			return err
		}
		if err != nil {
			return err
		}
		if repeated, err := sameEdit(c, e, version); err != nil || repeated {
			return err
		}
		return saveTariffEdit(ctx, tx, &c, e, version)
	})
	return c, err
}

// newVersion is the one version of a file that isn't published, checked against those that are.
func newVersion(ctx context.Context, tx *Tx, file billing.Tariff) (billing.TariffVersion, error) {
	var none billing.TariffVersion
	if err := file.Validate(); err != nil {
		return none, err
	}
	var raw []byte
	published := billing.Tariff{}
	err := tx.QueryRow(ctx, `SELECT definition FROM tariffs WHERE id = $1 FOR UPDATE`, file.ID).Scan(&raw)
	if err != nil && err != pgx.ErrNoRows {
		return none, err
	}
	if err == nil {
		if err := json.Unmarshal(raw, &published); err != nil {
			return none, err
		}
		if published.Service != file.Service || published.Name != file.Name {
			return none, billing.Errorf(billing.CodeInvalidInput, "Tariff %s: name and service must stay as they are published (%s, %s, %s).", file.ID, published.Name.ZH, published.Name.EN, published.Service)
		}
	}
	return pickNew(file, published)
}

func pickNew(file, published billing.Tariff) (billing.TariffVersion, error) {
	var none billing.TariffVersion
	have := map[billing.Date]billing.TariffVersion{}
	for _, v := range published.Versions {
		have[v.From] = v
	}
	var fresh []billing.TariffVersion
	for _, v := range file.Versions {
		old, known := have[v.From]
		switch {
		case !known:
			fresh = append(fresh, v)
		case !sameVersion(old, v):
			return none, billing.Errorf(billing.CodeConflict, "Tariff %s: version %s is published and never changes: give the new prices a later first day, or correct what was billed by a correction.", file.ID, v.From)
		}
	}
	if len(fresh) != 1 {
		return none, billing.Errorf(billing.CodeInvalidInput, "Tariff %s: the file has %d new versions: a change takes exactly one.", file.ID, len(fresh))
	}
	if n := len(published.Versions); n > 0 && !published.Versions[n-1].From.Before(fresh[0].From) {
		return none, billing.Errorf(billing.CodeConflict, "Tariff %s: version %s must start after the last published one, %s: give it a later first day.", file.ID, fresh[0].From, published.Versions[n-1].From)
	}
	whole := published
	whole.ID, whole.Name, whole.Service = file.ID, file.Name, file.Service
	whole.Versions = append(slices.Clone(published.Versions), fresh[0])
	return fresh[0], whole.Validate() // together they must leave no gap
}

func sameVersion(a, b billing.TariffVersion) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}

func insertTariffChange(ctx context.Context, tx *Tx, e TariffEdit, v billing.TariffVersion) (TariffChange, error) {
	version, err := json.Marshal(v)
	if err != nil {
		return TariffChange{}, err
	}
	_, err = tx.Exec(ctx, `INSERT INTO tariff_changes (id, tariff_id, service, name_zh, name_en, from_day, version, state, editors, made_by, made_at, why)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 'draft', ARRAY[$8], $8, $9, $10)`,
		e.ID, e.File.ID, e.File.Service, e.File.Name.ZH, e.File.Name.EN, v.From, string(version), e.By, tx.Now, e.Why)
	if err != nil {
		return TariffChange{}, err
	}
	c, err := lockTariffChange(ctx, tx, e.ID)
	if err != nil {
		return c, err
	}
	return c, tx.Journal(ctx, Entry{Site: "-", Kind: "tariff_change", ID: string(c.ID), Event: "drafted", To: string(c.State), Actor: string(e.By), Reason: e.Why, Refs: c.refs(),
		Data: map[string]any{"revision": c.Revision, "from": c.From, "version": v}})
}

// sameEdit recognizes an edit whose answer was lost, and refuses one that rests on a revision that is overtaken.
func sameEdit(c TariffChange, e TariffEdit, v billing.TariffVersion) (bool, error) {
	same := sameVersion(c.Version, v) && c.Tariff == e.File.ID && c.MadeBy == e.By && c.Why == e.Why
	switch {
	case same && (e.Revision == 0 || c.Revision == e.Revision || c.Revision == e.Revision+1):
		return true, nil
	case !c.State.Open():
		return false, billing.Errorf(billing.CodeClosed, "this change is %s already: begin a new one for other prices", strings.ReplaceAll(string(c.State), "_", " "))
	case c.Tariff != e.File.ID:
		return false, billing.Errorf(billing.CodeConflict, "change %s is about tariff %s: begin another change for tariff %s", c.ID, c.Tariff, e.File.ID)
	case e.Revision != c.Revision:
		return false, billing.Errorf(billing.CodeStale, "somebody has edited this change since you opened it: look at revision %d and write yours again", c.Revision)
	}
	return false, nil
}

func saveTariffEdit(ctx context.Context, tx *Tx, c *TariffChange, e TariffEdit, v billing.TariffVersion) error {
	version, err := json.Marshal(v)
	if err != nil {
		return err
	}
	was, voided := *c, []billing.UserID{}
	if c.Approved1By != "" {
		voided = append(voided, c.Approved1By)
	}
	_, err = tx.Exec(ctx, `UPDATE tariff_changes SET from_day = $2, version = $3, why = $4, state = 'draft', revision = revision + 1, made_by = $5, made_at = $6,
			editors = CASE WHEN $5 = ANY (editors) THEN editors ELSE editors || $5 END,
			name_zh = $7, name_en = $8, submitted_at = NULL, approved1_by = NULL, approved1_at = NULL, rejected_by = NULL, reason = ''
		WHERE id = $1`, c.ID, v.From, string(version), e.Why, e.By, tx.Now, e.File.Name.ZH, e.File.Name.EN)
	if err != nil {
		return err
	}
	if *c, err = lockTariffChange(ctx, tx, c.ID); err != nil {
		return err
	}
	data := map[string]any{"revision": c.Revision, "from": c.From, "version": v}
	if len(voided) > 0 {
		data["approvals_voided"] = voided
	}
	return tx.Journal(ctx, Entry{Site: "-", Kind: "tariff_change", ID: string(c.ID), Event: "edited", From: string(was.State), To: string(c.State), Actor: string(e.By), Reason: e.Why,
		Refs: c.refs(), Data: data})
}

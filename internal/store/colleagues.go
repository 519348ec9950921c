package store

import (
	"context"

	"github.com/meterflow/meterflow/internal/billing"
)

// Colleagues is the demo's setting about the simulated colleagues, who do what nobody does within a grace time of real seconds.
type Colleagues struct {
	On           bool `json:"on"`
	GraceSeconds int  `json:"grace_seconds"`
}

// colleaguesSetting is the key of Colleagues among the settings.
const colleaguesSetting = "colleagues"

// maxGrace is the longest grace time that can be asked for, in real seconds.
const maxGrace = 3600

// Colleagues reads the setting; without one the colleagues are off.
func (s *Store) Colleagues(ctx context.Context) (Colleagues, error) {
	var c Colleagues
	return c, s.Setting(ctx, colleaguesSetting, &c)
}

// SetColleagues switches the colleagues.
func (s *Store) SetColleagues(ctx context.Context, by By, c Colleagues) error {
	if c.GraceSeconds < 0 || c.GraceSeconds > maxGrace {
		return billing.Errorf(billing.CodeInvalidInput, "The grace time must be between 0 and %d seconds.", maxGrace)
	}
	return s.SetSetting(ctx, by, colleaguesSetting, c)
}

package proof

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The hours in which nobody may be cut, at a site with the documented defaults and at one with hours of its own. 26 September 2026
// is a Saturday; 1 to 3 October are named holidays here, and Sunday 27 September is worked instead.
func TestWindows_closedAt(t *testing.T) {
	w := windows{
		policy: map[string]json.RawMessage{
			"garden": json.RawMessage(`{}`),
			"plaza":  json.RawMessage(`{"cut_from": "09:00", "cut_until": "16:30", "eve_until": "11:00", "holiday_eve_until": "10:00"}`),
			"broken": json.RawMessage(`{"cut_from": 9}`),
		},
		off: map[string]bool{"2026-10-01": true, "2026-10-02": true, "2026-10-03": true, "2026-09-27": false},
	}
	for _, test := range []struct {
		site, at string
		closed   bool
		why      string
	}{
		{"garden", "2026-09-22 09:59", true, "before 10:00"},
		{"garden", "2026-09-22 10:00", false, ""},
		{"garden", "2026-09-22 14:59", false, ""},
		{"garden", "2026-09-22 15:00", true, "from 15:00"},
		{"plaza", "2026-09-22 09:00", false, ""},
		{"plaza", "2026-09-22 16:29", false, ""},
		{"plaza", "2026-09-22 16:30", true, "from 16:30"},
		// The eve of a Saturday.
		{"garden", "2026-09-25 11:59", false, ""},
		{"garden", "2026-09-25 12:00", true, "from 12:00"},
		{"plaza", "2026-09-25 11:00", true, "from 11:00"},
		{"garden", "2026-09-26 11:00", true, "a day off"},
		// A Sunday that is worked.
		{"garden", "2026-09-27 11:00", false, ""},
		// The eve of a named holiday.
		{"garden", "2026-09-30 11:00", true, "from 00:00"},
		{"plaza", "2026-09-30 09:59", false, ""},
		{"plaza", "2026-09-30 10:00", true, "from 10:00"},
		{"garden", "2026-10-01 11:00", true, "a day off"},
		{"broken", "2026-09-22 11:00", true, "unreadable policy"},
	} {
		zone := time.FixedZone("Asia/Shanghai", 8*60*60)
		at, err := time.ParseInLocation("2006-01-02 15:04", test.at, zone)
		require.NoError(t, err)
		closed, why := w.closedAt(test.site, "Asia/Shanghai", at.UTC())
		require.Equal(t, test.closed, closed, "%s at %s", test.site, test.at)
		require.Equal(t, test.why, why, "%s at %s", test.site, test.at)
	}
	closed, why := w.closedAt("garden", "Nowhere/Land", time.Now())
	require.True(t, closed)
	require.Contains(t, why, "Nowhere/Land")
}

package components

import "github.com/meterflow/meterflow/web/locale"

// Tone is a meaning that a colour carries. It never stands alone: a word, a sign or a pattern says the same.
type Tone string

// The tones. Neutral is for what needs no one's eye.
const (
	Neutral Tone = ""
	Good    Tone = "good"
	Watch   Tone = "notice"
	Danger  Tone = "danger"
	Running Tone = "running"
)

var stateTones = map[locale.Kind]map[string]Tone{
	locale.Cycle: {"sweeping": Running, "validating": Running, "closed": Good},
	locale.Case:  {"open": Watch, "resolved": Good},
	locale.Recharge: {
		"entered": Watch, "approved_once": Watch, "approved": Running, "delivering": Running,
		"credited": Good, "rejected": Danger, "in_doubt": Danger,
	},
	locale.Run: {
		"rating": Running, "blocked": Danger, "awaiting_verification": Watch, "verified": Watch, "issued": Good,
	},
	locale.Bill:        {"held": Watch, "issued": Good, "reversed": Watch},
	locale.PaymentPlan: {"proposed": Watch, "running": Running, "settled": Good, "rejected": Danger, "cancelled": Danger},
	locale.Adjustment:  {"previewed": Watch, "approved_once": Watch, "booked": Good, "rejected": Danger},
	locale.Correction:  {"drafted": Running, "previewed": Watch, "approved_once": Watch, "approved": Running, "applying": Running, "stopped": Danger, "applied": Good, "rejected": Danger},
	locale.Reminder:    {"level1": Watch, "level2": Watch, "final": Danger, "handed_over": Danger, "paid": Good},
	locale.Command: {
		"requested": Running, "sending": Running, "acknowledged": Running, "verified": Good,
		"refused": Danger, "unknown": Danger,
	},
	locale.Message: {"queued": Running, "sent": Running, "delivered": Good, "failed": Danger},
	locale.Supply:  {"on": Good, "off": Danger, "allowed": Watch, "unknown": Danger, "moving": Running, "fault": Danger},
	locale.Cutoff: {
		"planned": Watch, "awaiting_manager": Watch, "sending": Running, "verified": Danger, "unknown": Danger, "prevented": Good,
	},
	locale.Round:   {"assigned": Running, "in_progress": Running, "submitted": Watch, "checked": Running, "closed": Good},
	locale.Restore: {"sending": Running, "verified": Good, "unknown": Danger, "prevented": Danger},
	locale.TariffChange: {
		"submitted": Watch, "approved_once": Watch, "published": Running, "in_force": Good, "rejected": Danger,
	},
	locale.Batch:       {"previewed": Watch, "running": Running, "done": Good, "cancelled": Danger},
	locale.BatchMember: {"sending": Running, "verified": Good, "refused": Danger, "unknown": Danger},
	locale.PricePush:   {"waiting": Running, "sending": Running, "verified": Good, "failed": Danger},
	locale.Quality:     {"actual": Good, "manual": Good, "estimated": Watch, "edited": Watch, "missing": Danger},
}

// ToneOf is the tone of a state; Neutral for one that isn't listed.
func ToneOf(kind locale.Kind, state string) Tone { return stateTones[kind][state] }

// class is the CSS class of a tone.
func (t Tone) class() string {
	if t == Neutral {
		return "tone-neutral"
	}
	return "tone-" + string(t)
}

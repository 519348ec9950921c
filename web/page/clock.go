package page

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
)

// Paces are the speeds that the demo's clock offers, in business seconds per real second; 0 is as fast as the day's work allows.
var Paces = []int64{60, 600, 3600, 0}

// ClockPath and ColleaguesPath take the forms of the demo's clock menu.
const (
	ClockPath      = "/clock"
	ColleaguesPath = "/colleagues"
)

// clockNote says how the demo's clock runs; empty in real time.
func clockNote(ctx context.Context, c store.Clock) string {
	switch {
	case c.Mode == "real":
		return ""
	case c.Paused:
		return locale.T(ctx, "clock.paused")
	case c.Pace <= 1:
		return ""
	default:
		return "×" + locale.Count(c.Pace)
	}
}

// controlsView is the demo's clock menu.
type controlsView struct {
	paused     bool
	paces      []paceView
	colleagues store.Colleagues
	back       string
}

type paceView struct {
	value, label string
	current      bool
}

func (d Deps) controls(ctx context.Context, f frame) (templ.Component, error) {
	colleagues, err := d.Store.Colleagues(ctx)
	if err != nil {
		return nil, err
	}
	v := controlsView{paused: f.clock.Paused, back: f.path, colleagues: colleagues}
	for _, p := range Paces {
		label := locale.T(ctx, "clock.fastest")
		if p > 0 {
			label = locale.T(ctx, "clock.pace", locale.Span(ctx, time.Duration(p)*time.Second))
		}
		v.paces = append(v.paces, paceView{value: strconv.FormatInt(p, 10), label: label, current: p == f.clock.WantedPace})
	}
	return clockControls(v), nil
}

// SteerClock takes the form of the clock menu: pause=1 or 0, and pace.
func (d Deps) SteerClock(r *http.Request) (Done, error) {
	ctx := r.Context()
	in := Read(r)
	paused := in.OneOf("pause", "0", "1") == "1"
	pace := in.Int("pace")
	if err := in.Err(); err != nil {
		return Done{}, err
	}
	if !slices.Contains(Paces, pace) {
		return Done{}, billing.Errorf(billing.CodeInvalidInput, "choose one of the speeds of the clock menu")
	}
	if err := d.mayControl(ctx); err != nil {
		return Done{}, err
	}
	if err := d.Store.SteerClock(ctx, by(ctx), paused, pace); err != nil {
		return Done{}, err
	}
	return Done{To: Local(in.Text("back"))}, nil
}

// SwitchColleagues takes the form of the clock menu: on=1 or 0.
func (d Deps) SwitchColleagues(r *http.Request) (Done, error) {
	ctx := r.Context()
	in := Read(r)
	on := in.OneOf("on", "0", "1") == "1"
	if err := in.Err(); err != nil {
		return Done{}, err
	}
	if err := d.mayControl(ctx); err != nil {
		return Done{}, err
	}
	c, err := d.Store.Colleagues(ctx)
	if err != nil {
		return Done{}, err
	}
	c.On = on
	if err := d.Store.SetColleagues(ctx, by(ctx), c); err != nil {
		return Done{}, err
	}
	said := locale.T(ctx, "clock.colleagues_off")
	if on {
		said = locale.T(ctx, "clock.colleagues_on")
	}
	return Done{To: Local(in.Text("back")), Said: said}, nil
}

func (d Deps) mayControl(ctx context.Context) error {
	if !d.Demo {
		return billing.Errorf(billing.CodeNotFound, "only a demo's clock can be steered")
	}
	return auth.Can(Actor(ctx), auth.ControlClock, "")
}

func by(ctx context.Context) store.By { return store.By{Actor: string(Actor(ctx).UserID)} }

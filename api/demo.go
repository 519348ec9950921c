package api

import (
	"context"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/store"
)

// Clock is the demo's business clock. Paces are business seconds per real second.
type Clock struct {
	Now        time.Time `json:"now"`
	Pace       int64     `json:"pace" doc:"As last observed."`
	WantedPace int64     `json:"wanted_pace" doc:"0 is as fast as the day's work allows."`
	Paused     bool      `json:"paused"`
}

// Colleagues are the demo's simulated colleagues, who do what nobody does within a grace time.
type Colleagues struct {
	On           bool `json:"on"`
	GraceSeconds int  `json:"grace_seconds" minimum:"0" maximum:"3600" doc:"Real seconds."`
}

type steerInput struct {
	Body struct {
		Paused     bool  `json:"paused"`
		WantedPace int64 `json:"wanted_pace" minimum:"0" maximum:"86400" doc:"Business seconds per real second; 0 is as fast as the day's work allows."`
	}
}

type colleaguesInput struct{ Body Colleagues }

func (s *server) demoOperations() {
	add(s, operation{method: http.MethodGet, path: "/clock", id: "get-clock", tag: "demo", may: auth.View, summary: "The business clock."}, s.clock)
	add(s, operation{method: http.MethodPut, path: "/clock", id: "steer-clock", tag: "demo", may: auth.ControlClock, summary: "Pause the clock or set its speed."}, s.steer)
	add(s, operation{method: http.MethodGet, path: "/colleagues", id: "get-colleagues", tag: "demo", may: auth.View, summary: "Whether simulated colleagues help."}, s.colleagues)
	add(s, operation{method: http.MethodPut, path: "/colleagues", id: "switch-colleagues", tag: "demo", may: auth.ControlClock,
		summary: "Switch the simulated colleagues."}, s.switchColleagues)
}

func (s *server) clock(ctx context.Context, _ *none) (*body[Clock], error) {
	c, err := s.Store.Clock(ctx)
	if err != nil {
		return nil, err
	}
	return &body[Clock]{Clock{Now: utc(c.Now), Pace: c.Pace, WantedPace: c.WantedPace, Paused: c.Paused}}, nil
}

func (s *server) steer(ctx context.Context, in *steerInput) (*body[Clock], error) {
	if err := s.Store.SteerClock(ctx, by(ctx, ""), in.Body.Paused, in.Body.WantedPace); err != nil {
		return nil, err
	}
	return s.clock(ctx, nil)
}

func (s *server) colleagues(ctx context.Context, _ *none) (*body[Colleagues], error) {
	c, err := s.Store.Colleagues(ctx)
	return &body[Colleagues]{Colleagues(c)}, err
}

func (s *server) switchColleagues(ctx context.Context, in *colleaguesInput) (*body[Colleagues], error) {
	c := store.Colleagues(in.Body)
	return &body[Colleagues]{in.Body}, s.Store.SetColleagues(ctx, by(ctx, ""), c)
}

package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Cycle is one sweep of one site with one freeze instant. Its counts are meters.
type Cycle struct {
	ID        billing.CycleID    `json:"id"`
	Site      billing.SiteID     `json:"site"`
	Day       string             `json:"day" format:"date"`
	FreezeAt  time.Time          `json:"freeze_at"`
	WindowEnd time.Time          `json:"window_end" doc:"No pass starts after it."`
	State     billing.CycleState `json:"state"`
	Passes    int                `json:"passes"`
	Planned   int                `json:"planned"`
	Pending   int                `json:"pending" doc:"Not asked yet."`
	Read      int                `json:"read"`
	Silent    int                `json:"silent"`
	Estimated int                `json:"estimated"`
	Manual    int                `json:"manual"`
	Cases     int                `json:"cases"`
	OpenCases int                `json:"open_cases"`
	OpenedAt  time.Time          `json:"opened_at"`
	ClosedAt  *time.Time         `json:"closed_at,omitempty"`
}

func cycleOf(c store.CycleRow) Cycle {
	return Cycle{ID: c.ID, Site: c.Site, Day: c.Day.String(), FreezeAt: utc(c.FreezeAt), WindowEnd: utc(c.WindowEnd), State: c.State, Passes: c.Passes,
		Planned: c.Planned, Pending: c.Pending, Read: c.Read, Silent: c.Silent, Estimated: c.Estimated, Manual: c.Manual,
		Cases: c.Cases, OpenCases: c.OpenCases, OpenedAt: utc(c.OpenedAt), ClosedAt: utcOrNil(c.ClosedAt)}
}

// CycleMeter is what a cycle brought for one meter.
type CycleMeter struct {
	Meter    billing.MeterID   `json:"meter"`
	Gateway  billing.GatewayID `json:"gateway"`
	Outcome  string            `json:"outcome" enum:"planned,read,silent,refused,wrong,estimated,manual"`
	Quality  billing.Quality   `json:"quality,omitempty"`
	Doubtful bool              `json:"doubtful"`
	Error    string            `json:"error,omitempty"`
}

// CycleDetail is a cycle with its meters.
type CycleDetail struct {
	Cycle
	Schedule CycleSchedule `json:"schedule"`
	Meters   []CycleMeter  `json:"meters"`
}

// CycleSchedule is how the planned readings came, each counted once.
type CycleSchedule struct {
	OnTimeDays int `json:"on_time_days" doc:"On schedule: uploaded less than so many local days from the planned day."`
	OnSchedule int `json:"on_schedule" doc:"Measured at the first attempt, on schedule."`
	MadeUp     int `json:"made_up" doc:"Missed at first and measured afterwards, on schedule."`
	Late       int `json:"late" doc:"Measured, but not on schedule."`
	Estimated  int `json:"estimated" doc:"Without a measured value."`
	Missing    int `json:"missing" doc:"Without any value, although asked for."`
	Pending    int `json:"pending" doc:"Not asked for yet."`
}

type cyclesInput struct {
	Page
	State string `query:"state" enum:"planned,sweeping,validating,closed"`
}

// CyclePath is the address of a cycle.
type CyclePath struct {
	Site billing.SiteID `path:"site"`
	Day  string         `path:"day" format:"date"`
}

type demandCycleInput struct {
	CyclePath
	Number string `path:"number" pattern:"^[0-9]+$" doc:"Of a cycle on demand."`
}

func (s *server) cycleOperations() {
	add(s, operation{method: http.MethodGet, path: "/cycles", id: "list-cycles", tag: "cycles", may: auth.View, summary: "Reading cycles, newest first."}, s.cycles)
	add(s, operation{method: http.MethodGet, path: "/cycles/{site}/{day}", id: "get-cycle", tag: "cycles", may: auth.View,
		summary: "The cycle of a site and day, with its meters."}, func(ctx context.Context, in *CyclePath) (*body[CycleDetail], error) {
		return s.cycle(ctx, string(in.Site), in.Day)
	})
	add(s, operation{method: http.MethodGet, path: "/cycles/{site}/{day}/{number}", id: "get-demand-cycle", tag: "cycles", may: auth.View,
		summary: "A cycle on demand, with its meters."}, func(ctx context.Context, in *demandCycleInput) (*body[CycleDetail], error) {
		return s.cycle(ctx, string(in.Site), in.Day, in.Number)
	})
	add(s, operation{method: http.MethodPost, path: "/sites/{site}/cycles", id: "start-cycle", tag: "cycles", may: auth.StartCycle, done: http.StatusAccepted,
		summary: "Read all meters of a site now, besides the day's own cycle."}, s.startCycle)
}

func (s *server) cycles(ctx context.Context, in *cyclesInput) (*body[List[Cycle]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	rows, total, err := s.Store.CyclePage(ctx, sites, in.State, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, cycleOf), nil
}

func (s *server) cycle(ctx context.Context, parts ...string) (*body[CycleDetail], error) {
	c, err := s.Store.CycleRow(ctx, billing.CycleID(strings.Join(parts, "/")))
	if err != nil {
		return nil, err
	}
	if err := see(ctx, c.Site); err != nil {
		return nil, err
	}
	schedule, err := s.Store.CycleSchedule(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	results, err := s.Store.CycleResults(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	d := CycleDetail{Cycle: cycleOf(c), Schedule: CycleSchedule{
		OnTimeDays: schedule.OnTimeDays, OnSchedule: schedule.OnSchedule, MadeUp: schedule.MadeUp, Late: schedule.Late,
		Estimated: schedule.Estimated, Missing: schedule.Missing, Pending: schedule.Pending,
	}, Meters: make([]CycleMeter, 0, len(results))}
	for _, r := range results {
		d.Meters = append(d.Meters, CycleMeter{Meter: r.Meter, Gateway: r.Gateway, Outcome: r.Outcome, Quality: r.Quality, Doubtful: r.Doubtful, Error: r.Error})
	}
	return &body[CycleDetail]{d}, nil
}

func (s *server) startCycle(ctx context.Context, in *struct {
	Site billing.SiteID `path:"site"`
}) (*body[Done], error) {
	if err := may(ctx, auth.StartCycle, in.Site); err != nil {
		return nil, err
	}
	if err := s.Workflows.StartCycle(ctx, in.Site, me(ctx)); err != nil {
		return nil, err
	}
	return done(in.Site, billing.CyclePlanned), nil
}

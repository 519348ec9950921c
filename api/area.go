package api

import (
	"context"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Area is a place with water meters that are looked after together.
type Area struct {
	Kind   store.AreaKind `json:"kind" enum:"site,line,route"`
	ID     string         `json:"id" doc:"Of the site, gateway or reading route."`
	Site   billing.SiteID `json:"site"`
	Name   string         `json:"name,omitempty"`
	Meters int            `json:"meters" doc:"Water meters that are fitted."`
	Shut   int            `json:"shut"`
	Doubt  int            `json:"unknown" doc:"Of whose valve nobody knows."`
	Cases  int            `json:"with_open_cases"`
}

func areaOf(a store.Area) Area {
	return Area{Kind: a.Kind, ID: a.ID, Site: a.Site, Name: a.Name, Meters: a.Meters, Shut: a.Shut, Doubt: a.Doubt, Cases: a.Cases}
}

// AreaMeter is a water meter with what it said last of itself.
type AreaMeter struct {
	Meter
	BalanceFen billing.Money `json:"balance_fen"`
	FlowLH     *int64        `json:"flow_l_h,omitempty" doc:"As shown, in l/h; absent before its first own reading."`
	Valve      string        `json:"valve,omitempty" doc:"As shown: on, off, moving, fault, unknown."`
	ShownAt    *time.Time    `json:"shown_at,omitempty" doc:"When flow and valve were read."`
	Alarms     []string      `json:"alarms" doc:"battery_low, switch_fault; only what its register map tells."`
}

// AreaPath is the address of an area.
type AreaPath struct {
	Kind store.AreaKind `path:"kind" enum:"site,line,route"`
	ID   string         `path:"id"`
}

type areaMetersInput struct {
	AreaPath
	Limit  int `query:"limit" default:"50" minimum:"1" maximum:"500"`
	Offset int `query:"offset" default:"0" minimum:"0" maximum:"1000000"`
}

func (s *server) areaOperations() {
	add(s, operation{method: http.MethodGet, path: "/areas", id: "list-areas", tag: "meters", may: auth.View, summary: "Sites, lines and reading routes with water meters."}, s.areas)
	add(s, operation{method: http.MethodGet, path: "/areas/{kind}/{id}/meters", id: "list-area-meters", tag: "meters", may: auth.View, summary: "The water meters of an area with what they said last."}, s.areaMeters)
}

func (s *server) areas(ctx context.Context, in *Page) (*body[List[Area]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	all, err := s.Store.Areas(ctx, sites)
	if err != nil {
		return nil, err
	}
	return listOf(all, len(all), areaOf), nil
}

func (s *server) areaMeters(ctx context.Context, in *areaMetersInput) (*body[List[AreaMeter]], error) {
	area, err := s.Store.Area(ctx, auth.FromContext(ctx).Sites, in.Kind, in.ID)
	if err != nil {
		return nil, err
	}
	rows, total, err := s.Store.AreaMeters(ctx, area, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	ids := make([]billing.MeterID, len(rows))
	for i, m := range rows {
		ids[i] = m.ID
	}
	shown, err := s.Store.LatestShown(ctx, ids)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, func(m store.MeterRow) AreaMeter {
		a := AreaMeter{Meter: meterOf(m), BalanceFen: m.BalanceFen, Alarms: []string{}}
		if r, ok := shown[m.ID]; ok {
			at := utc(r.TakenAt)
			a.FlowLH, a.Valve, a.ShownAt, a.Alarms = &r.PowerW, r.Supply, &at, orNone(workflows.MeterAlarms(m.Profile, r.StatusWord))
		}
		return a
	}), nil
}

package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Meter is a physical meter with what hangs on it and what it said last.
type Meter struct {
	ID         billing.MeterID     `json:"id"`
	Site       billing.SiteID      `json:"site"`
	Gateway    billing.GatewayID   `json:"gateway"`
	Unit       int                 `json:"unit"`
	Box        string              `json:"box,omitempty" doc:"The multi-circuit box that it is a circuit of."`
	Units      int                 `json:"units" doc:"How many unit ids it takes: 3 for a three-phase circuit."`
	Serial     string              `json:"serial"`
	Profile    string              `json:"profile"`
	Service    billing.Service     `json:"service"`
	Ratio      int                 `json:"ratio" doc:"CT × PT."`
	State      string              `json:"state" enum:"fitted,removed"`
	Account    billing.AccountID   `json:"account,omitempty"`
	Supply     billing.SupplyState `json:"supply,omitempty" doc:"As proved."`
	Wanted     billing.SupplyState `json:"supply_wanted,omitempty"`
	ReadAt     *time.Time          `json:"read_at,omitempty" doc:"Freeze instant of the newest reading."`
	Quality    billing.Quality     `json:"quality,omitempty"`
	Doubtful   bool                `json:"doubtful"`
	Registers  []int64             `json:"registers" doc:"Raw units before the ratio: 0.01 kWh or litres; empty before the first reading."`
	ReadSupply string              `json:"supply_as_read,omitempty"`
	CanHoldOn  bool                `json:"can_hold_on" doc:"Whether it can be held on, so that it can't cut by itself. One that holds a bought volume can't: recharge before that is used up, or exchange it."`
	OpenCases  int                 `json:"open_cases"`
}

func meterOf(m store.MeterRow) Meter {
	return Meter{ID: m.ID, Site: m.Site, Gateway: m.Gateway, Unit: m.Unit, Box: m.Box, Units: m.Units, Serial: m.Serial, Profile: m.Profile, Service: m.Service, Ratio: m.Ratio,
		State: m.State, Account: m.Account, Supply: m.Supply, Wanted: m.Wanted, ReadAt: utcOrNil(m.ReadAt), Quality: m.Quality, Doubtful: m.Doubtful,
		Registers: orNone([]int64(m.Registers)), ReadSupply: m.ReadSupply, CanHoldOn: workflows.CanHoldOn(m.Profile), OpenCases: m.OpenCases}
}

// Command is one order to a meter, with its proof.
type Command struct {
	ID             billing.CommandID    `json:"id"`
	Kind           billing.CommandKind  `json:"kind"`
	State          billing.CommandState `json:"state"`
	Cause          string               `json:"cause"`
	AmountFen      *billing.Money       `json:"amount_fen,omitempty"`
	Litres         *int64               `json:"litres,omitempty" doc:"By which the volume of a meter that holds one is raised."`
	CountBefore    *int64               `json:"count_before,omitempty"`
	CountAfter     *int64               `json:"count_after,omitempty"`
	Readback       string               `json:"readback,omitempty" doc:"Supply as read back."`
	ReadbackReal   *time.Time           `json:"readback_real,omitempty" doc:"Real time."`
	ReadbackPowerW *int64               `json:"readback_power_w,omitempty"`
	Error          string               `json:"error,omitempty"`
	RequestedAt    time.Time            `json:"requested_at"`
	SettledAt      *time.Time           `json:"settled_at,omitempty"`
}

func commandOf(c store.Command) Command {
	return Command{ID: c.ID, Kind: c.Kind, State: c.State, Cause: c.Cause, AmountFen: c.Amount, Litres: c.VolumeLitres, CountBefore: c.CountBefore, CountAfter: c.CountAfter,
		Readback: c.Readback, ReadbackReal: utcOrNil(c.ReadbackReal), ReadbackPowerW: c.ReadbackPowerW, Error: c.Error,
		RequestedAt: utc(c.RequestedAt), SettledAt: utcOrNil(c.SettledAt)}
}

// MeterDetail is a meter with its newest commands.
type MeterDetail struct {
	Meter
	Commands []Command `json:"commands" doc:"The newest 20."`
}

// Reading is the current version of a meter's registers at one freeze instant.
type Reading struct {
	FreezeAt      time.Time        `json:"freeze_at"`
	Version       int              `json:"version"`
	TakenAt       time.Time        `json:"taken_at"`
	Quality       billing.Quality  `json:"quality"`
	Registers     []int64          `json:"registers" doc:"Raw units before the ratio: 0.01 kWh or litres; total first."`
	Reverse       *int64           `json:"reverse,omitempty" doc:"What went the other way, in the units of registers; absent where the meter doesn't tell. It is in none of them, and is never netted."`
	RemainingFen  *billing.Money   `json:"remaining_fen,omitempty" doc:"Credit in the meter."`
	Litres        *int64           `json:"remaining_litres,omitempty" doc:"Bought volume left in a meter that holds one."`
	PurchaseCount *int64           `json:"purchase_count,omitempty"`
	Supply        string           `json:"supply"`
	PowerW        int64            `json:"power_w"`
	Interpolated  bool             `json:"interpolated"`
	Doubtful      bool             `json:"doubtful"`
	Cycle         *billing.CycleID `json:"cycle,omitempty"`
	RecordedBy    string           `json:"recorded_by"`
	Reason        string           `json:"reason,omitempty"`
	Profile       string           `json:"profile,omitempty" doc:"Register map that it was decoded with; absent for what no line brought."`
	MapVersion    *int             `json:"profile_version,omitempty"`
}

func readingOf(r store.Reading) Reading {
	return Reading{FreezeAt: utc(r.FreezeAt), Version: r.Version, TakenAt: utc(r.TakenAt), Quality: r.Quality, Registers: orNone([]int64(r.Registers)), Reverse: r.Reverse,
		RemainingFen: r.RemainingFen, Litres: r.RemainingLitres, PurchaseCount: r.PurchaseCount, Supply: r.Supply, PowerW: r.PowerW, Interpolated: r.Interpolated,
		Doubtful: r.Doubtful, Cycle: r.Cycle, RecordedBy: r.RecordedBy, Reason: r.Reason, Profile: r.Profile, MapVersion: r.ProfileVersion}
}

type metersInput struct {
	Page
	Text    string            `query:"q" doc:"Part of the number, serial, account or name."`
	Gateway billing.GatewayID `query:"gateway"`
	Service billing.Service   `query:"service" enum:"power,water"`
	Supply  string            `query:"supply" enum:"on,off,allowed,unknown"`
	Command string            `query:"command" enum:"open,refused,unknown,verified" doc:"Only those with such a command."`
	Removed bool              `query:"removed"`
}

// MeterPath is the address of a meter.
type MeterPath struct {
	ID billing.MeterID `path:"id"`
}

type readingsInput struct {
	MeterPath
	Limit  int `query:"limit" default:"50" minimum:"1" maximum:"500"`
	Offset int `query:"offset" default:"0" minimum:"0" maximum:"1000000"`
}

func (s *server) meterOperations() {
	add(s, operation{method: http.MethodGet, path: "/meters", id: "list-meters", tag: "meters", may: auth.View, summary: "Meters by gateway and unit."}, s.meters)
	add(s, operation{method: http.MethodGet, path: "/meters/{id}", id: "get-meter", tag: "meters", may: auth.View, summary: "A meter with its newest commands."}, s.meter)
	add(s, operation{method: http.MethodGet, path: "/meters/{id}/readings", id: "list-readings", tag: "meters", may: auth.View,
		summary: "A meter's readings in their current versions, newest first."}, s.readings)
	add(s, operation{method: http.MethodPost, path: "/meters/{id}/read", id: "read-meter", tag: "meters", may: auth.StartCycle,
		summary: "Read a meter now; the answer is what it said."}, s.readMeter)
	add(s, operation{method: http.MethodPost, path: "/meters/{id}/exchange/preview", id: "preview-exchange", tag: "meters", may: auth.ExchangeMeter,
		summary: "What a planned exchange would do. Nothing is stored."}, s.previewExchange)
	add(s, operation{method: http.MethodPost, path: "/meters/{id}/exchange", id: "exchange-meter", tag: "meters", may: auth.ExchangeMeter,
		summary: "Exchange a meter whose readings nothing doubts: closing and opening in one act. The answer is the new meter."}, s.exchangeMeter)
}

func (s *server) meters(ctx context.Context, in *metersInput) (*body[List[Meter]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	f := store.MeterFilter{Sites: sites, Gateway: in.Gateway, Service: in.Service, Supply: in.Supply, Command: in.Command,
		Text: strings.TrimSpace(in.Text), Removed: in.Removed}
	rows, total, err := s.Store.MeterPage(ctx, f, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, meterOf), nil
}

// meterCommands is how many commands a meter is given with.
const meterCommands = 20

func (s *server) meter(ctx context.Context, in *MeterPath) (*body[MeterDetail], error) {
	m, err := s.seenMeter(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	commands, err := s.Store.MeterCommands(ctx, m.ID, meterCommands)
	if err != nil {
		return nil, err
	}
	d := MeterDetail{Meter: meterOf(m), Commands: make([]Command, 0, len(commands))}
	for _, c := range commands {
		d.Commands = append(d.Commands, commandOf(c))
	}
	return &body[MeterDetail]{d}, nil
}

func (s *server) seenMeter(ctx context.Context, id billing.MeterID) (store.MeterRow, error) {
	m, err := s.Store.MeterRow(ctx, id)
	if err != nil {
		return m, err
	}
	return m, see(ctx, m.Site)
}

func (s *server) readings(ctx context.Context, in *readingsInput) (*body[List[Reading]], error) {
	m, err := s.seenMeter(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	rows, total, err := s.Store.ReadingsOf(ctx, m.ID, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, readingOf), nil
}

func (s *server) readMeter(ctx context.Context, in *MeterPath) (*body[Reading], error) {
	m, err := s.seenMeter(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.StartCycle, m.Site); err != nil {
		return nil, err
	}
	cycle, err := s.Workflows.ReadOnDemand(ctx, m.ID, me(ctx))
	if err != nil {
		return nil, err
	}
	r, err := s.Store.LatestReading(ctx, m.ID)
	if err != nil {
		return nil, err
	}
	if r == nil || r.Cycle == nil || *r.Cycle != cycle.CycleID {
		return nil, billing.Errorf(billing.CodeUnavailable, "meter %s didn't answer: see cycle %s, and try again later", m.ID, cycle.CycleID)
	}
	return &body[Reading]{readingOf(*r)}, nil
}

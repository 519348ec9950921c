package api

import (
	"context"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// GatewayLink is how a gateway is reached.
type GatewayLink struct {
	Name          string `json:"name" minLength:"1" maxLength:"100"`
	Link          string `json:"link" enum:"modbus_tcp,transparent,dial_in"`
	Address       string `json:"address,omitempty" doc:"host:port; absent for a unit that dials in."`
	Registration  string `json:"registration,omitempty" doc:"Of a unit that dials in."`
	TimeoutMillis int    `json:"timeout_ms" doc:"For one exchange; never shorter than worst_case_ms."`
	WorstMillis   int    `json:"worst_case_ms" doc:"The gateway's own: (its retries + 1) × its response time-out + its pauses."`
	PauseMillis   int    `json:"pause_ms" doc:"Between two requests."`
	CachesMillis  int    `json:"caches_reads_ms" doc:"How long it answers reads from memory; commands are read back after it."`
}

// Gateway is a gateway with its line as its owner last told of it. Instants are real time.
type Gateway struct {
	ID   billing.GatewayID `json:"id"`
	Site billing.SiteID    `json:"site"`
	GatewayLink
	Meters     int        `json:"meters" doc:"Fitted."`
	Owner      string     `json:"owner,omitempty" doc:"The worker that owns the line; absent when none does."`
	LeaseUntil *time.Time `json:"lease_until,omitempty"`
	AnsweredAt *time.Time `json:"answered_at,omitempty" doc:"The last answer of any meter on the line."`
	AsideUntil *time.Time `json:"aside_until,omitempty" doc:"Sweeps leave the whole line alone until then."`
	CalledFrom string     `json:"called_from,omitempty" doc:"Where its unit dialled in from, while it is connected."`
	CalledAt   *time.Time `json:"called_at,omitempty"`
	Asides     int        `json:"meters_aside" doc:"Meters that sweeps leave alone now."`
	Faults     int        `json:"faults_24h"`
}

func gatewayOf(g store.GatewayRow) Gateway {
	return Gateway{ID: g.ID, Site: g.Site, GatewayLink: GatewayLink{Name: g.Name, Link: g.Link, Address: g.Address, Registration: g.Registration,
		TimeoutMillis: g.TimeoutMillis, WorstMillis: g.WorstMillis, PauseMillis: g.PauseMillis, CachesMillis: g.CachesMillis},
		Meters: g.Meters, Owner: g.Holder, LeaseUntil: utcOrNil(g.LeaseReal), AnsweredAt: utcOrNil(g.AnsweredReal), AsideUntil: utcOrNil(g.AsideUntil),
		CalledFrom: g.CalledFrom, CalledAt: utcOrNil(g.CalledReal), Asides: g.Asides, Faults: g.Faults}
}

// MeterAside is a meter that sweeps leave alone because it didn't answer.
type MeterAside struct {
	Meter billing.MeterID `json:"meter"`
	Unit  int             `json:"unit"`
	Tries int             `json:"tries" doc:"Without an answer, in a row."`
	Until time.Time       `json:"until" doc:"Real time."`
}

// LineFault is how often a kind of fault was met in the last 24 hours.
type LineFault struct {
	Kind   string    `json:"kind" enum:"silent,link_down,refused,wrong_meter,bad_answer"`
	Count  int       `json:"count"`
	LastAt time.Time `json:"last_at" doc:"Real time."`
	Last   string    `json:"last" doc:"What the last one said."`
}

// GatewayDetail is a gateway with what sweeps leave alone and its faults.
type GatewayDetail struct {
	Gateway
	AsideMeters []MeterAside `json:"aside_meters"`
	LineFaults  []LineFault  `json:"faults"`
}

// GatewayPath is the address of a gateway.
type GatewayPath struct {
	ID billing.GatewayID `path:"id"`
}

type changeGateway struct {
	GatewayPath
	Body struct {
		Reasoned
		GatewayLink
		Secret string `json:"secret,omitempty" maxLength:"100" doc:"What the unit registers with from now on; absent leaves it. It is never given back."`
	}
}

func (s *server) gatewayOperations() {
	add(s, operation{method: http.MethodGet, path: "/gateways", id: "list-gateways", tag: "gateways", may: auth.View, summary: "Gateways, those without an owner first."}, s.gateways)
	add(s, operation{method: http.MethodGet, path: "/gateways/{id}", id: "get-gateway", tag: "gateways", may: auth.View,
		summary: "A gateway with what sweeps leave alone and the faults of its last 24 hours."}, s.gateway)
	add(s, operation{method: http.MethodPut, path: "/gateways/{id}", id: "change-gateway", tag: "gateways", may: auth.MasterData, summary: "Change how a gateway is reached."}, s.changeGateway)
}

func (s *server) gateways(ctx context.Context, in *Page) (*body[List[Gateway]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.Store.GatewayRows(ctx, sites)
	if err != nil {
		return nil, err
	}
	return listOf(rows, len(rows), gatewayOf), nil
}

func (s *server) gateway(ctx context.Context, in *GatewayPath) (*body[GatewayDetail], error) {
	g, err := s.Store.GatewayRow(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := see(ctx, g.Site); err != nil {
		return nil, err
	}
	asides, err := s.Store.MeterAsides(ctx, g.ID)
	if err != nil {
		return nil, err
	}
	faults, err := s.Store.LineFaults(ctx, g.ID)
	if err != nil {
		return nil, err
	}
	d := GatewayDetail{Gateway: gatewayOf(g), AsideMeters: []MeterAside{}, LineFaults: []LineFault{}}
	for _, a := range asides {
		d.AsideMeters = append(d.AsideMeters, MeterAside{Meter: a.Meter, Unit: a.Unit, Tries: a.Tries, Until: utc(a.UntilReal)})
	}
	for _, f := range faults {
		d.LineFaults = append(d.LineFaults, LineFault{Kind: f.Kind, Count: f.Count, LastAt: utc(f.LastReal), Last: f.LastText})
	}
	return &body[GatewayDetail]{d}, nil
}

func (s *server) changeGateway(ctx context.Context, in *changeGateway) (*body[GatewayDetail], error) {
	g, err := s.Store.Gateway(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.MasterData, g.Site); err != nil {
		return nil, err
	}
	b := in.Body
	c := store.GatewayChange{ID: g.ID, Name: b.Name, Link: b.Link, Address: b.Address, Registration: b.Registration, Secret: b.Secret,
		TimeoutMillis: b.TimeoutMillis, WorstMillis: b.WorstMillis, PauseMillis: b.PauseMillis, CachesMillis: b.CachesMillis}
	if err := s.Store.ChangeGateway(ctx, by(ctx, b.Reason), c, s.MayDial); err != nil {
		return nil, err
	}
	return s.gateway(ctx, &in.GatewayPath)
}

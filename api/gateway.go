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

// GatewayLink is how a gateway is reached.
type GatewayLink struct {
	Name          string `json:"name" minLength:"1" maxLength:"100"`
	Link          string `json:"link" enum:"modbus_tcp,transparent,dial_in"`
	Address       string `json:"address,omitempty" doc:"host:port; absent for a unit that dials in."`
	Registration  string `json:"registration,omitempty" doc:"Of a unit that dials in."`
	TimeoutMillis int    `json:"timeout_ms" doc:"For one exchange; 500 at least, and never shorter than worst_case_ms."`
	WorstMillis   int    `json:"worst_case_ms" doc:"The gateway's own: (its retries + 1) × its response time-out + its pauses. 0 when it isn't known: 2000 stands for it, with transparent 1000."`
	PauseMillis   int    `json:"pause_ms" doc:"Between two requests."`
	CachesMillis  int    `json:"caches_reads_ms" doc:"How long it answers reads from memory, 10000 at most; commands are read back after it."`
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
	Barred     string     `json:"commands_barred,omitempty" doc:"Why no command goes to its meters, which are read all the same; absent when commands go."`
}

func gatewayOf(g store.GatewayRow) Gateway {
	barred := ""
	if err := g.CommandsBarred(); err != nil {
		barred = billing.MessageOf(err)
	}
	return Gateway{ID: g.ID, Site: g.Site, GatewayLink: GatewayLink{Name: g.Name, Link: g.Link, Address: g.Address, Registration: g.Registration,
		TimeoutMillis: g.TimeoutMillis, WorstMillis: g.WorstMillis, PauseMillis: g.PauseMillis, CachesMillis: g.CachesMillis},
		Meters: g.Meters, Owner: g.Holder, LeaseUntil: utcOrNil(g.LeaseReal), AnsweredAt: utcOrNil(g.AnsweredReal), AsideUntil: utcOrNil(g.AsideUntil),
		CalledFrom: g.CalledFrom, CalledAt: utcOrNil(g.CalledReal), Asides: g.Asides, Faults: g.Faults, Barred: barred}
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

// Box is a multi-circuit box: one device on a gateway's line, with a meter on each of its circuits that is in use.
type Box struct {
	ID       string            `json:"id"`
	Site     billing.SiteID    `json:"site"`
	Gateway  billing.GatewayID `json:"gateway"`
	BaseUnit int               `json:"base_unit" doc:"Its first unit id."`
	LastUnit int               `json:"last_unit"`
	Circuits int               `json:"circuits" enum:"12,24,36"`
}

func boxOf(b store.Box) Box {
	return Box{ID: b.ID, Site: b.Site, Gateway: b.Gateway, BaseUnit: b.Base, LastUnit: b.Last(), Circuits: b.Circuits}
}

// BoxDetail is a box with its fitted meters, by unit id.
type BoxDetail struct {
	Box
	Meters []Meter `json:"meters"`
}

// GatewayDetail is a gateway with its boxes, what sweeps leave alone and its faults.
type GatewayDetail struct {
	Gateway
	Boxes       []Box        `json:"boxes"`
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

type addGateway struct {
	Body struct {
		Reasoned
		ID   billing.GatewayID `json:"id" maxLength:"40" doc:"Asset number: letters, digits, dots, dashes, underscores."`
		Site billing.SiteID    `json:"site"`
		GatewayLink
		Secret string `json:"secret,omitempty" maxLength:"100" doc:"What a unit that dials in registers with. It is never given back."`
	}
}

type addBox struct {
	GatewayPath
	Body struct {
		Reasoned
		ID       string `json:"id" maxLength:"40" doc:"Asset number."`
		BaseUnit int    `json:"base_unit" doc:"Its first unit id: 1 + k × circuits."`
		Circuits int    `json:"circuits" doc:"12, 24 or 36."`
	}
}

type boxPath struct {
	ID string `path:"id"`
}

type addMeter struct {
	GatewayPath
	Body struct {
		Reasoned
		ID           billing.MeterID        `json:"id" maxLength:"40" doc:"Asset number."`
		Unit         int                    `json:"unit" doc:"1 to 247; the first one of a three-phase circuit."`
		Serial       string                 `json:"serial" doc:"12 digits."`
		Profile      string                 `json:"profile" maxLength:"64" doc:"Register map; what the meter measures and whether it is a circuit of a box follow from it."`
		Digits       int                    `json:"digits" doc:"That a register shows, decimals included: 4 to 12."`
		Ratio        int                    `json:"ratio" doc:"CT × PT; 1 without transformers."`
		Capacity     int64                  `json:"capacity_per_hour" doc:"What it can pass in an hour at most: 0.01 kWh or litres, before the ratio."`
		Opening      []int64                `json:"opening" minItems:"1" maxItems:"6" doc:"What it shows now: 0.01 kWh or litres, total first."`
		ServicePoint billing.ServicePointID `json:"service_point" maxLength:"40" doc:"The place that it measures."`
		Address      string                 `json:"address,omitempty" maxLength:"200" doc:"Makes the service point; absent for one that is there and has no meter."`
	}
}

func (s *server) gatewayOperations() {
	add(s, operation{method: http.MethodGet, path: "/gateways", id: "list-gateways", tag: "gateways", may: auth.View, summary: "Gateways, those without an owner first."}, s.gateways)
	add(s, operation{method: http.MethodGet, path: "/gateways/{id}", id: "get-gateway", tag: "gateways", may: auth.View,
		summary: "A gateway with its boxes, what sweeps leave alone and the faults of its last 24 hours."}, s.gateway)
	add(s, operation{method: http.MethodPut, path: "/gateways/{id}", id: "change-gateway", tag: "gateways", may: auth.MasterData, summary: "Change how a gateway is reached."}, s.changeGateway)
	add(s, operation{method: http.MethodPost, path: "/gateways", id: "add-gateway", tag: "gateways", may: auth.MasterData, done: http.StatusCreated,
		summary: "Add a gateway. A running worker takes its line up within seconds."}, s.addGateway)
	add(s, operation{method: http.MethodPost, path: "/gateways/{id}/boxes", id: "add-box", tag: "gateways", may: auth.MasterData, done: http.StatusCreated,
		summary: "Add a multi-circuit box to a gateway's line."}, s.addBox)
	add(s, operation{method: http.MethodPost, path: "/gateways/{id}/meters", id: "add-meter", tag: "gateways", may: auth.MasterData, done: http.StatusCreated,
		summary: "Fit a meter to a gateway's line from now on, as a circuit of the box that has its unit id."}, s.addMeter)
	add(s, operation{method: http.MethodGet, path: "/boxes/{id}", id: "get-box", tag: "gateways", may: auth.View, summary: "A multi-circuit box with its fitted meters."}, s.box)
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
	boxes, err := s.Store.Boxes(ctx, g.ID)
	if err != nil {
		return nil, err
	}
	d := GatewayDetail{Gateway: gatewayOf(g), Boxes: make([]Box, 0, len(boxes)), AsideMeters: []MeterAside{}, LineFaults: []LineFault{}}
	for _, b := range boxes {
		d.Boxes = append(d.Boxes, boxOf(b))
	}
	for _, a := range asides {
		d.AsideMeters = append(d.AsideMeters, MeterAside{Meter: a.Meter, Unit: a.Unit, Tries: a.Tries, Until: utc(a.UntilReal)})
	}
	for _, f := range faults {
		d.LineFaults = append(d.LineFaults, LineFault{Kind: f.Kind, Count: f.Count, LastAt: utc(f.LastReal), Last: f.LastText})
	}
	return &body[GatewayDetail]{d}, nil
}

// changeOf is the link that a request gives to a gateway.
func (l GatewayLink) changeOf(id billing.GatewayID, secret string) store.GatewayChange {
	return store.GatewayChange{ID: id, Name: l.Name, Link: l.Link, Address: l.Address, Registration: l.Registration, Secret: secret,
		TimeoutMillis: l.TimeoutMillis, WorstMillis: l.WorstMillis, PauseMillis: l.PauseMillis, CachesMillis: l.CachesMillis}
}

// ownGateway reads a gateway whose site's master data the person may change.
func (s *server) ownGateway(ctx context.Context, id billing.GatewayID) (store.Gateway, error) {
	g, err := s.Store.Gateway(ctx, id)
	if err != nil {
		return g, err
	}
	return g, may(ctx, auth.MasterData, g.Site)
}

func (s *server) changeGateway(ctx context.Context, in *changeGateway) (*body[GatewayDetail], error) {
	g, err := s.ownGateway(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := s.Store.ChangeGateway(ctx, by(ctx, in.Body.Reason), in.Body.changeOf(g.ID, in.Body.Secret), s.MayDial); err != nil {
		return nil, err
	}
	return s.gateway(ctx, &in.GatewayPath)
}

func (s *server) addGateway(ctx context.Context, in *addGateway) (*body[GatewayDetail], error) {
	b := in.Body
	if err := may(ctx, auth.MasterData, b.Site); err != nil {
		return nil, err
	}
	if err := s.Store.RegisterGateway(ctx, by(ctx, b.Reason), b.Site, b.changeOf(b.ID, b.Secret), s.MayDial); err != nil {
		return nil, err
	}
	return s.gateway(ctx, &GatewayPath{b.ID})
}

func (s *server) addBox(ctx context.Context, in *addBox) (*body[BoxDetail], error) {
	g, err := s.ownGateway(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	b := in.Body
	if err := s.Store.AddBox(ctx, by(ctx, b.Reason), store.Box{ID: b.ID, Gateway: g.ID, Base: b.BaseUnit, Circuits: b.Circuits}); err != nil {
		return nil, err
	}
	return s.box(ctx, &boxPath{b.ID})
}

func (s *server) box(ctx context.Context, in *boxPath) (*body[BoxDetail], error) {
	b, err := s.Store.Box(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := see(ctx, b.Site); err != nil {
		return nil, err
	}
	meters, _, err := s.Store.MeterPage(ctx, store.MeterFilter{Sites: []billing.SiteID{b.Site}, Box: b.ID}, b.Circuits, 0)
	if err != nil {
		return nil, err
	}
	d := BoxDetail{Box: boxOf(b), Meters: make([]Meter, 0, len(meters))}
	for _, m := range meters {
		d.Meters = append(d.Meters, meterOf(m))
	}
	return &body[BoxDetail]{d}, nil
}

func (s *server) addMeter(ctx context.Context, in *addMeter) (*body[Meter], error) {
	g, err := s.ownGateway(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	b := in.Body
	n, err := workflows.NewMeterOf(store.NewMeter{ServicePoint: b.ServicePoint, Address: b.Address, Opening: b.Opening, Meter: store.Meter{ID: b.ID, Gateway: g.ID, Unit: b.Unit,
		Serial: b.Serial, Profile: b.Profile, Digits: b.Digits, Ratio: b.Ratio, CapacityPerHour: b.Capacity}})
	if err != nil {
		return nil, err
	}
	if err := s.Store.AddMeter(ctx, by(ctx, b.Reason), n); err != nil {
		return nil, err
	}
	m, err := s.Store.MeterRow(ctx, b.ID)
	return &body[Meter]{meterOf(m)}, err
}

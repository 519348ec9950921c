package app

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"os"
	"text/tabwriter"
	"time"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/profile"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Devices are `meterflow devices …`: what an engineer uses beside a meter.
type Devices struct {
	CheckProfile CheckProfile `cmd:"" help:"Say what is wrong with a register map, or that nothing is."`
	Probe        Probe        `cmd:"" help:"Read a live meter by its register map and show everything raw and decoded. Sends reads only."`
}

// CheckProfile is `meterflow devices check-profile`.
type CheckProfile struct {
	Files []string `arg:"" help:"Register maps, as JSON." placeholder:"FILE"`
}

// Run checks each file and ends with an error when one is wrong.
func (c CheckProfile) Run() error {
	wrong := 0
	for _, file := range c.Files {
		data, err := os.ReadFile(file)
		if err == nil {
			var p *profile.Profile
			if p, err = profile.Parse(data); err == nil {
				fmt.Printf("%s: profile %s, version %d, is sound%s\n", file, p.Name, p.Version, reservation(p))
				continue
			}
		}
		wrong++
		fmt.Printf("%s: %v\n", file, err)
	}
	if wrong > 0 {
		return billing.Errorf(billing.CodeInvalidInput, "%d of %d register maps can't be used", wrong, len(c.Files))
	}
	return nil
}

func reservation(p *profile.Profile) string {
	if p.MayCommand() {
		return ""
	}
	return "; it was not verified on a device, so money and switching are refused with it"
}

// Probe is `meterflow devices probe`.
type Probe struct {
	Database
	Address      string        `help:"The gateway's host:port; with --link dial_in the address on which its unit is awaited." required:"" placeholder:"HOST:PORT"`
	Link         string        `help:"modbus_tcp: the gateway converts; transparent: it passes bytes on; dial_in: its unit calls us." enum:"modbus_tcp,transparent,dial_in" default:"modbus_tcp"`
	Registration string        `help:"With --link dial_in: the registration id that the unit gives." placeholder:"ID"`
	Secret       string        `help:"With --link dial_in: the secret that the unit gives." placeholder:"TEXT"`
	Unit         byte          `help:"Unit id of the meter, for Modbus." default:"1"`
	Serial       string        `help:"The meter's number, 12 digits; DL/T 645 and CJ/T 188 meters are addressed by it." placeholder:"DIGITS"`
	Profile      string        `help:"Name of the register map." required:"" placeholder:"NAME"`
	Profiles     string        `help:"Folder with register maps of your own." placeholder:"DIR"`
	Timeout      time.Duration `help:"How long one exchange may take." default:"3s"`
	Patience     time.Duration `help:"How long to wait until a worker hands the line over, and until the unit calls." default:"30s"`
}

// Run reads once and prints. With a database it speaks on the line only while it owns it; its worker hands it over when it is idle.
func (c Probe) Run(ctx context.Context, log *slog.Logger) error {
	if c.Profiles != "" {
		if err := profile.AddFolder(c.Profiles); err != nil {
			return billing.Errorf(billing.CodeInvalidInput, "%v", err)
		}
	}
	m := devices.Meter{
		Address: devices.Address{Gateway: "probe", HostPort: c.Address, Link: devices.Link{Kind: devices.LinkKind(c.Link)}, Unit: c.Unit},
		Serial:  c.Serial, Profile: c.Profile,
	}
	config := devices.Config{Timeout: c.Timeout, ReadOnly: true}
	if m.Link.Kind == devices.LinkDialIn {
		calls, hangUp, err := c.awaitCalls(ctx, log)
		if err != nil {
			return err
		}
		defer hangUp()
		config.DialIn = calls
	}
	if err := c.called(ctx, config.DialIn); err != nil {
		return err
	}
	until, giveBack, err := c.own(ctx)
	if err != nil {
		return err
	}
	defer giveBack()
	config.Owns = func(string) bool { return until.IsZero() || time.Now().Before(until) }
	pool := devices.NewPool(config)
	defer pool.Shutdown()
	got, err := pool.Probe(ctx, m)
	for _, f := range got.Frames {
		fmt.Printf("> %s\n< %s  (%s)\n", f.Request, f.Reply, f.AnsweredAt.Sub(f.SentAt).Round(time.Millisecond))
	}
	if err != nil {
		return billing.Errorf(billing.CodeUnavailable, "%v", err)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nfield\tplace\traw\tvalue\tunit")
	for _, f := range got.Fields {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", f.Field, f.Place, f.Raw, f.Value, f.Unit)
	}
	return w.Flush()
}

// own takes the line's lease until an instant, the zero time when the installation doesn't know the gateway and nobody can say who uses the line.
func (c Probe) own(ctx context.Context) (until time.Time, giveBack func(), err error) {
	if c.DatabaseURL == "" {
		fmt.Fprintln(os.Stderr, "No database was named, so nobody was asked for the line: make sure that no worker uses it now, or name the database with --database-url.")
		return until, func() {}, nil
	}
	s, err := c.open(ctx)
	if err != nil {
		return until, nil, err
	}
	var g store.Gateway
	if devices.LinkKind(c.Link) == devices.LinkDialIn {
		g, err = s.GatewayOfUnit(ctx, c.Registration)
	} else {
		g, err = s.GatewayAt(ctx, c.Address)
	}
	if err != nil {
		s.Close()
		if billing.CodeOf(err) == billing.CodeNotFound {
			fmt.Fprintln(os.Stderr, "The installation has no such gateway, so no worker uses its line.")
			return until, func() {}, nil
		}
		return until, nil, err
	}
	host, _ := os.Hostname()
	asker := fmt.Sprintf("probe/%s/%d", host, os.Getpid())
	giveBack = func() {
		// Also when the program is told to end: a lease that is left runs out by itself.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = s.EndAsk(ctx, asker)
		s.Close()
	}
	if until, err = c.ask(ctx, s, asker, g.ID); err != nil {
		giveBack()
		return until, nil, err
	}
	return until, giveBack, nil
}

// probeTakes is more than a probe's exchanges take: some blocks, each tried twice.
func (c Probe) probeTakes() time.Duration { return max(time.Minute, 30*c.Timeout) }

// ask asks for a line until it has it, or its patience ends.
func (c Probe) ask(ctx context.Context, s *store.Store, asker string, id billing.GatewayID) (until time.Time, err error) {
	for began := time.Now(); ; {
		until = time.Now().Add(c.probeTakes())
		holder, err := s.AskLine(ctx, asker, id, c.probeTakes())
		switch {
		case err != nil:
			return until, err
		case holder == asker:
			return until, nil
		case time.Since(began) > c.Patience:
			return until, billing.Errorf(billing.CodeUnavailable, "the line of gateway %s is in use by %s, which did not hand it over within %s: try again when it is idle, or read the meter on its page", id, holder, c.Patience)
		}
		select {
		case <-ctx.Done():
			return until, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// awaitCalls listens for the unit.
func (c Probe) awaitCalls(ctx context.Context, log *slog.Logger) (calls *devices.DialIn, hangUp func(), err error) {
	if c.Registration == "" || c.Secret == "" {
		return nil, nil, billing.Errorf(billing.CodeInvalidInput, "say what the unit registers with: --registration and --secret")
	}
	listener, err := net.Listen("tcp", c.Address)
	if err != nil {
		return nil, nil, billing.Errorf(billing.CodeInvalidInput, "the unit can't be awaited on --address %s: %v", c.Address, err)
	}
	calls = devices.NewDialIn(func(_ context.Context, registration string) (devices.Unit, bool, error) {
		return devices.Unit{Gateway: "probe", Secret: sha256.Sum256([]byte(c.Secret))}, registration == c.Registration, nil
	}, nil, log)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- calls.Serve(ctx, listener) }()
	return calls, func() {
		cancel()
		<-ended
	}, nil
}

// called waits until the unit has called; nothing is waited for when we dial.
func (c Probe) called(ctx context.Context, calls *devices.DialIn) error {
	for began := time.Now(); calls != nil; {
		if _, _, ok := calls.Connected("probe"); ok {
			return nil
		}
		if time.Since(began) > c.Patience {
			return billing.Errorf(billing.CodeUnavailable, "no unit called with registration %s within %s: let it dial %s", c.Registration, c.Patience, c.Address)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

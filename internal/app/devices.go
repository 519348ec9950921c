package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
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
	Networks
	Address      string        `help:"The gateway's host:port; with --link dial_in the address on which its unit is awaited." required:"" placeholder:"HOST:PORT"`
	Link         string        `help:"modbus_tcp: the gateway converts; transparent: it passes bytes on; dial_in: its unit calls us. Without it what the installation knows of the gateway, else modbus_tcp." enum:",modbus_tcp,transparent,dial_in" default:""`
	Registration string        `help:"With --link dial_in: the registration id that the unit gives." placeholder:"ID"`
	Secret       string        `help:"With --link dial_in: the secret that the unit gives." placeholder:"TEXT"`
	Unit         byte          `help:"Unit id of the meter, for Modbus." default:"1"`
	Serial       string        `help:"The meter's number, 12 digits; DL/T 645 and CJ/T 188 meters are addressed by it." placeholder:"DIGITS"`
	Profile      string        `help:"Name of the register map." required:"" placeholder:"NAME"`
	Profiles     string        `help:"Folder with register maps of your own." placeholder:"DIR"`
	Timeout      time.Duration `help:"How long one exchange may take. Without it what the installation knows of the gateway, else 3s." placeholder:"TIME"`
	Patience     time.Duration `help:"How long to wait until a worker hands the line over, and until the unit calls." default:"30s"`
}

// Run reads once and prints. With a database it speaks on the line only while it owns it; its worker hands it over when it is idle.
func (c Probe) Run(ctx context.Context, log *slog.Logger) error {
	if c.Profiles != "" {
		if err := profile.AddFolder(c.Profiles); err != nil {
			return billing.Errorf(billing.CodeInvalidInput, "%v", err)
		}
	}
	link := devices.Link{Kind: devices.LinkKind(c.Link), Timeout: c.Timeout}
	config := devices.Config{ReadOnly: true, Networks: c.Networks.Networks}
	if link.Kind == devices.LinkDialIn {
		calls, hangUp, err := c.awaitCalls(ctx, log)
		if err != nil {
			return err
		}
		defer hangUp()
		config.DialIn = calls
	} else if err := c.mayDial(c.Address); err != nil {
		return billing.Errorf(billing.CodeInvalidInput, "%v: name another --address, or the networks with --networks", err)
	}
	if err := c.called(ctx, config.DialIn); err != nil {
		return err
	}
	until, link, giveBack, err := c.own(ctx, link)
	if err != nil {
		return err
	}
	defer giveBack()
	config.Owns = func(string) bool { return until.IsZero() || time.Now().Before(until) }
	m := devices.Meter{Address: devices.Address{Gateway: "probe", HostPort: c.Address, Link: link, Unit: c.Unit}, Serial: c.Serial, Profile: c.Profile}
	if link.CachesReads > 0 {
		fmt.Fprintf(os.Stderr, "The gateway answers reads from its memory for %s, which is waited for.\n", link.CachesReads)
	}
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
// What the flags leave open of the link is what the installation knows of it.
func (c Probe) own(ctx context.Context, flags devices.Link) (until time.Time, link devices.Link, giveBack func(), err error) {
	link = flags
	nobody := func() {}
	if c.DatabaseURL == "" {
		fmt.Fprintln(os.Stderr, "No database was named, so nobody was asked for the line: make sure that no worker uses it now, or name the database with --database-url.")
		return until, link, nobody, nil
	}
	s, err := c.open(ctx)
	if err != nil {
		return until, link, nil, err
	}
	g, err := c.gateway(ctx, s)
	if err != nil {
		s.Close()
		if billing.CodeOf(err) == billing.CodeNotFound {
			fmt.Fprintln(os.Stderr, "The installation has no such gateway, so no worker uses its line.")
			return until, link, nobody, nil
		}
		return until, link, nil, err
	}
	millis := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	link = devices.Link{
		Kind: cmp.Or(flags.Kind, devices.LinkKind(g.Link)), Timeout: cmp.Or(flags.Timeout, millis(g.TimeoutMillis)), Pause: millis(g.PauseMillis), CachesReads: millis(g.CachesMillis),
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
	if until, err = c.ask(ctx, s, asker, g.ID, probeTakes(link)); err != nil {
		giveBack()
		return until, link, nil, err
	}
	return until, link, giveBack, nil
}

// gateway is the one that the installation knows at the probed address, or by the registration of its unit.
func (c Probe) gateway(ctx context.Context, s *store.Store) (store.Gateway, error) {
	if devices.LinkKind(c.Link) == devices.LinkDialIn {
		return s.GatewayOfUnit(ctx, c.Registration)
	}
	g, unknown, err := s.GatewayAt(ctx, c.Address)
	if len(unknown) > 0 {
		fmt.Fprintf(os.Stderr, "Nobody here knows where %s leads: make sure that it isn't the probed line under another name.\n", strings.Join(unknown, ", "))
	}
	return g, err
}

// probeTakes is more than a probe's exchanges take: what its gateway remembers is waited for, then come some blocks, each tried twice.
func probeTakes(l devices.Link) time.Duration {
	return l.CachesReads + max(time.Minute, 30*(l.Timeout+l.Pause))
}

// ask asks for a line for so long until it has it, or its patience ends.
func (c Probe) ask(ctx context.Context, s *store.Store, asker string, id billing.GatewayID, takes time.Duration) (until time.Time, err error) {
	for began := time.Now(); ; {
		until = time.Now().Add(takes)
		holder, err := s.AskLine(ctx, asker, id, takes)
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
	}, c.Networks.Networks, log)
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

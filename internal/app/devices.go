package app

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/profile"
	"github.com/meterflow/meterflow/internal/billing"
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
	Address  string        `help:"The gateway's host:port." required:"" placeholder:"HOST:PORT"`
	Link     string        `help:"modbus_tcp: the gateway converts; transparent: it passes bytes on." enum:"modbus_tcp,transparent" default:"modbus_tcp"`
	Unit     byte          `help:"Unit id of the meter, for Modbus." default:"1"`
	Serial   string        `help:"The meter's number, 12 digits; DL/T 645 and CJ/T 188 meters are addressed by it." placeholder:"DIGITS"`
	Profile  string        `help:"Name of the register map." required:"" placeholder:"NAME"`
	Profiles string        `help:"Folder with register maps of your own." placeholder:"DIR"`
	Timeout  time.Duration `help:"How long one exchange may take." default:"3s"`
}

// Run reads once and prints.
func (c Probe) Run(ctx context.Context) error {
	if c.Profiles != "" {
		if err := profile.AddFolder(c.Profiles); err != nil {
			return billing.Errorf(billing.CodeInvalidInput, "%v", err)
		}
	}
	pool := devices.NewPool(devices.Config{Timeout: c.Timeout, ReadOnly: true})
	defer pool.Shutdown()
	got, err := pool.Probe(ctx, devices.Meter{
		Address: devices.Address{Gateway: "probe", HostPort: c.Address, Link: devices.Link{Kind: devices.LinkKind(c.Link)}, Unit: c.Unit},
		Serial:  c.Serial, Profile: c.Profile,
	})
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

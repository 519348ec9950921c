package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/profile"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/notify"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/worker"
	"github.com/meterflow/meterflow/workflows"
)

// Worker is `meterflow worker`.
type Worker struct {
	Database
	Temporal
	Field
	Messages
}

// Messages is how messages to customers leave.
type Messages struct {
	ReceiptURL    string `help:"Where the simulated message provider delivers its receipts; the real providers come later behind the same door." default:"http://127.0.0.1:8080/api/v1/receipts" placeholder:"URL"`
	ReceiptSecret string `help:"Shared secret that the provider sends with its receipts." placeholder:"TEXT"`
}

// Networks are those that gateways may be in: workers dial no others, and the pages take no address outside.
type Networks struct {
	Networks []netip.Prefix `help:"Networks that gateways may be in, dialled or dialling, such as 10.8.0.0/16; without it any." placeholder:"CIDR"`
}

// mayDial refuses a gateway's address that lies outside.
func (n Networks) mayDial(hostPort string) error { return devices.MayDial(n.Networks, hostPort) }

// Field is how a worker reaches the meters.
type Field struct {
	Networks
	WorkerID     string        `help:"Name of this worker as owner of lines: its own in the installation, the same after a restart." default:"worker-1" placeholder:"NAME"`
	DueEvery     time.Duration `help:"How often each site's due work is looked for." default:"1m"`
	LineTimeout  time.Duration `help:"How long one exchange with a meter may take; longer than the gateways' own worst case." default:"3s"`
	SwitchLimit  time.Duration `help:"How long a relay or valve may take to show what was commanded, before its state counts as unknown." default:"1m"`
	DialInListen string        `help:"Address on which 4G serial units dial in; without it none can." placeholder:"HOST:PORT"`
	Password645  string        `name:"dlt645-password" help:"What DL/T 645 meters want with a command: eight hex digits, the level first." placeholder:"HEX"`
	Profiles     string        `help:"Folder with register maps of your own (*.json), beside the built-in ones." placeholder:"DIR"`
	ReadOnly     bool          `help:"Send nothing but reads to meters, whatever is ordered."`
	AsideFor     time.Duration `help:"How long sweeps leave a silent meter alone at first; doubles with each further silence." default:"1m"`
}

// receiptHeader carries the shared secret, see package api.
const receiptHeader = "Meterflow-Receipt-Secret"

// sender is the simulated provider: it takes messages and posts its receipts to our API, as from outside.
func (m Messages) sender() *notify.Demo {
	client := &http.Client{Timeout: 5 * time.Second}
	return &notify.Demo{Delay: 20 * time.Millisecond, Deliver: func(ctx context.Context, r notify.Receipt) error {
		body, err := json.Marshal(r)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.ReceiptURL, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set(receiptHeader, m.ReceiptSecret)
		answer, err := client.Do(req)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode >= 300 {
			return fmt.Errorf("the receipt of message %s was not taken: %s", r.ProviderNo, answer.Status)
		}
		return nil
	}}
}

// Run works until ctx ends.
func (c Worker) Run(ctx context.Context, log *slog.Logger) error {
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	flows, err := c.dial(ctx, log)
	if err != nil {
		return err
	}
	defer flows.T.Close()
	out, err := c.Field.out(s, log)
	if err != nil {
		return err
	}
	return out.work(ctx, s, flows, c.sender(), c.DueEvery, log)
}

// outside is a worker's reach to the meters: the lines that it owns and what speaks on them.
type outside struct {
	lines    *worker.Lines
	pool     *devices.Pool
	dialIn   *devices.DialIn
	listener net.Listener // of units that dial in; nil without
}

// out prepares this worker's reach; nothing is sent yet.
func (f Field) out(s *store.Store, log *slog.Logger) (*outside, error) {
	o := &outside{}
	if f.Profiles != "" {
		if err := profile.AddFolder(f.Profiles); err != nil {
			return nil, billing.Errorf(billing.CodeInvalidInput, "%v", err)
		}
	}
	if f.DialInListen != "" {
		var err error
		if o.listener, err = listen(f.DialInListen); err != nil {
			return nil, err
		}
		o.dialIn = devices.NewDialIn(unitsOf(s), f.Networks.Networks, log)
	}
	o.lines = &worker.Lines{Store: s, Holder: f.WorkerID, DialIn: o.dialIn, Now: time.Now}
	o.pool = devices.NewPool(devices.Config{
		Timeout: f.LineTimeout, SwitchLimit: f.SwitchLimit, SwitchPoll: min(f.SwitchLimit/20, 500*time.Millisecond), SetAsideFor: f.AsideFor, SetAsideMost: 60 * f.AsideFor,
		DialIn: o.dialIn, Networks: f.Networks.Networks, Password645: f.Password645, ReadOnly: f.ReadOnly, MaySend: o.lines.MaySend, Owns: o.lines.Owns,
		Allowed: func(ctx context.Context, m devices.Meter, mapVersion int) error {
			return s.CommandsAllowed(ctx, m.Serial, m.Profile, mapVersion)
		},
	})
	o.pool.OnPoint = failpoint.Hit
	return o, nil
}

// unitsOf finds the gateway that a registration belongs to.
func unitsOf(s *store.Store) devices.UnitOf {
	return func(ctx context.Context, registration string) (devices.Unit, bool, error) {
		g, err := s.GatewayOfUnit(ctx, registration)
		if billing.CodeOf(err) == billing.CodeNotFound {
			return devices.Unit{}, false, nil
		}
		if err != nil {
			return devices.Unit{}, false, err
		}
		return devices.Unit{Gateway: string(g.ID), Secret: [sha256.Size]byte(g.Secret)}, true, nil
	}
}

// work holds lines, takes calls, keeps the Schedules as the code has them, and runs workflows and activities.
func (o *outside) work(ctx context.Context, s *store.Store, flows *workflows.Client, sender notify.Sender, dueEvery time.Duration, log *slog.Logger) error {
	defer o.pool.Shutdown()
	if err := applySchedules(ctx, s, flows, dueEvery); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	if o.dialIn != nil {
		g.Go(func() error { return o.dialIn.Serve(ctx, o.listener) })
	}
	g.Go(func() error {
		return worker.Run(ctx, worker.Config{Temporal: flows.T, Store: s, Pool: o.pool, Lines: o.lines, Sender: sender, Log: log})
	})
	return g.Wait()
}

// applySchedules keeps one Schedule per site as the code has it.
func applySchedules(ctx context.Context, s *store.Store, flows *workflows.Client, every time.Duration) error {
	sites, err := s.Sites(ctx)
	if err != nil {
		return err
	}
	ids := make([]billing.SiteID, len(sites))
	for i, site := range sites {
		ids[i] = site.ID
	}
	return flows.ApplySchedules(ctx, ids, every)
}

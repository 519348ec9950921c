package bench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	gomodbus "github.com/goburrow/modbus"
	"golang.org/x/sync/errgroup"

	"github.com/meterflow/meterflow/devices/profile"
)

// bareLoops are goburrow clients, one per gateway, that read the registers of the gateway's meters one after the other and drop them.
type bareLoops struct {
	loops []bareLoop
}

type bareLoop struct {
	handler *gomodbus.TCPClientHandler
	client  gomodbus.Client
	meters  []bareMeter
}

type bareMeter struct {
	unit   byte
	blocks []profile.Block
}

func (b Sweeps) bareLoops() (*bareLoops, error) {
	var all bareLoops
	for _, g := range b.Fleet.Spec.Gateways {
		h := gomodbus.NewTCPClientHandler(b.Fleet.addresses[g.ID])
		h.Timeout, h.IdleTimeout = linkOf.Timeout, 0
		l := bareLoop{handler: h, client: gomodbus.NewClient(h)}
		for _, m := range g.Meters {
			p, err := profile.Get(m.Profile)
			if err != nil {
				return nil, err
			}
			l.meters = append(l.meters, bareMeter{m.Unit, p.Blocks})
		}
		all.loops = append(all.loops, l)
	}
	return &all, nil
}

// read reads every meter once, all gateways at once.
func (l *bareLoops) read(ctx context.Context) (time.Duration, error) {
	group, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for _, loop := range l.loops {
		group.Go(func() error {
			for _, m := range loop.meters {
				loop.handler.SlaveId = m.unit
				for _, block := range m.blocks {
					if ctx.Err() != nil {
						return ctx.Err()
					}
					if _, err := loop.client.ReadHoldingRegisters(uint16(block.Address), block.Words); err != nil {
						return fmt.Errorf("the bare loop at %s, unit %d: %w", loop.handler.Address, m.unit, err)
					}
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return time.Since(began), err
}

func (l *bareLoops) close() {
	for _, loop := range l.loops {
		_ = loop.handler.Close() // nothing is on its way
	}
}

// lookEvery is how often the process looks at itself while it sweeps.
const lookEvery = 100 * time.Millisecond

// usage is the most that this process used.
type usage struct {
	residentMB, goroutines float64
}

// watch looks at this process until the returned function is called, which tells the most that was seen.
func (b Sweeps) watch() func() usage {
	var most usage
	var looking sync.WaitGroup
	stop := make(chan struct{})
	looking.Go(func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			most.residentMB = max(most.residentMB, residentMB())
			most.goroutines = max(most.goroutines, float64(runtime.NumGoroutine()))
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	return func() usage {
		close(stop)
		looking.Wait()
		return most
	}
}

// residentMB is the memory of this process in MB; where the system doesn't tell, what the Go runtime took from it.
func residentMB() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err == nil {
		for line := range strings.Lines(string(status)) {
			if kB, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				if n, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(kB), " kB"), 64); err == nil {
					return n / 1000
				}
			}
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Sys) / 1e6
}

// resources adds what this process used at most, and how that grows with the lines.
func (b Sweeps) resources(ctx context.Context, r *Report, most usage) error {
	uses, err := b.Fleet.lines(ctx)
	if err != nil {
		return err
	}
	var connections int64
	for _, use := range uses {
		connections += use.Connections
	}
	lines := float64(len(uses))
	r.Figures["lines"], r.Figures["meters"] = lines, float64(b.Fleet.Meters())
	r.Figures["memory_mb"], r.Figures["goroutines"], r.Figures["connections"] = most.residentMB, most.goroutines, float64(connections)
	r.Ratios["connections_per_line"], r.Ratios["goroutines_per_line"] = float64(connections)/lines, most.goroutines/lines
	return nil
}

// Command meterflow is the one binary: each subcommand is one thing that it does. `meterflow --help` lists them; every flag can be
// given as an environment variable METERFLOW_<FLAG> too.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/meterflow/meterflow/internal/app"
	"github.com/meterflow/meterflow/internal/billing"
)

type cli struct {
	Demo     app.Demo     `cmd:"" help:"Run a whole small utility on this machine: private PostgreSQL and Temporal, simulated meters, workers, pages."`
	Serve    app.Serve    `cmd:"" help:"Serve the pages and the JSON API."`
	Worker   app.Worker   `cmd:"" help:"Run workflows and activities, and own the lines of gateways."`
	Migrate  app.Migrate  `cmd:"" help:"Bring the database's tables up to date."`
	Simulate app.Simulate `cmd:"" help:"Serve a fleet of simulated gateways and meters."`
	Rate     app.Rate     `cmd:"" help:"Print how a bill comes about, from a tariff file and a usage file, without any server."`
	Tariff   struct {
		Check  app.TariffCheck  `cmd:"" help:"Check a tariff file; name the place of what is wrong with it."`
		Export app.TariffExport `cmd:"" help:"Print a tariff with all its published versions, as a file."`
	} `cmd:"" help:"Tariffs as files."`
	Journal struct {
		Verify app.JournalVerify `cmd:"" help:"Recompute the hash chains; say where the first break is."`
	} `cmd:"" help:"The journal of every state change."`
	Bench app.Bench `cmd:"" help:"Measure this installation's speed against plain SQL."`

	Devices app.Devices `cmd:"" help:"Register maps and live meters, for an engineer on site."`

	Verbose bool `help:"Log more."`
}

func main() {
	os.Exit(run(os.Args[1:]))
}

// run returns the exit status: 0 done, 1 failed, 2 called wrongly.
func run(args []string) int {
	var c cli
	parser, err := kong.New(&c, kong.Name("meterflow"), kong.DefaultEnvars("METERFLOW"), kong.UsageOnError(),
		kong.Description("Meterflow runs the daily operations of whoever sells electricity and water before they are used."))
	if err != nil {
		fmt.Fprintln(os.Stderr, "meterflow:", err)
		return 1
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		said := err.Error()
		if !strings.HasSuffix(said, "?") {
			said += "."
		}
		fmt.Fprintf(os.Stderr, "meterflow: %s See meterflow --help.\n", said)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	level := slog.LevelInfo
	if c.Verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(log); err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			return 0
		}
		fmt.Fprintln(os.Stderr, "meterflow:", message(err))
		return 1
	}
	return 0
}

// message is one sentence for the person at the terminal; what has no sentence of its own is shown as it is.
func message(err error) string {
	if billing.CodeOf(err) == billing.CodeInternal {
		return err.Error()
	}
	return billing.MessageOf(err)
}

// Package app is the wiring: the one package that knows all the others. Each type is a subcommand with its flags; the same code runs
// in tests as in production. It owns no rule of the business.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"

	"go.temporal.io/sdk/client"
	temporallog "go.temporal.io/sdk/log"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Migrate is `meterflow migrate`.
type Migrate struct {
	Database
}

// Run applies what is missing and says what it did.
func (m Migrate) Run(ctx context.Context) error {
	s, err := m.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	applied, err := s.Migrate(ctx)
	for _, name := range applied {
		fmt.Println("applied", name)
	}
	if err == nil && len(applied) == 0 {
		fmt.Println("the tables are up to date")
	}
	return err
}

// JournalVerify is `meterflow journal verify`.
type JournalVerify struct {
	Database
}

// Run recomputes all chains. A break is an error.
func (j JournalVerify) Run(ctx context.Context) error {
	s, err := j.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	rows, chains, first, err := s.VerifyJournal(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%d rows in %d chains\n", rows, chains)
	if first != nil {
		return billing.Errorf(billing.CodeConflict, "%s", first)
	}
	fmt.Println("every chain and every seal holds")
	return nil
}

// open connects to the database that the flags name.
func (d Database) open(ctx context.Context) (*store.Store, error) {
	if d.DatabaseURL == "" {
		return nil, billing.Errorf(billing.CodeInvalidInput, "say where the database is: --database-url or METERFLOW_DATABASE_URL")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return store.Open(ctx, d.DatabaseURL)
}

// dial connects to the engine that the flags name.
func (t Temporal) dial(ctx context.Context, log *slog.Logger) (*workflows.Client, error) {
	o, err := t.options(log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := client.DialContext(ctx, o)
	if err != nil {
		return nil, billing.Errorf(billing.CodeUnavailable, "the Temporal server at %s doesn't answer: start it or correct --temporal-address", t.TemporalAddress)
	}
	return &workflows.Client{T: c}, nil
}

// dialLater connects when the engine is first needed: with the engine down people still read, and every action says that it was not taken.
func (t Temporal) dialLater(log *slog.Logger) (*workflows.Client, error) {
	o, err := t.options(log)
	if err != nil {
		return nil, err
	}
	c, err := client.NewLazyClient(o)
	return &workflows.Client{T: c}, err
}

func (t Temporal) options(log *slog.Logger) (client.Options, error) {
	if t.TemporalAddress == "" {
		return client.Options{}, billing.Errorf(billing.CodeInvalidInput, "say where the Temporal server is: --temporal-address or METERFLOW_TEMPORAL_ADDRESS")
	}
	return client.Options{
		HostPort: t.TemporalAddress, Namespace: t.TemporalNamespace,
		Logger: temporallog.NewStructuredLogger(slog.New(atLeast{log.Handler(), slog.LevelWarn})),
	}, nil
}

// atLeast drops the engine client's chatter below a level.
type atLeast struct {
	slog.Handler
	level slog.Level
}

// Enabled says whether a record of the level is wanted.
func (a atLeast) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= a.level && a.Handler.Enabled(ctx, l)
}

// WithAttrs keeps the level.
func (a atLeast) WithAttrs(attrs []slog.Attr) slog.Handler {
	return atLeast{a.Handler.WithAttrs(attrs), a.level}
}

// WithGroup keeps the level.
func (a atLeast) WithGroup(name string) slog.Handler {
	return atLeast{a.Handler.WithGroup(name), a.level}
}

// listen opens the address of the pages.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, billing.Errorf(billing.CodeConflict, "the address %s is in use: end the program that has it, or choose another with --listen", address)
	}
	if err != nil {
		return nil, billing.Errorf(billing.CodeInvalidInput, "the address %q can't be listened on: give it as host:port with --listen (%v)", address, err)
	}
	return l, nil
}

// Package devstack runs the two servers that Meterflow needs, PostgreSQL and Temporal, as private children kept in one data
// folder: for the demo, for tests, and for a small installation on one machine.
//
// It owns the folder, the ports, the superuser's password and the life of the children: they end with this process, however
// it ends. It refuses to know anything of Meterflow's tables or workflows, and never listens beyond loopback.
package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

const (
	superuser    = "meterflow"
	databaseName = "meterflow"
	loopback     = "127.0.0.1"
)

// Options say where a stack lives and what belongs to it.
type Options struct {
	// Dir is the data folder; it is made when missing. One running stack per folder.
	Dir string
	// TemporalBinary is the built tools/temporal-server; empty means FindTemporal.
	TemporalBinary string
	// Log takes progress lines for people; nil means none.
	Log io.Writer
	// WithoutTemporal starts PostgreSQL alone.
	WithoutTemporal bool
	// Disposable trades durability for speed: after a crash of the machine (not of a process) the data may be lost. For tests.
	Disposable bool
}

// Stack is a private PostgreSQL cluster plus a Temporal server kept in one data folder.
type Stack struct {
	options  Options
	dir      string
	ports    ports
	held     listeners // ports whose child has not been started yet
	password string
	lock     *os.File
	postgres *child
	temporal *child

	mu       sync.Mutex // guards temporal, stopping and failure
	stopping bool
	failure  error
	done     chan struct{}
	stopOnce sync.Once
	stopErr  error
}

// Start brings the stack of a data folder up and returns when both servers answer. The first start makes the cluster and
// Temporal's tables; a start after a crash waits for what is left of the last one to end. On an error nothing keeps running.
func Start(ctx context.Context, o Options) (_ *Stack, err error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	if !o.WithoutTemporal && o.TemporalBinary == "" {
		if o.TemporalBinary, err = FindTemporal(); err != nil {
			return nil, err
		}
	}
	dir, err := prepareDir(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Stack{options: o, dir: dir, done: make(chan struct{})}
	if s.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.Stop()
		}
	}()
	if s.password, err = loadPassword(dir); err != nil {
		return nil, err
	}
	cluster, err := openCluster(s)
	if err != nil {
		return nil, err
	}
	if err := cluster.awaitLastOwner(ctx); err != nil {
		return nil, err
	}
	if s.ports, s.held, err = loadPorts(ctx, dir, o.Log); err != nil {
		return nil, err
	}
	if s.postgres, err = cluster.start(ctx); err != nil {
		return nil, err
	}
	go s.watch(s.postgres)
	if o.WithoutTemporal {
		return s, nil
	}
	return s, s.StartTemporal(ctx, o.TemporalBinary)
}

// StartTemporal adds the Temporal server to a stack that was started without it.
func (s *Stack) StartTemporal(ctx context.Context, binary string) error {
	temporal, err := startTemporal(ctx, s, binary)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.temporal = temporal
	s.mu.Unlock()
	go s.watch(temporal)
	return nil
}

// DatabaseURL is the superuser's URL of the database "meterflow". It holds the password.
func (s *Stack) DatabaseURL() string { return s.urlOf(databaseName) }

func (s *Stack) urlOf(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, s.password),
		Host: net.JoinHostPort(loopback, strconv.Itoa(s.ports[postgresPort])), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// TemporalAddress is host:port of Temporal's frontend.
func (s *Stack) TemporalAddress() string {
	return net.JoinHostPort(loopback, strconv.Itoa(s.ports[frontendPort]))
}

// Done is closed when a child ended by itself; Err then says which and why.
func (s *Stack) Done() <-chan struct{} { return s.done }

// Err is nil as long as no child ended by itself.
func (s *Stack) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

func (s *Stack) watch(c *child) {
	<-c.exited
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping || s.failure != nil {
		return
	}
	s.failure = fmt.Errorf("%s ended by itself: %w", c.name, c.exitError())
	close(s.done)
}

// Stop ends Temporal, then PostgreSQL, both gracefully, and frees the folder. More calls do nothing more.
func (s *Stack) Stop() error {
	s.stopOnce.Do(func() {
		s.mu.Lock()
		s.stopping = true
		temporal := s.temporal
		s.mu.Unlock()
		if temporal != nil {
			s.stopErr = temporal.stop(temporalStop)
		}
		if s.postgres != nil {
			s.stopErr = errors.Join(s.stopErr, s.postgres.stop(postgresStop))
		}
		s.held.release()
		s.stopErr = errors.Join(s.stopErr, s.lock.Close())
	})
	return s.stopErr
}

func prepareDir(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("no data folder given")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("the data folder can't be made, choose another: %w", err)
	}
	probe, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return "", fmt.Errorf("the data folder %s is not writable, choose another or correct its owner: %w", dir, err)
	}
	_ = probe.Close()
	if err := os.Remove(probe.Name()); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

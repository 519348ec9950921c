// Command temporal-server is a whole Temporal server in one process on PostgreSQL.
//
// It creates its two databases and their schema when they are missing, starts the four services (frontend, history,
// matching, worker), registers one namespace, prints "ready HOST:PORT" on standard output and runs until SIGTERM or SIGINT.
//
// It is a module of its own because go.temporal.io/server and the SDK that Meterflow uses can't be built together.
// It refuses to be a cluster: one process holds everything. A real cluster takes its place by an address, not by a flag here.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// stopWithin bounds a graceful stop: whatever is unfinished then is finished by the next start, as after a crash.
const stopWithin = 10 * time.Second

func main() {
	opts, err := parseOptions(os.Args[1:], os.LookupEnv, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(opts)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "temporal-server: %v\n", err)
		os.Exit(1)
	}
}

func run(opts options) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if opts.exitWithParent {
		go exitAtEndOf(os.Stdin)
	}
	if err := probePorts(opts); err != nil {
		return err
	}
	if err := prepareDatabases(ctx, opts); err != nil {
		return err
	}
	server, err := newServer(opts)
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return fmt.Errorf("starting the services: %w", err)
	}
	if err := prepareNamespace(ctx, opts); err != nil {
		return err
	}
	fmt.Printf("ready %s\n", opts.frontendAddress())
	<-ctx.Done()
	stop() // a second signal ends the process at once
	return stopServer(server.Stop)
}

// probePorts finds a port that is taken before the services do: they answer it with a stack trace.
func probePorts(opts options) error {
	for service, ports := range opts.ports {
		for flagName, port := range map[string]int{service + "-port": ports.grpc, service + "-membership-port": ports.membership} {
			listener, err := net.Listen("tcp", net.JoinHostPort(opts.bind, strconv.Itoa(port)))
			if err != nil {
				return fmt.Errorf("can't listen on --%s %d, end the program that has it or choose another port: %w", flagName, port, err)
			}
			if err := listener.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// exitAtEndOf ends the process when the parent's end of the pipe closes. There is nothing to wait for: the parent has
// crashed, its PostgreSQL is going down too, and Temporal recovers from its tables.
func exitAtEndOf(pipe io.Reader) {
	_, _ = io.Copy(io.Discard, pipe)
	fmt.Fprintln(os.Stderr, "temporal-server: the parent process is gone, ending")
	os.Exit(1)
}

func stopServer(stop func() error) error {
	done := make(chan error, 1)
	go func() { done <- stop() }()
	select {
	case err := <-done:
		return err
	case <-time.After(stopWithin):
		return fmt.Errorf("not stopped within %s, ending anyway; the next start goes on from the tables", stopWithin)
	}
}

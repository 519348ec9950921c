package devstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const (
	// lowestPort and highestPort bound what is picked: above is the range of outgoing connections, and Temporal's membership
	// table stores ports as smallint.
	lowestPort  = 10_000
	highestPort = 32_767

	postgresPort = "postgres"
	frontendPort = "frontend"

	// portGrace is how long a kept port may still be held by the children of a crashed process.
	portGrace = 5 * time.Second
)

// portNames are the listeners of a stack; those of Temporal are named as its flags are.
var portNames = []string{
	postgresPort,
	frontendPort, "history", "matching", "worker",
	"frontend-membership", "history-membership", "matching-membership", "worker-membership",
}

type ports map[string]int

// listeners hold the ports until the child that wants them is about to start: meanwhile no other folder can pick them.
type listeners map[string]net.Listener

// release frees the ports of the names, or all of them.
func (l listeners) release(names ...string) {
	if len(names) == 0 {
		names = portNames
	}
	for _, name := range names {
		if listener, held := l[name]; held {
			_ = listener.Close()
			delete(l, name)
		}
	}
}

// loadPorts gives the folder's ports. They are picked once and kept, so that what a person noted stays true; only a port that
// another program has taken meanwhile is picked anew.
func loadPorts(ctx context.Context, dir string, log io.Writer) (ports, listeners, error) {
	path := filepath.Join(dir, "ports.json")
	kept := ports{}
	content, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, nil, err
	default:
		if err := json.Unmarshal(content, &kept); err != nil {
			return nil, nil, fmt.Errorf("%s is damaged, delete it to have new ports picked: %w", path, err)
		}
	}
	chosen, held, err := holdPorts(ctx, kept, log)
	if err != nil {
		return nil, nil, err
	}
	if content, err = json.MarshalIndent(chosen, "", "  "); err == nil {
		err = writeWhole(path, append(content, '\n'), 0o644)
	}
	if err != nil {
		held.release()
		return nil, nil, err
	}
	return chosen, held, nil
}

// holdPorts listens on a port for each name, the kept one where that is free.
func holdPorts(ctx context.Context, kept ports, log io.Writer) (ports, listeners, error) {
	chosen, held := ports{}, listeners{}
	ctx, cancel := context.WithTimeout(ctx, portGrace)
	defer cancel()
	for _, name := range portNames {
		listener := holdKept(ctx, kept[name])
		if listener == nil && kept[name] != 0 {
			_, _ = fmt.Fprintf(log, "port %d of %s is taken by another program, picking a new one\n", kept[name], name)
		}
		if listener == nil {
			listener = holdAny()
		}
		if listener == nil {
			held.release()
			return nil, nil, fmt.Errorf("no free port between %d and %d on %s", lowestPort, highestPort, loopback)
		}
		held[name] = listener
		chosen[name] = listener.Addr().(*net.TCPAddr).Port
	}
	return chosen, held, nil
}

func holdKept(ctx context.Context, port int) net.Listener {
	if port < lowestPort || port > highestPort {
		return nil
	}
	for {
		if listener := hold(port); listener != nil {
			return listener
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// holdAny starts at a random port, so that folders made one after the other, and not running now, don't keep the same ones.
func holdAny() net.Listener {
	const span = highestPort - lowestPort + 1
	start := rand.IntN(span)
	for i := range span {
		if listener := hold(lowestPort + (start+i)%span); listener != nil {
			return listener
		}
	}
	return nil
}

func hold(port int) net.Listener {
	listener, err := net.Listen("tcp4", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return nil
	}
	return listener
}

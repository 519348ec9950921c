package devstack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// temporalReady bounds a start; the first one makes the schema.
const temporalReady = 2 * time.Minute

var temporalStop = stopPlan{{syscall.SIGTERM, 15 * time.Second}, {syscall.SIGKILL, 5 * time.Second}}

// startTemporal runs the temporal-server on the stack's own PostgreSQL and waits until its namespace is usable.
func startTemporal(ctx context.Context, s *Stack, binary string) (*child, error) {
	s.logf("Temporal: starting, a new folder needs a few seconds for its tables\n")
	logPath := filepath.Join(s.dir, "temporal.log")
	log, err := openLog(logPath)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	args := []string{"--exit-with-parent", "--bind", loopback}
	for _, name := range portNames {
		if name != postgresPort {
			args = append(args, "--"+name+"-port", strconv.Itoa(s.ports[name]))
		}
	}
	cmd := exec.Command(binary, args...)
	// Through the environment: a command line can be read by every user of the machine.
	cmd.Env = append(os.Environ(), "TEMPORAL_SERVER_POSTGRES_URL="+s.urlOf("postgres"))
	cmd.Stderr = log
	ready := &readyLine{seen: make(chan struct{})}
	cmd.Stdout = ready
	// The write end of this pipe stays open as long as we live; its end tells the server that we are gone.
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, err
	}
	s.held.release()
	server, err := startChild("the Temporal server", cmd, logPath, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, temporalReady)
	defer cancel()
	select {
	case <-ready.seen:
		s.logf("Temporal listens on %s\n", s.TemporalAddress())
		return server, nil
	case <-server.exited:
		return nil, fmt.Errorf("the Temporal server did not start: %w", server.exitError())
	case <-ctx.Done():
		_ = server.stop(stopPlan{{syscall.SIGKILL, 5 * time.Second}})
		return nil, fmt.Errorf("the Temporal server is not ready: %w; see %s", ctx.Err(), logPath)
	}
}

// readyLine watches the server's standard output for its word that it is ready.
type readyLine struct {
	mu   sync.Mutex
	text strings.Builder
	seen chan struct{}
	told bool
}

func (r *readyLine) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told {
		return len(p), nil
	}
	r.text.Write(p)
	if strings.Contains(r.text.String(), "ready ") {
		r.told = true
		close(r.seen)
	}
	return len(p), nil
}

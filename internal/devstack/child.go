package devstack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// maxLog is the size at which a server's log file is begun anew at the next start, in bytes.
const maxLog = 16 << 20

// child is a server process that we started.
type child struct {
	name    string
	cmd     *exec.Cmd
	logPath string
	exited  chan struct{} // closed when the process has ended
	err     error         // how it ended; read after exited
}

// stopPlan is a row of signals, each stronger, each with the time it gets.
type stopPlan []stopStep

type stopStep struct {
	signal syscall.Signal
	within time.Duration
}

// startChild starts cmd in a process group of its own, so that a Ctrl-C in the terminal reaches us alone and we stop the
// children in order. deathSignal is what the kernel sends it when we die.
//
// The kernel ties a death signal to the thread that forked, not to the process. So that thread is kept, locked to the
// goroutine, until the child has ended.
func startChild(name string, cmd *exec.Cmd, logPath string, deathSignal syscall.Signal) (*child, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	setDeathSignal(cmd.SysProcAttr, deathSignal)
	c := &child{name: name, cmd: cmd, logPath: logPath, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		c.err = cmd.Wait()
		close(c.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return c, nil
}

// runToEnd runs a short-lived program under the same rules and gives its error output when it fails.
func runToEnd(name string, cmd *exec.Cmd) error {
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	c, err := startChild(name, cmd, "", syscall.SIGKILL)
	if err != nil {
		return err
	}
	<-c.exited
	if c.err != nil {
		return fmt.Errorf("%s: %w\n%s", name, c.err, strings.TrimSpace(output.String()))
	}
	return nil
}

func (c *child) stop(plan stopPlan) error {
	for _, step := range plan {
		if err := c.cmd.Process.Signal(step.signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stopping %s: %w", c.name, err)
		}
		select {
		case <-c.exited:
			return nil
		case <-time.After(step.within):
		}
	}
	return fmt.Errorf("%s (process %d) did not end", c.name, c.cmd.Process.Pid)
}

// exitError tells how the child ended, with the end of its log.
func (c *child) exitError() error {
	reason := errors.New("it ended with status 0")
	if c.err != nil {
		reason = c.err
	}
	if tail := tailOf(c.logPath); tail != "" {
		return fmt.Errorf("%w; the end of %s:\n%s", reason, c.logPath, tail)
	}
	return reason
}

// openLog opens a server's log for appending.
func openLog(path string) (*os.File, error) {
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		flags |= os.O_TRUNC
	}
	return os.OpenFile(path, flags, 0o644)
}

func tailOf(path string) string {
	const lines, size = 8, 4096
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err == nil && info.Size() > size {
		_, _ = file.Seek(-size, io.SeekEnd)
	}
	content, err := io.ReadAll(file)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

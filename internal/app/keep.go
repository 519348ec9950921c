package app

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// keepWorker runs the worker as a program of its own and starts it again whenever it dies, as a service manager does. Each start
// is given the next of the named points to die at, see package failpoint; it counts the deaths by point.
func (r *running) keepWorker(ctx context.Context, m Messages) error {
	// The death signal goes with the thread that started the child.
	runtime.LockOSThread()
	points := r.Kills
	for ctx.Err() == nil {
		point := ""
		if len(points) > 0 {
			point = points[0]
		}
		cmd := exec.CommandContext(ctx, r.Workers, "worker")
		cmd.Env = append(r.workerEnv(m), "METERFLOW_KILL_AT="+point)
		cmd.Stdout, cmd.Stderr = r.out, r.out
		cmd.SysProcAttr = diesWithUs()
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = 10 * time.Second
		err := cmd.Run()
		if ctx.Err() != nil {
			return nil
		}
		if killed(err) && point != "" {
			name, _, _ := strings.Cut(point, ":")
			r.killsDone.add(name)
			r.log.Info("the worker was killed and is started again", "at", name)
			points = points[1:]
			continue
		}
		r.log.Warn("the worker died and is started again", "error", err)
		time.Sleep(time.Second)
	}
	return nil
}

// killed says that a program was ended by SIGKILL.
func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

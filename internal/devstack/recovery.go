package devstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// lastOwnerWithin bounds the wait for a postmaster whose parent has crashed: it is in a fast shutdown, which writes a checkpoint.
const lastOwnerWithin = time.Minute

// awaitLastOwner makes the cluster free to be started. We hold the folder's lock, so a postmaster that still runs in it has
// lost its parent and is ended; a postmaster.pid whose process is gone, or whose number now belongs to another program (as
// after a restarted container), is removed, for PostgreSQL itself takes any process of its user for a live one.
func (c *cluster) awaitLastOwner(ctx context.Context) error {
	path := filepath.Join(c.data(), "postmaster.pid")
	ctx, cancel := context.WithTimeout(ctx, lastOwnerWithin)
	defer cancel()
	for {
		pid, err := readPid(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !runsIn(pid, c.data()) {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return nil
		}
		// Idempotent: a second SIGINT to a postmaster in fast shutdown changes nothing.
		if err := syscall.Kill(pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("PostgreSQL of an earlier run (process %d) still works in %s and can't be ended: %w", pid, c.data(), err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL of an earlier run (process %d) still works in %s: end it", pid, c.data())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func readPid(path string) (int, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	line, _, _ := bytes.Cut(content, []byte("\n"))
	pid, err := strconv.Atoi(string(bytes.TrimSpace(line)))
	if err != nil || pid <= 1 {
		// An empty or torn file is the work of a crash in the middle of writing it: nobody runs there.
		return 0, os.Remove(path)
	}
	return pid, nil
}

// runsIn says whether the process is a live one working in the folder: a postmaster makes its data folder its working
// directory. Where that can't be seen (no /proc), any live process is taken for it.
func runsIn(pid int, dir string) bool {
	if pid == 0 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		_, noProc := os.Stat("/proc/self/cwd")
		return noProc != nil
	}
	return cwd == dir
}

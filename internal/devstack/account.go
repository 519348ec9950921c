package devstack

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the unprivileged user that PostgreSQL runs as when we are root, which it refuses to be. Nil means our own user.
type account struct {
	name     string
	uid, gid uint32
}

func postgresAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(found.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(found.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return nil, err
		}
		return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is no user postgres or nobody: run as another user")
}

// apply makes cmd run as the account.
func (a *account) apply(cmd *exec.Cmd) {
	if a == nil {
		return
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.uid, Gid: a.gid}}
}

// own gives a path to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, int(a.uid), int(a.gid))
}

// barrier is the highest folder on the way to dir that the account may not pass; empty when the way is free.
func (a *account) barrier(dir string) (string, error) {
	if a == nil {
		return "", nil
	}
	blocked := ""
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return "", err
		}
		if !a.mayPass(info) {
			blocked = dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return blocked, nil
		}
		dir = parent
	}
}

func (a *account) mayPass(info os.FileInfo) bool {
	const owner, group, other = 0o100, 0o010, 0o001
	mode := info.Mode().Perm()
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case ok && stat.Uid == a.uid:
		return mode&owner != 0
	case ok && stat.Gid == a.gid:
		return mode&group != 0
	}
	return mode&other != 0
}

func (a *account) String() string {
	if a == nil {
		return fmt.Sprintf("user %d", os.Getuid())
	}
	return "user " + a.name
}

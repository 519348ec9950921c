package devstack

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockDir takes the folder for this process. The kernel frees the lock when the process ends, however it ends, and
// children don't inherit it.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer func() { _ = file.Close() }()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		holder, _ := os.ReadFile(path)
		return nil, fmt.Errorf("the data folder %s is in use by process %s: stop that one or choose another folder",
			dir, strings.TrimSpace(string(holder)))
	}
	if err = file.Truncate(0); err == nil {
		_, err = fmt.Fprintf(file, "%d\n", os.Getpid())
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// loadPassword reads the superuser's password, making it at the first start. Only our own user can read the file.
func loadPassword(dir string) (string, error) {
	path := filepath.Join(dir, "password")
	content, err := os.ReadFile(path)
	if err == nil && len(content) > 0 {
		return strings.TrimSpace(string(content)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	password := rand.Text()
	return password, writeWhole(path, []byte(password+"\n"), 0o600)
}

// writeWhole replaces a file at once, so that a crash leaves the old content or the new.
func writeWhole(path string, content []byte, mode os.FileMode) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, content, mode); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// Remove deletes a data folder and the database in it. It refuses a folder that is in use.
func Remove(dir string) error {
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	home, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
	if err == nil {
		if err := os.RemoveAll(home); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

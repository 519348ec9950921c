package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// sharedHome is where a cluster goes when its user may not enter the data folder, as with one below /root.
const sharedHome = "/var/lib/meterflow"

// postgresReady bounds a start, crash recovery included.
const postgresReady = 2 * time.Minute

// postgresStop is fast shutdown (roll back and checkpoint), then immediate shutdown, then the kernel's.
var postgresStop = stopPlan{{syscall.SIGINT, 30 * time.Second}, {syscall.SIGQUIT, 10 * time.Second}, {syscall.SIGKILL, 5 * time.Second}}

// cluster is a PostgreSQL data folder with the programs and the user that run it.
type cluster struct {
	stack    *Stack
	programs installation
	account  *account
	home     string // ours, owned by the account; data lies in it
}

// openCluster finds the folder's cluster, making it at the first start.
func openCluster(s *Stack) (*cluster, error) {
	c := &cluster{stack: s}
	var err error
	if c.account, err = postgresAccount(); err != nil {
		return nil, err
	}
	if c.home, err = c.prepareHome(); err != nil {
		return nil, err
	}
	wanted := 0
	version, err := os.ReadFile(filepath.Join(c.data(), "PG_VERSION"))
	switch {
	case err == nil:
		if wanted, err = strconv.Atoi(strings.TrimSpace(string(version))); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(c.data(), "PG_VERSION"), err)
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	if c.programs, err = findPostgres(wanted); err != nil {
		return nil, err
	}
	if wanted == 0 {
		err = c.create()
	}
	return c, err
}

func (c *cluster) data() string { return filepath.Join(c.home, "data") }

// prepareHome makes <folder>/postgres. When the account may not pass one of the folders above, the home lies outside and
// <folder>/postgres is a link to it: opening other people's folders is not ours to do.
func (c *cluster) prepareHome() (string, error) {
	link := filepath.Join(c.stack.dir, "postgres")
	if home, err := filepath.EvalSymlinks(link); err == nil {
		return home, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if target, err := os.Readlink(link); err == nil {
		return "", fmt.Errorf("%s points to %s, which is gone: put it back, or delete the link and the file password to begin anew", link, target)
	}
	blocked, err := c.account.barrier(c.stack.dir)
	if err != nil {
		return "", err
	}
	if blocked == "" {
		if err := os.Mkdir(link, 0o700); err != nil {
			return "", err
		}
		return link, c.account.own(link)
	}
	if err := os.MkdirAll(sharedHome, 0o755); err != nil {
		return "", fmt.Errorf("%s, whom PostgreSQL must run as, may not enter %s: choose a data folder that all can enter", c.account, blocked)
	}
	home, err := os.MkdirTemp(sharedHome, filepath.Base(c.stack.dir)+"-*")
	if err != nil {
		return "", err
	}
	c.stack.logf("%s, whom PostgreSQL runs as, may not enter %s: the database lies in %s\n", c.account, blocked, home)
	if err := c.account.own(home); err != nil {
		return "", err
	}
	return home, os.Symlink(home, link)
}

// create runs initdb beside the final place and moves the result there, so that a half-made cluster is never taken for one.
func (c *cluster) create() error {
	c.stack.logf("PostgreSQL %s: making a new cluster in %s\n", c.programs.version, c.data())
	unfinished := c.data() + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	passwordFile := filepath.Join(c.home, "password.new")
	defer func() { _ = os.Remove(passwordFile) }()
	if err := os.WriteFile(passwordFile, []byte(c.stack.password+"\n"), 0o600); err != nil {
		return err
	}
	if err := c.account.own(passwordFile); err != nil {
		return err
	}
	// The C locale sorts by code point, the same on every machine.
	cmd := c.command("initdb", "-D", unfinished, "-U", superuser, "--auth", "scram-sha-256", "--pwfile", passwordFile,
		"--encoding", "UTF8", "--locale", "C")
	if c.stack.options.Disposable {
		cmd.Args = append(cmd.Args, "--no-sync")
	}
	if err := runToEnd("initdb", cmd); err != nil {
		return err
	}
	return os.Rename(unfinished, c.data())
}

func (c *cluster) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.programs.bin, program), args...)
	cmd.Dir = c.home // our own working directory may be closed to the account
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	c.account.apply(cmd)
	return cmd
}

// settings differ from the defaults for a small machine that several workers, Temporal and tests share.
func (c *cluster) settings() map[string]string {
	settings := map[string]string{
		"listen_addresses":        loopback,
		"port":                    strconv.Itoa(c.stack.ports[postgresPort]),
		"unix_socket_directories": "", // one door only, and no path that may be too long for a socket
		"max_connections":         "200",
		"shared_buffers":          "256MB",
		"max_wal_size":            "2GB",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"log_min_messages":        "warning",
		"log_checkpoints":         "off",
		"fsync":                   "on",
		"synchronous_commit":      "on",
	}
	if c.stack.options.Disposable {
		settings["fsync"], settings["synchronous_commit"], settings["full_page_writes"] = "off", "off", "off"
	}
	return settings
}

// start runs the server, waits until it answers and makes the database.
func (c *cluster) start(ctx context.Context) (*child, error) {
	args := []string{"-D", c.data()}
	for name, value := range c.settings() {
		args = append(args, "-c", name+"="+value)
	}
	cmd := c.command("postgres", args...)
	logPath := filepath.Join(c.stack.dir, "postgres.log")
	log, err := openLog(logPath)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own copy
	cmd.Stdout, cmd.Stderr = log, log
	c.stack.held.release(postgresPort)
	server, err := startChild("PostgreSQL", cmd, logPath, syscall.SIGINT)
	if err != nil {
		return nil, err
	}
	if err := c.awaitReady(ctx, server); err != nil {
		return nil, errors.Join(err, server.stop(postgresStop))
	}
	c.stack.logf("PostgreSQL %s listens on %s:%d\n", c.programs.version, loopback, c.stack.ports[postgresPort])
	return server, nil
}

func (c *cluster) awaitReady(ctx context.Context, server *child) error {
	ctx, cancel := context.WithTimeout(ctx, postgresReady)
	defer cancel()
	for {
		err := c.makeDatabase(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-server.exited:
			return fmt.Errorf("PostgreSQL did not start: %w", server.exitError())
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL did not answer: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c *cluster) makeDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, c.stack.urlOf("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var exists bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", databaseName).Scan(&exists); err != nil || exists {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+databaseName)
	return err
}

func (s *Stack) logf(format string, args ...any) { _, _ = fmt.Fprintf(s.options.Log, format, args...) }

// Command withstack starts a private stack, runs a command with the two variables that point tests at it, stops the stack and
// ends with the command's exit status:
//
//	withstack [-dir FOLDER] COMMAND [ARGUMENT...]
//
// It owns the stack of one test run. The folder is deleted at the start and at the end; without -dir a temporary one is used.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/meterflow/meterflow/internal/devstack"
	"github.com/meterflow/meterflow/internal/devstack/devstacktest"
)

func main() {
	dir := flag.String("dir", "", "data `folder` of the stack, deleted before and after; default: a temporary one")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "withstack: give a command to run, such as go test ./...")
		os.Exit(2)
	}
	status, err := run(*dir, flag.Args())
	if err != nil {
		fmt.Fprintf(os.Stderr, "withstack: %v\n", err)
		os.Exit(1)
	}
	os.Exit(status)
}

func run(dir string, command []string) (status int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if dir, err = freshFolder(dir); err != nil {
		return 0, err
	}
	stack, err := devstack.Start(ctx, devstack.Options{Dir: dir, Log: os.Stderr, Disposable: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stack.Stop(), devstack.Remove(dir)) }()

	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = append(os.Environ(),
		devstacktest.DatabaseVariable+"="+stack.DatabaseURL(), devstacktest.TemporalVariable+"="+stack.TemporalAddress())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	if failure := stack.Err(); failure != nil {
		return 0, failure
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func freshFolder(dir string) (string, error) {
	if dir == "" {
		made, err := os.MkdirTemp("", "meterflow-test-*")
		if err != nil {
			return "", err
		}
		return made, os.Chmod(made, 0o711) // PostgreSQL's user must be able to pass
	}
	if _, err := os.Stat(dir); err != nil {
		return dir, nil // Start makes it
	}
	return dir, devstack.Remove(dir)
}

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
)

// maxPort is the highest usable port: the server's membership table stores ports as smallint.
const maxPort = 32767

const envPrefix = "TEMPORAL_SERVER_"

// servicePorts are the two ports of one Temporal service: gRPC and cluster membership.
type servicePorts struct{ grpc, membership int }

type options struct {
	postgresURL        string
	database           string
	visibilityDatabase string
	maxConnections     int
	bind               string
	ports              map[string]*servicePorts // by service name
	namespace          string
	retention          time.Duration
	searchAttributes   string
	logLevel           string
	logFile            string
	exitWithParent     bool

	postgres *url.URL                            // postgresURL, parsed
	wanted   map[string]enumspb.IndexedValueType // searchAttributes, parsed
}

// parseOptions reads the flags; a flag that is not given falls back to its environment variable, TEMPORAL_SERVER_ and the
// flag's name in capitals with underscores.
func parseOptions(args []string, lookupEnv func(string) (string, bool), usage io.Writer) (options, error) {
	opts, set := defineFlags()
	set.SetOutput(usage)
	if err := set.Parse(args); err != nil {
		return options{}, err
	}
	if set.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q: only flags are taken, see --help", set.Arg(0))
	}
	given := map[string]bool{}
	set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var envErr error
	set.VisitAll(func(f *flag.Flag) {
		value, ok := lookupEnv(envName(f.Name))
		if given[f.Name] || !ok {
			return
		}
		if err := set.Set(f.Name, value); err != nil {
			envErr = errors.Join(envErr, fmt.Errorf("%s=%q: %w", envName(f.Name), value, err))
		}
	})
	if envErr != nil {
		return options{}, envErr
	}
	return *opts, opts.validate()
}

func defineFlags() (*options, *flag.FlagSet) {
	opts := &options{ports: map[string]*servicePorts{}}
	set := flag.NewFlagSet("temporal-server", flag.ContinueOnError)
	text := func(p *string, name, value, usage string) { set.StringVar(p, name, value, withEnv(name, usage)) }
	text(&opts.postgresURL, "postgres-url", "", "PostgreSQL `URL` of a user that may create databases, e.g. postgres://user:secret@host:5432/postgres")
	text(&opts.database, "database", "temporal", "database of the workflows")
	text(&opts.visibilityDatabase, "visibility-database", "temporal_visibility", "database of the workflow lists")
	text(&opts.bind, "bind", "127.0.0.1", "IP `address` to listen on")
	text(&opts.namespace, "namespace", "default", "namespace to register")
	text(&opts.searchAttributes, "search-attributes", "", "custom search attributes to register, `NAME=TYPE,…`, e.g. SiteID=Keyword")
	text(&opts.logLevel, "log-level", "warn", "debug, info, warn or error")
	text(&opts.logFile, "log-file", "", "log `file`; standard error when empty")
	set.IntVar(&opts.maxConnections, "max-connections", 15, withEnv("max-connections", "most PostgreSQL connections per service and database"))
	set.DurationVar(&opts.retention, "retention", 72*time.Hour, withEnv("retention", "how long closed workflows of a newly registered namespace are kept"))
	set.BoolVar(&opts.exitWithParent, "exit-with-parent", false, withEnv("exit-with-parent", "end when standard input closes"))
	for i, service := range []string{"frontend", "history", "matching", "worker"} {
		ports := &servicePorts{}
		opts.ports[service] = ports
		name := service + "-port"
		set.IntVar(&ports.grpc, name, 7233+i, withEnv(name, "gRPC port of the "+service+" service, below 32768"))
		name = service + "-membership-port"
		set.IntVar(&ports.membership, name, 6933+i, withEnv(name, "membership port of the "+service+" service, below 32768"))
	}
	return opts, set
}

func envName(flagName string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

func withEnv(flagName, usage string) string { return usage + " ($" + envName(flagName) + ")" }

func (o *options) validate() error {
	if o.postgresURL == "" {
		return fmt.Errorf("no database: give --postgres-url or %s", envName("postgres-url"))
	}
	parsed, err := url.Parse(o.postgresURL)
	if err != nil || parsed.Hostname() == "" || parsed.User == nil {
		// The URL itself is not printed: it holds a password.
		return errors.New("--postgres-url must look like postgres://user:secret@host:5432/postgres")
	}
	o.postgres = parsed
	if net.ParseIP(o.bind) == nil {
		return fmt.Errorf("--bind %q: give an IP address such as 127.0.0.1 or 0.0.0.0", o.bind)
	}
	owner := map[int]string{}
	for service, ports := range o.ports {
		for flagName, port := range map[string]int{service + "-port": ports.grpc, service + "-membership-port": ports.membership} {
			if port < 1 || port > maxPort {
				return fmt.Errorf("--%s %d: give a port from 1 to %d", flagName, port, maxPort)
			}
			if other, taken := owner[port]; taken {
				return fmt.Errorf("--%s and --%s are both %d: each needs a port of its own", flagName, other, port)
			}
			owner[port] = flagName
		}
	}
	if o.retention < time.Hour {
		return fmt.Errorf("--retention %s: Temporal keeps closed workflows for at least an hour", o.retention)
	}
	o.wanted, err = parseSearchAttributes(o.searchAttributes)
	return err
}

// frontendAddress is where clients on this machine reach the frontend.
func (o *options) frontendAddress() string {
	host := o.bind
	if ip := net.ParseIP(host); ip.IsUnspecified() {
		host = loopback
	}
	return net.JoinHostPort(host, strconv.Itoa(o.ports["frontend"].grpc))
}

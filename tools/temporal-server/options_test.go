package main

import (
	"io"
	"maps"
	"strings"
	"testing"
	"time"
)

const testURL = "postgres://user:hunter2@db.example:5432/postgres"

func parse(env map[string]string, args ...string) (options, error) {
	return parseOptions(args, func(name string) (string, bool) { value, ok := env[name]; return value, ok }, io.Discard)
}

func TestParseOptions_flagsBeatTheEnvironment(t *testing.T) {
	env := map[string]string{
		"TEMPORAL_SERVER_POSTGRES_URL": testURL, "TEMPORAL_SERVER_FRONTEND_PORT": "7000",
		"TEMPORAL_SERVER_RETENTION": "24h", "TEMPORAL_SERVER_BIND": "0.0.0.0", "TEMPORAL_SERVER_EXIT_WITH_PARENT": "true",
	}
	opts, err := parse(env, "--frontend-port", "7001")
	if err != nil {
		t.Fatal(err)
	}
	if got := opts.frontendAddress(); got != "127.0.0.1:7001" {
		t.Errorf("frontend address %s, want 127.0.0.1:7001", got)
	}
	if opts.retention != 24*time.Hour || !opts.exitWithParent {
		t.Errorf("retention %s, exit with parent %t: the environment was not read", opts.retention, opts.exitWithParent)
	}
}

func TestParseOptions_refusals(t *testing.T) {
	good := map[string]string{"TEMPORAL_SERVER_POSTGRES_URL": testURL}
	cases := map[string]struct {
		env  map[string]string
		args []string
		want string
	}{
		"no database":        {args: nil, want: "give --postgres-url"},
		"no user":            {args: []string{"--postgres-url", "postgres://host/db"}, want: "must look like postgres://"},
		"port too high":      {env: good, args: []string{"--history-port", "32768"}, want: "--history-port 32768: give a port from 1 to 32767"},
		"port zero":          {env: good, args: []string{"--worker-port", "0"}, want: "--worker-port 0"},
		"port twice":         {env: good, args: []string{"--worker-port", "6933"}, want: "are both 6933"},
		"bad address":        {env: good, args: []string{"--bind", "localhost"}, want: "give an IP address"},
		"short retention":    {env: good, args: []string{"--retention", "1m"}, want: "at least an hour"},
		"argument":           {env: good, args: []string{"start"}, want: `unexpected argument "start"`},
		"broken environment": {env: with(good, "TEMPORAL_SERVER_FRONTEND_PORT", "many"), want: `TEMPORAL_SERVER_FRONTEND_PORT="many"`},
		"search attribute":   {env: good, args: []string{"--search-attributes", "SiteID"}, want: `"SiteID" must be NAME=TYPE`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := parse(c.env, c.args...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want an error with %q", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("the error shows the password: %v", err)
			}
		})
	}
}

func with(env map[string]string, name, value string) map[string]string {
	copied := maps.Clone(env)
	copied[name] = value
	return copied
}

func TestSQLConfig_takesTheURLApart(t *testing.T) {
	opts, err := parse(nil, "--postgres-url", testURL+"?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	got := sqlConfig(opts, "temporal")
	if got.ConnectAddr != "db.example:5432" || got.User != "user" || got.Password != "hunter2" || got.ConnectAttributes["sslmode"] != "disable" {
		t.Errorf("got %s as %s, attributes %v", got.ConnectAddr, got.User, got.ConnectAttributes)
	}
}

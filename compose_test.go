package meterflow_test

import (
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/devstack"
)

// program is what a built program says about itself in its help.
type program struct {
	flags     []string // --name
	variables []string // NAME, shown as ($NAME)
}

var (
	flagPattern     = regexp.MustCompile(`(?m)^\s+(?:-\w, )?(--?[a-z][a-z-]+)`)
	variablePattern = regexp.MustCompile(`\(\$([A-Z_]+)\)`)
	stagePattern    = regexp.MustCompile(`(?m)^FROM \S+ AS (\S+)$`)
)

// TestCompose holds docker-compose.yml against the programs and the Dockerfile: no container engine is at hand where tests
// run, so a wrong flag, variable, target or host name would else show itself at a user's.
func TestCompose(t *testing.T) {
	t.Parallel()
	project := loadCompose(t)
	services := []string{"meterflow-serve", "meterflow-worker", "migrate", "postgres", "simulator", "temporal", "temporal-ui"}
	require.Equal(t, services, slices.Sorted(maps.Keys(project.Services)))
	meterflow := buildMeterflow(t)
	temporalServer, err := devstack.FindTemporal()
	require.NoError(t, err)

	for name, service := range project.Services {
		t.Run(name, func(t *testing.T) {
			requireHosts(t, project, service)
			if service.Build == nil {
				require.Regexp(t, `:\d`, service.Image, "an image needs a version")
				return
			}
			switch service.Build.Target {
			case "meterflow":
				requireKnown(t, service, "METERFLOW_", func(command []string) program { return helpOf(t, meterflow, command...) })
			case "temporal-server":
				requireKnown(t, service, "TEMPORAL_SERVER_", func(command []string) program {
					require.Empty(t, command, "temporal-server has no subcommands")
					return helpOf(t, temporalServer)
				})
			default:
				t.Fatalf("unknown build target %q", service.Build.Target)
			}
		})
	}
}

func TestCompose_buildTargetsExist(t *testing.T) {
	t.Parallel()
	dockerfile, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	var stages []string
	for _, match := range stagePattern.FindAllStringSubmatch(string(dockerfile), -1) {
		stages = append(stages, match[1])
	}
	for name, service := range loadCompose(t).Services {
		if service.Build != nil {
			require.Contains(t, stages, service.Build.Target, name)
		}
	}
}

// TestCompose_simulatorFleet starts the fleet that the file describes, on ports of its own.
func TestCompose_simulatorFleet(t *testing.T) {
	t.Parallel()
	var spec simulator.FleetSpec
	require.NoError(t, json.Unmarshal([]byte(loadCompose(t).Configs["fleet"].Content), &spec))
	require.NotEmpty(t, spec.Gateways)
	for i := range spec.Gateways {
		spec.Gateways[i].Listen = "127.0.0.1:0"
	}
	fleet, err := simulator.NewFleet(spec, t.TempDir(), func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) })
	require.NoError(t, err)
	require.NoError(t, fleet.Close())
}

func loadCompose(t *testing.T) *types.Project {
	t.Helper()
	details := types.ConfigDetails{
		WorkingDir:  ".",
		ConfigFiles: []types.ConfigFile{{Filename: "docker-compose.yml"}},
		Environment: types.Mapping{"POSTGRES_PASSWORD": "secret", "RECEIPT_SECRET": "secret"},
	}
	project, err := loader.LoadWithContext(t.Context(), details)
	require.NoError(t, err)
	return project
}

// requireKnown checks the command line and the variables of a service that runs a program of ours.
func requireKnown(t *testing.T, service types.ServiceConfig, prefix string, help func(command []string) program) {
	t.Helper()
	var command, flags []string
	for i, arg := range service.Command {
		switch {
		case strings.HasPrefix(arg, "--"):
			name, _, _ := strings.Cut(arg, "=")
			flags = append(flags, name)
		case i == len(command):
			command = append(command, arg) // before the first flag: subcommands
		}
	}
	known := help(command)
	for _, flag := range flags {
		require.Contains(t, known.flags, flag, "%v has no such flag", command)
	}
	for variable := range service.Environment {
		require.True(t, strings.HasPrefix(variable, prefix), "%s is no variable of this program", variable)
		require.Contains(t, known.variables, variable, "%v reads no such variable", command)
	}
}

// requireHosts checks that every host that a service is told of is a service too.
func requireHosts(t *testing.T, project *types.Project, service types.ServiceConfig) {
	t.Helper()
	for variable, value := range service.Environment {
		if value == nil {
			continue
		}
		host := ""
		if u, err := url.Parse(*value); err == nil && u.Host != "" {
			host = u.Hostname()
		} else if strings.HasSuffix(variable, "_ADDRESS") {
			host, _, _ = strings.Cut(*value, ":")
		}
		if host != "" {
			require.Contains(t, project.Services, host, "%s names a host that is no service", variable)
			require.NotEqual(t, service.Name, host, "%s names the service itself", variable)
		}
	}
	for dependency := range service.DependsOn {
		require.Contains(t, project.Services, dependency)
	}
}

func buildMeterflow(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "meterflow")
	output, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", path, "./cmd/meterflow").CombinedOutput()
	require.NoError(t, err, string(output))
	return path
}

func helpOf(t *testing.T, path string, command ...string) program {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), path, append(slices.Clone(command), "--help")...).CombinedOutput()
	require.NoError(t, err, string(output))
	var p program
	for _, match := range flagPattern.FindAllStringSubmatch(string(output), -1) {
		p.flags = append(p.flags, "--"+strings.TrimLeft(match[1], "-"))
	}
	for _, match := range variablePattern.FindAllStringSubmatch(string(output), -1) {
		p.variables = append(p.variables, match[1])
	}
	require.NotEmpty(t, p.flags, "no flags in the help:\n%s", output)
	return p
}

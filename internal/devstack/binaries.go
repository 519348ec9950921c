package devstack

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// TemporalServerVariable names the environment variable that says where the built temporal-server is.
const TemporalServerVariable = "METERFLOW_TEMPORAL_SERVER"

// FindTemporal looks for the built temporal-server: the environment variable METERFLOW_TEMPORAL_SERVER, beside our own
// program, then bin/ of the module that the working directory is in.
func FindTemporal() (string, error) {
	if path := os.Getenv(TemporalServerVariable); path != "" {
		if !isFile(path) {
			return "", fmt.Errorf("%s is %s, where no program is: run make build", TemporalServerVariable, path)
		}
		return path, nil
	}
	var candidates []string
	if self, err := os.Executable(); err == nil {
		candidates = append(candidates, filepath.Join(filepath.Dir(self), "temporal-server"))
	}
	if root := moduleRoot(); root != "" {
		candidates = append(candidates, filepath.Join(root, "bin", "temporal-server"))
	}
	for _, path := range candidates {
		if isFile(path) {
			return path, nil
		}
	}
	return "", errors.New("the Temporal server is not built: run make build")
}

// moduleRoot is the nearest folder upwards that holds go.mod, or empty.
func moduleRoot() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		if isFile(filepath.Join(dir, "go.mod")) {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// oldestPostgres is the first major version that the product is made for.
const oldestPostgres = 15

// installation is one set of PostgreSQL's programs.
type installation struct {
	bin     string // folder
	version string // such as 15.18
	major   int
}

var versionPattern = regexp.MustCompile(`(\d+)(?:\.\d+|devel|beta\d+|rc\d+)*`)

// findPostgres picks the installation of the wanted major version, or the newest when wanted is 0.
func findPostgres(wanted int) (installation, error) {
	var newest installation
	var seen []string
	for _, bin := range postgresFolders() {
		found, err := inspect(bin)
		if err != nil {
			continue
		}
		if wanted != 0 && found.major == wanted {
			return found, nil
		}
		seen = append(seen, found.version)
		if found.major > newest.major {
			newest = found
		}
	}
	switch {
	case len(seen) == 0:
		return installation{}, errors.New("PostgreSQL is not installed: run apt-get install postgresql")
	case wanted != 0:
		return installation{}, fmt.Errorf("the data folder was made by PostgreSQL %d, and only %s is installed: run apt-get install postgresql-%d",
			wanted, strings.Join(seen, ", "), wanted)
	case newest.major < oldestPostgres:
		return installation{}, fmt.Errorf("PostgreSQL %d or newer is needed, and only %s is installed", oldestPostgres, strings.Join(seen, ", "))
	}
	return newest, nil
}

// postgresFolders are the places where distributions put the server's programs: Debian's are not on the path.
func postgresFolders() []string {
	var folders []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"} {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		folders = append(folders, found...)
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		folders = append(folders, filepath.Dir(path))
	}
	if output, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		folders = append(folders, strings.TrimSpace(string(output)))
	}
	return folders
}

func inspect(bin string) (installation, error) {
	if !isFile(filepath.Join(bin, "initdb")) {
		return installation{}, os.ErrNotExist
	}
	output, err := exec.Command(filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return installation{}, err
	}
	match := versionPattern.FindStringSubmatch(string(output))
	if match == nil {
		return installation{}, fmt.Errorf("unknown version %q", output)
	}
	major, err := strconv.Atoi(match[1])
	return installation{bin: bin, version: match[0], major: major}, err
}

package devstack

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStart_closedFolder uses a folder that only its owner may enter, as one below /root is. As root, the database then lies
// outside, behind a link; as another user nothing is special about it.
func TestStart_closedFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "closed", "data")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o700))

	first := start(t, Options{Dir: dir, WithoutTemporal: true})
	home, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(home)) })
	if os.Geteuid() == 0 {
		require.Equal(t, sharedHome, filepath.Dir(home))
	}
	require.ErrorContains(t, Remove(dir), "is in use by process", "a folder in use is not removed")
	require.NoError(t, first.Stop())

	second := start(t, Options{Dir: dir, WithoutTemporal: true})
	require.Equal(t, 1, query[int](t, second, "select 1"), "a second start finds it again")
	require.NoError(t, second.Stop())

	require.NoError(t, Remove(dir))
	require.NoDirExists(t, dir)
	require.NoDirExists(t, home)
}

func TestAccount_barrier(t *testing.T) {
	root := t.TempDir()
	open := filepath.Join(root, "open")
	closed := filepath.Join(open, "closed")
	inner := filepath.Join(closed, "inner")
	require.NoError(t, os.MkdirAll(inner, 0o755))
	require.NoError(t, os.Chmod(root, 0o711))
	require.NoError(t, os.Chmod(filepath.Dir(root), 0o711)) // the test's own, closed by the testing package
	stranger := &account{name: "stranger", uid: 4_000_000, gid: 4_000_000}

	blocked, err := stranger.barrier(inner)
	require.NoError(t, err)
	require.Empty(t, blocked)

	require.NoError(t, os.Chmod(closed, 0o700))
	blocked, err = stranger.barrier(inner)
	require.NoError(t, err)
	require.Equal(t, closed, blocked)

	require.NoError(t, os.Chmod(open, 0o750))
	blocked, err = stranger.barrier(inner)
	require.NoError(t, err)
	require.Equal(t, open, blocked, "the highest one is what a person has to open first")

	var ourselves *account
	blocked, err = ourselves.barrier(inner)
	require.NoError(t, err)
	require.Empty(t, blocked)
}

func TestStart_badFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Start(t.Context(), Options{Dir: file, WithoutTemporal: true})
	require.ErrorContains(t, err, "the data folder can't be made, choose another")
	_, err = Start(t.Context(), Options{WithoutTemporal: true})
	require.ErrorContains(t, err, "no data folder given")
}

func TestStart_temporalNotBuilt(t *testing.T) {
	t.Setenv(TemporalServerVariable, filepath.Join(t.TempDir(), "temporal-server"))
	_, err := Start(t.Context(), Options{Dir: folder(t)})
	require.ErrorContains(t, err, "run make build")
}

func TestLoadPorts_damaged(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ports.json"), []byte("{"), 0o600))
	_, _, err := loadPorts(t.Context(), dir, os.Stderr)
	require.ErrorContains(t, err, "is damaged, delete it")
}

func TestFindPostgres_wrongVersion(t *testing.T) {
	_, err := findPostgres(9)
	require.ErrorContains(t, err, "the data folder was made by PostgreSQL 9")
	require.ErrorContains(t, err, "apt-get install postgresql-9")
}

package store

import (
	"io/fs"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each refusal of the database that is written for people has a code of the product, and none stands in the table that nothing raises.
func TestOwnCodes_areThoseOfTheMigrations(t *testing.T) {
	raised := map[string]bool{}
	code := regexp.MustCompile(`'(MF\d{3})'`)
	files, err := fs.Glob(migrations, "migrations/*.sql")
	require.NoError(t, err)
	for _, file := range files {
		sql, err := migrations.ReadFile(file)
		require.NoError(t, err)
		for _, found := range code.FindAllStringSubmatch(string(sql), -1) {
			raised[found[1]] = true
		}
	}
	faults := map[string]bool{"MF001": true, "MF002": true, "MF003": true, "MF004": true} // the program is wrong, not the person
	for c := range raised {
		_, known := ownCodes[c]
		require.True(t, known || faults[c], c)
	}
	for c := range ownCodes {
		require.True(t, raised[c], c)
	}
}

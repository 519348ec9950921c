package page

import (
	"maps"
	"strings"
)

// As is the address of this list as a file: the path with an ending, and the filters without the named ones.
func (l List) As(ending string, without ...string) string {
	l.query = maps.Clone(l.query)
	for _, name := range without {
		l.query.Del(name)
	}
	path, query, _ := strings.Cut(l.Href(), "?")
	if query == "" {
		return path + ending
	}
	return path + ending + "?" + query
}

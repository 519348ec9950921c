package page

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/meterflow/meterflow/web/components"
)

// PerPage is how many rows a list shows at once.
const PerPage = 50

// List is where a person stands in a list: filters and page, all of it in the address.
type List struct {
	path  string
	query url.Values
	// Page counts from 1.
	Page int
}

// ListOf reads the address. A page that isn't a number is the first.
func ListOf(r *http.Request) List {
	q := r.URL.Query()
	n, err := strconv.Atoi(q.Get("page"))
	if err != nil || n < 1 || n > 1_000_000 {
		n = 1
	}
	return List{path: r.URL.Path, query: q, Page: n}
}

// Get is the value of a filter; empty when it isn't set.
func (l List) Get(filter string) string { return strings.TrimSpace(l.query.Get(filter)) }

// One is the value of a filter when it is one of the offered, else empty: an address that someone mistyped filters nothing.
func (l List) One(filter string, offered ...string) string {
	for _, o := range offered {
		if l.Get(filter) == o {
			return o
		}
	}
	return ""
}

// Limit is how many rows to fetch; Offset how many to leave out.
func (l List) Limit() int { return PerPage }

// Offset is how many rows stand before this page.
func (l List) Offset() int { return (l.Page - 1) * PerPage }

// Href is the address of this list with some filters changed (name, value, name, value …), on its first page. An empty value
// removes the filter.
func (l List) Href(changes ...string) string {
	q := url.Values{}
	for name, values := range l.query {
		if name != "page" && len(values) > 0 && values[0] != "" {
			q.Set(name, values[0])
		}
	}
	for i := 0; i+1 < len(changes); i += 2 {
		q.Del(changes[i])
		if changes[i+1] != "" {
			q.Set(changes[i], changes[i+1])
		}
	}
	if len(q) == 0 {
		return l.path
	}
	return l.path + "?" + q.Encode()
}

// ClearHref is the address without any filter; empty while none of the named filters is set.
func (l List) ClearHref(filters ...string) string {
	for _, f := range filters {
		if l.Get(f) != "" {
			return l.path
		}
	}
	return ""
}

// Pager leads through a list of total rows of which shown stand on this page.
func (l List) Pager(shown, total int) components.PagerView {
	v := components.PagerView{Shown: shown, Total: total}
	if l.Page > 1 {
		v.PrevHref = l.Href("page", pageText(l.Page-1))
	}
	if l.Offset()+shown < total {
		v.NextHref = l.Href("page", pageText(l.Page+1))
	}
	return v
}

func pageText(n int) string {
	if n <= 1 {
		return ""
	}
	return strconv.Itoa(n)
}

// path is the address of this request, for the way back from the language switch and for live regions.
func path(ctx context.Context) string {
	if f, ok := ctx.Value(frameKey{}).(frame); ok {
		return f.path
	}
	return "/"
}

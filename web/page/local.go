package page

import "strings"

// Local keeps a redirect inside this site; anything else leads to the first page. Browsers read "//host" and "/\host" as
// another host.
func Local(back string) string {
	if !strings.HasPrefix(back, "/") || strings.HasPrefix(back, "//") || strings.ContainsAny(back, "\\\r\n\t") {
		return "/"
	}
	return back
}

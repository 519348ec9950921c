// Package layout draws the frame around every page: head, navigation in the role's own order, the trace box, the site,
// the language, the business clock, the person, and the answers to what was just done. It is a pure function of Page and
// of the language and zone in its context; it refuses to know the session, the store or the workflows.
package layout

import (
	"net/url"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
)

// Paths that the frame itself refers to; web's routes serve them.
const (
	TracePath   = "/trace"    // GET ?q=
	LangPath    = "/lang"     // GET ?to=&back=, locale.Switch
	SignOutPath = "/sign-out" // POST
)

// NavItem is one place to go. Icon is a name of components.Icon. Count is what waits there; Tone says how it is.
type NavItem struct {
	Label, Href, Icon string
	Count             int
	Tone              components.Tone
	Active            bool
}

// Site is one entry of the site switcher; Href switches to it and returns.
type Site struct {
	Name, Href string
	Current    bool
}

// User is who is signed in; Role is already in words.
type User struct{ Name, Role string }

// Clock is the business clock. Controls (pause, speed, jump) are given in the demo to those who may use them; Note says how
// it runs ("×600", "paused") and is empty in real time.
type Clock struct {
	Now      time.Time
	Note     string
	Controls templ.Component
}

// Page is everything that the frame shows. Path is the address of this page with its query: the language switch returns
// to it. A page without User (signing in) has no navigation.
type Page struct {
	Title  string
	Path   string
	User   *User
	Nav    []NavItem
	Sites  []Site
	Clock  *Clock
	Query  string // what was searched, kept in the trace box
	Flash  []components.NoticeView
	Narrow bool // a page of one column of text or one form
}

func langHref(to locale.Language, path string) string {
	return LangPath + "?" + url.Values{"to": {string(to)}, "back": {path}}.Encode()
}

// onBar is how many places fit the bottom bar of a phone beside "more".
const onBar = 4

// barItems splits the navigation for a narrow screen: what stands on the bar, and what opens behind "more".
func barItems(nav []NavItem) (bar, more []NavItem) {
	if len(nav) <= onBar+1 {
		return nav, nil
	}
	return nav[:onBar], nav[onBar:]
}

// moreCurrent says that the present page is behind "more", so that the bar can mark it.
func moreCurrent(more []NavItem) bool {
	for _, item := range more {
		if item.Active {
			return true
		}
	}
	return false
}

func currentSite(sites []Site) string {
	for _, s := range sites {
		if s.Current {
			return s.Name
		}
	}
	return ""
}

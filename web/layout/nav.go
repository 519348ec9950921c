package layout

import (
	"context"
	"strings"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
)

// place is one destination of the navigation. Its name is its icon and the key of its count.
type place struct{ name, key, href string }

var places = map[string]place{
	"today":      {"today", locale.Key("nav.today"), "/"},
	"cycles":     {"cycles", locale.Key("nav.cycles"), "/cycles"},
	"exceptions": {"exceptions", locale.Key("nav.exceptions"), "/exceptions"},
	"runs":       {"runs", locale.Key("nav.runs"), "/runs"},
	"recharges":  {"recharges", locale.Key("nav.recharges"), "/recharges"},
	"accounts":   {"accounts", locale.Key("nav.accounts"), "/accounts"},
	"meters":     {"meters", locale.Key("nav.meters"), "/meters"},
	"cutoffs":    {"cutoffs", locale.Key("nav.cutoffs"), "/cutoffs"},
	"messages":   {"messages", locale.Key("nav.messages"), "/messages"},
}

// orders is each role's own order: what they come for stands first, and the first four are on a phone's bar.
var orders = map[billing.Role]string{
	billing.RoleSupervisor:    "today exceptions runs cycles meters accounts recharges cutoffs messages",
	billing.RoleClerk:         "today recharges accounts messages exceptions cutoffs meters runs cycles",
	billing.RoleManager:       "today cutoffs exceptions runs recharges accounts cycles meters messages",
	billing.RoleAdministrator: "today meters cycles accounts exceptions cutoffs messages runs recharges",
	billing.RoleCustomer:      "today",
}

// Nav is the navigation of a role. Counts has what waits at each place by name ("exceptions": 3); path marks where the
// person is: the place itself or a page below it.
func Nav(ctx context.Context, role billing.Role, counts map[string]int, path string) []NavItem {
	names := strings.Fields(orders[role])
	items := make([]NavItem, 0, len(names))
	for _, name := range names {
		p := places[name]
		items = append(items, NavItem{
			Label: locale.T(ctx, p.key), Href: p.href, Icon: p.name, Count: counts[name], Tone: components.Watch,
			Active: path == p.href || p.href != "/" && strings.HasPrefix(path, p.href+"/"),
		})
	}
	return items
}

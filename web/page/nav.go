package page

import (
	"context"
	"net/url"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/layout"
	"github.com/meterflow/meterflow/web/locale"
)

// place is one item of the navigation.
type place struct{ key, href, icon string }

var (
	placeToday       = place{locale.Key("nav.today"), "/", "today"}
	placeCycles      = place{locale.Key("nav.cycles"), "/cycles", "cycles"}
	placeCases       = place{locale.Key("nav.exceptions"), "/exceptions", "exceptions"}
	placeRuns        = place{locale.Key("nav.runs"), "/runs", "runs"}
	placeReports     = place{locale.Key("nav.reports"), "/reports", "reports"}
	placeRecharges   = place{locale.Key("nav.recharges"), "/recharges", "recharges"}
	placeAccounts    = place{locale.Key("nav.accounts"), "/accounts", "accounts"}
	placeMeters      = place{locale.Key("nav.meters"), "/meters", "meters"}
	placeBatches     = place{locale.Key("nav.batches"), "/batches", "batches"}
	placeAreas       = place{locale.Key("nav.areas"), "/areas", "areas"}
	placeGateways    = place{locale.Key("nav.gateways"), "/gateways", "gateways"}
	placeCutoffs     = place{locale.Key("nav.cutoffs"), "/cutoffs", "cutoffs"}
	placeMessages    = place{locale.Key("nav.messages"), "/messages", "messages"}
	placeTrace       = place{locale.Key("nav.trace"), "/trace", "trace"}
	placeLedger      = place{locale.Key("nav.ledger"), "/ledger", "cash"}
	placeTariffs     = place{locale.Key("nav.tariffs"), "/tariffs", "tariffs"}
	placeSites       = place{locale.Key("nav.sites"), "/sites", "sites"}
	placeRounds      = place{locale.Key("nav.rounds"), "/rounds", "rounds"}
	placeRules       = place{locale.Key("nav.rules"), "/rules", "sites"}
	placeUsers       = place{locale.Key("nav.users"), "/users", "users"}
	placeCorrections = place{locale.Key("nav.corrections"), "/corrections", "corrections"}
	placePlans       = place{locale.Key("nav.plans"), "/payment-plans", "plans"}
	placeAdjustments = place{locale.Key("nav.adjustments"), "/adjustments", "adjustments"}
)

// places is each role's own order: what it comes for first.
var places = map[billing.Role][]place{
	billing.RoleSupervisor: {placeToday, placeCases, placeRuns, placeCorrections, placeAdjustments, placePlans, placeReports, placeCycles, placeRounds, placeAccounts, placeMeters, placeAreas, placeGateways, placeBatches, placeCutoffs, placeRecharges, placeTariffs, placeMessages,
		placeRules, placeLedger, placeTrace},
	billing.RoleReader: {placeRounds},
	billing.RoleClerk: {placeToday, placeRecharges, placeAccounts, placeReports, placeMessages, placeMeters, placeAreas, placeCutoffs, placeCycles, placeCases, placeRuns, placeTariffs, placeLedger,
		placeTrace},
	billing.RoleManager: {placeToday, placeCutoffs, placeTrace, placeTariffs, placeCases, placeRecharges, placeReports, placeRuns, placeCorrections, placeAdjustments, placePlans, placeCycles, placeRounds, placeAccounts, placeMeters, placeAreas, placeGateways, placeBatches,
		placeMessages, placeLedger, placeRules},
	billing.RoleAdministrator: {placeToday, placeSites, placeUsers, placeTariffs, placeRules, placeGateways, placeMeters, placeAreas, placeBatches, placeAccounts, placeCycles, placeCases, placeRuns, placeCorrections, placeAdjustments, placePlans, placeReports, placeRecharges,
		placeCutoffs, placeMessages, placeLedger, placeTrace},
}

func navigation(ctx context.Context, role billing.Role, w store.Waiting, active string) []layout.NavItem {
	items := make([]layout.NavItem, 0, len(places[role]))
	for _, p := range places[role] {
		item := layout.NavItem{Label: locale.T(ctx, p.key), Href: p.href, Icon: p.icon, Active: p.href == active, Tone: components.Watch}
		switch p {
		case placeCases:
			item.Count = w.Cases
			if w.OverdueCases > 0 {
				item.Tone = components.Danger
			}
		case placeRuns:
			item.Count = w.RunsToVerify + w.RunsToIssue
		case placeCorrections:
			item.Count = w.Corrections
		case placeAdjustments:
			item.Count = w.Adjustments
		case placePlans:
			item.Count = w.Plans
		case placeRecharges:
			item.Count = w.Recharges
		case placeLedger:
			if role == billing.RoleSupervisor || role == billing.RoleManager { // who may approve a hold and pay it out
				item.Count = w.Holds
			}
		case placeCutoffs:
			item.Count = w.Cuts
		case placeRounds:
			item.Count = w.Rounds
		case placeTariffs:
			if role == billing.RoleSupervisor || role == billing.RoleManager { // who may approve
				item.Count = w.Tariffs
			}
		}
		items = append(items, item)
	}
	return items
}

// SitePath switches the site to look at: GET ?to=&back=.
const SitePath = "/site"

// siteMenu offers each site and, with several, all of them together.
func siteMenu(ctx context.Context, f frame) []layout.Site {
	href := func(id billing.SiteID) string {
		return SitePath + "?" + url.Values{"to": {string(id)}, "back": {f.path}}.Encode()
	}
	var menu []layout.Site
	if len(f.sites) > 1 {
		menu = append(menu, layout.Site{Name: locale.T(ctx, "nav.all_sites"), Href: href(""), Current: f.chosen == ""})
	}
	for _, s := range f.sites {
		menu = append(menu, layout.Site{Name: nameOf(ctx, s), Href: href(s.ID), Current: f.chosen == s.ID || len(f.sites) == 1})
	}
	return menu
}

package ledger

import (
	"strings"

	"github.com/meterflow/meterflow/internal/billing"
)

// Code names an account of the books: "<site>/cash" for the house, "customer/<account>" for a customer's credit.
type Code string

// AccountKind says on which side of the books an account stands.
type AccountKind string

// The account kinds.
const (
	Asset     AccountKind = "asset"
	Liability AccountKind = "liability"
	Revenue   AccountKind = "revenue"
)

// Account is one line of the chart of accounts.
type Account struct {
	Code Code
	Kind AccountKind
}

// Cash is the money in a site's cash desk.
func Cash(site billing.SiteID) Code { return house(site, "cash") }

// Bank is the money on a site's bank account.
func Bank(site billing.SiteID) Code { return house(site, "bank") }

// Online is the money that payment providers owe a site.
func Online(site billing.SiteID) Code { return house(site, "online") }

// InTransit is received money whose delivery to the customer's credit isn't proved yet.
func InTransit(site billing.SiteID) Code { return house(site, "in_transit") }

// Unbilled is use that was charged day by day and isn't on an issued bill yet.
func Unbilled(site billing.SiteID) Code { return house(site, "unbilled") }

// Opening is the counter-account of balances that were taken over from the former system.
func Opening(site billing.SiteID) Code { return house(site, "opening") }

// RevenueOf is the revenue of a service.
func RevenueOf(site billing.SiteID, service billing.Service) Code {
	return house(site, "revenue/"+string(service))
}

// Customer is the credit that a customer has on one account.
func Customer(account billing.AccountID) Code { return Code(customerPrefix + string(account)) }

const customerPrefix = "customer/"

// CustomerAccount is the inverse of Customer; ok is false for a house account.
func (c Code) CustomerAccount() (id billing.AccountID, ok bool) {
	rest, ok := strings.CutPrefix(string(c), customerPrefix)
	return billing.AccountID(rest), ok
}

func house(site billing.SiteID, name string) Code { return Code(string(site) + "/" + name) }

// House lists the house accounts of a site.
func House(site billing.SiteID) []Account {
	return []Account{
		{Cash(site), Asset}, {Bank(site), Asset}, {Online(site), Asset}, {Opening(site), Asset},
		{InTransit(site), Liability}, {Unbilled(site), Liability},
		{RevenueOf(site, billing.Power), Revenue}, {RevenueOf(site, billing.Water), Revenue},
	}
}

// Received is the house account that money of a payment channel arrives on: cash, transfer or online. Any other channel is refused.
func Received(site billing.SiteID, channel string) (Code, error) {
	switch channel {
	case "cash":
		return Cash(site), nil
	case "transfer":
		return Bank(site), nil
	case "online":
		return Online(site), nil
	}
	return "", billing.Errorf(billing.CodeInvalidInput, "The payment channel %q is unknown: use cash, transfer or online.", channel)
}

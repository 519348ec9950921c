package ledger

import (
	_ "embed"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

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
	Expense   AccountKind = "expense"
)

// Kinds lists the account kinds in the order of a trial balance.
var Kinds = []AccountKind{Asset, Liability, Revenue, Expense}

// Account is one house account of the chart of accounts.
type Account struct {
	Code   Code
	Kind   AccountKind
	NameZH string
	NameEN string
}

// name is what a house account is called within its site: "cash", "revenue/power".
var name = regexp.MustCompile(`^[a-z0-9_]{1,30}(/[a-z0-9_]{1,30}){0,2}$`)

// Validate refuses an account that no site's chart can have.
func (a Account) Validate(site billing.SiteID) error {
	own, ok := strings.CutPrefix(string(a.Code), string(site)+"/")
	switch {
	case site == "" || !ok || !name.MatchString(own):
		return billing.Errorf(billing.CodeInvalidInput, "The account %q needs a short name of small letters, digits and underscores, such as fees/late.", own)
	case !slices.Contains(Kinds, a.Kind):
		return billing.Errorf(billing.CodeInvalidInput, "The account kind %q is unknown: use asset, liability, revenue or expense.", string(a.Kind))
	case strings.TrimSpace(a.NameZH) == "" || strings.TrimSpace(a.NameEN) == "":
		return billing.Errorf(billing.CodeInvalidInput, "Give the account a Chinese and an English name.")
	case utf8.RuneCountInString(a.NameZH) > 60 || utf8.RuneCountInString(a.NameEN) > 60:
		return billing.Errorf(billing.CodeInvalidInput, "The name of an account has 60 characters at most.")
	}
	return nil
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

// LateFees is the revenue of late fees.
func LateFees(site billing.SiteID) Code { return house(site, "revenue/late_fees") }

// Customer is the credit that a customer has on one account.
func Customer(account billing.AccountID) Code { return Code(customerPrefix + string(account)) }

const customerPrefix = "customer/"

// CustomerAccount is the inverse of Customer; ok is false for a house account.
func (c Code) CustomerAccount() (id billing.AccountID, ok bool) {
	rest, ok := strings.CutPrefix(string(c), customerPrefix)
	return billing.AccountID(rest), ok
}

func house(site billing.SiteID, name string) Code { return Code(string(site) + "/" + name) }

// HouseCode is the account of a site's house with the given name, such as "fees/late".
func HouseCode(site billing.SiteID, name string) Code { return house(site, name) }

//go:embed chart.json
var chartFile []byte

// template is the chart that every site begins with.
var template = sync.OnceValue(func() []Account {
	var lines []struct {
		Name string      `json:"name"`
		Kind AccountKind `json:"kind"`
		ZH   string      `json:"zh"`
		EN   string      `json:"en"`
	}
	if err := json.Unmarshal(chartFile, &lines); err != nil {
		panic(err) // the file is part of the program, and a test reads it
	}
	all := make([]Account, len(lines))
	for i, l := range lines {
		all[i] = Account{Code(l.Name), l.Kind, l.ZH, l.EN}
	}
	return all
})

// House lists the house accounts that a site begins with.
func House(site billing.SiteID) []Account {
	all := slices.Clone(template())
	for i := range all {
		all[i].Code = house(site, string(all[i].Code))
	}
	return all
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

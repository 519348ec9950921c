package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

var (
	registrationForm = regexp.MustCompile(`^[!-~]{1,60}$`)
	// A unit sends id and secret in one line of at most 200 characters; see devices.DialIn.
	secretForm = regexp.MustCompile(`^[!-~]{12,100}$`)
)

// The bounds of a gateway's times, in milliseconds. One read of 48 registers takes 0.3 s at 9600 baud with a meter's turnaround: a time-out that is
// much shorter takes every answer for silence, and leaves it to come late. An exchange that takes longer than the most holds its line up for
// everybody. A step with commands has two minutes: up to four times it waits until the gateway has forgotten what it remembers (supply back and the
// end of the guard, each before and after the order), and up to a minute for a slow valve.
const (
	leastTimeoutMillis = 500
	mostTimeoutMillis  = 60_000
	mostPauseMillis    = 10_000
	mostCachesMillis   = 10_000
)

// UsualWorstMillis is what stands for the worst case of a gateway that nobody knows it of, in milliseconds: of one that converts (3 + 1) × 500 ms, as such
// gateways are delivered; of a serial server, which tries nothing again, 48 registers at 2400 baud and the meter; of a unit on a mobile network
// twice that.
func UsualWorstMillis(link string) int {
	if link == "transparent" {
		return 1000
	}
	return 2000
}

// GatewayChange is how a gateway is to be reached from now on. What doesn't belong to the kind of link is left empty.
type GatewayChange struct {
	ID   billing.GatewayID
	Name string
	// Link is modbus_tcp, transparent or dial_in.
	Link         string
	Address      string // host:port; empty for a unit that dials in
	Registration string // of a unit that dials in
	// Secret is what the unit registers with from now on: 12 to 100 printable characters without spaces. Empty leaves what it has. Only
	// its hash is stored, and neither is shown or written to the journal.
	Secret string
	// WorstMillis is 0 when it isn't known: UsualWorstMillis stands for it then.
	PauseMillis, TimeoutMillis, WorstMillis, CachesMillis int
}

// check refuses what can't be meant, whatever else is stored.
func (c GatewayChange) check() error {
	dials := c.Link == "dial_in"
	switch {
	case strings.TrimSpace(c.Name) == "":
		return billing.Errorf(billing.CodeInvalidInput, "give the gateway a name")
	case c.Link != "modbus_tcp" && c.Link != "transparent" && !dials:
		return billing.Errorf(billing.CodeInvalidInput, "the link %q is unknown: use modbus_tcp, transparent or dial_in", c.Link)
	case dials && c.Address != "":
		return billing.Errorf(billing.CodeInvalidInput, "a unit that dials in has no address that we dial: leave it empty")
	case !dials && (c.Registration != "" || c.Secret != ""):
		return billing.Errorf(billing.CodeInvalidInput, "only a unit that dials in has a registration id and a secret: leave both empty")
	case dials && !registrationForm.MatchString(c.Registration):
		return billing.Errorf(billing.CodeInvalidInput, "the registration id must be 1 to 60 letters, digits or signs without spaces: write it as the unit sends it")
	case c.Secret != "" && !secretForm.MatchString(c.Secret):
		return billing.Errorf(billing.CodeInvalidInput, "the secret must be 12 to 100 letters, digits or signs without spaces")
	}
	if !dials {
		if err := checkHostPort(c.Address); err != nil {
			return err
		}
	}
	for _, l := range []struct {
		v, least, most int
		sentence       string
	}{
		{c.TimeoutMillis, leastTimeoutMillis, mostTimeoutMillis, "the time-out must lie between %d and %d ms: write another number"},
		{c.WorstMillis, 0, mostTimeoutMillis, "the worst case must lie between %d and %d ms: write another number"},
		{c.PauseMillis, 0, mostPauseMillis, "the pause must lie between %d and %d ms: write another number"},
		{c.CachesMillis, 0, mostCachesMillis, "the read cache must lie between %d and %d ms, because every command waits for it before it is read back: shorten it at the gateway, or turn it off there, and write that number"},
	} {
		if l.v < l.least || l.v > l.most {
			return billing.Errorf(billing.CodeInvalidInput, l.sentence, l.least, l.most)
		}
	}
	if usual := UsualWorstMillis(c.Link); c.WorstMillis == 0 && c.TimeoutMillis < usual {
		return billing.Errorf(billing.CodeInvalidInput, "the time-out of %d ms is shorter than the worst case that is usual with this link, %d ms: make it at least as long, or give the gateway's own worst case", c.TimeoutMillis, usual)
	}
	if c.TimeoutMillis < c.WorstMillis {
		return billing.Errorf(billing.CodeInvalidInput, "the time-out of %d ms is shorter than the gateway's own worst case of %d ms, so that late answers would come: make it at least as long", c.TimeoutMillis, c.WorstMillis)
	}
	return nil
}

// CommandsBarred says why no command may go to the gateway's meters: what it remembers of reads for longer than ChangeGateway takes, it would answer a
// read-back with beyond the time of a step. A gateway that was stored before there was that limit still has it; reads go on.
// billing.CodeBlocked; nil when commands may go.
func (g Gateway) CommandsBarred() error {
	if g.CachesMillis <= mostCachesMillis {
		return nil
	}
	return billing.Errorf(billing.CodeBlocked, "gateway %s answers reads from memory for %d ms, and only %d ms can be waited for: no command is sent to its meters before an administrator has shortened that, at the gateway and on its page",
		g.ID, g.CachesMillis, mostCachesMillis)
}

func checkHostPort(address string) error {
	host, port, err := net.SplitHostPort(address)
	n, bad := strconv.Atoi(port)
	if err != nil || bad != nil || host == "" || n < 1 || n > 65535 || strings.ContainsAny(address, " \t") {
		return billing.Errorf(billing.CodeInvalidInput, "the address %q is no host:port: write it like 10.8.0.21:502", address)
	}
	return nil
}

// checkWith is check, and then whether the address may be dialled.
func (c GatewayChange) checkWith(mayDial func(hostPort string) error) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Address != "" && mayDial != nil {
		if err := mayDial(c.Address); err != nil {
			return billing.Errorf(billing.CodeInvalidInput, "the address %s can't be used: it is unknown, or lies outside the networks that gateways may be in; ask who runs the workers", c.Address)
		}
	}
	return nil
}

// gateway is the gateway as it is to be, without its site and secret.
func (c GatewayChange) gateway() Gateway {
	return Gateway{ID: c.ID, Name: c.Name, Link: c.Link, Address: c.Address, Registration: c.Registration, PauseMillis: c.PauseMillis, TimeoutMillis: c.TimeoutMillis,
		WorstMillis: cmp.Or(c.WorstMillis, UsualWorstMillis(c.Link)), CachesMillis: c.CachesMillis}
}

func hashOf(secret string) []byte {
	hash := sha256.Sum256([]byte(secret))
	return hash[:]
}

func noSecret() error {
	return billing.Errorf(billing.CodeInvalidInput, "give the secret that the unit registers with: it has none yet")
}

// RegisterGateway adds a gateway of a site as a person typed it, with the refusals of ChangeGateway. A running worker takes its line up when it renews its
// leases next; nobody has to start anything anew.
func (s *Store) RegisterGateway(ctx context.Context, by By, site billing.SiteID, c GatewayChange, mayDial func(hostPort string) error) error {
	if err := checkAsset(string(c.ID)); err != nil {
		return err
	}
	if err := c.checkWith(mayDial); err != nil {
		return err
	}
	g := c.gateway()
	g.Site = site
	if c.Link == "dial_in" {
		if c.Secret == "" {
			return noSecret()
		}
		g.Secret = hashOf(c.Secret)
	}
	return s.Change(ctx, by, func(tx *Tx) error {
		if err := holdPlace(ctx, tx, c); err != nil {
			return err
		}
		return addGateway(ctx, tx, g)
	})
}

// ChangeGateway changes how a gateway is reached. Its line is closed and opened again by its owner when it is used next. Nothing is changed and
// billing.CodeConflict comes when another gateway has the address or the registration id. mayDial refuses addresses outside the networks that
// gateways may be in; nil allows any.
func (s *Store) ChangeGateway(ctx context.Context, by By, c GatewayChange, mayDial func(hostPort string) error) error {
	if err := c.checkWith(mayDial); err != nil {
		return err
	}
	g := c.gateway()
	return s.Change(ctx, by, func(tx *Tx) error {
		if err := holdPlace(ctx, tx, c); err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, `SELECT `+gatewayColumns+` FROM gateways g WHERE g.id = $1 FOR UPDATE`, c.ID)
		old, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Gateway])
		if err != nil {
			return err
		}
		secret := old.Secret
		switch {
		case c.Link != "dial_in":
			secret = nil
		case c.Secret != "":
			secret = hashOf(c.Secret)
		case len(secret) == 0:
			return noSecret()
		}
		_, err = tx.Exec(ctx, `UPDATE gateways SET name = $2, link = $3, address = nullif($4, ''), registration_id = nullif($5, ''), secret_sha256 = $6,
			pause_ms = $7, timeout_ms = $8, worst_case_ms = $9, caches_reads_ms = $10 WHERE id = $1`,
			g.ID, g.Name, g.Link, g.Address, g.Registration, secret, g.PauseMillis, g.TimeoutMillis, g.WorstMillis, g.CachesMillis)
		if err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: old.Site, Kind: "gateway", ID: string(c.ID), Event: "changed", Data: map[string]any{
			"from": linkData(old), "to": linkData(g), "secret_replaced": c.Secret != "",
		}})
	})
}

// linkData is what the journal keeps of a gateway's link: everything but the secret.
func linkData(g Gateway) map[string]any {
	return map[string]any{"name": g.Name, "link": g.Link, "address": g.Address, "registration": g.Registration, "pause_ms": g.PauseMillis,
		"timeout_ms": g.TimeoutMillis, "worst_case_ms": g.WorstMillis, "caches_reads_ms": g.CachesMillis}
}

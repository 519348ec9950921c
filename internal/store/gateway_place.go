package store

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/meterflow/meterflow/internal/billing"
)

// resolveFor is how long the names of gateways are looked up, all of them together; lookups is how many at a time.
const (
	resolveFor = 3 * time.Second
	lookups    = 16
)

// GatewayAt finds the gateway that we dial at an address, under whatever name either of them is written; billing.CodeNotFound when there is none.
// unknown are the names that couldn't be resolved, so that nobody can say where they lead.
func (s *Store) GatewayAt(ctx context.Context, hostPort string) (g Gateway, unknown []string, err error) {
	return gatewayAt(ctx, s.Pool, hostPort, "")
}

// gatewayAt is GatewayAt among the gateways but one.
func gatewayAt(ctx context.Context, q querier, hostPort string, except billing.GatewayID) (g Gateway, unknown []string, err error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return Gateway{}, nil, checkHostPort(hostPort)
	}
	rows, _ := q.Query(ctx, `SELECT `+gatewayColumns+` FROM gateways g WHERE g.address LIKE '%:' || $1::text AND g.id <> $3 ORDER BY g.address <> $2, g.id`, port, hostPort, except)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Gateway])
	switch {
	case err != nil:
		return Gateway{}, nil, translate(err)
	case len(all) > 0 && all[0].Address == hostPort:
		return all[0], nil, nil
	}
	hosts := []string{host}
	for _, g := range all {
		other, _, _ := net.SplitHostPort(g.Address) // it was checked when it was stored
		hosts = append(hosts, other)
	}
	leads := resolved(ctx, hosts)
	for i, at := range leads {
		if len(at) == 0 && !slices.Contains(unknown, hosts[i]) {
			unknown = append(unknown, hosts[i])
		}
	}
	for i, g := range all {
		if slices.ContainsFunc(leads[i+1], func(at netip.Addr) bool { return slices.Contains(leads[0], at) }) {
			return g, unknown, nil
		}
	}
	return Gateway{}, unknown, billing.Errorf(billing.CodeNotFound, "no gateway has the address %s", hostPort)
}

// resolved are the IP addresses that each host leads to; none for a name that nobody knows in time.
func resolved(ctx context.Context, hosts []string) [][]netip.Addr {
	ctx, cancel := context.WithTimeout(ctx, resolveFor)
	defer cancel()
	leads := make([][]netip.Addr, len(hosts))
	var asking errgroup.Group
	asking.SetLimit(lookups)
	for i, host := range hosts {
		asking.Go(func() error {
			found, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
			for _, at := range found {
				leads[i] = append(leads[i], at.Unmap())
			}
			return nil
		})
	}
	_ = asking.Wait()
	return leads
}

// holdPlace refuses an address that leads to where another gateway is dialled: two owners of one bus would take each other's answers. Until the
// transaction ends nobody else enters a gateway at this port: of two who enter the same one at the same moment under two names, the second
// sees what the first has entered. The port is what both surely write alike; a name may lead elsewhere a moment later.
func holdPlace(ctx context.Context, tx *Tx, c GatewayChange) error {
	if c.Address == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(c.Address)
	if err != nil {
		return checkHostPort(c.Address)
	}
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('gateway place ' || $1::text, 0))`, port); err != nil {
		return err
	}
	other, _, err := gatewayAt(ctx, tx, c.Address, c.ID)
	switch {
	case billing.CodeOf(err) == billing.CodeNotFound, err == nil && other.Address == c.Address: // the tables refuse the same text by themselves
		return nil
	case err != nil:
		return err
	}
	return billing.Errorf(billing.CodeConflict, "gateway %s has this address already, written as %s: check host and port", other.ID, other.Address)
}

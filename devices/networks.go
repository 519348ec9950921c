package devices

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/meterflow/meterflow/devices/wire"
)

// errOutside: a gateway's name leads out of the allowed networks. Nothing was sent.
var errOutside = errors.New("outside the networks that gateways may be in")

// within says whether an address lies in one of the networks; without any, all are allowed.
func within(allowed []netip.Prefix, at netip.Addr) bool {
	for _, network := range allowed {
		if network.Contains(at.Unmap()) {
			return true
		}
	}
	return len(allowed) == 0
}

// MayDial refuses a gateway's address outside the allowed networks. Where a name leads is looked at whenever it is dialled.
func MayDial(allowed []netip.Prefix, hostPort string) error {
	if len(allowed) == 0 {
		return nil
	}
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return fmt.Errorf("%w: %q is no host:port", ErrBadOrder, hostPort)
	}
	if at, err := netip.ParseAddr(host); err == nil && !within(allowed, at) {
		return fmt.Errorf("%w: %s is %w", ErrBadOrder, hostPort, errOutside)
	}
	return nil
}

// locate gives the host:port to dial for a gateway. A name is looked up each time, and refused when it leads outside the allowed networks.
func (p *Pool) locate(hostPort string, soon time.Duration) (string, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil || len(p.config.Networks) == 0 {
		return hostPort, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", err
	}
	for _, at := range addresses {
		if !within(p.config.Networks, at) {
			return "", fmt.Errorf("%s (%s) is %w", hostPort, at, errOutside)
		}
	}
	if len(addresses) == 0 {
		return "", fmt.Errorf("%s has no address", host)
	}
	return net.JoinHostPort(addresses[0].Unmap().String(), port), nil
}

// dialOut connects to a serial server inside the allowed networks.
func (p *Pool) dialOut(hostPort string) wire.Dial {
	return func(soon time.Duration) (net.Conn, error) {
		at, err := p.locate(hostPort, soon)
		if err != nil {
			return nil, err
		}
		return wire.DialOut(at)(soon)
	}
}

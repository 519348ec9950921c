package devices

import (
	"fmt"
	"net"
	"net/netip"
)

// within says whether an address lies in one of the networks; without any, all are allowed.
func within(allowed []netip.Prefix, at netip.Addr) bool {
	for _, network := range allowed {
		if network.Contains(at.Unmap()) {
			return true
		}
	}
	return len(allowed) == 0
}

// MayDial refuses a gateway's address that lies, or whose name leads, outside the allowed networks.
func MayDial(allowed []netip.Prefix, hostPort string) error {
	if len(allowed) == 0 {
		return nil
	}
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return fmt.Errorf("%w: %q is no host:port", ErrBadOrder, hostPort)
	}
	addresses, err := net.LookupHost(host)
	if err != nil {
		return fmt.Errorf("%w: %s is unknown: %w", ErrLinkDown, host, err)
	}
	for _, text := range addresses {
		at, err := netip.ParseAddr(text)
		if err != nil || !within(allowed, at) {
			return fmt.Errorf("%w: %s (%s) is outside the networks that gateways may be in", ErrBadOrder, hostPort, text)
		}
	}
	return nil
}

package session

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
)

// SignIn checks a password and begins a new session. remote is the client's address.
func (m *Manager) SignIn(ctx context.Context, user billing.UserID, password, remote string) (auth.Actor, error) {
	a, err := m.Confirm(ctx, user, password, remote)
	if err != nil {
		return a, err
	}
	// A new token, so that one planted before signing in is worth nothing.
	if err := m.scs.RenewToken(ctx); err != nil {
		return a, err
	}
	m.scs.Put(ctx, keyUser, string(a.UserID))
	m.scs.Remove(ctx, keySite)
	return a, nil
}

// Confirm checks a password without signing in: for a second person who agrees at the first one's screen. An unknown user, one who
// is switched off and a wrong password get the same answer after the same work.
func (m *Manager) Confirm(ctx context.Context, user billing.UserID, password, remote string) (auth.Actor, error) {
	key := string(user) + " " + host(remote)
	if !m.tries.allow(key) {
		return auth.Actor{}, billing.Errorf(billing.CodeForbidden, "too many wrong passwords: wait a quarter of an hour, or ask the administrator")
	}
	hash, err := m.store.PasswordHash(ctx, user)
	if err != nil && billing.CodeOf(err) != billing.CodeNotFound {
		return auth.Actor{}, err
	}
	if err := m.check(ctx, password, hash); err != nil {
		if billing.CodeOf(err) == billing.CodeUnauthenticated {
			m.tries.failed(key)
		}
		return auth.Actor{}, err
	}
	m.tries.forget(key)
	u, err := m.store.User(ctx, user)
	if err != nil {
		return auth.Actor{}, err
	}
	return actorOf(u), nil
}

// check waits for its turn, then compares; auth does the same work for a hash that isn't there.
func (m *Manager) check(ctx context.Context, password, hash string) error {
	select {
	case m.verifying <- struct{}{}:
		defer func() { <-m.verifying }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return auth.CheckPassword(password, hash)
}

func host(remote string) string {
	if h, _, err := net.SplitHostPort(remote); err == nil {
		return h
	}
	return remote
}

// Ten wrong passwords per person and address in a quarter of an hour. In memory: a restart forgives, which a guesser can't cause.
const (
	maxTries  = 10
	tryWindow = 15 * time.Minute
	maxKeys   = 10_000
)

type throttle struct {
	now func() time.Time
	mu  sync.Mutex
	// wrong are the instants of wrong passwords, oldest first.
	wrong map[string][]time.Time
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, wrong: map[string][]time.Time{}}
}

func (t *throttle) allow(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	since := t.now().Add(-tryWindow)
	kept := t.wrong[key]
	for len(kept) > 0 && kept[0].Before(since) {
		kept = kept[1:]
	}
	if len(kept) == 0 {
		delete(t.wrong, key)
		return true
	}
	t.wrong[key] = kept
	return len(kept) < maxTries
}

func (t *throttle) failed(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.wrong) >= maxKeys {
		// Someone walks through names: start over rather than grow without end.
		clear(t.wrong)
	}
	t.wrong[key] = append(t.wrong[key], t.now())
}

func (t *throttle) forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.wrong, key)
}

// Package session owns who is signed in: the cookie, the session row in PostgreSQL, the check of a password, and the actor of
// a request. Pages and the JSON API share it, and neither may import the other. It refuses to know pages, and it decides nothing
// about authority: auth.Can does.
package session

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/alexedwards/scs/pgxstore"
	"github.com/alexedwards/scs/v2"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// CookieName is the cookie that carries a session's token.
const CookieName = "meterflow"

// lifetime of a session in real time: a working day, so that each day begins with a password.
const lifetime = 12 * time.Hour

// What a session holds.
const (
	keyUser  = "user"
	keySite  = "site"
	keyFlash = "flash"
	keyTone  = "flash_tone"
)

// Config is what a Manager needs. Secure marks the cookie as for HTTPS only. Now is real time.
type Config struct {
	Store  *store.Store
	Log    *slog.Logger
	Secure bool
	Now    func() time.Time
}

// Manager keeps the sessions of one server. Several servers on one database share them.
type Manager struct {
	scs   *scs.SessionManager
	store *store.Store
	log   *slog.Logger
	tries *throttle
	// verifying bounds how many passwords are checked at once: each takes tens of megabytes.
	verifying chan struct{}
}

// New makes a manager whose sessions are rows of the table sessions; expired ones are removed in the background.
func New(c Config) *Manager {
	m := scs.New()
	m.Store = pgxstore.New(c.Store.Pool)
	m.Lifetime = lifetime
	m.HashTokenInStore = true
	m.Cookie.Name = CookieName
	m.Cookie.Secure = c.Secure
	m.Cookie.SameSite = http.SameSiteLaxMode
	return &Manager{scs: m, store: c.Store, log: c.Log, tries: newThrottle(c.Now), verifying: make(chan struct{}, 2)}
}

// Load gives each request its session and its actor, if someone is signed in. fail answers when the database can't be asked:
// pages and API answer each in their own way.
func (m *Manager) Load(fail func(http.ResponseWriter, *http.Request, error)) func(http.Handler) http.Handler {
	loader := *m.scs // shares everything with the manager but the answer to a failure
	loader.ErrorFunc = func(w http.ResponseWriter, r *http.Request, err error) { fail(w, r, m.unavailable(r, err)) }
	return func(next http.Handler) http.Handler {
		return loader.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			actor, err := m.actor(r.Context())
			if err != nil {
				fail(w, r, m.unavailable(r, err))
				return
			}
			next.ServeHTTP(w, r.WithContext(auth.WithActor(r.Context(), actor)))
		}))
	}
}

// unavailable is what people are told when sessions can't be read; the log gets the cause.
func (m *Manager) unavailable(r *http.Request, err error) error {
	if r.Context().Err() == nil {
		m.log.ErrorContext(r.Context(), "session", "path", r.URL.Path, "error", err)
	}
	return billing.Errorf(billing.CodeUnavailable, "the database doesn't answer: nothing was changed, try again in a minute")
}

// actor reads the person anew at each request, so that one who is switched off, or who loses a site, loses it at once.
// The zero Actor is nobody.
func (m *Manager) actor(ctx context.Context) (auth.Actor, error) {
	id := billing.UserID(m.scs.GetString(ctx, keyUser))
	if id == "" {
		return auth.Actor{}, nil
	}
	u, err := m.store.User(ctx, id)
	if billing.CodeOf(err) == billing.CodeNotFound || (err == nil && !u.Active) {
		return auth.Actor{}, m.scs.Destroy(ctx)
	}
	if err != nil {
		return auth.Actor{}, err
	}
	return actorOf(u), nil
}

func actorOf(u store.User) auth.Actor {
	return auth.Actor{UserID: u.ID, Name: u.Name, Role: u.Role, Sites: u.Sites}
}

// SignOut ends the session everywhere that its cookie is held.
func (m *Manager) SignOut(ctx context.Context) error { return m.scs.Destroy(ctx) }

// Site is the one site that the person looks at; empty for all of theirs.
func (m *Manager) Site(ctx context.Context) billing.SiteID {
	site := billing.SiteID(m.scs.GetString(ctx, keySite))
	if !auth.FromContext(ctx).HasSite(site) {
		return ""
	}
	return site
}

// ChooseSite keeps the site to look at; empty means all. A site that isn't the person's is refused.
func (m *Manager) ChooseSite(ctx context.Context, site billing.SiteID) error {
	if site != "" && !auth.FromContext(ctx).HasSite(site) {
		return billing.Errorf(billing.CodeForbidden, "you don't work for site %s: choose one of your own sites", site)
	}
	m.scs.Put(ctx, keySite, string(site))
	return nil
}

// Say keeps a sentence for the next page that the person sees. tone is a components.Tone.
func (m *Manager) Say(ctx context.Context, tone, sentence string) {
	m.scs.Put(ctx, keyFlash, sentence)
	m.scs.Put(ctx, keyTone, tone)
}

// Said takes the sentence that was kept, once; empty when there is none.
func (m *Manager) Said(ctx context.Context) (tone, sentence string) {
	if !m.scs.Exists(ctx, keyFlash) {
		return "", ""
	}
	return m.scs.PopString(ctx, keyTone), m.scs.PopString(ctx, keyFlash)
}

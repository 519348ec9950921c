package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/api"
	"github.com/meterflow/meterflow/devices/profile"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/session"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web"
	"github.com/meterflow/meterflow/workflows"
)

// Serve is `meterflow serve`.
type Serve struct {
	Database
	Temporal
	Web
	Profiles string `help:"Folder with register maps of your own (*.json), the one that the workers have." placeholder:"DIR"`
}

// Run serves until ctx ends.
func (c Serve) Run(ctx context.Context, log *slog.Logger) error {
	if c.Profiles != "" {
		if err := profile.AddFolder(c.Profiles); err != nil {
			return billing.Errorf(billing.CodeInvalidInput, "%v", err)
		}
	}
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	flows, err := c.dialLater(log)
	if err != nil {
		return err
	}
	defer flows.T.Close()
	l, err := listen(c.Listen)
	if err != nil {
		return err
	}
	log.Info("pages and API", "address", "http://"+l.Addr().String())
	return c.serve(ctx, l, s, flows, false, log)
}

// serve answers on l until ctx ends, then lets requests in hand finish. Live pages end with ctx.
func (w Web) serve(ctx context.Context, l net.Listener, s *store.Store, flows *workflows.Client, demo bool, log *slog.Logger) error {
	flows.Review = &activities.Review{Store: s}
	sessions := session.New(session.Config{Store: s, Log: log, Secure: w.Secure, Now: time.Now})
	handler := web.NewServer(web.Config{
		Store: s, Workflows: flows, Log: log, Demo: demo, Sessions: sessions, Now: time.Now, MayDial: w.mayDial,
		API: api.New(api.Config{Store: s, Workflows: flows, Sessions: sessions, Log: log, Demo: demo, ReceiptSecret: w.ReceiptSecret, MayDial: w.mayDial}),
	})
	return answer(ctx, l, handler)
}

// answer serves any handler on l until ctx ends.
func answer(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(grace) // what isn't done by then is cut off when the program ends
	}()
	err := server.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return err
}

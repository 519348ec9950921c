// Package api is the JSON side of Meterflow: the same reads and decisions as the pages, for programs, under /api/v1, with an
// OpenAPI document made from the handlers. One file per noun.
//
// Amounts come out as whole fen in fields named *_fen, and go in as decimal yuan in text ("12.34"); there is no binary float
// anywhere. Every operation checks role and site; a thing of a site that isn't the person's doesn't exist for them. Decisions go to the
// workflows, so with the workflow engine down reads work and decisions answer 503 and change nothing.
//
// It refuses to know pages, and to write rows that drive a process.
package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/session"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Config is what the API needs.
type Config struct {
	Store     *store.Store
	Workflows *workflows.Client
	Sessions  *session.Manager
	Log       *slog.Logger
	// Demo adds the operations that steer a demo's clock and its simulated colleagues.
	Demo bool
	// ReceiptSecret is what the message provider sends with its delivery receipts; empty refuses all of them.
	ReceiptSecret string
	// MayDial refuses a gateway's address outside the networks that gateways may be in; nil allows any.
	MayDial func(hostPort string) error
}

// Prefix is where the handler is mounted.
const Prefix = "/api/v1"

// documentPath is where the OpenAPI document stands, below Prefix.
const documentPath = "/openapi.json"

// server is the API with what its operations work with.
type server struct {
	Config
	api huma.API
}

// New is the API, to be mounted at Prefix.
func New(c Config) http.Handler {
	r := chi.NewRouter()
	r.Use(noStore, c.sameOrigin, c.Sessions.Load(c.failed))
	r.NotFound(c.handler(billing.Errorf(billing.CodeNotFound, "there is no such operation: see %s%s", Prefix, documentPath)))
	r.MethodNotAllowed(c.handler(billing.Errorf(billing.CodeNotFound, "this address has no such operation: see %s%s", Prefix, documentPath)))
	s := &server{Config: c, api: humachi.New(r, settings())}
	s.operations()
	document, err := json.MarshalIndent(s.api.OpenAPI(), "", "  ")
	if err != nil {
		panic(err) // the document is made of the program's own types
	}
	r.Get(documentPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(document)
	})
	return r
}

// settings are huma's defaults without what they serve beside the operations: documentation that loads scripts from elsewhere,
// schemas one by one, and links to them in every answer.
func settings() huma.Config {
	c := huma.DefaultConfig("Meterflow", "1")
	c.Info.Description = "Daily work of a prepaid electricity and water utility. Amounts are whole fen (1/100 yuan) in *_fen fields; " +
		"amounts that are sent are decimal yuan in text. Instants are UTC; days are those of the site."
	c.OpenAPIPath, c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", "", nil
	c.Servers = []*huma.Server{{URL: Prefix}}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		sessionGuard: {Type: "apiKey", In: "cookie", Name: session.CookieName, Description: "From POST /session."},
		receiptGuard: {Type: "apiKey", In: "header", Name: secretHeader, Description: "Shared with the message provider."},
	}
	return c
}

// operations registers every operation.
func (s *server) operations() {
	s.sessionOperations()
	s.siteOperations()
	s.cycleOperations()
	s.caseOperations()
	s.ruleOperations()
	s.runOperations()
	s.limitOperations()
	s.lateFeeOperations()
	s.furtherOperations()
	s.paperOperations()
	s.reportOperations()
	s.correctionOperations()
	s.adjustmentOperations()
	s.planOperations()
	s.rechargeOperations()
	s.accountOperations()
	s.termsOperations()
	s.meterOperations()
	s.gatewayOperations()
	s.areaOperations()
	s.allowanceOperations()
	s.cutoffOperations()
	s.messageOperations()
	s.traceOperations()
	s.bookOperations()
	s.roundOperations()
	s.tariffOperations()
	s.batchOperations()
	if s.Demo {
		s.demoOperations()
	}
}

// operation describes one operation. may is the action that the person's role must allow; empty leaves the check to the handler.
// done is the status of success, 200 unless given. id also names its schemas.
type operation struct {
	method, path, id, summary, tag string
	may                            auth.Action
	done                           int
	// guard names the security scheme: sessionGuard unless given, or openToAll.
	guard string
}

// The ways in. An operation that is openToAll checks for itself who calls.
const (
	sessionGuard = "session"
	receiptGuard = "receipt"
	openToAll    = "none"
)

// maxBody bounds a request, in bytes.
const maxBody = 256 << 10

// add registers one operation. Its errors become problems with their code.
func add[I, O any](s *server, o operation, h func(context.Context, *I) (*O, error)) {
	op := huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path, Summary: o.summary, Tags: []string{o.tag}, DefaultStatus: o.done, MaxBodyBytes: maxBody,
		Errors: []int{http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
	}
	if o.guard == "" {
		o.guard = sessionGuard
	}
	if o.guard != openToAll {
		op.Security = []map[string][]string{{o.guard: {}}}
	}
	op.Errors = append(op.Errors, http.StatusUnauthorized)
	slices.Sort(op.Errors)
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		if o.guard == sessionGuard {
			if err := s.admit(ctx, o.may); err != nil {
				return nil, s.problem(ctx, err)
			}
		}
		out, err := h(ctx, in)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return out, nil
	})
}

// admit asks for a person, and for the role if the operation names an action; the site is known to the handler only.
func (s *server) admit(ctx context.Context, may auth.Action) error {
	actor := auth.FromContext(ctx)
	if !actor.SignedIn() {
		return billing.Errorf(billing.CodeUnauthenticated, "sign in first: POST %s/session", Prefix)
	}
	if may == "" {
		return nil
	}
	return auth.Can(actor, may, "")
}

// me is who calls.
func me(ctx context.Context) billing.UserID { return auth.FromContext(ctx).UserID }

// by says in the journal who changes master data or a setting.
func by(ctx context.Context, reason string) store.By {
	return store.By{Actor: string(me(ctx)), Reason: reason}
}

// see refuses a thing of a site that isn't the person's, in the words for one that doesn't exist.
func see(ctx context.Context, site billing.SiteID) error {
	actor := auth.FromContext(ctx)
	if err := auth.Can(actor, auth.View, ""); err != nil {
		return err
	}
	if !actor.HasSite(site) {
		return billing.Errorf(billing.CodeNotFound, "there is no such record")
	}
	return nil
}

// may is see, and then whether the person may do the action there.
func may(ctx context.Context, action auth.Action, site billing.SiteID) error {
	if err := see(ctx, site); err != nil {
		return err
	}
	return auth.Can(auth.FromContext(ctx), action, site)
}

// sameOrigin refuses requests that another site's page makes with the person's cookie.
func (c Config) sameOrigin(next http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(c.handler(billing.Errorf(billing.CodeForbidden, "this request came from another site and was not taken")))
	return guard.Handler(next)
}

func noStore(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

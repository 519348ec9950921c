package page

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/layout"
	"github.com/meterflow/meterflow/web/locale"
)

// View is a page: its title (already translated), which place of the navigation it belongs to, and its content.
type View struct {
	Title  string
	Nav    string // path of the navigation item, such as "/recharges"
	Narrow bool   // one column of text or one form
	Query  string // what was searched, kept in the trace box
	Body   templ.Component
}

// Render draws the view in its frame. The status is 200, or that of the refusal when a form of the page was just refused.
func (d Deps) Render(w http.ResponseWriter, r *http.Request, v View) error {
	return d.render(w, r, status(r.Context()), v)
}

// RenderPlain draws the view for people who aren't signed in: no navigation, and nothing is read for the frame.
func (d Deps) RenderPlain(w http.ResponseWriter, r *http.Request, v View) error {
	p := layout.Page{Title: v.Title, Path: r.URL.RequestURI(), Narrow: v.Narrow}
	return write(r.Context(), w, status(r.Context()), p, v.Body)
}

func (d Deps) render(w http.ResponseWriter, r *http.Request, status int, v View) error {
	p, err := d.page(r.Context(), v)
	if err != nil {
		return err
	}
	unsaid, err := unsaid(r.Context(), v.Body)
	if err != nil {
		return err
	}
	if unsaid != "" {
		p.Flash = append(p.Flash, components.NoticeView{Tone: components.Danger, Title: unsaid})
	}
	return write(r.Context(), w, status, p, v.Body)
}

// unsaid is why a form of this request was refused when body doesn't say so: what it was about has moved on, and the form is no longer there.
func unsaid(ctx context.Context, body templ.Component) (string, error) {
	err := Refused(ctx)
	if _, fields := errors.AsType[Problems](err); err == nil || fields {
		return "", nil
	}
	said := Sentence(ctx, err)
	var html bytes.Buffer
	if err := body.Render(ctx, &html); err != nil {
		return "", err
	}
	if strings.Contains(html.String(), templ.EscapeString(said)) {
		return "", nil
	}
	return said, nil
}

// write draws body inside the frame p. It is drawn whole before the first byte is sent, so that a failure has its own page.
func write(ctx context.Context, w http.ResponseWriter, status int, p layout.Page, body templ.Component) error {
	var html bytes.Buffer
	if err := layout.Layout(p).Render(templ.WithChildren(ctx, body), &html); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(html.Len()))
	w.WriteHeader(status)
	_, err := w.Write(html.Bytes())
	if err != nil {
		return nil //nolint:nilerr // the reader went away; nobody is left to be told
	}
	return nil
}

func (d Deps) page(ctx context.Context, v View) (layout.Page, error) {
	actor := Actor(ctx)
	f := frameOf(ctx)
	waiting, err := d.Store.Waiting(ctx, Sites(ctx), actor.UserID)
	if err != nil {
		return layout.Page{}, err
	}
	p := layout.Page{
		Title: v.Title, Path: f.path, Query: v.Query, Narrow: v.Narrow,
		User:  &layout.User{Name: actor.Name, Role: locale.State(ctx, locale.Role, actor.Role)},
		Nav:   navigation(ctx, actor.Role, waiting, v.Nav),
		Sites: siteMenu(ctx, f),
		Clock: &layout.Clock{Now: f.clock.Now, Note: clockNote(ctx, f.clock)},
	}
	if d.Demo && auth.Can(actor, auth.ControlClock, "") == nil {
		if p.Clock.Controls, err = d.controls(ctx, f); err != nil {
			return p, err
		}
	}
	if tone, said := d.Sessions.Said(ctx); said != "" {
		p.Flash = []components.NoticeView{{Tone: components.Tone(tone), Title: said}}
	}
	return p, nil
}

// Fail draws an error as a page of its own: headline, sentence, and nothing that a stranger may not read.
func (d Deps) Fail(w http.ResponseWriter, r *http.Request, err error) {
	d.logRefusal(r, err)
	ctx := r.Context()
	v := View{Title: Title(ctx, err), Narrow: true, Body: failure(Title(ctx, err), Sentence(ctx, err))}
	if Actor(ctx).SignedIn() && frameOf(ctx).path != "" {
		if d.render(w, r, Status(err), v) == nil {
			return
		}
	}
	// Nobody is signed in, or the database that the frame needs doesn't answer: the plain frame needs nothing.
	if err := write(ctx, w, Status(err), layout.Page{Title: v.Title, Path: "/", Narrow: true}, v.Body); err != nil {
		d.Log.ErrorContext(ctx, "page of an error", "error", err)
		http.Error(w, Title(ctx, err), Status(err))
	}
}

// logRefusal logs what is ours to mend; a person's slip is not.
func (d Deps) logRefusal(r *http.Request, err error) {
	switch billing.CodeOf(err) {
	case billing.CodeInternal:
		if r.Context().Err() == nil {
			d.Log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		}
	case billing.CodeUnavailable:
		d.Log.WarnContext(r.Context(), "action not taken", "method", r.Method, "path", r.URL.Path, "error", err)
	}
}

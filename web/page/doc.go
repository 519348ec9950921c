// Package page is what all pages share: the frame around them, who looks and at which sites, forms and their refusals, lists
// in the address bar, live regions. A page is a folder below web with a handler, a view model and a .templ file. It refuses to
// know any single page.
//
// # Making a page
//
// One folder per page, for example web/recharges, with
//
//	handler.go   Routes, and one method per route: fetch, decide, translate into the view
//	view.go      the view model and the functions that build it from store rows
//	page.templ   what it looks like: components only, no HTML of its own where a component exists
//	page_test.go handler tests with goquery on data-testid
//
// and its words in web/locale/messages/<folder>.json. Then one line in web/routes.go.
//
//	func Routes(r chi.Router, d page.Deps) {
//		h := handler{d}
//		r.Get("/recharges", d.Handle(h.list))
//		r.Get("/recharges/{id}", d.Handle(h.show))
//		r.Post("/recharges/{id}/approve", d.Act("approve", h.approve, h.show))
//	}
//
// A GET handler reads from the store and renders. A page of one thing asks page.See for its site first:
//
//	func (h handler) show(w http.ResponseWriter, r *http.Request) error {
//		rc, err := h.Store.Recharge(r.Context(), billing.RechargeID(page.Param(r, "id")))
//		if err != nil {
//			return err // not_found becomes the 404 page, with the sentence
//		}
//		if err := page.See(r.Context(), rc.SiteID); err != nil {
//			return err
//		}
//		v := viewOf(rc, page.FormOf(r, "approve"))
//		return h.Render(w, r, page.View{Title: …, Nav: "/recharges", Body: show(v)})
//	}
//
// An action checks role and site, reads its form, tells the workflow, and says where to go:
//
//	func (h handler) approve(r *http.Request) (page.Done, error) {
//		ctx := r.Context()
//		if err := auth.Can(page.Actor(ctx), auth.ApproveRecharge, rc.SiteID); err != nil { return page.Done{}, err }
//		in := page.Read(r)
//		reason := in.Reason()
//		if err := in.Err(); err != nil { return page.Done{}, err }
//		if err := h.Workflows.ApproveRecharge(ctx, id, page.Actor(ctx).UserID, in.Nonce()); err != nil { return page.Done{}, err }
//		return page.Done{To: "/recharges/" + id, Said: locale.T(ctx, "recharges.approved", id)}, nil
//	}
//
// When it refuses, Act draws the page again with h.show, with the status of the refusal. There FormOf gives back what was
// typed and what was refused:
//
//	f := page.FormOf(r, "approve")
//	components.Action{ID: "approve", URL: …, Error: f.Error(), Hidden: []components.Hidden{f.Nonce()},
//		Fields: []components.Field{components.ReasonField(label, f.Value("reason", ""), f.Problem("reason"))}}
//
// In a list, the address bar is the filter: page.ListOf(r) reads it, list.Pager and list.Href write it. Sites come from
// page.Sites(ctx): the chosen one or all of the person's; every list query takes them.
//
// A region that changes by itself stands in @page.Live("id") { … }: it is fetched again from its own address when something
// changed. Forms stay outside of it, or what is being typed is lost.
//
// Times are shown in the zone of the chosen site, which stands in the context already. The business instant for "since" and
// "late" is page.Now(ctx).
//
// Tests open the whole server with internal/webtest: s := webtest.New(t), s.SignIn(t, webtest.Clerk).Get("/recharges").
package page

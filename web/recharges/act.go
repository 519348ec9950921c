package recharges

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// maxEvidence is the longest slip or payment number, in characters.
const maxEvidence = 64

var channels = []string{"cash", "transfer", "online"}

// enter takes what a clerk has typed in. All that can be seen to be wrong is said at once, each beside its field.
func (h handler) enter(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.EnterRecharge, ""); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	number := billing.AccountID(in.Required("account"))
	amount := in.Money("amount")
	channel := in.OneOf("channel", channels...)
	proof := in.Text("evidence")
	if channel != "cash" && channel != "" && proof == "" {
		in.Refuse("evidence", billing.Errorf(billing.CodeInvalidInput, "Type the number of the bank slip or of the online payment that you checked."))
	}
	if utf8.RuneCountInString(proof) > maxEvidence {
		in.Refuse("evidence", billing.Errorf(billing.CodeInvalidInput, "this number is too long: use at most 64 characters"))
	}
	account, err := h.known(ctx, number)
	if err != nil && number != "" {
		in.Refuse("account", err)
	}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.EnterRecharge, account.Site); err != nil {
		return page.Done{}, err
	}
	id, err := h.Store.NextRechargeID(ctx, account.Site)
	if err != nil {
		return page.Done{}, err
	}
	entered, err := h.Workflows.EnterRecharge(ctx, workflows.EnterRecharge{
		RechargeID: id, Account: account.ID, Amount: amount, Channel: channel, Evidence: proof, Key: "page/" + in.Nonce(), By: page.Actor(ctx).UserID,
	})
	if err != nil {
		return page.Done{}, err
	}
	return page.Done{To: href(entered.RechargeID), Said: locale.T(ctx, "recharges.entered", string(entered.RechargeID))}, nil
}

// known reads an account of the person's sites. One of another site is answered like one that doesn't exist.
func (h handler) known(ctx context.Context, id billing.AccountID) (store.AccountRow, error) {
	a, err := h.Store.AccountRow(ctx, id)
	if err == nil && page.Actor(ctx).HasSite(a.Site) {
		return a, nil
	}
	if err == nil || billing.CodeOf(err) == billing.CodeNotFound {
		err = billing.Errorf(billing.CodeNotFound, "There is no account %q: check the number on the customer's card or bill.", id)
	}
	return store.AccountRow{}, err
}

func (h handler) approve(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	rc, err := h.one(r)
	if err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	if err := mayApprove(ctx, rc.Recharge); err != nil {
		return page.Done{}, err
	}
	if err := h.Workflows.ApproveRecharge(ctx, rc.ID, page.Actor(ctx).UserID, in.Nonce()); err != nil {
		return page.Done{}, err
	}
	to, err := h.after(ctx, rc.ID)
	said := locale.T(ctx, "recharges.approved_once", string(rc.ID))
	if rc.State == billing.RechargeApprovedOnce {
		said = locale.T(ctx, "recharges.approved", string(rc.ID))
	}
	return page.Done{To: to, Said: said}, err
}

// mayApprove refuses what can be seen to be refused. The workflow and a constraint decide again.
func mayApprove(ctx context.Context, rc store.Recharge) error {
	actor := page.Actor(ctx)
	if err := auth.Can(actor, auth.ApproveRecharge, rc.Site); err != nil {
		return err
	}
	switch {
	case rc.State != billing.RechargeEntered && rc.State != billing.RechargeApprovedOnce:
		return billing.Errorf(billing.CodeClosed, "Recharge %s is %s already: nothing was changed.", rc.ID, strings.ReplaceAll(string(rc.State), "_", " "))
	case rc.EnteredBy == actor.UserID:
		return billing.Errorf(billing.CodeSelfApproval, "You entered this recharge: two other clerks must approve it.")
	case rc.Approved1By == actor.UserID:
		return billing.Errorf(billing.CodeAlreadyApproved, "You have approved this recharge already: another clerk must give the second approval.")
	}
	return nil
}

func (h handler) reject(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	rc, err := h.one(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.ApproveRecharge, rc.Site); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	reason := in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := h.Workflows.RejectRecharge(ctx, rc.ID, page.Actor(ctx).UserID, reason); err != nil {
		return page.Done{}, err
	}
	to, err := h.after(ctx, rc.ID)
	return page.Done{To: to, Said: locale.T(ctx, "recharges.rejected", string(rc.ID))}, err
}

// review leads from a selection to its preview, whose address names what was chosen.
func (h handler) review(r *http.Request) (page.Done, error) {
	in := page.Read(r)
	ids := in.Texts("id")
	if len(ids) == 0 {
		return page.Done{}, billing.Errorf(billing.CodeInvalidInput, "choose at least one recharge: tick the boxes in front of them")
	}
	if len(ids) > page.PerPage {
		return page.Done{}, billing.Errorf(billing.CodeInvalidInput, "these are too many at once: choose 50 at most")
	}
	return page.Done{To: path + "/review?" + url.Values{"id": ids}.Encode()}, nil
}

// chosen reads the recharges of a preview, those of the person's sites only.
func (h handler) chosen(r *http.Request) ([]store.RechargeRow, error) {
	var ids []billing.RechargeID
	for _, id := range r.Form["id"] {
		ids = append(ids, billing.RechargeID(id))
	}
	if len(ids) == 0 {
		return nil, billing.Errorf(billing.CodeInvalidInput, "choose at least one recharge: tick the boxes in front of them")
	}
	ctx := r.Context()
	rows, _, err := h.Store.RechargePage(ctx, store.RechargeFilter{Sites: page.Actor(ctx).Sites, IDs: ids, Viewer: page.Actor(ctx).UserID}, page.PerPage, 0)
	return rows, err
}

func (h handler) reviewed(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return billing.Errorf(billing.CodeInvalidInput, "choose at least one recharge: tick the boxes in front of them")
	}
	rows, err := h.chosen(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	return h.Render(w, r, page.View{Title: locale.T(ctx, "recharges.review_title"), Nav: path, Body: review(reviewOf(r, rows))})
}

// approveAll approves what was chosen, one by one: each is a decision of its own, and a refusal of one leaves the others taken.
func (h handler) approveAll(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.ApproveRecharge, ""); err != nil {
		return page.Done{}, err
	}
	rows, err := h.chosen(r)
	if err != nil {
		return page.Done{}, err
	}
	nonce := page.Read(r).Nonce()
	var taken int
	var refused []string
	for _, rc := range rows {
		err := mayApprove(ctx, rc.Recharge)
		if err == nil {
			err = h.Workflows.ApproveRecharge(ctx, rc.ID, page.Actor(ctx).UserID, nonce+"/"+string(rc.ID))
		}
		if billing.CodeOf(err) == billing.CodeUnavailable && taken == 0 {
			return page.Done{}, err // nothing was taken, so the form stands as it was
		}
		if err != nil {
			refused = append(refused, string(rc.ID)+": "+page.Sentence(ctx, err))
			continue
		}
		taken++
	}
	if len(refused) == 0 {
		return page.Done{To: path + "?waiting=mine", Said: locale.T(ctx, "recharges.approved_many", taken)}, nil
	}
	h.Sessions.Say(ctx, "notice", locale.T(ctx, "recharges.approved_some", taken, len(refused), strings.Join(refused, " ")))
	return page.Done{To: path + "?waiting=mine"}, nil
}

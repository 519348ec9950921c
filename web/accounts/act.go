package accounts

import (
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// restore orders supply back.
func (h handler) restore(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	a, err := h.one(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.OrderRestore, a.Site); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	reason := in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := h.Workflows.StartRestore(ctx, a.ID, page.Actor(ctx).UserID, reason); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: href(a.ID), Said: locale.T(ctx, "accounts.restoring", string(a.ID))}, nil
}

// maxProtection is the longest protection, in days: it is looked at again at least once a year.
const maxProtection = 366

// protect stores a protection: one transaction with its journal row, which every cut after it sees.
func (h handler) protect(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	a, err := h.one(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.Protect, a.Site); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	kind := in.OneOf("kind", locale.Words(locale.Protection)...)
	until := in.Day("until")
	zone := page.SiteZone(ctx, a.Site)
	today := billing.DateOf(page.Now(ctx), zone)
	switch {
	case until.IsZero():
	case until.Before(today):
		in.Refuse("until", billing.Errorf(billing.CodeInvalidInput, "the last protected day must be today or later"))
	case today.DaysUntil(until) > maxProtection:
		in.Refuse("until", billing.Errorf(billing.CodeInvalidInput, "protect for a year at most, and look at it again then"))
	}
	reason := in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	_, err = h.Store.AddProtection(ctx, store.By{Actor: string(page.Actor(ctx).UserID), Reason: reason}, store.Protection{
		Account: a.ID, Kind: kind, FromAt: page.Now(ctx), UntilAt: until.AddDays(1).Start(zone), Reason: reason,
	})
	return page.Done{To: href(a.ID), Said: locale.T(ctx, "accounts.protected", string(a.ID), until.String())}, err
}

// endProtection ends one before its time: the signed-in person asks for it, and two others agree with name and password at this screen.
func (h handler) endProtection(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	a, err := h.one(r)
	if err != nil {
		return page.Done{}, err
	}
	actor := page.Actor(ctx)
	if err := auth.Can(actor, auth.EndProtection, a.Site); err != nil {
		return page.Done{}, err
	}
	p, err := h.standing(r, a.ID)
	if err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	reason := in.Reason()
	in.Second(actor.UserID, store.ErrEndsAlone())
	in.Third(actor.UserID, store.ErrEndsAlone())
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	second, err := h.Second(r)
	if err != nil {
		return page.Done{}, err
	}
	third, err := h.Third(r)
	if err != nil {
		return page.Done{}, err
	}
	for _, agrees := range []auth.Actor{second, third} {
		if auth.Can(agrees, auth.Protect, a.Site) != nil {
			return page.Done{}, billing.Errorf(billing.CodeForbidden, "%s may not protect customers at this site: ask a manager or a supervisor", agrees.UserID)
		}
	}
	err = h.Store.EndProtection(ctx, store.By{Actor: string(actor.UserID), Reason: reason}, p.ID, second.UserID, third.UserID)
	return page.Done{To: href(a.ID), Said: locale.T(ctx, "accounts.protection_ended", string(a.ID))}, err
}

// standing is the protection that the address names, when it is one of the account's and isn't over.
func (h handler) standing(r *http.Request, account billing.AccountID) (store.Protection, error) {
	all, err := h.Store.Protections(r.Context(), account)
	if err != nil {
		return store.Protection{}, err
	}
	for _, p := range all {
		if idOf(p) == page.Param(r, "protection") {
			if over(p, page.Now(r.Context())) {
				return p, billing.Errorf(billing.CodeClosed, "This protection was ended already.")
			}
			return p, nil
		}
	}
	return store.Protection{}, billing.Errorf(billing.CodeNotFound, "there is no such record")
}

func over(p store.Protection, now time.Time) bool { return p.EndedAt != nil || !now.Before(p.UntilAt) }

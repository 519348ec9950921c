package page

import (
	"context"
	"net/url"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
)

// CorrectLink starts a correction of what a number names: a meter, an account, a bill, a tariff. It is nil for those who may not make one.
func CorrectLink(ctx context.Context, site billing.SiteID, number string) templ.Component {
	if auth.Can(Actor(ctx), auth.MakeCorrection, site) != nil {
		return nil
	}
	return components.ButtonLink("/corrections/new?"+url.Values{"about": {number}}.Encode(), locale.T(ctx, "corrections.this"), false)
}

// AdjustHref is where a fault of a meter is entered.
func AdjustHref(meter string) string {
	return "/adjustments/new?" + url.Values{"meter": {meter}}.Encode()
}

// MeterLinks start a correction of what a meter showed, or an adjustment for its fault. They are nil for those who may make neither.
func MeterLinks(ctx context.Context, site billing.SiteID, meter billing.MeterID) templ.Component {
	correct := CorrectLink(ctx, site, string(meter))
	if auth.Can(Actor(ctx), auth.MakeAdjustment, site) != nil {
		return correct
	}
	adjust := components.ButtonLink(AdjustHref(string(meter)), locale.T(ctx, "adjustments.this"), false)
	if correct == nil {
		return adjust
	}
	return templ.Join(correct, adjust)
}

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

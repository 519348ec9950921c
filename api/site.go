package api

import (
	"context"
	"net/http"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Site is a place with its own time zone: the unit of data access.
type Site struct {
	ID       billing.SiteID `json:"id"`
	NameZH   string         `json:"name_zh"`
	NameEN   string         `json:"name_en"`
	TimeZone string         `json:"time_zone"`
}

func (s *server) siteOperations() {
	add(s, operation{method: http.MethodGet, path: "/sites", id: "list-sites", tag: "sites", may: auth.View, summary: "Your sites."}, s.sites)
}

func (s *server) sites(ctx context.Context, _ *none) (*body[List[Site]], error) {
	all, err := s.Store.Sites(ctx)
	if err != nil {
		return nil, err
	}
	actor, own := auth.FromContext(ctx), all[:0]
	for _, x := range all {
		if actor.HasSite(x.ID) {
			own = append(own, x)
		}
	}
	return listOf(own, len(own), func(x store.Site) Site {
		return Site{ID: x.ID, NameZH: x.NameZH, NameEN: x.NameEN, TimeZone: x.Zone.String()}
	}), nil
}

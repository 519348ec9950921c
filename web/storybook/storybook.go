// Package storybook shows every component in every state on one page, in both languages, for the people who build pages
// and for the eyes of reviewers. It runs in the demo only. Its data is invented and its own; it refuses to read anything.
package storybook

import (
	"context"
	"net/http"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/layout"
	"github.com/meterflow/meterflow/web/locale"
)

// Handler serves the storybook: the page "values", or another by its query, ?page=queue, ?page=story, ?page=print.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		name := r.URL.Query().Get("page")
		body, known := pages()[name]
		if !known {
			name, body = "values", values()
		}
		page := frame(ctx, name)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if err := document(page, name, body).Render(ctx, w); err != nil {
			http.Error(w, "The storybook page could not be drawn; see the server's log.", http.StatusInternalServerError)
		}
	})
}

func pages() map[string]templ.Component {
	return map[string]templ.Component{"values": values(), "queue": queue(), "story": story(), "print": prints()}
}

// noon is the instant at which everything here happens.
var noon = time.Date(2026, 10, 31, 4, 0, 0, 0, time.UTC)

// say picks a text of invented data; the catalogue holds what the product itself says.
func say(ctx context.Context, zh, en string) string {
	if locale.Lang(ctx) == locale.EN {
		return en
	}
	return zh
}

func frame(ctx context.Context, name string) layout.Page {
	return layout.Page{
		Title: "Storybook", Path: "/storybook?page=" + name,
		User: &layout.User{Name: say(ctx, "周敏", "Zhou Min"), Role: locale.State(ctx, locale.Role, "supervisor")},
		Nav: []layout.NavItem{
			{Label: say(ctx, "今日", "Today"), Href: "/", Icon: "today"},
			{Label: say(ctx, "异常工单", "Exceptions"), Href: "#", Icon: "exceptions", Count: 7, Tone: components.Watch, Active: true},
			{Label: say(ctx, "核算发行", "Billing runs"), Href: "#", Icon: "runs", Count: 1, Tone: components.Watch},
			{Label: say(ctx, "抄表例日", "Reading cycles"), Href: "#", Icon: "cycles"},
			{Label: say(ctx, "表计", "Meters"), Href: "#", Icon: "meters"},
			{Label: say(ctx, "户号", "Accounts"), Href: "#", Icon: "accounts"},
			{Label: say(ctx, "充值", "Recharges"), Href: "#", Icon: "recharges"},
			{Label: say(ctx, "停复电", "Cut-offs"), Href: "#", Icon: "cutoffs", Count: 1200, Tone: components.Danger},
			{Label: say(ctx, "消息", "Messages"), Href: "#", Icon: "messages"},
		},
		Sites: []layout.Site{
			{Name: say(ctx, "滨江花园", "Riverside Gardens"), Href: "/storybook", Current: true},
			{Name: say(ctx, "中央广场", "Central Plaza"), Href: "/storybook"},
		},
		Clock: &layout.Clock{Now: noon, Note: "×600", Controls: clockControls()},
		Flash: []components.NoticeView{
			{Tone: components.Good, Title: say(ctx, "已提交复核。", "Sent for verification."), Body: say(ctx, "下一步由另一位核算主管发行。", "Another supervisor issues it next.")},
		},
	}
}

func usage(ctx context.Context) components.Usage {
	u := components.Usage{
		ID: "use", Title: say(ctx, "日用电量", "Daily use"), Unit: "kWh", Scale: 2, Low: 620, High: 1180,
	}
	raw := []int64{
		812, 905, 1010, 760, 690, 980, 1105, 875, 840, 910, 1002, 730, 655, 990, 1040, 860, 905, 0, 870, 905,
		930, 940, 705, 1015, 998, 860, 875, 910, 3870, 640, 905,
	}
	for i, v := range raw {
		b := components.UsageBar{Day: noon.AddDate(0, 0, i-30), Raw: v, Quality: "actual"}
		switch i {
		case 17:
			b.Quality = "missing"
		case 18, 19, 20:
			b.Quality = "estimated"
		case 21:
			b.Quality = "edited"
		case 12:
			b.Quality = "manual"
		case 28:
			b.Doubtful = true
		}
		u.Bars = append(u.Bars, b)
	}
	return u
}

func balance(ctx context.Context) components.Balance {
	b := components.Balance{
		ID: "bal", Title: say(ctx, "余额变化", "Balance"), Limit: -2000, HasLimit: true, Until: noon,
	}
	fen := int64(18640)
	for i := range 30 {
		note := say(ctx, "日电费", "Daily charge")
		fen -= 640 + int64(i%5)*85
		if i == 22 {
			fen += 20000
			note = say(ctx, "充值", "Recharge")
		}
		if i == 21 {
			fen -= 4100
		}
		b.Points = append(b.Points, components.BalancePoint{At: noon.AddDate(0, 0, i-30), Fen: fen, Note: note})
	}
	return b
}

func strips(ctx context.Context) []components.StripView {
	var all []components.StripView
	for g, name := range []string{"GW-01", "GW-02", "GW-03"} {
		s := components.StripView{Label: name + " · " + say(ctx, "1 号楼配电间", "Block 1 switch room"), Href: "#"}
		for i := range 26 {
			state := "actual"
			switch {
			case g == 0 && i == 7:
				state = "estimated"
			case g == 0 && i == 8:
				state = "edited"
			case g == 0 && i == 9:
				state = "manual"
			case g == 1 && i > 3:
				state = "missing"
			case g == 2 && i > 14:
				state = "pending"
			}
			s.Cells = append(s.Cells, components.StripCell{Label: "M-0" + name[4:] + string(rune('A'+i)), State: state, Href: "#"})
		}
		all = append(all, s)
	}
	return all
}

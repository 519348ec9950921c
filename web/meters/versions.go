package meters

import (
	"context"
	"strconv"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
)

// changedReadings is how many changed readings the page of a meter lists.
const changedReadings = 20

// versionTable lists the versions of readings that were changed: each value before and after, how it came about, by whom and why.
func versionTable(ctx context.Context, m store.MeterRow, versions []store.VersionRow) components.Table {
	t := components.Table{ID: "reading-versions", Caption: locale.T(ctx, "vee.versions"), Cols: []components.Col{
		{Label: locale.T(ctx, "vee.day")}, {Label: locale.T(ctx, "vee.value"), Unit: m.Service.Unit(), Align: components.Number},
		{Label: locale.T(ctx, "vee.quality")}, {Label: locale.T(ctx, "vee.by")}, {Label: locale.T(ctx, "vee.why")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "vee.none"), Body: locale.T(ctx, "vee.none_body")}}
	for _, v := range versions {
		quality := components.StateBadge(locale.Quality, v.Quality)
		if v.Doubtful {
			quality = components.Badge(components.Danger, locale.T(ctx, "vee.doubtful"))
		}
		if v.Method != "" {
			quality = components.Lines(quality, locale.State(ctx, locale.Method, v.Method))
		}
		by := v.RecordedName
		if by == "" {
			by = locale.T(ctx, "vee.system")
		}
		t.Rows = append(t.Rows, components.Row{ID: v.FreezeAt.UTC().Format("20060102T1504") + "-" + strconv.Itoa(v.Version), Cells: []templ.Component{
			components.Lines(components.When(v.FreezeAt), locale.T(ctx, "rules.version_no", v.Version)), components.Quantity(v.Registers.Total(), m.Service.Scale(), ""), quality,
			components.Lines(components.Text(by), takenText(ctx, v)), components.Text(locale.Sentence(ctx, v.Reason))}})
	}
	return t
}

// takenText is when a version was taken and, when a line brought it, by which register map it was decoded.
func takenText(ctx context.Context, v store.VersionRow) string {
	text := locale.DateTime(ctx, v.TakenAt)
	if v.Profile != "" {
		text += " · " + mapLabel(v.Profile, v.ProfileVersion)
	}
	return text
}

func mapLabel(name string, version int) string { return name + " v" + strconv.Itoa(version) }

// deviceShows is what the meter itself said of its clock and its ratio.
func deviceShows(ctx context.Context, r store.Reading) []components.Fact {
	var facts []components.Fact
	if r.ClockSkewS != nil {
		facts = append(facts, components.Fact{ID: "clock-skew", Label: locale.T(ctx, "vee.clock"), Value: components.Text(locale.T(ctx, "vee.seconds", *r.ClockSkewS))})
	}
	if r.DeviceRatio != nil {
		facts = append(facts, components.Fact{ID: "device-ratio", Label: locale.T(ctx, "vee.device_ratio"), Value: components.Count(*r.DeviceRatio)})
	}
	return facts
}

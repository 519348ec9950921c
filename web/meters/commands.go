package meters

import (
	"context"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/evidence"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// commandsOf tells the newest commands with their proof: what was read back, and the frames on request.
func commandsOf(ctx context.Context, commands []store.Command) components.TimelineView {
	v := components.TimelineView{Title: locale.T(ctx, "meters.commands"), Empty: components.EmptyView{
		Title: locale.T(ctx, "meters.no_commands"), Body: locale.T(ctx, "meters.no_commands_body"),
	}}
	for _, c := range commands {
		e := components.Event{
			Business: c.RequestedAt, What: locale.State(ctx, locale.CommandKind, c.Kind), Kind: locale.Command, To: string(c.State), Why: locale.Sentence(ctx, c.Error),
			Workflow: c.Cause, WorkflowHref: page.TraceHref(c.Cause), EvidenceHref: page.TraceHref(string(c.ID)), EvidenceLabel: string(c.ID), Tone: components.ToneOf(locale.Command, string(c.State)),
			Detail: proofOf(ctx, c),
		}
		if owner, id := c.Owner(); page.HasHome(owner) {
			e.WorkflowHref = page.Home(owner, id)
		}
		if c.Amount != nil {
			e.What += " " + locale.MoneySigned(*c.Amount)
		}
		v.Events = append(v.Events, e)
	}
	return v
}

// pushesOf tells the newest price changes of a meter that holds prices, with the frames on request; nil when there was none.
func pushesOf(ctx context.Context, pushes []store.TariffPush) *components.TimelineView {
	if len(pushes) == 0 {
		return nil
	}
	v := &components.TimelineView{Title: locale.T(ctx, "meters.pushes")}
	for _, p := range pushes {
		e := components.Event{
			Business: p.DueAt, What: locale.T(ctx, "meters.push"), Kind: locale.PricePush, To: string(p.State), Why: locale.Sentence(ctx, p.Error), Workflow: string(p.Change), WorkflowHref: page.Home("tariff_change", string(p.Change)),
			Tone: components.ToneOf(locale.PricePush, string(p.State)),
		}
		if p.SentAt != nil {
			e.Business = *p.SentAt
		}
		if evidence.HasFrames(p.Frames) {
			e.Detail = proof([]components.Fact{{ID: "attempts", Label: locale.T(ctx, "meters.attempts"), Value: components.Count(p.Attempts)}}, p.Frames)
		}
		v.Events = append(v.Events, e)
	}
	return v
}

// proofOf is what was measured of a command's effect.
func proofOf(ctx context.Context, c store.Command) templ.Component {
	var facts []components.Fact
	add := func(id, label string, value templ.Component) {
		facts = append(facts, components.Fact{ID: id, Label: label, Value: value})
	}
	if c.Readback != "" {
		add("readback", locale.T(ctx, "meters.readback"), components.StateBadge(locale.Supply, c.Readback))
	}
	if c.ReadbackReal != nil {
		add("readback-real", locale.T(ctx, "meters.readback_at"), components.Text(locale.Stamp(ctx, *c.ReadbackReal)))
	}
	if c.ReadbackPowerW != nil {
		add("readback-power", locale.T(ctx, "meters.readback_power"), components.Quantity(*c.ReadbackPowerW, 0, "W"))
	}
	if c.CountBefore != nil && c.CountAfter != nil {
		add("count", locale.T(ctx, "meters.count"), components.Text(locale.Count(*c.CountBefore)+" → "+locale.Count(*c.CountAfter)))
	}
	if c.RemainingBefore != nil && c.RemainingAfter != nil {
		add("remaining", locale.T(ctx, "meters.remaining"), components.Text(locale.Money(billing.Money(*c.RemainingBefore))+" → "+locale.Money(billing.Money(*c.RemainingAfter))))
	}
	if c.VolumeBefore != nil && c.VolumeTarget != nil {
		add("volume", locale.T(ctx, "meters.volume"), components.Text(locale.T(ctx, "meters.volume_set", *c.VolumeBefore, *c.VolumeLitres, *c.VolumeTarget)))
	}
	if c.Attempts > 1 {
		add("attempts", locale.T(ctx, "meters.attempts"), components.Count(c.Attempts))
	}
	if len(facts) == 0 && !evidence.HasFrames(c.Frames) {
		return nil
	}
	return proof(facts, c.Frames)
}

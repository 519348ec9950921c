package devices

import (
	"context"

	"github.com/meterflow/meterflow/devices/profile"
)

// Probed is a meter's answer to every read of its map, raw and decoded.
type Probed struct {
	Fields []profile.Explained
	Frames []Frame
}

// Probe reads a meter by its map without judging what it says: a wrong serial number or a value that makes no sense is shown, not refused.
// It sends reads only.
func (p *Pool) Probe(ctx context.Context, m Meter) (Probed, error) {
	var out Probed
	err := p.onMeter(ctx, m, priorityRead, func(s *session, prof *profile.Profile) error {
		defer func() { out.Frames = s.frames }()
		s.fresh = true // what is shown is what the meter says, not what its gateway remembers
		raw := make(profile.Raw, len(prof.Blocks))
		for _, block := range prof.Blocks {
			data, err := s.block(m, prof, block)
			if err != nil {
				return err
			}
			raw[block.Name] = data
		}
		out.Fields = prof.Explain(raw)
		return nil
	})
	return out, err
}

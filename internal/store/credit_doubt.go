package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// CreditAttempt is a delivery of a credit in doubt that may have left for the meter.
type CreditAttempt struct {
	Command Command
	// Later is the next delivery of another credit that may have left for the meter after this one, and is proved or not settled; nil when there is none.
	// What it saw before its own write is what this one left: what the meter shows since is its doing.
	Later *Command
	// Taken is a delivery of another credit that had left before this one and was proved after it: what the meter shows is that one's doing. Empty when there
	// is none.
	Taken billing.CommandID
}

// CreditAttempts reads the deliveries of what newest delivers that may have left for its meter, newest first.
func (s *Store) CreditAttempts(ctx context.Context, newest Command) ([]CreditAttempt, error) {
	rows, _ := s.Pool.Query(ctx, selectCommand+` WHERE kind = 'credit' AND meter_id = $1 AND split_part(cause, '/', 1) || '/' || split_part(cause, '/', 2) = $2
		AND (count_intended IS NOT NULL OR volume_target IS NOT NULL) ORDER BY length(id) DESC, id DESC`, newest.Meter, newest.credits())
	commands, err := pgx.CollectRows(rows, pgx.RowToStructByName[Command])
	if err != nil {
		return nil, translate(err)
	}
	attempts := make([]CreditAttempt, len(commands))
	for i, c := range commands {
		if attempts[i], err = attemptOf(ctx, s.Pool, c); err != nil {
			return nil, translate(err)
		}
	}
	return attempts, nil
}

// credits is the cause that all deliveries of a credit share.
func (c Command) credits() string {
	kind, id := c.Owner()
	return kind + "/" + id
}

// attemptOf reads which other deliveries tell of an attempt. A meter takes one delivery at a time, so that they left in the order of their numbers; the
// one before is proved before the next leaves, unless it came late and a person said so.
func attemptOf(ctx context.Context, q querier, c Command) (CreditAttempt, error) {
	const others = ` WHERE kind = 'credit' AND meter_id = $1 AND split_part(cause, '/', 1) || '/' || split_part(cause, '/', 2) <> $2 AND `
	a := CreditAttempt{Command: c}
	rows, _ := q.Query(ctx, selectCommand+others+`(length(id), id) > (length($3), $3) AND state IN ('sending', 'acknowledged', 'unknown', 'verified')
		ORDER BY length(id), id LIMIT 1`, c.Meter, c.credits(), string(c.ID))
	var err error
	if a.Later, err = optional[Command](rows); err != nil {
		return a, err
	}
	// Its purchase is this one's, or this one hadn't seen its volume when it left.
	err = q.QueryRow(ctx, `SELECT coalesce((SELECT id FROM commands`+others+`(length(id), id) < (length($3), $3) AND state = 'verified' AND settled_at >= $4
		AND (count_intended = $5 OR volume_before + registers_before[1] + volume_litres > $6::bigint + ($7::bigint[])[1] + 1) ORDER BY length(id) DESC, id DESC LIMIT 1), '')`,
		c.Meter, c.credits(), string(c.ID), c.SentAt, c.CountIntended, c.VolumeBefore, c.RegistersBefore).Scan(&a.Taken)
	return a, err
}

// CreditProof is what a person's decision about a credit in doubt rests on, as package activities found it.
type CreditProof struct {
	Attempt billing.CommandID // the delivery that arrived, or for which most speaks; empty when none ever left
	Later   billing.CommandID // CreditAttempt.Later, proved; empty when there is none
	Taken   billing.CommandID // CreditAttempt.Taken
	Look    CreditOutcome     // what the meter showed of it: before Later, or now
}

// settleByPerson settles the deliveries of a credit in doubt by a person's decision: credited, the purchase or volume is the attempt's of the proof. A
// decision without proof, or one before whose proof another delivery has come since, is billing.CodeConflict. The lock of the account's supply is held.
func settleByPerson(ctx context.Context, tx *Tx, cause string, credited bool, proof CreditProof) error {
	newest, err := newestCommandOf(ctx, tx, cause)
	if err != nil {
		return err
	}
	if newest != nil && newest.Open() && (!credited || newest.ID != proof.Attempt) {
		was := newest.State
		newest.State = billing.CommandRefused
		if newest.ID == proof.Attempt {
			newest.saw(proof.Look)
		}
		if err := saveCommand(ctx, tx, was, *newest, "settled_by_person"); err != nil {
			return err
		}
	}
	if !credited {
		return nil
	}
	if proof.Attempt == "" {
		return billing.Errorf(billing.CodeConflict, "The meter was not read for this decision: decide again.")
	}
	c, err := lockCommand(ctx, tx, proof.Attempt)
	if err != nil {
		return err
	}
	now, err := attemptOf(ctx, tx, c)
	if err != nil {
		return err
	}
	if now.Taken != "" || now.Later == nil && proof.Later != "" || now.Later != nil && now.Later.ID != proof.Later {
		return billing.Errorf(billing.CodeConflict, "Another credit was sent to meter %s since it was read for this decision: decide again.", c.Meter)
	}
	was := c.State
	c.State, c.Error = billing.CommandVerified, proof.Look.Note
	c.saw(proof.Look)
	if now.Later == nil {
		c.SettledAt = nil // settled anew, now: what it shows is newer than what was settled meanwhile
	}
	return saveCommand(ctx, tx, was, c, "settled_by_person")
}

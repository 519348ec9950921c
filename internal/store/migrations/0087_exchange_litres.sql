-- What an exchanged water meter still held as a volume goes on to the new one as litres: no money and no price is in it. Lock impact: adds columns,
-- nullable or with a constant default (no rewrite), and checks that hold for what is there (a short scan of exchanges and commands).

ALTER TABLE exchanges
    ADD COLUMN remaining_litres bigint,             -- what the old meter still held, litres; negative when it was overdrawn; null where it held none
    DROP CONSTRAINT exchanges_credit_check,
    DROP CONSTRAINT exchange_remaining_has_a_source,
    DROP CONSTRAINT exchange_carries_what_remained,
    DROP CONSTRAINT exchange_is_done,
    -- with_next: fewer litres than an order of their own can prove; the account's next recharge takes them along.
    ADD CONSTRAINT exchanges_credit_check CHECK (credit IN ('none', 'delivering', 'in_doubt', 'credited', 'with_next')),
    ADD CONSTRAINT exchange_remaining_has_a_source CHECK ((remaining_fen IS NULL AND remaining_litres IS NULL) = (remaining_from = '')),
    ADD CONSTRAINT exchange_remaining_is_one_kind CHECK (remaining_fen IS NULL OR remaining_litres IS NULL),
    ADD CONSTRAINT exchange_carries_what_remained CHECK ((credit <> 'none') = (coalesce(remaining_fen > 0, false) OR coalesce(remaining_litres > 0, false))),
    ADD CONSTRAINT exchange_with_next_are_litres CHECK (credit <> 'with_next' OR remaining_litres IS NOT NULL),
    ADD CONSTRAINT exchange_is_done CHECK ((state = 'done') = (credit IN ('none', 'credited', 'with_next') AND hold <> 'wanted'));

-- Of volume_litres, those that came over from exchanged meters and were bought before. The others are bought by this order's amount.
ALTER TABLE commands
    ADD COLUMN volume_carried bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT commands_volume_carried_is_in_the_order CHECK (volume_carried = 0 OR coalesce(volume_carried BETWEEN 1 AND volume_litres, false)),
    ADD CONSTRAINT commands_volume_bought_has_a_price CHECK (volume_litres IS NULL OR (amount_fen IS NULL) = (volume_price_e8 IS NULL)),
    ADD CONSTRAINT commands_volume_without_money_is_carried CHECK (volume_litres IS NULL OR amount_fen IS NOT NULL OR volume_carried = volume_litres);

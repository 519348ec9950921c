-- Credit for water meters that hold a bought volume as an absolute register. Lock impact: adds columns without a default and a check
-- that holds for what is there (a short lock on commands).

ALTER TABLE commands
    ADD COLUMN volume_litres bigint CHECK (volume_litres > 0),          -- bought by this order
    ADD COLUMN volume_price_e8 bigint CHECK (volume_price_e8 > 0),      -- yuan×10^8 per m³ that the litres were worked out by
    ADD COLUMN volume_before bigint,                                    -- litres left before the write
    ADD COLUMN volume_target bigint CHECK (volume_target >= 0),         -- what it was set to, stored before anything is sent
    ADD COLUMN volume_after bigint,                                     -- litres left, and
    ADD COLUMN volume_total_after bigint,                               -- litres counted, at the last look
    ADD CONSTRAINT commands_volume_is_what_was_bought CHECK (volume_target = volume_before + volume_litres),
    ADD CONSTRAINT commands_volume_has_no_count CHECK (volume_litres IS NULL OR (kind = 'credit' AND count_intended IS NULL));

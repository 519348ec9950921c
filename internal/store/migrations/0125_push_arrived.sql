-- Whether prices that were sent and never proved had reached their meter shows when later ones are about to be written: the meter's prices are read first.
-- Lock impact: a nullable column.

ALTER TABLE tariff_pushes ADD COLUMN arrived boolean;   -- null while nobody knows, and for pushes that were proved or never sent

-- Boxes with many meters. Lock impact: one table is made; meters get two columns with constant defaults (no rewrite).

-- A multi-circuit box: one device on a gateway's line, one run of consecutive unit ids, one meter per circuit.
CREATE TABLE boxes (
    id         text PRIMARY KEY,                    -- asset number
    site_id    text NOT NULL REFERENCES sites,
    gateway_id text NOT NULL REFERENCES gateways,
    base_unit  smallint NOT NULL CHECK (base_unit >= 1),
    circuits   smallint NOT NULL CHECK (circuits IN (12, 24, 36)),
    CHECK ((base_unit - 1) % circuits = 0),         -- as the vendor's tool numbers them: 1, 37, 73 … for 36 circuits
    CHECK (base_unit + circuits - 1 <= 247)
);
CREATE INDEX boxes_gateway ON boxes (gateway_id);

ALTER TABLE meters
    ADD COLUMN box_id text REFERENCES boxes,
    ADD COLUMN units smallint NOT NULL DEFAULT 1 CHECK (units IN (1, 3));      -- a three-phase circuit takes three unit ids

-- One line's unit ids are taken once: by a box as a whole, and inside it by its circuits.
CREATE FUNCTION boxes_check() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM gateways WHERE id = NEW.gateway_id FOR NO KEY UPDATE;
    IF EXISTS (SELECT 1 FROM boxes b WHERE b.gateway_id = NEW.gateway_id AND b.id <> NEW.id
            AND int4range(b.base_unit, b.base_unit + b.circuits) && int4range(NEW.base_unit, NEW.base_unit + NEW.circuits)) THEN
        RAISE EXCEPTION 'another box has some of these unit ids: choose a free base unit' USING ERRCODE = 'MF013';
    END IF;
    IF EXISTS (SELECT 1 FROM meters m WHERE m.gateway_id = NEW.gateway_id AND m.state = 'fitted' AND m.box_id IS NULL
            AND m.unit BETWEEN NEW.base_unit AND NEW.base_unit + NEW.circuits - 1) THEN
        RAISE EXCEPTION 'a meter of its own has one of these unit ids: choose a free base unit' USING ERRCODE = 'MF013';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER boxes_check BEFORE INSERT OR UPDATE ON boxes FOR EACH ROW EXECUTE FUNCTION boxes_check();

CREATE FUNCTION meters_check_box() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    b boxes;
BEGIN
    IF NEW.state <> 'fitted' THEN
        RETURN NEW;
    END IF;
    PERFORM 1 FROM gateways WHERE id = NEW.gateway_id FOR NO KEY UPDATE;
    SELECT * INTO b FROM boxes WHERE gateway_id = NEW.gateway_id AND NEW.unit BETWEEN base_unit AND base_unit + circuits - 1;
    IF b.id IS DISTINCT FROM NEW.box_id THEN
        RAISE EXCEPTION 'unit % of gateway % is not a circuit of the box that the meter is said to be in: give the unit ids of that box', NEW.unit, NEW.gateway_id USING ERRCODE = 'MF013';
    END IF;
    IF NEW.units > 1 AND (b.id IS NULL OR NEW.unit + NEW.units > b.base_unit + b.circuits) THEN
        RAISE EXCEPTION 'a three-phase circuit takes three unit ids of one box: choose a lower unit id' USING ERRCODE = 'MF013';
    END IF;
    IF b.id IS NOT NULL AND EXISTS (SELECT 1 FROM meters m WHERE m.gateway_id = NEW.gateway_id AND m.state = 'fitted' AND m.id <> NEW.id
            AND int4range(m.unit, m.unit + m.units) && int4range(NEW.unit, NEW.unit + NEW.units)) THEN
        RAISE EXCEPTION 'another circuit has one of these unit ids: choose free ones' USING ERRCODE = 'MF013';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER meters_check_box BEFORE INSERT OR UPDATE OF gateway_id, unit, units, box_id, state ON meters FOR EACH ROW EXECUTE FUNCTION meters_check_box();

-- A refusal about unit ids names the unit, and whose it is. Lock impact: replaces two functions.

CREATE OR REPLACE FUNCTION boxes_check() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_id text;
    v_from integer;
    v_to integer;
BEGIN
    PERFORM 1 FROM gateways WHERE id = NEW.gateway_id FOR NO KEY UPDATE;
    SELECT b.id, b.base_unit, b.base_unit + b.circuits - 1 INTO v_id, v_from, v_to FROM boxes b WHERE b.gateway_id = NEW.gateway_id AND b.id <> NEW.id
        AND int4range(b.base_unit, b.base_unit + b.circuits) && int4range(NEW.base_unit, NEW.base_unit + NEW.circuits) ORDER BY b.base_unit LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'box % has units % to % already: choose a free base unit', v_id, v_from, v_to USING ERRCODE = 'MF013';
    END IF;
    SELECT m.id, m.unit INTO v_id, v_from FROM meters m WHERE m.gateway_id = NEW.gateway_id AND m.state = 'fitted' AND m.box_id IS NULL
        AND m.unit BETWEEN NEW.base_unit AND NEW.base_unit + NEW.circuits - 1 ORDER BY m.unit LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'meter %, which is in no box, has unit % already: choose a free base unit', v_id, v_from USING ERRCODE = 'MF013';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION meters_check_box() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    b boxes;
    v_id text;
    v_from integer;
    v_to integer;
BEGIN
    IF NEW.state <> 'fitted' THEN
        RETURN NEW;
    END IF;
    PERFORM 1 FROM gateways WHERE id = NEW.gateway_id FOR NO KEY UPDATE;
    SELECT * INTO b FROM boxes WHERE gateway_id = NEW.gateway_id AND NEW.unit BETWEEN base_unit AND base_unit + circuits - 1;
    IF b.id IS DISTINCT FROM NEW.box_id THEN
        RAISE EXCEPTION 'unit % of gateway % is not a circuit of the box that the meter is said to be in: give the unit ids of that box', NEW.unit, NEW.gateway_id USING ERRCODE = 'MF013';
    END IF;
    IF NEW.units > 1 AND b.id IS NULL THEN
        RAISE EXCEPTION 'a three-phase circuit takes three unit ids of one box, and no box has unit %: add the box first, or correct the unit', NEW.unit USING ERRCODE = 'MF013';
    END IF;
    IF NEW.units > 1 AND NEW.unit + NEW.units > b.base_unit + b.circuits THEN
        RAISE EXCEPTION 'a three-phase circuit takes three unit ids of one box, and box % ends at unit %: choose a lower unit id than %', b.id, b.base_unit + b.circuits - 1, NEW.unit USING ERRCODE = 'MF013';
    END IF;
    SELECT m.id, m.unit, m.unit + m.units - 1 INTO v_id, v_from, v_to FROM meters m WHERE m.gateway_id = NEW.gateway_id AND m.state = 'fitted' AND m.id <> NEW.id
        AND int4range(m.unit, m.unit + m.units) && int4range(NEW.unit, NEW.unit + NEW.units) ORDER BY m.unit LIMIT 1;
    IF b.id IS NOT NULL AND FOUND THEN
        RAISE EXCEPTION 'circuit % of box % has units % to % already: choose free ones', v_id, b.id, v_from, v_to USING ERRCODE = 'MF013';
    END IF;
    RETURN NEW;
END $$;

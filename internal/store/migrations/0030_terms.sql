-- Dated terms of accounts, quantities of a month that registers don't give, and bill lines that are charged by the month.
-- Lock impact: creates tables; adds columns with constant defaults (no rewrite); copies one row per account.

-- What was agreed with a customer, from a day on. Nothing is changed afterwards: the highest version of a first day holds.
CREATE TABLE account_terms (
    account_id         text NOT NULL REFERENCES accounts,
    from_day           date NOT NULL,
    version            integer NOT NULL CHECK (version >= 1),
    tariff_id          text NOT NULL REFERENCES tariffs,
    persons            integer NOT NULL DEFAULT 0 CHECK (persons BETWEEN 0 AND 99),
    capacity_kva       numeric NOT NULL DEFAULT 0 CHECK (capacity_kva >= 0),
    suspended_kva      numeric NOT NULL DEFAULT 0 CHECK (suspended_kva >= 0),
    contract_demand_kw numeric NOT NULL DEFAULT 0 CHECK (contract_demand_kw >= 0),
    charge_choice      text NOT NULL DEFAULT '' CHECK (charge_choice IN ('', 'capacity', 'demand')),
    -- 'meter': the remote meter is the one that settles, by its total register. 'register': the contract names a register of it.
    settlement         text NOT NULL DEFAULT 'meter' CHECK (settlement IN ('meter', 'register')),
    contract_register  text NOT NULL DEFAULT '' CHECK (contract_register IN ('', 'sharp', 'peak', 'flat', 'valley', 'deep_valley')),
    recorded_at        timestamptz NOT NULL,
    recorded_by        text NOT NULL,
    reason             text NOT NULL CHECK (reason <> ''),
    PRIMARY KEY (account_id, from_day, version),
    CONSTRAINT contract_names_register CHECK ((settlement = 'register') = (contract_register <> ''))
);
CREATE TRIGGER account_terms_append_only BEFORE UPDATE OR DELETE ON account_terms FOR EACH ROW EXECUTE FUNCTION forbid_change();

INSERT INTO account_terms (account_id, from_day, version, tariff_id, recorded_at, recorded_by, reason)
SELECT id, opened_on, 1, tariff_id, business_now(), 'workflow', 'taken over with the account' FROM accounts;

-- An account has terms from its first day on, however it is opened.
CREATE FUNCTION open_terms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO account_terms (account_id, from_day, version, tariff_id, recorded_at, recorded_by, reason)
    VALUES (NEW.id, NEW.opened_on, 1, NEW.tariff_id, business_now(), 'workflow', 'account opened');
    RETURN NULL;
END $$;
CREATE TRIGGER accounts_open_terms AFTER INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION open_terms();

-- Maximum demand, reactive and reverse energy of a calendar month. Nothing is changed afterwards: the highest version holds.
CREATE TABLE period_quantities (
    account_id  text NOT NULL REFERENCES accounts,
    month       date NOT NULL CHECK (extract(day FROM month) = 1),
    kind        text NOT NULL CHECK (kind IN ('demand_kw', 'kvarh', 'reverse')),
    version     integer NOT NULL CHECK (version >= 1),
    value       numeric NOT NULL CHECK (value >= 0),
    source      text NOT NULL CHECK (source IN ('meter', 'manual')),
    recorded_at timestamptz NOT NULL,
    recorded_by text NOT NULL,
    reason      text NOT NULL CHECK (reason <> ''),
    PRIMARY KEY (account_id, month, kind, version)
);
CREATE TRIGGER period_quantities_append_only BEFORE UPDATE OR DELETE ON period_quantities FOR EACH ROW EXECUTE FUNCTION forbid_change();

-- Lines by the month: amount = quantity (in unit) × price × factor × thirtieths/30. Lines of use have the service's unit and 0 thirtieths.
ALTER TABLE bill_lines ADD COLUMN unit text NOT NULL DEFAULT '' CHECK (unit IN ('', 'kVA', 'kW', 'yuan'));
ALTER TABLE bill_lines ADD COLUMN thirtieths smallint NOT NULL DEFAULT 0 CHECK (thirtieths BETWEEN 0 AND 30);

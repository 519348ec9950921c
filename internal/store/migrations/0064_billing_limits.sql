-- The limits of billing runs, dated: what stops the bills of a site's months from from_month on, until a later month or a later version of the
-- same month. Before the first version the site's policy holds. Lock impact: creates only.

CREATE TABLE billing_limits (
    site_id    text NOT NULL REFERENCES sites,
    version    integer NOT NULL,
    from_month date NOT NULL CHECK (extract(day FROM from_month) = 1),
    limits     jsonb NOT NULL,                      -- control.Policy
    made_by    text NOT NULL REFERENCES users,
    reason     text NOT NULL CHECK (reason <> ''),
    made_at    timestamptz NOT NULL,
    PRIMARY KEY (site_id, version)
);
CREATE TRIGGER billing_limits_append_only BEFORE UPDATE OR DELETE ON billing_limits FOR EACH ROW EXECUTE FUNCTION forbid_change();

-- Names in functions mean what they say, whoever calls them.
--
-- `SET search_path = pg_catalog` leaves the schema of temporary objects first for types and tables: a login that may call a
-- function which runs with its owner's rights could make a domain `pg_temp.text` whose CHECK is code of its own, and that
-- code ran as the owner. Naming `pg_temp` last closes it; functions and operators are never looked up there. Types in
-- bodies are qualified as well, so that neither of the two has to be right alone.

CREATE OR REPLACE FUNCTION docsgate.tell(issuer text, subject text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_catalog.pg_notify('docsgate_changed', CASE WHEN pg_catalog.octet_length(payload) < 7900 THEN payload ELSE '' END)
    FROM (SELECT pg_catalog.json_build_object('issuer', issuer, 'subject', subject)::pg_catalog.text AS payload) AS told
$$;

-- A plan that is new is made, up to a number that no price list has: a portal that passes something else than a plan here
-- is told, before it has filled the table.
CREATE OR REPLACE FUNCTION docsgate.grant(
    p_issuer text, p_subject text, p_feature text,
    p_plan text DEFAULT NULL, p_starts timestamptz DEFAULT NULL, p_ends timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE member pg_catalog.int8 := docsgate.ensure_member(p_issuer, p_subject);
BEGIN
    IF p_plan IS NOT NULL THEN
        IF NOT EXISTS (SELECT FROM docsgate.plans WHERE name = p_plan) THEN
            IF (SELECT count(*) FROM docsgate.plans) >= 1000 THEN
                RAISE EXCEPTION 'there are 1000 plans already, and this would be one more: a plan is the name of a tier of rate limits, not of a member'
                    USING ERRCODE = 'program_limit_exceeded', HINT = 'Remove plans that nobody has: DELETE FROM docsgate.plans AS p WHERE NOT EXISTS (SELECT FROM docsgate.members WHERE plan = p.name)';
            END IF;
            INSERT INTO docsgate.plans (name) VALUES (p_plan) ON CONFLICT DO NOTHING;
        END IF;
        UPDATE docsgate.members SET plan = p_plan WHERE id = member AND plan IS DISTINCT FROM p_plan;
    END IF;
    INSERT INTO docsgate.entitlements AS e (member_id, feature, starts_at, ends_at)
    VALUES (member, p_feature, coalesce(p_starts, now()), p_ends)
    ON CONFLICT (member_id, feature) DO UPDATE
        SET starts_at = coalesce(p_starts, LEAST(e.starts_at, now())), ends_at = p_ends;
    INSERT INTO docsgate.audit (action, issuer, subject, detail) VALUES ('grant', p_issuer, p_subject,
        jsonb_build_object('feature', p_feature, 'plan', p_plan, 'starts', p_starts, 'ends', p_ends));
END $$;

CREATE OR REPLACE FUNCTION docsgate.revoke_token(p_issuer text, p_subject text, p_token_id text, p_expires timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM docsgate.revoked_tokens WHERE expires_at < now() - '1 day'::pg_catalog.interval;
    INSERT INTO docsgate.revoked_tokens AS t (issuer, subject, token_id, expires_at)
    VALUES (p_issuer, p_subject, p_token_id, p_expires)
    ON CONFLICT (issuer, subject, token_id) DO UPDATE SET expires_at = GREATEST(t.expires_at, p_expires);
    INSERT INTO docsgate.audit (action, issuer, subject, detail)
    VALUES ('revoke_token', p_issuer, p_subject, jsonb_build_object('expires', p_expires));
END $$;

CREATE OR REPLACE FUNCTION docsgate.standing(p_issuer text, p_subject text) RETURNS TABLE (
    known boolean, suspended boolean, plan text,
    features text[], starts double precision[], ends double precision[], revoked_tokens text[]
) LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT m.id IS NOT NULL, m.suspended_at IS NOT NULL, m.plan,
        coalesce(e.features, '{}'), coalesce(e.starts, '{}'), coalesce(e.ends, '{}'),
        ARRAY(SELECT t.token_id FROM docsgate.revoked_tokens AS t
              WHERE t.issuer = p_issuer AND t.subject = p_subject AND t.expires_at > now() - '1 hour'::pg_catalog.interval
              ORDER BY t.expires_at DESC LIMIT 1000)
    FROM (VALUES (1)) AS one (n)
    LEFT JOIN docsgate.members AS m ON m.issuer = p_issuer AND m.subject = p_subject
    LEFT JOIN LATERAL (
        SELECT array_agg(x.feature ORDER BY x.feature) AS features,
            array_agg(extract(epoch FROM x.starts_at)::pg_catalog.float8 ORDER BY x.feature) AS starts,
            array_agg(extract(epoch FROM x.ends_at)::pg_catalog.float8 ORDER BY x.feature) AS ends
        FROM docsgate.entitlements AS x WHERE x.member_id = m.id
    ) AS e ON true
$$;

CREATE OR REPLACE FUNCTION docsgate.api_key(p_id text) RETURNS TABLE (digest bytea, usable boolean, ends double precision, issuer text, subject text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.digest, k.revoked_at IS NULL, extract(epoch FROM k.expires_at)::pg_catalog.float8, m.issuer, m.subject
    FROM docsgate.api_keys AS k JOIN docsgate.members AS m ON m.id = k.member_id
    WHERE k.id = p_id
$$;

-- The others name no type that can be shadowed: `bigint` and `boolean` are words of the grammar. The setting is theirs all
-- the same; a test holds every function of the schema to it.
ALTER FUNCTION docsgate.ensure_member(text, text) SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION docsgate.revoke(text, text, text) SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION docsgate.suspend(text, text) SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION docsgate.resume(text, text) SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION docsgate.create_api_key(text, bytea, text, text, text, timestamptz) SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION docsgate.revoke_api_key(text) SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION docsgate.tell_member() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION docsgate.tell_dependent() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION docsgate.tell_everything() SET search_path = pg_catalog, pg_temp;

-- What a caller writes has a length. Rows that are there already are left alone.
ALTER TABLE docsgate.revoked_tokens
    ADD CONSTRAINT revoked_tokens_issuer_length CHECK (length(issuer) BETWEEN 1 AND 512) NOT VALID,
    ADD CONSTRAINT revoked_tokens_subject_length CHECK (length(subject) BETWEEN 1 AND 256) NOT VALID;
ALTER TABLE docsgate.api_keys ADD CONSTRAINT api_keys_label_length CHECK (length(label) <= 200) NOT VALID;
ALTER TABLE docsgate.audit
    ADD CONSTRAINT audit_issuer_length CHECK (length(issuer) <= 512) NOT VALID,
    ADD CONSTRAINT audit_subject_length CHECK (length(subject) <= 256) NOT VALID;

-- Nobody but the owner makes anything here, and a function is nobody's to call until a GRANT says so.
REVOKE CREATE ON SCHEMA docsgate FROM PUBLIC, docsgate_reader, docsgate_writer;
REVOKE TRIGGER, REFERENCES, TRUNCATE ON ALL TABLES IN SCHEMA docsgate FROM PUBLIC, docsgate_reader, docsgate_writer;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA docsgate FROM PUBLIC;

-- The schema `docsgate`: who the members are and what they may see. The learn portal writes through functions and needs
-- no knowledge of the tables; authz reads through one function. Every change is told to authz (NOTIFY) and kept (audit).

CREATE SCHEMA docsgate;

-- Roles belong to the whole server: another database may have made them already, or be making them right now.
DO $$ BEGIN CREATE ROLE docsgate_reader NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE docsgate_writer NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;

CREATE TABLE docsgate.plans (
    name text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    description text NOT NULL DEFAULT ''
);
INSERT INTO docsgate.plans (name, description) VALUES ('member', 'A single member'), ('team', 'A member of a team');

CREATE TABLE docsgate.members (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    issuer text NOT NULL CHECK (length(issuer) BETWEEN 1 AND 512),
    subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 256),
    plan text REFERENCES docsgate.plans (name),
    suspended_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (issuer, subject)
);

CREATE TABLE docsgate.entitlements (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    member_id bigint NOT NULL REFERENCES docsgate.members (id) ON DELETE CASCADE,
    feature text NOT NULL CHECK (feature ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    starts_at timestamptz NOT NULL DEFAULT now(),
    ends_at timestamptz,
    UNIQUE (member_id, feature),
    CHECK (ends_at IS NULL OR ends_at > starts_at)
);

-- The key itself is never stored: a keyed digest of a secret with 256 bits of entropy needs no slow hash, and a slow
-- hash for every request would be a way to overload the gate.
CREATE TABLE docsgate.api_keys (
    id text PRIMARY KEY CHECK (id ~ '^[a-z0-9]{12}$'),
    digest bytea NOT NULL CHECK (length(digest) = 32),
    member_id bigint NOT NULL REFERENCES docsgate.members (id) ON DELETE CASCADE,
    label text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX ON docsgate.api_keys (member_id);

CREATE TABLE docsgate.revoked_tokens (
    issuer text NOT NULL,
    token_id text NOT NULL CHECK (length(token_id) BETWEEN 1 AND 256),
    subject text NOT NULL,
    -- When the token ends by itself; the row can go then.
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, subject, token_id)
);

CREATE TABLE docsgate.audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL DEFAULT session_user,
    action text NOT NULL,
    issuer text,
    subject text,
    detail jsonb NOT NULL DEFAULT '{}'
);

-- Telling authz ----------------------------------------------------------------------------------------------------

-- NOTIFY carries at most 8000 bytes; an empty payload means: everything may have changed.
CREATE FUNCTION docsgate.tell(issuer text, subject text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify('docsgate_changed', CASE WHEN octet_length(payload) < 7900 THEN payload ELSE '' END)
    FROM (SELECT json_build_object('issuer', issuer, 'subject', subject)::text AS payload) AS told
$$;

CREATE FUNCTION docsgate.tell_member() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN PERFORM docsgate.tell(OLD.issuer, OLD.subject); END IF;
    IF TG_OP <> 'DELETE' THEN PERFORM docsgate.tell(NEW.issuer, NEW.subject); END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON docsgate.members
    FOR EACH ROW EXECUTE FUNCTION docsgate.tell_member();
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON docsgate.revoked_tokens
    FOR EACH ROW EXECUTE FUNCTION docsgate.tell_member();

CREATE FUNCTION docsgate.tell_dependent() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE told docsgate.members;
BEGIN
    FOR told IN SELECT * FROM docsgate.members AS m
        WHERE m.id IN (CASE WHEN TG_OP <> 'INSERT' THEN OLD.member_id END, CASE WHEN TG_OP <> 'DELETE' THEN NEW.member_id END)
    LOOP
        PERFORM docsgate.tell(told.issuer, told.subject);
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON docsgate.entitlements
    FOR EACH ROW EXECUTE FUNCTION docsgate.tell_dependent();
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON docsgate.api_keys
    FOR EACH ROW EXECUTE FUNCTION docsgate.tell_dependent();

CREATE FUNCTION docsgate.tell_everything() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('docsgate_changed', '');
    RETURN NULL;
END $$;
CREATE TRIGGER tell_truncate AFTER TRUNCATE ON docsgate.members
    FOR EACH STATEMENT EXECUTE FUNCTION docsgate.tell_everything();
CREATE TRIGGER tell_truncate AFTER TRUNCATE ON docsgate.entitlements
    FOR EACH STATEMENT EXECUTE FUNCTION docsgate.tell_everything();
CREATE TRIGGER tell_truncate AFTER TRUNCATE ON docsgate.api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION docsgate.tell_everything();
CREATE TRIGGER tell_truncate AFTER TRUNCATE ON docsgate.revoked_tokens
    FOR EACH STATEMENT EXECUTE FUNCTION docsgate.tell_everything();

-- What the portal calls --------------------------------------------------------------------------------------------
-- All are idempotent: calling one twice is calling it once. They run with the owner's rights, so the writer role needs
-- none on the tables.

CREATE FUNCTION docsgate.ensure_member(p_issuer text, p_subject text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE found_id bigint;
BEGIN
    INSERT INTO docsgate.members (issuer, subject) VALUES (p_issuer, p_subject) ON CONFLICT DO NOTHING;
    SELECT id INTO STRICT found_id FROM docsgate.members WHERE issuer = p_issuer AND subject = p_subject;
    RETURN found_id;
END $$;

-- Grants a feature from `starts` to `ends` (NULL: for ever). A plan of NULL leaves the plan as it is.
CREATE FUNCTION docsgate.grant(
    p_issuer text, p_subject text, p_feature text,
    p_plan text DEFAULT NULL, p_starts timestamptz DEFAULT NULL, p_ends timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE member bigint := docsgate.ensure_member(p_issuer, p_subject);
BEGIN
    IF p_plan IS NOT NULL THEN
        INSERT INTO docsgate.plans (name) VALUES (p_plan) ON CONFLICT DO NOTHING;
        UPDATE docsgate.members SET plan = p_plan WHERE id = member AND plan IS DISTINCT FROM p_plan;
    END IF;
    INSERT INTO docsgate.entitlements AS e (member_id, feature, starts_at, ends_at)
    VALUES (member, p_feature, coalesce(p_starts, now()), p_ends)
    ON CONFLICT (member_id, feature) DO UPDATE
        SET starts_at = coalesce(p_starts, LEAST(e.starts_at, now())), ends_at = p_ends;
    INSERT INTO docsgate.audit (action, issuer, subject, detail) VALUES ('grant', p_issuer, p_subject,
        jsonb_build_object('feature', p_feature, 'plan', p_plan, 'starts', p_starts, 'ends', p_ends));
END $$;

-- Takes a feature away, at once.
CREATE FUNCTION docsgate.revoke(p_issuer text, p_subject text, p_feature text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE gone boolean;
BEGIN
    DELETE FROM docsgate.entitlements AS e USING docsgate.members AS m
    WHERE m.id = e.member_id AND m.issuer = p_issuer AND m.subject = p_subject AND e.feature = p_feature;
    gone := FOUND;
    IF gone THEN
        INSERT INTO docsgate.audit (action, issuer, subject, detail)
        VALUES ('revoke', p_issuer, p_subject, jsonb_build_object('feature', p_feature));
    END IF;
    RETURN gone;
END $$;

-- Serves a member as an anonymous reader, until resumed.
CREATE FUNCTION docsgate.suspend(p_issuer text, p_subject text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM docsgate.ensure_member(p_issuer, p_subject);
    UPDATE docsgate.members SET suspended_at = now() WHERE issuer = p_issuer AND subject = p_subject AND suspended_at IS NULL;
    INSERT INTO docsgate.audit (action, issuer, subject) VALUES ('suspend', p_issuer, p_subject);
END $$;

CREATE FUNCTION docsgate.resume(p_issuer text, p_subject text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    UPDATE docsgate.members SET suspended_at = NULL WHERE issuer = p_issuer AND subject = p_subject AND suspended_at IS NOT NULL;
    INSERT INTO docsgate.audit (action, issuer, subject) VALUES ('resume', p_issuer, p_subject);
END $$;

-- Revokes one token by its `jti`, until it would have ended by itself.
CREATE FUNCTION docsgate.revoke_token(p_issuer text, p_subject text, p_token_id text, p_expires timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    DELETE FROM docsgate.revoked_tokens WHERE expires_at < now() - interval '1 day';
    INSERT INTO docsgate.revoked_tokens AS t (issuer, subject, token_id, expires_at)
    VALUES (p_issuer, p_subject, p_token_id, p_expires)
    ON CONFLICT (issuer, subject, token_id) DO UPDATE SET expires_at = GREATEST(t.expires_at, p_expires);
    INSERT INTO docsgate.audit (action, issuer, subject, detail)
    VALUES ('revoke_token', p_issuer, p_subject, jsonb_build_object('expires', p_expires));
END $$;

CREATE FUNCTION docsgate.create_api_key(
    p_id text, p_digest bytea, p_issuer text, p_subject text, p_label text DEFAULT '', p_expires timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO docsgate.api_keys (id, digest, member_id, label, expires_at)
    VALUES (p_id, p_digest, docsgate.ensure_member(p_issuer, p_subject), p_label, p_expires);
    INSERT INTO docsgate.audit (action, issuer, subject, detail)
    VALUES ('create_api_key', p_issuer, p_subject, jsonb_build_object('id', p_id, 'label', p_label, 'expires', p_expires));
END $$;

CREATE FUNCTION docsgate.revoke_api_key(p_id text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE gone boolean;
BEGIN
    UPDATE docsgate.api_keys SET revoked_at = now() WHERE id = p_id AND revoked_at IS NULL;
    gone := FOUND;
    IF gone THEN
        INSERT INTO docsgate.audit (action, detail) VALUES ('revoke_api_key', jsonb_build_object('id', p_id));
    END IF;
    RETURN gone;
END $$;

-- What authz asks --------------------------------------------------------------------------------------------------

-- One row, always. Times are seconds since the epoch; an absent end is NULL in the array.
CREATE FUNCTION docsgate.standing(p_issuer text, p_subject text) RETURNS TABLE (
    known boolean, suspended boolean, plan text,
    features text[], starts double precision[], ends double precision[], revoked_tokens text[]
) LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT m.id IS NOT NULL, m.suspended_at IS NOT NULL, m.plan,
        coalesce(e.features, '{}'), coalesce(e.starts, '{}'), coalesce(e.ends, '{}'),
        ARRAY(SELECT t.token_id FROM docsgate.revoked_tokens AS t
              WHERE t.issuer = p_issuer AND t.subject = p_subject AND t.expires_at > now() - interval '1 hour'
              ORDER BY t.expires_at DESC LIMIT 1000)
    FROM (VALUES (1)) AS one (n)
    LEFT JOIN docsgate.members AS m ON m.issuer = p_issuer AND m.subject = p_subject
    LEFT JOIN LATERAL (
        SELECT array_agg(x.feature ORDER BY x.feature) AS features,
            array_agg(extract(epoch FROM x.starts_at)::double precision ORDER BY x.feature) AS starts,
            array_agg(extract(epoch FROM x.ends_at)::double precision ORDER BY x.feature) AS ends
        FROM docsgate.entitlements AS x WHERE x.member_id = m.id
    ) AS e ON true
$$;

-- The key with this id: its digest and whom it stands for. No row: there is no such key.
CREATE FUNCTION docsgate.api_key(p_id text) RETURNS TABLE (digest bytea, usable boolean, ends double precision, issuer text, subject text)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT k.digest, k.revoked_at IS NULL, extract(epoch FROM k.expires_at)::double precision, m.issuer, m.subject
    FROM docsgate.api_keys AS k JOIN docsgate.members AS m ON m.id = k.member_id
    WHERE k.id = p_id
$$;

-- Rights -----------------------------------------------------------------------------------------------------------

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA docsgate FROM PUBLIC;
GRANT USAGE ON SCHEMA docsgate TO docsgate_reader, docsgate_writer;

GRANT SELECT ON docsgate.members, docsgate.entitlements, docsgate.api_keys, docsgate.revoked_tokens, docsgate.plans TO docsgate_reader;
GRANT EXECUTE ON FUNCTION docsgate.standing(text, text), docsgate.api_key(text) TO docsgate_reader;

GRANT SELECT ON docsgate.members, docsgate.entitlements, docsgate.plans, docsgate.revoked_tokens TO docsgate_writer;
GRANT SELECT (id, member_id, label, created_at, expires_at, revoked_at) ON docsgate.api_keys TO docsgate_writer;
GRANT EXECUTE ON FUNCTION
    docsgate.grant(text, text, text, text, timestamptz, timestamptz),
    docsgate.revoke(text, text, text),
    docsgate.suspend(text, text),
    docsgate.resume(text, text),
    docsgate.revoke_token(text, text, text, timestamptz),
    docsgate.create_api_key(text, bytea, text, text, text, timestamptz),
    docsgate.revoke_api_key(text)
TO docsgate_writer;

-- Every CA key that this authority has had.
CREATE TABLE issuer (
    key_id      TEXT    PRIMARY KEY,
    kind        TEXT    NOT NULL CHECK (kind IN ('root', 'intermediate')),
    certificate BLOB    NOT NULL,
    not_before  INTEGER NOT NULL,
    not_after   INTEGER NOT NULL,
    crl_number  INTEGER NOT NULL DEFAULT 0,
    crl         BLOB
) STRICT;

-- A row stands here before its certificate is signed; `certificate` and `thumbprint` follow.
CREATE TABLE certificate (
    serial      TEXT    PRIMARY KEY,
    issuer      TEXT    NOT NULL REFERENCES issuer (key_id),
    identity    TEXT    NOT NULL,
    issued_at   INTEGER NOT NULL,
    not_before  INTEGER NOT NULL,
    not_after   INTEGER NOT NULL,
    spki_sha256 TEXT    NOT NULL,
    thumbprint  TEXT,
    certificate BLOB,
    revoked_at  INTEGER,
    reason      TEXT,
    CHECK ((revoked_at IS NULL) = (reason IS NULL))
) STRICT;

CREATE INDEX certificate_by_identity ON certificate (identity, not_after);
CREATE INDEX certificate_by_issuer ON certificate (issuer, not_after);
CREATE INDEX certificate_revoked ON certificate (issuer, not_after) WHERE revoked_at IS NOT NULL;

-- What was done and what was refused; rows are added, never changed.
CREATE TABLE audit (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    act      TEXT    NOT NULL,
    outcome  TEXT    NOT NULL CHECK (outcome IN ('done', 'refused')),
    identity TEXT,
    serial   TEXT,
    detail   TEXT
) STRICT;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is never changed'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is never deleted'); END;

PRAGMA user_version = 1;

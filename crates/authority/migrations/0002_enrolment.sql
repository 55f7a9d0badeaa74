-- What a renewal repeats: the profile by name (the role's own where absent), and the names beside those of the profile,
-- separated by spaces (absent in rows that an older program wrote).
ALTER TABLE certificate ADD COLUMN profile TEXT;
ALTER TABLE certificate ADD COLUMN dns TEXT;
ALTER TABLE certificate ADD COLUMN ip TEXT;

-- One-time secrets, by their SHA-256. `spki_sha256` is the key that has redeemed it, `serial` what it got.
CREATE TABLE invite (
    id            TEXT    PRIMARY KEY,
    secret_sha256 TEXT    NOT NULL UNIQUE,
    identity      TEXT    NOT NULL,
    profile       TEXT,
    dns           TEXT    NOT NULL,
    ip            TEXT    NOT NULL,
    ttl           INTEGER,
    created_at    INTEGER NOT NULL,
    created_by    TEXT    NOT NULL,
    expires_at    INTEGER NOT NULL,
    used_at       INTEGER,
    spki_sha256   TEXT,
    serial        TEXT REFERENCES certificate (serial),
    CHECK ((used_at IS NULL) = (spki_sha256 IS NULL))
) STRICT;

CREATE INDEX invite_by_identity ON invite (identity, expires_at);

PRAGMA user_version = 2;

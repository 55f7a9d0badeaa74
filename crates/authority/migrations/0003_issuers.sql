-- Lists of certificates are asked for the newest first, a page at a time.
CREATE INDEX certificate_by_issuance ON certificate (issued_at DESC, serial);

-- An intermediate that is revoked stands on the root's list, until it has ended.
ALTER TABLE issuer ADD COLUMN revoked_at INTEGER;
ALTER TABLE issuer ADD COLUMN reason TEXT;

PRAGMA user_version = 3;

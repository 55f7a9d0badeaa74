-- Lists of certificates are asked for the newest first, a page at a time.
CREATE INDEX certificate_by_issuance ON certificate (issued_at DESC, serial);

PRAGMA user_version = 3;

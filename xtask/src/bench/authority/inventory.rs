//! Inventories that took years to fill, in a second: rows of certificates that nobody holds. Python's own SQLite writes them.

use std::path::Path;

use anyhow::Result;

use crate::command::Program;

/// So many rows beside those that are there, each with a serial of its own and the bytes of a real one.
pub(super) fn fill(ca: &Path, rows: usize) -> Result<()> {
    sqlite(&inventory(ca)?, &[&rows.to_string(), "0"])
}

/// So many revoked ones.
pub(super) fn revoke(ca: &Path, rows: usize) -> Result<()> {
    sqlite(&inventory(ca)?, &[&rows.to_string(), "1"])
}

/// The tables that cfssl expects.
pub(super) fn of_cfssl(file: &Path) -> Result<()> {
    python(CFSSL, file, &[])
}

fn sqlite(file: &Path, words: &[&str]) -> Result<()> {
    python(FILL, file, words)
}

fn python(script: &str, file: &Path, words: &[&str]) -> Result<()> {
    Program::new("python3").args(["-c", script]).args([file]).args(words).output().map(drop)
}

/// The one SQLite file of an authority's directory.
fn inventory(ca: &Path) -> Result<std::path::PathBuf> {
    let file = ca.join("inventory.sqlite");
    anyhow::ensure!(file.is_file(), "{} is not there", file.display());
    Ok(file)
}

const FILL: &str = "
import secrets, sqlite3, sys
base = sqlite3.connect(sys.argv[1], timeout=30)
rows, revoked = int(sys.argv[2]), int(sys.argv[3])
columns = [row[1] for row in base.execute('PRAGMA table_info(certificate)')]
model = dict(zip(columns, base.execute('SELECT * FROM certificate WHERE certificate IS NOT NULL LIMIT 1').fetchone()))
def another(number):
    row = dict(model, serial='41' + secrets.token_hex(15), identity=f'{model[\"identity\"]}-{number}')
    if revoked:
        row.update(revoked_at=model['issued_at'], reason='superseded')
    return [row[column] for column in columns]
with base:
    base.executemany(f'INSERT INTO certificate VALUES ({\",\".join(\"?\" * len(columns))})', map(another, range(rows)))
";

const CFSSL: &str = "
import sqlite3, sys
sqlite3.connect(sys.argv[1]).execute('''CREATE TABLE certificates (serial_number blob NOT NULL, authority_key_identifier blob NOT NULL,
ca_label blob, status blob NOT NULL, reason int, expiry timestamp, revoked_at timestamp, pem blob NOT NULL,
PRIMARY KEY(serial_number, authority_key_identifier))''')
";

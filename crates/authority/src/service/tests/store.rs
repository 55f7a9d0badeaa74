//! What happens where the inventory cannot be written.

use sqlx::{Connection as _, Executor as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::*;

pub(super) async fn raw(estate: &Estate) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(estate.fixture.path().join("inventory.sqlite"));
    SqliteConnection::connect_with(&options).await.unwrap()
}

pub(super) async fn sql(estate: &Estate, statement: &str) {
    raw(estate).await.execute(statement).await.unwrap();
}

//! Keys and credentials.

use async_trait::async_trait;
use hallpass_session::time::Seconds;
use sqlx::{SqliteConnection, SqlitePool};

use super::revocation::advance_head;
use super::rows::{read_credential, read_key, stored, stored_time};
use super::{Now, Work, unavailable};
use crate::store::{CredentialRow, KeyKind, KeyRow, StoreError};

/// Keys to add where there are none.
pub(super) struct AddFirstKeys(pub(super) Vec<KeyRow>);

#[async_trait]
impl Work for AddFirstKeys {
    type Output = ();

    async fn run(&self, tx: &mut SqliteConnection) -> Result<(), StoreError> {
        for key in &self.0 {
            let any = sqlx::query("SELECT 1 FROM keys WHERE kind = ?")
                .bind(key.kind.name())
                .fetch_optional(&mut *tx)
                .await
                .map_err(unavailable)?;
            if any.is_none() {
                insert_key(tx, key).await?;
            }
        }
        Ok(())
    }
}

/// A change of the session keys is a change of the list's `kids` and takes a number.
async fn insert_key(tx: &mut SqliteConnection, key: &KeyRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO keys (kind, kid, alg, public_jwk, secret, sealed, check_value, \
               created_at, signs_from) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    sqlx::query(sql)
        .bind(key.kind.name())
        .bind(&key.kid)
        .bind(&key.alg)
        .bind(key.public_jwk.as_ref())
        .bind(&key.secret)
        .bind(i64::from(key.sealed))
        .bind(&key.check_value[..])
        .bind(stored_time(key.created_at))
        .bind(stored_time(key.signs_from))
        .execute(&mut *tx)
        .await
        .map_err(unavailable)?;
    if key.kind == KeyKind::Session {
        advance_head(tx).await?;
    }
    Ok(())
}

/// A token lifetime now in use.
pub(super) struct NoteTokenLifetime(pub(super) Seconds);

#[async_trait]
impl Work for NoteTokenLifetime {
    type Output = ();

    async fn run(&self, tx: &mut SqliteConnection) -> Result<(), StoreError> {
        let sql =
            "UPDATE issuance SET longest_token_secs = MAX(longest_token_secs, ?) WHERE id = 1";
        sqlx::query(sql)
            .bind(stored(self.0.get()))
            .execute(tx)
            .await
            .map(drop)
            .map_err(unavailable)
    }
}

/// A credential to add.
pub(super) struct AddCredential(pub(super) CredentialRow);

#[async_trait]
impl Work for AddCredential {
    type Output = ();

    async fn run(&self, tx: &mut SqliteConnection) -> Result<(), StoreError> {
        let sql = "INSERT INTO credentials (id, scope, name, digest, created_at) \
                   VALUES (?, ?, ?, ?, ?)";
        sqlx::query(sql)
            .bind(&self.0.id)
            .bind(&self.0.scope)
            .bind(&self.0.name)
            .bind(&self.0.digest[..])
            .bind(stored_time(self.0.created_at))
            .execute(tx)
            .await
            .map(drop)
            .map_err(unavailable)
    }
}

/// A credential to revoke.
pub(super) struct RevokeCredential {
    pub(super) id: String,
    pub(super) now: Now,
}

#[async_trait]
impl Work for RevokeCredential {
    type Output = bool;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<bool, StoreError> {
        let sql = "UPDATE credentials SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL";
        let done = sqlx::query(sql)
            .bind(stored_time(self.now.read()))
            .bind(&self.id)
            .execute(tx)
            .await
            .map_err(unavailable)?;
        Ok(done.rows_affected() == 1)
    }
}

pub(super) async fn keys(pool: &SqlitePool) -> Result<Vec<KeyRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM keys ORDER BY kind, created_at, kid")
        .fetch_all(pool)
        .await
        .map_err(unavailable)?;
    rows.iter().map(read_key).collect()
}

pub(super) async fn credentials(pool: &SqlitePool) -> Result<Vec<CredentialRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM credentials ORDER BY created_at, id")
        .fetch_all(pool)
        .await
        .map_err(unavailable)?;
    rows.iter().map(read_credential).collect()
}

pub(super) async fn find_credential(
    pool: &SqlitePool,
    digest: &[u8; 32],
) -> Result<Option<CredentialRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM credentials WHERE digest = ? AND revoked_at IS NULL")
        .bind(&digest[..])
        .fetch_optional(pool)
        .await
        .map_err(unavailable)?;
    row.as_ref().map(read_credential).transpose()
}

//! Keys and credentials.

use async_trait::async_trait;
use hallpass_session::time::Seconds;
use serde_json::json;

use super::Now;
use super::key_changes::write_key;
use super::lane::Work;
use super::pool::Pool;
use super::rows::{read_credential, read_key};
use super::statement::Statement;
use super::transaction::Transaction;
use crate::store::{CredentialRow, KeyRow, StoreError};

/// Keys to add where there are none.
pub(super) struct AddFirstKeys(pub(super) Vec<KeyRow>);

#[async_trait]
impl Work for AddFirstKeys {
    type Output = ();

    const REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), StoreError> {
        static ANY: Statement = Statement::new("SELECT 1 FROM keyring WHERE kind = $1 LIMIT 1");
        for key in &self.0 {
            if tx.optional(ANY.bind(key.kind.name())).await?.is_none() {
                write_key(tx, key).await?;
                tx.advance_for_key().await?;
            }
        }
        Ok(())
    }
}

/// A token lifetime now in use.
pub(super) struct NoteTokenLifetime(pub(super) Seconds);

#[async_trait]
impl Work for NoteTokenLifetime {
    type Output = ();

    const REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), StoreError> {
        tx.note_token_lifetime(self.0);
        Ok(())
    }
}

/// A credential to add.
pub(super) struct AddCredential(pub(super) CredentialRow);

#[async_trait]
impl Work for AddCredential {
    type Output = ();

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), StoreError> {
        static INSERT: Statement = Statement::new(
            "INSERT INTO credentials (id, scope, name, digest, created_at) \
             VALUES ($1, $2, $3, $4, $5)",
        );
        let new = &self.0;
        let insert = INSERT.bind(&new.id).bind(&new.scope).bind(&new.name);
        let insert = insert.bind(&new.digest).bind(new.created_at);
        tx.execute(insert).await?;
        let detail = json!({"scope": new.scope, "name": new.name});
        tx.audit("create_credential", Some(new.id.clone()), detail)
            .await
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

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<bool, StoreError> {
        static REVOKE: Statement = Statement::new(
            "UPDATE credentials SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL",
        );
        let revoke = REVOKE.bind(self.now.read()).bind(&self.id);
        let is_revoked = tx.execute(revoke).await? == 1;
        if is_revoked {
            tx.audit("revoke_credential", Some(self.id.clone()), json!({}))
                .await?;
        }
        Ok(is_revoked)
    }
}

pub(super) async fn keys(pool: &Pool) -> Result<Vec<KeyRow>, StoreError> {
    static KEYS: Statement = Statement::new("SELECT * FROM keyring ORDER BY kind, created_at, kid");
    let rows = pool.connection().await?.get().all(KEYS.plain()).await?;
    rows.iter().map(read_key).collect()
}

pub(super) async fn credentials(pool: &Pool) -> Result<Vec<CredentialRow>, StoreError> {
    static CREDENTIALS: Statement =
        Statement::new("SELECT * FROM credentials ORDER BY created_at, id");
    let rows = pool
        .connection()
        .await?
        .get()
        .all(CREDENTIALS.plain())
        .await?;
    rows.iter().map(read_credential).collect()
}

pub(super) async fn find_credential(
    pool: &Pool,
    digest: &[u8; 32],
) -> Result<Option<CredentialRow>, StoreError> {
    static FIND: Statement =
        Statement::new("SELECT * FROM credentials WHERE digest = $1 AND revoked_at IS NULL");
    let mut connection = pool.connection().await?;
    let row = connection.get().optional(FIND.bind(digest)).await?;
    row.as_ref().map(read_credential).transpose()
}

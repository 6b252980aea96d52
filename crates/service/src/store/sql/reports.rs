//! What processes tell each other of their edges.
//!
//! One row per process, which ends by the database's own clock: so no two machines' are compared.

use async_trait::async_trait;
use hallpass_session::time::Seconds;
use hallpass_session::wire::Position;
use sqlx::any::AnyRow;

use super::lane::Work;
use super::pool::Pool;
use super::rows::{bytes, number, text};
use super::statement::Statement;
use super::transaction::{Connection, Transaction};
use crate::store::{Report, StoreError};

/// A report to write in place of the process's last one.
pub(super) struct WriteReport {
    pub(super) process: String,
    pub(super) report: Report,
    pub(super) lasting: Seconds,
}

#[async_trait]
impl Work for WriteReport {
    type Output = ();

    const REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), StoreError> {
        self.write(tx).await
    }
}

impl WriteReport {
    /// Writes it, and forgets reports that count no more.
    pub(super) async fn write(&self, connection: &mut Connection<'_>) -> Result<(), StoreError> {
        static FORGET: Statement = Statement::new("DELETE FROM processes WHERE counts_until <= $1");
        static WRITE: Statement = Statement::differing(
            "INSERT INTO processes (id, epoch, seq, bound_ms, edges, counts_until) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO UPDATE SET \
             epoch = excluded.epoch, seq = excluded.seq, bound_ms = excluded.bound_ms, \
             edges = excluded.edges, counts_until = excluded.counts_until",
            "INSERT INTO processes (id, epoch, seq, bound_ms, edges, counts_until) \
             VALUES ($1, $2, $3, $4, $5, $6) ON DUPLICATE KEY UPDATE \
             epoch = VALUES(epoch), seq = VALUES(seq), bound_ms = VALUES(bound_ms), \
             edges = VALUES(edges), counts_until = VALUES(counts_until)",
        );
        let now = connection.second().await?;
        connection.execute(FORGET.bind(now)).await?;
        let Report {
            newest,
            bound_ms,
            edges,
        } = &self.report;
        let write = WRITE.bind(&self.process).bind(&newest.epoch);
        let write = write.bind(newest.to).bind(*bound_ms).bind(encode(edges));
        let until = now.saturating_add(self.lasting.get());
        connection.execute(write.bind(until)).await?;
        Ok(())
    }
}

/// What each process but `process` says.
pub(super) async fn read(pool: &Pool, process: &str) -> Result<Vec<Report>, StoreError> {
    static READ: Statement = Statement::new(
        "SELECT epoch, seq, bound_ms, edges FROM processes WHERE id <> $1 AND counts_until > $2",
    );
    let mut connection = pool.connection().await?;
    let mut connection = connection.get();
    let now = connection.second().await?;
    let rows = connection.all(READ.bind(process).bind(now)).await?;
    rows.iter().map(read_report).collect()
}

fn read_report(row: &AnyRow) -> Result<Report, StoreError> {
    Ok(Report {
        newest: Position {
            epoch: text(row, "epoch")?,
            to: number(row, "seq")?,
        },
        bound_ms: number(row, "bound_ms")?,
        edges: decode(&bytes(row, "edges")?).ok_or(StoreError::Damaged("edges"))?,
    })
}

/// Sixteen bytes for each edge: its digest and its number, big-endian.
fn encode(edges: &[(u64, u64)]) -> Vec<u8> {
    let bytes = edges.iter().flat_map(|(edge, has)| [*edge, *has]);
    bytes.flat_map(u64::to_be_bytes).collect()
}

fn decode(bytes: &[u8]) -> Option<Vec<(u64, u64)>> {
    let (pairs, rest) = bytes.as_chunks::<16>();
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let pair = |pair: &[u8; 16]| {
        let (edge, has) = pair.split_at(8);
        (number(edge), number(has))
    };
    rest.is_empty().then(|| pairs.iter().map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn decode_reads_what_encode_wrote_and_nothing_cut() {
        let edges = vec![(0, 0), (1, u64::MAX), (u64::MAX, 7)];
        let bytes = encode(&edges);
        assert_eq!(bytes.len(), 48);
        assert_eq!(decode(&bytes), Some(edges));
        assert_eq!(decode(&bytes[..47]), None);
        assert_eq!(decode(&[]), Some(Vec::new()));
    }
}

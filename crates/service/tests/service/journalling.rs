//! The journal on a disk that does not do its part: revocations are in force all the same.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::batches::{FIREFOX, Fixture, SIGNED_OUT, journalled, sid, text};
use hallpass_service::journal::Journal;
use hallpass_service::record::SessionRecord;
use hallpass_service::store::{Renewal, Selection, Store};
use tokio::net::unix::pipe;

async fn end(table: &Fixture, number: u8) {
    let session = Selection::Session(sid(number));
    let revoked = table.store.revoke(session, SIGNED_OUT).await.unwrap();
    assert_eq!(revoked.revoked, 1);
    assert!(found(table, number).await.revocation.is_some());
}

async fn found(table: &Fixture, number: u8) -> SessionRecord {
    table.store.find(sid(number)).await.unwrap().unwrap()
}

fn failures(table: &Fixture) -> u64 {
    table.store.journal().unwrap().failures()
}

/// What is wrong with a journal's disk.
#[derive(Clone, Copy)]
enum Trouble {
    /// It has no room.
    Full,
    /// Nothing can be made on it.
    Gone,
}

impl Trouble {
    fn begin(self, folder: &Path) {
        match self {
            Self::Full => {
                std::fs::create_dir(folder).unwrap();
                std::os::unix::fs::symlink("/dev/full", folder.join("journal")).unwrap();
            }
            Self::Gone => std::fs::write(folder, "").unwrap(),
        }
    }

    fn end(self, folder: &Path) {
        match self {
            Self::Full => std::fs::remove_file(folder.join("journal")).unwrap(),
            Self::Gone => {
                std::fs::remove_file(folder).unwrap();
                std::fs::create_dir(folder).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn revocation_is_in_force_though_its_journal_cannot_be_written() {
    for trouble in [Trouble::Full, Trouble::Gone] {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        let file = disk.join("journal");
        trouble.begin(&disk);
        let table = Fixture::in_folder(folder, Journal::at(&file), 2).await;

        end(&table, 1).await;
        assert_eq!(failures(&table), 1);

        trouble.end(&disk);
        end(&table, 2).await;
        assert_eq!(failures(&table), 1);
        let sids: Vec<_> = journalled(&file).into_iter().flat_map(|(_, s)| s).collect();
        assert_eq!(
            sids,
            [text(2)],
            "what ended meanwhile is in the table alone"
        );
    }
}

#[tokio::test]
async fn disk_that_hangs_holds_up_no_renewal_and_no_revocation_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let made = Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    // A pipe that nobody empties takes no more once it is full, like a disk that hangs.
    let pipe = pipe::OpenOptions::new()
        .read_write(true)
        .open_sender(&file)
        .unwrap();
    pipe.writable().await.unwrap();
    while pipe.try_write(&[b'\n'; 512]).is_ok() {}
    let table = Arc::new(Fixture::in_folder(folder, Journal::at(&file), 3).await);

    let mut ending = Vec::new();
    for number in [1, 2] {
        let table = Arc::clone(&table);
        ending.push(tokio::spawn(async move { end(&table, number).await }));
    }
    while found(&table, 2).await.revocation.is_none() {
        tokio::task::yield_now().await;
    }
    let renewed = table.renew(3, (1, 7), FIREFOX).await;
    assert!(matches!(renewed, Ok(Renewal::Answer { .. })));
    assert_eq!(failures(&table), 0, "both wait for the journal still");
    for ended in ending {
        ended.await.unwrap();
    }
    assert!(failures(&table) > 0);

    // What still writes must end before the test can.
    let pipe = pipe::OpenOptions::new().open_receiver(&file).unwrap();
    pipe.readable().await.unwrap();
    let mut read = vec![0; 64 << 10];
    while pipe.try_read(&mut read).is_ok() {}
}

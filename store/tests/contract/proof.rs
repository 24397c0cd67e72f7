//! The journal proves itself against whoever can write to the database.

use super::bench::{CHAIN, Database, Kind, Node, operator, signer, started};
use models::ts::Ts;
use ring::signature::{Ed25519KeyPair, KeyPair};
use store::BadRow;

/// Eight rows and a checkpoint over the first six.
async fn journal(database: &Database) -> Node {
    let node = database.open().await;
    for n in 0..6u16 {
        node.commit(vec![operator(n, &format!("code-{n}"))], Vec::new()).await.expect("stored");
    }
    assert_eq!(node.store.sign_checkpoint(&signer(), Ts(5)).await.expect("a checkpoint"), Some(6));
    node.commit(vec![started(6), started(7)], Vec::new()).await.expect("stored");
    let report = node.verify().await;
    assert_eq!((report.rows, report.checkpoints, report.first_bad), (8, 1, None));
    database.break_open().await;
    node
}

async fn first_bad(node: &Node) -> Option<i64> {
    node.verify().await.first_bad.map(|BadRow { seq, .. }| seq)
}

/// Every byte of every column of three rows, one after the other.
pub async fn any_flipped_byte_of_the_journal_is_named(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = journal(&database).await;
    for seq in [1, 4, 8] {
        for (column, as_text) in [("payload", true), ("kind", true), ("payload_digest", false), ("digest", false)] {
            let read = match (as_text, kind) {
                (true, Kind::Postgres) => format!("SELECT convert_to({column}, 'UTF8') FROM journal WHERE seq = {seq}"),
                (true, Kind::Sqlite) => format!("SELECT CAST({column} AS BLOB) FROM journal WHERE seq = {seq}"),
                (false, _) => format!("SELECT {column} FROM journal WHERE seq = {seq}"),
            };
            let write = format!("UPDATE journal SET {column} = $1 WHERE seq = {seq}");
            let original = database.bytes(&read).await;
            for place in 0..original.len() {
                let mut flipped = original.clone();
                flipped[place] ^= 1;
                database.run_with(&write, &flipped, as_text).await.expect("the attack succeeds");
                assert_eq!(first_bad(&node).await, Some(seq), "byte {place} of {column} in row {seq}");
            }
            database.run_with(&write, &original, as_text).await.expect("as it was");
            assert_eq!(first_bad(&node).await, None, "{column} of row {seq} is as it was");
        }
        for bit in [0, 20, 40, 62] {
            let flip = format!("UPDATE journal SET at = at + {0} WHERE seq = {seq}", 1i64 << bit);
            database.run(&flip).await.expect("the attack succeeds");
            assert_eq!(first_bad(&node).await, Some(seq), "bit {bit} of the time in row {seq}");
            database.run(&flip.replace("at + ", "at - ")).await.expect("as it was");
        }
    }
    assert_eq!(first_bad(&node).await, None);
    node.stop().await;
}

pub async fn a_missing_a_swapped_and_a_cut_off_row_are_named(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = journal(&database).await;
    let swap = ["SET seq = -1 WHERE seq = 3", "SET seq = 3 WHERE seq = 4", "SET seq = 4 WHERE seq = -1"];
    for step in swap {
        database.run(&format!("UPDATE journal {step}")).await.expect("the attack succeeds");
    }
    assert_eq!(first_bad(&node).await, Some(3), "two rows changed places");
    for step in swap {
        database.run(&format!("UPDATE journal {step}")).await.expect("as it was");
    }
    assert_eq!(first_bad(&node).await, None);

    database.run("UPDATE journal SET seq = 100 WHERE seq = 5").await.expect("the attack succeeds");
    assert_eq!(first_bad(&node).await, Some(5), "a row is missing in the middle");
    database.run("UPDATE journal SET seq = 5 WHERE seq = 100").await.expect("as it was");
    database.run("DELETE FROM journal WHERE seq = 8").await.expect("the attack succeeds");
    assert_eq!(first_bad(&node).await, Some(8), "the head knows of the last row");
    // with the head set back as well, the signed checkpoint still knows how far the journal went
    let digest = database.bytes("SELECT digest FROM journal WHERE seq = 5").await;
    database.run("DELETE FROM journal WHERE seq > 5").await.expect("the attack succeeds");
    database
        .run_with("UPDATE journal_head SET seq = 5, digest = $1", &digest, false)
        .await
        .expect("the attack succeeds");
    assert_eq!(first_bad(&node).await, Some(6), "the checkpoint covers a row that is gone");
    node.stop().await;
}

pub async fn a_forged_checkpoint_is_named(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = journal(&database).await;
    let forger = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).expect("a seed of 32 bytes");
    assert_eq!(node.store.sign_checkpoint(&forger, Ts(9)).await.expect("a checkpoint"), Some(8));
    assert_eq!(first_bad(&node).await, Some(8), "signed by somebody else");
    let theirs = node.store.verify_journal(&CHAIN, forger.public_key().as_ref()).await.expect("the walk ends");
    assert_eq!(theirs.first_bad.map(|b| b.seq), Some(6), "and under that key ours is the stranger");
    let wrong = node.store.verify_journal(&[8; 32], signer().public_key().as_ref()).await.expect("the walk ends");
    assert_eq!(wrong.first_bad.map(|b| b.seq), Some(1), "without the chain's key nothing fits");
    node.stop().await;
}

pub async fn the_journal_takes_no_change(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    node.commit(vec![started(1)], Vec::new()).await.expect("stored");
    node.store.sign_checkpoint(&signer(), Ts(5)).await.expect("a checkpoint");
    for table in ["journal", "journal_checkpoints"] {
        for change in [format!("UPDATE {table} SET at = 0"), format!("DELETE FROM {table}")] {
            let refused = database.run(&change).await.expect_err(&change).to_string();
            assert!(refused.contains("append-only"), "{refused}");
        }
        assert_eq!(database.int(&format!("SELECT COUNT(*) FROM {table}")).await, 1);
    }
    if kind == Kind::Postgres {
        assert!(database.run("TRUNCATE journal").await.is_err());
    }
    node.stop().await;
}

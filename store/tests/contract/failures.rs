//! The database fails: gone in the middle of a commit, full, not syncing.

use super::bench::{Database, Kind, commit, operator, started};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use store::{CommitError, OpenError, OpenOptions, Store, StoreError};

/// Backends are ended at any point of a commit; whoever heard "stored" is there once, and nobody is there twice.
pub async fn commits_of_unknown_outcome_are_neither_lost_nor_doubled() {
    const KILLS: usize = 60;
    let database = Database::fresh(Kind::Postgres).await;
    let node = database.open().await;
    let (killing, next) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let committers: Vec<_> = (0..8)
        .map(|_| {
            let (writer, killing, next) = (node.writer.clone(), Arc::clone(&killing), Arc::clone(&next));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                while killing.load(Ordering::Acquire) {
                    let n = next.fetch_add(1, Ordering::AcqRel);
                    match commit(writer.clone(), vec![started(n)], Vec::new()).await {
                        Ok(_) => acknowledged.push(n),
                        Err(CommitError::Unavailable) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                acknowledged
            })
        })
        .collect();
    let mut killed = 0;
    while killed < KILLS as i64 {
        let sql = "SELECT COUNT(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mlinzi' AND datname = current_database() AND state <> 'idle') k";
        killed += database.int(sql).await;
        tokio::task::yield_now().await;
    }
    killing.store(false, Ordering::Release);
    let mut acknowledged = Vec::new();
    for committer in committers {
        acknowledged.extend(committer.await.expect("no panic"));
    }
    assert!(!acknowledged.is_empty(), "something is stored between two kills");
    let payloads = database.texts("SELECT payload FROM journal ORDER BY seq").await;
    for n in &acknowledged {
        let boot = format!("\"{n:08x}\"");
        assert_eq!(payloads.iter().filter(|p| p.contains(&boot)).count(), 1, "acknowledged {n}");
    }
    let distinct: std::collections::HashSet<_> = payloads.iter().collect();
    assert_eq!(distinct.len(), payloads.len(), "something is stored twice");
    assert_eq!(node.verify().await.first_bad, None);
    // what was committed is published, too, whatever its committer heard
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while node.heard.gapless_from(1) < payloads.len() as i64 {
        assert!(std::time::Instant::now() < end, "{:?} of {}", node.heard.groups().last(), payloads.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    node.stop().await;
}

/// A database that neither answers nor fails: whoever waits hears so, and what was given up leaves no transaction behind
/// that somebody else could commit or wait for.
pub async fn a_database_that_hangs_leaves_nothing_behind(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open_with(Duration::from_secs(1)).await;
    node.commit(vec![started(1)], Vec::new()).await.expect("stored");
    for round in 0..2 {
        let held = database.hold().await;
        let given_up = node.commit(vec![operator(1 + round, "given-up")], Vec::new()).await;
        assert_eq!(given_up.err(), Some(CommitError::Unavailable));
        held.release().await;
    }
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while let Err(error) = node.commit(vec![operator(1, "after")], Vec::new()).await {
        assert!(std::time::Instant::now() < end, "writing does not go on: {error}");
    }
    assert_eq!(database.texts("SELECT code FROM operators").await, ["after"], "no row without its journal row");
    assert_eq!(database.int("SELECT COUNT(*) FROM journal").await, 2);
    if kind == Kind::Postgres {
        let open = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'mlinzi' AND state LIKE 'idle in transaction%'";
        assert_eq!(database.int(open).await, 0);
    }
    assert_eq!(node.verify().await.first_bad, None);
    node.stop().await;
}

/// The claim goes with its session: it is taken anew, unless somebody else was faster.
pub async fn a_lost_claim_is_taken_anew_or_found_taken() {
    let database = Database::fresh(Kind::Postgres).await;
    let open = || async { Store::open(&database.url, &OpenOptions::default()).await.expect("the store opens") };
    let (one, other) = (open().await, open().await);
    one.claim().await.expect("nobody else runs");
    let end_session = "SELECT COUNT(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) t";
    assert_eq!(database.int(end_session).await, 1);
    one.keep_claim().await.expect("taken anew");
    one.keep_claim().await.expect("it stands");
    // a session that hangs holds the lock all the same: that is not another engine
    let pid = database.int("SELECT pid::bigint FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())").await;
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &pid.to_string()]).status();
        // an ordinary user's server runs under the user's own name
        assert!(sent.is_ok_and(|s| s.success()), "the server's process takes {name}");
    };
    signal("-STOP");
    let hangs = one.keep_claim().await;
    signal("-CONT");
    assert!(!matches!(hangs, Err(StoreError::Claimed)), "{hangs:?}");
    one.keep_claim().await.expect("it stands again");
    assert!(matches!(other.claim().await, Err(StoreError::Claimed)));
    assert_eq!(database.int(end_session).await, 1);
    other.claim().await.expect("it was faster");
    assert!(matches!(one.keep_claim().await, Err(StoreError::Claimed)));
    for store in [one, other] {
        store.close().await;
    }
}

pub async fn a_server_that_does_not_sync_is_refused() {
    let server = testkit::Postgres::private();
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        let database = Database::postgres(&server).await;
        database.run(&format!("ALTER SYSTEM SET {setting} = off")).await.expect("the setting is taken");
        server.kill9();
        server.start();
        let refused = Store::open(&database.url, &OpenOptions::default()).await.err();
        assert!(
            matches!(&refused, Some(OpenError::NotSynced(what)) if what.contains(setting)),
            "{setting}: {refused:?}"
        );
        let unsafe_ = OpenOptions { allow_unsafe_durability: true, ..OpenOptions::default() };
        Store::open(&database.url, &unsafe_).await.expect("told so, it opens").close().await;
        let database = Database::postgres(&server).await;
        database.run(&format!("ALTER SYSTEM RESET {setting}")).await.expect("the setting is taken back");
        server.kill9();
        server.start();
    }
}

/// A small disk of one's own; needs root, as mounting does.
struct SmallDisk {
    path: PathBuf,
    _dir: testkit::TempDir,
}

impl SmallDisk {
    fn mount(mib: u32) -> Option<Self> {
        let dir = testkit::temp_dir();
        let path = dir.path().join("disk");
        std::fs::create_dir(&path).expect("a folder");
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        mounted.is_ok_and(|out| out.status.success()).then_some(Self { path, _dir: dir })
    }

    fn grow(&self, mib: u32) {
        let size = format!("remount,size={mib}m");
        let grown = Command::new("mount").args(["-o", &size]).arg(&self.path).status().expect("mount runs");
        assert!(grown.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // lazily: the database may still hold files
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

pub async fn a_full_disk_refuses_cleanly_and_writing_goes_on_when_there_is_space(kind: Kind) {
    let Some(disk) = SmallDisk::mount(24) else {
        // an ordinary user cannot mount a small disk
        assert_ne!(id(), "0", "root can mount a small disk");
        return;
    };
    let server;
    let database = match kind {
        Kind::Sqlite => Database::sqlite(format!("sqlite:{}", disk.path.join("m.sqlite").display()), None).await,
        Kind::Postgres => {
            server = testkit::Postgres::private();
            let own =
                Command::new("chown").arg("-R").arg("postgres").arg(disk.path.parent().expect("a folder")).status();
            assert!(own.is_ok_and(|s| s.success()), "the server may use the disk");
            Database::postgres_on(&server, &disk.path).await
        }
    };
    let node = database.open().await;
    let big = |n: usize| {
        let mut event = vec![started(n)];
        if let models::event::Event::EngineStarted { version, .. } = &mut event[0] {
            // what cannot be compressed
            let mut chance = n as u64 + 1;
            let digits = std::iter::repeat_with(|| {
                chance = chance.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                format!("{:08x}", chance >> 32)
            });
            *version = digits.take(12_500).collect();
        }
        event
    };
    let mut stored = 0;
    let refused = loop {
        match node.commit(big(stored), Vec::new()).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 2_000, "the disk does not fill");
    };
    assert_eq!(refused, CommitError::Unavailable);
    assert_eq!(database.int("SELECT COUNT(*) FROM journal").await, stored as i64, "nothing of it is there");
    assert_eq!(node.verify().await.first_bad, None);
    disk.grow(200);
    node.commit(big(stored), Vec::new()).await.expect("there is space again");
    assert_eq!(database.int("SELECT COUNT(*) FROM journal").await, stored as i64 + 1);
    assert_eq!(node.heard.gapless_from(1), stored as i64 + 1);
    assert_eq!(node.verify().await.first_bad, None);
    node.stop().await;
}

fn id() -> String {
    let out = Command::new("id").arg("-u").output().expect("id runs");
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

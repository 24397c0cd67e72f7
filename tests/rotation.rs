//! Keys are rotated beside the running program, under load and through `kill -9`, on both stores: no lookup fails, nobody
//! who is excluded is told otherwise, and what is retired is told apart from what never was.

#[path = "rotation/market.rs"]
mod market;
mod program;

use market::{Market, status_of};
use serde_json::json;
use std::time::Duration;

/// Enough that a rotation takes some seconds.
const PEOPLE: usize = 10_000;

async fn vault(store: &str) {
    let mut market = Market::open(store, PEOPLE).await;
    assert_eq!(market.wait_for("vault", 0, "ready").await["in_force"], true);
    market.push_a_bad_record().await;
    market.ask_some().await;
    let sealed = market.version("vault", 0).await["holds"].as_u64().expect("a number");
    assert!(sealed as usize > PEOPLE, "people, keys, months and a record: {sealed}");

    let load = market.load();
    market.keys(&["rotate", "vault"]);
    assert!(market.refused(&["rotate", "vault"]).contains("vault key version 1 is"));
    market.halfway("vault").await;
    assert!(market.refused(&["rotate", "vault", "--retire", "0"]).contains("yet"));
    market.kill(load).await;
    let load = market.load();
    let now = market.wait_for("vault", 1, "ready").await;
    assert_eq!(market.version("vault", 0).await["holds"], 0);
    assert!(now["holds"].as_u64().expect("a number") >= sealed);
    assert!(market.refused(&["rotate", "vault", "--retire", "1"]).contains("in force"));
    market.keys(&["rotate", "vault", "--retire", "0"]);
    market.wait_for("vault", 0, "retired").await;
    load.end().await;
    assert_eq!(market.versions_in_file("vault"), [1], "the old key is gone from the file");

    // everything opens without it: signing secrets at the start, months at an export, people at the next rotation
    market.restart().await;
    market.everybody_is_found().await;
    market.export();
    market.keys(&["rotate", "vault"]);
    market.wait_for("vault", 2, "ready").await;
    assert_eq!(market.version("vault", 1).await["holds"], 0);
    market.end();
}

async fn digest(store: &str) {
    let mut market = Market::open(store, PEOPLE).await;
    market.wait_for("digest", 0, "ready").await;
    let old = market.token_of(7).await;
    let load = market.load();
    market.keys(&["rotate", "digest"]);
    market.halfway("digest").await;
    assert!(market.refused(&["rotate", "digest", "--retire", "0"]).contains("in force"));
    market.kill(load).await;
    let load = market.load();
    let now = market.wait_for("digest", 1, "ready").await;
    assert_eq!((&now["left_behind"], &now["in_force"]), (&json!(0), &json!(true)));
    let new = market.until(async || Some(market.token_of(7).await).filter(|new| *new != old)).await;
    market.everybody_is_found().await;
    for token in [&old, &new] {
        let (status, answer) = market.ask(json!({"bst": token, "purpose": "login"})).await;
        assert_eq!((status, &answer["decision"]), (200, &json!("block")), "both versions find the person");
    }
    // who was there is known, by document and by phone, also after the old key went
    assert_eq!(market.register(7).await, 200);
    market.keys(&["rotate", "digest", "--retire", "0"]);
    let gone = json!({"bst": old, "purpose": "login"});
    market.until(async || (market.ask(gone.clone()).await.0 == 410).then_some(())).await;
    market.until(async || (market.version("digest", 0).await["holds"] == 0).then_some(())).await;
    load.end().await;
    assert_eq!(market.register(8).await, 200);
    assert_eq!(market.version("digest", 0).await["holds"], 0, "nobody is written under it any more");
    assert_eq!(market.versions_in_file("digest"), [1], "the old key is gone from the file");
    market.everybody_is_found().await;
    market.restart().await;
    market.everybody_is_found().await;
    assert_eq!(market.ask(gone).await.0, 410);
    assert_eq!(market.ask(json!({"bst": new, "purpose": "login"})).await.0, 200);
    market.end();
}

/// What no vault row leads to holds a rotation up, and everybody is found meanwhile, until a person gives it up.
async fn left_behind(store: &str) {
    let market = Market::open(store, 30).await;
    market.wait_for("digest", 0, "ready").await;
    market.sql("DELETE FROM vault WHERE person_no = 3").await;
    market.keys(&["rotate", "digest"]);
    market.until(async || market.log().contains("2 match keys cannot be derived").then_some(())).await;
    assert!(market.log().contains("of the people 3"), "{}", market.log());
    assert_eq!(market.version("digest", 1).await["state"], "started");
    market.everybody_is_found().await;
    assert!(market.refused(&["rotate", "digest", "--leave-behind", "1"]).contains("2 match keys"));
    market.everybody_is_found().await;
    market.keys(&["rotate", "digest", "--leave-behind", "2"]);
    assert_eq!(market.wait_for("digest", 1, "ready").await["left_behind"], 2);
    let lost = json!({"phone": program::phone(10_000_003), "purpose": "login"});
    market.until(async || (market.ask(lost.clone()).await.1["decision"] == "allow").then_some(())).await;
    let kept = json!({"phone": program::phone(10_000_004), "purpose": "login"});
    assert_eq!(market.ask(kept).await.1["decision"], "block");
    market.end();
}

/// As older releases had it done: no version is journaled yet, and a line was added under the next number.
#[tokio::test]
async fn keys_added_by_hand_before_an_upgrade_are_taken_over() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    let market = Market::open_edited(&store, 300, |keys| {
        for (purpose, digit) in [("digest", "a"), ("vault", "b")] {
            let table = keys[purpose].as_table_mut().expect("a table");
            table.insert("1".to_owned(), digit.repeat(64).into());
        }
    });
    let market = market.await;
    market.everybody_is_found().await;
    for purpose in ["digest", "vault"] {
        assert_eq!(market.wait_for(purpose, 1, "ready").await["in_force"], true);
    }
    assert_eq!(market.version("vault", 0).await["holds"], 0);
    assert_eq!(market.version("digest", 1).await["holds"], 600);
    market.everybody_is_found().await;
    for purpose in ["digest", "vault"] {
        market.keys(&["rotate", purpose, "--retire", "0"]);
    }
    market.until(async || (market.version("digest", 0).await["holds"] == 0).then_some(())).await;
    market.everybody_is_found().await;
    market.end();
}

/// Four numbers are used again, and none of them while a token of the old key would open.
#[tokio::test]
async fn a_number_is_used_again_only_behind_its_tokens() {
    let dir = testkit::temp_dir();
    let market = Market::open(&testkit::sqlite_url(&dir), 20).await;
    let oldest = market.token_of(5).await;
    for version in 1..=3 {
        market.keys(&["rotate", "digest"]);
        market.wait_for("digest", version, "ready").await;
        market.keys(&["rotate", "digest", "--retire", &(version - 1).to_string()]);
    }
    assert!(market.refused(&["rotate", "digest"]).contains("rotate the token key"));
    market.keys(&["rotate", "token"]);
    market.wait_for("token", 1, "ready").await;
    assert!(market.refused(&["rotate", "digest"]).contains("rotate the token key"));
    market.keys(&["rotate", "token", "--retire", "0"]);
    market.until(async || (market.version("digest", 0).await["holds"] == 0).then_some(())).await;
    market.keys(&["rotate", "digest"]);
    market.wait_for("digest", 0, "ready").await;
    market.everybody_is_found().await;
    // its number is live again, its key is not
    assert_eq!(market.ask(json!({"bst": oldest, "purpose": "login"})).await.0, 410);
    market.end();
}

async fn token(store: &str) {
    let mut market = Market::open(store, 50).await;
    market.wait_for("token", 0, "ready").await;
    let old = market.token_of(7).await;
    let load = market.load();
    market.keys(&["rotate", "token"]);
    market.wait_for("token", 1, "ready").await;
    let new = market.until(async || Some(market.token_of(7).await).filter(|new| *new != old)).await;
    for token in [&old, &new] {
        let (status, answer) = market.ask(json!({"bst": token, "purpose": "login"})).await;
        assert_eq!((status, &answer["decision"]), (200, &json!("block")), "both are understood");
    }
    market.keys(&["rotate", "token", "--retire", "0"]);
    let gone = json!({"bst": old, "purpose": "login"});
    market.until(async || (market.ask(gone.clone()).await.0 == 410).then_some(())).await;
    load.end().await;
    market.restart().await;
    assert_eq!(market.ask(gone).await.0, 410, "gone is not invented, also after a restart");
    assert_eq!(market.ask(json!({"bst": new, "purpose": "login"})).await.0, 200);
    let strange = market.other_operators_token(7).await;
    assert_eq!(market.ask(json!({"bst": strange, "purpose": "login"})).await.0, 422);
    market.end();
}

/// What the provider brings is not taken over where it does not fit; what was in force goes on.
#[tokio::test]
async fn keys_that_do_not_fit_change_nothing() {
    let dir = testkit::temp_dir();
    let mut market = Market::open(&testkit::sqlite_url(&dir), 5).await;
    market.wait_for("digest", 0, "ready").await;
    let good = market.key_file();
    market.write_key_file("nonsense");
    tokio::time::sleep(Duration::from_secs(3)).await;
    market.everybody_is_found().await;
    assert!(market.log().contains("cannot be used; those before go on"), "{}", market.log());
    // another key under a number in use would find nobody
    let other = good.replacen(&good[good.find("0 = ").expect("a key")..][..14], "0 = \"deadbeef0", 1);
    assert_ne!(other, good);
    market.write_key_file(&other);
    tokio::time::sleep(Duration::from_secs(3)).await;
    market.everybody_is_found().await;
    assert!(market.log().contains("is another key than the one in use"), "{}", market.log());
    market.stop();
    assert!(status_of(&market.refused_start()).contains("is another key than the one in use"));
    market.write_key_file(&good);
    market.restart().await;
    market.everybody_is_found().await;
    market.end();
}

#[tokio::test]
async fn the_vault_key_is_rotated_on_sqlite() {
    let dir = testkit::temp_dir();
    vault(&testkit::sqlite_url(&dir)).await;
}

#[tokio::test]
async fn the_vault_key_is_rotated_on_postgres() {
    let database = testkit::Postgres::shared().database().await;
    vault(&database.url).await;
}

#[tokio::test]
async fn the_token_key_is_rotated_on_sqlite() {
    let dir = testkit::temp_dir();
    token(&testkit::sqlite_url(&dir)).await;
}

#[tokio::test]
async fn the_token_key_is_rotated_on_postgres() {
    let database = testkit::Postgres::shared().database().await;
    token(&database.url).await;
}

#[tokio::test]
async fn the_digest_key_is_rotated_on_sqlite() {
    let dir = testkit::temp_dir();
    digest(&testkit::sqlite_url(&dir)).await;
}

#[tokio::test]
async fn the_digest_key_is_rotated_on_postgres() {
    let database = testkit::Postgres::shared().database().await;
    digest(&database.url).await;
}

#[tokio::test]
async fn what_cannot_be_derived_is_given_up_by_a_person_on_sqlite() {
    let dir = testkit::temp_dir();
    left_behind(&testkit::sqlite_url(&dir)).await;
}

#[tokio::test]
async fn what_cannot_be_derived_is_given_up_by_a_person_on_postgres() {
    let database = testkit::Postgres::shared().database().await;
    left_behind(&database.url).await;
}

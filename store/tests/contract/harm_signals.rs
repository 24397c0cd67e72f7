//! Signs of harm that operators were told of.

use super::bench::{Database, Kind};
use models::alert::Severity;
use models::event::Event;
use models::harm_signal::{HarmSignal, NamedBy, SignalSource, id_of};
use models::ids::{HarmSignalId, OperatorNo};
use models::match_key::{KeyKind, MatchKey};
use models::ts::Ts;
use store::{Attachment, Contact, ContactRows, HarmSignalQuery};

fn told(no: u16, player: u128, since: i64, revision: u32) -> HarmSignal {
    let (operator_no, player, since) = (OperatorNo(no), MatchKey(player), Ts(since));
    HarmSignal {
        id: id_of(operator_no, player, since),
        operator_no,
        player,
        named: None,
        records: vec!["d1".to_owned()],
        level: Severity::High,
        since,
        source: SignalSource::Model { version: 3 },
        answered_at: (revision > 1).then(|| Ts(since.0 + i64::from(revision))),
        revision,
    }
}

fn set(signal: &HarmSignal) -> Event {
    Event::HarmSignalSet(Box::new(signal.clone()))
}

pub async fn signs_of_harm_stand_as_they_were_told_last(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let all = [told(1, 7, 10, 1), told(1, 7, 20, 1), told(1, 8, 20, 1), told(2, 7, 30, 1)];
    node.commit(all.iter().map(set).collect(), Vec::new()).await.expect("stored");
    // answered, answered earlier; and what was told before is told once more by whoever did not know
    let (second, third) = (told(1, 7, 10, 2), told(1, 7, 10, 3));
    node.commit(vec![set(&second), set(&third)], Vec::new()).await.expect("stored");
    node.commit(vec![set(&all[0])], Vec::new()).await.expect("stored");
    let store = &node.store;
    assert_eq!(store.harm_signal(all[0].id).await.expect("read"), Some(third.clone()));
    assert_eq!(store.harm_signal(HarmSignalId(1)).await.expect("read"), None);
    let many: Vec<HarmSignalId> = (0..40).map(HarmSignalId).chain(all.iter().map(|signal| signal.id)).collect();
    let revisions = store.harm_signal_revisions(&many).await.expect("read");
    assert_eq!(revisions.len(), 4);
    assert_eq!((revisions[&all[0].id], revisions[&all[1].id]), (3, 1));
    assert!(store.harm_signal_revisions(&[]).await.expect("read").is_empty());

    // the newest first, page by page
    let query = HarmSignalQuery { operator: OperatorNo(1), from: Ts(0), behind: None, limit: 2 };
    let first = store.harm_signals(&query).await.expect("read");
    let mut of_twenty = [all[1].clone(), all[2].clone()];
    of_twenty.sort_by_key(|signal| std::cmp::Reverse(signal.id.to_string()));
    assert_eq!(first, of_twenty);
    let behind = first.last().map(|last| (last.since, last.id));
    assert_eq!(
        store.harm_signals(&HarmSignalQuery { behind, ..query }).await.expect("read"),
        std::slice::from_ref(&third)
    );
    let recent = HarmSignalQuery { from: Ts(11), limit: 9, ..query };
    assert_eq!(store.harm_signals(&recent).await.expect("read"), of_twenty);

    // by what the operator itself has asked its token is made; by what somebody else has asked nothing is
    let phone = NamedBy { kind: KeyKind::Phone, digest_version: 2 };
    let contact = |no, key, last, named| Contact {
        key: MatchKey(key),
        operator_no: OperatorNo(no),
        first_at: Ts(1),
        last_at: Ts(last),
        named,
    };
    let unknown = NamedBy { kind: KeyKind::Passport, digest_version: 1 };
    for (last, named) in [(5, unknown), (6, phone)] {
        let contacts = vec![contact(1, 7, last, named), contact(2, 8, last, named)];
        let rows = ContactRows { contacts, ..ContactRows::default() };
        node.commit(Vec::new(), vec![Attachment::Contacts(rows)]).await.expect("stored");
    }
    let all_of = HarmSignalQuery { limit: 9, ..query };
    let keys: Vec<MatchKey> = (0..40).map(MatchKey).collect();
    // operator | whom it can be named to by what it has asked
    for (no, wanted) in [(1, vec![(MatchKey(7), phone)]), (2, vec![(MatchKey(8), phone)]), (3, Vec::new())] {
        let named = store.contacts_named(OperatorNo(no), &keys).await.expect("read");
        assert_eq!(named.into_iter().collect::<Vec<_>>(), wanted, "{no}");
    }
    assert!(store.contacts_named(OperatorNo(1), &[]).await.expect("read").is_empty());
    let named = store.harm_signals(&all_of).await.expect("read");
    assert!(named.iter().all(|signal| signal.named == (signal.player == MatchKey(7)).then_some(phone)), "{named:?}");
    node.stop().await;
}

//! The log of notices: what is kept of it, in which order it is read, what may change.

use super::bench::{Database, Kind, Node, operator, started};
use models::alert::Severity;
use models::ids::NoticeId;
use models::jurisdiction::JurisdictionNo;
use models::notice::{Notice, NoticeKind, NoticeState};
use models::ts::{DAY, SECOND, Ts};
use store::{Attachment, CommitError, NoticeMarks, NoticePlace, NoticeQuery, NoticeRow, StoredNotice};

const NOW: Ts = Ts(1_800_000_000 * SECOND);

fn notice(id: u128, group: &str, kind: NoticeKind, at: Ts) -> Notice {
    let mut notice = Notice::test(NoticeId(id), "x", JurisdictionNo(u8::from(group == "other")), at);
    notice.kind = kind;
    notice.group = group.to_owned();
    // a beginning before its end
    notice.number = u32::from(kind == NoticeKind::Resolved);
    notice.severity = Severity::High;
    notice
}

fn row(channel: &str, notice: &Notice) -> NoticeRow {
    NoticeRow { channel: channel.to_owned(), notice: notice.clone() }
}

async fn put(node: &Node, rows: Vec<NoticeRow>) {
    node.commit(Vec::new(), vec![Attachment::Notices(rows)]).await.expect("stored");
}

async fn mark(node: &Node, stored: &StoredNotice, state: NoticeState, next_at: Ts) {
    let mut mark = stored.mark(state, NOW, (state != NoticeState::Sent).then(|| "answered 500".to_owned()));
    mark.attempts += 1;
    mark.first_try_at = Some(NOW);
    mark.next_at = next_at;
    let marks = NoticeMarks { marks: vec![mark], forget: None };
    node.commit(Vec::new(), vec![Attachment::NoticeMarks(marks)]).await.expect("marked");
}

async fn due(node: &Node, now: Ts) -> Vec<u128> {
    let due = node.store.due_notices("mail", now, 100).await.expect("read");
    due.iter().map(|n| n.notice.id.0).collect()
}

pub async fn a_notice_is_stored_once_a_channel_and_with_its_reason_or_not_at_all(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let first = notice(1, "a", NoticeKind::Raised, NOW);
    let rows = vec![row("mail", &first), row("sms", &first)];
    node.commit(vec![operator(1, "taken")], vec![Attachment::Notices(rows.clone())]).await.expect("stored");
    let stored = node.store.notice(NoticeId(1)).await.expect("read");
    assert_eq!(
        stored.iter().map(|n| (n.channel.as_str(), n.state)).collect::<Vec<_>>(),
        [("mail", NoticeState::Pending), ("sms", NoticeState::Pending)]
    );
    assert_eq!((&stored[0].notice, stored[0].attempts, stored[0].next_at), (&first, 0, NOW));

    mark(&node, &stored[0], NoticeState::Sent, NOW).await;
    // the same cause found again, with other words and twice in one commit
    let again = Notice { title: "other words".to_owned(), ..first.clone() };
    put(&node, vec![row("mail", &again), row("sms", &again), row("mail", &again)]).await;
    let after = node.store.notice(NoticeId(1)).await.expect("read");
    assert_eq!(after[0].state, NoticeState::Sent);
    assert_eq!((after[0].sent_at, after[0].attempts, &after[0].last_error), (Some(NOW), 1, &None));
    assert!(after.len() == 2 && after.iter().all(|n| n.notice == first), "{after:?}");

    // what is sent is sent, whoever marks it late
    mark(&node, &after[0], NoticeState::Failed, NOW).await;
    assert_eq!(node.store.notice(NoticeId(1)).await.expect("read")[0].state, NoticeState::Sent);

    let second = notice(2, "b", NoticeKind::Raised, NOW);
    let (reason, rows) = (vec![started(1), operator(2, "taken")], vec![row("mail", &second)]);
    let refused = node.commit(reason, vec![Attachment::Notices(rows)]).await;
    assert!(matches!(refused, Err(CommitError::Conflict { .. })), "{refused:?}");
    assert_eq!(node.store.notice(NoticeId(2)).await.expect("read"), []);
    node.stop().await;
}

pub async fn notices_are_due_in_order_and_none_before_the_beginning_of_its_group(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let at = |seconds| NOW.plus(seconds * SECOND);
    put(
        &node,
        vec![
            row("mail", &notice(9, "a", NoticeKind::Raised, at(0))),
            // in the order of their numbers, whatever their ids, and though the clock was set back in between
            row("mail", &notice(3, "a", NoticeKind::Resolved, at(-5))),
            row("mail", &notice(5, "b", NoticeKind::Raised, at(1))),
            row("sms", &notice(4, "b", NoticeKind::Raised, at(0))),
            row("mail", &notice(1, "b", NoticeKind::Resolved, at(2))),
            row("mail", &notice(7, "c", NoticeKind::Raised, at(60))),
        ],
    )
    .await;
    assert_eq!(due(&node, at(2)).await, [9, 5]);
    assert_eq!(due(&node, at(60)).await, [9, 5, 7], "what is made later is due later");

    let rows = node.store.due_notices("mail", at(60), 100).await.expect("read");
    mark(&node, &rows[0], NoticeState::Pending, at(300)).await;
    mark(&node, &rows[1], NoticeState::Sent, NOW).await;
    assert_eq!(due(&node, at(60)).await, [1, 7], "one group waits, the others go on");
    assert_eq!(due(&node, at(300)).await, [9, 1, 7]);
    let retried = node.store.notice(NoticeId(9)).await.expect("read").remove(0);
    assert_eq!((retried.attempts, retried.first_try_at, retried.next_at), (1, Some(NOW), at(300)));
    assert_eq!(retried.last_error.as_deref(), Some("answered 500"));
    mark(&node, &retried, NoticeState::Failed, NOW).await;
    assert_eq!(due(&node, at(60)).await, [3, 1, 7]);
    assert_eq!(node.store.due_notices("mail", at(60), 1).await.expect("read").len(), 1);

    let mut waiting = node.store.waiting_notices().await.expect("read");
    waiting.sort_by(|a, b| a.channel.cmp(&b.channel));
    let waiting: Vec<_> = waiting.into_iter().map(|w| (w.channel, w.count, w.oldest_at)).collect();
    assert_eq!(waiting, [("mail".to_owned(), 3, at(-5)), ("sms".to_owned(), 1, at(0))]);
    let pending = node.store.pending_notices("mail", 2).await.expect("read");
    assert_eq!(pending.iter().map(|n| n.notice.id.0).collect::<Vec<_>>(), [3, 1]);
    node.stop().await;
}

pub async fn the_log_is_read_newest_first_page_by_page(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let channels = ["in_app", "mail", "sms"];
    for id in 1..=20 {
        let group = if id % 5 == 0 { "other" } else { "mine" };
        let made = notice(id, group, NoticeKind::Raised, NOW.plus(i64::try_from(id / 3).expect("small") * SECOND));
        put(&node, channels.iter().map(|channel| row(channel, &made)).collect()).await;
    }
    for stored in node.store.due_notices("sms", NOW.plus(DAY), 100).await.expect("read") {
        mark(&node, &stored, NoticeState::Dropped, NOW).await;
    }
    let mine = JurisdictionNo(0);
    let read = async |state: Option<NoticeState>, channel: Option<&str>, limit: u32| {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let query = NoticeQuery {
                jurisdiction: mine,
                state,
                channel: channel.map(str::to_owned),
                after: after.take(),
                limit,
            };
            let page = node.store.notices(&query).await.expect("a page");
            let Some(last) = page.last() else { return seen };
            after = Some(NoticePlace { at: last.notice.at, id: last.notice.id, channel: last.channel.clone() });
            seen.extend(page.iter().map(|n| (n.notice.id.0, n.channel.clone())));
        }
    };
    let expected: Vec<(u128, String)> = (1..=20u128)
        .rev()
        .filter(|id| id % 5 != 0)
        .flat_map(|id| channels.iter().rev().map(move |channel| (id, (*channel).to_owned())))
        .collect();
    for limit in [1, 7, 100] {
        assert_eq!(read(None, None, limit).await, expected, "{limit} at once");
    }
    assert_eq!(read(None, Some("mail"), 5).await.len(), 16);
    // of each group only its first was due
    assert_eq!(read(Some(NoticeState::Dropped), None, 5).await, [(1, "sms".to_owned())]);
    assert_eq!(read(Some(NoticeState::Pending), Some("sms"), 5).await.len(), 15);
    let told = node.store.notified_channels("mine").await.expect("read");
    assert_eq!(told, channels);
    assert_eq!(node.store.notified_channels("nobody's").await.expect("read"), [""; 0]);
    node.stop().await;
}

pub async fn the_log_forgets_what_is_old_and_nothing_that_waits(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    assert_eq!(node.store.oldest_notice().await.expect("read"), None);
    for id in 1..=6 {
        let at = NOW.plus(-i64::try_from(id).expect("small") * DAY);
        put(&node, vec![row("mail", &notice(id, &id.to_string(), NoticeKind::Raised, at))]).await;
    }
    for stored in node.store.due_notices("mail", NOW, 100).await.expect("read") {
        if stored.notice.id != NoticeId(4) {
            mark(&node, &stored, NoticeState::Sent, NOW).await;
        }
    }
    let forget = async |most| {
        let marks = NoticeMarks { marks: Vec::new(), forget: Some((NOW.plus(-2 * DAY), most)) };
        node.commit(Vec::new(), vec![Attachment::NoticeMarks(marks)]).await.expect("forgotten");
        database.int("SELECT COUNT(*) FROM notices").await
    };
    assert_eq!(node.store.oldest_notice().await.expect("read"), Some(NOW.plus(-6 * DAY)));
    assert_eq!(forget(1).await, 5, "the oldest one");
    assert_eq!(node.store.notice(NoticeId(6)).await.expect("read"), []);
    assert_eq!(forget(100).await, 3, "neither the younger ones nor the one that waits");
    assert_eq!(due(&node, NOW).await, [4]);
    node.stop().await;
}

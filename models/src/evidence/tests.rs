//! Blocks give back what was put in, and every changed bit is found.

use super::rows::{DECISIONS, GRADES, ROUTES, STATUSES};
use super::*;
use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair};

const CHAIN: ChainId = ChainId { node: 3, boot: 0xdead_beef, worker: 1 };

fn signer() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap()
}

fn record(n: u64) -> LookupRecord {
    let pick = n as usize;
    LookupRecord {
        row: Row {
            at: Ts(1_795_255_200_000_000 + n as i64 * 7),
            credential: Credential {
                key: KeyId(u128::from(n % 5) << 64 | 9),
                operator_no: (!n.is_multiple_of(5)).then_some(OperatorNo(n as u16 % 5)),
                jurisdiction: JurisdictionNo(n as u8 % 2),
            },
            basis: Basis { as_of: Ts(n as i64 / 10), register_version: n as i64 / 20, degraded: n.is_multiple_of(40) },
            purpose: Purpose::ALL[pick % 7],
            status: STATUSES[pick % 4],
            decision: DECISIONS[pick % 3],
            grade: GRADES[pick % 4],
            route: ROUTES[pick % 3],
            token_key_version: n as u8,
            reference: n * n,
        },
        subject: Subject {
            kind: KeyKind::ALL[pick % 7],
            digest_version: n as u8 & 3,
            generation: n as u8 & 7,
            key: MatchKey(u128::from(n) << 20),
        },
    }
}

fn block(records: u64) -> (Block, Vec<LookupRecord>, MonthKey) {
    let records: Vec<_> = (0..records).map(record).collect();
    let month = MonthKey::new(202_611, &[7; 32]);
    (seal(CHAIN, 11, [1; 32], &records, &further(records.len()), &month, &signer()).unwrap(), records, month)
}

/// Of every third lookup two further keys.
fn further(records: usize) -> Vec<Further> {
    let two = |slot: usize| [slot, slot].into_iter().enumerate();
    let one = |(n, slot): (usize, usize)| Further { slot: slot as u16, subject: record((slot * 7 + n) as u64).subject };
    (0..records).step_by(3).flat_map(two).map(one).collect()
}

#[test]
fn a_block_gives_back_what_was_put_in() {
    for count in [1, 2, 100, BLOCK_RECORDS_MAX as u64] {
        let (block, records, month) = block(count);
        let rows: Vec<Row> = records.iter().map(|r| r.row).collect();
        assert_eq!(block.rows().unwrap(), rows);
        let subjects: Vec<Subject> = records.iter().map(|r| r.subject).collect();
        assert_eq!(block.people(&month).unwrap(), People { subjects, further: further(records.len()) });
        assert_eq!(block.verify(&[1; 32], signer().public_key().as_ref()), Ok(()));
    }
    let records: Vec<_> = (0..BLOCK_RECORDS_MAX as u64).map(record).collect();
    let month = MonthKey::new(202_611, &[7; 32]);
    let block = seal(CHAIN, 11, [1; 32], &records, &[], &month, &signer()).unwrap();
    let bytes = (block.rows.len() + block.people.len()) / BLOCK_RECORDS_MAX;
    assert!(bytes <= 40, "{bytes} bytes a record");
}

#[test]
fn one_flipped_bit_anywhere_is_found() {
    let (good, _, month) = block(20);
    let key = signer().public_key().as_ref().to_vec();
    let sound = |b: &Block| b.verify(&[1; 32], &key).is_ok();
    assert!(sound(&good));
    for i in 0..good.rows.len() * 8 {
        let mut bad = good.clone();
        bad.rows[i / 8] ^= 1 << (i % 8);
        assert!(!sound(&bad), "rows bit {i}");
    }
    for i in 0..good.people.len() * 8 {
        let mut bad = good.clone();
        bad.people[i / 8] ^= 1 << (i % 8);
        assert!(!sound(&bad) && bad.people(&month).is_err(), "people bit {i}");
    }
    for i in 0..64 * 8 {
        let mut bad = good.clone();
        bad.signature[i / 8] ^= 1 << (i % 8);
        assert!(!sound(&bad), "signature bit {i}");
        let mut bad = good.clone();
        bad.digest[i / 8 % 32] ^= 1 << (i % 8);
        assert!(!sound(&bad));
        let mut bad = good.clone();
        bad.before[i / 8 % 32] ^= 1 << (i % 8);
        assert!(!sound(&bad));
    }
    let heads: [fn(&mut BlockHead); 8] = [
        |h| h.chain.node ^= 1,
        |h| h.chain.boot ^= 1,
        |h| h.chain.worker ^= 1,
        |h| h.no ^= 1,
        |h| h.first_at.0 ^= 1,
        |h| h.last_at.0 ^= 1,
        |h| h.records ^= 1,
        |h| h.month ^= 1,
    ];
    for (i, change) in heads.into_iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad.head);
        assert!(!sound(&bad) && bad.people(&month).is_err(), "head field {i}");
    }
}

/// Blocks of before further keys were kept have none.
#[test]
fn every_key_of_a_lookup_is_kept_and_none_is_needed() {
    let (block, records, month) = block(5);
    let people = block.people(&month).unwrap();
    let keys = |slot| people.of(slot).collect::<Vec<_>>();
    assert_eq!(keys(3), [records[3].subject, record(21).subject, record(22).subject]);
    assert_eq!((keys(1), keys(5)), (vec![records[1].subject], vec![]));
    let plain = seal(CHAIN, 11, [1; 32], &records, &[], &month, &signer()).unwrap();
    assert_eq!(plain.people(&month).unwrap().further, []);
    let too_many = vec![Further { slot: 0, subject: records[0].subject }; 11];
    assert_eq!(seal(CHAIN, 11, [1; 32], &records, &too_many, &month, &signer()), Err(BlockError::Unreadable));
    let elsewhere = [Further { slot: 5, subject: records[0].subject }];
    let block = seal(CHAIN, 11, [1; 32], &records, &elsewhere, &month, &signer()).unwrap();
    assert_eq!(block.people(&month), Err(BlockError::Sealed));
}

#[test]
fn another_key_of_the_month_opens_nothing() {
    let (block, ..) = block(3);
    assert_eq!(block.people(&MonthKey::new(202_611, &[8; 32])), Err(BlockError::Sealed));
}

#[test]
fn months_are_of_utc() {
    assert_eq!(month_of(Ts::parse("2026-11-30T23:59:59.999Z").unwrap()), 202_611);
    assert_eq!(month_of(Ts::parse("2026-12-01T00:00:00Z").unwrap()), 202_612);
}

proptest! {
    #[test]
    fn an_id_is_a_place(node: u16, boot: u32, worker: u16, block in 0u64..1 << 48, slot: u16) {
        let place = Place { chain: ChainId { node, boot, worker }, block, slot };
        prop_assert_eq!(Place::of(place.id()), place);
        prop_assert_eq!(Place::of(place.id().to_string().parse().unwrap()), place);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, records in 0u32..8) {
        let _ = rows(&bytes, records);
    }
}

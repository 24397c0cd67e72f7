//! Evidence: any bytes are read as rows or refused, a block gives back what was sealed, and one changed bit is found.

#![no_main]

use std::sync::LazyLock;

use arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use models::evidence::{
    BLOCK_RECORDS_MAX, Basis, Block, ChainId, Credential, Further, LookupRecord, MonthKey, People, Route, Row, Subject,
    month_of, rows, seal,
};
use models::exclusion::Status;
use models::ids::{KeyId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::lookup::{Decision, MatchGrade, Purpose};
use models::match_key::{KeyKind, MATCH_KEY_BITS, MatchKey};
use models::ts::Ts;
use ring::signature::{Ed25519KeyPair, KeyPair};

static SIGNER: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[5; 32]).expect("a seed"));

#[derive(Debug)]
enum Case<'a> {
    /// Bytes as they may lie in a damaged store or a forged export.
    Bytes { records: u32, bytes: &'a [u8] },
    /// Records, and a bit to be flipped afterwards.
    Sealed { chain: ChainId, no: u64, before: [u8; 32], records: Vec<LookupRecord>, flip: u32 },
}

impl<'a> Arbitrary<'a> for Case<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        if u.arbitrary()? {
            return Ok(Self::Bytes { records: u.arbitrary()?, bytes: u.bytes(u.len())? });
        }
        let chain = ChainId { node: u.arbitrary()?, boot: u.arbitrary()?, worker: u.arbitrary()? };
        let (no, before, flip) = (u.arbitrary()?, u.arbitrary()?, u.arbitrary()?);
        let mut records = vec![record(u)?];
        while !u.is_empty() && records.len() < 64 {
            records.push(record(u)?);
        }
        Ok(Self::Sealed { chain, no, before, records, flip })
    }
}

fn record(u: &mut Unstructured<'_>) -> Result<LookupRecord> {
    // few credentials and bases: most rows share theirs
    let credential = Credential {
        key: KeyId(u128::from(u.arbitrary::<u8>()? % 4) << 120 | 1),
        operator_no: Some(u.arbitrary::<u16>()?).filter(|no| *no != 0).map(OperatorNo),
        jurisdiction: JurisdictionNo(u.arbitrary()?),
    };
    let basis = Basis {
        as_of: Ts(u.arbitrary()?),
        register_version: i64::from(u.arbitrary::<i16>()?),
        degraded: u.arbitrary()?,
    };
    let row = Row {
        at: Ts(u.arbitrary()?),
        credential,
        basis,
        purpose: *u.choose(&Purpose::ALL)?,
        status: *u.choose(&[Status::NotExcluded, Status::PreviouslyExcluded, Status::Review, Status::Excluded])?,
        decision: *u.choose(&[Decision::Allow, Decision::Hold, Decision::Block])?,
        grade: *u.choose(&[MatchGrade::None, MatchGrade::Possible, MatchGrade::Strong, MatchGrade::Exact])?,
        route: *u.choose(&[Route::Single, Route::Batch, Route::Register])?,
        token_key_version: u.arbitrary()?,
        reference: u.arbitrary()?,
    };
    Ok(LookupRecord { row, subject: subject(u)? })
}

fn subject(u: &mut Unstructured<'_>) -> Result<Subject> {
    Ok(Subject {
        kind: *u.choose(&KeyKind::ALL)?,
        digest_version: u.arbitrary::<u8>()? & 3,
        generation: u.arbitrary::<u8>()? & 7,
        key: MatchKey(u.arbitrary::<u128>()? & ((1 << MATCH_KEY_BITS) - 1)),
    })
}

fuzz_target!(|case: Case<'_>| match case {
    Case::Bytes { records, bytes } => {
        // the number stands beside the bytes: as told, and as the bytes would have it
        for records in [records, records % 64, (bytes.len() / 24) as u32] {
            let Ok(read) = rows(bytes, records) else { continue };
            assert_eq!(read.len(), records as usize);
            if (1..=BLOCK_RECORDS_MAX).contains(&read.len()) {
                let somebody = Subject { kind: KeyKind::Phone, digest_version: 0, generation: 0, key: MatchKey(7) };
                let records: Vec<_> = read.into_iter().map(|row| LookupRecord { row, subject: somebody }).collect();
                round_trip(ChainId { node: 0, boot: 0, worker: 0 }, 0, [0; 32], &records);
            }
        }
    }
    Case::Sealed { chain, no, before, records, flip } => {
        let block = round_trip(chain, no, before, &records);
        assert!(damaged(block, flip).verify(&before, SIGNER.public_key().as_ref()).is_err(), "a flipped bit is found");
    }
});

fn round_trip(chain: ChainId, no: u64, before: [u8; 32], records: &[LookupRecord]) -> Block {
    let month = MonthKey::new(month_of(records[0].row.at), &[7; 32]);
    // every record was asked by another key, too, as far as its own says so
    let asked_twice = |(slot, record): (usize, &LookupRecord)| {
        let twice = record.subject.generation & 1 == 1;
        twice.then_some(Further { slot: slot as u16, subject: record.subject })
    };
    let further: Vec<Further> = records.iter().enumerate().filter_map(asked_twice).collect();
    let block = seal(chain, no, before, records, &further, &month, &SIGNER).expect("from one to 4,096 records");
    let (rows, subjects): (Vec<Row>, Vec<Subject>) = records.iter().map(|r| (r.row, r.subject)).unzip();
    assert_eq!(block.rows(), Ok(rows));
    assert_eq!(block.people(&month), Ok(People { subjects, further }));
    assert_eq!(block.verify(&before, SIGNER.public_key().as_ref()), Ok(()));
    block
}

/// The block with one bit flipped, in whatever part `flip` falls into.
fn damaged(mut block: Block, flip: u32) -> Block {
    let mut bit = flip as usize / 5;
    let bytes: &mut [u8] = match flip % 5 {
        0 => &mut block.rows,
        1 => &mut block.people,
        2 => &mut block.before,
        3 => &mut block.digest,
        _ => &mut block.signature,
    };
    bit %= bytes.len() * 8;
    bytes[bit / 8] ^= 1 << (bit % 8);
    block
}

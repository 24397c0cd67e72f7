//! How slots, cells and nodes pack their meaning into words. Bits, lowest first:
//!
//! | word | bits |
//! |---|---|
//! | slot value | person 28, chained 0, bits of the key 35 |
//! | slot value, chained (several people, or one until some minute) | head node 28, chained 1, bits of the key 35 |
//! | sharer | person 32, until minute 28 |
//! | decision | status 3, risk band 3, split 1, –, generation 8, jurisdictions 16, lapse second 32 |
//! | decision, split | –, split 1, –, generation 8, –, head node 32 |
//! | informative | effective second 32, period 8, generation 4, document tag 20 |
//! | informative, extended | node 32, –, document tag = 1 |
//! | document tag | digest bits 15, digest version 2, kind 3 |
//!
//! Side nodes: key of several people `[sharer, next, –]`; split person `[decision, informative, next]`; extended
//! person `[informative, documents, –]`; documents `[three tags, three tags, next]`.

use models::exclusion::Status;
use models::match_key::{DIGEST_VERSION_MAX, KeyKind, MatchKey};

/// What the register decides of a person in a set of jurisdictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PersonState {
    /// The jurisdictions it holds for, a bit each (`JurisdictionNo::mask`).
    pub jurisdictions: u16,
    /// Status until it lapses.
    pub status: Status,
    /// Second since the epoch from which `Excluded` reads as `PreviouslyExcluded`; 0 = does not lapse.
    pub lapse_second: u32,
    /// Risk band, 0–7; 0 = unknown.
    pub risk_band: u8,
    /// Second since the epoch at which the exclusion took effect; 0 = none.
    pub effective_second: u32,
    /// `Period::code`; 0 = none.
    pub period_code: u8,
}

impl PersonState {
    /// A known person without any exclusion.
    pub const NOT_EXCLUDED: Self = Self {
        jurisdictions: u16::MAX,
        status: Status::NotExcluded,
        lapse_second: 0,
        risk_band: 0,
        effective_second: 0,
        period_code: 0,
    };

    pub(super) fn fits(&self) -> bool {
        self.risk_band < 8
    }
}

/// What goes with a decision without being part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Informative {
    /// Second since the epoch at which the exclusion took effect; 0 = none.
    pub effective_second: u32,
    /// `Period::code`; 0 = none.
    pub period_code: u8,
}

/// What a key leads to: the part of a table's value below the bits of the key itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SlotValue(pub u64);

impl SlotValue {
    /// Most that a number may be: 28 bits.
    pub const NUMBER_MAX: u32 = (1 << 28) - 1;
    const CHAINED: u64 = 1 << 28;

    pub fn person(person_no: u32) -> Self {
        Self(u64::from(person_no & Self::NUMBER_MAX))
    }

    pub fn chained(head: u32) -> Self {
        Self(u64::from(head & Self::NUMBER_MAX) | Self::CHAINED)
    }

    /// First node of the people behind the key, where it is not one person for good.
    pub fn head(self) -> Option<u32> {
        (self.0 & Self::CHAINED != 0).then_some(self.0 as u32 & Self::NUMBER_MAX)
    }

    pub fn person_no(self) -> u32 {
        self.0 as u32 & Self::NUMBER_MAX
    }
}

/// A person behind a key, in a side node.
#[derive(Clone, Copy)]
pub struct Sharer(pub u64);

impl Sharer {
    /// Last minute that can be told, in the year 2480.
    pub const UNTIL_MAX: u32 = (1 << 28) - 1;

    pub fn new(person_no: u32, until_minute: u32) -> Self {
        Self(u64::from(person_no) | u64::from(until_minute) << 32)
    }

    pub fn person_no(self) -> u32 {
        self.0 as u32
    }

    pub fn is_valid(self, now_second: u32) -> bool {
        let until_minute = (self.0 >> 32) as u32 & Self::UNTIL_MAX;
        until_minute == 0 || now_second / 60 < until_minute
    }
}

/// The word that decides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CellWord(pub u64);

impl CellWord {
    const SPLIT: u64 = 1 << 6;

    pub fn pack(state: &PersonState, generation: u8) -> Self {
        Self(
            status_code(state.status)
                | u64::from(state.risk_band & 7) << 3
                | u64::from(generation) << 8
                | u64::from(state.jurisdictions) << 16
                | u64::from(state.lapse_second) << 32,
        )
    }

    pub fn split(head: u32, generation: u8) -> Self {
        Self(Self::SPLIT | u64::from(generation) << 8 | u64::from(head) << 32)
    }

    /// Whether the person's state was ever set: a zero word is "unknown", never "not excluded".
    pub fn is_set(self) -> bool {
        self.0 & (7 | Self::SPLIT) != 0
    }

    pub fn split_head(self) -> Option<u32> {
        (self.0 & Self::SPLIT != 0).then_some((self.0 >> 32) as u32)
    }

    pub fn generation(self) -> u8 {
        (self.0 >> 8) as u8
    }

    pub fn status(self) -> Option<Status> {
        status_of(self.0 & 7)
    }

    pub fn risk_band(self) -> u8 {
        (self.0 >> 3) as u8 & 7
    }

    pub fn jurisdictions(self) -> u16 {
        (self.0 >> 16) as u16
    }

    pub fn lapse_second(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The state it was packed from, with its informative word.
    pub fn state(self, info: InfoWord) -> Option<PersonState> {
        let Informative { effective_second, period_code } = info.informative();
        Some(PersonState {
            jurisdictions: self.jurisdictions(),
            status: self.status()?,
            lapse_second: self.lapse_second(),
            risk_band: self.risk_band(),
            effective_second,
            period_code,
        })
    }
}

fn status_code(status: Status) -> u64 {
    match status {
        Status::NotExcluded => 1,
        Status::PreviouslyExcluded => 2,
        Status::Review => 3,
        Status::Excluded => 4,
    }
}

fn status_of(code: u64) -> Option<Status> {
    match code {
        1 => Some(Status::NotExcluded),
        2 => Some(Status::PreviouslyExcluded),
        3 => Some(Status::Review),
        4 => Some(Status::Excluded),
        _ => None,
    }
}

/// The word that informs.
#[derive(Clone, Copy, Default)]
pub struct InfoWord(pub u64);

impl InfoWord {
    const DOCUMENT_SHIFT: u32 = 44;
    const DOCUMENT: u64 = u64::MAX << Self::DOCUMENT_SHIFT;
    const GENERATION_SHIFT: u32 = 40;
    const GENERATION: u64 = 0xf << Self::GENERATION_SHIFT;
    /// No tag: the kind of a tag is never 0.
    const EXTENDED: u64 = 1;

    pub fn pack(state: &PersonState, generation: u8) -> Self {
        Self(u64::from(state.effective_second) | u64::from(state.period_code) << 32).with_generation(generation)
    }

    pub fn extended(node_no: u32) -> Self {
        Self(u64::from(node_no) | Self::EXTENDED << Self::DOCUMENT_SHIFT)
    }

    pub fn extension(self) -> Option<u32> {
        (self.0 >> Self::DOCUMENT_SHIFT == Self::EXTENDED).then_some(self.0 as u32)
    }

    #[must_use]
    pub fn with_generation(self, generation: u8) -> Self {
        Self(self.0 & !Self::GENERATION | u64::from(generation & 0xf) << Self::GENERATION_SHIFT)
    }

    #[must_use]
    pub fn with_document(self, tag: Option<DocumentTag>) -> Self {
        Self(self.0 & !Self::DOCUMENT | tag.map_or(0, DocumentTag::bits) << Self::DOCUMENT_SHIFT)
    }

    /// The document of a person who has just one.
    pub fn document(self) -> Option<DocumentTag> {
        DocumentTag::from_bits(self.0 >> Self::DOCUMENT_SHIFT)
    }

    /// Whether it was stored together with a decision of this generation.
    pub fn goes_with(self, generation: u8) -> bool {
        (self.0 & Self::GENERATION) >> Self::GENERATION_SHIFT == u64::from(generation & 0xf)
    }

    pub fn informative(self) -> Informative {
        Informative { effective_second: self.0 as u32, period_code: (self.0 >> 32) as u8 }
    }
}

/// Enough of a document's key to tell it from another one of the person. Two documents look equal with a
/// chance of 2⁻¹⁵, which errs towards the stricter answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DocumentTag(u32);

impl DocumentTag {
    pub const BITS: u32 = 20;
    const VALUE_BITS: u32 = 15;
    const PER_WORD: u32 = 3;

    /// `None` where the digest version has no bits.
    pub fn new(kind: KeyKind, digest_version: u8, key: MatchKey) -> Option<Self> {
        // any bits do: a person has few documents
        let value = (key.0 >> 7) as u32 & ((1 << Self::VALUE_BITS) - 1);
        (digest_version <= DIGEST_VERSION_MAX).then_some(Self(
            value | u32::from(digest_version) << Self::VALUE_BITS | u32::from(kind.number()) << (Self::VALUE_BITS + 2),
        ))
    }

    pub fn bits(self) -> u64 {
        u64::from(self.0)
    }

    fn from_bits(bits: u64) -> Option<Self> {
        let bits = bits as u32 & ((1 << Self::BITS) - 1);
        (bits >> (Self::VALUE_BITS + 2) != 0).then_some(Self(bits))
    }

    /// Tags of one word of a documents node.
    pub fn unpack(word: u64) -> impl Iterator<Item = Self> {
        (0..Self::PER_WORD).filter_map(move |place| Self::from_bits(word >> (place * Self::BITS)))
    }

    /// Shift of the first free place of a word.
    pub fn free_place(word: u64) -> Option<u32> {
        (0..Self::PER_WORD).map(|place| place * Self::BITS).find(|shift| Self::from_bits(word >> shift).is_none())
    }

    /// Whether both are of one type under one digest key, so that they can be compared at all.
    pub fn is_comparable(self, other: Self) -> bool {
        self.0 >> Self::VALUE_BITS == other.0 >> Self::VALUE_BITS
    }
}

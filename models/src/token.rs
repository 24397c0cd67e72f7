//! BST tokens: how an operator names a person without knowing who that is, and without two operators
//! being able to compare their lists.
//!
//! Text: `BST-02-<32 upper-case hex>-<4 upper-case hex>`; `02` is the format, the last group the
//! CRC-16/CCITT-FALSE over the text before it (without the dash between). The 32 digits are one AES-128
//! block under a key of (token key version, operator):
//!
//! | kind | digest version | generation | digest | check |
//! |---|---|---|---|---|
//! | 3 bits | 2 bits | 3 bits | 88 bits | 32 zero bits |
//!
//! Nothing is stored: opening a token gives the index key itself. One
//! block needs no mode and no nonce: equal payloads *shall* give equal tokens, and the check bits
//! authenticate well enough (2⁻³² a guess, each of which costs a rate-limited request).

use std::fmt;
use std::str::FromStr;

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use crc::{CRC_16_IBM_3740, Crc, Table};
use ring::hmac;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::match_key::{DIGEST_VERSION_MAX, KeyKind, MATCH_KEY_BITS, MatchKey};

/// Characters of a token.
pub const TOKEN_CHARS: usize = 44;

/// Highest generation: a token has three bits for it.
pub const GENERATION_MAX: u8 = 7;

const PREFIX: &[u8; 7] = b"BST-02-";
const CHECKED_CHARS: usize = 39;
const CHECK_BITS: u32 = 32;
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The catalogue's name for CRC-16/CCITT-FALSE.
static CRC: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_IBM_3740);

/// Why a token gives no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not of the form of a token: 422.
    #[error("not a token of the form BST-02-…")]
    Malformed,
    /// Mistyped: 422.
    #[error("token has a wrong checksum")]
    Checksum,
    /// None of the keys tried made it: another operator's, invented, or of a key no longer given: 422.
    #[error("token was not made for this operator")]
    Unknown,
    /// To be made of a digest version or generation that has no bits in a token.
    #[error("digest version or generation does not fit a token")]
    Range,
}

/// The master secret of one token key version.
pub struct TokenMaster {
    version: u8,
    key: hmac::Key,
}

impl TokenMaster {
    /// Prepares a master secret.
    #[must_use]
    pub fn new(version: u8, secret: [u8; 32]) -> Self {
        Self { version, key: hmac::Key::new(hmac::HMAC_SHA256, &secret) }
    }

    /// Version of this master.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// The key of an operator: the first 16 bytes of HMAC-SHA-256(secret, label ‖ version ‖ operator).
    /// Costs a key expansion: the caller keeps it.
    #[must_use]
    pub fn for_operator(&self, operator_no: u16) -> TokenKey {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"mlinzi bst-02 token key");
        context.update(&[self.version]);
        context.update(&operator_no.to_be_bytes());
        let derived = context.sign();
        let mut key = [0; 16];
        key.copy_from_slice(&derived.as_ref()[..16]);
        TokenKey { version: self.version, cipher: Aes128::new(&key.into()) }
    }
}

impl fmt::Debug for TokenMaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenMaster(version {}, redacted)", self.version)
    }
}

/// The key of one operator under one token key version, with its schedule expanded.
#[derive(Clone)]
pub struct TokenKey {
    version: u8,
    cipher: Aes128,
}

impl TokenKey {
    /// Version of the master it comes from.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey(version {}, redacted)", self.version)
    }
}

/// What a token says once opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Kind of the identifier it was made from.
    pub kind: KeyKind,
    /// Digest key version of `key`, 0–3. Not live: 410.
    pub digest_version: u8,
    /// Generation, 0–7. Behind the one of the table of compromised tokens: 410.
    pub generation: u8,
    /// The key of the index.
    pub key: MatchKey,
    /// Version of the token key that opened it. A caller that also tries retired keys answers 410 by this.
    pub token_key_version: u8,
}

/// A token in its canonical upper-case text, with a right checksum; not yet opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    text: [u8; TOKEN_CHARS],
}

/// Makes an operator's token of a key.
///
/// # Errors
/// [`TokenError::Range`] where the digest version is above 3 or the generation above 7.
pub fn encode(
    token_key: &TokenKey,
    kind: KeyKind,
    digest_version: u8,
    generation: u8,
    key: MatchKey,
) -> Result<Token, TokenError> {
    if digest_version > DIGEST_VERSION_MAX || generation > GENERATION_MAX || key.0 >> MATCH_KEY_BITS != 0 {
        return Err(TokenError::Range);
    }
    let head = kind.number() << 5 | digest_version << 3 | generation;
    let payload = u128::from(head) << 120 | key.0 << CHECK_BITS;
    let mut block = payload.to_be_bytes().into();
    token_key.cipher.encrypt_block(&mut block);
    Ok(Token::from_block(block.into()))
}

/// Opens a token with the keys of the operator that sent it, newest first.
///
/// # Errors
/// [`TokenError::Unknown`] where none of them made it.
pub fn open(keys: &[TokenKey], token: &Token) -> Result<Opened, TokenError> {
    let sealed = token.block();
    for key in keys {
        let mut block = sealed.into();
        key.cipher.decrypt_block(&mut block);
        if let Some(opened) = unpack(u128::from_be_bytes(block.into()), key.version) {
            return Ok(opened);
        }
    }
    Err(TokenError::Unknown)
}

fn unpack(payload: u128, token_key_version: u8) -> Option<Opened> {
    if payload as u32 != 0 {
        return None;
    }
    let head = (payload >> 120) as u8;
    Some(Opened {
        kind: KeyKind::from_number(head >> 5)?,
        digest_version: head >> 3 & 3,
        generation: head & 7,
        key: MatchKey(payload >> CHECK_BITS & ((1 << MATCH_KEY_BITS) - 1)),
        token_key_version,
    })
}

impl Token {
    /// Reads a token in either case; the checksum is verified here, before anything is decrypted or
    /// looked up.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] or [`TokenError::Checksum`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let mut canonical: [u8; TOKEN_CHARS] = text.as_bytes().try_into().map_err(|_| TokenError::Malformed)?;
        canonical.make_ascii_uppercase();
        let digits = |part: &[u8]| part.iter().all(|byte| hex_value(*byte).is_some());
        let well_formed = canonical.starts_with(PREFIX)
            && digits(&canonical[PREFIX.len()..CHECKED_CHARS])
            && canonical[CHECKED_CHARS] == b'-'
            && digits(&canonical[CHECKED_CHARS + 1..]);
        if !well_formed {
            return Err(TokenError::Malformed);
        }
        if canonical[CHECKED_CHARS + 1..] != checksum(&canonical[..CHECKED_CHARS]) {
            return Err(TokenError::Checksum);
        }
        Ok(Self { text: canonical })
    }

    fn from_block(block: [u8; 16]) -> Self {
        let mut text = [b'-'; TOKEN_CHARS];
        text[..PREFIX.len()].copy_from_slice(PREFIX);
        for (pair, byte) in text[PREFIX.len()..CHECKED_CHARS].chunks_exact_mut(2).zip(block) {
            pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        let checksum = checksum(&text[..CHECKED_CHARS]);
        text[CHECKED_CHARS + 1..].copy_from_slice(&checksum);
        Self { text }
    }

    fn block(&self) -> [u8; 16] {
        let digit = |index: usize| hex_value(self.text[PREFIX.len() + index]).unwrap_or_default();
        std::array::from_fn(|i| digit(2 * i) << 4 | digit(2 * i + 1))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // always ASCII: both constructors write nothing else
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}

fn hex_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn checksum(text: &[u8]) -> [u8; 4] {
    let crc = CRC.checksum(text);
    std::array::from_fn(|i| HEX[usize::from(crc >> (12 - 4 * i) & 15)])
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        Self::parse(text)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Token;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a token of the form BST-02-…")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Token, E> {
                Token::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key_of(version: u8, operator_no: u16) -> TokenKey {
        TokenMaster::new(version, [version + 1; 32]).for_operator(operator_no)
    }

    fn match_key() -> impl Strategy<Value = MatchKey> {
        (0..1u128 << MATCH_KEY_BITS).prop_map(MatchKey)
    }

    fn kind() -> impl Strategy<Value = KeyKind> {
        prop::sample::select(&KeyKind::ALL[..])
    }

    /// Values computed independently (Python's hmac, openssl's AES). Fixed for ever: a change here makes every operator's stored tokens useless.
    #[test]
    fn golden_tokens() {
        let key = MatchKey(0x01_2345_6789_abcd_ef01_2345);
        let got = [(0, 1), (0, 2), (1, 1)].map(|(version, operator_no)| {
            encode(&key_of(version, operator_no), KeyKind::NationalId, 1, 2, key).unwrap().to_string()
        });
        assert_eq!(
            got,
            [
                "BST-02-DEE26CF2C7D687482E98F10A8C2B3B48-360C",
                "BST-02-68304CD5C3B2937DAB42FDADFC49CD5A-CE1B",
                "BST-02-0A3D5A3CF85AF973620EA9721C9EDD28-CBA7"
            ]
        );
    }

    /// Check value of the catalogue of CRC algorithms for CRC-16/CCITT-FALSE.
    #[test]
    fn the_checksum_is_the_one_named() {
        assert_eq!(checksum(b"123456789"), *b"29B1");
    }

    #[test]
    fn other_texts_are_refused() {
        use TokenError as E;
        let token = encode(&key_of(0, 1), KeyKind::Phone, 0, 0, MatchKey(5)).unwrap().to_string();
        let with = |from: &str, to: &str| token.replacen(from, to, 1);
        let (head, _) = token.split_at(40);
        for (text, error) in [
            (String::new(), E::Malformed),
            (with("BST-02", "BST-01"), E::Malformed),
            (with("BST-02-", "BST-02_"), E::Malformed),
            (with("BST", "BSÉ"), E::Malformed),
            (format!("{token} "), E::Malformed),
            (token[..43].to_owned(), E::Malformed),
            (format!("{head}00G0"), E::Malformed),
            ("BST-02-A7F3E9D2C1B8F4A6E3D9C7B2F1A8E5D3-C4B9".to_owned(), E::Checksum),
        ] {
            assert_eq!(Token::parse(&text), Err(error), "{text}");
        }
    }

    #[test]
    fn numbers_without_bits_are_refused() {
        let key = key_of(0, 1);
        assert_eq!(encode(&key, KeyKind::Phone, 4, 0, MatchKey(1)), Err(TokenError::Range));
        assert_eq!(encode(&key, KeyKind::Phone, 0, 8, MatchKey(1)), Err(TokenError::Range));
        assert_eq!(encode(&key, KeyKind::Phone, 0, 0, MatchKey(1 << 88)), Err(TokenError::Range));
    }

    #[test]
    fn debug_shows_neither_keys_nor_tokens() {
        let key = key_of(3, 1);
        let token = encode(&key, KeyKind::Phone, 0, 0, MatchKey(5)).unwrap();
        assert_eq!(format!("{token:?} {key:?}"), "Token(redacted) TokenKey(version 3, redacted)");
    }

    proptest! {
        #[test]
        fn a_token_opens_to_what_it_was_made_of(kind in kind(), digest_version in 0u8..4, generation in 0u8..8, key in match_key(), operator_no: u16, lower: bool) {
            let keys = [key_of(2, operator_no), key_of(1, operator_no)];
            for token_key in &keys {
                let text = encode(token_key, kind, digest_version, generation, key).unwrap().to_string();
                let typed = if lower { text.to_lowercase() } else { text.clone() };
                let token = Token::parse(&typed).unwrap();
                prop_assert_eq!(token.as_str(), &text);
                let expected = Opened { kind, digest_version, generation, key, token_key_version: token_key.version() };
                prop_assert_eq!(open(&keys, &token), Ok(expected));
                let json = serde_json::to_string(&token).unwrap();
                prop_assert_eq!(serde_json::from_str::<Token>(&json).unwrap(), token);
            }
        }

        #[test]
        fn two_operators_share_no_token(kind in kind(), key in match_key(), a: u16, b: u16) {
            prop_assume!(a != b);
            let token = encode(&key_of(0, a), kind, 0, 0, key).unwrap();
            prop_assert_ne!(token, encode(&key_of(0, b), kind, 0, 0, key).unwrap());
            prop_assert_eq!(open(&[key_of(0, b), key_of(1, b)], &token), Err(TokenError::Unknown));
            prop_assert_eq!(open(&[key_of(1, a)], &token), Err(TokenError::Unknown));
            prop_assert_eq!(open(&[], &token), Err(TokenError::Unknown));
        }

        #[test]
        fn a_changed_character_is_noticed(key in match_key(), position in 0..TOKEN_CHARS, replacement in "[0-9A-F]") {
            let token = encode(&key_of(0, 1), KeyKind::Phone, 0, 0, key).unwrap().to_string();
            prop_assume!(!token[position..].starts_with(&replacement));
            let mut changed = token;
            changed.replace_range(position..=position, &replacement);
            prop_assert!(Token::parse(&changed).is_err());
        }

        /// Whoever repairs the checksum still meets the check bits.
        #[test]
        fn a_changed_payload_with_a_right_checksum_is_noticed(key in match_key(), byte in 0usize..16, flip in 1u8..) {
            let mut block = encode(&key_of(0, 1), KeyKind::Phone, 0, 0, key).unwrap().block();
            block[byte] ^= flip;
            let forged = Token::parse(Token::from_block(block).as_str()).unwrap();
            prop_assert_eq!(open(&[key_of(0, 1)], &forged), Err(TokenError::Unknown));
        }
    }
}

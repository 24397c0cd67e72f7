//! Tokens: any text is one or is refused, and what opens is what was sealed.

#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use models::match_key::{KeyKind, MATCH_KEY_BITS, MatchKey};
use models::token::{Opened, Token, TokenError, TokenKey, TokenMaster, encode, open};

#[derive(Debug)]
enum Case<'a> {
    /// As it came over the wire.
    Text(&'a str),
    /// Sixteen bytes in the form of a token, with a right checksum: what somebody who guesses would send.
    Forged([u8; 16]),
    /// A token of ours.
    Sealed { kind: KeyKind, digest_version: u8, generation: u8, key: u128, operator_no: u16, lower: bool },
}

impl<'a> Arbitrary<'a> for Case<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.arbitrary::<u8>()? % 3 {
            0 => {
                let bytes = u.bytes(u.len())?;
                let valid = std::str::from_utf8(bytes).map_or_else(|e| e.valid_up_to(), str::len);
                Self::Text(std::str::from_utf8(&bytes[..valid]).unwrap_or_default())
            }
            1 => Self::Forged(u.arbitrary()?),
            _ => Self::Sealed {
                kind: *u.choose(&KeyKind::ALL)?,
                digest_version: u.arbitrary()?,
                generation: u.arbitrary()?,
                key: u.arbitrary()?,
                operator_no: u.arbitrary()?,
                lower: u.arbitrary()?,
            },
        })
    }
}

fuzz_target!(|case: Case<'_>| match case {
    Case::Text(text) => {
        if let Some(token) = read(text) {
            opened(&keys(1), &token);
        }
    }
    Case::Forged(block) => {
        let token = read(&text_of(block)).expect("a right checksum");
        opened(&keys(1), &token);
    }
    Case::Sealed { kind, digest_version, generation, key, operator_no, lower } => {
        let keys = keys(operator_no);
        for token_key in &keys {
            let made = encode(token_key, kind, digest_version, generation, MatchKey(key));
            let fits = digest_version < 4 && generation < 8 && key >> MATCH_KEY_BITS == 0;
            let Ok(token) = made else {
                assert_eq!((made, fits), (Err(TokenError::Range), false));
                continue;
            };
            assert!(fits);
            let text = token.to_string();
            assert_eq!(read(&if lower { text.to_lowercase() } else { text }), Some(token));
            let version = token_key.version();
            let sealed = Opened { kind, digest_version, generation, key: MatchKey(key), token_key_version: version };
            assert_eq!(opened(&keys, &token), Some(sealed));
            assert_eq!(open(&self::keys(operator_no.wrapping_add(1)), &token), Err(TokenError::Unknown));
        }
    }
});

/// Two versions, newest first.
fn keys(operator_no: u16) -> [TokenKey; 2] {
    [2, 1].map(|version| TokenMaster::new(version, [version + 1; 32]).for_operator(operator_no))
}

/// Reads a text; what is read is written and read again the same, by serde too.
fn read(text: &str) -> Option<Token> {
    let token = Token::parse(text).ok()?;
    let written = token.to_string();
    assert_eq!(written, text.to_ascii_uppercase());
    assert_eq!(written.parse(), Ok(token));
    let json = serde_json::to_string(&token).expect("a token is text");
    assert_eq!(serde_json::from_str::<Token>(&json).expect("the same text"), token);
    assert!(!format!("{token:?}").contains(&written[7..39]), "a token is no log line");
    Some(token)
}

/// Opens it; what opens gives the same token when it is sealed again.
fn opened(keys: &[TokenKey], token: &Token) -> Option<Opened> {
    let opened = open(keys, token).ok()?;
    let key = keys.iter().find(|key| key.version() == opened.token_key_version).expect("a key that was given");
    let again = encode(key, opened.kind, opened.digest_version, opened.generation, opened.key);
    // the head has a kind's three bits and the five others, so nothing but the sealed bits can differ
    assert_eq!(again, Ok(*token));
    Some(opened)
}

/// `BST-02-…` of a block, with CRC-16/CCITT-FALSE worked out a second time, bit by bit.
fn text_of(block: [u8; 16]) -> String {
    let head = block.iter().fold("BST-02-".to_owned(), |text, byte| text + &format!("{byte:02X}"));
    let crc = head.bytes().fold(0xffff_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| if crc >> 15 == 1 { crc << 1 ^ 0x1021 } else { crc << 1 })
    });
    format!("{head}-{crc:04X}")
}

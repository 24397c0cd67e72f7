//! Keys that live outside the database: digests, tokens, vault, journal chain, checkpoints.
//!
//! A [`KeyProvider`] brings the material (file or environment now; PKCS#11 and Vault are further
//! implementations); the [`KeyRing`] is what the engine works with. Nothing here is ever printed.

use crate::api::PersonData;
use models::match_key::DigestKeys;
use models::token::TokenMaster;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroize;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The provider cannot bring them.
    #[error("keys cannot be read: {0}")]
    Unreadable(String),
    /// A key has the wrong shape.
    #[error("key {0} is not 32 bytes in hex")]
    Malformed(String),
    /// A key is missing.
    #[error("no {0} key")]
    Missing(&'static str),
    /// The random generator of the operating system failed.
    #[error("no randomness from the operating system")]
    Random,
    /// A sealed value does not open: another key, or changed bytes.
    #[error("a sealed value does not open")]
    Sealed,
}

/// Where key material comes from.
pub trait KeyProvider: Send + Sync {
    /// Brings every live key.
    fn load(&self) -> Result<KeyMaterial, KeyError>;
}

/// The material: hex text by version, as a file holds it. 32 bytes each.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyMaterial {
    /// Digest keys by version (0–3); the highest writes.
    pub digest: BTreeMap<String, String>,
    /// Token keys by version.
    pub token: BTreeMap<String, String>,
    /// Vault keys by version.
    pub vault: BTreeMap<String, String>,
    /// Key of the journal's chain.
    pub chain: String,
    /// Seed of the Ed25519 key that signs checkpoints.
    pub checkpoint: String,
}

impl Drop for KeyMaterial {
    fn drop(&mut self) {
        for table in [&mut self.digest, &mut self.token, &mut self.vault] {
            table.values_mut().for_each(Zeroize::zeroize);
        }
        self.chain.zeroize();
        self.checkpoint.zeroize();
    }
}

impl KeyMaterial {
    /// Fresh keys, version 0 of each.
    pub fn generate() -> Result<Self, KeyError> {
        let one = || -> Result<BTreeMap<String, String>, KeyError> { Ok(BTreeMap::from([("0".to_owned(), fresh()?)])) };
        Ok(Self { digest: one()?, token: one()?, vault: one()?, chain: fresh()?, checkpoint: fresh()? })
    }
}

fn fresh() -> Result<String, KeyError> {
    Ok(hex(&random::<32>()?))
}

/// Bytes from the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| KeyError::Random)?;
    Ok(bytes)
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        out.push(char::from(b"0123456789abcdef"[usize::from(b >> 4)]));
        out.push(char::from(b"0123456789abcdef"[usize::from(b & 15)]));
        out
    })
}

fn key32(name: &str, text: &str) -> Result<[u8; 32], KeyError> {
    let malformed = || KeyError::Malformed(name.to_owned());
    let text = text.trim().as_bytes();
    if text.len() != 64 {
        return Err(malformed());
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| malformed())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| malformed())?;
    }
    Ok(out)
}

fn versions(name: &'static str, table: &BTreeMap<String, String>, max: u8) -> Result<Vec<(u8, [u8; 32])>, KeyError> {
    let mut keys = Vec::with_capacity(table.len());
    for (version, text) in table {
        let number = version
            .parse()
            .ok()
            .filter(|v| *v <= max)
            .ok_or_else(|| KeyError::Malformed(format!("{name}.{version}")))?;
        keys.push((number, key32(&format!("{name}.{version}"), text)?));
    }
    keys.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    if keys.is_empty() { Err(KeyError::Missing(name)) } else { Ok(keys) }
}

struct VaultKey {
    version: u8,
    key: LessSafeKey,
}

/// Every live key, ready to use.
pub struct KeyRing {
    /// Makes match keys.
    pub digest: DigestKeys,
    /// Makes tokens; the current version first.
    pub tokens: Vec<TokenMaster>,
    vault: Vec<VaultKey>,
    /// Key of the journal's chain.
    pub chain: [u8; 32],
    /// Signs checkpoints.
    pub checkpoint: Arc<Ed25519KeyPair>,
}

const FORMAT: u8 = 1;

impl KeyRing {
    /// Checks the material and makes it usable.
    pub fn new(material: &KeyMaterial) -> Result<Self, KeyError> {
        let digest = versions("digest", &material.digest, 3)?;
        let tokens = versions("token", &material.token, 255)?;
        let vault = versions("vault", &material.vault, 255)?
            .into_iter()
            .map(|(version, bytes)| Ok(VaultKey { version, key: aead_key(&bytes)? }))
            .collect::<Result<_, KeyError>>()?;
        let seed = key32("checkpoint", &material.checkpoint)?;
        let checkpoint =
            Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::Malformed("checkpoint".to_owned()))?;
        Ok(Self {
            digest: DigestKeys::new(digest.iter().map(|(v, k)| (*v, *k)))
                .map_err(|_| KeyError::Malformed("digest".to_owned()))?,
            tokens: tokens.into_iter().map(|(v, k)| TokenMaster::new(v, k)).collect(),
            vault,
            chain: key32("chain", &material.chain)?,
            checkpoint: Arc::new(checkpoint),
        })
    }

    /// Public key of the checkpoints.
    pub fn checkpoint_public_key(&self) -> Vec<u8> {
        self.checkpoint.public_key().as_ref().to_vec()
    }

    /// Seals bytes under a data key of their own, wrapped by the current vault key (envelope encryption,
    /// AES-256-GCM twice). `context` is authenticated: a row cannot be moved to another place.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        let vault = self.vault.first().ok_or(KeyError::Missing("vault"))?;
        let mut data_key = random::<32>()?;
        let mut out = vec![FORMAT, vault.version];
        out.extend(encrypt(&vault.key, context, &data_key)?);
        out.extend(encrypt(&aead_key(&data_key)?, context, plain)?);
        data_key.zeroize();
        Ok(out)
    }

    /// Opens what [`Self::seal`] made.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let (head, rest) = sealed.split_at_checked(2).ok_or(KeyError::Sealed)?;
        let vault = self.vault.iter().find(|k| head[0] == FORMAT && k.version == head[1]).ok_or(KeyError::Sealed)?;
        let (wrapped, body) = rest.split_at_checked(NONCE_LEN + 32 + 16).ok_or(KeyError::Sealed)?;
        let mut data_key = decrypt(&vault.key, context, wrapped)?;
        let bytes: [u8; 32] = data_key.as_slice().try_into().map_err(|_| KeyError::Sealed)?;
        data_key.zeroize();
        decrypt(&aead_key(&bytes)?, context, body)
    }

    /// Seals what the vault keeps of a person. The context is the row's own random id.
    pub fn seal_person(&self, vault_id: &[u8; 16], person: &PersonData) -> Result<Vec<u8>, KeyError> {
        let mut plain = serde_json::to_vec(person).map_err(|_| KeyError::Sealed)?;
        let sealed = self.seal(vault_id, &plain);
        plain.zeroize();
        sealed
    }

    /// Opens what [`Self::seal_person`] made.
    pub fn open_person(&self, vault_id: &[u8; 16], sealed: &[u8]) -> Result<PersonData, KeyError> {
        let mut plain = self.open(vault_id, sealed)?;
        let person = serde_json::from_slice(&plain).map_err(|_| KeyError::Sealed);
        plain.zeroize();
        person
    }
}

fn aead_key(bytes: &[u8; 32]) -> Result<LessSafeKey, KeyError> {
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| KeyError::Sealed)?))
}

fn encrypt(key: &LessSafeKey, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyError> {
    let nonce = random::<NONCE_LEN>()?;
    let mut body = plain.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut body)
        .map_err(|_| KeyError::Sealed)?;
    let mut out = nonce.to_vec();
    out.append(&mut body);
    Ok(out)
}

fn decrypt(key: &LessSafeKey, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
    let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(KeyError::Sealed)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::Sealed)?;
    let mut body = body.to_vec();
    let length = key.open_in_place(nonce, Aad::from(context), &mut body).map_err(|_| KeyError::Sealed)?.len();
    body.truncate(length);
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_whole_and_in_its_place() {
        let ring = KeyRing::new(&KeyMaterial::generate().unwrap()).unwrap();
        let sealed = ring.seal(b"row 1", b"a person").unwrap();
        assert_eq!(ring.open(b"row 1", &sealed).unwrap(), b"a person");
        assert!(ring.open(b"row 2", &sealed).is_err());
        for i in 0..sealed.len() {
            let mut broken = sealed.clone();
            broken[i] ^= 1;
            assert!(ring.open(b"row 1", &broken).is_err(), "byte {i}");
        }
        assert!(ring.open(b"row 1", &sealed[..20]).is_err());
        assert!(!sealed.windows(8).any(|w| w == b"a person"));
    }

    #[test]
    fn an_older_vault_key_still_opens() {
        let mut material = KeyMaterial::generate().unwrap();
        let old = KeyRing::new(&material).unwrap().seal(b"r", b"x").unwrap();
        material.vault.insert("1".to_owned(), fresh().unwrap());
        let ring = KeyRing::new(&material).unwrap();
        assert_eq!(ring.open(b"r", &old).unwrap(), b"x");
        assert_eq!(ring.seal(b"r", b"y").unwrap()[1], 1);
    }

    #[test]
    fn bad_material_is_named() {
        let mut material = KeyMaterial::generate().unwrap();
        material.digest.insert("7".to_owned(), fresh().unwrap());
        assert_eq!(
            KeyRing::new(&material).err().map(|e| e.to_string()).unwrap(),
            "key digest.7 is not 32 bytes in hex"
        );
        let mut material = KeyMaterial::generate().unwrap();
        material.chain = "00".to_owned();
        assert!(KeyRing::new(&material).is_err());
    }
}

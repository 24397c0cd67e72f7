//! Keys that live outside the database: digests, tokens, vault, journal chain, checkpoints.
//!
//! A [`KeyProvider`] brings the material (a file, one sealed by a PKCS#11 token, the environment); the [`KeyRing`] is what
//! the engine works with. Nothing here is ever printed.

use crate::api::PersonData;
use arc_swap::{ArcSwap, Guard};
use models::key_version::{KeyPurpose, KeyState, KeyStates, KeyVersion};
use models::match_key::{DIGEST_VERSION_MAX, DigestKeys};
use models::token::TokenMaster;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;
use zeroize::{Zeroize, Zeroizing};

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The provider cannot bring them.
    #[error("keys cannot be read: {0}")]
    Unreadable(String),
    /// The provider cannot keep them.
    #[error("keys cannot be saved: {0}")]
    Unwritable(String),
    /// A key has the wrong shape.
    #[error("key {0} is not 32 bytes in hex")]
    Malformed(String),
    /// A key is missing.
    #[error("no {0} key")]
    Missing(&'static str),
    /// A version in use is not brought any more.
    #[error("{0} key version {1} is in use, and is not there")]
    Gone(&'static str, u8),
    /// A version in use is brought with another key.
    #[error("{0} key version {1} is another key than the one in use")]
    Another(&'static str, u8),
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
    ///
    /// # Errors
    /// [`KeyError::Unreadable`].
    fn load(&self) -> Result<KeyMaterial, KeyError>;

    /// Keeps this material instead of what was there: whole and on the disk, or not at all.
    ///
    /// # Errors
    /// [`KeyError::Unwritable`].
    fn save(&self, material: &KeyMaterial) -> Result<(), KeyError>;

    /// Changes whenever what is brought may have changed; none where it cannot. Cheap.
    fn changed_at(&self) -> Option<SystemTime> {
        None
    }
}

/// Material that is simply there: for tests and benches.
impl KeyProvider for KeyMaterial {
    fn load(&self) -> Result<KeyMaterial, KeyError> {
        Ok(self.clone())
    }

    fn save(&self, _: &KeyMaterial) -> Result<(), KeyError> {
        Err(KeyError::Unwritable("nobody keeps them".to_owned()))
    }
}

/// The material: hex text by version, as a file holds it. 32 bytes each.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyMaterial {
    /// Digest keys by version (0–3).
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
    /// Keys of the sandbox: one of each, derived from the journal's, which is never rotated; they tell nothing of it.
    pub fn sandbox(&self) -> Result<Self, KeyError> {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key32("chain", &self.chain)?);
        let derive = |name: &str| hex(ring::hmac::sign(&key, format!("mlinzi sandbox {name}").as_bytes()).as_ref());
        let one = |name: &str| BTreeMap::from([("0".to_owned(), derive(name))]);
        Ok(Self {
            digest: one("digest"),
            token: one("token"),
            vault: one("vault"),
            chain: derive("chain"),
            checkpoint: derive("checkpoint"),
        })
    }

    /// Fresh keys, version 0 of each.
    pub fn generate() -> Result<Self, KeyError> {
        let one = || -> Result<BTreeMap<String, String>, KeyError> { Ok(BTreeMap::from([("0".to_owned(), fresh()?)])) };
        Ok(Self { digest: one()?, token: one()?, vault: one()?, chain: fresh()?, checkpoint: fresh()? })
    }

    fn table(&self, purpose: KeyPurpose) -> &BTreeMap<String, String> {
        match purpose {
            KeyPurpose::Digest => &self.digest,
            KeyPurpose::Token => &self.token,
            KeyPurpose::Vault => &self.vault,
        }
    }

    fn table_mut(&mut self, purpose: KeyPurpose) -> &mut BTreeMap<String, String> {
        match purpose {
            KeyPurpose::Digest => &mut self.digest,
            KeyPurpose::Token => &mut self.token,
            KeyPurpose::Vault => &mut self.vault,
        }
    }

    /// Puts a fresh key in the place of a version.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn renew(&mut self, purpose: KeyPurpose, version: u8) -> Result<(), KeyError> {
        self.forget(purpose, version);
        self.table_mut(purpose).insert(version.to_string(), fresh()?);
        Ok(())
    }

    /// Takes a version out; false where there is none.
    pub fn forget(&mut self, purpose: KeyPurpose, version: u8) -> bool {
        let gone = self.table_mut(purpose).remove(&version.to_string());
        gone.map(|mut key| key.zeroize()).is_some()
    }

    /// Versions of a purpose with what tells their keys apart, rising.
    ///
    /// # Errors
    /// [`KeyError::Malformed`], [`KeyError::Missing`].
    pub fn fingerprints(&self, purpose: KeyPurpose) -> Result<Vec<(u8, String)>, KeyError> {
        let mut keys = versions(purpose, self.table(purpose))?;
        keys.reverse();
        Ok(keys.into_iter().map(|(version, key)| (version, fingerprint(&key))).collect())
    }
}

/// Eleven bytes of a keyed digest: tells one key from another and nothing of either.
fn fingerprint(key: &[u8; 32]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hex(&hmac::sign(&key, b"mlinzi key fingerprint").as_ref()[..11])
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

fn versions(purpose: KeyPurpose, table: &BTreeMap<String, String>) -> Result<Vec<(u8, [u8; 32])>, KeyError> {
    let max = if purpose == KeyPurpose::Digest { DIGEST_VERSION_MAX } else { u8::MAX };
    let name = purpose.as_str();
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
    /// Makes and opens tokens; the current version first.
    pub tokens: Vec<TokenMaster>,
    /// Opens tokens that are answered 410.
    pub retired_tokens: Vec<TokenMaster>,
    /// In which epoch of the keys this is the ring.
    pub epoch: i64,
    /// The one that seals first.
    vault: Vec<VaultKey>,
    /// Key of the journal's chain.
    pub chain: [u8; 32],
    /// Signs checkpoints.
    pub checkpoint: Arc<Ed25519KeyPair>,
}

const FORMAT: u8 = 1;

impl KeyRing {
    /// The ring of a store that knows nothing of its keys yet: the highest version of each is in force.
    ///
    /// # Errors
    /// As [`Self::with`].
    pub fn new(material: &KeyMaterial) -> Result<Self, KeyError> {
        let mut states = KeyStates::default();
        for purpose in KeyPurpose::ALL {
            states.versions.extend(
                material
                    .fingerprints(purpose)?
                    .into_iter()
                    .map(|(version, fingerprint)| KeyVersion::ready_at_first(purpose, version, fingerprint)),
            );
        }
        Self::with(material, &states)
    }

    /// Checks the material against what the store knows of its keys, and makes it usable. A version that the store does
    /// not know yet opens what it can and writes nothing.
    ///
    /// # Errors
    /// A malformed key; a version in use that is missing or another key than it was.
    pub fn with(material: &KeyMaterial, states: &KeyStates) -> Result<Self, KeyError> {
        for purpose in KeyPurpose::ALL {
            let there = material.fingerprints(purpose)?;
            for known in states.live(purpose) {
                match there.iter().find(|(version, _)| *version == known.version) {
                    Some((_, fingerprint)) if *fingerprint == known.fingerprint => {}
                    Some(_) => return Err(KeyError::Another(purpose.as_str(), known.version)),
                    None => return Err(KeyError::Gone(purpose.as_str(), known.version)),
                }
            }
        }
        let current = |purpose| states.current(purpose).ok_or(KeyError::Missing(KeyPurpose::as_str(purpose)));
        let is_live = |purpose, version| states.live(purpose).any(|known| known.version == version);

        let digest = versions(KeyPurpose::Digest, &material.digest)?;
        let digest = DigestKeys::new(digest.into_iter().filter(|(v, _)| is_live(KeyPurpose::Digest, *v)))
            .and_then(|keys| keys.with_current(states.current(KeyPurpose::Digest).unwrap_or(u8::MAX)))
            .map_err(|_| KeyError::Missing("digest"))?;

        let (mut tokens, mut retired_tokens) = (Vec::new(), Vec::new());
        for (version, key) in versions(KeyPurpose::Token, &material.token)? {
            match states.get(KeyPurpose::Token, version).map(|known| known.state) {
                Some(KeyState::Retired) => retired_tokens.push(TokenMaster::new(version, key)),
                Some(_) => tokens.push(TokenMaster::new(version, key)),
                None => {}
            }
        }
        let made_by = current(KeyPurpose::Token)?;
        tokens.sort_by_key(|master| master.version() != made_by);

        let mut vault = versions(KeyPurpose::Vault, &material.vault)?
            .into_iter()
            .map(|(version, bytes)| Ok(VaultKey { version, key: aead_key(&bytes)? }))
            .collect::<Result<Vec<_>, KeyError>>()?;
        let seals = current(KeyPurpose::Vault)?;
        vault.sort_by_key(|key| key.version != seals);

        let seed = key32("checkpoint", &material.checkpoint)?;
        let checkpoint =
            Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::Malformed("checkpoint".to_owned()))?;
        Ok(Self {
            digest,
            tokens,
            retired_tokens,
            epoch: states.epoch,
            vault,
            chain: key32("chain", &material.chain)?,
            checkpoint: Arc::new(checkpoint),
        })
    }

    /// The version that seals.
    pub fn sealing(&self) -> u8 {
        self.vault.first().map_or(0, |key| key.version)
    }

    /// Public key of the checkpoints.
    pub fn checkpoint_public_key(&self) -> Vec<u8> {
        self.checkpoint.public_key().as_ref().to_vec()
    }

    /// 64 bits by which something that was refused for a reason is known again. Keyed: a phone number is guessed from an
    /// unkeyed digest in seconds.
    pub fn refused_digest(&self, reason: &str, sent: &[u8]) -> u64 {
        let chain = hmac::Key::new(hmac::HMAC_SHA256, &self.chain);
        let own = hmac::sign(&chain, b"mlinzi refused record");
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()));
        context.update(&[reason.len() as u8]);
        context.update(reason.as_bytes());
        context.update(sent);
        context.sign().as_ref().iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
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
        let (data_key, body) = self.unwrap(context, sealed)?;
        decrypt(&aead_key(&data_key)?, context, body)
    }

    /// The same seal under the vault key in force: only the wrapping of its data key is another.
    ///
    /// # Errors
    /// [`KeyError::Sealed`] where it does not open.
    pub fn rewrap(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let vault = self.vault.first().ok_or(KeyError::Missing("vault"))?;
        let (data_key, body) = self.unwrap(context, sealed)?;
        let mut out = vec![FORMAT, vault.version];
        out.extend(encrypt(&vault.key, context, data_key.as_slice())?);
        out.extend(body);
        Ok(out)
    }

    fn unwrap<'a>(&self, context: &[u8], sealed: &'a [u8]) -> Result<(Zeroizing<[u8; 32]>, &'a [u8]), KeyError> {
        let (head, rest) = sealed.split_at_checked(2).ok_or(KeyError::Sealed)?;
        let vault = self.vault.iter().find(|k| head[0] == FORMAT && k.version == head[1]).ok_or(KeyError::Sealed)?;
        let (wrapped, body) = rest.split_at_checked(NONCE_LEN + 32 + 16).ok_or(KeyError::Sealed)?;
        let data_key = Zeroizing::new(decrypt(&vault.key, context, wrapped)?);
        let bytes = data_key.as_slice().try_into().map_err(|_| KeyError::Sealed)?;
        Ok((Zeroizing::new(bytes), body))
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

/// The ring of the moment; cheap to clone and to look at. A step of a rotation puts another one in its place.
#[derive(Clone)]
pub struct Keys(Arc<ArcSwap<KeyRing>>);

impl Keys {
    /// Begins with a ring.
    pub fn new(ring: KeyRing) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(ring)))
    }

    /// The ring in force; to be taken anew for each request.
    pub fn load(&self) -> Guard<Arc<KeyRing>> {
        self.0.load()
    }

    /// The ring in force, to be kept beyond a pause.
    pub fn hold(&self) -> Arc<KeyRing> {
        self.0.load_full()
    }

    /// Puts another ring in force.
    pub fn put(&self, ring: KeyRing) {
        self.0.store(Arc::new(ring));
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
        // the wrapping is another, the body the same
        let moved = ring.rewrap(b"r", &old).unwrap();
        assert_eq!((moved[1], &moved[62..]), (1, &old[62..]));
        assert_ne!(moved[2..62], old[2..62]);
        assert!(ring.rewrap(b"q", &old).is_err());
        material.forget(KeyPurpose::Vault, 0);
        let ring = KeyRing::new(&material).unwrap();
        assert!(ring.open(b"r", &old).is_err());
        assert_eq!(ring.open(b"r", &moved).unwrap(), b"x");
    }

    #[test]
    fn a_version_writes_once_the_store_knows_it_and_is_not_missed_while_it_is_in_use() {
        let mut material = KeyMaterial::generate().unwrap();
        let known = |material: &KeyMaterial| {
            let all = KeyPurpose::ALL.into_iter().flat_map(|purpose| {
                let there = material.fingerprints(purpose).unwrap().into_iter();
                there.map(move |(version, fingerprint)| KeyVersion::ready_at_first(purpose, version, fingerprint))
            });
            KeyStates { epoch: 3, versions: all.collect() }
        };
        let mut states = known(&material);
        for purpose in KeyPurpose::ALL {
            material.renew(purpose, 1).unwrap();
        }
        let in_force = |states: &KeyStates| {
            let ring = KeyRing::with(&material, states).unwrap();
            (ring.digest.current().version(), ring.digest.live().len(), ring.tokens[0].version(), ring.sealing())
        };
        assert_eq!(in_force(&states), (0, 1, 0, 0), "nobody has begun with version 1");
        states = known(&material);
        states.versions.iter_mut().filter(|v| v.version == 1).for_each(|v| v.state = KeyState::Started);
        assert_eq!(in_force(&states), (0, 2, 0, 1), "it is written beside version 0, and seals");
        states.versions.iter_mut().for_each(|v| v.state = KeyState::Ready);
        assert_eq!(in_force(&states), (1, 2, 1, 1));
        states.versions.iter_mut().filter(|v| v.version == 0).for_each(|v| v.state = KeyState::Retired);
        assert_eq!(in_force(&states), (1, 1, 1, 1));
        let ring = KeyRing::with(&material, &states).unwrap();
        assert_eq!((ring.tokens.len(), ring.retired_tokens.len(), ring.epoch), (1, 1, 3));

        let said = |material: &KeyMaterial| KeyRing::with(material, &states).err().map(|e| e.to_string()).unwrap();
        let mut other = material.clone();
        other.renew(KeyPurpose::Token, 1).unwrap();
        assert_eq!(said(&other), "token key version 1 is another key than the one in use");
        other.forget(KeyPurpose::Token, 1);
        assert_eq!(said(&other), "token key version 1 is in use, and is not there");
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

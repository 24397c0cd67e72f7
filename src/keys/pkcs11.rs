//! Keys sealed by a PKCS#11 token.
//!
//! A lookup has under a microsecond for its digest, so a token cannot be asked each time. It holds one AES-256 key that
//! never leaves it; under that key the material lies sealed in a file (AES-GCM), opened at the start and at each reload.
//! Whoever has the file without the token, or the token without its PIN, has nothing.
//!
//! The file: [`MAGIC`], a nonce of 12 bytes, the sealed text with a tag of 16. The labels of the token and of its key are
//! authenticated with it.

use super::{changed_at, parse, print, read_private, replace};
use crate::config::Keys;
use actors::secrets::{KeyError, KeyMaterial, KeyProvider, random};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use std::path::PathBuf;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// Environment variable with the PIN.
const PIN: &str = "MLINZI_PKCS11_PIN";
const MAGIC: &[u8] = b"mlinzi sealed keys 1\n";
const NONCE_BYTES: usize = 12;
const TAG_BITS: u64 = 128;

/// Keys in a file that a token seals.
pub struct Pkcs11Keys {
    file: PathBuf,
    module: PathBuf,
    token: String,
    key: String,
    pin_file: PathBuf,
}

/// What went wrong at the token.
fn at(what: &str) -> impl FnOnce(Error) -> String {
    move |error| match error {
        Error::Pkcs11(code, _) => format!("{what}: {code:?}"),
        other => format!("{what}: {other}"),
    }
}

/// Ends the module's session with the program, however it went: the next load starts anew, so that a token that was
/// away does not have to be remembered.
struct Module(Option<Pkcs11>);

impl Drop for Module {
    fn drop(&mut self) {
        if let Some(module) = self.0.take() {
            let _ = module.finalize();
        }
    }
}

impl Pkcs11Keys {
    /// As configured.
    pub fn new(keys: &Keys) -> Self {
        Self {
            file: keys.file.clone(),
            module: keys.pkcs11_module.clone(),
            token: keys.pkcs11_token.clone(),
            key: keys.pkcs11_key.clone(),
            pin_file: keys.pkcs11_pin_file.clone(),
        }
    }

    /// Makes the key of the token where it is missing.
    ///
    /// # Errors
    /// [`KeyError::Unwritable`]: no token, no right to it, or a key that can be taken out of it.
    pub fn prepare(&self) -> Result<(), KeyError> {
        let made = self.with_session(true, |session| {
            if !self.keys(session)?.is_empty() {
                return self.wrapping_key(session).map(drop);
            }
            let template = [
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::AES),
                Attribute::ValueLen(32.into()),
                Attribute::Label(self.key.clone().into_bytes()),
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Encrypt(true),
                Attribute::Decrypt(true),
            ];
            session.generate_key(&Mechanism::AesKeyGen, &template).map(drop).map_err(at("a key cannot be made"))
        });
        made.map_err(|what| KeyError::Unwritable(self.named(&what)))
    }

    fn named(&self, what: &str) -> String {
        format!("PKCS#11 token {:?}: {what}", self.token)
    }

    fn pin(&self) -> Result<AuthPin, String> {
        let text = match std::env::var(PIN) {
            Ok(pin) => Zeroizing::new(pin.into_bytes()),
            Err(_) if self.pin_file.as_os_str().is_empty() => {
                return Err(format!("no PIN: set {PIN} or keys.pkcs11_pin_file"));
            }
            Err(_) => Zeroizing::new(read_private(&self.pin_file).map_err(|e| e.to_string())?),
        };
        let pin = std::str::from_utf8(&text).map_err(|_| "the PIN is not a text".to_owned())?;
        Ok(AuthPin::from(pin.trim_end_matches(['\r', '\n'])))
    }

    /// One visit to the token. A refused PIN is never tried again: tokens count.
    fn with_session<T>(&self, write: bool, work: impl FnOnce(&Session) -> Result<T, String>) -> Result<T, String> {
        let pin = self.pin()?;
        let library = Pkcs11::new(&self.module).map_err(at(&self.module.display().to_string()))?;
        library
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(at("the module does not start"))?;
        let module = Module(Some(library.clone()));
        let mut found = Vec::new();
        for slot in library.get_slots_with_initialized_token().map_err(at("no slots"))? {
            if library.get_token_info(slot).map_err(at("a slot tells nothing"))?.label() == self.token {
                found.push(slot);
            }
        }
        let slot = match found[..] {
            [slot] => slot,
            [] => return Err("the module knows none of this label".to_owned()),
            _ => return Err("the module knows several of this label".to_owned()),
        };
        let session = if write { library.open_rw_session(slot) } else { library.open_ro_session(slot) };
        let session = session.map_err(at("no session"))?;
        session.login(UserType::User, Some(&pin)).map_err(|error| match error {
            Error::Pkcs11(RvError::PinIncorrect, _) => "the PIN is wrong".to_owned(),
            Error::Pkcs11(RvError::PinLocked, _) => "the PIN is locked".to_owned(),
            other => at("no login")(other),
        })?;
        let done = work(&session);
        drop(session);
        drop(module);
        done
    }

    fn keys(&self, session: &Session) -> Result<Vec<ObjectHandle>, String> {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Label(self.key.clone().into_bytes()),
        ];
        session.find_objects(&template).map_err(at("its keys cannot be listed"))
    }

    /// The one key of the label, which must be unable to leave the token.
    fn wrapping_key(&self, session: &Session) -> Result<ObjectHandle, String> {
        let key = match self.keys(session)?[..] {
            [key] => key,
            [] => return Err(format!("no AES key {:?} (see `mlinzi key init`)", self.key)),
            _ => return Err(format!("several AES keys {:?}", self.key)),
        };
        let asked = [AttributeType::Sensitive, AttributeType::Extractable, AttributeType::ValueLen];
        let told = session.get_attributes(key, &asked).map_err(at("its key tells nothing"))?;
        let kept = told.contains(&Attribute::Sensitive(true)) && told.contains(&Attribute::Extractable(false));
        if !kept {
            return Err(format!("the key {:?} can be taken out of it", self.key));
        }
        if !told.contains(&Attribute::ValueLen(32.into())) {
            return Err(format!("the key {:?} is not of 256 bits", self.key));
        }
        Ok(key)
    }

    /// A file does not open elsewhere under another name.
    fn context(&self) -> Vec<u8> {
        let mut context = MAGIC.to_vec();
        for label in [&self.token, &self.key] {
            context.extend((label.len() as u32).to_be_bytes());
            context.extend(label.as_bytes());
        }
        context
    }

    fn open(&self, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
        let sealed = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_at_checked(NONCE_BYTES));
        let (nonce, body) = sealed.ok_or_else(|| format!("{}: not sealed keys", self.file.display()))?;
        let (mut nonce, context) = (nonce.to_vec(), self.context());
        self.with_session(false, |session| {
            let key = self.wrapping_key(session)?;
            let gcm = GcmParams::new(&mut nonce, &context, TAG_BITS.into()).map_err(at("AES-GCM"))?;
            let opened = session.decrypt(&Mechanism::AesGcm(gcm), key, body);
            let what = format!("{} does not open: sealed for another token or key, or changed", self.file.display());
            opened.map(Zeroizing::new).map_err(at(&what))
        })
    }

    fn seal(&self, text: &[u8]) -> Result<Vec<u8>, String> {
        let nonce: [u8; NONCE_BYTES] = random().map_err(|e| e.to_string())?;
        let (mut used, context) = (nonce, self.context());
        self.with_session(false, |session| {
            let key = self.wrapping_key(session)?;
            let gcm = GcmParams::new(&mut used, &context, TAG_BITS.into()).map_err(at("AES-GCM"))?;
            let body = session.encrypt(&Mechanism::AesGcm(gcm), key, text).map_err(at("it does not seal"))?;
            Ok([MAGIC, &nonce, &body].concat())
        })
    }
}

impl KeyProvider for Pkcs11Keys {
    fn load(&self) -> Result<KeyMaterial, KeyError> {
        let bytes = read_private(&self.file)?;
        let text = self.open(&bytes).map_err(|what| KeyError::Unreadable(self.named(&what)))?;
        parse(std::str::from_utf8(&text).map_err(|_| KeyError::Unreadable("not a text".to_owned()))?)
    }

    fn save(&self, material: &KeyMaterial) -> Result<(), KeyError> {
        let text = print(material)?;
        let sealed = self.seal(text.as_bytes()).map_err(|what| KeyError::Unwritable(self.named(&what)))?;
        replace(&self.file, &sealed)
    }

    fn changed_at(&self) -> Option<SystemTime> {
        changed_at(&self.file)
    }
}

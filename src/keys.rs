//! Key providers: a file of mode 0600, the same file sealed by a PKCS#11 token, or the environment.

mod pkcs11;

use crate::config::{Keys, Provider};
use actors::secrets::{KeyError, KeyMaterial, KeyProvider};
use pkcs11::Pkcs11Keys;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use zeroize::Zeroizing;

/// Environment variable that holds the material itself (TOML), for platforms that inject secrets.
pub const ENVIRONMENT: &str = "MLINZI_KEYS";

/// Keys in a TOML file.
struct FileKeys(PathBuf);

/// Keys in the environment.
struct EnvironmentKeys;

fn parse(text: &str) -> Result<KeyMaterial, KeyError> {
    // the parser's own message would quote the line, which is a key
    toml::from_str(text).map_err(|_| KeyError::Unreadable("not the expected tables (see `mlinzi key init`)".to_owned()))
}

fn print(material: &KeyMaterial) -> Result<Zeroizing<String>, KeyError> {
    let text = toml::to_string(material).map_err(|_| KeyError::Unwritable("they have no text".to_owned()))?;
    Ok(Zeroizing::new(text))
}

impl KeyProvider for FileKeys {
    fn load(&self) -> Result<KeyMaterial, KeyError> {
        let text = Zeroizing::new(read_private(&self.0)?);
        parse(std::str::from_utf8(&text).map_err(|_| KeyError::Unreadable("not a text".to_owned()))?)
    }

    fn save(&self, material: &KeyMaterial) -> Result<(), KeyError> {
        replace(&self.0, print(material)?.as_bytes())
    }

    fn changed_at(&self) -> Option<SystemTime> {
        changed_at(&self.0)
    }
}

impl KeyProvider for EnvironmentKeys {
    fn load(&self) -> Result<KeyMaterial, KeyError> {
        let text = std::env::var(ENVIRONMENT).map_err(|_| KeyError::Unreadable(format!("{ENVIRONMENT} is not set")))?;
        parse(&Zeroizing::new(text))
    }

    fn save(&self, _: &KeyMaterial) -> Result<(), KeyError> {
        Err(KeyError::Unwritable(format!("they come from {ENVIRONMENT}, which only the platform can change")))
    }
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// Reads a file that nobody else may read.
pub fn read_private(path: &Path) -> Result<Vec<u8>, KeyError> {
    refuse_open_file(path)?;
    std::fs::read(path).map_err(|e| KeyError::Unreadable(format!("{}: {e}", path.display())))
}

#[cfg(unix)]
fn refuse_open_file(path: &Path) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt;
    let Ok(meta) = std::fs::metadata(path) else { return Ok(()) };
    if meta.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(KeyError::Unreadable(format!("{}: others may read it; chmod 600", path.display())))
}

#[cfg(not(unix))]
fn refuse_open_file(_: &Path) -> Result<(), KeyError> {
    Ok(())
}

fn new_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Puts a file in the place of another: after a power cut it is the old one or the new one, and both whole.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    // one that a process of this number left when it died
    let _ = std::fs::remove_file(&beside);
    let written = (|| {
        let mut file = new_private(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        File::open(folder(path))?.sync_all()
    })();
    written.map_err(|e| {
        let _ = std::fs::remove_file(&beside);
        KeyError::Unwritable(format!("{}: {e}", path.display()))
    })
}

fn configured(keys: &Keys) -> Box<dyn KeyProvider> {
    match keys.provider {
        Provider::File => Box::new(FileKeys(keys.file.clone())),
        Provider::Pkcs11 => Box::new(Pkcs11Keys::new(keys)),
    }
}

/// The provider in force: the environment where it is set, else the configured one.
pub fn provider(keys: &Keys) -> Box<dyn KeyProvider> {
    if std::env::var_os(ENVIRONMENT).is_some() { Box::new(EnvironmentKeys) } else { configured(keys) }
}

/// Writes fresh keys; refuses to overwrite, because lost keys are lost data.
pub fn init(keys: &Keys) -> anyhow::Result<()> {
    let path = &keys.file;
    let named = |e: std::io::Error| anyhow::anyhow!("{}: {e}", path.display());
    std::fs::create_dir_all(folder(path)).map_err(named)?;
    // takes the name: of two that start at once, one fails here
    drop(new_private(path).map_err(named)?);
    let made = (|| {
        if keys.provider == Provider::Pkcs11 {
            Pkcs11Keys::new(keys).prepare()?;
        }
        configured(keys).save(&KeyMaterial::generate()?)
    })();
    if made.is_err() {
        let _ = std::fs::remove_file(path);
    }
    Ok(made?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_what_is_loaded_and_nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = testkit::temp_dir();
        let keys = FileKeys(dir.path().join("keys.toml"));
        let (first, second) = (KeyMaterial::generate().unwrap(), KeyMaterial::generate().unwrap());
        for material in [&first, &second] {
            keys.save(material).unwrap();
            let loaded = keys.load().unwrap();
            assert_eq!((&loaded.chain, &loaded.digest), (&material.chain, &material.digest));
        }
        assert_eq!(std::fs::metadata(&keys.0).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named_and_the_environment_cannot_be_saved() {
        let material = KeyMaterial::generate().unwrap();
        let missing = FileKeys(PathBuf::from("/nowhere/keys.toml"));
        assert!(missing.save(&material).unwrap_err().to_string().contains("/nowhere/keys.toml"));
        assert!(matches!(EnvironmentKeys.save(&material), Err(KeyError::Unwritable(_))));
    }
}

//! Key providers: a file of mode 0600, or the environment.

use actors::secrets::{KeyError, KeyMaterial, KeyProvider};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Environment variable that holds the material itself (TOML), for platforms that inject secrets.
pub const ENVIRONMENT: &str = "MLINZI_KEYS";

/// Keys in a TOML file.
pub struct FileKeys(pub PathBuf);

/// Keys in the environment.
pub struct EnvironmentKeys;

fn parse(text: &str) -> Result<KeyMaterial, KeyError> {
    // the parser's own message would quote the line, which is a key
    toml::from_str(text).map_err(|_| KeyError::Unreadable("not the expected tables (see `mlinzi key init`)".to_owned()))
}

impl KeyProvider for FileKeys {
    fn load(&self) -> Result<KeyMaterial, KeyError> {
        let shown = self.0.display();
        refuse_open_file(&self.0)?;
        let text = std::fs::read_to_string(&self.0).map_err(|e| KeyError::Unreadable(format!("{shown}: {e}")))?;
        parse(&text)
    }
}

impl KeyProvider for EnvironmentKeys {
    fn load(&self) -> Result<KeyMaterial, KeyError> {
        let text = std::env::var(ENVIRONMENT).map_err(|_| KeyError::Unreadable(format!("{ENVIRONMENT} is not set")))?;
        parse(&text)
    }
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

/// The provider in force: the environment where it is set, else the file.
pub fn provider(file: &Path) -> Box<dyn KeyProvider> {
    if std::env::var_os(ENVIRONMENT).is_some() {
        Box::new(EnvironmentKeys)
    } else {
        Box::new(FileKeys(file.to_owned()))
    }
}

/// Writes fresh keys; refuses to overwrite, because lost keys are lost data.
pub fn init(path: &Path) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let text = toml::to_string(&KeyMaterial::generate()?)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(())
}

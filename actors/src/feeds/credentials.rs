//! Credentials of sources: named in the journal, kept outside of it.

use super::FetchError;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes of a credential at most.
const CREDENTIAL_BYTES_MAX: usize = 16 << 10;

/// Where a credential is kept.
#[derive(Clone, Debug)]
pub enum Credential {
    /// In a file; white space around it does not count.
    File(PathBuf),
    /// In a variable of the environment.
    Environment(String),
}

/// Credentials by name. Read anew whenever one is needed: a file may be replaced at any time.
#[derive(Clone, Debug, Default)]
pub struct Credentials(Arc<BTreeMap<String, Credential>>);

impl Credentials {
    /// These.
    pub fn new(credentials: impl IntoIterator<Item = (String, Credential)>) -> Self {
        Self(Arc::new(credentials.into_iter().collect()))
    }

    /// Whether the configuration has one of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What it is.
    ///
    /// # Errors
    /// [`FetchError::Settings`] where it is not there, is empty, or too large; never says what it is.
    pub fn value(&self, name: &str) -> Result<Zeroizing<String>, FetchError> {
        let missing = |what: &str| FetchError::Settings(format!("credential {name}: {what}"));
        let text = match self.0.get(name).ok_or_else(|| missing("not in the configuration"))? {
            Credential::File(path) => {
                Zeroizing::new(std::fs::read_to_string(path).map_err(|_| missing("its file cannot be read"))?)
            }
            Credential::Environment(variable) => {
                Zeroizing::new(std::env::var(variable).map_err(|_| missing("its variable is not set"))?)
            }
        };
        let value = text.trim();
        if value.is_empty() || value.len() > CREDENTIAL_BYTES_MAX {
            return Err(missing("empty, or larger than 16 KiB"));
        }
        Ok(Zeroizing::new(value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_read_anew_and_what_is_wrong_with_it_does_not_quote_it() {
        let dir = testkit::temp_dir();
        let file = dir.path().join("token");
        std::fs::write(&file, "hunter2\n").unwrap();
        let kept = [
            ("a".to_owned(), Credential::File(file.clone())),
            ("b".to_owned(), Credential::Environment("MLINZI_TEST_UNSET".to_owned())),
        ];
        let credentials = Credentials::new(kept);
        assert_eq!(*credentials.value("a").unwrap(), "hunter2");
        std::fs::write(&file, "hunter3").unwrap();
        assert_eq!(*credentials.value("a").unwrap(), "hunter3");
        std::fs::write(&file, " \n").unwrap();
        for name in ["a", "b", "c"] {
            let said = credentials.value(name).unwrap_err().to_string();
            assert!(said.contains(&format!("credential {name}")) && !said.contains("hunter"), "{said}");
        }
    }
}

//! What the exit code says to whoever starts the program again, or does not.

use crate::config::ConfigError;
use actors::engine::StartError;
use actors::secrets::KeyError;
use std::process::ExitCode;
use store::{OpenError, StoreError};

/// The database cannot be used now (`EX_UNAVAILABLE` of sysexits.h): another start may go better.
pub const DATABASE: u8 = 69;
/// A defect ended a part that cannot be started again alone (`EX_SOFTWARE`): another start begins where it left off.
pub const DEFECT: u8 = 70;
/// A mistake in the configuration or the keys (`EX_CONFIG`): no other start goes better until somebody mends it.
pub const CONFIGURATION: u8 = 78;

/// The code that says why a command ended.
pub fn code(error: &anyhow::Error) -> ExitCode {
    number(error).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// None where only the text says why.
fn number(error: &anyhow::Error) -> Option<u8> {
    error.chain().find_map(|cause| {
        if let Some(started) = cause.downcast_ref() {
            return match started {
                StartError::Keys(_) | StartError::Key(_) => Some(CONFIGURATION),
                StartError::Store(_) => Some(DATABASE),
                StartError::Actor(_) | StartError::Random => None,
            };
        }
        let is_configuration = cause.is::<ConfigError>()
            || cause.downcast_ref().is_some_and(|keys: &KeyError| !matches!(keys, KeyError::Random));
        let is_database = cause.is::<OpenError>() || cause.is::<StoreError>();
        let found = is_configuration.then_some(CONFIGURATION);
        found.or(is_database.then_some(DATABASE))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn causes_have_their_codes_however_deep_they_lie() {
        let deep = |error: anyhow::Error| Err::<(), _>(error).context("the start").unwrap_err();
        let table = [
            (anyhow::Error::from(ConfigError(vec!["node.id: is 0".to_owned()])), Some(78)),
            (KeyError::Missing("digest").into(), Some(78)),
            (KeyError::Random.into(), None),
            (StartError::Keys("another digest key".to_owned()).into(), Some(78)),
            (StartError::Store(StoreError::Claimed).into(), Some(69)),
            (OpenError::NotSynced("fsync = off".to_owned()).into(), Some(69)),
            (StoreError::Unreadable("fact").into(), Some(69)),
            (StartError::Random.into(), None),
            (anyhow::anyhow!("something else"), None),
        ];
        for (error, code) in table {
            let said = format!("{error:#}");
            assert_eq!(number(&error), code, "{said}");
            assert_eq!(number(&deep(error)), code, "{said}");
        }
    }
}

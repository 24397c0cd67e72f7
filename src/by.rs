//! Who gives an order on the machine itself: a key, or a name that is typed.

use crate::{keys, serve};
use actors::directory::Directory;
use anyhow::Context;
use clap::Args;
use models::operator::Scope;
use models::ts::Ts;
use models::who::Who;
use std::path::PathBuf;
use web::extractors::caller::key_of_bearer;
use zeroize::Zeroizing;

/// Environment variable that holds a bearer.
const ENVIRONMENT: &str = "MLINZI_KEY";

/// Who gives an order.
#[derive(Args)]
pub struct By {
    /// Who it is, where no key says it. Such a name proves nobody: a promotion is refused where keys could say it.
    #[arg(long, conflicts_with = "key_file")]
    by: Option<String>,
    /// File with the bearer of a key with `rules:manage`, readable for its owner alone: it says who it is. Or the bearer
    /// stands in `MLINZI_KEY`.
    #[arg(long)]
    key_file: Option<PathBuf>,
}

impl By {
    /// Is anybody named on the command line?
    pub fn is_given(&self) -> bool {
        self.by.is_some() || self.key_file.is_some()
    }

    /// Who it is.
    ///
    /// # Errors
    /// Nobody is named, both ways are used, or the key is not valid or may not manage rules.
    pub fn who(&self, directory: &Directory, now: Ts) -> anyhow::Result<Who> {
        let bearer = match &self.key_file {
            Some(file) => Some(keys::read_private(file)?),
            None => std::env::var(ENVIRONMENT).ok().map(String::into_bytes),
        };
        match (bearer.map(Zeroizing::new), &self.by) {
            (Some(_), Some(_)) => anyhow::bail!("--by: {ENVIRONMENT} says already who it is"),
            (Some(bearer), None) => of_key(directory, &bearer, now),
            (None, Some(name)) => Ok(Who::typed(name.as_str())),
            (None, None) => anyhow::bail!("who gives the order? Say it with --key-file, {ENVIRONMENT} or --by"),
        }
    }
}

fn of_key(directory: &Directory, bearer: &[u8], now: Ts) -> anyhow::Result<Who> {
    let bearer = std::str::from_utf8(bearer).unwrap_or_default().trim();
    let entry = key_of_bearer(directory, serve::KEY_PREFIX, bearer, now).context("the key is not valid")?;
    let is_of_staff = entry.key.operator_no.is_none() && entry.key.holds(Scope::RulesManage);
    anyhow::ensure!(is_of_staff, "the key has not the scope {}", Scope::RulesManage.as_str());
    Ok(Who::from(&entry.key))
}

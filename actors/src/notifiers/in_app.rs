//! In the application itself: being in the log is all there is to it (`GET /api/v1/notifications`).

use super::{Channel, Context, SendError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use models::notice::Notice;
use models::ts::Ts;
use serde::Deserialize;

/// Nothing to set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Config {
    pub(super) fn check(&self, _: &Context) -> Vec<String> {
        Vec::new()
    }

    #[allow(clippy::unused_self, clippy::unnecessary_wraps)]
    pub(super) fn open(&self, _: &Context) -> Result<InApp, String> {
        Ok(InApp)
    }
}

/// The list that the API reads.
pub struct InApp;

impl Channel for InApp {
    fn send<'a>(&'a self, _: &'a Notice, _: Ts) -> BoxFuture<'a, Result<(), SendError>> {
        std::future::ready(Ok(())).boxed()
    }
}

//! What others than rules may look up in the book: nobody but the book changes it.

use crate::rules::book::Book;
use crate::rules::crowd::Crowd;
use crate::rules::table::Key;

impl Book {
    /// The players of a device.
    #[must_use]
    pub fn device(&self, device: Key) -> Option<&Crowd> {
        self.devices.get(device)
    }

    /// The players that were paid out to an account.
    #[must_use]
    pub fn account(&self, account: Key) -> Option<&Crowd> {
        self.accounts.get(account)
    }
}

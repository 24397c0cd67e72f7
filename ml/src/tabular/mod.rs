//! Learning from rows with a label: transaction risk and player risk.

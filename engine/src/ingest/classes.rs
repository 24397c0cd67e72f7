//! What a class of data asks of its records beyond what every record needs.

use super::{bounded, invalid, missing, refuse};
use models::feed::DataClass;
use models::record::{
    PlayChannel, QuarantineCode, Record, RecordKind, RecordStatus, Refusal, WireRecord, is_break, is_exclusion,
};

/// Does a source of this class take a record of this kind?
pub(super) fn admit(class: DataClass, kind: RecordKind) -> Result<(), Refusal> {
    if class.takes(kind) {
        return Ok(());
    }
    let detail = format!("kind: a source of {} takes no {}", class.as_str(), kind.as_str());
    Err(refuse(QuarantineCode::WrongClass, detail))
}

/// Holds a record against its class, and fills in what the class says.
pub(super) fn complete(class: DataClass, wire: &WireRecord<'_>, record: &mut Record) -> Result<(), Refusal> {
    match class {
        DataClass::GamingTransactions => Ok(()),
        DataClass::SalesRedemptions => {
            if record.bet_id.is_none() {
                return Err(missing("bet.id"));
            }
            record.channel.get_or_insert(PlayChannel::Retail);
            Ok(())
        }
        DataClass::PlayerAccounts => {
            if record.player.is_none() {
                return Err(missing("player"));
            }
            if record.kind == RecordKind::LimitChange { limit(wire) } else { Ok(()) }
        }
        DataClass::Licences | DataClass::Invoices | DataClass::Payments | DataClass::BankStatements => {
            if record.status != RecordStatus::Successful {
                return Err(invalid("status", "a document is there or not; how far it has come is its own state"));
            }
            if record.kind == RecordKind::BankLine && record.balance_after_minor.is_none() {
                return Err(missing("balance_after_minor"));
            }
            Ok(())
        }
    }
}

/// A limit without a new amount was taken away, and says so by the old one: one that names neither says nothing, unless it is
/// a break from play, which has no amount.
fn limit(wire: &WireRecord<'_>) -> Result<(), Refusal> {
    let limit = wire.limit.as_ref().ok_or_else(|| missing("limit"))?;
    let kind = limit.kind.as_ref().filter(|kind| !kind.is_empty()).ok_or_else(|| missing("limit.type"))?;
    if is_exclusion(kind) {
        let told =
            "an exclusion is no limit: report it with POST /api/v1/operators/exclusions, or nobody else keeps to it";
        return Err(invalid("limit.type", told));
    }
    if limit.new_minor.is_none() && limit.old_minor.is_none() && !is_break(kind) {
        return Err(missing("limit.new_minor"));
    }
    for (field, minor) in [("limit.old_minor", limit.old_minor), ("limit.new_minor", limit.new_minor)] {
        let minor = minor.unwrap_or(0);
        if minor < 0 {
            return Err(refuse(QuarantineCode::SignMismatch, format!("{field}: negative")));
        }
        bounded(field, minor)?;
    }
    Ok(())
}

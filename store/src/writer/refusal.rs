//! What an error of the database says about the content, and what about the database.

use super::CommitError;

/// Keys whose numbers the writer gives, as the databases name them. Another process that writes may have taken one
/// since they were read.
const OWN_NUMBERS: [(&str, &str); 8] = [
    ("feed_batches_pkey", "feed_batches.batch_no"),
    ("feed_batches_operator_no_operator_seq_key", "feed_batches.operator_no, feed_batches.operator_seq"),
    ("operator_ticks_pkey", "operator_ticks.operator_no, operator_ticks.operator_seq"),
    ("operator_inputs_pkey", "operator_inputs.operator_no, operator_inputs.operator_seq"),
    ("rule_inputs_pkey", "rule_inputs.operator_no, rule_inputs.input_seq"),
    ("alert_revisions_pkey", "alert_revisions.alert_offset"),
    ("alert_revisions_id_operator_seq_key", "alert_revisions.id, alert_revisions.operator_seq"),
    ("alert_revisions_operator_no_operator_offset_key", "alert_revisions.operator_no, alert_revisions.operator_offset"),
];

/// The database's refusal of the content; none where the database itself is the trouble.
pub(super) fn refusal(error: &sqlx::Error) -> Option<CommitError> {
    if let sqlx::Error::Encode(e) = error
        && let Some(refused) = e.downcast_ref::<CommitError>()
    {
        return Some(refused.clone());
    }
    let sqlx::Error::Database(e) = error else {
        return matches!(error, sqlx::Error::Encode(_))
            .then(|| CommitError::Rejected { detail: "encoding".to_owned() });
    };
    if numbers_taken(error) {
        return None;
    }
    if e.is_unique_violation() {
        return Some(CommitError::Conflict { what: e.constraint().unwrap_or("a unique value").to_owned() });
    }
    let code = e.code().unwrap_or_default();
    // 22: data, 23: constraints, 42: a statement made of bad content, 54: a limit of the database
    let content = e.is_check_violation()
        || e.is_foreign_key_violation()
        || ["22", "23", "42", "54"].iter().any(|class| code.len() == 5 && code.starts_with(class));
    content.then(|| CommitError::Rejected { detail: code.into_owned() })
}

/// Another process took a number of ours: with fresh ones it goes.
pub(super) fn numbers_taken(error: &sqlx::Error) -> bool {
    let Some(e) = error.as_database_error().filter(|e| e.is_unique_violation()) else { return false };
    let columns = e.message().rsplit(": ").next();
    OWN_NUMBERS.iter().any(|(postgres, sqlite)| e.constraint() == Some(*postgres) || columns == Some(*sqlite))
}

/// No space left: waiting does not help whoever waits.
pub(super) fn is_full(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default();
    code == "53100" || code == "13"
}

//! What becomes of an exclusion that an operator reported: from the state that whoever settles it has seen, or not at all.

use crate::db::{Conn, Val};
use crate::risk_models::refused;
use models::event::Event;

/// Writes a later state of a report; a commit that does not follow from what is stored is refused, with all that is in it.
pub(crate) async fn settle(conn: &mut Conn, event: &Event) -> Result<(), sqlx::Error> {
    let Event::ExclusionReportSet(report) = event else { return Ok(()) };
    if report.revision == 1 {
        // its row is a new one
        return Ok(());
    }
    let sql = "UPDATE reported_exclusions SET state = $3, exclusion_id = $4, revision = revision + 1, body = $5 WHERE id = $1 AND state = 'waiting' AND revision = $2";
    let values = [
        Val::Owned(report.id.to_string()),
        Val::Int(i64::from(report.revision) - 1),
        Val::Text(report.state.as_str()),
        report.exclusion.map_or(Val::TextOpt(None), |id| Val::Owned(id.to_string())),
        crate::project::body(report),
    ];
    match conn.run(sql, &values).await? {
        1 => Ok(()),
        _ => Err(refused("the reported exclusion has changed")),
    }
}

//! Sales as a spreadsheet, in the style of Dutch exports: `;`, decimal comma, every cell quoted, `NULL`, day before month.

use super::record::Sent;
use super::scenario::Operator;
use jiff::tz::TimeZone;
use models::ts::Ts;

/// The mapping of such a file; the engine takes its text with the source.
const MAPPING: &str = include_str!("../../../config/feeds/retail_sales.toml");
/// What in it is another operator's.
const OF_THE_EXAMPLE: [&str; 4] = ["nyati-lotto", "Nyati Lotto", "KES", "Africa/Nairobi"];
/// The head of a file.
pub const HEAD: &str = "\"Volgnummer\";\"Datum\";\"Soort\";\"Lotnummer\";\"Bedrag\";\"Product\";\"Verkooppunt\";\"Terminal\";\"Regio\";\"Vervangt\"\r\n";

/// The mapping for the sales of an operator.
pub fn mapping(operator: &Operator) -> String {
    let own = [&operator.code, &operator.name, operator.currency.as_str(), &operator.zone];
    OF_THE_EXAMPLE.iter().zip(own).fold(MAPPING.to_owned(), |text, (theirs, own)| text.replace(theirs, own))
}

/// One row.
pub fn row(sent: &Sent, operator: &Operator) -> String {
    let record = &sent.record;
    // what is taken back is written as less sold
    let (kind, sign) = match record.kind {
        "ticket_sale" => ("VERKOOP", ""),
        "redemption" => ("UITBETALING", ""),
        _ => ("ANNULERING", "-"),
    };
    let minor = record.money.as_ref().map_or(0, |money| money.amount_minor);
    let amount = format!("{sign}{},{:02}", minor / 100, minor % 100);
    let ticket = record.bet.as_ref().and_then(|bet| bet["id"].as_str());
    let cells = [
        Some(record.record_id.as_str()),
        Some(&local(record.occurred_at, &operator.zone)),
        Some(kind),
        ticket,
        Some(&amount),
        record.product.as_deref(),
        record.outlet_id.as_deref(),
        record.terminal_id.as_deref(),
        record.region.as_deref(),
        record.replaces.as_deref(),
    ];
    let cells: Vec<String> = cells.iter().map(|cell| format!("\"{}\"", cell.unwrap_or("NULL"))).collect();
    cells.join(";") + "\r\n"
}

/// `DD/MM/YYYY HH:MM:SS` of a zone.
fn local(at: Ts, zone: &str) -> String {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let instant = jiff::Timestamp::from_microsecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    zone.to_datetime(instant).strftime("%d/%m/%Y %H:%M:%S").to_string()
}

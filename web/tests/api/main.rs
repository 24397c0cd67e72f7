//! The contract over real connections: an engine on a temporary SQLite database behind a real server.

mod admission;
mod alert_groups;
mod batches;
mod classes;
mod compliance;
mod contacts;
mod exclusion_reports;
mod facts;
mod faults;
mod fetching;
mod forecasts;
mod fuzz;
mod harm_signals;
mod http;
mod integrity;
mod licences;
mod live;
mod live_rules;
mod node;
mod notifications;
mod quarantine;
mod risk_models;
mod rules;
mod series;
mod tls;

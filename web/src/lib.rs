//! HTTP and sockets: the only crate that knows statuses, headers and JSON shapes of the outside.
//!
//! A handler is five lines: who → parse → act → view. What may be decided is decided in `engine`; what is shared
//! between workers lives in [`state::AppState`]; what can be called is the list in [`routes::endpoints`].

pub mod cidr;
mod connections;
pub mod extractors;
pub mod front;
pub mod links;
mod live;
pub mod lookup;
pub mod metrics;
pub mod openapi;
mod parse;
pub mod pressure;
pub mod problem;
pub mod proxies;
pub mod rate;
mod report;
pub mod request_id;
pub mod routes;
pub mod sandbox;
pub mod server;
pub mod state;
pub mod tls;
pub mod trace;
pub mod ws;

pub use server::{ServerOptions, run};
pub use state::{AppState, WebOptions};

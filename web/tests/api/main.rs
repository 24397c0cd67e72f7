//! The contract over real connections: an engine on a temporary SQLite database behind a real server.

mod batches;
mod faults;
mod fuzz;
mod http;
mod node;
mod tls;

//! The HTTP server: limits of connections and time, and an end that lets requests finish.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use actix_service::IntoServiceFactory;
use actix_web::{App, HttpServer};

use crate::front::FrontFactory;
use crate::live::look_after;
use crate::lookup::lane::Lane;
use crate::state::AppState;
use crate::tls::{Certificate, RELOAD_EVERY, TlsFiles};
use crate::{connections, routes, ws};

/// A connection whose peer takes none of what was sent for so long is ended. Longer than a watcher may be behind
/// (`actors::live::STALLED_MAX`), so that it is told why where it can be.
const UNREAD_MAX: Duration = Duration::from_secs(12);

/// Limits of the server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Threads that handle requests.
    pub workers: usize,
    /// Connections over all workers; further ones wait in the backlog. How many of them one address may have is
    /// [`crate::WebOptions::address_connections`].
    pub connections_max: usize,
    /// For a request's head to arrive.
    pub client_timeout: Duration,
    /// For a connection without requests.
    pub keep_alive: Duration,
    /// For requests to finish on the way down.
    pub shutdown: Duration,
    /// Certificate and key; without them the server speaks plain HTTP/1.1, with them HTTP/1.1 and HTTP/2.
    pub tls: Option<TlsFiles>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(2, usize::from),
            connections_max: 25_000,
            client_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            shutdown: Duration::from_secs(20),
            tls: None,
        }
    }
}

/// Every connection is a file: takes as many as the system lets this process have.
fn raise_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Serves until `shutdown` resolves: then stops accepting, ends the sockets, lets requests finish. Signals are the
/// caller's.
///
/// # Errors
/// The listener cannot be used.
pub async fn run(
    listener: TcpListener,
    options: ServerOptions,
    state: AppState,
    shutdown: impl Future<Output = ()> + 'static,
) -> io::Result<()> {
    raise_files();
    let shared = state.clone();
    let workers = options.workers.max(1);
    state.metrics.connections_max.set(i64::try_from(options.connections_max).unwrap_or(i64::MAX));
    let counted = state.clone();
    let server = HttpServer::new(move || {
        let (state, worker) = (shared.clone(), shared.worker());
        let lane = Rc::new(Lane::new(state.clone(), worker.clone()));
        let app = App::new().configure(|cfg| routes::configure(cfg, &state, &worker, &lane));
        FrontFactory::new(app.into_factory(), lane)
    })
    .workers(workers)
    .max_connections((options.connections_max / workers).max(1))
    .client_request_timeout(options.client_timeout)
    .keep_alive(options.keep_alive)
    .shutdown_timeout(options.shutdown.as_secs().max(1))
    .tcp_nodelay(true)
    .on_connect(move |io, data| {
        ws::remember_connection(io, data);
        connections::admit(&counted, io, data);
    })
    .disable_signals();
    // connections inherit it: one whose peer takes nothing for so long is ended by the kernel, whatever waits to be written
    rustix::net::sockopt::set_tcp_user_timeout(&listener, UNREAD_MAX.as_millis() as u32)?;
    let server = match options.tls {
        None => server.listen(listener)?,
        Some(files) => {
            let certificate = Certificate::load(files).map_err(io::Error::other)?;
            let config = certificate.server_config().map_err(io::Error::other)?;
            actix_web::rt::spawn(certificate.keep(RELOAD_EVERY));
            server.listen_rustls_0_23(listener, config)?
        }
    };
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(look_after(state.clone()));
    actix_web::rt::spawn(async move {
        shutdown.await;
        state.stop_sockets();
        handle.stop(true).await;
    });
    server.await
}

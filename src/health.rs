//! `mlinzi health`: asks a running engine how it is, for container engines whose images have no other client.

use crate::config::Config;
use crate::{complain, say};
use reqwest::Url;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;
use std::time::Duration;

/// How long the engine has to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How it is asked.
#[derive(clap::Args)]
pub struct Args {
    /// Address of the engine, e.g. http://127.0.0.1:8080; without it the one that the configuration says, on this machine.
    #[arg(long)]
    url: Option<Url>,
    /// Whether it may be asked for lookups, not only whether it is alive.
    #[arg(long)]
    ready: bool,
}

impl Args {
    /// Needs the command the configuration?
    pub fn needs_config(&self) -> bool {
        self.url.is_none()
    }
}

/// Where the engine of this configuration is reached from this machine.
fn own(config: &Config) -> String {
    let host = match config.server.host {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        host => host,
    };
    let scheme = if config.server.tls_files().is_some() { "https" } else { "http" };
    format!("{scheme}://{}", std::net::SocketAddr::new(host, config.server.port))
}

/// The command: 0 where the answer is yes.
pub async fn run(args: Args, config: Option<&Config>) -> anyhow::Result<ExitCode> {
    // its own certificate is made out to its public name, and nothing is told to whoever answers here
    let own = config.map(own);
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().tls_danger_accept_invalid_certs(own.is_some());
    let base = match (args.url, own) {
        (Some(url), _) => url,
        (None, own) => own.unwrap_or_default().parse()?,
    };
    let url = base.join(if args.ready { "/health/ready" } else { "/health/live" })?;
    let answer = client.build()?.get(url).send().await;
    let (is_well, said) = match answer {
        Ok(answer) => (answer.status().is_success(), answer.text().await.unwrap_or_default()),
        Err(error) => (false, error.to_string()),
    };
    if is_well {
        say(&said);
        return Ok(ExitCode::SUCCESS);
    }
    complain(&said);
    Ok(ExitCode::FAILURE)
}

//! TLS 1.3, with certificates that can be renewed while the server runs.
//!
//! The files are looked at again and again; when they have changed and fit each other, new connections get the new
//! certificate and open ones go on. What cannot be used is said in the log and changes nothing.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// How often the files are looked at.
pub const RELOAD_EVERY: Duration = Duration::from_secs(10);

/// Where certificate and key lie, PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate, then those that lead to its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("{file}: {what}")]
    File {
        /// Which.
        file: String,
        /// What is wrong, without its content.
        what: String,
    },
    /// Certificate and key do not belong together, or cannot be used.
    #[error("certificate and key: {0}")]
    Pair(rustls::Error),
}

impl TlsFiles {
    fn load(&self) -> Result<CertifiedKey, TlsError> {
        let wrong = |file: &PathBuf, what: String| TlsError::File { file: file.display().to_string(), what };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|e| wrong(&self.certificate, e.to_string()))?;
        if chain.is_empty() {
            return Err(wrong(&self.certificate, "no certificate in it".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|e| wrong(&self.key, e.to_string()))?;
        CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider()).map_err(TlsError::Pair)
    }

    /// When either file was changed last; none where one is not there.
    fn changed_at(&self) -> Option<(SystemTime, SystemTime)> {
        let changed = |path: &PathBuf| std::fs::metadata(path).and_then(|m| m.modified()).ok();
        Some((changed(&self.certificate)?, changed(&self.key)?))
    }
}

/// The certificate of the moment.
pub struct Certificate {
    files: TlsFiles,
    current: ArcSwap<CertifiedKey>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let current = ArcSwap::from_pointee(files.load()?);
        Ok(Arc::new(Self { files, current }))
    }

    /// The chain that new connections are shown.
    #[must_use]
    pub fn current_chain(&self) -> Vec<CertificateDer<'static>> {
        self.current.load().cert.clone()
    }

    /// What a server needs.
    ///
    /// # Errors
    /// [`TlsError::Pair`] where the cryptography has no TLS 1.3.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Pair)?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Self>::clone(self);
        Ok(builder.with_no_client_auth().with_cert_resolver(resolver))
    }

    /// Takes over what is in the files whenever they have changed. Ends never.
    pub async fn keep(self: Arc<Self>, every: Duration) {
        let mut known = self.files.changed_at();
        let mut interval = tokio::time::interval(every);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let changed = self.files.changed_at();
            if changed.is_none() || changed == known {
                continue;
            }
            match self.files.load() {
                Ok(renewed) => {
                    self.current.store(Arc::new(renewed));
                    known = changed;
                    tracing::info!("the certificate is renewed");
                }
                // half of it may be written: looked at again, and said again
                Err(error) => tracing::error!(%error, "the renewed certificate cannot be used; the old one stays"),
            }
        }
    }
}

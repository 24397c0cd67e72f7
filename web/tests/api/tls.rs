//! TLS: which versions are spoken, and that a renewed certificate is taken over without a restart.

use crate::node::{Node, Setup};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use web::tls::{Certificate, TlsFiles};

/// Writes a new certificate for localhost and gives it.
fn renew(files: &TlsFiles) -> CertificateDer<'static> {
    let key = KeyPair::generate().expect("a key");
    let made = CertificateParams::new(vec!["localhost".to_owned()]).expect("names").self_signed(&key).expect("signed");
    std::fs::write(&files.key, key.serialize_pem()).expect("a file");
    std::fs::write(&files.certificate, made.pem()).expect("a file");
    CertificateDer::from_pem_slice(made.pem().as_bytes()).expect("PEM")
}

fn files(dir: &Path) -> TlsFiles {
    TlsFiles { certificate: dir.join("certificate.pem"), key: dir.join("key.pem") }
}

fn client(root: &CertificateDer<'_>) -> reqwest::ClientBuilder {
    let root = reqwest::Certificate::from_der(root).expect("a certificate");
    reqwest::Client::builder().tls_certs_only([root]).no_proxy().timeout(Duration::from_secs(5))
}

#[actix_web::test]
async fn a_server_with_a_certificate_speaks_tls_1_3_and_http_2() {
    let dir = testkit::temp_dir();
    let files = files(dir.path());
    // a second test in this process finds it installed
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = renew(&files);
    let node = Node::start_as(Setup { tls: Some(files.clone()), ..Setup::default() }).await;
    let url = format!("https://localhost:{}/health/live", node.address.port());
    let answer = client(&root).build().expect("a client").get(&url).send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
    let old = client(&root).http1_only().build().expect("a client").get(&url).send().await.expect("an answer");
    assert_eq!(old.version(), reqwest::Version::HTTP_11);
    let too_old = client(&root).tls_version_max(reqwest::tls::Version::TLS_1_2).build().expect("a client");
    assert!(too_old.get(&url).send().await.is_err(), "TLS 1.2 is spoken");
    let plain = reqwest::Client::new().get(format!("http://{}/health/live", node.address)).send().await;
    assert!(!plain.is_ok_and(|answer| answer.status().is_success()), "plain HTTP is spoken");
    node.stop().await;
}

#[actix_web::test]
async fn behind_tls_too_an_address_gets_its_share_of_the_connections() {
    let dir = testkit::temp_dir();
    let files = files(dir.path());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = renew(&files);
    let node = Node::start_as(Setup { tls: Some(files), address_connections: 4, ..Setup::default() }).await;
    let url = format!("https://localhost:{}/health/live", node.address.port());
    // each keeps its connection, whichever version it speaks
    let mut clients = Vec::new();
    for n in 0..12 {
        let client = if n % 2 == 0 { client(&root) } else { client(&root).http1_only() };
        let client = client.build().expect("a client");
        let answer = client.get(&url).send().await;
        clients.push((client, answer.is_ok_and(|answer| answer.status().is_success())));
    }
    assert_eq!(clients.iter().filter(|(_, answered)| *answered).count(), 4);
    drop(clients);
    node.stop().await;
}

#[actix_web::test]
async fn a_renewed_certificate_is_taken_over_and_a_broken_one_is_not() {
    let dir = testkit::temp_dir();
    let files = files(dir.path());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let first = renew(&files);
    let certificate = Certificate::load(files.clone()).expect("a certificate");
    let keeping = actix_web::rt::spawn(Arc::clone(&certificate).keep(Duration::from_millis(10)));
    let now = || certificate.current_chain();
    assert_eq!(now(), std::slice::from_ref(&first));
    std::fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nhalf").expect("a file");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(now(), std::slice::from_ref(&first), "half a file is taken over");
    let second = renew(&files);
    let end = tokio::time::Instant::now() + Duration::from_secs(10);
    while now() != std::slice::from_ref(&second) {
        assert!(tokio::time::Instant::now() < end, "the renewed certificate is not taken over");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    keeping.abort();
    // a certificate with the key of another one
    let other = KeyPair::generate().expect("a key");
    std::fs::write(&files.key, other.serialize_pem()).expect("a file");
    let refused = Certificate::load(files).expect_err("they do not fit").to_string();
    assert!(refused.starts_with("certificate and key: "), "{refused}");
}

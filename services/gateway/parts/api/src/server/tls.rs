//! TLS of the public port.

use anyhow::{Context, ensure};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;

/// Reads certificate chain and key (PEM) into a configuration that offers HTTP/2 and HTTP/1.1.
pub fn config(cert_file: &Path, key_file: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let place = |file: &Path| format!("tls: {}", file.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert_file)
        .with_context(|| place(cert_file))?
        .collect::<Result<_, _>>()
        .with_context(|| place(cert_file))?;
    ensure!(!chain.is_empty(), "{}: there is no certificate in it", place(cert_file));
    let key = PrivateKeyDer::from_pem_file(key_file).with_context(|| place(key_file))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("tls: certificate and key do not belong together")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

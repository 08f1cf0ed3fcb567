//! TLS for servers: with a certificate chain and its key, read from PEM files, or with a certificate of their own making.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WantsServerCert;
use rustls::{ConfigBuilder, ServerConfig};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::{Signer, own_certificate};

/// The largest PEM file that is read, in bytes.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// The files of a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that vouch for it, the server's own first.
    pub certificates: PathBuf,
    /// The key of the certificate.
    pub key: PathBuf,
}

/// Why a certificate or its key cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} does not hold {expected} in the PEM form: {reason}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// No certificate can be made.
    #[error("no certificate can be made for the service's own key")]
    NotMade(#[source] rustls::Error),
    /// Certificate and key do not fit, or cannot be used.
    #[error("the certificate {} cannot be used", certificates.display())]
    Unusable {
        /// The certificate's file.
        certificates: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

/// What takes TLS connections with the certificate in `files`.
pub(super) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let certificates = certificates(&files.certificates)?;
    let bytes = Zeroizing::new(read(&files.key)?);
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| TlsError::NotPem {
        path: files.key.clone(),
        expected: "a private key",
        reason: error.to_string(),
    })?;
    let unusable = |source| TlsError::Unusable { certificates: files.certificates.clone(), source };
    let config = builder().and_then(|builder| builder.with_single_cert(certificates, key)).map_err(unusable)?;
    Ok(of_config(config))
}

/// What takes TLS connections with a certificate that is made now, for the service's own key.
pub(super) fn own_acceptor(signer: &Arc<dyn Signer>) -> Result<TlsAcceptor, TlsError> {
    let certificate = own_certificate::certificate(signer).map_err(TlsError::NotMade)?;
    Ok(of_config(builder().map_err(TlsError::NotMade)?.with_cert_resolver(certificate)))
}

fn builder() -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_no_client_auth())
}

fn of_config(mut config: ServerConfig) -> TlsAcceptor {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// The certificates in the PEM file `path`, one at least.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let not_pem = |reason: String| TlsError::NotPem { path: path.to_owned(), expected: "certificates", reason };
    let bytes = read(path)?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|error| not_pem(error.to_string()))?;
    if certificates.is_empty() { Err(not_pem("there is no certificate in it".to_owned())) } else { Ok(certificates) }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read as _;
    let unreadable = |source| TlsError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > PEM_BYTES_MAX {
        return Err(unreadable(io::Error::other("it is larger than 1 MiB")));
    }
    Ok(bytes)
}

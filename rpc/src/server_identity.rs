//! Whom a client of TLS believes to be the server it asked for.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use tycoon_market::PublicKey;

use crate::own_certificate;

/// Who is believed.
#[derive(Debug)]
pub(crate) enum Believed {
    /// Everybody. What the answer says proves who answers; TLS only keeps others from reading along.
    Anybody,
    /// Who has the key that the service is known by, whatever names and times stand in the certificate; and others as
    /// everybody does.
    KnownKey {
        /// The key as certificates have it.
        info: Vec<u8>,
        /// `None` where no certificates are trusted.
        others: Option<Arc<WebPkiServerVerifier>>,
    },
}

impl Believed {
    /// Who has this key, or a certificate that `others` trusts.
    pub(crate) fn known(key: &PublicKey, others: Option<Arc<WebPkiServerVerifier>>) -> Self {
        Self::KnownKey { info: own_certificate::info(key), others }
    }
}

/// Checks that who answers is believed, and has the key of the certificate that he shows.
#[derive(Debug)]
pub(crate) struct ServerIdentity {
    believed: Believed,
    provider: Arc<CryptoProvider>,
}

impl ServerIdentity {
    pub(crate) const fn new(believed: Believed, provider: Arc<CryptoProvider>) -> Self {
        Self { believed, provider }
    }
}

impl ServerCertVerifier for ServerIdentity {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Believed::KnownKey { info, others } = &self.believed else {
            return Ok(ServerCertVerified::assertion());
        };
        if ParsedCertificate::try_from(end_entity)?.subject_public_key_info().as_ref() == info {
            return Ok(ServerCertVerified::assertion());
        }
        match others {
            Some(others) => others.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

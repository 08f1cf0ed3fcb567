//! TLS by the key that a service has anyway: it makes a certificate for that key when it starts, and who knows the key
//! needs no other word for it. Nothing has to be bought, renewed or handed on.
//!
//! What is signed for TLS begins with 64 blanks and the name of TLS (RFC 8446, section 4.4.3), and a certificate with the
//! byte `0x30`: neither can be taken for a signed call, whose text begins with a quotation mark (RFC 9421).

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use tycoon_market::PublicKey;

use crate::Signer;

/// What stands before the 32 bytes of an Ed25519 key in a certificate (RFC 8410).
const ED25519_INFO: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The key as certificates have it.
pub(crate) fn info(key: &PublicKey) -> Vec<u8> {
    [&ED25519_INFO[..], key.as_bytes()].concat()
}

/// The key of a service, as TLS and certificates use it.
struct OwnKey {
    signer: Arc<dyn Signer>,
    public: [u8; 32],
    info: Vec<u8>,
}

impl fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnKey")
    }
}

impl rcgen::PublicKeyData for OwnKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for OwnKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.signer.try_sign(message);
        signature.map(Vec::from).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// The same key, to be asked by TLS.
#[derive(Clone, Debug)]
struct Signing(Arc<OwnKey>);

impl rustls::sign::SigningKey for Signing {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(self.clone()) as Box<dyn rustls::sign::Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(&self.0.info[..]))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl rustls::sign::Signer for Signing {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signature = self.0.signer.try_sign(message);
        signature.map(Vec::from).map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// A certificate for the key of a service, made now.
pub(crate) fn certificate(signer: &Arc<dyn Signer>) -> Result<Arc<dyn ResolvesServerCert>, rustls::Error> {
    let public = signer.public_key();
    let key = Arc::new(OwnKey { signer: signer.clone(), public: *public.as_bytes(), info: info(&public) });
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, public.fingerprint());
    let made = parameters.self_signed(&*key).map_err(|error| rustls::Error::General(error.to_string()))?;
    let certified = CertifiedKey::new(vec![made.der().clone()], Arc::new(Signing(key)));
    Ok(Arc::new(SingleCertAndKey::from(certified)))
}

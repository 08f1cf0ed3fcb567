//! Calls to where somebody says he is: one request to one address, bounded in every way, and believed in nothing.
//!
//! It tells apart what matters when addresses are verified: nobody there, somebody, and an answer. There are no
//! redirects, no proxies and no retries. With TLS any certificate will do, for who answers has to be proven by what the
//! answer says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::server_identity::{Believed, ServerIdentity};

/// Where to call: scheme, host and port of an `http://` or `https://` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackTarget {
    /// True for `https`.
    pub is_tls: bool,
    /// The host, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl CallbackTarget {
    /// The target of a URL; `None` for one that is no HTTP address.
    pub fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.trim_end_matches('/').parse().ok()?;
        let is_tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { is_tls, host, port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }) })
    }

    /// The same target at a numeric address.
    #[must_use]
    pub fn at(&self, address: std::net::IpAddr) -> Self {
        Self { host: address.to_string(), ..self.clone() }
    }

    /// The target as a URL.
    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What a call found.
#[derive(Debug)]
pub enum Found {
    /// No connection came about, for this reason.
    NoConnection(String),
    /// Somebody is there, but gave no answer that could be read, for this reason.
    NoAnswer(String),
    /// An answer.
    Answer(Response<Vec<u8>>),
}

/// Makes such calls.
#[derive(Clone)]
pub struct CallbackClient {
    tls: TlsConnector,
    connect_timeout: Duration,
    answer_timeout: Duration,
    answer_bytes_max: usize,
}

impl CallbackClient {
    /// A client that waits so long for connections and then for answers, and reads so much of them.
    pub fn new(
        connect_timeout: Duration,
        answer_timeout: Duration,
        answer_bytes_max: usize,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ServerIdentity::new(Believed::Anybody, provider)))
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), connect_timeout, answer_timeout, answer_bytes_max })
    }

    /// Posts JSON to `path` at a target, at one of the addresses that it has.
    pub async fn post(&self, target: &CallbackTarget, address: SocketAddr, path: &str, json: Vec<u8>) -> Found {
        let stream = match timeout(self.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Found::NoConnection(error.to_string()),
            Err(_) => {
                return Found::NoConnection(format!("no connection within {} s", self.connect_timeout.as_secs()));
            }
        };
        let asked = async {
            if target.is_tls {
                let name = ServerName::try_from(target.host.clone()).map_err(|error| error.to_string())?;
                let stream = self.tls.connect(name, stream).await.map_err(|error| error.to_string())?;
                self.ask(stream, target, path, json).await
            } else {
                self.ask(stream, target, path, json).await
            }
        };
        match timeout(self.answer_timeout, asked).await {
            Ok(Ok(response)) => Found::Answer(response),
            Ok(Err(reason)) => Found::NoAnswer(reason),
            Err(_) => Found::NoAnswer(format!("no answer within {} s", self.answer_timeout.as_secs())),
        }
    }

    async fn ask<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        target: &CallbackTarget,
        path: &str,
        json: Vec<u8>,
    ) -> Result<Response<Vec<u8>>, String> {
        let failed = |error: hyper::Error| error.to_string();
        let mut builder = hyper::client::conn::http1::Builder::new();
        builder.max_headers(64).max_buf_size(16 << 10);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let request = Request::post(path)
            .header(header::HOST, target.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .header(header::USER_AGENT, concat!("tycoon/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(json)))
            .map_err(|error| error.to_string())?;
        let answered = async {
            let (head, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
            let body = Limited::new(body, self.answer_bytes_max).collect().await.map_err(|error| error.to_string())?;
            Ok(Response::from_parts(head, Vec::from(body.to_bytes())))
        };
        let mut answered = std::pin::pin!(answered);
        tokio::select! {
            answer = &mut answered => answer,
            ended = connection => {
                ended.map_err(failed)?;
                // The connection may end just after the answer has come.
                answered.await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_http_addresses() {
        let url = |url: &str| CallbackTarget::of(url).map(|target| target.url());
        assert_eq!(url("https://host1.example.org:7700/").as_deref(), Some("https://host1.example.org:7700"));
        assert_eq!(url("http://[2001:db8::1]").as_deref(), Some("http://[2001:db8::1]:80"));
        assert_eq!(url("ssh://host1"), None);
        let there = CallbackTarget::of("https://host1:7700").unwrap().at([192, 0, 2, 7].into());
        assert_eq!(there.url(), "https://192.0.2.7:7700");
    }
}

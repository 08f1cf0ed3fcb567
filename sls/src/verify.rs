//! Calling hosts back at their addresses, so that nobody registers where he is not.
//!
//! A thread takes the hosts whose turn it is, asks at the self-known and at the external address, lets the
//! [table](crate::reach) judge, and tells the registry. Only the registered port is called, and only with a challenge;
//! redirects are not followed; calls to one address are limited in rate, all calls in number.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tycoon_market::PublicKey;
use tycoon_rpc::callback::{CallbackClient, CallbackTarget, Found};
use tycoon_rpc::nonce::{NonceSource as _, RandomNonces};

use crate::challenge::{Challenge, ChallengeNonce, PATH, PROOF_BYTES_MAX, Proof};
use crate::reach::{Accepted, Finding, Verdict, judge};
use crate::registry::{Callback, Judgement};
use crate::service::SlsService;

/// The most addresses of one host that are asked at.
const ADDRESSES_ASKED_MAX: usize = 3;
/// The most numeric addresses of one name that are asked at.
const NUMERIC_ASKED_MAX: usize = 2;
/// How often it is looked whose turn it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The most addresses whose rate is remembered.
const RATES_MAX: usize = 50_000;

/// How hosts are called back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifySettings {
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long the answer may take then.
    pub answer_timeout: Duration,
    /// Calls at a time.
    pub at_once_max: usize,
    /// Calls to one numeric address in a second, in the long run.
    pub per_address_per_second: u32,
    /// Calls to one numeric address at a time that may be saved up.
    pub per_address_burst: u32,
}

impl Default for VerifySettings {
    /// 3 s to connect, 5 s to answer, 64 at a time; to one address 10 a second and 50 at once.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            answer_timeout: Duration::from_secs(5),
            at_once_max: 64,
            per_address_per_second: 10,
            per_address_burst: 50,
        }
    }
}

/// Why hosts cannot be called back.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The thread cannot be started.
    #[error("the thread that calls hosts back cannot be started")]
    Thread(#[from] io::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up for calling hosts back: {0}")]
    Tls(String),
}

/// A thread that calls hosts back. It ends where it is dropped.
#[derive(Debug)]
pub struct Verifier {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Verifier {
    /// Starts to call back the hosts of a service whose policy says that it verifies.
    pub fn start(service: Arc<SlsService>, settings: VerifySettings) -> Result<Self, VerifyError> {
        let client = CallbackClient::new(settings.connect_timeout, settings.answer_timeout, PROOF_BYTES_MAX)
            .map_err(|error| VerifyError::Tls(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let work = move || {
            runtime.block_on(run(&service, client, settings, &stopped));
            // Names that are being looked up are not waited for.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("tycoon-verify".to_owned()).spawn(work)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It fails only by a panic, of which its own message has told.
            let _ = thread.join();
        }
    }
}

async fn run(service: &Arc<SlsService>, client: CallbackClient, settings: VerifySettings, stopped: &AtomicBool) {
    let places = Arc::new(Semaphore::new(settings.at_once_max.max(1)));
    let asker = Arc::new(Asker { client, sls: service.public_key(), rates: Rates::new(settings) });
    while !stopped.load(Ordering::Relaxed) {
        for callback in service.callbacks_due(places.available_permits()) {
            let Ok(place) = places.clone().try_acquire_owned() else {
                service.call_back_later(callback.host);
                continue;
            };
            let (service, asker) = (service.clone(), asker.clone());
            tokio::spawn(async move {
                match asker.judge(&callback).await {
                    Some(judgement) => service.judge(&callback, judgement),
                    None => service.call_back_later(callback.host),
                }
                drop(place);
            });
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

struct Asker {
    client: CallbackClient,
    sls: PublicKey,
    rates: Rates,
}

/// What was found at an address, and in words.
struct Told {
    finding: Finding,
    why: String,
}

impl Asker {
    /// Judges where a host is; `None` where it cannot be asked now.
    async fn judge(&self, callback: &Callback) -> Option<Judgement> {
        let targets: Vec<CallbackTarget> = callback
            .addresses
            .iter()
            .filter_map(|address| CallbackTarget::of(address))
            .take(ADDRESSES_ASKED_MAX)
            .collect();
        let Some(first) = targets.first() else {
            // It is in no network of ours: simulated, or reached by SSH only.
            let standing = crate::reach::Standing::Unverified;
            return Some(Judgement::Accept { standing, connection: None, addresses: Vec::new() });
        };
        let mut own = Told { finding: Finding::NoConnection, why: "nobody answers".to_owned() };
        let mut verified = Vec::new();
        let mut is_same = false;
        for target in &targets {
            let numeric = self.resolve(target, callback.observed).await;
            if target == first {
                is_same =
                    callback.observed.is_some_and(|observed| numeric.iter().any(|ip| ip.to_canonical() == observed));
            }
            for address in numeric.into_iter().take(NUMERIC_ASKED_MAX) {
                let told = self.ask(callback, target, address).await?;
                match (told.finding, own.finding) {
                    (Finding::Verified, _) => {
                        verified.push(target.url());
                        own = told;
                        break;
                    }
                    (Finding::Failed, Finding::NoConnection) => own = told,
                    _ => {}
                }
            }
        }
        let external = match callback.observed {
            // What cannot be asked at is where nobody answers.
            None => Told { finding: Finding::NoConnection, why: "where it registered from is not known".to_owned() },
            Some(_) if is_same => Told { finding: own.finding, why: own.why.clone() },
            Some(observed) if is_forbidden(observed, Some(observed)) => {
                Told { finding: Finding::NoConnection, why: "nobody is called there".to_owned() }
            }
            Some(observed) => self.ask(callback, &first.at(observed), observed).await?,
        };
        let verdict = judge(external.finding, own.finding, is_same);
        let Verdict::Accept { standing, at, connection } = verdict else {
            let place = callback.addresses.first().map(|address| address.to_string()).unwrap_or_default();
            let reason = format!("host {} does not answer at {place}: {}", callback.host, own.why);
            return Some(Judgement::Reject { reason });
        };
        let outside = callback.observed.map(|observed| first.at(observed).url());
        let inside = if verified.is_empty() {
            callback.addresses.iter().map(|address| address.to_string()).collect()
        } else {
            verified
        };
        let addresses = match at {
            Accepted::SelfKnown => inside,
            Accepted::External => outside.into_iter().collect(),
            Accepted::Both => inside.into_iter().chain(outside).collect(),
        };
        Some(Judgement::Accept { standing, connection: Some(connection), addresses })
    }

    /// The numeric addresses of a target at which it may be asked.
    async fn resolve(&self, target: &CallbackTarget, observed: Option<IpAddr>) -> Vec<IpAddr> {
        let found = match target.host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => {
                let looked_up = tokio::net::lookup_host((target.host.as_str(), target.port));
                let found = timeout(Duration::from_secs(5), looked_up).await;
                found.ok().and_then(Result::ok).map(|found| found.map(|at| at.ip()).collect()).unwrap_or_default()
            }
        };
        found.into_iter().filter(|address| !is_forbidden(*address, observed)).collect()
    }

    /// Asks at one address; `None` where it was asked too often lately.
    async fn ask(&self, callback: &Callback, target: &CallbackTarget, address: IpAddr) -> Option<Told> {
        if !self.rates.take(address) {
            return None;
        }
        let (Ok(one), Ok(other)) = (RandomNonces.nonce(), RandomNonces.nonce()) else { return None };
        let mut nonce = [0; 32];
        nonce[..16].copy_from_slice(&one);
        nonce[16..].copy_from_slice(&other);
        let challenge = Challenge { host: callback.host, sls: self.sls, nonce: ChallengeNonce::from_bytes(nonce) };
        let json = serde_json::to_vec(&challenge).ok()?;
        let at = SocketAddr::new(address, target.port);
        Some(match self.client.post(target, at, PATH, json).await {
            Found::NoConnection(why) => Told { finding: Finding::NoConnection, why },
            Found::NoAnswer(why) => Told { finding: Finding::Failed, why },
            Found::Answer(response) => {
                let proof: Option<Proof> = serde_json::from_slice(response.body()).ok();
                if proof.is_some_and(|proof| challenge.is_met(&proof, &callback.key)) {
                    Told { finding: Finding::Verified, why: String::new() }
                } else {
                    let why = format!("somebody else answers there (HTTP status {})", response.status().as_u16());
                    Told { finding: Finding::Failed, why }
                }
            }
        })
    }
}

/// True for addresses at which nobody is called: those that are no host's, and this machine's own unless the host is on
/// this machine too.
fn is_forbidden(address: IpAddr, observed: Option<IpAddr>) -> bool {
    let is_special = match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_link_local()
        }
        IpAddr::V6(address) => address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local(),
    };
    let is_near = observed.is_some_and(|observed| observed.to_canonical().is_loopback());
    is_special || (address.to_canonical().is_loopback() && !is_near)
}

/// How often addresses were called lately: a bucket of tokens for each.
struct Rates {
    settings: VerifySettings,
    buckets: Mutex<HashMap<IpAddr, (f64, Instant)>>,
}

impl Rates {
    fn new(settings: VerifySettings) -> Self {
        Self { settings, buckets: Mutex::default() }
    }

    /// True where the address may be called now.
    fn take(&self, address: IpAddr) -> bool {
        let (rate, burst) =
            (f64::from(self.settings.per_address_per_second), f64::from(self.settings.per_address_burst.max(1)));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if buckets.len() >= RATES_MAX {
            // A full bucket says no more than none.
            buckets.retain(|_, (tokens, at)| *tokens + now.duration_since(*at).as_secs_f64() * rate < burst);
        }
        if buckets.len() >= RATES_MAX {
            return false;
        }
        let (tokens, at) = buckets.entry(address).or_insert((burst, now));
        *tokens = (*tokens + now.duration_since(*at).as_secs_f64() * rate).min(burst);
        *at = now;
        let is_allowed = *tokens >= 1.0;
        if is_allowed {
            *tokens -= 1.0;
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_called_where_no_host_can_be() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let out = Some(ip("198.51.100.7"));
        for address in ["0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "fe80::1", "ff02::1", "::"] {
            assert!(is_forbidden(ip(address), out), "{address}");
        }
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(is_forbidden(ip(address), out), "{address}");
            assert!(is_forbidden(ip(address), None), "{address}");
            assert!(!is_forbidden(ip(address), Some(ip("127.0.0.1"))), "{address}");
        }
        assert!(!is_forbidden(ip("10.0.0.5"), out));
    }

    #[test]
    fn one_address_is_not_called_again_and_again() {
        let settings = VerifySettings { per_address_per_second: 0, per_address_burst: 3, ..VerifySettings::default() };
        let rates = Rates::new(settings);
        let taken = |address: [u8; 4]| (0..10).filter(|_| rates.take(address.into())).count();
        assert_eq!(taken([192, 0, 2, 1]), 3);
        assert_eq!(taken([192, 0, 2, 2]), 3);
        assert_eq!(taken([192, 0, 2, 1]), 0);
    }
}

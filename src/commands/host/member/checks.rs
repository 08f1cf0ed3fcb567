//! Whether the parties of the site are those that they should be, seen from the host, and whether it agrees with them on
//! the time.

use std::time::{Duration, Instant};

use http::Request;
use tycoon_bank::client::introduce;
use tycoon_market::PublicKey;
use tycoon_rpc::{Caller, HttpSettings, HttpTransport, Limits, SecretKey, Transport as _, caller};
use tycoon_sls::SlsClient;
use tycoon_sls::client::NamedCaller;
use tycoon_sls::service::SlsFacts;

use super::super::serve::one_line;
use super::Member;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// How far a clock may be from the bank's before calls are refused.
const SKEW_SECONDS_MAX: i64 = 30;
/// How long a host has to answer, and then to be registered.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

fn transport(url: &str, member: &Member) -> Result<HttpTransport, Failure> {
    let settings = HttpSettings { trusted: member.trusted.clone(), ..HttpSettings::default() };
    HttpTransport::new(url, &settings).map_err(|error| Failure::from_error(Exit::Usage, &error))
}

/// The way to the market of this machine, whose key is known here once it is made.
fn own_transport(member: &Member) -> Result<HttpTransport, Failure> {
    let known_key = member.identity()?.map(|(_, key)| key);
    let settings = HttpSettings { trusted: member.trusted.clone(), known_key, ..HttpSettings::default() };
    HttpTransport::new(&member.own_url(), &settings).map_err(|error| Failure::from_error(Exit::Usage, &error))
}

fn agree(what: &str, url: &str, shown: PublicKey, expected: PublicKey) -> Result<(), Failure> {
    if shown == expected {
        return Ok(());
    }
    let message = format!("the {what} at {url} has the key {}, not {}", shown.fingerprint(), expected.fingerprint());
    Err(Failure::new(Exit::Failed, message).help("ask the site's operator which key is right; nothing was changed"))
}

/// The bank and the services are there with their keys, and the clock is theirs.
pub fn parties(member: &Member, output: &Output) -> Result<(), Failure> {
    let (url, key) = &member.bank;
    let way = transport(url, member)?;
    let unreached = |what: &str, url: &str, error: &dyn std::error::Error| {
        Failure::new(Exit::Failed, format!("this machine cannot ask the {what} at {url}: {}", one_line(error)))
            .help("look whether the address is right and leads there from this machine; nothing was changed")
    };
    let bank = introduce(&way).map_err(|error| unreached("bank", url, &error))?;
    agree("bank", url, bank.key, *key)?;
    output.message(&format!("✓ the bank at {url} answers with its key"));
    if let Some(ahead) = seconds_ahead(&way) {
        if ahead.abs() > SKEW_SECONDS_MAX {
            let way = if ahead > 0 { "ahead of" } else { "behind" };
            return Err(Failure::new(
                Exit::Failed,
                format!("the clock of this machine is {} s {way} the bank's; calls would be refused", ahead.abs()),
            )
            .help("see what `timedatectl` says, and have the time kept: apt-get install systemd-timesyncd"));
        }
        output.message("✓ the clock agrees with the bank's");
    }
    for (url, key) in &member.services {
        let way = transport(url, member)?;
        let what = "service location service";
        let facts = caller::introduce(&way, "/v1/sls", &Limits::DEFAULT, |facts: &SlsFacts| facts.key)
            .map_err(|error| unreached(what, url, &error))?;
        agree(what, url, facts.key, *key)?;
        output.message(&format!("✓ the {what} at {url} answers with its key"));
    }
    Ok(())
}

/// By how many seconds the clock here is ahead of that of the service; `None` where it does not say.
fn seconds_ahead(way: &HttpTransport) -> Option<i64> {
    let answer = way.send(Request::get("/healthz").body(Vec::new()).ok()?).ok()?;
    let date = answer.headers().get(http::header::DATE)?.to_str().ok()?;
    let there = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Some(jiff::Timestamp::now().as_second() - there.as_second())
}

/// How the market of this machine is: `Ok` where it says that it is well.
pub fn health(member: &Member) -> Result<(), String> {
    let way = own_transport(member).map_err(|failure| failure.message())?;
    let request = Request::get("/healthz").body(Vec::new()).map_err(|error| error.to_string())?;
    let answer = way.send(request).map_err(|error| one_line(&error))?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(answer.body()).trim().to_owned())
}

/// A page of the market of this machine.
pub fn page(member: &Member, path: &str) -> Option<String> {
    let way = own_transport(member).ok()?;
    let answer = way.send(Request::get(path).body(Vec::new()).ok()?).ok()?;
    answer.status().is_success().then(|| String::from_utf8_lossy(answer.body()).into_owned())
}

/// Waits until the market says that it is well; else what it said last.
pub fn wait_for_health(member: &Member) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        match health(member) {
            Ok(()) => return Ok(()),
            Err(reason) if begun.elapsed() > PATIENCE => return Err(reason),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Waits until all services list the host; those that do not, with the reason.
pub fn wait_for_registration(member: &Member) -> Result<Vec<String>, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::from_error(Exit::Failed, error);
    let Some((id, _)) = member.identity()? else { return Ok(Vec::new()) };
    // What is read needs no key that anybody knows.
    let nobody = std::sync::Arc::new(SecretKey::generate().map_err(|error| failed(&error))?);
    let mut missing = Vec::new();
    let begun = Instant::now();
    for (url, key) in &member.services {
        let caller = Caller::new(nobody.clone(), *key, std::sync::Arc::new(transport(url, member)?));
        let client = SlsClient::new(vec![NamedCaller { name: url.clone(), caller }]);
        loop {
            let reason = match client.host(&id) {
                Ok(Some(host)) if host.is_live => break,
                Ok(_) => "it does not list the host".to_owned(),
                Err(problem) => one_line(&problem),
            };
            if begun.elapsed() > PATIENCE {
                missing.push(format!("{url}: {reason}"));
                break;
            }
            std::thread::sleep(PAUSE);
        }
    }
    Ok(missing)
}

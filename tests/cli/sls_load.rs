//! A service location service under load and abuse: many hosts, a kill in between, and clients that mean ill.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tycoon_rpc::{Caller, HttpSettings, HttpTransport, SecretKey};
use tycoon_sls::SignedRecord;
use tycoon_sls::service::{Listing, Registered, SlsFacts};

use crate::environment::Environment;
use crate::sls::{ServedSls, signed_record};

const HOSTS: usize = 1000;
const THREADS: usize = 4;

fn record(number: usize) -> SignedRecord {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let key = SecretKey::from_seed(&seed);
    let address = format!("https://host{number}.example.org:7703");
    signed_record(&key, &format!("host{number}"), &address, &(number % 40).to_string(), 1 + number as u64 % 64)
}

fn caller(sls: &ServedSls) -> Caller {
    let settings = HttpSettings { call_timeout: Duration::from_secs(20), ..HttpSettings::default() };
    let transport = HttpTransport::new(&sls.url, &settings).unwrap();
    Caller::new(Arc::new(SecretKey::from_seed(&[9; 32])), sls.key.parse().unwrap(), Arc::new(transport))
}

fn live(caller: &Caller) -> usize {
    caller.get::<SlsFacts>("/v1/sls", &[]).map_or(0, |facts| facts.live_hosts)
}

/// Registers all hosts, in several threads; how many it could.
fn register_all(sls: &ServedSls) -> usize {
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for first in 0..THREADS {
            let (done, caller) = (&done, caller(sls));
            scope.spawn(move || {
                for number in (first..HOSTS).step_by(THREADS) {
                    if caller.post_unsigned::<_, Registered>("/v1/hosts", &record(number)).is_ok() {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    done.into_inner()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} does not come about");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_thousand_hosts_outlive_a_kill_of_their_service() {
    let environment = Environment::new();
    let mut sls = ServedSls::start(&environment, "sls", "127.0.0.1:0", &["--verify", "no"]);
    assert_eq!(register_all(&sls), HOSTS);
    assert_eq!(live(&caller(&sls)), HOSTS);
    let listen = format!("127.0.0.1:{}", sls.port());
    // What was said in the last second may be lost; the hosts say it again every half a minute.
    thread::sleep(Duration::from_secs(2));
    // It is killed in the middle of a round, while hosts go on to call.
    let killed = AtomicBool::new(false);
    let registering = AtomicUsize::new(0);
    let (sls, missed) = thread::scope(|scope| {
        let calling = caller(&sls);
        let (killed, registering) = (&killed, &registering);
        let round = scope.spawn(move || {
            let mut missed = 0;
            for number in 0..HOSTS {
                let answer = calling.post_unsigned::<_, Registered>("/v1/hosts", &record(number));
                missed += usize::from(answer.is_err());
                registering.fetch_add(1, Ordering::Relaxed);
                if killed.load(Ordering::Relaxed) && answer.is_ok() {
                    break;
                }
            }
            missed
        });
        until("half a round", || registering.load(Ordering::Relaxed) >= HOSTS / 2);
        sls.kill();
        killed.store(true, Ordering::Relaxed);
        let sls = ServedSls::start(&environment, "sls", &listen, &["--verify", "no"]);
        // It is useful at once: what it had stored is there before anybody has registered again.
        assert!(live(&caller(&sls)) >= HOSTS * 9 / 10, "{} are remembered", live(&caller(&sls)));
        (sls, round.join().unwrap())
    });
    assert!(missed < HOSTS, "calls are refused, not stuck");
    // Within one round everything is as it was.
    assert_eq!(register_all(&sls), HOSTS);
    assert_eq!(live(&caller(&sls)), HOSTS);
    let query = [("filter", "label.rack in (1, 2) and cpu.capacity >= 8"), ("sort", "-cpu.capacity"), ("size", "10")];
    let listing: Listing = caller(&sls).get("/v1/hosts", &query).unwrap();
    assert!(listing.hosts.len() == 10 && listing.next_page.is_some(), "{}", listing.total);
    sls.stop();
}

#[test]
fn clients_that_mean_ill_do_not_stop_service_for_others() {
    let environment = Environment::new();
    let sls = ServedSls::start(&environment, "sls", "127.0.0.1:0", &["--verify", "no"]);
    let address = sls.url.strip_prefix("http://").unwrap();
    // Slow ones: requests that never end, each on a connection of its own.
    let slow: Vec<TcpStream> = (0..300)
        .filter_map(|number| {
            let mut stream = TcpStream::connect(address).ok()?;
            let begun =
                if number % 2 == 0 { "GET /v1/hosts HT" } else { "POST /v1/hosts HTTP/1.1\r\nContent-Length: 9\r\n" };
            stream.write_all(begun.as_bytes()).ok()?;
            Some(stream)
        })
        .collect();
    assert!(slow.len() >= 250);
    // Large and malformed ones are told so.
    let said = |request: &[u8]| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // Who is refused before he has said it all may be cut off.
        let _ = stream.write_all(request);
        let mut said = Vec::new();
        let _ = stream.take(4096).read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    };
    let post = |body: &str| {
        let length = body.len();
        said(
            format!(
                "POST /v1/hosts HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            )
            .as_bytes(),
        )
    };
    let announced =
        said(b"POST /v1/hosts HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 99999999\r\n\r\n");
    assert!(announced.contains("call.too-large"), "{announced}");
    let large = post(&format!("{{\"record\":\"{}\"}}", "x".repeat(200_000)));
    assert!(large.contains("sls.record-too-large"), "{large}");
    assert!(post("{\"record\":{}").contains("call.malformed"));
    assert!(post(&"[".repeat(60_000)).contains("call.malformed"), "nesting is bounded");
    assert!(said(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").contains("400"));
    let mut forged = serde_json::to_string(&record(1)).unwrap();
    forged = forged.replace("host1", "host2");
    assert!(post(&forged).contains("sls.record-signature"));
    // Flooding ones: as fast as they can.
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let caller = caller(&sls);
                while !is_over.load(Ordering::Relaxed) {
                    let _ = caller.get::<Listing>("/v1/hosts", &[("filter", "not (name = a* or name = b*)")]);
                }
            });
        }
        let honest = caller(&sls);
        for number in 1..=20 {
            let registered = honest.post_unsigned::<_, Registered>("/v1/hosts", &record(number));
            assert!(registered.is_ok(), "{registered:?}");
        }
        assert_eq!(live(&honest), 20);
        is_over.store(true, Ordering::Relaxed);
    });
    // The slow ones have been let go of, or will be: the service does not wait for them when it stops.
    drop(slow);
    sls.stop();
}

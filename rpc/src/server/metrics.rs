//! What is counted, in the text form of Prometheus (exposition format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};

/// The upper bounds of the buckets of how long requests take, in microseconds.
const BUCKETS_MICROS: [u64; 9] = [1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000, 10_000_000];

/// Text in which each number is written with its name, kind and meaning.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// A number that goes up and down.
    pub fn gauge(&mut self, name: &str, meaning: &str, value: i64) {
        self.number(name, meaning, "gauge", value);
    }

    /// A number that only goes up.
    pub fn counter(&mut self, name: &str, meaning: &str, value: u64) {
        self.number(name, meaning, "counter", value);
    }

    /// Numbers that go up and down, told apart by a label whose values are plain words.
    pub fn gauges<'a>(
        &mut self,
        name: &str,
        meaning: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, i64)>,
    ) {
        self.head(name, meaning, "gauge");
        for (word, value) in values {
            // Writing into a string cannot fail.
            let _ = writeln!(self.0, "{name}{{{label}=\"{word}\"}} {value}");
        }
    }

    fn number(&mut self, name: &str, meaning: &str, kind: &str, value: impl std::fmt::Display) {
        self.head(name, meaning, kind);
        // Writing into a string cannot fail.
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn head(&mut self, name: &str, meaning: &str, kind: &str) {
        let _ = writeln!(self.0, "# HELP {name} {meaning}\n# TYPE {name} {kind}");
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// What a server counts. Its memory is bounded: methods are those of HTTP, statuses have three digits.
#[derive(Debug, Default)]
pub struct ServerMetrics {
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    buckets: [AtomicU64; BUCKETS_MICROS.len()],
    micros: AtomicU64,
    count: AtomicU64,
    connections: AtomicI64,
    refused: AtomicU64,
    in_flight: AtomicI64,
}

impl ServerMetrics {
    /// Counts a request that was answered.
    pub(super) fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
        let key = (known(method), status.as_u16());
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = BUCKETS_MICROS.iter().position(|bound| micros <= *bound) {
            self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that was not let in.
    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts open connections.
    pub(super) fn connections(&self, change: i64) {
        self.connections.fetch_add(change, Ordering::Relaxed);
    }

    /// Counts requests that are worked on.
    pub(super) fn in_flight(&self, change: i64) {
        self.in_flight.fetch_add(change, Ordering::Relaxed);
    }

    /// The number of requests answered with `status`.
    pub fn answered_with(&self, status: StatusCode) -> u64 {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().filter(|((_, found), _)| *found == status.as_u16()).map(|(_, count)| count).sum()
    }

    pub(super) fn write(&self, text: &mut Exposition) {
        text.head("tycoon_http_requests_total", "Requests answered, by method and status.", "counter");
        for ((method, status), count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(text.0, "tycoon_http_requests_total{{method=\"{method}\",status=\"{status}\"}} {count}");
        }
        let name = "tycoon_http_request_seconds";
        text.head(name, "How long requests took, from their head to the reply.", "histogram");
        let mut below = 0;
        for (bound, bucket) in BUCKETS_MICROS.iter().zip(&self.buckets) {
            below += bucket.load(Ordering::Relaxed);
            let _ = writeln!(text.0, "{name}_bucket{{le=\"{}\"}} {below}", seconds(*bound));
        }
        let count = self.count.load(Ordering::Relaxed);
        let _ = writeln!(text.0, "{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(text.0, "{name}_sum {}\n{name}_count {count}", seconds(self.micros.load(Ordering::Relaxed)));
        let load = |number: &AtomicI64| number.load(Ordering::Relaxed);
        text.gauge("tycoon_http_connections", "Open connections.", load(&self.connections));
        text.gauge("tycoon_http_in_flight", "Requests that are worked on.", load(&self.in_flight));
        let refused = self.refused.load(Ordering::Relaxed);
        text.counter("tycoon_http_connections_refused_total", "Connections over a bound.", refused);
    }
}

fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// The name of a method; all that HTTP does not define share one.
fn known(method: &Method) -> &'static str {
    const KNOWN: [(&Method, &str); 7] = [
        (&Method::GET, "GET"),
        (&Method::POST, "POST"),
        (&Method::PUT, "PUT"),
        (&Method::DELETE, "DELETE"),
        (&Method::HEAD, "HEAD"),
        (&Method::OPTIONS, "OPTIONS"),
        (&Method::PATCH, "PATCH"),
    ];
    KNOWN.iter().find(|(known, _)| *known == method).map_or("other", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let metrics = ServerMetrics::default();
        metrics.answered(&Method::GET, StatusCode::OK, Duration::from_micros(1500));
        metrics.answered(&Method::from_bytes(b"BREW").unwrap(), StatusCode::NOT_FOUND, Duration::from_secs(20));
        let mut text = Exposition::default();
        metrics.write(&mut text);
        let text = text.into_text();
        for line in [
            "tycoon_http_requests_total{method=\"GET\",status=\"200\"} 1",
            "tycoon_http_requests_total{method=\"other\",status=\"404\"} 1",
            "tycoon_http_request_seconds_bucket{le=\"0.001000\"} 0",
            "tycoon_http_request_seconds_bucket{le=\"0.002500\"} 1",
            "tycoon_http_request_seconds_bucket{le=\"+Inf\"} 2",
            "tycoon_http_request_seconds_sum 20.001500",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}

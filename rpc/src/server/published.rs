//! What a server publishes: a service, and what its operator wants to know of it.

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};

use super::metrics::{Exposition, ServerMetrics};
use crate::problem::Problem;
use crate::service::{Begun, Service};

const HEALTH: &str = "/healthz";
const METRICS: &str = "/metrics";
const OPENAPI: &str = "/openapi.json";
/// The operator's pages.
const PAGES: [&str; 3] = [HEALTH, METRICS, OPENAPI];

/// Says whether the service can do its work; why not, otherwise.
pub type HealthCheck = dyn Fn() -> Result<(), String> + Send + Sync;
/// Adds what the service counts.
pub type Gauges = dyn Fn(&mut Exposition) + Send + Sync;

/// A service and its operator's pages.
#[derive(Clone)]
pub struct Published {
    service: Arc<dyn Service>,
    openapi: Arc<str>,
    health: Arc<HealthCheck>,
    gauges: Arc<Gauges>,
}

impl Published {
    /// The service alone: always healthy, and undescribed.
    pub fn new(service: Arc<dyn Service>) -> Self {
        Self { service, openapi: Arc::from("{}"), health: Arc::new(|| Ok(())), gauges: Arc::new(|_| {}) }
    }

    /// The same with its description in the OpenAPI form.
    #[must_use]
    pub fn with_openapi(mut self, description: &serde_json::Value) -> Self {
        self.openapi = Arc::from(description.to_string());
        self
    }

    /// The same with a check of its health, which must be quick.
    #[must_use]
    pub fn with_health(mut self, health: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.health = Arc::new(health);
        self
    }

    /// The same with numbers of its own.
    #[must_use]
    pub fn with_gauges(mut self, gauges: impl Fn(&mut Exposition) + Send + Sync + 'static) -> Self {
        self.gauges = Arc::new(gauges);
        self
    }

    /// How the service takes `request`; the operator's pages may wait.
    pub(super) fn begin(&self, request: Request<Vec<u8>>) -> Begun {
        if PAGES.contains(&request.uri().path()) { Begun::Waits(request) } else { self.service.clone().begin(request) }
    }

    /// The answer to `request`.
    pub(super) fn answer(&self, request: Request<Vec<u8>>, metrics: &ServerMetrics) -> Response<Vec<u8>> {
        let page = match request.uri().path() {
            HEALTH => self.healthz(),
            METRICS => {
                let mut text = Exposition::default();
                metrics.write(&mut text);
                (self.gauges)(&mut text);
                page("text/plain; version=0.0.4", text.into_text().into_bytes())
            }
            OPENAPI => page("application/json", self.openapi.as_bytes().to_vec()),
            _ => return self.service.handle(request),
        };
        if request.method() == Method::GET {
            return page;
        }
        let mut refused = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "call.method", "The method is not allowed here")
            .detail("this page is only read, with GET")
            .response();
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        refused
    }

    fn healthz(&self) -> Response<Vec<u8>> {
        match (self.health)() {
            Ok(()) => page("text/plain; charset=utf-8", b"ok\n".to_vec()),
            Err(reason) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "call.unhealthy", "The service cannot work")
                .detail(reason)
                .response(),
        }
    }
}

fn page(kind: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

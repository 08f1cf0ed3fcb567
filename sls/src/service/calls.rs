//! The calls of the service as a table, and what goes in and out, for `/openapi.json`.

use serde_json::{Value, json};
use tycoon_rpc::routes::{self, Route, Verb};

use crate::query;

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Register,
    Withdraw,
    List,
    Look,
    Events,
    Roll,
    Publish,
    Facts,
}

const fn route(
    call: Named,
    method: Verb,
    path: &'static str,
    summary: &'static str,
    answer: &'static str,
) -> Route<Named> {
    Route { call, method, path, summary, query: &[], body: None, answer, is_signed: false }
}

pub(super) const ROUTES: &[Route<Named>] = &[
    Route {
        body: Some("SignedRecord"),
        ..route(
            Named::Register,
            Verb::Post,
            "/v1/hosts",
            "Register a host. The record is signed by the host; the call need not be where the record is newer than all before",
            "Registered",
        )
    },
    Route { query: query::NAMES, ..route(Named::List, Verb::Get, "/v1/hosts", "List live hosts", "Listing") },
    route(Named::Look, Verb::Get, "/v1/hosts/{id}", "Look at one host, live or remembered", "Listed"),
    Route {
        is_signed: true,
        ..route(Named::Withdraw, Verb::Delete, "/v1/hosts/{id}", "Leave; only the host itself does", "Withdrawn")
    },
    Route {
        query: &[
            ("filter", "only hosts for which this expression holds"),
            ("since", "the id of the last event that was seen, as `Last-Event-ID` says it too"),
        ],
        ..route(Named::Events, Verb::Get, "/v1/events", "Watch what changes, as server-sent events", "Event")
    },
    Route {
        query: &[("site", "the key of the site: `ssh-ed25519 AAAA…`")],
        ..route(Named::Roll, Verb::Get, "/v1/roll", "The hosts that a site admits, signed by the site", "SignedRoll")
    },
    Route {
        body: Some("SignedRoll"),
        ..route(Named::Publish, Verb::Post, "/v1/roll", "Publish the roll of a site that is served here", "Published")
    },
    route(Named::Facts, Verb::Get, "/v1/sls", "What the service says of itself", "SlsFacts"),
];

/// The description of the calls in the OpenAPI form.
pub fn openapi() -> Value {
    let about = "Where the hosts of a Tycoon site say that they exist, and users find them. Records are signed by their \
                 hosts: check them. Times are in microseconds since 1970, spans in microseconds.";
    let mut description = routes::openapi("Tycoon service location service", about, ROUTES, &schemas());
    // What goes on is no JSON document.
    let events = &mut description["paths"]["/v1/events"]["get"]["responses"]["200"];
    *events = json!({
        "description": "The events; the data of each is an Event. They are not signed, but the records in them are.",
        "content": { "text/event-stream": { "schema": { "$ref": "#/components/schemas/Event" } } },
    });
    description
}

fn object(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    let members = required.iter().chain(optional).map(|(name, schema)| ((*name).to_owned(), schema.clone()));
    json!({ "type": "object", "required": names, "properties": members.collect::<serde_json::Map<_, _>>() })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn schemas() -> Value {
    let text = || json!({ "type": "string" });
    let number = || json!({ "type": "integer" });
    let truth = || json!({ "type": "boolean" });
    let part = || json!({ "type": "number", "minimum": 0, "maximum": 1 });
    let id = || json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" });
    let key = || json!({ "type": "string", "pattern": "^ssh-ed25519 " });
    let list = |of: Value| json!({ "type": "array", "items": of });
    let standing = || json!({ "type": "string", "enum": ["verified", "unverified", "pending"] });
    let record = object(
        &[
            ("host", id()),
            ("name", text()),
            ("key", key()),
            ("addresses", list(text())),
            ("owner", id()),
            ("labels", json!({ "type": "object" })),
            ("architecture", text()),
            ("hypervisor", text()),
            ("is_simulated", truth()),
            ("offers", json!({ "type": "object" })),
            ("images", list(text())),
            ("ssh_host_key", json!({ "type": ["string", "null"] })),
            ("software_version", text()),
            ("load", number()),
            ("sequence", number()),
            ("issued_at", number()),
        ],
        &[("prices", json!({ "type": "object" })), ("unique", json!({ "type": "object" })), ("ssh", text())],
    );
    json!({
        "HostRecord": record,
        "SignedRecord": object(&[("record", reference("HostRecord")), ("signature", text())], &[]),
        "SignedRoll": object(
            &[
                (
                    "roll",
                    object(
                        &[("site", key()), ("sequence", number()), ("issued_at", number()), ("hosts", json!({ "type": "object" }))],
                        &[],
                    ),
                ),
                ("signature", text()),
            ],
            &[],
        ),
        "Published": object(&[("sequence", number()), ("hosts", number())], &[]),
        "Registered": object(&[("expires_at", number()), ("expiry", number()), ("standing", standing())], &[]),
        "Withdrawn": object(&[("was_live", truth())], &[]),
        "Reach": object(
            &[("standing", standing())],
            &[
                ("addresses", list(text())),
                ("connection", json!({ "type": "string", "enum": ["direct", "multiple", "nat", "proxy"] })),
                ("checked_at", number()),
            ],
        ),
        "Listed": object(
            &[
                ("signed", reference("SignedRecord")),
                ("first_seen", number()),
                ("last_seen", number()),
                ("is_live", truth()),
                ("reach", reference("Reach")),
                ("uptime", object(&[("hour", part()), ("day", part()), ("week", part())], &[])),
            ],
            &[],
        ),
        "Listing": object(
            &[("hosts", list(reference("Listed"))), ("total", number()), ("next_page", json!({ "type": ["string", "null"] }))],
            &[],
        ),
        "Event": object(
            &[
                ("what", json!({ "type": "string", "enum": [
                    "appeared", "changed", "verified", "unverified", "left", "expired", "superseded", "rejected",
                ] })),
                ("host", id()),
                ("name", text()),
            ],
            &[("listed", reference("Listed"))],
        ),
        "SlsFacts": object(
            &[
                ("key", key()),
                ("software_version", text()),
                ("live_hosts", number()),
                ("known_hosts", number()),
                ("expiry", number()),
                ("verifies", truth()),
                ("now", number()),
            ],
            &[],
        ),
    })
}

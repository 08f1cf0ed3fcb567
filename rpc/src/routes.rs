//! The calls of a service as a table: what a request is matched with, and what `/openapi.json` is made of. As both come
//! from one table, the description cannot differ from what the service does.

use http::Method;
use serde_json::{Map, Value, json};

/// One call of a service. `C` names it inside the service.
#[derive(Clone, Copy, Debug)]
pub struct Route<C: 'static> {
    /// Which call it is.
    pub call: C,
    /// Its method.
    pub method: Verb,
    /// Its path; parts in braces stand for one part of any content: `/v1/accounts/{id}`.
    pub path: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// What its query may have: a name, and what it is.
    pub query: &'static [(&'static str, &'static str)],
    /// The name of the schema of its body, where it has one.
    pub body: Option<&'static str>,
    /// The name of the schema of its answer.
    pub answer: &'static str,
    /// False where it is answered without signature too.
    pub is_signed: bool,
}

/// The methods that calls have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Reads.
    Get,
    /// Does something.
    Post,
    /// Sets something.
    Put,
    /// Ends something.
    Delete,
}

impl Verb {
    const fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }

    fn is(self, method: &Method) -> bool {
        let own = match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Delete => Method::DELETE,
        };
        *method == own
    }
}

/// The route of a request and the parts of its path that stand for the braces, in their order.
pub fn find<'r, 'p, C>(routes: &'r [Route<C>], method: &Method, path: &'p str) -> Option<(&'r Route<C>, Vec<&'p str>)> {
    routes.iter().filter(|route| route.method.is(method)).find_map(|route| Some((route, matched(route.path, path)?)))
}

fn matched<'p>(pattern: &str, path: &'p str) -> Option<Vec<&'p str>> {
    let (mut patterns, mut parts) = (pattern.split('/'), path.split('/'));
    let mut values = Vec::new();
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return Some(values),
            (Some(pattern), Some(part)) if pattern.starts_with('{') && !part.is_empty() => values.push(part),
            (Some(pattern), Some(part)) if pattern == part => {}
            _ => return None,
        }
    }
}

/// The description of a service in the form of OpenAPI 3.1. `schemas` has the schemas that the routes name.
pub fn openapi<C>(title: &str, about: &str, routes: &[Route<C>], schemas: &Value) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.word()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": title, "description": about, "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "schemas": with_problem(schemas),
            "securitySchemes": { "signature": {
                "type": "http", "scheme": "signature",
                "description": "RFC 9421 HTTP Message Signatures with ed25519, labelled `tycoon`; \
                                `tycoon rpc curl` prints a signed call.",
            } },
        },
    })
}

fn operation<C>(route: &Route<C>) -> Value {
    let of_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let of_path = of_path.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": text() }));
    let of_query = route.query.iter().map(
        |(name, about)| json!({ "name": name, "in": "query", "required": false, "description": about, "schema": text() }),
    );
    let parameters: Vec<Value> = of_path.chain(of_query).collect();
    let content = |kind: &str, schema: &str| json!({ kind: { "schema": reference(schema) } });
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            "200": { "description": "The answer, signed by the service.", "content": content("application/json", route.answer) },
            "default": { "description": "A refusal, signed by the service.", "content": content("application/problem+json", "Problem") },
        },
        "security": if route.is_signed { json!([{ "signature": [] }]) } else { json!([{}, { "signature": [] }]) },
    });
    if let Some(body) = route.body {
        operation["requestBody"] = json!({ "required": true, "content": content("application/json", body) });
    }
    operation
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn with_problem(schemas: &Value) -> Value {
    let mut schemas = schemas.clone();
    schemas["Problem"] = json!({
        "type": "object",
        "description": "RFC 9457. Programs go by the code, which is stable.",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": text(), "title": text(), "status": { "type": "integer" }, "detail": text(), "code": text(),
            "help": text(), "extra": { "type": "object" },
        },
    });
    schemas
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &[Route<u8>] = &[
        Route {
            call: 1,
            method: Verb::Get,
            path: "/v1/things",
            summary: "",
            query: &[],
            body: None,
            answer: "Thing",
            is_signed: true,
        },
        Route {
            call: 2,
            method: Verb::Get,
            path: "/v1/things/{id}",
            summary: "",
            query: &[("limit", "how many")],
            body: None,
            answer: "Thing",
            is_signed: false,
        },
        Route {
            call: 3,
            method: Verb::Post,
            path: "/v1/things/{id}/parts/{part}",
            summary: "",
            query: &[],
            body: Some("Part"),
            answer: "Thing",
            is_signed: true,
        },
    ];

    #[test]
    fn a_request_is_matched_as_a_whole() {
        let found = |method, path| find(ROUTES, &method, path).map(|(route, parts)| (route.call, parts));
        assert_eq!(found(Method::GET, "/v1/things"), Some((1, vec![])));
        assert_eq!(found(Method::GET, "/v1/things/7"), Some((2, vec!["7"])));
        assert_eq!(found(Method::POST, "/v1/things/7/parts/x"), Some((3, vec!["7", "x"])));
        for path in ["/v1/things/", "/v1/things/7/parts", "/v1/thing", "//v1/things", "/v1/things/7/parts/x/y", ""] {
            assert_eq!(found(Method::GET, path), None, "{path}");
        }
        assert_eq!(found(Method::DELETE, "/v1/things"), None);
    }

    #[test]
    fn the_description_names_every_route_with_its_parts() {
        let description = openapi("Things", "", ROUTES, &json!({ "Thing": {}, "Part": {} }));
        assert_eq!(description["paths"]["/v1/things/{id}"]["get"]["parameters"][0]["name"], "id");
        assert_eq!(description["paths"]["/v1/things/{id}"]["get"]["parameters"][1]["in"], "query");
        let body = &description["paths"]["/v1/things/{id}/parts/{part}"]["post"]["requestBody"];
        assert_eq!(body["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/Part");
        assert!(description["components"]["schemas"]["Problem"].is_object());
    }
}

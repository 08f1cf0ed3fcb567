//! The schemas of bodies and answers, for `/openapi.json`. Bodies are described whole, with an example that the service
//! takes; of answers stands what they have at least.

use serde_json::{Map, Value, json};

const HEX: &str = "0123456789abcdef0123456789abcdef";

/// All schemas by name.
pub(super) fn schemas() -> Value {
    let minima = json!({ "type": "object", "additionalProperties": integer() });
    let preference = body(
        &[("weight", number()), ("min", amount()), ("max", amount())],
        &[("contingency", number())],
        json!({ "weight": 1.0, "min": { "quantity": 0 }, "max": { "fraction": 1.0 } }),
    );
    let bid_example = json!({
        "duration": 86_400_000_000_u64,
        "preferences": { "cpu": { "weight": 1.0, "min": { "quantity": 0 }, "max": { "fraction": 1.0 } } },
    });
    let bid = body(
        &[("duration", integer()), ("preferences", json!({ "type": "object", "additionalProperties": preference }))],
        &[("unique", json!({ "type": "object" }))],
        bid_example.clone(),
    );
    let receipt_terms = json!({
        "type": "object",
        "required": [
            "bank", "epoch", "escrow", "payer", "payer_keys", "pool", "host", "beneficiary", "amount", "longest",
            "highest_rate", "opened_at", "issued_at",
        ],
    });
    let receipt = object(&[("terms", receipt_terms), ("signature", text())], &[]);
    json!({
        "HostInfo": answer(&[
            ("host", id()), ("key", text()), ("name", text()), ("now", integer()), ("owner", id()), ("bank", text()),
            ("architecture", text()), ("hypervisor", text()), ("is_simulated", truth()),
            ("labels", json!({ "type": "object" })), ("software_version", text()),
        ]),
        "Challenge": body(
            &[("host", id()), ("sls", text()), ("nonce", text())], &[],
            json!({
                "host": HEX, "nonce": HEX.repeat(2),
                "sls": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c",
            }),
        ),
        "Proof": answer(&[("host", id()), ("signature", text())]),
        "Offers": answer(&[
            ("offers", json!({ "type": "object" })), ("images", list(text())), ("is_draining", truth()),
            ("unsettled", list(id())), ("prices", json!({ "type": "object" })), ("unique", json!({ "type": "object" })),
        ]),
        "QuoteRequest": body(
            &[("pool", text()), ("minima", minima.clone())], &[], json!({ "pool": "x", "minima": { "cpu": 100 } }),
        ),
        "Quote": answer(&[
            ("host", id()), ("account", id()), ("pool", text()), ("minima", minima),
            ("prices", json!({ "type": "object" })), ("issued_at", integer()), ("expires_at", integer()),
        ]),
        "Account": answer(&[
            ("account", id()), ("pool", text()), ("opened_at", integer()), ("funded", integer()),
            ("charged", integer()), ("balance", integer()), ("refundable", integer()), ("contingency", integer()),
            ("rate", integer()), ("rates", json!({ "type": "object" })), ("bid", nullable(reference("Bid"))),
            ("unique", json!({ "type": "object" })), ("expires_at", nullable(integer())), ("state", json!({})),
            ("allocation", json!({ "type": "object" })), ("generation", integer()),
            ("escrows", list(json!({ "type": "object" }))),
        ]),
        "AccountList": list(reference("Account")),
        "AccountsPage": answer(&[("accounts", list(reference("Account"))), ("next", nullable(text()))]),
        "CloseReport": answer(&[("charged", integer()), ("refunded", integer()), ("is_settled", truth())]),
        "Charges": answer(&[
            ("account", id()), ("pool", text()), ("interval", integer()), ("charged", integer()),
            ("earlier", integer()), ("intervals", list(json!({ "type": "object" }))),
        ]),
        "FundRequest": object(&[("receipt", receipt)], &[]),
        "Bid": bid,
        "BidRequest": body(
            &[("generation", integer()), ("bid", reference("Bid"))], &[],
            json!({ "generation": 1, "bid": bid_example.clone() }),
        ),
        "PreviewRequest": body(
            &[("bid", reference("Bid"))], &[("extra_funds", integer())], json!({ "bid": bid_example }),
        ),
        "Preview": answer(&[
            ("state", json!({})), ("rate", integer()), ("rates", json!({ "type": "object" })),
            ("contingency", integer()), ("allocation", json!({ "type": "object" })),
            ("unique", json!({ "type": "object" })), ("expires_at", nullable(integer())), ("displaced", integer()),
        ]),
        "RefundRequest": body(
            &[("generation", integer()), ("leave", integer())], &[], json!({ "generation": 1, "leave": 0 }),
        ),
        "DomainsRequest": json!({
            "type": "object",
            "required": ["request"],
            "properties": { "request": { "enum": [
                "inspect", "ensure-image", "ensure-volumes", "ensure-domain", "ensure-running", "ensure-stopped",
                "ensure-suspended", "ensure-listening", "ensure-absent", "ensure-nothing-kept",
            ] } },
            "description": "One request about domains; what else it has depends on `request`.",
            "examples": [{ "request": "inspect", "pool": null }],
        }),
        "DomainsReply": json!({ "oneOf": [
            answer(&[("done", json!({ "type": "object", "required": ["answer"] }))]),
            answer(&[("refused", json!({ "type": "object", "required": ["error"] }))]),
        ] }),
        "Event": answer(&[
            ("number", integer()), ("at", integer()), ("account", id()), ("pool", text()), ("event", text()),
        ]),
        "Events": answer(&[("events", list(reference("Event"))), ("last", integer()), ("is_torn", truth())]),
        "OwnerReport": answer(&[
            ("policy", json!({ "type": "object" })), ("config", json!({ "type": "object" })),
            ("next_config", json!({ "type": "object" })), ("is_draining", truth()), ("banned", list(id())),
            ("accounted_at", integer()), ("income", reference("Income")), ("faults", list(json!({ "type": "object" }))),
        ]),
        "Income": answer(&[
            ("charged", integer()), ("paid", integer()), ("due", integer()), ("ever_charged", integer()),
        ]),
        "PolicyRequest": body(
            &[],
            &[("set", json!({ "type": "object", "additionalProperties": text() })), ("reset", list(text()))],
            json!({ "set": { "cpu-price": "0.5" }, "reset": ["disk-price"] }),
        ),
        "DrainRequest": body(&[("draining", truth())], &[], json!({ "draining": true })),
        "EvictRequest": body(&[("account", id())], &[("pool", nullable(text()))], json!({ "account": HEX })),
        "EvictReport": answer(&[("pools", list(text()))]),
        "BanRequest": body(
            &[("account", id()), ("banned", truth())], &[], json!({ "account": HEX, "banned": false }),
        ),
        "WithdrawReport": answer(&[("paid", integer()), ("pending", list(id())), ("income", reference("Income"))]),
    })
}

fn object(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let mut schema = answer(required);
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.extend(optional.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())));
    }
    schema["additionalProperties"] = json!(false);
    schema
}

fn body(required: &[(&str, Value)], optional: &[(&str, Value)], example: Value) -> Value {
    let mut schema = object(required, optional);
    schema["examples"] = json!([example]);
    schema
}

/// What an answer has at least: later versions may say more.
fn answer(required: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    let properties: Map<String, Value> =
        required.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({ "type": "object", "required": names, "properties": properties })
}

fn amount() -> Value {
    json!({ "oneOf": [object(&[("quantity", integer())], &[]), object(&[("fraction", number())], &[])] })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn list(item: Value) -> Value {
    json!({ "type": "array", "items": item })
}

fn nullable(schema: Value) -> Value {
    json!({ "oneOf": [schema, { "type": "null" }] })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn truth() -> Value {
    json!({ "type": "boolean" })
}

fn integer() -> Value {
    json!({ "type": "integer" })
}

fn number() -> Value {
    json!({ "type": "number" })
}

fn id() -> Value {
    json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" })
}

//! The schemas of bodies and answers, for `/openapi.json`. `tests/description.rs` holds them against what the service
//! takes and says.

use serde_json::{Map, Value, json};

/// All schemas by name.
pub(super) fn schemas() -> Value {
    let account_kind = json!({ "type": "string", "enum": ["user", "owner", "host", "issuer"] });
    let role = json!({ "type": "string", "enum": ["reader", "spender", "owner"] });
    let resolver = json!({ "type": "string", "enum": ["payer", "payee", "either"] });
    let limit = nullable(object(&[("amount", micros()), ("period", micros())], &[]));
    let allowance = object(&[("amount", micros()), ("period", micros())], &[("until", nullable(micros()))]);
    let end = |kinds: &[&str]| nullable(json!({ "type": "string", "enum": kinds }));
    let transfer = object(
        &[
            ("id", id()),
            ("payer", id()),
            ("payee", id()),
            ("amount", micros()),
            ("memo", text()),
            ("issued", truth()),
            ("at", micros()),
            ("record", micros()),
            ("balance", micros()),
        ],
        &[("refunded", micros()), ("refund_of", id())],
    );
    let order = object(
        &[
            ("id", id()),
            ("payer", id()),
            ("pool", text()),
            ("host", id()),
            ("host_key", key()),
            ("beneficiary", id()),
            ("amount", micros()),
            ("longest", micros()),
            ("highest_rate", micros()),
        ],
        &[],
    );
    let statement = object(
        &[
            (
                "terms",
                object(
                    &[
                        ("escrow", id()),
                        ("sequence", micros()),
                        ("drawn_total", micros()),
                        ("released_total", micros()),
                        ("closed", truth()),
                    ],
                    &[],
                ),
            ),
            ("signature", signature()),
        ],
        &[],
    );
    let escrow = object(
        &[
            ("order", order.clone()),
            ("opened_at", micros()),
            ("drawn", micros()),
            ("released", micros()),
            ("heard_at", micros()),
        ],
        &[("statement", nullable(statement.clone())), ("end", end(&["closed", "lapsed"]))],
    );
    let signed = object(&[("terms", json!({ "type": "object" })), ("signature", signature())], &[]);
    let place = object(&[("leaf_index", number()), ("tree_size", number()), ("inclusion_path", list(text()))], &[]);
    let transfer_receipt =
        object(&[("terms", json!({ "type": "object" })), ("signature", signature())], &[("among", nullable(place))]);
    let paid = object(&[("transfer", transfer.clone()), ("receipt", transfer_receipt)], &[]);
    let account = object(
        &[
            ("id", id()),
            ("kind", account_kind.clone()),
            ("label", text()),
            ("keys", list(json!({ "type": "object" }))),
            ("keys_changed_at", micros()),
            ("balance", micros()),
            ("set_aside", micros()),
            ("escrows_open", micros()),
            ("reserved", micros()),
            ("reservations_open", micros()),
            ("accounts_opened", micros()),
            ("children", micros()),
            ("entries", micros()),
            ("opened_at", micros()),
        ],
        &[
            ("parent", id()),
            ("allowance", object(&[("terms", allowance.clone()), ("next_at", micros())], &[])),
            ("closed_at", micros()),
        ],
    );
    let reservation_order = object(
        &[("id", id()), ("payer", id()), ("payee", id()), ("amount", micros()), ("timeout", micros())],
        &[("memo", text()), ("resolver", resolver)],
    );
    let transfer_request =
        object(&[("id", id()), ("payer", id()), ("payee", id()), ("amount", micros())], &[("memo", text())]);
    let entry = object(
        &[
            ("number", micros()),
            ("record", micros()),
            ("at", micros()),
            ("change", micros()),
            ("balance", micros()),
            ("cause", json!({ "type": "object", "required": ["kind"] })),
        ],
        &[],
    );
    let line = object(
        &[
            ("at", micros()),
            ("record", micros()),
            ("escrow", id()),
            ("pool", text()),
            ("host", id()),
            ("host_key", key()),
            ("set_aside", micros()),
            ("drawn", micros()),
            ("returned", micros()),
        ],
        &[("statement", nullable(statement.clone())), ("end", end(&["closed", "lapsed"]))],
    );
    json!({
        "BankInfo": object(
            &[("key", key()), ("epoch", micros()), ("time", micros()), ("issuer", id()), ("silence_max", micros())], &[],
        ),
        "Account": account,
        "AccountPage": page(reference("Account")),
        "AccountRequest": object(
            &[("key", key()), ("kind", account_kind)], &[("label", text()), ("deposit", micros()), ("sub", truth())],
        ),
        "CloseRequest": object(&[("to", id())], &[]),
        "AllowanceRequest": object(&[], &[("allowance", nullable(allowance))]),
        "EntryPage": page(entry),
        "LinePage": page(line),
        "KeyChange": json!({ "oneOf": [
            object(&[("do", constant("put")), ("key", key()), ("role", role)], &[("limit", limit)]),
            object(&[("do", constant("replace")), ("key", key()), ("with", key())], &[]),
            object(&[("do", constant("remove")), ("key", key())], &[]),
        ] }),
        "TransferRequest": transfer_request.clone(),
        "TransfersRequest": object(&[("transfers", list(transfer_request))], &[("linked", truth())]),
        "TransferOutcomes": list(json!({ "oneOf": [
            object(&[("paid", reference("Paid"))], &[]), object(&[("problem", reference("Problem"))], &[]),
        ] })),
        "Paid": paid,
        "RefundRequest": object(
            &[("id", id()), ("payer", id()), ("payee", id()), ("of", id())],
            &[("amount", nullable(micros())), ("memo", text())],
        ),
        "ReservationOrder": reservation_order,
        "Reservation": object(
            &[("order", reference("ReservationOrder")), ("at", micros()), ("expires_at", micros())],
            &[("end", nullable(json!({ "type": "object", "required": ["kind"] })))],
        ),
        "Resolution": json!({ "oneOf": [
            object(&[("do", constant("post"))], &[("amount", nullable(micros()))]),
            object(&[("do", constant("void"))], &[]),
        ] }),
        "IssueRequest": object(&[("id", id()), ("to", id()), ("amount", micros())], &[("memo", text())]),
        "EscrowOrder": order,
        "Receipt": signed,
        "EscrowPage": page(reference("Escrow")),
        "Escrow": escrow,
        "EscrowInfo": object(&[("escrow", reference("Escrow")), ("receipt", reference("Receipt"))], &[]),
        "Statement": statement,
        "RefusedClaims": list(object(
            &[
                ("escrow", id()),
                ("payer", id()),
                ("pool", text()),
                ("host", id()),
                ("claimed", micros()),
                ("granted", micros()),
                ("at", micros()),
                ("times", json!({ "type": "integer", "minimum": 1 })),
            ],
            &[],
        )),
    })
}

fn object(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    let all = required.iter().chain(optional).map(|(name, schema)| ((*name).to_owned(), schema.clone()));
    json!({ "type": "object", "required": names, "properties": all.collect::<Map<_, _>>(), "additionalProperties": false })
}

fn page(item: Value) -> Value {
    object(&[("items", list(item))], &[("next", nullable(text()))])
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

fn constant(word: &str) -> Value {
    json!({ "const": word })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn truth() -> Value {
    json!({ "type": "boolean" })
}

fn micros() -> Value {
    json!({ "type": "integer" })
}

fn number() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn id() -> Value {
    json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" })
}

fn key() -> Value {
    json!({ "type": "string", "pattern": "^ssh-ed25519 " })
}

fn signature() -> Value {
    json!({ "type": "string", "pattern": "^[A-Za-z0-9+/]{86}==$" })
}

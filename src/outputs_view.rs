//! The outputs of a pool as people read them, with what is known only while it runs put in.

use serde_json::{Map, Value as Json};
use tycoon_executor::status::PoolStatus;
use tycoon_lang::pool::{Output, Pool};
use tycoon_lang::{Environment, Value};

use crate::output::{Style, table};

/// What the state of a pool says of live values: addresses and states of its domains.
struct Present<'a>(&'a PoolStatus);

impl Environment for Present<'_> {
    /// `hello.web.0.eth0.ip`, `hello.web.0.state`.
    fn read(&self, path: &str) -> Option<Value> {
        let inside = path.strip_prefix(self.0.pool.as_str())?.strip_prefix('.')?;
        let (inside, attribute) = inside.rsplit_once('.')?;
        let domain = |path: &str| self.0.domains.iter().find(|domain| domain.path.to_string() == path);
        match attribute {
            "state" => Some(Value::Text(domain(inside)?.state.word().into())),
            "ip" => {
                // Hosts tell one address of a domain, that of its first interface.
                let path = inside.strip_suffix(".eth0")?;
                domain(path)?.address.map(|address| Value::Ip(address.into()))
            }
            _ => None,
        }
    }
}

/// The value with what is known now; `None` where nothing is known of it.
fn present(value: &Value, status: &PoolStatus) -> Option<Value> {
    match value {
        Value::Live(live) => live.expression.evaluate(&Present(status)).ok(),
        value => Some(value.clone()),
    }
}

/// The values of a list, or the one value, each as far as it is known.
fn parts(value: &Value, status: &PoolStatus) -> Vec<Option<Value>> {
    match value {
        Value::List(values) => values.iter().map(|value| present(value, status)).collect(),
        value => vec![present(value, status)],
    }
}

/// `addresses`, `edge.cern.address`.
fn full_name(output: &Output) -> String {
    if output.path.is_empty() { output.name.clone() } else { format!("{}.{}", output.path, output.name) }
}

/// An empty line and a line for every output; nothing where there are none.
pub fn render(pool: &Pool, status: &PoolStatus, style: Style) -> String {
    if pool.outputs.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = pool
        .outputs
        .iter()
        .map(|output| {
            let shown = parts(&output.value, status).into_iter();
            let shown: Vec<String> =
                shown.map(|part| part.map_or_else(|| "not known yet".to_owned(), |part| part.to_string())).collect();
            vec![full_name(output), shown.join(", ")]
        })
        .collect();
    format!("\n{}", table(&["OUTPUT", "VALUE"], &rows, &[], style))
}

/// The same as data: by name; null where a value is not known yet.
pub fn to_json(pool: &Pool, status: &PoolStatus) -> Json {
    let json = |value: Option<Value>| value.and_then(|value| serde_json::to_value(value).ok()).unwrap_or(Json::Null);
    let mut object = Map::new();
    for output in &pool.outputs {
        let values = parts(&output.value, status);
        let value = match (&output.value, values) {
            (Value::List(_), values) => values.into_iter().map(json).collect(),
            (_, mut values) => json(values.pop().flatten()),
        };
        object.insert(full_name(output), value);
    }
    Json::Object(object)
}

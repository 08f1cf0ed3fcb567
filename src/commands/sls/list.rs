//! `tycoon sls list`, `uptime` and `export`: many hosts at once.

use clap::Args;
use serde_json::{Value, json};
use tycoon_market::ResourceKind;
use tycoon_sls::client::SeenHost;
use tycoon_sls::facts::{Facts, Texts};
use tycoon_sls::fields::{Field, FieldKind, Measure};
use tycoon_sls::{Filter, HostQuery, Sort};

use super::access::{self, Access, SlsChoice};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders::Folders;
use crate::output::{Output, table};
use crate::parties::Parties;
use crate::site::directory::Directory;
use crate::time;

/// Which hosts, and in which order.
#[derive(Args, Debug, Clone, Default)]
pub struct WhichArgs {
    /// Only hosts for which this holds: 'memory.available >= 4GiB and label.rack = 3'
    #[arg(value_name = "FILTER")]
    pub filter: Option<String>,
    /// The field to order by; `-` before it means downwards: -efficiency, price, -uptime.week
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true, default_value = "name")]
    pub sort: String,
    /// The most hosts
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<usize>,
    /// Only hosts on which pools are planned: admitted by the pinned site, and verified
    #[arg(long)]
    pub planned: bool,
}

impl WhichArgs {
    /// The query.
    pub fn query(&self) -> Result<HostQuery, Failure> {
        let sort: Sort =
            self.sort.parse().map_err(|error| Failure::new(Exit::Usage, format!("--sort {}: {error}", self.sort)))?;
        Ok(HostQuery { filter: filter(self.filter.as_deref())?, sort, ..HostQuery::default() })
    }

    /// The hosts.
    fn hosts(&self, access: &Access, query: &HostQuery, output: &Output) -> Result<Vec<SeenHost>, Failure> {
        if !self.planned {
            return access.hosts(query, self.limit, output);
        }
        let Access::Remote { client, .. } = access else {
            return Err(Failure::new(Exit::Usage, "which hosts are planned is said by services on the network")
                .help("name them with --sls URL, or pin them with `tycoon init --sls URL`"));
        };
        let parties = Parties::read(&Folders::find("remote")?.config)?;
        let planned = Directory::of(client.clone(), &parties)?.hosts(query);
        let planned = planned.map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        Ok(access::first(planned.planned, &query.sort, self.limit))
    }
}

/// Reads a filter.
pub fn filter(text: Option<&str>) -> Result<Option<Filter>, Failure> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|error: tycoon_sls::filter::FilterError| {
        Failure::new(Exit::Usage, format!("the filter is not understood: {error}"))
    })
}

/// Arguments of `tycoon sls list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Which.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Show these fields: name,cpu.price,label.rack
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    pub fields: Vec<String>,
}

/// Lists hosts.
pub fn run(arguments: &ListArgs, choice: &SlsChoice, output: &Output) -> Result<Exit, Failure> {
    let query = arguments.which.query()?;
    let fields = fields(&arguments.fields)?;
    let access = choice.open(output, "tycoon sls list")?;
    let hosts = arguments.which.hosts(&access, &query, output)?;
    access.close()?;
    match (output.json, fields.is_empty()) {
        (true, true) => output.print_json(&hosts.iter().map(host_json).collect::<Vec<_>>()),
        (true, false) => output.print_json(&hosts.iter().map(|host| chosen_json(host, &fields)).collect::<Vec<_>>()),
        (false, true) => print(&hosts, output),
        (false, false) => print_chosen(&hosts, &fields, output),
    }
    Ok(Exit::Ok)
}

fn fields(names: &[String]) -> Result<Vec<Field>, Failure> {
    let parsed = names.iter().map(|name| name.trim().parse::<Field>());
    parsed.collect::<Result<_, _>>().map_err(|error| Failure::new(Exit::Usage, format!("--fields: {error}")))
}

fn print(hosts: &[SeenHost], output: &Output) {
    let rows: Vec<Vec<String>> = hosts
        .iter()
        .map(|host| {
            let record = host.record();
            let offer = |kind: ResourceKind| match record.offers.get(&kind) {
                Some(offer) => format!("{} of {}", kind.show(offer.available), kind.show(offer.capacity)),
                None => "–".to_owned(),
            };
            let facts = Facts::of(record, &mut Texts::default());
            let price = |kind| {
                let field = Field::Resource(kind, tycoon_sls::fields::Aspect::Price);
                match field.value(&host.seen(&facts)) {
                    tycoon_sls::fields::Value::Number(price) => format!("{price:.4}"),
                    _ => "–".to_owned(),
                }
            };
            vec![
                record.name.to_string(),
                offer(ResourceKind::Cpu),
                price(ResourceKind::Cpu),
                offer(ResourceKind::Memory),
                price(ResourceKind::Memory),
                offer(ResourceKind::Disk),
                format!("{:.1} %", host.uptime.week * 100.0),
                standing(host),
                host.addresses().first().cloned().unwrap_or_else(|| "–".to_owned()),
            ]
        })
        .collect();
    let header = ["HOST", "CPU", "PRICE", "MEMORY", "PRICE", "DISK", "UPTIME", "STANDING", "ADDRESS"];
    output.print(&table(&header, &rows, &[2, 4, 6], output.stdout));
    if hosts.is_empty() {
        output.message("no host is known that is like that");
    } else {
        output.message("Prices are credits per hour now, of one CPU or GiB.");
    }
}

/// What is known of where a host is, in a word or two.
pub fn standing(host: &SeenHost) -> String {
    if host.record().is_simulated {
        return "simulated".to_owned();
    }
    let standing = host.reach.standing.word();
    match host.reach.connection {
        Some(connection) => format!("{standing} ({})", connection.word()),
        None => standing.to_owned(),
    }
}

fn print_chosen(hosts: &[SeenHost], fields: &[Field], output: &Output) {
    let header: Vec<String> = fields.iter().map(|field| field.to_string().to_uppercase()).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let cells = |host: &SeenHost| {
        let facts = Facts::of(host.record(), &mut Texts::default());
        let seen = host.seen(&facts);
        fields.iter().map(|field| cell(field, &field.json(&seen))).collect()
    };
    let rows: Vec<Vec<String>> = hosts.iter().map(cells).collect();
    let numbers = fields.iter().enumerate().filter(|(_, field)| matches!(field.kind(), FieldKind::Number(_)));
    let right: Vec<usize> = numbers.map(|(number, _)| number).collect();
    output.print(&table(&header, &rows, &right, output.stdout));
}

fn cell(field: &Field, value: &Value) -> String {
    match (value, field.kind()) {
        (Value::Null, _) => "–".to_owned(),
        (Value::String(text), _) => text.clone(),
        (Value::Bool(truth), _) => if *truth { "yes" } else { "no" }.to_owned(),
        (Value::Array(values), _) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        (Value::Number(number), FieldKind::Number(measure)) => {
            let number = number.as_f64().unwrap_or(0.0);
            match measure {
                Measure::Bytes => tycoon_market::resource::show_bytes(number as u64),
                Measure::Bits => format!("{} Mbit/s", number / 1e6),
                Measure::Part => format!("{:.1} %", number * 100.0),
                Measure::Seconds => format!("{number:.0} s"),
                Measure::Plain if number.fract() == 0.0 => format!("{number}"),
                Measure::Plain => format!("{number:.4}"),
            }
        }
        (other, _) => other.to_string(),
    }
}

fn chosen_json(host: &SeenHost, fields: &[Field]) -> Value {
    let facts = Facts::of(host.record(), &mut Texts::default());
    let seen = host.seen(&facts);
    Value::Object(fields.iter().map(|field| (field.to_string(), field.json(&seen))).collect())
}

/// A host as JSON: what it says, and what is known of it.
pub fn host_json(host: &SeenHost) -> Value {
    json!({
        "name": host.record().name,
        "host": host.record().host,
        "record": host.record(),
        "addresses": host.addresses(),
        "reach": host.reach,
        "is_live": host.is_live,
        "first_seen": host.first_seen,
        "last_seen": host.last_seen,
        "uptime": host.uptime,
    })
}

/// Arguments of `tycoon sls uptime`.
#[derive(Args, Debug)]
pub struct UptimeArgs {
    /// Which.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Show also hosts that have left or expired, and are remembered
    #[arg(long)]
    pub all: bool,
}

/// Shows how much hosts were there.
pub fn uptime(arguments: &UptimeArgs, choice: &SlsChoice, output: &Output) -> Result<Exit, Failure> {
    let query = HostQuery { with_remembered: arguments.all, ..arguments.which.query()? };
    let access = choice.open(output, "tycoon sls uptime")?;
    let hosts = arguments.which.hosts(&access, &query, output)?;
    access.close()?;
    if output.json {
        let rows: Vec<Value> = hosts
            .iter()
            .map(|host| {
                json!({
                    "name": host.record().name, "host": host.record().host, "is_live": host.is_live,
                    "hour": host.uptime.hour, "day": host.uptime.day, "week": host.uptime.week,
                    "first_seen": host.first_seen, "last_seen": host.last_seen,
                })
            })
            .collect();
        output.print_json(&rows);
        return Ok(Exit::Ok);
    }
    let part = |part: f64| format!("{:.2} %", part * 100.0);
    let rows: Vec<Vec<String>> = hosts
        .iter()
        .map(|host| {
            vec![
                host.record().name.to_string(),
                if host.is_live { "there" } else { "gone" }.to_owned(),
                part(host.uptime.hour),
                part(host.uptime.day),
                part(host.uptime.week),
                time::local(host.first_seen),
                time::local_with_seconds(host.last_seen),
            ]
        })
        .collect();
    let header = ["HOST", "NOW", "HOUR", "DAY", "WEEK", "KNOWN SINCE", "LAST HEARD OF"];
    output.print(&table(&header, &rows, &[2, 3, 4], output.stdout));
    Ok(Exit::Ok)
}

/// Arguments of `tycoon sls export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Which.
    #[command(flatten)]
    pub which: WhichArgs,
}

/// Prints signed records, one a line.
pub fn export(arguments: &ExportArgs, choice: &SlsChoice, output: &Output) -> Result<Exit, Failure> {
    let query = arguments.which.query()?;
    let access = choice.open(output, "tycoon sls export")?;
    let hosts = arguments.which.hosts(&access, &query, output)?;
    access.close()?;
    for host in &hosts {
        let line = serde_json::to_string(host.record.signed());
        let line = line.map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        output.print(&format!("{line}\n"));
    }
    Ok(Exit::Ok)
}

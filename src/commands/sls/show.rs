//! `tycoon sls show`, and `tycoon sls info`.

use clap::Args;
use serde_json::{Value, json};
use tycoon_market::HostId;
use tycoon_sls::HostQuery;
use tycoon_sls::client::SeenHost;

use super::access::{Access, SlsChoice, failed, one_line};
use super::list::{host_json, standing};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, table};
use crate::time;

/// Arguments of `tycoon sls show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The host, by its name or its id
    #[arg(value_name = "HOST")]
    pub host: String,
}

/// Shows a host.
pub fn run(arguments: &ShowArgs, choice: &SlsChoice, output: &Output) -> Result<Exit, Failure> {
    let access = choice.open(output, "tycoon sls show")?;
    let host = find(&access, &arguments.host, output)?;
    access.close()?;
    if output.json {
        output.print_json(&host_json(&host));
    } else {
        output.print(&table(&["", ""], &lines(&host), &[], output.stdout));
    }
    Ok(Exit::Ok)
}

/// The one host of a name or an id.
pub fn find(access: &Access, wanted: &str, output: &Output) -> Result<SeenHost, Failure> {
    let remembered = HostQuery { with_remembered: true, ..HostQuery::default() };
    let id: Option<HostId> = wanted.parse().ok();
    let query = match id {
        Some(_) => remembered,
        None => HostQuery { name: Some(wanted.to_owned()), ..remembered },
    };
    let mut found = match (access, id) {
        (Access::Remote { client, .. }, Some(id)) => {
            client.host(&id).map_err(|problem| failed(&problem))?.into_iter().collect()
        }
        _ => access.hosts(&query, None, output)?,
    };
    if let Some(id) = id {
        found.retain(|host| host.record().host == id);
    }
    // A name may have had several hosts in the course of time; who is there is meant.
    if found.iter().filter(|host| host.is_live).count() == 1 {
        found.retain(|host| host.is_live);
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Failure::new(Exit::Failed, format!("no host `{wanted}` is known"))
            .help("`tycoon sls list` shows those that are")),
        _ => {
            let ids: Vec<String> = found.iter().map(|host| host.record().host.to_string()).collect();
            Err(Failure::new(Exit::Failed, format!("several hosts have the name `{wanted}`"))
                .help(format!("name one by its id: {}", ids.join(", "))))
        }
    }
}

fn lines(host: &SeenHost) -> Vec<Vec<String>> {
    let record = host.record();
    let mut lines: Vec<(&str, String)> = vec![
        ("host", record.name.to_string()),
        ("id", record.host.to_string()),
        ("key", record.key.to_string()),
        ("standing", standing(host)),
        ("reached at", host.addresses().join(" ")),
        ("says it is at", record.addresses.join(" ")),
        ("owner", record.owner.to_string()),
        ("architecture", record.architecture.clone()),
        ("hypervisor", record.hypervisor.clone()),
        ("software", record.software_version.clone()),
        ("images", record.images.join(" ")),
        ("load", format!("{:.2} CPU", record.load.cpus())),
    ];
    lines.extend(record.labels.iter().map(|(label, value)| ("label", format!("{label} = {value}"))));
    for (kind, offer) in &record.offers {
        let base = offer.base_price.credits_per_hour();
        let text = format!(
            "{} of {} free, base price {base:.4} credits per hour and {}",
            kind.show(offer.available),
            kind.show(offer.capacity),
            kind.price_unit_word(),
        );
        lines.push((kind.word(), text));
    }
    lines.extend(record.prices.iter().map(|(kind, prices)| {
        let (spot, day, week) = (&prices.spot, &prices.day.mean, &prices.week.mean);
        let [spot, day, week] = [spot, day, week].map(|rate| rate.credits_per_hour());
        ("price", format!("{kind}: now {spot:.4}, mean of the day {day:.4}, of the week {week:.4} credits per hour"))
    }));
    lines.extend(
        record.unique.iter().map(|(kind, unique)| (kind.word(), format!("{} of {} free", unique.free, unique.count))),
    );
    if let Some(place) = &record.ssh {
        lines.push(("SSH", place.clone()));
    }
    if let Some(key) = &record.ssh_host_key {
        lines.push(("SSH host key", key.clone()));
    }
    let part = |part: f64| format!("{:.2} %", part * 100.0);
    let uptime = host.uptime;
    lines.push(("uptime", format!("hour {}, day {}, week {}", part(uptime.hour), part(uptime.day), part(uptime.week))));
    lines.push(("known since", time::local(host.first_seen)));
    let heard = time::local_with_seconds(host.last_seen);
    lines.push(("last heard of", if host.is_live { heard } else { format!("{heard}; it is gone") }));
    lines.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()
}

/// Shows what the services say of themselves.
pub fn info(choice: &SlsChoice, output: &Output) -> Result<Exit, Failure> {
    let access = choice.open(output, "tycoon sls info")?;
    let client = match &access {
        Access::Embedded { site, .. } => site.sls_client(),
        Access::Remote { client, .. } => client,
        Access::File(_) => {
            return Err(Failure::new(Exit::Usage, "a file has nothing to say of itself").help("leave --hosts-file out"));
        }
    };
    let names: Vec<String> = client.names().map(str::to_owned).collect();
    let answers = client.facts();
    access.close()?;
    let is_whole = answers.iter().all(Result::is_ok);
    let (mut rows, mut values): (Vec<Vec<String>>, Vec<Value>) = (Vec::new(), Vec::new());
    for (name, answer) in names.into_iter().zip(answers) {
        match answer {
            Ok(facts) => {
                rows.push(vec![
                    name.clone(),
                    facts.live_hosts.to_string(),
                    facts.known_hosts.to_string(),
                    format!("{} s", facts.expiry.seconds_f64()),
                    if facts.verifies { "yes" } else { "no" }.to_owned(),
                    facts.key.fingerprint(),
                ]);
                values.push(json!({ "sls": name, "facts": facts }));
            }
            Err(problem) => {
                let reason = one_line(&problem.source);
                rows.push(vec![name.clone(), format!("of no use: {reason}")]);
                values.push(json!({ "sls": name, "error": reason }));
            }
        }
    }
    if output.json {
        output.print_json(&values);
    } else {
        let header = ["SERVICE", "HOSTS", "KNOWN", "EXPIRY", "VERIFIES", "KEY"];
        output.print(&table(&header, &rows, &[1, 2], output.stdout));
    }
    Ok(if is_whole { Exit::Ok } else { Exit::Failed })
}

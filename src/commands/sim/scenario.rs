//! Scenarios as they are written: every node and property is checked, and all errors come in one run.

use kdl::{KdlEntry, KdlNode, KdlValue};
use miette::SourceSpan;
use tycoon_market::duration_text::parse_duration;
use tycoon_market::simulation::{Arrival, Failures, HostMarket, Preferences, Scenario, Strategy, Update, UserGroup};
use tycoon_market::{TimeSpan, Timestamp};

use super::document::{Problem, describe, nearest};

/// A scenario with its name and its seeds.
#[derive(Clone, Debug)]
pub struct NamedScenario {
    /// What it is called.
    pub name: String,
    /// The first seed.
    pub seed: u64,
    /// How many seeds, one after the other, are run.
    pub repeat: u32,
    /// The scenario.
    pub scenario: Scenario,
}

/// The most runs of one scenario.
const REPEAT_MAX: u32 = 10_000;

/// Reads all scenarios of a file.
pub fn read(nodes: &[KdlNode]) -> Result<Vec<NamedScenario>, Vec<Problem>> {
    let mut reader = Reader { problems: Vec::new() };
    let mut scenarios: Vec<NamedScenario> = Vec::new();
    for node in nodes {
        if node.name().value() != "scenario" {
            reader.unknown("node", node.name().value(), node.name().span(), &["scenario"]);
            continue;
        }
        let scenario = reader.scenario(node);
        if scenarios.iter().any(|other| other.name == scenario.name) {
            let help = "give every scenario a name of its own".to_owned();
            reader.problem(
                format!("a second scenario is called {:?}", scenario.name),
                node.name().span(),
                "this one",
                Some(help),
            );
        }
        scenarios.push(scenario);
    }
    if scenarios.is_empty() && reader.problems.is_empty() {
        let help = "write `scenario \"name\" { hosts 100; users \"all\" count=10 { budget 1 } }`".to_owned();
        reader.problem(
            "there is no scenario in this file".to_owned(),
            SourceSpan::from((0, 0)),
            "nothing here",
            Some(help),
        );
    }
    if reader.problems.is_empty() { Ok(scenarios) } else { Err(reader.problems) }
}

/// A value that must be one of some words.
type Words = &'static [&'static str];

struct Reader {
    problems: Vec<Problem>,
}

/// The parts of one node: its values in order, and its properties.
struct Parts<'a> {
    node: &'a KdlNode,
    values: Vec<&'a KdlEntry>,
    properties: Vec<(&'a str, &'a KdlEntry)>,
}

impl Parts<'_> {
    fn property(&self, name: &str) -> Option<&KdlEntry> {
        self.properties.iter().find(|(known, _)| *known == name).map(|(_, entry)| *entry)
    }
}

impl Reader {
    fn problem(&mut self, message: String, span: SourceSpan, label: impl Into<String>, help: Option<String>) {
        self.problems.push(Problem { message, span, label: label.into(), help });
    }

    fn unknown(&mut self, what: &str, name: &str, span: SourceSpan, known: &[&str]) {
        let help = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "there is none here".to_owned(),
            None => format!("known here: {}", known.join(", ")),
        };
        self.problem(format!("there is no {what} `{name}` here"), span, "not known", Some(help));
    }

    /// Takes a node apart: exactly `values` values, or fewer down to `least`, and only these properties.
    fn parts<'a>(&mut self, node: &'a KdlNode, least: usize, values: usize, properties: &[&str]) -> Parts<'a> {
        let name = node.name().value();
        if let Some(annotation) = node.ty() {
            self.problem(format!("`{name}` takes no annotation"), annotation.span(), "remove this", None);
        }
        let mut parts = Parts { node, values: Vec::new(), properties: Vec::new() };
        for entry in node.entries() {
            if let Some(annotation) = entry.ty() {
                self.problem("values take no annotation".to_owned(), annotation.span(), "remove this", None);
            }
            match entry.name() {
                None if parts.values.len() == values => {
                    let label = "this is one too many";
                    self.problem(format!("`{name}` takes {}", count_of(least, values)), entry.span(), label, None);
                }
                None => parts.values.push(entry),
                Some(property) if !properties.contains(&property.value()) => {
                    self.unknown("property", property.value(), property.span(), properties);
                }
                Some(property) if parts.property(property.value()).is_some() => {
                    let message = format!("`{}` is set twice", property.value());
                    self.problem(message, entry.span(), "the second time", None);
                }
                Some(property) => parts.properties.push((property.value(), entry)),
            }
        }
        if parts.values.len() < least {
            self.problem(
                format!("`{name}` takes {}", count_of(least, values)),
                node.name().span(),
                "too few here",
                None,
            );
        }
        parts
    }

    /// The children of a node, each at most once but for those in `many`, and only these.
    fn children<'a>(&mut self, node: &'a KdlNode, known: &[&str], many: &[&str]) -> Vec<&'a KdlNode> {
        let mut found: Vec<&KdlNode> = Vec::new();
        for child in node.children().map(kdl::KdlDocument::nodes).unwrap_or_default() {
            let name = child.name().value();
            if !known.contains(&name) {
                self.unknown("node", name, child.name().span(), known);
            } else if !many.contains(&name) && found.iter().any(|other| other.name().value() == name) {
                self.problem(format!("`{name}` is said twice"), child.name().span(), "the second time", None);
            } else {
                found.push(child);
            }
        }
        found
    }

    fn no_children(&mut self, node: &KdlNode) {
        if node.children().is_some() {
            self.problem(
                format!("`{}` has nothing within braces", node.name().value()),
                node.name().span(),
                "here",
                None,
            );
        }
    }

    fn wrong(&mut self, entry: &KdlEntry, expected: &str) {
        self.problem(
            format!("{expected} is expected"),
            entry.span(),
            format!("this is {}", describe(entry.value())),
            None,
        );
    }

    fn number(&mut self, entry: &KdlEntry) -> Option<f64> {
        let number = match entry.value() {
            KdlValue::Integer(number) => Some(*number as f64),
            KdlValue::Float(number) if number.is_finite() => Some(*number),
            _ => None,
        };
        if number.is_none() {
            self.wrong(entry, "a number");
        }
        number
    }

    fn whole(&mut self, entry: &KdlEntry, least: i128, most: i128) -> Option<u64> {
        match entry.value() {
            KdlValue::Integer(number) if (least..=most).contains(number) => u64::try_from(*number).ok(),
            _ => {
                self.wrong(entry, &format!("a whole number from {least} to {most}"));
                None
            }
        }
    }

    fn text<'a>(&mut self, entry: &'a KdlEntry) -> Option<&'a str> {
        match entry.value() {
            KdlValue::String(text) if !text.is_empty() && !text.chars().any(char::is_control) => Some(text),
            _ => {
                self.wrong(entry, "a text on one line");
                None
            }
        }
    }

    fn time(&mut self, entry: &KdlEntry) -> Option<TimeSpan> {
        let KdlValue::String(text) = entry.value() else {
            self.wrong(entry, "a time such as \"10s\" or \"2h\"");
            return None;
        };
        match parse_duration(text, Timestamp::from_seconds(0)) {
            Ok(span) => Some(span),
            Err(error) => {
                self.problem(error.to_string(), entry.span(), "here", None);
                None
            }
        }
    }

    fn word(&mut self, entry: &KdlEntry, words: Words) -> Option<&'static str> {
        let found = entry.value().as_string().and_then(|text| words.iter().copied().find(|word| *word == text));
        if found.is_none() {
            let near = entry.value().as_string().and_then(|text| nearest(text, words));
            let help = match near {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => {
                    format!("one of {}", words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", "))
                }
            };
            self.problem(format!("{} is not known here", describe(entry.value())), entry.span(), "this", Some(help));
        }
        found
    }

    fn truth(&mut self, entry: &KdlEntry) -> Option<bool> {
        let truth = entry.value().as_bool();
        if truth.is_none() {
            self.wrong(entry, "#true or #false");
        }
        truth
    }

    fn scenario(&mut self, node: &KdlNode) -> NamedScenario {
        const KNOWN: &[&str] =
            &["seed", "repeat", "rounds", "interval", "tolerance", "stop-when-settled", "hosts", "users", "update"];
        let before = self.problems.len();
        let parts = self.parts(node, 1, 1, &[]);
        let name = parts.values.first().and_then(|entry| self.text(entry)).unwrap_or_default().to_owned();
        let mut named = NamedScenario { name, seed: 1, repeat: 1, scenario: Scenario::default() };
        let mut has_hosts = false;
        for child in self.children(node, KNOWN, &["users"]) {
            match child.name().value() {
                "hosts" => {
                    has_hosts = true;
                    self.hosts(child, &mut named.scenario);
                }
                "users" => {
                    let group = self.users(child);
                    if named.scenario.users.iter().any(|other| other.name == group.name) {
                        let message = format!("a second group of users is called {:?}", group.name);
                        self.problem(message, child.name().span(), "this one", None);
                    }
                    named.scenario.users.push(group);
                }
                "update" => self.update(child, &mut named.scenario),
                other => self.setting(other, child, &mut named),
            }
        }
        if !has_hosts {
            let help = Some("write `hosts 100`".to_owned());
            self.problem("the scenario has no hosts".to_owned(), node.name().span(), "this scenario", help);
        }
        // What is wrong with numbers together is said only where each by itself is right.
        if self.problems.len() == before
            && let Err(error) = named.scenario.check()
        {
            let span = place_of(node, error.field, error.group.as_deref());
            self.problem(error.to_string(), span, "here", None);
        }
        named
    }

    /// A node with one value.
    fn setting(&mut self, name: &str, node: &KdlNode, named: &mut NamedScenario) {
        let parts = self.parts(node, 1, 1, &[]);
        self.no_children(node);
        let Some(&entry) = parts.values.first() else { return };
        let scenario = &mut named.scenario;
        match name {
            "seed" => named.seed = self.whole(entry, 0, i128::from(u64::MAX)).unwrap_or(named.seed),
            "repeat" => {
                let repeat = self.whole(entry, 1, i128::from(REPEAT_MAX));
                named.repeat = repeat.and_then(|repeat| u32::try_from(repeat).ok()).unwrap_or(named.repeat);
            }
            "rounds" => {
                let rounds = self.whole(entry, 1, 1_000_000).and_then(|rounds| u32::try_from(rounds).ok());
                scenario.rounds = rounds.unwrap_or(scenario.rounds);
            }
            "interval" => scenario.interval = self.time(entry).unwrap_or(scenario.interval),
            "tolerance" => scenario.tolerance = self.number(entry).unwrap_or(scenario.tolerance),
            _ => scenario.stops_when_settled = self.truth(entry).unwrap_or(scenario.stops_when_settled),
        }
    }

    fn hosts(&mut self, node: &KdlNode, scenario: &mut Scenario) {
        const MARKETS: Words = &["auction", "auctioneer"];
        let parts = self.parts(node, 1, 1, &["base-price", "market", "cpus"]);
        let hosts = &mut scenario.hosts;
        if let Some(entry) = parts.values.first() {
            let count = self.whole(entry, 1, 1_000_000);
            hosts.count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(hosts.count);
        }
        if let Some(entry) = parts.property("base-price") {
            hosts.base_price = self.number(entry).unwrap_or(hosts.base_price);
        }
        let cpus = parts.property("cpus").and_then(|entry| self.whole(entry, 1, 4096));
        match parts.property("market").and_then(|entry| self.word(entry, MARKETS)) {
            Some("auctioneer") => hosts.market = HostMarket::Auctioneer { cpus: cpus.unwrap_or(64) },
            _ => {
                if let Some(entry) = parts.property("cpus") {
                    let help = Some("add market=\"auctioneer\", or remove `cpus`".to_owned());
                    let message = "only a whole auctioneer has CPUs; the auction divides a host in parts".to_owned();
                    self.problem(message, entry.span(), "here", help);
                }
            }
        }
        for child in self.children(node, &["failures"], &[]) {
            let parts = self.parts(child, 0, 0, &["mean-up", "mean-down"]);
            self.no_children(child);
            let mut time = |name: &str| match parts.property(name) {
                Some(entry) => self.time(entry),
                None => {
                    self.problem(format!("`failures` needs `{name}`"), parts.node.name().span(), "here", None);
                    None
                }
            };
            if let (Some(mean_up), Some(mean_down)) = (time("mean-up"), time("mean-down")) {
                scenario.hosts.failures = Some(Failures { mean_up, mean_down });
            }
        }
    }

    fn update(&mut self, node: &KdlNode, scenario: &mut Scenario) {
        const UPDATES: Words = &["sequential", "simultaneous", "staggered"];
        let parts = self.parts(node, 1, 1, &["damping", "turns"]);
        self.no_children(node);
        if let Some(entry) = parts.property("damping") {
            scenario.damping = self.number(entry).unwrap_or(scenario.damping);
        }
        let turns = parts.property("turns").and_then(|entry| self.whole(entry, 1, 1_000_000));
        let kind = parts.values.first().and_then(|entry| self.word(entry, UPDATES));
        match (kind, parts.property("turns")) {
            (Some("staggered"), Some(_)) => {
                let turns = turns.and_then(|turns| u32::try_from(turns).ok()).unwrap_or(1);
                scenario.update = Update::Staggered { turns };
            }
            (Some("staggered"), None) => {
                let help = Some("write `update \"staggered\" turns=5`".to_owned());
                self.problem("`turns` is missing".to_owned(), node.name().span(), "after how many rounds?", help);
            }
            (_, Some(entry)) => {
                let help = Some("remove it, or write \"staggered\"".to_owned());
                self.problem("only who staggers takes turns".to_owned(), entry.span(), "here", help);
            }
            (Some("simultaneous"), None) => scenario.update = Update::Simultaneous,
            _ => scenario.update = Update::Sequential,
        }
    }

    fn users(&mut self, node: &KdlNode) -> UserGroup {
        const KNOWN: &[&str] = &[
            "budget",
            "balance",
            "preferences",
            "considers",
            "max-hosts",
            "min-share",
            "max-share",
            "strategy",
            "arrive",
            "stay",
        ];
        let parts = self.parts(node, 1, 1, &["count"]);
        let name = parts.values.first().and_then(|entry| self.text(entry)).unwrap_or_default();
        let mut group = UserGroup::new(name, 1);
        match parts.property("count") {
            Some(entry) => {
                let count = self.whole(entry, 0, 1_000_000).and_then(|count| usize::try_from(count).ok());
                group.count = count.unwrap_or(1);
            }
            None => {
                let help = Some("write `users \"all\" count=10`".to_owned());
                self.problem("`count` is missing".to_owned(), node.name().span(), "how many users?", help);
            }
        }
        for child in self.children(node, KNOWN, &[]) {
            self.no_children(child);
            self.trait_of(child, &mut group);
        }
        group
    }

    fn trait_of(&mut self, node: &KdlNode, group: &mut UserGroup) {
        match node.name().value() {
            "budget" => {
                let parts = self.parts(node, 1, 2, &[]);
                let numbers: Vec<f64> = parts.values.iter().filter_map(|entry| self.number(entry)).collect();
                if let (Some(least), Some(most)) = (numbers.first(), numbers.last()) {
                    group.budget = (*least, *most);
                }
            }
            "preferences" => self.preferences(node, group),
            "strategy" => self.strategy(node, group),
            "arrive" => self.arrive(node, group),
            name => {
                let parts = self.parts(node, 1, 1, &[]);
                let Some(&entry) = parts.values.first() else { return };
                let count =
                    |reader: &mut Self| reader.whole(entry, 1, 1_000_000).and_then(|count| usize::try_from(count).ok());
                match name {
                    "balance" => group.balance = self.number(entry),
                    "considers" => group.considers = count(self),
                    "max-hosts" => group.hosts_max = count(self),
                    "min-share" => group.min_share = self.number(entry),
                    "max-share" => group.max_share = self.number(entry),
                    _ => group.stay = self.time(entry),
                }
            }
        }
    }

    fn preferences(&mut self, node: &KdlNode, group: &mut UserGroup) {
        const KINDS: Words = &["uniform", "correlated", "equal"];
        let parts = self.parts(node, 1, 1, &["dimensions"]);
        let dimensions = parts.property("dimensions").and_then(|entry| self.whole(entry, 1, 64));
        let kind = parts.values.first().and_then(|entry| self.word(entry, KINDS));
        if let (Some(entry), Some("uniform" | "equal")) = (parts.property("dimensions"), kind) {
            self.problem("only \"correlated\" preferences have dimensions".to_owned(), entry.span(), "here", None);
        }
        group.preferences = match kind {
            Some("correlated") => {
                let dimensions = dimensions.and_then(|dimensions| usize::try_from(dimensions).ok()).unwrap_or(3);
                Preferences::Correlated { dimensions }
            }
            Some("equal") => Preferences::Equal,
            _ => Preferences::Uniform,
        };
    }

    fn strategy(&mut self, node: &KdlNode, group: &mut UserGroup) {
        const STRATEGIES: Words =
            &["best-response", "proportional-response", "fixed", "spiteful", "squatter", "under-bidder"];
        let parts = self.parts(node, 1, 1, &["content"]);
        let content = parts.property("content").and_then(|entry| self.number(entry));
        let kind = parts.values.first().and_then(|entry| self.word(entry, STRATEGIES));
        if let (Some(entry), Some(kind)) = (parts.property("content"), kind)
            && kind != "under-bidder"
        {
            self.problem("only an \"under-bidder\" has a `content`".to_owned(), entry.span(), "here", None);
        }
        group.strategy = match kind {
            Some("proportional-response") => Strategy::ProportionalResponse,
            Some("fixed") => Strategy::Fixed,
            Some("spiteful") => Strategy::Spiteful,
            Some("squatter") => Strategy::Squatter,
            Some("under-bidder") => Strategy::UnderBidder { content: content.unwrap_or(0.9) },
            _ => Strategy::BestResponse,
        };
    }

    fn arrive(&mut self, node: &KdlNode, group: &mut UserGroup) {
        let parts = self.parts(node, 0, 0, &["at", "every"]);
        match (parts.property("at"), parts.property("every")) {
            (Some(entry), None) => group.arrival = self.time(entry).map_or(group.arrival, Arrival::At),
            (None, Some(entry)) => {
                group.arrival = self.time(entry).map_or(group.arrival, |mean| Arrival::Poisson { mean });
            }
            _ => {
                let help =
                    Some("write `arrive at=\"5m\"` for all at once, or `arrive every=\"30s\"` on average".to_owned());
                self.problem("`arrive` takes either `at` or `every`".to_owned(), node.name().span(), "here", help);
            }
        }
    }
}

fn count_of(least: usize, most: usize) -> String {
    match (least, most) {
        (_, 0) => "no value".to_owned(),
        (1, 1) => "one value".to_owned(),
        _ => format!("{least} or {most} values"),
    }
}

/// The place of a field of a scenario, or of a group of users; the whole scenario's name where it is not written.
fn place_of(node: &KdlNode, field: &str, group: Option<&str>) -> SourceSpan {
    let is_named = |node: &KdlNode, name: &str| node.get(0).and_then(KdlValue::as_string) == Some(name);
    let children = |node: &'_ KdlNode| node.children().map(|document| document.nodes().to_vec()).unwrap_or_default();
    let within = match group {
        Some(name) => children(node).into_iter().find(|child| child.name().value() == "users" && is_named(child, name)),
        None => Some(node.clone()),
    };
    let within = within.unwrap_or_else(|| node.clone());
    let word = field.split(' ').next().unwrap_or(field);
    let child = children(&within).into_iter().find(|child| child.name().value() == word);
    let property = |node: &KdlNode| {
        let found = node.entries().iter().find(|entry| entry.name().is_some_and(|name| name.value() == word));
        found.map(KdlEntry::span)
    };
    let below = || children(&within).iter().find_map(property);
    child.map(|child| child.span()).or_else(below).unwrap_or_else(|| within.name().span())
}

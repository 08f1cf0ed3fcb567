//! Which hosts a command is about: names, patterns, labels, files with more of them, or all.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};
use tycoon_executor::inventory::ask_all;
use tycoon_executor::link::{LinkError, SiteHost};
use tycoon_xen::client::HostClient;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::output::Output;
use crate::site::Session;

/// The largest file with names that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The hosts of a command.
#[derive(Args, Debug, Clone)]
pub struct HostsArg {
    /// The hosts: names, patterns (host*), labels (rack=a,disk=ssd), @FILE with one of them on each line, or all
    #[arg(value_name = "HOST", required = true)]
    pub hosts: Vec<String>,
}

/// A host, and a client of it with the user's key.
pub struct Chosen {
    /// The host.
    pub host: SiteHost,
    /// Its client, or why there is none.
    client: Result<HostClient, LinkError>,
}

impl Chosen {
    /// The client of the host; why it cannot be reached where there is none, which is this host's answer to whatever it
    /// is asked.
    pub fn client(&self) -> Result<&HostClient, LinkError> {
        self.client.as_ref().map_err(Clone::clone)
    }
}

/// What one word chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    All,
    Pattern(String),
    Labels(Vec<(String, String)>),
}

impl Choice {
    fn of(word: &str) -> Self {
        if word == "all" {
            return Self::All;
        }
        if !word.contains('=') {
            return Self::Pattern(word.to_owned());
        }
        let label = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (name.trim().to_owned(), value.trim().to_owned())
        };
        Self::Labels(word.split(',').map(label).collect())
    }

    fn is_met(&self, host: &SiteHost) -> bool {
        match self {
            Self::All => true,
            Self::Pattern(pattern) => matches(pattern.as_bytes(), host.name.as_str().as_bytes()),
            Self::Labels(labels) => labels.iter().all(|(name, value)| match name.as_str() {
                "arch" => host.architecture == *value,
                "simulated" => host.is_simulated.to_string() == *value,
                _ => host.labels.get(name).is_some_and(|found| found == value),
            }),
        }
    }
}

/// True where a text is as a pattern says, in which `*` stands for any text.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last star was, and what of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, t) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

impl HostsArg {
    /// The hosts that are meant, each once, ordered by name.
    pub fn choose(&self, session: &Session) -> Result<Vec<Chosen>, Failure> {
        let mut words = Vec::new();
        for word in &self.hosts {
            match word.strip_prefix('@') {
                Some(path) => words.extend(words_of(Path::new(path))?),
                None => words.push(word.clone()),
            }
        }
        let mut known = session.site().hosts().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        let mut numbers = BTreeSet::new();
        let (listed, mut has_all) = (known.len(), false);
        for word in &words {
            let choice = Choice::of(word);
            let find = |known: &[SiteHost]| -> Vec<usize> {
                let most = if matches!(choice, Choice::Pattern(_)) { known.len() } else { listed };
                let found = known.iter().take(most).enumerate().filter(|(_, host)| choice.is_met(host));
                found.map(|(number, _)| number).collect()
            };
            let mut found = find(&known);
            // Hosts that the site does not list any more can be named; `all` and labels do not mean them.
            if found.is_empty() && !has_all && matches!(choice, Choice::Pattern(_)) {
                known.extend(session.other_hosts(&known));
                has_all = true;
                found = find(&known);
            }
            if found.is_empty() {
                return Err(unknown(word, &choice, &known));
            }
            numbers.extend(found);
        }
        let chosen = numbers.into_iter().map(|number| {
            let host = known[number].clone();
            Chosen { client: session.host_client(&host.id), host }
        });
        Ok(chosen.collect())
    }
}

fn words_of(path: &Path) -> Result<Vec<String>, Failure> {
    let text = files::read_text("the list of hosts", path, FILE_BYTES_MAX)?;
    let line = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    Ok(text.lines().map(line).filter(|line| !line.is_empty()).collect())
}

fn unknown(word: &str, choice: &Choice, known: &[SiteHost]) -> Failure {
    let Choice::Pattern(name) = choice else {
        return Failure::new(Exit::Failed, format!("no host is as `{word}` says"))
            .help("`tycoon hosts --json` shows the labels of the hosts");
    };
    let nearness = |host: &SiteHost| strsim::jaro_winkler(name, host.name.as_str());
    let near = known.iter().max_by(|one, two| nearness(one).total_cmp(&nearness(two)));
    let help = match near.filter(|near| nearness(near) > 0.7) {
        Some(near) => format!("did you mean `{}`? `tycoon hosts` lists the hosts", near.name),
        None => "`tycoon hosts` lists the hosts".to_owned(),
    };
    Failure::new(Exit::Failed, format!("there is no host `{name}`")).help(help)
}

/// What came of asking several hosts the same.
pub struct Answers<T>(Vec<(String, Result<T, LinkError>)>);

/// Asks all chosen hosts the same, several at once.
pub fn ask<T: Send>(chosen: &[Chosen], ask: impl Fn(&Chosen) -> Result<T, LinkError> + Sync) -> Answers<T> {
    let answers = ask_all(chosen, |chosen| ask(chosen));
    Answers(chosen.iter().map(|chosen| chosen.host.name.to_string()).zip(answers).collect())
}

impl<T> Answers<T> {
    /// Shows every answer: as JSON, one object for each host, or as text. What failed is told; the exit code says whether
    /// all, some or none went well.
    pub fn show(
        &self,
        output: &Output,
        to_json: impl Fn(&T) -> Value,
        to_text: impl FnOnce(&[(&str, &T)]) -> String,
    ) -> Exit {
        if output.json {
            let one = |(host, answer): &(String, Result<T, LinkError>)| match answer {
                Ok(answer) => {
                    let mut value = to_json(answer);
                    if let Some(object) = value.as_object_mut() {
                        object.insert("host".to_owned(), json!(host));
                    }
                    value
                }
                Err(error) => json!({ "host": host, "error": error.to_string(), "help": error.help() }),
            };
            output.print_json(&self.0.iter().map(one).collect::<Vec<_>>());
        } else {
            let good: Vec<(&str, &T)> =
                self.0.iter().filter_map(|(host, answer)| Some((host.as_str(), answer.as_ref().ok()?))).collect();
            if !good.is_empty() {
                output.print(&to_text(&good));
            }
        }
        for (host, answer) in &self.0 {
            if let Err(error) = answer {
                let mut text = format!("{}: host {host}: {error}\n", output.stderr.red("error"));
                if let Some(help) = error.help() {
                    text.push_str(&format!("  {}: {help}\n", output.stderr.cyan("help")));
                }
                output.error(&text);
            }
        }
        let failed = self.0.iter().filter(|(_, answer)| answer.is_err()).count();
        match failed {
            0 => Exit::Ok,
            failed if failed == self.0.len() => Exit::Failed,
            _ => Exit::Partly,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, is_match) in [
            ("host1", "host1", true),
            ("host1", "host10", false),
            ("host*", "host10", true),
            ("*1*", "host10", true),
            ("h*t*0", "host10", true),
            ("*a*b", "aabab", true),
            ("*a*b", "aaba", false),
            ("", "x", false),
            ("**", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), is_match, "{pattern} {text}");
        }
    }

    #[test]
    fn labels_are_told_from_names() {
        assert_eq!(Choice::of("all"), Choice::All);
        assert_eq!(Choice::of("host*"), Choice::Pattern("host*".into()));
        let labels = [("rack", "a"), ("disk", "ssd")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(Choice::of("rack=a, disk=ssd"), Choice::Labels(labels.into()));
    }
}

//! Users of this machine, by name or number.

use crate::exit::Exit;
use crate::failure::Failure;

/// The numbers of the users that are named on the command line, or in a settings file, separated by commas, or else of
/// the `usual` one. `option` is the one that names others.
pub fn numbers(given: &[String], settings: Option<&str>, usual: &str, option: &str) -> Result<Vec<u32>, Failure> {
    let names: Vec<String> = match (given, settings) {
        ([], Some(text)) => text.split(',').map(|name| name.trim().to_owned()).collect(),
        ([], None) => vec![usual.to_owned()],
        (given, _) => given.to_vec(),
    };
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number_of = |name: &String| {
        if let Ok(number) = name.parse::<u32>() {
            return Ok(number);
        }
        let of_line = |line: &str| {
            let mut fields = line.split(':');
            (fields.next() == Some(name.as_str())).then(|| fields.nth(1)?.parse::<u32>().ok()).flatten()
        };
        known.lines().find_map(of_line).ok_or_else(|| {
            Failure::new(Exit::Failed, format!("there is no user `{name}` on this machine"))
                .help(format!("make one with `useradd --system {name}`, or name another with {option}"))
        })
    };
    names.iter().map(number_of).collect()
}

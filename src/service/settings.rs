//! The settings file of a service: KDL, one setting a line, each a name and a value.
//!
//! ```text
//! listen "127.0.0.1:7401"
//! store "sled:/var/lib/tycoon/bank"
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use kdl::{KdlDocument, KdlValue};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;

/// The largest settings file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Settings by name.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
    file: String,
}

impl Settings {
    /// Reads the file `path`, which may have these names.
    pub fn read(path: &Path, names: &[&str]) -> Result<Self, Failure> {
        let file = path.display().to_string();
        let text = files::read_text("the settings file", path, FILE_BYTES_MAX)?;
        Self::of_text(&text, names, &file)
    }

    /// Reads the text of a settings file that is called `file`.
    pub fn of_text(text: &str, names: &[&str], file: &str) -> Result<Self, Failure> {
        let wrong = |what: String| Failure::new(Exit::Usage, format!("the settings file {file}: {what}"));
        // Settings have no children; the parser would follow any depth of them.
        if text.contains("{{") || text.matches('{').count() > 1 {
            return Err(wrong("settings have no children, so there are no braces in it".to_owned()));
        }
        let document: KdlDocument = text.parse().map_err(|error: kdl::KdlError| {
            let first = error.diagnostics.first();
            let place = first.map_or(0, |found| line_of(text, found.span.offset()));
            let what = first.and_then(|found| found.message.clone()).unwrap_or_else(|| "it is not KDL".to_owned());
            wrong(format!("line {place}: {what}")).help("write one setting a line, such as: listen \"127.0.0.1:7401\"")
        })?;
        let mut values = BTreeMap::new();
        for node in document.nodes() {
            let name = node.name().value();
            let at = line_of(text, node.span().offset());
            if !names.contains(&name) {
                let near = names.iter().max_by(|a, b| nearness(a, name).total_cmp(&nearness(b, name)));
                let failure = wrong(format!("line {at}: there is no setting `{name}`"));
                return Err(match near.filter(|near| nearness(near, name) > 0.7) {
                    Some(near) => failure.help(format!("did you mean `{near}`?")),
                    None => failure.help(format!("the settings are {}", names.join(", "))),
                });
            }
            let [entry] = node.entries() else {
                return Err(wrong(format!("line {at}: `{name}` needs one value")));
            };
            let value = match entry.value() {
                KdlValue::String(text) => text.clone(),
                KdlValue::Integer(number) => number.to_string(),
                KdlValue::Float(number) => number.to_string(),
                KdlValue::Bool(truth) => truth.to_string(),
                _ => {
                    return Err(wrong(format!("line {at}: the value of `{name}` must be a text, a number or a truth")));
                }
            };
            if entry.name().is_some() || node.children().is_some() {
                return Err(wrong(format!("line {at}: `{name}` takes one plain value")));
            }
            if values.insert(name.to_owned(), value).is_some() {
                return Err(wrong(format!("line {at}: `{name}` stands twice")));
            }
        }
        Ok(Self { values, file: file.to_owned() })
    }

    /// The value of `name`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value of `name`, read as a `T`.
    pub fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|error| {
            Failure::new(Exit::Usage, format!("the settings file {}: `{name}` is `{text}`: {error}", self.file))
        })
    }
}

fn nearness(a: &str, b: &str) -> f64 {
    strsim::jaro_winkler(a, b)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        let plain = crate::output::Style { color: false, width: 100 };
        Settings::of_text(text, &["listen", "store", "accounts-max"], "bank.kdl")
            .map_err(|failure| failure.render(plain))
    }

    #[test]
    fn settings_are_names_with_one_value() {
        let found = settings("// mine\nlisten \"127.0.0.1:1\"\naccounts-max 7\n").unwrap();
        assert_eq!(found.text("listen"), Some("127.0.0.1:1"));
        assert_eq!(found.parsed::<u64>("accounts-max").unwrap(), Some(7));
        assert_eq!(found.text("store"), None);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, told) in [
            ("\nlistn \"x\"", "line 2: there is no setting `listn`"),
            ("\nlistn \"x\"", "did you mean `listen`?"),
            ("listen", "`listen` needs one value"),
            ("listen 1 2", "`listen` needs one value"),
            ("listen #null", "must be a text"),
            ("listen 1\nlisten 2", "line 2: `listen` stands twice"),
            ("listen x=1", "takes one plain value"),
            ("a {{{{", "no braces"),
            ("listen \"", "line 1"),
        ] {
            let error = settings(text).unwrap_err();
            assert!(error.contains(told), "{text:?}: {error}");
        }
        let number = settings("accounts-max \"many\"").unwrap().parsed::<u64>("accounts-max");
        assert!(number.is_err());
    }
}

//! Changes the text of a settings file, one setting a line, and leaves its comments and its order.

use kdl::{KdlEntry, KdlNode, KdlValue};

/// The text in which the setting `name` has this value. A line that has it is replaced; else one that shows it in a
/// comment (`// name "…"`); else a line is added.
pub fn set(text: &str, name: &str, value: KdlValue) -> String {
    let mut node = KdlNode::new(name);
    node.push(KdlEntry::new(value));
    let line = node.to_string().trim_end().to_owned();
    let lines: Vec<&str> = text.lines().collect();
    let is_setting = |text: &&str| text.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with(' '));
    let shown = |text: &&str| text.strip_prefix("// ").is_some_and(|text| is_setting(&text) && is_value(text, name));
    let place = lines.iter().position(is_setting).or_else(|| lines.iter().position(shown));
    let mut lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
    match place {
        Some(place) => lines[place] = line,
        None => lines.push(line),
    }
    lines.join("\n") + "\n"
}

/// Whether what follows the name is a value, and not a sentence that begins with the same word.
fn is_value(text: &str, name: &str) -> bool {
    let rest = text.trim_start().trim_start_matches(name).trim_start();
    rest.starts_with(['"', '#']) || rest.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "// Of the owner: owner is who earns.\n// owner \"ssh-ed25519 AAAA…\"\nlisten \"127.0.0.1:7403\"\n// listen \"0.0.0.0:7403\"\n";

    #[test]
    fn a_setting_takes_the_place_of_itself_or_of_its_example() {
        let text = set(TEXT, "owner", "ssh-ed25519 BBBB \"jane\"".into());
        let text = set(&text, "listen", "0.0.0.0:1".into());
        let text = set(&text, "behind-proxy", true.into());
        assert_eq!(
            text,
            "// Of the owner: owner is who earns.\nowner \"ssh-ed25519 BBBB \\\"jane\\\"\"\nlisten \"0.0.0.0:1\"\n\
             // listen \"0.0.0.0:7403\"\nbehind-proxy #true\n"
        );
        assert_eq!(set(&text, "listen", "0.0.0.0:1".into()), text, "the same again changes nothing");
    }

    #[test]
    fn a_name_that_begins_like_another_is_another() {
        assert_eq!(set("sls-key 1\n", "sls", "x".into()), "sls-key 1\nsls x\n");
    }
}

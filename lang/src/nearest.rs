//! "Did you mean": the known name nearest to a wrong one.

/// Lower case, with `_` as `-`: what a slip of convention does not change.
fn folded(name: &str) -> String {
    name.chars().map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// The name among `candidates` that is nearest to `wrong`, if one is near enough to be meant: equal but for
/// case and `_`/`-`, or at most a third of its letters away (transposed neighbours count as one slip).
pub(crate) fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if wrong.len() > LONGEST {
        return None;
    }
    let wrong = folded(wrong);
    let allowed = (wrong.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .filter_map(|candidate| {
            let known = folded(candidate);
            let distance = if known == wrong { 0 } else { strsim::damerau_levenshtein(&wrong, &known) };
            let short = wrong.chars().count() < 3 && distance > 0;
            (distance <= allowed && !short).then_some((distance, candidate))
        })
        .min_by(|a, b| a.0.cmp(&b.0).then(a.1.cmp(b.1)))
        .map(|(_, candidate)| candidate)
}

/// "`a`, `b` or `c`" for messages.
pub(crate) fn alternatives<S: AsRef<str>>(names: &[S], last_word: &str) -> String {
    const MOST: usize = 12;
    let quoted: Vec<String> = names.iter().take(MOST).map(|name| format!("`{}`", name.as_ref())).collect();
    if names.len() > MOST {
        return format!("{} and {} more", quoted.join(", "), names.len() - MOST);
    }
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} {last_word} {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_keyboard_and_of_convention_are_found() {
        let known = ["memory", "vcpus", "kernel-args", "root"];
        assert_eq!(nearest("memry", known), Some("memory"));
        assert_eq!(nearest("kernel_args", known), Some("kernel-args"));
        assert_eq!(nearest("Root", known), Some("root"));
        assert_eq!(nearest("vpcus", known), Some("vcpus"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("xy", known), None);
    }
}

//! Every code with what it means: for `docs/errors.md` and for `tycoon explain E0203`.

mod checks;
mod composing;
mod names;
mod reading;
mod values;

/// A code and its explanation.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// The code, for example `E0201`.
    pub code: &'static str,
    /// What it is called.
    pub title: &'static str,
    /// What it means and why it is so.
    pub explanation: &'static str,
    /// A description, `pool.kdl`, that has it.
    pub example: &'static str,
    /// The same, cured.
    pub cure: &'static str,
    /// The library `lib.kdl` beside them; empty where they import nothing.
    pub library: &'static str,
}

/// The groups of codes with their titles, in order.
pub const GROUPS: &[(&str, &[Code])] = &[
    ("E01: reading files", reading::CODES),
    ("E02: names and places", names::CODES),
    ("E03: composing", composing::CODES),
    ("E04: values", values::CODES),
    ("E05 and E06: checks and limits; W: warnings", checks::CODES),
];

/// All codes in order.
pub fn all() -> impl Iterator<Item = &'static Code> {
    GROUPS.iter().flat_map(|(_, codes)| codes.iter())
}

/// The code of a name, in any case: `E0201`, `e0201`.
pub fn find(code: &str) -> Option<&'static Code> {
    all().find(|known| known.code.eq_ignore_ascii_case(code))
}

impl Code {
    /// The explanation as Markdown: title, text, example and cure.
    pub fn to_markdown(self) -> String {
        let block = |text: &str| format!("```kdl\n{}\n```\n", text.trim_end());
        let mut out = format!("### {}: {}\n\n{}\n\n", self.code, self.title, self.explanation);
        if !self.library.is_empty() {
            out.push_str(&format!("With `lib.kdl`:\n\n{}\n", block(self.library)));
        }
        out.push_str(&format!("Wrong:\n\n{}\nRight:\n\n{}", block(self.example), block(self.cure)));
        out
    }
}

/// All codes as one Markdown document: `docs/errors.md`.
pub fn to_markdown() -> String {
    let mut out = String::from(
        "# Errors and warnings of the description language\n\n\
         Written by the program from `lang/src/codes/`; `tycoon explain CODE` shows the same. Codes are stable: a code is never given\n\
         to another error.\n",
    );
    for (title, codes) in GROUPS {
        out.push_str(&format!("\n## {title}\n"));
        for code in *codes {
            out.push('\n');
            out.push_str(&code.to_markdown());
        }
    }
    out
}

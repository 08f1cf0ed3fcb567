//! How errors reach the user: what, where, how to fix it, and the exit code.

use std::error::Error;
use std::fmt::Write as _;

use miette::{GraphicalReportHandler, GraphicalTheme};
use serde_json::json;
use tycoon_executor::ExecutorError;
use tycoon_executor::lock::LockError;
use tycoon_lang::diagnostic::{Diagnostic, Severity};
use tycoon_lang::{Sources, report};
use tycoon_planner::PlanError;

use crate::exit::Exit;
use crate::output::Style;

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    content: Box<Content>,
}

#[derive(Debug)]
enum Content {
    /// Something about a description, with places in it.
    Description { sources: Sources, diagnostics: Vec<Diagnostic> },
    /// Something else.
    Plain { code: Option<String>, message: String, causes: Vec<String>, help: Option<String> },
}

impl Failure {
    /// A failure that is only a message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self::plain(exit, None, message.into(), Vec::new(), None)
    }

    /// A failure caused by an error: its message, and those of its causes.
    pub fn from_error(exit: Exit, error: &dyn Error) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        Self::plain(exit, None, error.to_string(), causes, None)
    }

    /// A failure with a stable code.
    pub fn coded(exit: Exit, code: &str, message: String) -> Self {
        Self::plain(exit, Some(code.to_owned()), message, Vec::new(), None)
    }

    /// A description that is wrong.
    pub fn description(failure: tycoon_lang::Failure) -> Self {
        let content = Content::Description { sources: failure.sources, diagnostics: failure.diagnostics };
        Self { exit: Exit::Failed, content: Box::new(content) }
    }

    fn plain(exit: Exit, code: Option<String>, message: String, causes: Vec<String>, help: Option<String>) -> Self {
        Self { exit, content: Box::new(Content::Plain { code, message, causes, help }) }
    }

    /// The failure in a few words: what, and why.
    pub fn message(&self) -> String {
        match &*self.content {
            Content::Description { sources, diagnostics } => {
                diagnostics.first().map_or_else(String::new, |diagnostic| diagnostic.to_text(sources))
            }
            Content::Plain { message, causes, .. } => {
                causes.iter().fold(message.clone(), |text, cause| format!("{text}: {cause}"))
            }
        }
    }

    /// The same under another message; the old one becomes the first cause.
    #[must_use]
    pub fn context(mut self, text: &str) -> Self {
        if let Content::Plain { message, causes, .. } = &mut *self.content {
            causes.insert(0, std::mem::replace(message, text.to_owned()));
        }
        self
    }

    /// The same, said of one of several.
    #[must_use]
    pub fn of(mut self, whose: &str) -> Self {
        if let Content::Plain { message, .. } = &mut *self.content {
            message.insert_str(0, &format!("{whose}: "));
        }
        self
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        if let Content::Plain { help, .. } = &mut *self.content {
            *help = Some(text.into());
        }
        self
    }

    /// The same with one more thing to do about it.
    #[must_use]
    pub fn more_help(mut self, text: &str) -> Self {
        if let Content::Plain { help, .. } = &mut *self.content {
            *help = Some(help.take().map_or_else(|| text.to_owned(), |before| format!("{before}\n{text}")));
        }
        self
    }

    /// An error of a run; a plan that cannot be made points into the description.
    pub fn from_executor(error: ExecutorError, sources: Option<&Sources>) -> Self {
        match error {
            ExecutorError::Plan(error) => Self::from_plan(&error, sources),
            ExecutorError::Lock(error) => Self::from_lock(&error),
            ExecutorError::Journal(ref journal) => Self::from_error(Exit::Failed, journal).help(
                "nothing is lost: hosts and bank know what there is. Move the journal aside, and run the command again",
            ),
            ExecutorError::UnknownFolder { ref folder, .. } => Self::from_error(Exit::Failed, &error).help(format!(
                "a pool that was brought up from another machine is saved where you say: `--save-to {folder}` with `tycoon down`, \
                 or `--no-save` to remove it without saving"
            )),
            error => Self::from_error(Exit::Failed, &error),
        }
    }

    /// A lock that was not taken.
    pub fn from_lock(error: &LockError) -> Self {
        match error {
            LockError::Held { .. } => {
                Self::from_error(Exit::Locked, error).help("wait until it has ended, and run the command again")
            }
            LockError::Stopped { .. } => Self::from_error(Exit::Interrupted, error),
            LockError::Io { .. } => Self::from_error(Exit::Failed, error),
        }
    }

    fn from_plan(error: &PlanError, sources: Option<&Sources>) -> Self {
        let exit = if error.is_about_money() { Exit::Budget } else { Exit::Failed };
        match sources.and_then(|sources| Some((sources, diagnostic_of(error)?))) {
            Some((sources, diagnostic)) => {
                let content = Content::Description { sources: sources.clone(), diagnostics: vec![diagnostic] };
                Self { exit, content: Box::new(content) }
            }
            None => Self::plain(exit, Some(error.code().to_owned()), error.to_string(), Vec::new(), Some(error.help())),
        }
    }

    /// Several things that no plan can have, each place once.
    pub fn from_plans(errors: &[PlanError], sources: &Sources) -> Self {
        let mut diagnostics: Vec<Diagnostic> = Vec::new();
        for diagnostic in errors.iter().filter_map(diagnostic_of) {
            if !diagnostics.iter().any(|known| known.labels == diagnostic.labels) {
                diagnostics.push(diagnostic);
            }
        }
        match (errors, &diagnostics[..]) {
            ([first, ..], []) => Self::from_plan(first, None),
            _ => Self::description(tycoon_lang::Failure { sources: sources.clone(), diagnostics }),
        }
    }

    /// The failure for people.
    pub fn render(&self, style: Style) -> String {
        match &*self.content {
            Content::Description { sources, diagnostics } => render_diagnostics(sources, diagnostics, style),
            Content::Plain { code, message, causes, help } => {
                let mut text = style.red("error");
                if let Some(code) = code {
                    let _ = write!(text, "[{code}]");
                }
                let _ = writeln!(text, ": {message}");
                for cause in causes {
                    let _ = writeln!(text, "  because {cause}");
                }
                if let Some(help) = help {
                    let _ = writeln!(text, "  {}: {}", style.cyan("help"), help.replace('\n', "\n        "));
                }
                text
            }
        }
    }

    /// The failure as data.
    pub fn json(&self) -> serde_json::Value {
        let error = match &*self.content {
            Content::Description { sources, diagnostics } => json!({
                "message": diagnostics.first().map_or("the description is wrong", |first| first.message.as_str()),
                "diagnostics": diagnostics_json(sources, diagnostics),
            }),
            Content::Plain { code, message, causes, help } => {
                json!({ "code": code, "message": message, "causes": causes, "help": help })
            }
        };
        json!({ "error": error, "exit_code": self.exit.code() })
    }
}

/// A plan that cannot be made, as a diagnostic of the description; `None` where it belongs to no place.
pub fn diagnostic_of(error: &PlanError) -> Option<Diagnostic> {
    let label = tycoon_lang::diagnostic::Label { span: *error.span()?, text: error.label(), primary: true };
    Some(Diagnostic {
        code: error.code(),
        severity: Severity::Error,
        message: error.to_string(),
        labels: vec![label],
        notes: Vec::new(),
        help: Some(error.help()),
        suggestion: None,
        repeated: 0,
    })
}

/// Diagnostics for people, one after the other.
pub fn render_diagnostics(sources: &Sources, diagnostics: &[Diagnostic], style: Style) -> String {
    let theme = if style.color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(style.width).with_links(false);
    let mut text = String::new();
    for (number, diagnostic) in diagnostics.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        let report = report::report(diagnostic, sources);
        if handler.render_report(&mut text, &report).is_err() {
            let _ = writeln!(text, "{report}");
        }
    }
    if diagnostics.len() > 1 {
        let count = |severity| diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let _ = writeln!(text, "\n{}", counted(errors, warnings));
    }
    text
}

/// `2 errors, 1 warning`.
fn counted(errors: usize, warnings: usize) -> String {
    let part = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        count => Some(format!("{count} {what}s")),
    };
    [part(errors, "error"), part(warnings, "warning")].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Diagnostics as data, with lines and columns beside the byte offsets.
pub fn diagnostics_json(sources: &Sources, diagnostics: &[Diagnostic]) -> serde_json::Value {
    let labels = |diagnostic: &Diagnostic| -> Vec<serde_json::Value> {
        diagnostic
            .labels
            .iter()
            .map(|label| {
                let source = sources.get(label.span.file);
                let at = source.position(label.span.start);
                json!({
                    "file": &*source.name, "line": at.line, "column": at.column,
                    "start": label.span.start, "end": label.span.end,
                    "text": label.text, "primary": label.primary,
                })
            })
            .collect()
    };
    diagnostics
        .iter()
        .map(|diagnostic| {
            json!({
                "code": diagnostic.code, "severity": diagnostic.severity, "message": diagnostic.message,
                "labels": labels(diagnostic), "notes": diagnostic.notes, "help": diagnostic.help,
                "edit": diagnostic.suggestion.as_ref().map(|edit| json!({
                    "file": &*sources.get(edit.span.file).name,
                    "start": edit.span.start, "end": edit.span.end, "replacement": edit.replacement,
                })),
            })
        })
        .collect()
}

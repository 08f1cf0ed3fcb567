//! `test` nodes: expectations that a description has of itself, run by `tycoon test`.

use std::sync::Arc;

use crate::compose::layers::{Frame, Frames};
use crate::diagnostic::Diagnostic;
use crate::evaluate::compute::Context;
use crate::load::{Failure, on_large_stack};
use crate::nearest::nearest;
use crate::options::Options;
use crate::resolver::Resolver;
use crate::source::{FileId, Loader, Sources, Span};
use crate::statement::StatementId;
use crate::value::Value;

/// How one test went.
#[derive(Clone, Debug)]
pub struct TestReport {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub span: Span,
    /// Why it failed; empty where it passed.
    pub failures: Vec<Diagnostic>,
    /// The files that the diagnostics point into.
    pub sources: Sources,
}

impl TestReport {
    /// True where every expectation held.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Runs all tests of a file. Each resolves the file anew, with what its `given` says written over it. A file without
/// tests is checked as it stands, so that nobody takes "none failed" for "sound".
///
/// # Errors
/// [`Failure`] where the file cannot be read, a test is not well formed, or a file without tests is not sound; what a
/// test finds is in its report.
pub fn run_tests(path: &str, loader: &dyn Loader, options: &Options) -> Result<Vec<TestReport>, Failure> {
    on_large_stack(|| {
        let mut first = Resolver::new(options, loader);
        let main = first.prepare(path);
        let tests = first.tests(main);
        if tests.is_empty() && !first.problems.has_errors() {
            first.check_whole(main);
        }
        if first.problems.has_errors() {
            return Err(first.failure());
        }
        // Reading is deterministic, so the statements have the same numbers every time.
        Ok(tests.into_iter().map(|test| run_test(path, loader, options, test)).collect())
    })
}

/// A `test` node taken apart.
struct Test {
    name: String,
    span: Span,
    given: Vec<StatementId>,
    expect: Vec<StatementId>,
    expect_error: Vec<(String, Span)>,
}

fn run_test(path: &str, loader: &dyn Loader, options: &Options, test: Test) -> TestReport {
    let mut resolver = Resolver::new(options, loader);
    let main = resolver.prepare(path);
    resolver.add_given(main, &test.given);
    resolver.check_whole(main);
    let mut failures = Vec::new();
    if test.expect_error.is_empty() {
        if !resolver.problems.has_errors() {
            for expectation in &test.expect {
                resolver.expect(main, *expectation);
            }
        }
        let Failure { sources, diagnostics } = resolver.failure();
        failures.extend(diagnostics.into_iter().filter(|d| d.severity == crate::diagnostic::Severity::Error));
        return TestReport { name: test.name, span: test.span, failures, sources };
    }
    let Failure { sources, diagnostics } = resolver.failure();
    for (code, span) in &test.expect_error {
        if !diagnostics.iter().any(|diagnostic| diagnostic.code == code) {
            let found: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
            let note = if found.is_empty() {
                "the description is sound".to_owned()
            } else {
                format!("found: {}", found.join(", "))
            };
            let message = format!("the error {code} was expected and did not come");
            failures.push(
                Diagnostic::new("E0505", message, *span, "expected here")
                    .note(note)
                    .help("correct the test or the description"),
            );
        }
    }
    // Errors that nobody expected are failures too.
    let unexpected = diagnostics.into_iter().filter(|diagnostic| {
        diagnostic.severity == crate::diagnostic::Severity::Error
            && !test.expect_error.iter().any(|(code, _)| code == diagnostic.code)
    });
    failures.extend(unexpected);
    TestReport { name: test.name, span: test.span, failures, sources }
}

impl Resolver<'_> {
    /// The tests of a file; what is not well formed is reported.
    fn tests(&mut self, main: FileId) -> Vec<Test> {
        let statements = self.units.get(&main).map(|unit| unit.statements.clone()).unwrap_or_default();
        let mut tests = Vec::new();
        for id in statements {
            if !self.statements[id].is_single() || self.text(self.statements[id].word()) != "test" {
                continue;
            }
            let span = self.statements[id].span;
            let Some((name, _)) = self.plain_text(id, 0) else {
                let error = Diagnostic::new("E0208", "this test has no name", span, "a name is missing");
                self.report(error.help("write `test \"what it shows\" { … }`"));
                continue;
            };
            let mut test =
                Test { name: name.to_string(), span, given: Vec::new(), expect: Vec::new(), expect_error: Vec::new() };
            for part in self.statements[id].body.clone() {
                self.test_part(part, &mut test);
            }
            tests.push(test);
        }
        tests
    }

    fn test_part(&mut self, part: StatementId, test: &mut Test) {
        let word = Arc::clone(self.names.text(self.statements[part].word()));
        let span = self.statements[part].span;
        match &*word {
            "given" => test.given.extend(self.statements[part].body.iter().copied()),
            "expect" if self.statements[part].arguments.len() == 1 => test.expect.push(part),
            "expect-error" => {
                for argument in 0..self.statements[part].arguments.len() {
                    if let Some((code, place)) = self.plain_text(part, argument) {
                        match crate::codes::find(&code) {
                            Some(known) => test.expect_error.push((known.code.to_owned(), place)),
                            None => {
                                let error =
                                    Diagnostic::new("E0404", format!("there is no code `{code}`"), place, "unknown");
                                self.report(error.help("see docs/errors.md for all codes"));
                            }
                        }
                    }
                }
            }
            "expect" => {
                let error = Diagnostic::new("E0212", "`expect` takes one condition", span, "not one condition");
                self.report(error.help("write `expect \"web.0.memory == 2GiB\"`"));
            }
            _ => {
                let error = Diagnostic::new("E0201", format!("a test has no `{word}`"), span, "not known here");
                self.report(match nearest(&word, ["given", "expect", "expect-error"]) {
                    Some(meant) => error.help(format!("did you mean `{meant}`?")),
                    None => error.help("it may have `given`, `expect` and `expect-error`"),
                });
            }
        }
    }

    /// Judges one `expect`.
    fn expect(&mut self, main: FileId, expectation: StatementId) {
        let literal = self.statements[expectation].arguments[0].clone();
        let Ok(root) = self.root_instance(main) else { return };
        let frames: Frames = [Frame::Root(main)].into();
        let Some(expression) = self.compile(&literal, None, &frames, &[], self.instance(root).class) else { return };
        let context = Context::new(root, frames);
        let Ok(value) = self.compute(&expression, &context) else { return };
        match value {
            Value::Boolean(true) => {}
            Value::Boolean(false) => {
                let operands = self.traced(&expression, &context);
                let text = self.sources.text(literal.span).trim_matches('"').to_owned();
                let message = format!("the expectation `{text}` does not hold");
                let mut error = Diagnostic::new("E0502", message, literal.span, "this does not hold");
                for operand in operands {
                    error = error.label(operand.span, format!("`{}` is {}", operand.text, operand.value));
                }
                self.report(error.help("correct the test or the description"));
            }
            Value::Live(live) => {
                let error = self.live_refused("an expectation", literal.span, &live);
                self.report(error);
            }
            other => {
                let message = format!("an expectation is true or false, but this is {}", other.describe());
                let error = Diagnostic::new("E0401", message, literal.span, "not a condition");
                self.report(error.help("compare it with something"));
            }
        }
    }
}

//! `tycoon explain`: what an error code means, or why a value of a description is what it is.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;
use tycoon_lang::explain::{Explanation, Outcome};
use tycoon_lang::{Span, codes, explain};

use crate::cli::DescriptionArgs;
use crate::description;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, Style};

/// Arguments of `tycoon explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// An error code such as E0203, or a description
    #[arg(value_name = "CODE|FILE")]
    subject: String,
    /// The value to explain, for example batch.wn.0.memory
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// Set a param of the description
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = crate::cli::parse_param)]
    params: Vec<(String, String)>,
}

/// Explains a code or a value.
pub fn run(arguments: &ExplainArgs, output: &Output) -> Result<Exit, Failure> {
    match &arguments.path {
        Some(path) => value(arguments, path, output),
        None => code(&arguments.subject, output),
    }
}

fn code(subject: &str, output: &Output) -> Result<Exit, Failure> {
    let wanted = subject.to_ascii_uppercase();
    if let Some(code) = tycoon_planner::codes::find(&wanted) {
        if output.json {
            output.print_json(&json!({
                "code": code.code, "title": code.title, "explanation": code.explanation, "cure": code.cure,
            }));
        } else {
            let title = output.stdout.bold(code.code);
            output.print(&format!("{title}: {}\n\n{}\n\nCure: {}\n", code.title, code.explanation, code.cure));
        }
        return Ok(Exit::Ok);
    }
    let code = codes::find(&wanted).ok_or_else(|| {
        Failure::new(Exit::Failed, format!("there is no code `{subject}`")).help(
            "codes look like E0203, and stand above every error; to explain a value, write `tycoon explain FILE PATH`",
        )
    })?;
    if output.json {
        output.print_json(&json!({
            "code": code.code, "title": code.title, "explanation": code.explanation,
            "example": code.example, "cure": code.cure,
        }));
    } else {
        let block = |text: &str| text.trim_end().replace('\n', "\n    ");
        output.print(&format!(
            "{}: {}\n\n{}\n\nExample:\n\n    {}\n\nCure:\n\n    {}\n",
            output.stdout.bold(code.code),
            code.title,
            code.explanation,
            block(code.example),
            block(code.cure)
        ));
    }
    Ok(Exit::Ok)
}

fn value(arguments: &ExplainArgs, path: &str, output: &Output) -> Result<Exit, Failure> {
    let description = DescriptionArgs { file: arguments.subject.clone(), params: arguments.params.clone(), pool: None };
    let (loader, options) = description::loader(&description);
    let explanation = explain(&description.file, &loader, &options, path).map_err(Failure::description)?;
    if output.json {
        let place = |span: Span| place(&explanation, span);
        output.print_json(&json!({
            "path": explanation.path, "value": explanation.value, "type": explanation.ty, "doc": explanation.doc,
            "declared": place(explanation.declared),
            "writes": explanation.writes.iter().map(|write| json!({
                "place": place(write.span), "text": write.text, "body": write.body,
                "default": write.is_default, "outcome": outcome(&explanation, &write.outcome),
            })).collect::<Vec<_>>(),
            "hops": explanation.hops.iter().map(|(span, text)| json!({ "place": place(*span), "text": text }))
                .collect::<Vec<_>>(),
        }));
    } else {
        output.print(&render(&explanation, output.stdout));
    }
    Ok(Exit::Ok)
}

fn render(explanation: &Explanation, style: Style) -> String {
    let mut text = format!("{} = {}  ({})\n", style.bold(&explanation.path), explanation.value, explanation.ty);
    if let Some(doc) = &explanation.doc {
        let _ = writeln!(text, "{doc}");
    }
    let _ = writeln!(text, "declared at {}", place(explanation, explanation.declared));
    if !explanation.writes.is_empty() {
        text.push_str("\nwritten, nearest first:\n");
    }
    for write in &explanation.writes {
        let default = if write.is_default { ", a default" } else { "" };
        let _ = writeln!(
            text,
            "  {}  in {} at {}{default}: {}",
            write.text,
            write.body,
            place(explanation, write.span),
            outcome(explanation, &write.outcome)
        );
    }
    if !explanation.hops.is_empty() {
        text.push_str("\nknown only while the pool runs:\n");
    }
    for (span, hop) in &explanation.hops {
        let _ = writeln!(text, "  {hop} ({})", place(explanation, *span));
    }
    text
}

fn outcome(explanation: &Explanation, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Decides => "decides".into(),
        Outcome::OverriddenBy(span) => format!("overridden at {}", place(explanation, *span)),
        Outcome::DefaultNotNeeded => "not needed".into(),
        Outcome::Replaced(span) => format!("replaced at {}", place(explanation, *span)),
    }
}

/// `pool.kdl:4:15`.
fn place(explanation: &Explanation, span: Span) -> String {
    let source = explanation.sources.get(span.file);
    let at = source.position(span.start);
    format!("{}:{}:{}", source.name, at.line, at.column)
}

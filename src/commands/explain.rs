//! `tycoon explain`: what an error code means, what a kind has, what a word is for, or why a value of a description is what it is.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;
use tycoon_lang::explain::{Explanation, Outcome};
use tycoon_lang::lookup::{self, Found};
use tycoon_lang::reference::Schema;
use tycoon_lang::words::Word;
use tycoon_lang::{Span, codes, explain, reference};

use crate::cli::{DescriptionArgs, ReadingArgs};
use crate::description;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, Style, table};

/// Arguments of `tycoon explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// An error code (E0203), a kind or what it has (domain, domain.memory, budget), a word of the language (count,
    /// let), a type (bytes), a function (sum), or a description
    #[arg(value_name = "CODE|WORD|FILE")]
    subject: String,
    /// The value of the description to explain, for example batch.wn.0.memory
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// How the description is read
    #[command(flatten)]
    reading: ReadingArgs,
}

/// Explains a code, a kind, a word or a value.
pub fn run(arguments: &ExplainArgs, output: &Output) -> Result<Exit, Failure> {
    let subject = &arguments.subject;
    match &arguments.path {
        Some(path) => value(arguments, path, output),
        None if is_code(subject) => code(subject, output),
        None => match lookup::find(subject) {
            Ok(found) => {
                kind(subject, &found, output);
                Ok(Exit::Ok)
            }
            Err(near) => Err(not_found(subject, &near)),
        },
    }
}

/// True for what looks like a code: a letter and four digits.
fn is_code(subject: &str) -> bool {
    let mut letters = subject.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && subject.len() == 5
        && letters.all(|digit| digit.is_ascii_digit())
}

fn not_found(subject: &str, near: &[String]) -> Failure {
    if subject.ends_with(".kdl") || subject.contains('/') {
        return Failure::new(Exit::Usage, format!("which value of {subject} is to be explained?"))
            .help(format!("name it with its path, for example `tycoon explain {subject} web.0.memory`"));
    }
    let failure = Failure::new(Exit::Failed, format!("there is no code, kind, word, type or function `{subject}`"));
    match near {
        [] => {
            let kinds: Vec<String> = reference::kinds().into_iter().map(|kind| kind.name).collect();
            failure.help(format!(
                "codes look like E0203 and stand above every error; the kinds are {}; to explain a value, write \
                 `tycoon explain FILE PATH`",
                kinds.join(", ")
            ))
        }
        near => failure.help(format!("did you mean `tycoon explain {}`?", near.join("` or `"))),
    }
}

fn kind(subject: &str, found: &Found, output: &Output) {
    if output.json {
        output.print_json(found);
        return;
    }
    output.print(&found_text(subject, found, output.stdout));
}

fn found_text(subject: &str, found: &Found, style: Style) -> String {
    match found {
        Found::Type { name, example } => format!("{}: {example}\n", style.bold(&format!("the type {name}"))),
        Found::Function { usage, doc } => {
            format!("{}: {doc}\n", style.bold(&format!("the function {}", usage.replace(" or ", ", "))))
        }
        Found::Word(word) => render_word(word, style),
        Found::At { path, found } => found_text(path, found, style),
        Found::Places(places) => {
            let rows: Vec<Vec<String>> =
                places.iter().map(|(path, doc)| vec![format!("tycoon explain {path}"), doc.clone()]).collect();
            format!(
                "{} stands in several places:\n\n{}",
                style.bold(subject),
                table(&["", ""], &rows, &[], style).trim_start()
            )
        }
        Found::Several(several) => {
            let texts: Vec<String> = several.iter().map(|found| found_text(subject, found, style)).collect();
            texts.join("\n")
        }
        Found::Attribute(attribute) => {
            let mut text = format!("{}: {}, {}\n", style.bold(subject), attribute.accepts(), attribute.otherwise());
            if !attribute.doc.is_empty() {
                let _ = writeln!(text, "{}", attribute.doc);
            }
            if attribute.positional {
                text.push_str("stands right behind the word, without its name\n");
            }
            if attribute.one_of.is_empty() {
                let _ = writeln!(text, "{}", attribute.example);
            }
            text
        }
        Found::Schema(schema) => render_schema(subject, schema, style),
    }
}

fn render_word(word: &Word, style: Style) -> String {
    let mut text = format!("{}: {}\n\n    {}\n", style.bold(word.word), word.doc, word.form);
    if !word.parts.is_empty() {
        let rows: Vec<Vec<String>> =
            word.parts.iter().map(|(part, doc)| vec![(*part).to_owned(), (*doc).to_owned()]).collect();
        text.push('\n');
        text.push_str(table(&["", ""], &rows, &[], style).trim_start());
    }
    let _ = writeln!(text, "\nExample:\n\n    {}", word.example.trim_end().replace('\n', "\n    "));
    text
}

fn render_schema(subject: &str, schema: &Schema, style: Style) -> String {
    let mut text = format!("{}: {}\n", style.bold(subject), schema.doc);
    if !schema.contains.is_empty() {
        let _ = writeln!(text, "may contain {}", schema.contains.join(", "));
    }
    if !schema.children.is_empty() {
        let children: Vec<String> = schema.children.iter().map(|(word, name)| format!("the {word} {name}")).collect();
        let _ = writeln!(text, "every one has {}", children.join(" and "));
    }
    for kind in &schema.holds {
        let _ = writeln!(text, "holds {kind}: see `tycoon explain {kind}`");
    }
    let mut rows = Vec::new();
    schema_rows("", schema, &mut rows);
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(&["NAME", "VALUE", "WITHOUT IT", ""], &rows, &[], style));
    }
    text
}

fn schema_rows(indent: &str, schema: &Schema, rows: &mut Vec<Vec<String>>) {
    for attribute in &schema.attributes {
        // What stands behind the word is shown as one writes it: without its name.
        let name = if attribute.positional { format!("‹{}›", attribute.name) } else { attribute.name.clone() };
        rows.push(vec![format!("{indent}{name}"), attribute.accepts(), attribute.otherwise(), attribute.doc.clone()]);
    }
    for (parts, what) in [(&schema.records, "at most one"), (&schema.items, "any number")] {
        for part in parts {
            let holds: String = part.holds.iter().map(|kind| format!(", holds {kind}")).collect();
            rows.push(vec![
                format!("{indent}{}", part.name),
                format!("{what}{holds}"),
                String::new(),
                part.doc.clone(),
            ]);
            schema_rows(&format!("{indent}  "), part, rows);
        }
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
        Failure::new(Exit::Failed, format!("there is no code `{subject}`"))
            .help("codes look like E0203, and stand above every error; docs/errors.md lists them all")
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
    let description =
        DescriptionArgs { file: arguments.subject.clone(), reading: arguments.reading.clone(), pool: None };
    let (loader, options) = description::loader(&description)?;
    let explanation = explain(&description.file, &loader, &options, path).map_err(Failure::description)?;
    let broken = &explanation.broken;
    if output.json {
        let place = |span: Span| place(&explanation, span);
        let mut value = json!({
            "path": explanation.path, "value": explanation.value, "type": explanation.ty, "doc": explanation.doc,
            "declared": place(explanation.declared),
            "writes": explanation.writes.iter().map(|write| json!({
                "place": place(write.span), "text": write.text, "body": write.body,
                "default": write.is_default, "outcome": outcome(&explanation, &write.outcome),
            })).collect::<Vec<_>>(),
            "hops": explanation.hops.iter().map(|(span, text)| json!({ "place": place(*span), "text": text }))
                .collect::<Vec<_>>(),
        });
        description::add_broken(&mut value, &explanation.sources, broken);
        output.print_json(&value);
    } else {
        output.print(&render(&explanation, output.stdout));
        description::show_warnings(&explanation.sources, broken, output);
    }
    Ok(description::exit_of(broken))
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

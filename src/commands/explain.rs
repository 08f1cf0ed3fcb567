//! `tycoon explain`: what an error code means, and how to cure it.

use clap::Args;
use serde_json::json;
use tycoon_lang::codes;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Arguments of `tycoon explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The code, for example E0203
    #[arg(value_name = "CODE")]
    code: String,
}

/// Explains a code.
pub fn run(arguments: &ExplainArgs, output: &Output) -> Result<Exit, Failure> {
    let wanted = arguments.code.to_ascii_uppercase();
    let code = codes::find(&wanted).ok_or_else(|| {
        Failure::new(Exit::Failed, format!("there is no code `{}`", arguments.code))
            .help("codes look like E0203; they stand beside every error")
    })?;
    if output.json {
        output.print_json(&json!({
            "code": code.code, "title": code.title, "explanation": code.explanation,
            "example": code.example, "cure": code.cure,
        }));
    } else {
        let example = code.example.trim_end().replace('\n', "\n    ");
        output.print(&format!(
            "{}: {}\n\n{}\n\nExample:\n    {example}\n\nCure: {}\n",
            output.stdout.bold(code.code),
            code.title,
            code.explanation,
            code.cure
        ));
    }
    Ok(Exit::Ok)
}

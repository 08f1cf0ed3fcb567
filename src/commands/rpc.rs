//! `tycoon rpc`: calls by hand.

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::commands::bank::access::{Access, BankChoice};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// What to do by hand.
#[derive(Subcommand, Debug)]
pub enum RpcCommand {
    /// Print a signed call as a curl command, good for a few minutes and for once
    Curl(CurlArgs),
}

/// Arguments of `tycoon rpc curl`.
#[derive(Args, Debug)]
pub struct CurlArgs {
    /// The bank.
    #[command(flatten)]
    pub choice: BankChoice,
    /// GET or POST
    #[arg(value_name = "METHOD", value_parser = ["GET", "POST"])]
    pub method: String,
    /// The path, with its query
    #[arg(value_name = "PATH")]
    pub path: String,
    /// The body, as JSON
    #[arg(value_name = "BODY")]
    pub body: Option<String>,
}

/// Does it.
pub fn run(command: &RpcCommand, output: &Output) -> Result<Exit, Failure> {
    match command {
        RpcCommand::Curl(arguments) => curl(arguments, output),
    }
}

fn curl(arguments: &CurlArgs, output: &Output) -> Result<Exit, Failure> {
    let Access::Remote { caller, url, .. } = arguments.choice.open(output, "tycoon rpc")? else {
        return Err(Failure::new(Exit::Usage, "the embedded site has no address that curl could call")
            .help("give one with --bank URL, or pin one with `tycoon init --bank URL`"));
    };
    let body: Option<Value> = match &arguments.body {
        None => None,
        Some(text) => Some(serde_json::from_str(text).map_err(|error| {
            Failure::new(Exit::Usage, format!("the body is not JSON: {error}"))
                .help("put it in single quotes: '{\"id\": …}'")
        })?),
    };
    let method = if arguments.method == "GET" { http::Method::GET } else { http::Method::POST };
    if method == http::Method::GET && body.is_some() {
        return Err(Failure::new(Exit::Usage, "a GET has no body"));
    }
    if !arguments.path.starts_with('/') {
        return Err(Failure::new(Exit::Usage, format!("the path `{}` does not begin with a slash", arguments.path)));
    }
    let request = caller
        .signed(method, &arguments.path, &[], body.as_ref())
        .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let mut words = vec!["curl --silent --show-error".to_owned(), format!("--request {}", request.method())];
    for (name, value) in request.headers() {
        let value = value.to_str().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        words.push(format!("--header {}", quoted(&format!("{name}: {value}"))));
    }
    if !request.body().is_empty() {
        words.push(format!("--data-binary {}", quoted(&String::from_utf8_lossy(request.body()))));
    }
    words.push(quoted(&format!("{}{}", url.trim_end_matches('/'), arguments.path)));
    if output.json {
        output.print_json(&words);
    } else {
        output.print(&format!("{}\n", words.join(" \\\n  ")));
    }
    Ok(Exit::Ok)
}

/// A word as a shell takes it, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_every_word_as_it_is() {
        assert_eq!(quoted("it's \"$x\""), r#"'it'\''s "$x"'"#);
    }
}

//! `tycoon market`: the mathematics of the market, for scripts and for the curious.

pub mod best_response;
mod chart;
pub mod predict;
mod predict_input;

use std::io::Read as _;

use clap::Subcommand;
use serde::de::DeserializeOwned;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// The commands of `tycoon market`.
#[derive(Subcommand, Debug)]
pub enum MarketCommand {
    /// Divide a budget over hosts so that it brings most, given what the others bid there
    #[command(after_help = best_response::FORMAT)]
    BestResponse(best_response::BestResponseArgs),
    /// Say what a performance will cost, what a price will bring, and how surely, from what prices were
    #[command(after_help = predict::FORMAT)]
    Predict(predict::PredictArgs),
}

/// The largest input that is read.
const INPUT_BYTES_MAX: u64 = 256 << 20;

/// Runs one of the commands.
pub fn run(command: &MarketCommand, output: &Output) -> Result<Exit, Failure> {
    match command {
        MarketCommand::BestResponse(arguments) => best_response::run(arguments, output),
        MarketCommand::Predict(arguments) => predict::run(arguments, output),
    }
}

/// Reads the JSON of a file, or of standard input where its name is `-`. `command` is whose help shows its form.
fn read_json<T: DeserializeOwned>(name: &str, command: &str) -> Result<T, Failure> {
    let mut bytes = Vec::new();
    let read = if name == "-" {
        std::io::stdin().lock().take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(name).and_then(|file| file.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::from_error(Exit::Failed, &error).context(&format!("`{name}` cannot be read")))?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(Failure::new(Exit::Failed, format!("`{name}` is larger than 256 MiB")));
    }
    let name = if name == "-" { "standard input" } else { name };
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::new(Exit::Failed, format!("{name} is not what is asked for: {error}"))
            .help(format!("`tycoon market {command} --help` shows the form of the input"))
    })
}

/// A number for people: six digits, without an exponent where that is short.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if (1e-4..1e7).contains(&size) {
        let decimals = (5 - size.log10().floor() as i32).clamp(0, 9) as usize;
        let text = format!("{value:.decimals$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{value:.5e}")
    }
}

//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands;

const EXAMPLES: &str = "\
Examples:
  tycoon plan pool.kdl      what would be done, where, for how much, and why
  tycoon up pool.kdl        do it, and keep what is there already
  tycoon status             what runs, and what it costs
  tycoon down pool          undo it and get the rest of the money back

Exit codes:
  0 ok · 1 failed · 2 wrong usage · 3 changes pending (plan --exit-code, fmt --check)
  4 partly done · 5 budget or balance too small · 6 locked by somebody else · 130 interrupted";

/// Brings up pools of Xen virtual machines on hosts that sell their resources on a market.
#[derive(Parser, Debug)]
#[command(name = "tycoon", version, about, after_help = EXAMPLES, disable_help_subcommand = false)]
pub struct Cli {
    /// What all commands share.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of all commands.
#[derive(Args, Debug, Clone)]
pub struct Global {
    /// Print results as JSON on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Print results and errors only
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// The hosts to use, by their description; four simulated ones where none is given
    #[arg(long, visible_alias = "hosts", global = true, value_name = "FILE", env = "TYCOON_SITE")]
    pub site: Option<String>,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub color: ColorChoice,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Check descriptions: all errors of all their files in one run
    Check(commands::check::CheckArgs),
    /// Show what `up` would do, where, for how much, and why; spends nothing
    Plan(commands::plan::PlanArgs),
    /// Make a pool real: bid, pay, deploy
    Up(commands::up::UpArgs),
    /// Undo a pool: stop and remove its domains, refund what is left
    Down(commands::down::DownArgs),
    /// Show the domains of a pool, and what it costs
    Status(commands::status::StatusArgs),
    /// Have domains stand still in memory: they use no CPU, and keep their memory and disks
    Suspend(commands::suspend::SuspendArgs),
    /// Have suspended domains go on
    Resume(commands::suspend::SuspendArgs),
    /// Look after what runs on hosts that this program drives: start again what ends
    Keep(commands::keep::KeepArgs),
    /// List your pools
    Ls(commands::ls::LsArgs),
    /// Open a shell in a domain, or run a command there
    Ssh(commands::ssh::SshArgs),
    /// Copy files to and from a domain
    Cp(commands::cp::CpArgs),
    /// Connect to the console of a domain
    Console(commands::console::ConsoleArgs),
    /// List the disks of your domains, and those that are kept of domains that were removed
    Volumes(commands::volumes::VolumesArgs),
    /// Save the root disk of a domain: as a file here, or as an image on its host
    SaveImage(commands::save_image::SaveImageArgs),
    /// Make Xen machines hosts; see what you have on one
    #[command(subcommand)]
    Host(commands::host::HostCommand),
    /// Show the hosts, what they sell, and at what price
    Hosts(commands::hosts::HostsArgs),
    /// Your account at the bank, and the bank itself
    Bank(commands::bank::BankArgs),
    /// The hosts that are known, and the service that knows them
    Sls(commands::sls::SlsArgs),
    /// Which hosts are the site's: for its operator
    Site(commands::site::SiteArgs),
    /// Point at the services of a real site, and pin their keys
    Init(commands::init::InitArgs),
    /// Calls by hand
    #[command(subcommand)]
    Rpc(commands::rpc::RpcCommand),
    /// The mathematics of the market
    #[command(subcommand)]
    Market(commands::market::MarketCommand),
    /// Simulate a market: many users, many hosts, in virtual time
    Sim(commands::sim::SimArgs),
    /// Your key, which is your account
    #[command(subcommand)]
    User(commands::user::UserCommand),
    /// Format descriptions: stable, and without losing a comment
    Fmt(commands::fmt::FmtArgs),
    /// Run the tests that a description has of itself
    Test(commands::test::TestArgs),
    /// Print the description with everything worked out, as JSON
    Resolve(commands::resolve::ResolveArgs),
    /// Draw the components of a pool and the order in which they start
    Graph(commands::graph::GraphArgs),
    /// Explain an error code, a kind and what it has, or why a value of a description is what it is
    Explain(commands::explain::ExplainArgs),
    /// Answer an editor: diagnostics, hover, definitions, completion, formatting
    Lsp(commands::lsp::LspArgs),
    /// Print a completion script for a shell
    Completions(commands::completions::CompletionsArgs),
    /// Print a manual page, or write all of them into a folder
    Man(commands::man::ManArgs),
}

/// What a command does with a description.
#[derive(Args, Debug, Clone, Default)]
pub struct DescriptionArgs {
    /// The pool's description
    #[arg(value_name = "FILE")]
    pub file: String,
    /// How it is read
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// The pool to use, where the file has several
    #[arg(long, value_name = "NAME")]
    pub pool: Option<String>,
}

/// How a description is read. A param takes its value from `-p`, else from a file of `--params`, else from the
/// environment, else its default.
#[derive(Args, Debug, Clone, Default)]
pub struct ReadingArgs {
    /// Set a param of the description
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = parse_param)]
    pub params: Vec<(String, String)>,
    /// Set params from a file with a `name value` on every line; TYCOON_PARAM_NAME in the environment sets one too
    #[arg(long = "params", value_name = "FILE")]
    pub params_files: Vec<String>,
    /// Let imports reach outside the directory of the file that imports
    #[arg(long)]
    pub allow_outside_imports: bool,
}

/// Reads `NAME=VALUE`.
pub fn parse_param(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, for example `-p workers=4`".to_owned()),
    }
}

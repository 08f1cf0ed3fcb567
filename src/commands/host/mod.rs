//! `tycoon host`: making hosts, and what you have on one.

pub mod account;
mod addresses;
mod authorized_keys;
mod bank_watch;
mod bid;
mod check;
pub mod chosen;
mod driver;
mod drivers;
mod enforce;
mod hand_over;
mod heart;
pub mod history;
mod install;
mod local_users;
mod member;
mod metrics;
mod money;
mod owner;
mod policy_file;
mod prepare;
mod program;
pub mod serve;
mod session;
mod steady_clock;
mod stop;
mod there;
mod trial;
mod uninstall;
mod upgrade;

use clap::Subcommand;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// The commands of `tycoon host`.
#[derive(Subcommand, Debug)]
pub enum HostCommand {
    /// Explain what a host has charged you lately: what was used, of which share, at which rate, for how long
    Account(account::AccountArgs),
    /// Make Xen machines hosts, over SSH; with --member, hosts of a site
    Install(Box<install::InstallArgs>),
    /// Bring this program to hosts, over SSH, and restart their services; domains run on
    Upgrade(upgrade::UpgradeArgs),
    /// Make hosts of a site plain machines again, over SSH
    Uninstall(uninstall::UninstallArgs),
    /// Make the machine this runs on a host
    Prepare(prepare::PrepareArgs),
    /// Make the machine this runs on a member of a site
    Join(Box<member::join::JoinArgs>),
    /// Make the machine this runs on a plain machine again
    Leave(member::leave::LeaveArgs),
    /// Say whether the machine this runs on is a good host, and what it sells
    Check,
    /// Try everything this machine has to do as a host, with small domains of its own
    Trial(trial::TrialArgs),
    /// Give disks that are on the machine this runs on to a domain that is to come
    HandOver(hand_over::HandOverArgs),
    /// Open accounts on hosts, with money to bid with
    CreateAccount(money::FundArgs),
    /// Put more money into accounts on hosts
    Fund(money::FundArgs),
    /// Take money back from accounts on hosts
    Refund(money::RefundArgs),
    /// Close accounts on hosts: domains and disks go, what is left comes back
    CloseAccount(money::CloseArgs),
    /// Bid on hosts, or show what a bid would bring
    Bid(bid::BidArgs),
    /// Show your account for one pool on hosts
    Status(bid::StatusArgs),
    /// List your accounts on hosts
    Accounts(bid::AccountsArgs),
    /// Show what resources, addresses and ports cost on hosts
    Prices(bid::ListArgs),
    /// Show what happened to your accounts on hosts
    History(history::HistoryArgs),
    /// Show what happens to your accounts on hosts
    Watch(history::WatchArgs),
    /// For owners: set prices and rules, from the next interval on
    Set(owner::SetArgs),
    /// For owners: admit nobody new
    Drain(owner::DrainArgs),
    /// For owners: put the domains of an account out
    Evict(owner::EvictArgs),
    /// For owners: keep an account out
    Ban(owner::BanArgs),
    /// For owners: draw what was charged into your account now
    Withdraw(owner::WithdrawArgs),
    /// Run the market of a host on the network
    Serve(Box<serve::ServeArgs>),
    /// Have the domains of this machine be as its market says; what `tycoon host serve` speaks with
    Enforce(enforce::EnforceArgs),
    /// Serve the hypervisor of this machine on standard input and output; what `tycoon` runs over SSH
    Session(session::SessionArgs),
    /// Say what a key may do here; what sshd asks
    AuthorizedKeys(authorized_keys::AuthorizedKeysArgs),
}

/// Runs one of the commands.
pub fn run(command: &HostCommand, output: &Output) -> Result<Exit, Failure> {
    match command {
        HostCommand::Account(arguments) => account::run(arguments, output),
        HostCommand::Install(arguments) => install::run(arguments, output),
        HostCommand::Upgrade(arguments) => upgrade::run(arguments, output),
        HostCommand::Uninstall(arguments) => uninstall::run(arguments, output),
        HostCommand::Join(arguments) => member::join::run(arguments, output),
        HostCommand::Leave(arguments) => member::leave::run(arguments, output),
        HostCommand::Prepare(arguments) => prepare::run(arguments, output),
        HostCommand::Check => check::run(output),
        HostCommand::HandOver(arguments) => hand_over::run(arguments, output),
        HostCommand::Trial(arguments) => trial::run(arguments, output),
        HostCommand::CreateAccount(arguments) => money::create(arguments, output),
        HostCommand::Fund(arguments) => money::fund(arguments, output),
        HostCommand::Refund(arguments) => money::refund(arguments, output),
        HostCommand::CloseAccount(arguments) => money::close(arguments, output),
        HostCommand::Bid(arguments) => bid::bid(arguments, output),
        HostCommand::Status(arguments) => bid::status(arguments, output),
        HostCommand::Accounts(arguments) => bid::accounts(arguments, output),
        HostCommand::Prices(arguments) => bid::prices(arguments, output),
        HostCommand::History(arguments) => history::history(arguments, output),
        HostCommand::Watch(arguments) => history::watch(arguments, output),
        HostCommand::Set(arguments) => owner::set(arguments, output),
        HostCommand::Drain(arguments) => owner::drain(arguments, output),
        HostCommand::Evict(arguments) => owner::evict(arguments, output),
        HostCommand::Ban(arguments) => owner::ban(arguments, output),
        HostCommand::Withdraw(arguments) => owner::withdraw(arguments, output),
        HostCommand::Serve(arguments) => serve::run(arguments, output),
        HostCommand::Enforce(arguments) => enforce::run(arguments, output),
        HostCommand::Session(arguments) => session::run(arguments),
        HostCommand::AuthorizedKeys(arguments) => authorized_keys::run(arguments, output),
    }
}

//! `tycoon host session`: what a client runs over SSH.
//!
//! For whoever is root here, it serves the hypervisor of the machine on standard input and output. For an account
//! (`--account`, which the line that `tycoon host authorized-keys` prints for a key has), it is a pipe to the enforcer: it
//! says whose the stream is, and reads nothing of what goes through. What the account may is looked up at the far end.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use clap::Args;
use tycoon_market::AccountId;
use tycoon_xen::entry::{self, Answer, Question};
use tycoon_xen::remote::Session;
use tycoon_xen::remote::binding::Binding;

use super::{authorized_keys, driver, enforce};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::machine::{self, MACHINE_FILE};

/// Arguments of `tycoon host session`.
#[derive(Args, Debug)]
pub struct SessionArgs {
    /// Only what belongs to this account, by way of the enforcer
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<AccountId>,
    /// The enforcer's socket
    #[arg(long, value_name = "SOCKET", default_value = enforce::USUAL_SOCKET, requires = "account")]
    enforcer: PathBuf,
    /// The socket at which `tycoon host serve` answers about keys
    #[arg(long, value_name = "SOCKET", default_value = authorized_keys::USUAL_SOCKET, requires = "account")]
    keys: PathBuf,
}

/// Serves until the input ends.
pub fn run(arguments: &SessionArgs) -> Result<Exit, Failure> {
    if let Some(account) = arguments.account {
        return relay(account, arguments);
    }
    let machine = machine::load(Path::new(MACHINE_FILE))?;
    let driver = driver::open(&machine)?;
    Session::new(driver.hypervisor)
        .with_images(driver.images)
        .serve(io::stdin(), io::stdout())
        .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    Ok(Exit::Ok)
}

/// Passes the client's bytes on to the enforcer, and the answers back, until either side ends.
fn relay(account: AccountId, arguments: &SessionArgs) -> Result<Exit, Failure> {
    let failed = |error: &io::Error| {
        Failure::from_error(Exit::Failed, error).context("this host's enforcer does not answer; its owner can tell why")
    };
    // Where the market does not answer, nothing can be brought, and all else is as always.
    let upload_bytes = match entry::ask(&arguments.keys, &Question::Upload(account)) {
        Ok(Answer::Bytes(bytes)) => bytes,
        _ => 0,
    };
    let mut stream = UnixStream::connect(&arguments.enforcer).map_err(|error| failed(&error))?;
    // Before the client's first byte: from here on the stream is the account's.
    write!(stream, "{}", Binding { account, upload_bytes }).map_err(|error| failed(&error))?;
    let mut to_enforcer = stream.try_clone().map_err(|error| failed(&error))?;
    let send = move || {
        // Where either side is gone, the other direction ends too, and tells.
        let _ = pass(&mut io::stdin().lock(), &mut to_enforcer);
        let _ = to_enforcer.shutdown(Shutdown::Write);
    };
    // It is not waited for: whoever still reads the client then is ended with this process.
    thread::Builder::new().name("to enforcer".into()).spawn(send).map_err(|error| failed(&error))?;
    match pass(&mut stream, &mut io::stdout().lock()) {
        Ok(()) => Ok(Exit::Ok),
        // The client is gone, and nobody is left to tell.
        Err(_) => Ok(Exit::Failed),
    }
}

/// Passes bytes on as they come.
fn pass(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = vec![0; 64 << 10];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                to.write_all(&piece[..count])?;
                to.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

//! `tycoon console`: what a domain writes, and a way to type.

use std::io::{self, IsTerminal as _, Read, Write};
use std::sync::mpsc;

use clap::Args;
use rustix::termios::{self, OptionalActions, Termios};

use crate::domains::{self, DomainName};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::site::Session;
use crate::site::machines;

/// Ends the console: Ctrl-], as in telnet and virsh.
const ESCAPE: u8 = 0x1d;

/// Arguments of `tycoon console`.
#[derive(Args, Debug)]
pub struct ConsoleArgs {
    /// The domain, such as `hello/web.0`
    #[arg(value_name = "POOL/DOMAIN")]
    domain: DomainName,
}

/// Connects the terminal with the console until the domain ends, Ctrl-] is typed, or the input ends.
pub fn run(arguments: &ConsoleArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon console")?;
    let found = domains::find(&session, &arguments.domain, output)?;
    let hypervisor = machines::of_host(&session, &found.host.id, output)?;
    // Others may use the site while the console is open.
    session.close()?;
    drop(session);
    let console = hypervisor.open_console(&found.domain.name).map_err(|error| {
        Failure::from_error(Exit::Failed, &error)
            .context(&format!("the console of {} cannot be opened", found.domain.name))
    })?;
    if io::stdin().is_terminal() {
        output.message("connected; Ctrl-] ends it");
    }
    let raw = Raw::enter();
    let (tell, events) = mpsc::channel();
    let (input, shown) = (console.input, console.output);
    // Both end with the process: reading from a terminal cannot be interrupted.
    let telling = tell.clone();
    std::thread::spawn(move || telling.send(Event::Ended(show(shown))));
    std::thread::spawn(move || type_into(input).then(|| tell.send(Event::Escaped)));
    let event = events.recv();
    drop(raw);
    match event {
        Ok(Event::Ended(Err(error))) => Err(Failure::from_error(Exit::Failed, &error).context("the console broke off")),
        Ok(Event::Ended(Ok(())) | Event::Escaped) | Err(_) => Ok(Exit::Ok),
    }
}

/// How a console ends.
enum Event {
    /// The domain ended, or the connection broke.
    Ended(io::Result<()>),
    /// Ctrl-] was typed.
    Escaped,
}

fn show(mut console: Box<dyn Read + Send>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut stdout = io::stdout();
    loop {
        match console.read(&mut buffer)? {
            0 => return Ok(()),
            count => {
                stdout.write_all(&buffer[..count])?;
                stdout.flush()?;
            }
        }
    }
}

/// Sends what is typed until the input ends. True where Ctrl-] ended it.
fn type_into(mut console: Box<dyn Write + Send>) -> bool {
    let mut buffer = [0; 256];
    loop {
        let Ok(count @ 1..) = io::stdin().read(&mut buffer) else { return false };
        let typed = &buffer[..count];
        let escape = typed.iter().position(|byte| *byte == ESCAPE);
        let wanted = &typed[..escape.unwrap_or(count)];
        if console.write_all(wanted).and_then(|()| console.flush()).is_err() {
            return false;
        }
        if escape.is_some() {
            return true;
        }
    }
}

/// The terminal without line editing, until it is dropped.
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> Self {
        let stdin = io::stdin();
        let Ok(before) = termios::tcgetattr(&stdin) else { return Self(None) };
        let mut raw = before.clone();
        raw.make_raw();
        match termios::tcsetattr(&stdin, OptionalActions::Now, &raw) {
            Ok(()) => Self(Some(before)),
            Err(_) => Self(None),
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // A terminal that is gone needs nothing.
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

//! `tycoon ssh`: a shell, or a command, in a domain.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::Args;
use tycoon_lang::site::HostKind;

use crate::domains::{self, DomainName};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::site::Session;
use crate::site::machines;

/// Arguments of `tycoon ssh`.
#[derive(Args, Debug)]
pub struct SshArgs {
    /// The domain, such as `hello/web.0`
    #[arg(value_name = "POOL/DOMAIN")]
    domain: DomainName,
    /// The user to log in as
    #[arg(long, short = 'l', default_value = "root")]
    login: String,
    /// A command to run there instead of a shell
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Becomes OpenSSH's client. The way leads through the domain's host, whose key is checked; the domain's own key is as
/// new as the domain, so that there is nothing to check it against.
pub fn run(arguments: &SshArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon ssh")?;
    let found = domains::find(&session, &arguments.domain)?;
    let name = format!("{}/{}", arguments.domain.pool, path_of(&found));
    let Some(site) = session.embedded() else {
        return over_network(arguments, &found, session);
    };
    let host = site.host(&found.host.id).map(|open| open.host.kind.clone());
    let Some(HostKind::Xen(host)) = host else {
        return Err(Failure::new(Exit::Failed, format!("`{name}` is simulated: there is no machine to log in to"))
            .help("bring the pool up on real hosts with `--hosts FILE`"));
    };
    if !found.domain.state.is_active() {
        return Err(Failure::new(Exit::Failed, format!("`{name}` is {}", found.domain.state.word()))
            .help("`tycoon up` with its description starts it again"));
    }
    let Some(address) = found.domain.address else {
        return Err(Failure::new(Exit::Failed, format!("the address of `{name}` is not known yet"))
            .help("try again in a moment; `tycoon console` shows what it does"));
    };
    let mut ssh = Command::new("ssh");
    if let Some(config) = machines::ssh_config(site.description(), output) {
        ssh.arg("-F").arg(config);
    }
    ssh.arg("-o").arg(format!("ProxyJump={}", host.ssh));
    for option in ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes"] {
        ssh.arg("-o").arg(option);
    }
    ssh.arg("-i").arg(&session.identity().path).arg("-l").arg(&arguments.login).arg(address.to_string());
    ssh.arg("--").args(&arguments.command);
    // Others may use the site while the shell is open.
    session.close()?;
    drop(session);
    let error = ssh.exec();
    Err(Failure::from_error(Exit::Failed, &error)
        .context("OpenSSH's `ssh` cannot be started")
        .help("apt-get install openssh-client"))
}

/// Becomes OpenSSH's client, without a way through the host: what a host on the network sells can be reached from where
/// its addresses are.
fn over_network(arguments: &SshArgs, found: &domains::Found, session: Session) -> Result<Exit, Failure> {
    let name = format!("{}/{}", arguments.domain.pool, path_of(found));
    if found.host.is_simulated {
        return Err(Failure::new(Exit::Failed, format!("`{name}` is simulated: there is no machine to log in to")));
    }
    let Some(address) = found.domain.address else {
        return Err(Failure::new(Exit::Failed, format!("the address of `{name}` is not known yet"))
            .help("try again in a moment"));
    };
    let mut ssh = Command::new("ssh");
    for option in ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes"] {
        ssh.arg("-o").arg(option);
    }
    ssh.arg("-i").arg(&session.identity().path).arg("-l").arg(&arguments.login).arg(address.to_string());
    ssh.arg("--").args(&arguments.command);
    session.close()?;
    drop(session);
    let error = ssh.exec();
    Err(Failure::from_error(Exit::Failed, &error)
        .context("OpenSSH's `ssh` cannot be started")
        .help("apt-get install openssh-client"))
}

fn path_of(found: &domains::Found) -> String {
    found.domain.ownership.as_ref().map_or_else(|| found.domain.name.clone(), |own| own.path.to_string())
}

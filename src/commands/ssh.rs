//! `tycoon ssh`: a shell, or a command, in a domain.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::Args;
use tycoon_lang::site::HostKind;

use crate::domains::{self, DomainName};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::identity::KeyPlace;
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

/// Becomes OpenSSH's client. On an embedded site the way leads through the domain's host, whose key is checked; what a
/// host on the network sells can be reached from where its addresses are. The domain's own key is as new as the domain, so
/// that there is nothing to check it against.
pub fn run(arguments: &SshArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon ssh")?;
    let found = domains::find(&session, &arguments.domain, output)?;
    let name = format!("{}/{}", arguments.domain.pool, path_of(&found));
    let mut ssh = Command::new("ssh");
    match session.embedded() {
        Some(site) => {
            let host = site.host(&found.host.id).map(|open| open.host.kind.clone());
            let Some(HostKind::Xen(host)) = host else {
                return Err(simulated(&name).help("bring the pool up on real hosts with `--hosts FILE`"));
            };
            if let Some(config) = machines::ssh_config(site.description(), output) {
                ssh.arg("-F").arg(config);
            }
            ssh.arg("-o").arg(format!("ProxyJump={}", host.ssh));
        }
        None if found.host.is_simulated => return Err(simulated(&name)),
        None => {}
    }
    if !found.domain.state.is_active() {
        return Err(Failure::new(Exit::Failed, format!("`{name}` is {}", found.domain.state.word()))
            .help("`tycoon up` with its description starts it again"));
    }
    let Some(address) = found.domain.address else {
        return Err(Failure::new(Exit::Failed, format!("the address of `{name}` is not known yet"))
            .help("try again in a moment; `tycoon console` shows what it does"));
    };
    ssh.args(options(&session.identity().place)).arg("-l").arg(&arguments.login).arg(address.to_string());
    ssh.arg("--").args(&arguments.command);
    // Others may use the site while the shell is open.
    session.close()?;
    drop(session);
    let error = ssh.exec();
    Err(Failure::from_error(Exit::Failed, &error)
        .context("OpenSSH's `ssh` cannot be started")
        .help("apt-get install openssh-client"))
}

fn simulated(name: &str) -> Failure {
    Failure::new(Exit::Failed, format!("`{name}` is simulated: there is no machine to log in to"))
}

/// The options of OpenSSH's client by which a domain is entered with the user's key.
fn options(key: &KeyPlace) -> Vec<OsString> {
    let mut options = Vec::new();
    let mut option = |text: OsString| options.extend(["-o".into(), text]);
    for text in ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"] {
        option(text.into());
    }
    match key {
        KeyPlace::File(path) => {
            option("IdentitiesOnly=yes".into());
            options.extend([OsString::from("-i"), path.clone().into_os_string()]);
        }
        // Only the agent has the key, so that no file can be named.
        KeyPlace::Agent(socket) => {
            let mut text = OsString::from("IdentityAgent=");
            text.push(socket);
            option(text);
        }
    }
    options
}

fn path_of(found: &domains::Found) -> String {
    found.domain.ownership.as_ref().map_or_else(|| found.domain.name.clone(), |own| own.path.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: &KeyPlace) -> String {
        options(key).iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_key_in_a_file_is_named_and_one_in_an_agent_is_left_to_it() {
        let file = shown(&KeyPlace::File("jane/key".into()));
        assert!(file.ends_with("-o IdentitiesOnly=yes -i jane/key"), "{file}");
        let agent = shown(&KeyPlace::Agent("/run/agent".into()));
        assert!(agent.ends_with("-o LogLevel=ERROR -o IdentityAgent=/run/agent"), "{agent}");
    }
}

//! `tycoon ssh`: a shell, or a command, in a domain.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use tycoon_executor::link::LinkError;
use tycoon_lang::site::HostKind;
use tycoon_market::PoolName;
use tycoon_xen::protocol::Request;
use tycoon_xen::status::DomainState;

use crate::domains::{self, DomainName};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::identity::KeyPlace;
use crate::output::Output;
use crate::site::Session;
use crate::site::machines;

/// How long a domain that is started may take until it has an address.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const START_POLL: Duration = Duration::from_millis(500);

/// OpenSSH's exit code where the connection failed.
const OPENSSH_FAILED: i32 = 255;

/// Arguments of `tycoon ssh`.
#[derive(Args, Debug)]
pub struct SshArgs {
    /// The domain, such as `hello/web.0`
    #[arg(value_name = "POOL/DOMAIN")]
    domain: DomainName,
    /// How it is entered
    #[command(flatten)]
    entry: EntryArgs,
    /// A command to run there instead of a shell
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Becomes OpenSSH's client.
pub fn run(arguments: &SshArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon ssh")?;
    let way = arguments.entry.way(&session, &arguments.domain, output)?;
    let mut ssh = Command::new("ssh");
    ssh.args(way.options).arg("-l").arg(&arguments.entry.login).arg(way.address.to_string());
    ssh.arg("--").args(&arguments.command);
    become_client(ssh, session)
}

/// How a domain is entered.
#[derive(Args, Debug)]
pub struct EntryArgs {
    /// The user to log in as
    #[arg(long, short = 'l', default_value = "root")]
    login: String,
    /// Start the domain first where it does not run or is suspended, and wait until it lets you in
    #[arg(long)]
    start: bool,
}

/// The way into a domain.
pub struct Way {
    /// The options of OpenSSH's clients.
    pub options: Vec<OsString>,
    /// The domain's address.
    pub address: Ipv4Addr,
}

impl Way {
    /// Waits until a domain that has just been started lets its user in, or for as long as is worth it: then OpenSSH itself
    /// says what is wrong.
    fn wait_for_login(&self, login: &str, session: &Session) -> Result<(), Failure> {
        let began = Instant::now();
        while began.elapsed() < START_PATIENCE {
            let mut ssh = Command::new("ssh");
            ssh.args(&self.options).args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-l"]).arg(login);
            ssh.arg(self.address.to_string()).args(["--", "true"]);
            let tried = ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            // OpenSSH keeps this code for what is wrong on the way; any other is the domain's own.
            if !tried.is_ok_and(|status| status.code() == Some(OPENSSH_FAILED)) {
                return Ok(());
            }
            if session.is_interrupted() {
                return Err(Failure::new(Exit::Interrupted, "interrupted; the domain goes on starting"));
            }
            std::thread::sleep(START_POLL);
        }
        Ok(())
    }
}

impl EntryArgs {
    /// The user to log in as.
    pub fn login(&self) -> &str {
        &self.login
    }

    /// The way into a domain. On an embedded site it leads through the domain's host, whose key is checked; what a host
    /// on the network sells can be reached from where its addresses are. The domain's own key is as new as the domain,
    /// so that there is nothing to check it against.
    pub fn way(&self, session: &Session, domain: &DomainName, output: &Output) -> Result<Way, Failure> {
        let mut found = domains::find(session, domain, output)?;
        let name = format!("{}/{}", domain.pool, path_of(&found));
        let mut options = Vec::new();
        match session.embedded() {
            Some(site) => {
                let host = site.host(&found.host.id).map(|open| open.host.kind.clone());
                let Some(HostKind::Xen(host)) = host else {
                    return Err(simulated(&name).help("bring the pool up on real hosts with `--hosts FILE`"));
                };
                if let Some(config) = machines::ssh_config(site.description(), output) {
                    options.extend(["-F".into(), config.into_os_string()]);
                }
                options.extend(["-o".into(), format!("ProxyJump={}", host.ssh).into()]);
            }
            None if found.host.is_simulated => return Err(simulated(&name)),
            None => {}
        }
        let answers_nobody = !found.domain.state.is_active() || found.domain.state == DomainState::Paused;
        if answers_nobody {
            if !self.start {
                return Err(Failure::new(Exit::Failed, format!("`{name}` is {}", found.domain.state.word()))
                    .help("`--start` has it run first; so does `tycoon up` with its description"));
            }
            start(&found, &domain.pool).map_err(|error| {
                Failure::new(Exit::Failed, format!("`{name}` cannot be started: {error}"))
                    .help(error.help().unwrap_or("`tycoon status` shows what its pool can pay"))
            })?;
            output.message(&format!("starting {name}"));
            found = started(session, domain, output)?;
        }
        let Some(address) = found.domain.address else {
            return Err(Failure::new(Exit::Failed, format!("the address of `{name}` is not known yet"))
                .help("try again in a moment; `tycoon console` shows what it does"));
        };
        options.extend(entry_options(&session.identity().place));
        let way = Way { options, address };
        if answers_nobody {
            way.wait_for_login(&self.login, session)?;
        }
        Ok(way)
    }
}

/// Asks the host to have a domain run, as it was last defined.
fn start(found: &domains::Found, pool: &PoolName) -> Result<(), LinkError> {
    let Some(own) = &found.domain.ownership else { return Ok(()) };
    // What the pool's last plan was is what the host goes by.
    let generation = found.host.link.account(pool)?.map_or(0, |account| account.generation);
    let request = Request::EnsureRunning { pool: pool.clone(), generation, path: own.path.clone() };
    found.host.link.request(&request).map(drop)
}

/// Waits until a domain that was started answers to its name with an address, or for as long as is worth it.
fn started(session: &Session, domain: &DomainName, output: &Output) -> Result<domains::Found, Failure> {
    let began = Instant::now();
    loop {
        let found = domains::find(session, domain, output)?;
        let is_there = found.domain.state == DomainState::Running && found.domain.address.is_some();
        if is_there || began.elapsed() > START_PATIENCE {
            return Ok(found);
        }
        if session.is_interrupted() {
            return Err(Failure::new(Exit::Interrupted, "interrupted; the domain goes on starting"));
        }
        std::thread::sleep(START_POLL);
    }
}

/// Becomes one of OpenSSH's clients. Others may use the site while it runs.
pub fn become_client(mut client: Command, session: Session) -> Result<Exit, Failure> {
    session.close()?;
    drop(session);
    let error = client.exec();
    Err(Failure::from_error(Exit::Failed, &error)
        .context(&format!("OpenSSH's `{}` cannot be started", client.get_program().to_string_lossy()))
        .help("apt-get install openssh-client"))
}

fn simulated(name: &str) -> Failure {
    Failure::new(Exit::Failed, format!("`{name}` is simulated: there is no machine to log in to"))
}

/// The options of OpenSSH's client by which a domain is entered with the user's key.
fn entry_options(key: &KeyPlace) -> Vec<OsString> {
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
        entry_options(key).iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_key_in_a_file_is_named_and_one_in_an_agent_is_left_to_it() {
        let file = shown(&KeyPlace::File("jane/key".into()));
        assert!(file.ends_with("-o IdentitiesOnly=yes -i jane/key"), "{file}");
        let agent = shown(&KeyPlace::Agent("/run/agent".into()));
        assert!(agent.ends_with("-o LogLevel=ERROR -o IdentityAgent=/run/agent"), "{agent}");
    }
}

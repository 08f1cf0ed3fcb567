//! `tycoon host install`: makes Xen machines hosts, over SSH, from anywhere.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tycoon_executor::ssh::{Exit as Ended, RunLimits, SshConnection};

use super::prepare::PrepareArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders::Folders;
use crate::output::Output;
use crate::site::reach;

/// Where the program is put.
pub const PROGRAM: &str = "/usr/local/bin/tycoon";
/// For short commands.
const QUICK: RunLimits = RunLimits { time: Duration::from_secs(60), stdout_bytes_max: 1 << 16 };
/// For the preparation, which may install packages.
const LONG: RunLimits = RunLimits { time: Duration::from_secs(1_800), stdout_bytes_max: 1 << 20 };

/// Arguments of `tycoon host install`.
#[derive(Args, Debug)]
pub struct InstallArgs {
    /// The machines, as for ssh: `root@xen1`, `root@10.0.0.7:2222`
    #[arg(required = true, value_name = "USER@HOST")]
    hosts: Vec<String>,
    /// OpenSSH's configuration to use instead of your own
    #[arg(long, short = 'F', value_name = "FILE")]
    ssh_config: Option<PathBuf>,
    /// Note the keys of hosts that are seen for the first time, instead of refusing them
    #[arg(long)]
    accept_new_host_keys: bool,
    /// The program to install; by default this one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    #[command(flatten)]
    prepare: PrepareArgs,
}

/// Installs on all machines; one that fails does not stop the others.
pub fn run(arguments: &InstallArgs, output: &Output) -> Result<Exit, Failure> {
    let folders = Folders::find("hosts")?;
    let program = Program::read(arguments.program.as_deref())?;
    let count = arguments.hosts.len();
    let mut preparations = Vec::with_capacity(count);
    for (number, host) in arguments.hosts.iter().enumerate() {
        preparations.push((host, preparation(&arguments.prepare, number, count)?));
    }
    let install_one = |host: &str, preparation: &[String]| -> Result<(), Failure> {
        let say = |text: &str| output.message(&format!("{host}: {text}"));
        let target = reach::target(host, arguments.ssh_config.as_deref(), &folders, arguments.accept_new_host_keys)?;
        let connection = SshConnection::connect(&target).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        say("connected");
        if !arguments.prepare.dry_run {
            program.bring(&connection, &say)?;
        } else if !program.is_there(&connection)? {
            say(&format!("would bring this program to {PROGRAM}"));
            return Ok(());
        }
        prepare(&connection, preparation, &say)
    };
    let mut outcomes = Vec::with_capacity(count);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            preparations.iter().map(|(host, preparation)| scope.spawn(|| install_one(host, preparation))).collect();
        for thread in threads {
            outcomes.push(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    let named = |(host, outcome): (&String, Result<(), Failure>)| outcome.map_err(|failure| failure.of(host));
    let outcomes: Vec<_> = arguments.hosts.iter().zip(outcomes).map(named).collect();
    report(&arguments.hosts, &outcomes, arguments.prepare.dry_run, output)
}

fn report(
    hosts: &[String],
    outcomes: &[Result<(), Failure>],
    is_dry_run: bool,
    output: &Output,
) -> Result<Exit, Failure> {
    if output.json {
        let told = hosts.iter().zip(outcomes).map(|(host, outcome)| match outcome {
            Ok(()) => json!({ "host": host, "installed": !is_dry_run }),
            Err(failure) => json!({ "host": host, "installed": false, "failure": failure.json() }),
        });
        output.print_json(&told.collect::<Vec<_>>());
    }
    let mut installed = String::new();
    for (host, outcome) in hosts.iter().zip(outcomes) {
        match outcome {
            Ok(()) => {
                let _ = writeln!(installed, "    xen-host {} {{ ssh \"{host}\"; }}", component_name(host));
            }
            Err(failure) if !output.json => {
                output.error(&failure.render(output.stderr));
            }
            Err(_) => {}
        }
    }
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    if !installed.is_empty() && !is_dry_run && !output.json {
        output.message(
            "List your hosts in a file, for example hosts.kdl, and use them with `tycoon up --hosts hosts.kdl FILE`:",
        );
        output.print(&format!("site lab {{\n{installed}}}\n"));
    }
    Ok(match failed {
        0 => Exit::Ok,
        failed if failed == hosts.len() => Exit::Failed,
        _ => Exit::Partly,
    })
}

/// The name of a host as a component: `xen1` of `root@xen1.example.org:22`.
fn component_name(host: &str) -> String {
    let name = host.rsplit('@').next().unwrap_or(host).split(':').next().unwrap_or(host);
    let first = name.split('.').next().unwrap_or(name);
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    if is_address { format!("xen-{}", name.replace(['.', ':'], "-")) } else { first.to_owned() }
}

/// The arguments of `tycoon host prepare` for the `number`th of `count` machines, each with its part of the addresses.
fn preparation(arguments: &PrepareArgs, number: usize, count: usize) -> Result<Vec<String>, Failure> {
    let mut words = vec![PROGRAM.to_owned(), "host".to_owned(), "prepare".to_owned()];
    let mut option = |name: &str, value: String| words.extend([format!("--{name}"), value]);
    arguments.store.iter().for_each(|store| option("store", store.clone()));
    arguments.bridge.iter().for_each(|bridge| option("bridge", bridge.clone()));
    if let Some(addresses) = &arguments.addresses {
        let part = addresses.part(number, count).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{addresses} has fewer addresses than there are hosts"))
                .help("give a larger span")
        })?;
        option("addresses", part.to_string());
    }
    arguments.gateway.iter().for_each(|gateway| option("gateway", gateway.to_string()));
    arguments.name_server.iter().for_each(|server| option("name-server", server.to_string()));
    let flags = [(arguments.no_packages, "--no-packages"), (arguments.dry_run, "--dry-run")];
    words.extend(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag.to_owned()));
    Ok(words)
}

fn prepare(connection: &SshConnection, words: &[String], say: &dyn Fn(&str)) -> Result<(), Failure> {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    let failed = |error| Failure::from_error(Exit::Failed, &error);
    let done = connection.run(&quoted.join(" "), b"", LONG).map_err(failed)?;
    let stdout = String::from_utf8_lossy(&done.stdout);
    let lines = done.stderr.lines().chain(stdout.lines());
    if done.exit == Ended::Code(0) {
        lines.filter(|line| !line.is_empty()).for_each(say);
        return Ok(());
    }
    // What the program said there before it failed, and then its error, which is ours to tell.
    let (mut error, mut is_error) = (Vec::new(), false);
    for line in lines.filter(|line| !line.trim().is_empty()) {
        match line.strip_prefix("error: ") {
            Some(message) if !is_error => {
                is_error = true;
                error.push(message);
            }
            _ if is_error => error.push(line),
            _ => say(line),
        }
    }
    let message = if is_error { error.join("\n") } else { format!("the preparation there {}", done.exit) };
    Err(Failure::new(Exit::Failed, message))
}

/// The program that is installed.
struct Program {
    content: Vec<u8>,
    digest: String,
    /// The content as it travels, made for the first host that needs it.
    packed: OnceLock<io::Result<Vec<u8>>>,
}

impl Program {
    fn read(path: Option<&Path>) -> Result<Self, Failure> {
        let own = std::env::current_exe().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        let path = path.unwrap_or(&own);
        let content = std::fs::read(path).map_err(|error| {
            Failure::from_error(Exit::Failed, &error).context(&format!("{} cannot be read", path.display()))
        })?;
        let digest = Sha256::digest(&content).iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        Ok(Self { content, digest, packed: OnceLock::new() })
    }

    fn packed(&self) -> Result<&[u8], Failure> {
        let pack = || {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(&self.content)?;
            packed.finish()
        };
        let packed = self.packed.get_or_init(pack).as_ref();
        packed.map(Vec::as_slice).map_err(|error| Failure::from_error(Exit::Failed, error))
    }

    fn is_there(&self, connection: &SshConnection) -> Result<bool, Failure> {
        let failed = |error| Failure::from_error(Exit::Failed, &error);
        let told = connection.run(&format!("sha256sum {PROGRAM}"), b"", QUICK).map_err(failed)?;
        Ok(String::from_utf8_lossy(&told.stdout).split_whitespace().next() == Some(self.digest.as_str()))
    }

    /// Puts the program in its place, unless it is there.
    fn bring(&self, connection: &SshConnection, say: &dyn Fn(&str)) -> Result<(), Failure> {
        let failed = |error| Failure::from_error(Exit::Failed, &error);
        if self.is_there(connection)? {
            say("the program is there already");
            return Ok(());
        }
        let packed = self.packed()?;
        say(&format!("bringing the program ({} MiB)", packed.len() >> 20));
        let part = format!("{PROGRAM}.gz");
        connection
            .upload(&mut &*packed, packed.len() as u64, &part, 0o600, &mut |_| ControlFlow::Continue(()))
            .map_err(failed)?;
        // Unpacked beside its place: a session that runs keeps the old file.
        let unpack = format!(
            "gzip -dc {part} > {PROGRAM}.new && chmod 755 {PROGRAM}.new && sync {PROGRAM}.new && \
             mv -f {PROGRAM}.new {PROGRAM} && rm -f {part} && sync \"$(dirname {PROGRAM})\""
        );
        connection.run_well(&unpack, b"", LONG).map_err(failed)?;
        if !self.is_there(connection)? {
            return Err(Failure::new(Exit::Failed, format!("what arrived at {PROGRAM} is not what was sent"))
                .help("run the command again"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_get_plain_names() {
        assert_eq!(component_name("root@xen1.example.org:2222"), "xen1");
        assert_eq!(component_name("xen1"), "xen1");
        assert_eq!(component_name("root@10.0.0.7"), "xen-10-0-0-7");
    }

    #[test]
    fn each_host_gets_its_part_of_the_addresses() {
        let arguments =
            PrepareArgs { addresses: Some("10.0.0.100-10.0.0.119/24".parse().unwrap()), ..PrepareArgs::default() };
        let words = |number| preparation(&arguments, number, 2).unwrap().join(" ");
        assert!(words(0).ends_with("--addresses 10.0.0.100-10.0.0.109/24"), "{}", words(0));
        assert!(words(1).ends_with("--addresses 10.0.0.110-10.0.0.119/24"), "{}", words(1));
    }
}

//! How long it takes to bring a hundred domains up on ten hosts, over a real sshd on loopback: `tycoon up` on simulated
//! hosts, each behind a session of its own, beside Ansible that defines and starts as many domains of libvirt's test
//! driver through the same sshd. And how long an image of a GiB takes to a host, beside `scp`.
//!
//! `cargo bench --bench fleet` prints times and ratios of one run. It needs `sshd` and `scp` of OpenSSH; for Ansible,
//! which it installs from PyPI into the target folder, `python3` with venv, and `libvirtd` and `virsh` of the packages
//! libvirt-daemon and libvirt-clients. What cannot be had is left out, and the output says why. `TYCOON_BENCH_ONLY=image` leaves out
//! the domains.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tycoon_executor::ssh::{SshConnection, SshTarget};
use tycoon_market::Timestamp;
use tycoon_xen::hypervisor::Hypervisor as _;
use tycoon_xen::machine::{DiskFormat, ImageExport, Machine, StoreExport, StoreKind};
use tycoon_xen::memory::{MemoryHost, MemoryHostConfig};
use tycoon_xen::remote::local::LocalImages;
use tycoon_xen::remote::{ConnectError, Connector, RemoteHypervisor, Session, Stream};
use tycoon_xen::storage::MachineStorage;

const HOSTS: usize = 10;
const DOMAINS: usize = 100;
/// How often everything is done.
const RUNS: usize = 3;
/// The size of the image that is sent.
const IMAGE_BYTES: usize = 1 << 30;
/// The argument with which this program is the far end of a session, for the host whose folder comes next.
const SESSION: &str = "--session";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, folder, ..] = &arguments[..]
        && flag == SESSION
    {
        return serve(Path::new(folder));
    }
    let server = Server::start();
    if std::env::var_os("TYCOON_BENCH_ONLY").is_none_or(|only| only != "image") {
        domains(&server);
    }
    image(&server);
}

fn domains(server: &Server) {
    println!("{DOMAINS} domains on {HOSTS} hosts, and away again; medians of {RUNS} runs");
    let ups: Vec<(Duration, Duration)> = (0..RUNS).map(|run| ours(server, run)).collect();
    let up = median(ups.iter().map(|times| times.0));
    println!("{:<44} {:>9.2} s", "tycoon up, connections and all", up.as_secs_f64());
    println!("{:<44} {:>9.2} s", "tycoon down", median(ups.iter().map(|times| times.1)).as_secs_f64());
    let own = hypervisors(server);
    println!("{:<44} {:>9.2} s", "of it the simulated hosts' own time", own.as_secs_f64());
    let over = up.saturating_sub(own).as_secs_f64() * 1e3 / DOMAINS as f64;
    println!("{:<44} {over:>9.1} ms (aim: below 20)", "beyond that, for each domain");
    match ansible(server) {
        Ok(times) => {
            let theirs = median(times.into_iter());
            println!("{:<44} {:>9.2} s", "Ansible, its connections open already", theirs.as_secs_f64());
            println!("ratio: Ansible / tycoon up = {:.1} (aim: 10)", theirs.as_secs_f64() / up.as_secs_f64());
        }
        Err(why) => println!("LEFT OUT: Ansible ({why})"),
    }
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// A simulated host that takes images, on standard input and output.
fn serve(folder: &Path) {
    let machine = Machine {
        stores: vec![StoreExport {
            name: "files".to_owned(),
            kind: StoreKind::Loopback { directory: folder.join("volumes") },
            limit_bytes: None,
        }],
        ..Machine::bare(folder.join("tycoon"), "test:///default")
    };
    let storage = Arc::new(MachineStorage::open(machine).expect("a place for images"));
    let host = Arc::new(simulated(&folder.join("host")));
    let session = Session::new(host).with_images(storage);
    // Where the client is gone, nobody is left to tell.
    let _ = session.serve(std::io::stdin(), std::io::stdout());
}

fn simulated(folder: &Path) -> MemoryHost {
    let config = MemoryHostConfig { cpus: 64, memory_bytes: 64 << 30, ..MemoryHostConfig::default() };
    // The session before may be about to end.
    let deadline = Instant::now() + Duration::from_secs(10);
    let database = loop {
        match sled::Config::new().path(folder).open() {
            Ok(database) => break database,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    MemoryHost::open(database.open_tree("host").expect("a tree"), config).expect("a host")
}

/// An sshd for this user alone, on addresses of loopback, and a program for each host that is its session.
struct Server {
    folder: TempDir,
    port: u16,
    user: String,
    child: Child,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let path = folder.path();
        for name in ["user", "host"] {
            let key = path.join(name);
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key)).expect("a key");
        }
        fs::copy(path.join("user.pub"), path.join("authorized_keys")).expect("a copy");
        let user = run(Command::new("id").arg("-un")).expect("a user").trim().to_owned();
        if user == "root" {
            fs::create_dir_all("/run/sshd").expect("sshd's folder");
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let mut settings = format!(
            "Port {port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized_keys\nPidFile none\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 100\nSetEnv HOME={0}\n\
             Subsystem sftp internal-sftp\n",
            path.display()
        );
        let mut known = String::new();
        let key = fs::read_to_string(path.join("host.pub")).expect("a key");
        for host in 1..=HOSTS {
            settings.push_str(&format!("ListenAddress 127.0.0.{host}\n"));
            known.push_str(&format!("[127.0.0.{host}]:{port} {key}"));
            let program = format!(
                "#!/bin/sh\nexec '{}' {SESSION} '{}'\n",
                std::env::current_exe().expect("this program").display(),
                path.join(format!("h{host}")).display()
            );
            write(&path.join(format!("session{host}")), &program, 0o755);
        }
        write(&path.join("sshd_config"), &settings, 0o600);
        write(&path.join("known_hosts"), &known, 0o600);
        let config = format!(
            "Host *\n  User {user}\n  Port {port}\n  IdentityFile {0}/user\n  IdentitiesOnly yes\n  IdentityAgent none\n  \
             UserKnownHostsFile {0}/known_hosts\n  StrictHostKeyChecking yes\n",
            path.display()
        );
        write(&path.join("ssh_config"), &config, 0o600);
        let log = fs::File::create(path.join("sshd.log")).expect("a log");
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(path.join("sshd_config")).stdin(Stdio::null()).stderr(log);
        let child = command.spawn().expect("sshd of the package openssh-server starts");
        let server = Self { folder, port, user, child };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "sshd does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(path: &Path, content: &str, mode: u32) {
    fs::write(path, content).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
}

/// Runs a command to its end; what it printed, or why it failed.
fn run(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let last = said.lines().rev().take(12).collect::<Vec<_>>();
        return Err(format!("{program}: {}", last.into_iter().rev().collect::<Vec<_>>().join("\n")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How long `up` and `down` take, by somebody with a new home on hosts that have nothing.
fn ours(server: &Server, number: usize) -> (Duration, Duration) {
    let home = server.path(&format!("home{number}"));
    fs::create_dir(&home).expect("a home");
    let mut site = format!("site fleet {{\n    ssh-config \"{}\"\n", server.path("ssh_config").display());
    for host in 1..=HOSTS {
        let _ = fs::remove_dir_all(server.path(&format!("h{host}")));
        fs::create_dir(server.path(&format!("h{host}"))).expect("a folder");
        let program = server.path(&format!("session{host}"));
        site.push_str(&format!(
            "    xen-host h{host} {{ ssh \"{}@127.0.0.{host}:{}\"; program \"{}\"; }}\n",
            server.user,
            server.port,
            program.display()
        ));
    }
    write(&home.join("hosts.kdl"), &format!("{site}}}\n"), 0o600);
    let each = DOMAINS / HOSTS;
    let pool = format!(
        "pool fleet {{\n    budget 500 for=\"1h\"\n    domain node count={DOMAINS} {{ image \"std:tiny\"; memory \"128MiB\"; \
         place {{ max-per-host {each}; }}; }}\n}}\n"
    );
    write(&home.join("fleet.kdl"), &pool, 0o600);
    let tycoon = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tycoon"));
        command.args(["--hosts", "hosts.kdl", "--quiet"]).args(arguments).current_dir(&home);
        command.env_clear().env("HOME", &home).env("PATH", "/usr/bin:/bin").env("USER", &server.user);
        let began = Instant::now();
        run(&mut command).expect("it succeeds");
        began.elapsed()
    };
    let up = tycoon(&["up", "fleet.kdl", "--yes"]);
    if number + 1 < RUNS {
        return (up, tycoon(&["down", "fleet", "--yes"]));
    }
    // The last stays, so that its domains can be looked at.
    (up, tycoon(&["status", "fleet"]))
}

/// What the simulated hosts need for the same domains, asked for in this process.
fn hypervisors(server: &Server) -> Duration {
    let now = Timestamp::from_seconds(1_800_000_000);
    let mut took = Duration::ZERO;
    let mut count = 0;
    for host in 1..=HOSTS {
        let there = simulated(&server.path(&format!("h{host}")).join("host"));
        let domains = there.domains(now).expect("its domains");
        let here = simulated(&server.path(&format!("again{host}")));
        let began = Instant::now();
        for domain in &domains {
            let (spec, own) = (domain.spec.as_ref().expect("a spec"), domain.ownership.as_ref().expect("an owner"));
            here.ensure_image(&spec.image).expect("the image");
            here.ensure_volumes(spec, own).expect("volumes");
            here.define(spec, own, now).expect("a definition");
            here.start(&own.hypervisor_name(), now).expect("a start");
        }
        took += began.elapsed();
        count += domains.len();
    }
    assert_eq!(count, DOMAINS, "all domains were made");
    took
}

/// A daemon with libvirt's test driver, which forgets its domains when nobody is connected.
struct Libvirt {
    daemon: Child,
    held: Child,
    uri: String,
}

impl Libvirt {
    fn start(folder: &Path) -> Result<Self, String> {
        fs::create_dir_all(folder).expect("a folder");
        let settings = format!(
            "unix_sock_dir = \"{0}\"\nauth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\nmax_clients = 200\nmax_workers = 40\n",
            folder.display()
        );
        write(&folder.join("libvirtd.conf"), &settings, 0o600);
        let mut command = Command::new("libvirtd");
        command.arg("-f").arg(folder.join("libvirtd.conf")).arg("-p").arg(folder.join("pid"));
        let log = fs::File::create(folder.join("log")).expect("a log");
        // Without drivers of its own: the test driver is in the library.
        command.env("LIBVIRT_DRIVER_DIR", folder).env("XDG_RUNTIME_DIR", folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let missing = "install the packages libvirt-daemon and libvirt-clients";
        let daemon = command.spawn().map_err(|error| format!("libvirtd: {error}; {missing}"))?;
        let uri = format!("test+unix:///default?socket={}/libvirt-sock", folder.display());
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(why) = run(Command::new("virsh").args(["-c", &uri, "uri"])) {
            if Instant::now() > deadline {
                return Err(format!("{why}; {missing}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        // An open shell keeps what is there.
        let held = Command::new("virsh").args(["-c", &uri]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        Ok(Self { daemon, held: held.map_err(|error| error.to_string())?, uri })
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        for child in [&mut self.held, &mut self.daemon] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How long Ansible takes to define and start as many domains, over connections that are open already.
fn ansible(server: &Server) -> Result<Vec<Duration>, String> {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ansible");
    let playbook_program = environment.join("bin/ansible-playbook");
    if !playbook_program.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let pip = environment.join("bin/pip");
        run(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", "ansible-core"]))?;
    }
    let libvirt = Libvirt::start(&server.path("libvirt"))?;
    let folder = server.path("ansible");
    fs::create_dir(&folder).expect("a folder");
    let mut hosts = "[fleet]\n".to_owned();
    for host in 1..=HOSTS {
        hosts.push_str(&format!("h{host} ansible_host=127.0.0.{host}\n"));
    }
    write(&folder.join("hosts"), &hosts, 0o600);
    let settings = format!(
        "[defaults]\ninventory = hosts\nforks = {HOSTS}\nstrategy = free\nhost_key_checking = True\n\
         interpreter_python = /usr/bin/python3\nremote_tmp = {0}/remote\nlocal_tmp = {0}/local\n\
         [ssh_connection]\npipelining = True\ncontrol_path_dir = {0}/c\n\
         ssh_args = -F {1} -o ControlMaster=auto -o ControlPersist=600s\n",
        folder.display(),
        server.path("ssh_config").display()
    );
    write(&folder.join("ansible.cfg"), &settings, 0o600);
    let each = DOMAINS / HOSTS;
    let play = |verb: &str| {
        let list = format!("    - loop: \"{{{{ range({each}) | list }}}}\"\n");
        let command = |line: &str| {
            format!("{list}      ansible.builtin.command:\n        cmd: virsh -q -c {} {line}\n", libvirt.uri)
        };
        let name = "{{ inventory_hostname }}-{{ item }}";
        let xml = format!(
            "<domain type='test'><name>{name}</name><memory unit='MiB'>128</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain>"
        );
        let tasks = match verb {
            "up" => format!(
                "{}        stdin: \"{xml}\"\n{}",
                command("define /dev/stdin"),
                command(&format!("start {name}"))
            ),
            _ => format!("{}{}", command(&format!("destroy {name}")), command(&format!("undefine {name}"))),
        };
        let play = format!("- hosts: fleet\n  gather_facts: false\n  tasks:\n{tasks}");
        write(&folder.join(format!("{verb}.yml")), &play, 0o600);
    };
    play("up");
    play("down");
    let ansible = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(environment.join("bin").join(program));
        command.args(arguments).current_dir(&folder).env("ANSIBLE_CONFIG", folder.join("ansible.cfg"));
        command.env("HOME", &folder).env("LC_ALL", "C.UTF-8");
        let began = Instant::now();
        run(&mut command).map(|_| began.elapsed())
    };
    // Connections open, and its modules are known.
    ansible("ansible", &["fleet", "-m", "ansible.builtin.command", "-a", "true"])?;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        times.push(ansible("ansible-playbook", &["up.yml"])?);
        let listed = run(Command::new("virsh").args(["-q", "-c", &libvirt.uri, "list", "--name"]))?;
        let made = listed.lines().filter(|name| name.starts_with('h')).count();
        if made != DOMAINS {
            return Err(format!("it made {made} domains"));
        }
        ansible("ansible-playbook", &["down.yml"])?;
    }
    for host in 1..=HOSTS {
        let mut end = Command::new("ssh");
        end.arg("-F").arg(server.path("ssh_config")).args(["-O", "exit", "-o"]);
        end.arg(format!("ControlPath={}/c/%C", folder.display())).arg(format!("127.0.0.{host}"));
        // One that has ended already is as good.
        let _ = run(&mut end);
    }
    Ok(times)
}

/// Opens sessions on one connection.
struct OverSsh(SshConnection, String);

impl Connector for OverSsh {
    fn host(&self) -> &str {
        "h1"
    }

    fn open(&self) -> Result<Stream, ConnectError> {
        let failed = |error: &dyn std::fmt::Display| ConnectError { message: error.to_string(), is_lasting: false };
        let channel = self.0.exec(&self.1).map_err(|error| failed(&error))?;
        let status = Arc::new(channel.status);
        Ok(Stream {
            reader: Box::new(channel.reader),
            writer: Box::new(channel.writer),
            close: Arc::new(move || status.close()),
            complaint: Arc::new(|| None),
        })
    }
}

/// How long a large image takes to a host, beside `scp`. Its digest is known beforehand, as it is after the first time.
fn image(server: &Server) {
    let path = server.path("image.raw");
    let mut file = fs::File::create(&path).expect("a file");
    let mut piece = vec![0_u8; 1 << 20];
    let mut state = 1_u64;
    for _ in 0..IMAGE_BYTES / piece.len() {
        for word in piece.chunks_exact_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            word.copy_from_slice(&(state ^ (state >> 29)).to_le_bytes());
        }
        file.write_all(&piece).expect("the disk takes it");
    }
    file.sync_all().expect("the disk takes it");
    let image = ImageExport {
        name: "bench:big".to_owned(),
        disk: path.clone(),
        format: DiskFormat::Raw,
        kernel: None,
        ramdisk: None,
        kernel_args: Vec::new(),
    };
    let images = Arc::new(LocalImages::new([image]));
    images.get("bench:big").expect("the image").expect("the image");
    let mut target = SshTarget::new(&server.user, "127.0.0.1", server.port);
    target.identities = vec![server.path("user")];
    target.known_hosts = vec![server.path("known_hosts")];
    let (mut sent, mut copied) = (Vec::new(), Vec::new());
    for number in 0..RUNS {
        let folder = server.path(&format!("image{number}"));
        fs::create_dir(&folder).expect("a folder");
        let command =
            format!("'{}' {SESSION} '{}'", std::env::current_exe().expect("this").display(), folder.display());
        let began = Instant::now();
        let connection = SshConnection::connect(&target).expect("a connection");
        let host = RemoteHypervisor::over(Arc::new(OverSsh(connection, command))).with_images(images.clone());
        assert!(host.bring("bench:big").expect("it arrives"), "it was sent");
        sent.push(began.elapsed());
        drop(host);
        let mut scp = Command::new("scp");
        scp.arg("-q").arg("-F").arg(server.path("ssh_config")).arg(&path);
        scp.arg(format!("127.0.0.1:{}/copy", folder.display()));
        let began = Instant::now();
        run(&mut scp).expect("scp copies");
        // What a host says has arrived is on its disk.
        fs::File::open(folder.join("copy")).and_then(|copy| copy.sync_all()).expect("the disk takes it");
        copied.push(began.elapsed());
        fs::remove_dir_all(&folder).expect("it goes");
    }
    let (sent, copied) = (median(sent.into_iter()), median(copied.into_iter()));
    println!("an image of {} MiB: sent, verified and on disk after {:.2} s", IMAGE_BYTES >> 20, sent.as_secs_f64());
    println!("the same by scp, and its sync: {:.2} s", copied.as_secs_f64());
    println!("ratio: scp / ours = {:.2} (aim: 0.8)", copied.as_secs_f64() / sent.as_secs_f64());
}

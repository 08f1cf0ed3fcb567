//! What the rules of the house allow and forbid, each entry with its reason. To change a rule, change it here and in
//! ARCHITECTURE.md.

/// Which room may use which, by room: the table "the rooms" of ARCHITECTURE.md.
/// The executor speaks the words of `market`, `rpc` and `lang` because plans and hosts are made of them.
pub const ROOMS: &[(&str, &[&str])] = &[
    ("market", &[]),
    ("lang", &["market"]),
    ("rpc", &["market"]),
    ("bank", &["market", "rpc"]),
    ("sls", &["market", "rpc"]),
    ("xen", &["market", "rpc", "bank", "sls"]),
    ("planner", &["lang", "market", "xen"]),
    ("executor", &["planner", "bank", "sls", "xen", "market", "rpc", "lang"]),
    ("tycoon", &["market", "lang", "rpc", "bank", "sls", "xen", "planner", "executor"]),
];

/// The rooms without clock, files, network, environment, threads, global state and randomness.
pub const PURE_ROOMS: &[&str] = &["market", "lang", "planner"];

/// The rooms that use xen's words (what a domain is, what a host is asked) and never its host daemon.
pub const ROOMS_WITH_XENS_TYPES_ONLY: &[&str] = &["planner", "executor"];

/// What a pure room may depend on directly, and why that keeps it pure. Tests use what they need.
pub const PURE_CRATES: &[(&str, &str)] = &[
    ("base64", "text of keys and signatures, from bytes to characters"),
    ("ed25519-dalek", "checks signatures; keys come in as arguments"),
    ("indexmap", "maps in the order of insertion, the same in every run"),
    ("kdl", "the parser of the description language, from text to a tree"),
    ("miette", "the data of a diagnostic; nothing is printed here"),
    ("petgraph", "graphs and their orders"),
    ("rand_chacha", "numbers drawn from a seed that comes in as an argument"),
    ("rand_core", "the trait of such generators"),
    ("serde", "data from and to the form of others"),
    ("serde_json", "the same, for JSON"),
    ("sha2", "hashes that mean the same everywhere"),
    ("strsim", "how near two names are, for \"did you mean\""),
    ("thiserror", "error enums"),
];

/// What no pure room may reach, not even through others.
pub const WORLDLY_CRATES: &[(&str, &[&str])] = &[
    ("schedules threads or tasks", &["tokio", "async-std", "smol", "rayon", "mio", "crossbeam-channel"]),
    (
        "reads and writes files",
        &["sled", "rusqlite", "fs2", "fs4", "tempfile", "memmap2", "notify", "etcetera", "dirs"],
    ),
    ("talks to a database", &["postgres", "tokio-postgres", "sqlx"]),
    ("talks over the network", &["hyper", "reqwest", "ureq", "axum", "tiny_http", "rouille", "rustls", "native-tls"]),
    ("opens SSH connections", &["ssh2", "libssh2-sys", "russh", "openssh"]),
    ("calls the operating system", &["rustix", "nix", "virt", "virt-sys"]),
    ("reads a clock", &["chrono", "time", "jiff", "quanta", "instant"]),
    ("draws random numbers", &["rand", "getrandom", "fastrand", "uuid"]),
    ("prints", &["indicatif", "console", "tracing-subscriber", "env_logger"]),
];

/// What the clippy.toml of a pure room has to refuse at least. `.config/clippy-pure.toml` refuses more.
pub const PURE_BANS: &[(&str, &[&str])] = &[
    (
        "clock",
        &["std::time::SystemTime", "std::time::SystemTime::now", "std::time::Instant", "std::time::Instant::now"],
    ),
    (
        "fs",
        &[
            "std::fs::File",
            "std::fs::File::open",
            "std::fs::File::create",
            "std::fs::OpenOptions",
            "std::fs::read",
            "std::fs::read_to_string",
            "std::fs::write",
            "std::fs::read_dir",
            "std::fs::metadata",
            "std::fs::create_dir_all",
            "std::fs::remove_file",
            "std::fs::rename",
            "std::path::Path::exists",
        ],
    ),
    (
        "net",
        &[
            "std::net::TcpStream",
            "std::net::TcpStream::connect",
            "std::net::TcpListener::bind",
            "std::net::UdpSocket::bind",
            "std::net::ToSocketAddrs::to_socket_addrs",
            "std::os::unix::net::UnixStream::connect",
        ],
    ),
    ("env", &["std::env::var", "std::env::vars", "std::env::args", "std::env::current_dir", "std::env::temp_dir"]),
    ("threads", &["std::thread::spawn", "std::thread::scope", "std::thread::sleep", "std::sync::Mutex"]),
    (
        "processes",
        &["std::process::Command", "std::process::Command::new", "std::process::exit", "std::process::abort"],
    ),
    ("randomness", &["std::hash::RandomState", "std::collections::HashMap", "std::collections::HashSet"]),
];

/// The keys every member takes from the workspace, so that there is one place to change them.
pub const INHERITED_KEYS: &[&str] = &["version", "edition", "rust-version", "license", "publish"];

/// Longer than this, a file holds more than one subject.
pub const RUST_FILE_LINES_MAX: usize = 800;

/// What says that something is not finished, or not run. Written in two halves, or this file would find itself.
pub const UNFINISHED: &[&str] = &[
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[", "ignore"),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
];

/// What may be left out of an ordinary run: `scripts/lab-tests` runs it, as the last step of `make test`.
pub const RUNS_IN_THE_LAB: &str = concat!("#[", "ignore = \"needs the lab: `make test`\"]");

/// Folders that are no part of the project: made by git, cargo, `make` and editors. See .gitignore.
pub const FOREIGN_FOLDERS: &[&str] = &[".git", "target", "bin", ".idea", ".vscode"];

/// Files that are copied into the disk images of the lab's own machines, where root lives where root always lives.
pub(crate) const IMAGE_CONTENT: &[&str] = &["tests/lab/host", "xen/tiny"];

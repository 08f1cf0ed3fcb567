//! What a user's own ssh would do is done.

use std::fs;
use std::path::PathBuf;

use tycoon_executor::ssh::{RunLimits, SshConnection, SshError, SshSurroundings, SshTarget};

use super::server::Server;

fn surroundings(config: &str) -> (tempfile::TempDir, SshSurroundings) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    fs::write(&path, config).unwrap();
    let surroundings = SshSurroundings {
        user: "ann".into(),
        home: PathBuf::from("/users/ann"),
        agent: Some(PathBuf::from("/run/agent")),
        program: PathBuf::from("ssh"),
        config: Some(path),
    };
    (folder, surroundings)
}

#[test]
fn the_users_configuration_holds() {
    let (_folder, surroundings) = surroundings(
        "Host xen1\n  HostName xen1.example.org\n  User root\n  Port 2222\n  IdentityFile ~/.ssh/%r@%h\n  \
         IdentitiesOnly yes\n  UserKnownHostsFile /etc/lab1 /etc/lab2\n  HostKeyAlias lab1\n  ConnectTimeout 3\n  \
         IdentityAgent none\n",
    );
    let target = SshTarget::resolve("xen1", None, None, &surroundings).unwrap();
    let place = (target.user.as_str(), target.host.as_str(), target.port);
    assert_eq!(place, ("root", "xen1.example.org", 2222));
    assert_eq!(target.identities, [PathBuf::from("/users/ann/.ssh/root@xen1.example.org")]);
    assert!(target.identities_only);
    assert_eq!(target.known_hosts[..2], [PathBuf::from("/etc/lab1"), PathBuf::from("/etc/lab2")]);
    assert_eq!(target.host_key_alias.as_deref(), Some("lab1"));
    assert_eq!((target.times.connect.as_secs(), target.agent), (3, None));

    let target = SshTarget::resolve("xen1", Some("bob"), Some(22), &surroundings).unwrap();
    assert_eq!((target.user.as_str(), target.port), ("bob", 22));
    let target = SshTarget::resolve("xen2", Some("bob"), None, &surroundings).unwrap();
    assert_eq!((target.host.as_str(), target.port, target.agent), ("xen2", 22, surroundings.agent.clone()));
}

#[test]
fn without_ssh_its_defaults_hold() {
    let (_folder, surroundings) = surroundings("");
    let surroundings = SshSurroundings { program: PathBuf::from("/no/such/ssh"), ..surroundings };
    let target = SshTarget::resolve("xen1", None, None, &surroundings).unwrap();
    assert_eq!((target.user.as_str(), target.host.as_str(), target.port), ("ann", "xen1", 22));
    assert_eq!(target.identities[0], PathBuf::from("/users/ann/.ssh/id_ed25519"));
    assert_eq!(target.known_hosts[0], PathBuf::from("/users/ann/.ssh/known_hosts"));
}

#[test]
fn names_that_could_be_options_and_broken_configurations_are_refused() {
    let (_folder, broken) = surroundings("Host *\n  NoSuchOption yes\n");
    for name in ["-oProxyCommand=touch x", "a b", "", "x;y", "$(x)", "`x`"] {
        let error = SshTarget::resolve(name, None, None, &broken).unwrap_err();
        assert!(matches!(error, SshError::Settings { .. }), "{name}: {error}");
    }
    let error = SshTarget::resolve("xen1", None, None, &broken).unwrap_err().to_string();
    assert!(error.starts_with("your ssh configuration, for xen1: `ssh -G xen1` says: "), "{error}");
    assert!(error.to_lowercase().contains("nosuchoption"), "{error}");
}

#[test]
fn a_host_behind_another_is_reached_over_it() {
    let Some(server) = Server::start("") else { return };
    let direct = server.target();
    let common = format!(
        "  User {}\n  IdentityFile {}\n  UserKnownHostsFile {}\n",
        direct.user,
        server.path("user").display(),
        server.path("known_hosts").display()
    );
    let (_folder, surroundings) = surroundings(&format!(
        "Host behind\n  HostName 127.0.0.1\n  Port {port}\n  ProxyJump gate\n{common}\
         Host gate\n  HostName 127.0.0.1\n  Port {port}\n{common}\
         Host nowhere\n  HostName 127.0.0.1\n  ProxyCommand echo no way to %h >&2; exit 1\n",
        port = server.port()
    ));
    let target = SshTarget::resolve("behind", None, None, &surroundings).unwrap();
    assert!(target.proxy.is_some());
    let connection = SshConnection::connect(&target).unwrap();
    let content = vec![b'x'; 500_000];
    let output = connection.run("cat", &content, RunLimits::default()).unwrap();
    assert!(output.stdout == content);
    drop(connection);
    let target = SshTarget::resolve("nowhere", None, None, &surroundings).unwrap();
    let error = SshConnection::connect(&target).unwrap_err().to_string();
    assert!(error.contains("no way to 127.0.0.1"), "{error}");
}

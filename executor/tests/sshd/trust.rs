//! Who is who: host keys, user keys, agents.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use tycoon_executor::ssh::{RunLimits, SshConnection, SshError, SshTarget, SshTimes};

use super::server::{Server, keygen};

fn refusal(target: &SshTarget) -> SshError {
    SshConnection::connect(target).map(drop).unwrap_err()
}

/// The fingerprint of a key file as ssh-keygen shows it.
fn fingerprint(server: &Server, name: &str) -> String {
    let output = Command::new("ssh-keygen").arg("-lf").arg(server.path(name)).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().nth(1).unwrap().to_owned()
}

fn works(target: &SshTarget) {
    let connection = SshConnection::connect(target).unwrap();
    assert_eq!(connection.run_well("echo yes", b"", RunLimits::default()).unwrap(), b"yes\n");
}

#[test]
fn an_unknown_host_is_refused_with_its_fingerprint_and_what_to_do() {
    let Some(server) = Server::start("") else { return };
    let target = SshTarget { known_hosts: vec![server.path("nothing")], ..server.target() };
    let error = refusal(&target);
    let SshError::HostKeyUnknown { fingerprint: shown, key_type, .. } = &error else { panic!("{error}") };
    assert_eq!((shown.as_str(), key_type.as_str()), (fingerprint(&server, "host.pub").as_str(), "ssh-ed25519"));
    let text = error.to_string();
    assert!(text.contains(&format!("ssh-keyscan -p {} 127.0.0.1 >> ", server.port())), "{text}");
    assert!(error.is_lasting());
    assert!(!server.log().contains("userauth-request"), "the user was named to an unknown host: {}", server.log());
}

#[test]
fn a_changed_host_key_stops_everything_and_shows_both() {
    let Some(server) = Server::start("") else { return };
    let target = server.target();
    let key = fs::read_to_string(server.path("stranger.pub")).unwrap();
    let list = server.path("known_hosts");
    fs::write(&list, format!("# a comment\n[127.0.0.1]:{} {key}", server.port())).unwrap();
    let accepting = SshTarget { accept_new_into: Some(server.path("new")), ..target };
    let error = refusal(&accepting);
    let SshError::HostKeyChanged(changed) = &error else { panic!("{error}") };
    assert_eq!(changed.expected, fingerprint(&server, "stranger.pub"));
    assert_eq!(changed.found, fingerprint(&server, "host.pub"));
    assert_eq!(changed.place, format!("{}, line 2", list.display()));
    assert!(!server.path("new").exists());
    let text = error.to_string();
    let cure = format!("ssh-keygen -f '{}' -R '[127.0.0.1]:{}'", list.display(), server.port());
    assert!(text.contains(&cure), "{text}");
}

#[test]
fn a_revoked_host_key_is_refused_wherever_else_it_is_known() {
    let Some(server) = Server::start("") else { return };
    let target = server.target();
    let key = fs::read_to_string(server.path("host.pub")).unwrap();
    let list = server.path("known_hosts");
    let known = fs::read_to_string(&list).unwrap();
    fs::write(&list, format!("{known}@revoked * {key}")).unwrap();
    let error = refusal(&target);
    assert!(
        matches!(&error, SshError::HostKeyChanged(changed) if changed.remedy.contains("must not be trusted")),
        "{error}"
    );
}

#[test]
fn hosts_may_be_hashed_pinned_or_known_under_another_name() {
    let Some(server) = Server::start("") else { return };
    let target = server.target();
    let hash = Command::new("ssh-keygen").arg("-H").arg("-f").arg(server.path("known_hosts")).output().unwrap();
    assert!(hash.status.success());
    assert!(fs::read_to_string(server.path("known_hosts")).unwrap().starts_with("|1|"));
    works(&target);
    let nowhere = SshTarget { known_hosts: Vec::new(), ..target.clone() };
    works(&SshTarget { host_key: Some(fingerprint(&server, "host.pub")), ..nowhere.clone() });
    let error = refusal(&SshTarget { host_key: Some(fingerprint(&server, "user.pub")), ..nowhere.clone() });
    assert!(matches!(error, SshError::HostKeyChanged(_)), "{error}");
    let key = fs::read_to_string(server.path("host.pub")).unwrap();
    fs::write(server.path("aliases"), format!("xen1 {key}")).unwrap();
    let aliased = SshTarget { known_hosts: vec![server.path("aliases")], ..nowhere };
    assert!(matches!(refusal(&aliased), SshError::HostKeyUnknown { .. }));
    works(&SshTarget { host_key_alias: Some("xen1".into()), ..aliased });
}

#[test]
fn a_host_with_several_keys_shows_the_one_that_is_known() {
    let Some(server) = Server::start_with_keys("", &["ed25519", "ecdsa", "rsa"]) else { return };
    for name in ["host_rsa.pub", "host_ecdsa.pub"] {
        let target = server.target();
        let key = fs::read_to_string(server.path(name)).unwrap();
        fs::write(server.path("known_hosts"), format!("127.0.0.1 {key}")).unwrap();
        works(&target);
    }
}

#[test]
fn a_new_host_is_noted_where_that_is_asked_for_and_known_from_then_on() {
    let Some(server) = Server::start("") else { return };
    let noted = server.path("state/known_hosts");
    let target = SshTarget { known_hosts: Vec::new(), accept_new_into: Some(noted.clone()), ..server.target() };
    works(&target);
    let once = fs::read_to_string(&noted).unwrap();
    works(&target);
    assert_eq!(fs::read_to_string(&noted).unwrap(), once);
    works(&SshTarget { known_hosts: vec![noted], accept_new_into: None, ..target });
}

#[test]
fn all_usual_kinds_of_keys_let_the_user_in() {
    let Some(server) = Server::start("") else { return };
    let kinds: [(&str, &[&str]); 5] = [
        ("ecdsa", &["-t", "ecdsa", "-b", "256", "-N", ""]),
        ("ecdsa521", &["-t", "ecdsa", "-b", "521", "-N", ""]),
        ("rsa", &["-t", "rsa", "-b", "2048", "-N", ""]),
        ("rsa-pem", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""]),
        ("ed25519", &["-t", "ed25519", "-N", ""]),
    ];
    for (name, options) in kinds {
        keygen(&server.path(name), options);
        fs::copy(server.path(&format!("{name}.pub")), server.path("authorized_keys")).unwrap();
        works(&SshTarget { identities: vec![server.path(name)], ..server.target() });
    }
}

#[test]
fn who_has_the_wrong_keys_is_told_which_were_tried() {
    let Some(server) = Server::start("") else { return };
    keygen(&server.path("secret"), &["-t", "ed25519", "-N", "a passphrase"]);
    keygen(&server.path("secret-pem"), &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "a passphrase"]);
    let names = ["stranger", "nothing", "secret", "secret-pem", "host.pub"];
    let target = SshTarget { identities: names.map(|name| server.path(name)).into(), ..server.target() };
    let error = refusal(&target);
    let SshError::Authentication { tried, .. } = &error else { panic!("{error}") };
    let of = |name: &str, what: &str| format!("{}{what}", server.path(name).display());
    let expected = [
        of("stranger", ""),
        of("secret", " (has a passphrase)"),
        of("secret-pem", " (has a passphrase)"),
        of("host.pub", " (is no private key)"),
    ];
    assert_eq!(tried, &expected);
    assert!(error.to_string().ends_with("a key with a passphrase has to be in your agent: ssh-add KEY"), "{error}");
    let error = refusal(&SshTarget { identities: Vec::new(), ..target });
    assert!(error.to_string().contains("with any key, for there is none to try; have one of your keys"), "{error}");
}

#[test]
fn an_agent_has_the_key() {
    let Some(server) = Server::start("") else { return };
    let socket = server.path("agent");
    // In the foreground, so that it ends with the test.
    let mut agent = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !socket.exists() && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    let add = |name: &str| {
        let add = Command::new("ssh-add").arg("-q").arg(server.path(name)).env("SSH_AUTH_SOCK", &socket).status();
        assert!(add.unwrap().success());
    };
    let target = SshTarget { identities: Vec::new(), agent: Some(socket.clone()), ..server.target() };
    add("stranger");
    let stranger = refusal(&target).to_string();
    add("user");
    let works_with = SshConnection::connect(&target).map(drop);
    let only = SshTarget { identities: vec![server.path("stranger")], identities_only: true, ..target.clone() };
    let only = SshConnection::connect(&only).map(drop);
    agent.kill().unwrap();
    agent.wait().unwrap();
    let gone = refusal(&target).to_string();
    assert!(stranger.contains(&fingerprint(&server, "stranger.pub")), "{stranger}");
    assert_eq!(works_with, Ok(()));
    assert!(matches!(only, Err(SshError::Authentication { .. })), "{only:?}");
    assert!(gone.contains("it does not answer"), "{gone}");
}

#[test]
fn what_is_not_there_or_does_not_speak_ssh_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let quick = Duration::from_millis(300);
    let times = SshTimes { connect: quick, handshake: quick, ..SshTimes::default() };
    let target = SshTarget { times, ..SshTarget::new("root", "127.0.0.1", port) };
    // It takes the connection and says nothing.
    let error = refusal(&target);
    assert_eq!(
        error.to_string(),
        "127.0.0.1: the exchange of keys took longer than 0.3 s; is the host overloaded, or is something between that \
         drops packets?"
    );
    drop(listener);
    let error = refusal(&target);
    assert_eq!(error, SshError::Refused { host: "127.0.0.1".into(), port });
    let error = refusal(&SshTarget { host: "no-such-host.invalid".into(), ..target });
    assert!(matches!(error, SshError::Unreachable { .. } | SshError::TimedOut { .. }), "{error}");
}

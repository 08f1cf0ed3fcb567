//! Commands and what goes in and out of them.

use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::time::Duration;

use tycoon_executor::ssh::{Exit, RunLimits, SshError};

use super::server::Server;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_command_runs_and_says_how_it_ended() {
    let Some(server) = Server::start("") else { return };
    let connection = server.connect();
    let output = connection.run("cat; echo trouble >&2; exit 3", b"hello", RunLimits::default()).unwrap();
    assert_eq!((output.exit, output.stdout, output.stderr), (Exit::Code(3), b"hello".to_vec(), "trouble\n".to_owned()));
    let error = connection.run_well("echo no such thing >&2; exit 1", b"", RunLimits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the command `echo no such thing >&2; exit 1` on 127.0.0.1 ended with code 1: no such thing"
    );
    let output = connection.run("kill -TERM $$", b"", RunLimits::default()).unwrap();
    assert_eq!(output.exit, Exit::Signal("TERM".into()));
}

#[test]
fn much_goes_both_ways_at_once_and_arrives_whole() {
    let Some(server) = Server::start("") else { return };
    let connection = server.connect();
    let content: Vec<u8> = (0..40_u32 << 20).step_by(4).flat_map(u32::to_be_bytes).collect();
    let channel = connection.exec("cat").unwrap();
    let (mut reader, mut writer, status) = (channel.reader, channel.writer, channel.status);
    let sent = content.clone();
    let sender = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut received = Vec::new();
    reader.read_to_end(&mut received).unwrap();
    sender.join().unwrap();
    assert!(received == content, "{} of {} bytes", received.len(), content.len());
    assert_eq!(status.wait(LONG), Some(Ok(Exit::Code(0))));
}

#[test]
fn keys_that_are_exchanged_anew_in_the_middle_disturb_nothing() {
    let Some(server) = Server::start("RekeyLimit 1M") else { return };
    let connection = server.connect();
    let content: Vec<u8> = (0..8_u32 << 20).step_by(4).flat_map(u32::to_be_bytes).collect();
    let limits = RunLimits { stdout_bytes_max: 64 << 20, ..RunLimits::default() };
    let output = connection.run("cat", &content, limits).unwrap();
    assert!(output.stdout == content, "{} of {} bytes", output.stdout.len(), content.len());
}

#[test]
fn many_channels_share_a_connection() {
    let Some(server) = Server::start("MaxSessions 64") else { return };
    let connection = server.connect();
    let threads: Vec<_> = (0..32)
        .map(|number| {
            let connection = connection.clone();
            std::thread::spawn(move || {
                let text = format!("{number} ").repeat(50_000);
                let output = connection.run("cat", text.as_bytes(), RunLimits::default()).unwrap();
                assert!(output.stdout == text.as_bytes());
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn more_channels_than_the_host_allows_are_refused_and_the_others_go_on() {
    let Some(server) = Server::start("MaxSessions 2") else { return };
    let connection = server.connect();
    let mut first = connection.exec("cat").unwrap();
    let second = connection.exec("cat").unwrap();
    let error = connection.exec("cat").unwrap_err();
    assert!(matches!(&error, SshError::Channel { reason, .. } if reason.contains("MaxSessions")), "{error}");
    drop(second);
    first.writer.write_all(b"still here").unwrap();
    drop(first.writer);
    let mut text = String::new();
    first.reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "still here");
}

#[test]
fn who_reads_slowly_holds_up_nobody_else_and_fills_no_memory() {
    let Some(server) = Server::start("") else { return };
    let connection = server.connect();
    // It writes for ever, and nobody reads.
    let endless = connection.exec("yes").unwrap();
    for _ in 0..20 {
        let output = connection.run("cat", &[b'x'; 100_000], RunLimits::default()).unwrap();
        assert_eq!(output.stdout.len(), 100_000);
    }
    let status = endless.status;
    drop((endless.reader, endless.writer));
    status.close();
    assert!(matches!(status.wait(LONG), Some(Err(SshError::Closed { .. }))));
}

#[test]
fn a_command_that_takes_or_writes_too_much_is_ended() {
    let Some(server) = Server::start("") else { return };
    let connection = server.connect();
    let short = RunLimits { time: Duration::from_millis(300), ..RunLimits::default() };
    let error = connection.run("sleep 1000", b"", short).unwrap_err();
    assert!(matches!(error, SshError::TimedOut { .. }), "{error}");
    let error = connection.run("yes", b"", RunLimits::default()).unwrap_err();
    assert!(matches!(error, SshError::TooMuchOutput { bytes_max: 1_048_576, .. }), "{error}");
    let noisy = "head -c 100000 /dev/zero | tr '\\0' x >&2; echo the end >&2";
    let output = connection.run(noisy, b"", RunLimits::default()).unwrap();
    assert_eq!(output.stderr.len(), 16 << 10);
    assert!(output.stderr.ends_with("xthe end\n"));
    assert!(connection.is_open());
}

#[test]
fn a_command_that_closes_its_output_goes_on_reading() {
    let Some(server) = Server::start("") else { return };
    let connection = server.connect();
    let path = server.path("written");
    let command = format!("exec >&- 2>&-; sleep 0.2; cat > {}", path.display());
    let output = connection.run(&command, b"content", RunLimits::default()).unwrap();
    assert_eq!(output.exit, Exit::Code(0));
    assert_eq!(std::fs::read(path).unwrap(), b"content");
}

#[test]
fn a_file_is_put_in_its_place_whole_or_not_at_all() {
    let Some(server) = Server::start("") else { return };
    let connection = server.connect();
    let content: Vec<u8> = (0..5_000_000_u32).map(|number| number as u8).collect();
    let path = server.path("it's here");
    let place = path.to_str().unwrap();
    let mut seen = 0;
    let mut progress = |bytes| {
        seen = bytes;
        ControlFlow::Continue(())
    };
    let bytes = content.len() as u64;
    connection.upload(&mut content.as_slice(), bytes, place, 0o755, &mut progress).unwrap();
    assert_eq!(seen, bytes);
    assert!(std::fs::read(&path).unwrap() == content);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);

    let other = server.path("other");
    let place = other.to_str().unwrap();
    let mut stop = |sent| if sent > 1_000_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let error = connection.upload(&mut content.as_slice(), bytes, place, 0o755, &mut stop).unwrap_err();
    assert!(error.to_string().contains("was broken off"), "{error}");
    let mut go_on = |_| ControlFlow::Continue(());
    let error = connection.upload(&mut content.as_slice(), bytes + 1, place, 0o755, &mut go_on).unwrap_err();
    assert!(error.to_string().ends_with("it did not arrive whole"), "{error}");
    assert!(!other.exists());
    let error = connection.upload(&mut content.as_slice(), bytes, "/no/such/folder/x", 0o755, &mut go_on).unwrap_err();
    assert!(matches!(&error, SshError::Command { stderr, .. } if !stderr.is_empty()), "{error}");
}

/// What all threads of SSH connections of this process have used of the CPU.
fn cpu_time() -> Duration {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        let Some((name, numbers)) = stat.rsplit_once(')') else { continue };
        if name.contains("(ssh ") {
            // The 14th and 15th fields of the whole line, in hundredths of a second.
            ticks += numbers.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum::<u64>();
        }
    }
    Duration::from_millis(ticks * 10)
}

#[test]
fn waiting_costs_no_cpu() {
    let Some(server) = Server::start("") else { return };
    let connection = server.connect();
    let _quiet = connection.exec("sleep 1000").unwrap();
    let _unread = connection.exec("yes").unwrap();
    let mut half = connection.exec("sleep 1000").unwrap();
    drop(half.writer);
    half.reader.set_timeout(Some(Duration::from_millis(500))).unwrap();
    assert!(half.reader.read(&mut [0; 1]).is_err());
    let closed = connection.exec("exec >&- 2>&-; sleep 1000").unwrap();
    drop((closed.reader, closed.writer));
    // Only time shows whether it is spent.
    std::thread::sleep(Duration::from_millis(500));
    let before = cpu_time();
    std::thread::sleep(Duration::from_secs(2));
    let used = cpu_time() - before;
    assert!(used < Duration::from_millis(200), "{used:?} of CPU in 2 s of waiting");
}

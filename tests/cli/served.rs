//! A service of the program as a process of its own, which goes with the test.

use std::io::{BufRead as _, BufReader, Read as _};
use std::marker::PhantomData;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

/// A kind of services.
pub trait Kind {
    /// As the options of `tycoon init` name it.
    const NAME: &str;
}

/// A service that is open.
pub struct Served<K> {
    kind: PhantomData<K>,
    child: Child,
    /// What it says from now on. Somebody always reads it: a full pipe would hold the service up.
    said: Option<JoinHandle<String>>,
    /// Its address.
    pub url: String,
    /// Its key.
    pub key: String,
}

impl<K: Kind> Served<K> {
    /// Starts a service, which says `tycoon init --NAME URL --NAME-key KEY` when it is open.
    pub fn open(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the service starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("its messages"));
        // From here on it is ended with the test, however that ends.
        let mut served = Self { kind: PhantomData, child, said: None, url: String::new(), key: String::new() };
        let (before, between) = (format!("tycoon init --{} ", K::NAME), format!(" --{}-key ", K::NAME));
        let mut seen = String::new();
        while served.url.is_empty() {
            let mut line = String::new();
            let read = stderr.read_line(&mut line).expect("its messages can be read");
            seen.push_str(&line);
            assert!(read > 0, "the service did not open:\n{seen}");
            if let Some((url, key)) = line.trim().strip_prefix(&before).and_then(|rest| rest.split_once(&between)) {
                (served.url, served.key) = (url.to_owned(), key.trim_matches('\'').to_owned());
            }
        }
        served.said = Some(std::thread::spawn(move || {
            let mut said = Vec::new();
            let _ = stderr.read_to_end(&mut said);
            String::from_utf8_lossy(&said).into_owned()
        }));
        served
    }
}

impl<K> Served<K> {
    /// Asks it to stop, and returns what it said since it opened.
    pub fn stop(mut self) -> String {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").arg(&pid).status().expect("kill runs").success());
        let ended = self.child.wait().expect("it ends");
        let said = self.said.take().map(|said| said.join().expect("its messages")).unwrap_or_default();
        assert!(ended.success(), "{said}");
        said
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True where it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_some()
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Its address and port.
    pub fn listen(&self) -> &str {
        self.url.split_once("://").expect("an address").1
    }
}

impl<K> Drop for Served<K> {
    fn drop(&mut self) {
        // It has ended already where the test stopped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

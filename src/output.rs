//! Where output goes and how it looks: data on stdout, messages on stderr, colour only on a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, OnceLock};

use comfy_table::{CellAlignment, ContentArrangement, Table};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;

use crate::cli::{ColorChoice, Global};
use crate::exit::Exit;
use crate::failure::Failure;

/// How often it is looked whether a question is still to be answered.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// The width for what is not shown on a terminal.
pub const WIDTH_OFF_TERMINAL: usize = 100;

/// How text looks on one stream.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// True where colours are shown.
    pub color: bool,
    /// Columns.
    pub width: usize,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Bold.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Dim.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Red.
    pub fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Green.
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Yellow.
    pub fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Cyan.
    pub fn cyan(self, text: &str) -> String {
        self.paint("36", text)
    }
}

/// The program's output.
#[derive(Clone, Debug)]
pub struct Output {
    /// The description of the site that was asked for.
    pub site: Option<String>,
    /// True where data is printed as JSON.
    pub json: bool,
    /// True where only data is printed.
    pub quiet: bool,
    /// How stdout looks.
    pub stdout: Style,
    /// How stderr looks.
    pub stderr: Style,
    /// True where a question can be asked and answered.
    pub can_ask: bool,
    /// True where stderr is a terminal, so that progress can move.
    pub can_move: bool,
    /// The first data that could not be written, and why.
    unwritten: Arc<OnceLock<io::Error>>,
}

impl Output {
    /// The output that the command line and the environment ask for.
    pub fn new(global: &Global) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let style = |is_terminal: bool| Style {
            color: match global.color {
                ColorChoice::Always => true,
                ColorChoice::Never => false,
                ColorChoice::Auto => is_terminal && !no_color && !dumb,
            },
            width: if is_terminal { terminal_width() } else { WIDTH_OFF_TERMINAL },
        };
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self {
            site: global.site.clone(),
            json: global.json,
            quiet: global.quiet,
            stdout: style(out),
            stderr: style(err),
            can_ask: io::stdin().is_terminal() && err && !global.json,
            can_move: err && !dumb && !global.json && !global.quiet,
            unwritten: Arc::default(),
        }
    }

    /// The same, where nothing but data is shown.
    pub fn silent(&self) -> Self {
        Self { json: true, ..self.clone() }
    }

    /// Prints data. What goes wrong is kept for [`Output::end`].
    pub fn print(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            self.unwritten.get_or_init(|| error);
        }
    }

    /// How a command that ended so has ended in truth: data that could not be written is an error.
    pub fn end(&self, exit: Exit) -> Exit {
        match self.unwritten.get() {
            // A reader that has gone away, as `head` does, has seen what it wanted.
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                self.error(&unwritten(error).render(self.stderr));
                if exit == Exit::Ok { Exit::Failed } else { exit }
            }
            _ => exit,
        }
    }

    /// Prints data as JSON.
    pub fn print_json<T: Serialize>(&self, value: &T) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.print(&format!("{text}\n")),
            Err(error) => {
                self.unwritten.get_or_init(|| error.into());
            }
        }
    }

    /// Prints a message.
    pub fn message(&self, text: &str) {
        if !self.quiet && !self.json {
            self.error(&format!("{text}\n"));
        }
    }

    /// Prints an error.
    pub fn error(&self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// A command to type on the same site: `tycoon --site hosts.kdl down hello`.
    pub fn command(&self, words: &str) -> String {
        let is_usual = |site: &String| std::env::var("TYCOON_SITE").is_ok_and(|usual| usual == *site);
        match self.site.as_ref().filter(|site| !is_usual(site)) {
            Some(site) if site.contains(char::is_whitespace) => format!("tycoon --site '{site}' {words}"),
            Some(site) => format!("tycoon --site {site} {words}"),
            None => format!("tycoon {words}"),
        }
    }

    /// Asks a question that is answered with yes or no; no is the default.
    pub fn confirm(&self, question: &str) -> bool {
        self.confirm_until(question, || false)
    }

    /// The same, where Ctrl-C does not end the program and is noticed by `is_stopped`: that is a no.
    pub fn confirm_until(&self, question: &str, is_stopped: impl Fn() -> bool) -> bool {
        self.error(&format!("{question} [y/N] "));
        let stdin = io::stdin();
        loop {
            if is_stopped() {
                self.error("\n");
                return false;
            }
            let mut watched = [PollFd::new(&stdin, PollFlags::IN)];
            match poll(&mut watched, Some(&LOOK)) {
                Ok(0) | Err(Errno::INTR) => {}
                // Something to read, the end of it, or an error, which reading tells.
                Ok(_) | Err(_) => break,
            }
        }
        let mut answer = String::new();
        match io::stdin().read_line(&mut answer) {
            Ok(_) => matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"),
            Err(_) => false,
        }
    }
}

/// The failure of data that could not be written to standard output.
pub fn unwritten(error: &io::Error) -> Failure {
    Failure::from_error(Exit::Failed, error)
        .context("the output cannot be written")
        .help("what the command did is done; make room, or write elsewhere, and ask again")
}

fn terminal_width() -> usize {
    let from_terminal = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
    from_terminal.filter(|width| *width >= 40).unwrap_or(WIDTH_OFF_TERMINAL)
}

/// A table without lines: a header, and columns apart by two spaces. `right` are the columns of numbers.
pub fn table(header: &[&str], rows: &[Vec<String>], right: &[usize], style: Style) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|name| style.bold(name)));
    for row in rows {
        table.add_row(row);
    }
    for (number, column) in table.column_iter_mut().enumerate() {
        let left = if number == 0 { 0 } else { 2 };
        column.set_padding((left, 0));
        if right.contains(&number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

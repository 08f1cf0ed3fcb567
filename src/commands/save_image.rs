//! `tycoon save-image`: the root volume of a domain as a file here, or as an image on its host.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use tycoon_executor::link::LinkError;
use tycoon_executor::save::{self, Subject, Target};
use tycoon_executor::status::pool_domains;
use tycoon_xen::protocol::Request;
use tycoon_xen::save::SaveFormat;
use tycoon_xen::spec::Ownership;
use tycoon_xen::status::DomainState;

use crate::domains::{self, DomainName, Found};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::saved_view::{self, Pace};
use crate::site::Session;

/// The volume that is saved.
const ROOT: &str = "root";

/// Arguments of `tycoon save-image`.
#[derive(Args, Debug)]
pub struct SaveImageArgs {
    /// The domain, such as `hello/web.0`; also one that was removed, whose root volume its host has kept
    #[arg(value_name = "POOL/DOMAIN")]
    domain: DomainName,
    /// The folder that the file goes to
    #[arg(long, value_name = "FOLDER", default_value = ".", conflicts_with = "as_image")]
    to: PathBuf,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Raw, conflicts_with = "as_image")]
    format: Format,
    /// The name of the file without its ending; pool and domain where none is given
    #[arg(long, conflicts_with = "as_image")]
    name: Option<String>,
    /// Instead of a file, an image of yours on the domain's host, which descriptions can name
    #[arg(long, value_name = "IMAGE")]
    as_image: Option<String>,
    /// Suspend a domain that runs while it is saved; then it goes on
    #[arg(long)]
    suspend: bool,
}

/// How a saved volume is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Its blocks, with holes where they are blank
    Raw,
    /// Its blocks in QEMU's format; needs qemu-img here
    Qcow2,
    /// The files of its ext2, ext3 or ext4 file system
    Tar,
    /// The same, compressed by gzip
    #[value(name = "tar.gz")]
    TarGz,
    /// The same, compressed by zstd
    #[value(name = "tar.zst")]
    TarZst,
}

impl Format {
    const fn format(self) -> SaveFormat {
        match self {
            Self::Raw => SaveFormat::Raw,
            Self::Qcow2 => SaveFormat::Qcow2,
            Self::Tar => SaveFormat::Tar,
            Self::TarGz => SaveFormat::TarGz,
            Self::TarZst => SaveFormat::TarZst,
        }
    }
}

/// Saves the root volume of a domain.
pub fn run(arguments: &SaveImageArgs, output: &Output) -> Result<Exit, Failure> {
    if arguments.as_image.is_none() {
        save::check_programs(arguments.format.format()).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    }
    let session = Session::open(output, "tycoon save-image")?;
    let found = find(&session, &arguments.domain, output)?;
    let Some(own) = found.domain.ownership.clone() else {
        return Err(Failure::new(Exit::Failed, "the domain is not yours"));
    };
    let is_suspended_here = prepare(arguments, &found, &own)?;
    let result = match &arguments.as_image {
        Some(image) => keep(image, &found, output),
        None => save_here(arguments, &session, &found, &own, output),
    };
    // Whatever came of it, what ran goes on.
    let resumed = if is_suspended_here { ask(&found, &own, true) } else { Ok(()) };
    session.close()?;
    let exit = result?;
    resumed.map_err(|error| {
        failed(&error)
            .context(&format!("it is saved, and {}/{} is still suspended", own.pool, own.path))
            .help(format!("`{}` has it go on", output.command(&format!("resume {}/{}", own.pool, own.path))))
    })?;
    Ok(exit)
}

/// The domain, also where only its volumes are kept.
fn find(session: &Session, wanted: &DomainName, output: &Output) -> Result<Found, Failure> {
    let there = domains::find(session, wanted, output);
    let (Err(_), Some(path)) = (&there, &wanted.path) else { return there };
    let all = pool_domains(&*session.site(), &wanted.pool, &session.history(&wanted.pool, output));
    let all = all.map_err(|error| Failure::from_executor(error, None))?;
    let is_it = |own: &Ownership| own.path == *path;
    let kept = all.found.into_iter().find(|(_, domain)| {
        domain.kept.as_ref().is_some_and(|kept| kept.has(ROOT)) && domain.ownership.as_ref().is_some_and(is_it)
    });
    kept.map_or(there, |(host, domain)| Ok(Found { host, domain }))
}

/// Sees to it that the domain writes nothing. True where it had to be suspended for that.
fn prepare(arguments: &SaveImageArgs, found: &Found, own: &Ownership) -> Result<bool, Failure> {
    let state = found.domain.state;
    match state {
        DomainState::Stopped | DomainState::Crashed | DomainState::Paused => Ok(false),
        DomainState::Running | DomainState::Booting if arguments.suspend => {
            ask(found, own, false).map_err(|error| failed(&error)).map(|()| true)
        }
        _ => {
            let name = format!("{}/{}", own.pool, own.path);
            Err(Failure::new(
                Exit::Failed,
                format!("{name} is {}, and what it writes while it is saved would be half there", state.word()),
            )
            .help(
                "--suspend suspends it for that time, and what it has not written to its disk is missing, as after a power cut; \
                 shut it down from inside, and all is there",
            ))
        }
    }
}

/// What a failed saving ends with.
fn exit_of(session: &Session) -> Exit {
    if session.is_interrupted() { Exit::Interrupted } else { Exit::Failed }
}

/// Has the domain stand still, or go on.
fn ask(found: &Found, own: &Ownership, runs: bool) -> Result<(), LinkError> {
    let known = found.host.link.account(&own.pool)?.map_or(0, |account| account.generation);
    let (pool, path, generation) = (own.pool.clone(), own.path.clone(), known.max(own.generation));
    let request = match runs {
        false => Request::EnsureSuspended { pool, generation, path },
        true => Request::EnsureRunning { pool, generation, path },
    };
    found.host.link.request(&request).map(drop)
}

fn failed(error: &LinkError) -> Failure {
    let failure = Failure::from_error(Exit::Failed, error);
    match error.help() {
        Some(help) => failure.help(help.to_owned()),
        None => failure,
    }
}

fn save_here(
    arguments: &SaveImageArgs,
    session: &Session,
    found: &Found,
    own: &Ownership,
    output: &Output,
) -> Result<Exit, Failure> {
    let stream = found.host.link.open_volume(&found.domain.name, ROOT).map_err(|error| failed(&error))?;
    let image = found.domain.spec.as_ref().map(|spec| &spec.image);
    let image = image.or(found.domain.kept.as_ref().map(|kept| &kept.image)).cloned();
    let subject = Subject {
        account: own.account,
        pool: own.pool.clone(),
        domain: own.path.clone(),
        volume: ROOT.to_owned(),
        image,
        host: found.host.name.clone(),
        is_simulated: found.host.is_simulated,
    };
    let format = arguments.format.format();
    let target = Target { folder: &arguments.to, name: arguments.name.as_deref(), format };
    let pace = std::cell::RefCell::new(Pace::new());
    let watch = |bytes: u64, total: u64| {
        if let Some(percents) = pace.borrow_mut().percents(bytes, total) {
            output.message(&format!("saving {}/{}: {percents} %", own.pool, own.path));
        }
        if session.is_interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let saved = save::save(stream, subject, &target, session.now(), &watch)
        .map_err(|error| Failure::from_error(exit_of(session), &error))?;
    if output.json {
        // Why it is something else than was asked for is in there.
        output.print_json(&saved_view::to_json(&saved));
        return Ok(if saved.instead.is_none() { Exit::Ok } else { Exit::Failed });
    }
    output.print(&format!("{}\n", saved_view::line(&saved)));
    let Some(why) = &saved.instead else { return Ok(Exit::Ok) };
    Err(Failure::new(Exit::Failed, format!("no {} could be made: {why}", format.word()))
        .help(format!("its blocks are saved whole, in {}", saved.path.display())))
}

fn keep(image: &str, found: &Found, output: &Output) -> Result<Exit, Failure> {
    let is_new = found.host.link.keep_as_image(&found.domain.name, ROOT, image).map_err(|error| failed(&error))?;
    let host = &found.host.name;
    if output.json {
        output.print_json(&json!({ "image": image, "host": host, "changed": is_new }));
    } else {
        let is = if is_new { "is now" } else { "was already" };
        output
            .print(&format!("`{image}` {is} an image of yours on {host}: write image \"{image}\" in a description\n"));
    }
    Ok(Exit::Ok)
}

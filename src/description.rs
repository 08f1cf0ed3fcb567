//! Reads descriptions from files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde_json::Value;
use tycoon_lang::site::Site;
use tycoon_lang::{Checked, Diagnostic, LoadError, Loaded, Loader, MemoryLoader, Options, PARAM_VARIABLE, Sources};

use crate::cli::{DescriptionArgs, ReadingArgs};
use crate::exit::Exit;
use crate::failure::{Failure, diagnostics_json, render_diagnostics};
use crate::output::Output;

/// Reads files of the file system, up to a limit.
#[derive(Clone, Copy, Debug)]
pub struct FileLoader {
    /// The most bytes that are read; one more is given back where there are more.
    pub max_bytes: usize,
}

impl Loader for FileLoader {
    fn read(&self, path: &str) -> Result<Vec<u8>, LoadError> {
        let io = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => LoadError::NotFound,
            io::ErrorKind::PermissionDenied => LoadError::NotAllowed,
            _ => LoadError::Other(error.to_string()),
        };
        let metadata = std::fs::metadata(Path::new(path)).map_err(io)?;
        // Opening a FIFO would wait for a writer, and a device may have no end.
        if !metadata.is_file() {
            return Err(if metadata.is_dir() {
                LoadError::IsDirectory
            } else {
                LoadError::Other("it is not a regular file".to_owned())
            });
        }
        let mut bytes = Vec::new();
        // One byte more than allowed, so that the language can tell that there was more.
        let limit = self.max_bytes as u64 + 1;
        File::open(path).map_err(io)?.take(limit).read_to_end(&mut bytes).map_err(io)?;
        Ok(bytes)
    }
}

/// What a command needs to let the language read a description.
pub fn loader(arguments: &DescriptionArgs) -> Result<(impl Loader + use<>, Options), Failure> {
    let options = options(&arguments.reading, arguments.pool.clone())?;
    Ok((FileLoader { max_bytes: options.max_file_bytes }, options))
}

/// How a description is read, by the command line and the environment.
pub fn options(reading: &ReadingArgs, pool: Option<String>) -> Result<Options, Failure> {
    Ok(Options {
        params: reading.params.clone(),
        params_files: reading.params_files.clone(),
        environment: param_variables()?,
        allow_outside_imports: reading.allow_outside_imports,
        pool,
        ..Options::default()
    })
}

/// The variables of the environment that set params.
fn param_variables() -> Result<Vec<(String, String)>, Failure> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PARAM_VARIABLE)) else { continue };
        let value = value.into_string().map_err(|_| {
            Failure::new(Exit::Failed, format!("the variable {name} is not UTF-8")).help("unset it, or give it a text")
        })?;
        variables.push((name.to_owned(), value));
    }
    variables.sort();
    Ok(variables)
}

/// Loads the description that a command was given; warnings are shown.
pub fn load(arguments: &DescriptionArgs, output: &Output) -> Result<Loaded, Failure> {
    let (loader, options) = loader(arguments)?;
    let loaded = tycoon_lang::load(&arguments.file, &loader, &options).map_err(Failure::description)?;
    show_warnings(&loaded.sources, &loaded.warnings, output);
    Ok(loaded)
}

/// Loads the description that a command was given, to be looked at: also where its assertions do not hold, or what it says
/// contradicts itself. Warnings and what is broken are shown.
pub fn inspect(arguments: &DescriptionArgs, output: &Output) -> Result<(Loaded, Vec<Diagnostic>), Failure> {
    let (loader, options) = loader(arguments)?;
    let inspected = tycoon_lang::inspect(&arguments.file, &loader, &options).map_err(Failure::description)?;
    let (loaded, broken) = inspected;
    show_warnings(&loaded.sources, &loaded.warnings, output);
    show_warnings(&loaded.sources, &broken, output);
    Ok((loaded, broken))
}

/// Adds what is broken to what a command prints as data, where anything is.
pub fn add_broken(value: &mut Value, sources: &Sources, broken: &[Diagnostic]) {
    if !broken.is_empty() {
        value["errors"] = diagnostics_json(sources, broken);
    }
}

/// How a command ends that has shown a description: what is broken in it is an error.
pub fn exit_of(broken: &[Diagnostic]) -> Exit {
    if broken.is_empty() { Exit::Ok } else { Exit::Failed }
}

/// Checks a file, be it a pool or a library.
pub fn check(arguments: &DescriptionArgs) -> Result<Checked, Failure> {
    let (loader, options) = loader(arguments)?;
    tycoon_lang::check(&arguments.file, &loader, &options).map_err(Failure::description)
}

/// Shows warnings, or errors that end nothing, to people; as data they are part of a command's result.
pub fn show_warnings(sources: &Sources, warnings: &[Diagnostic], output: &Output) {
    if !warnings.is_empty() && !output.json {
        output.error(&render_diagnostics(sources, warnings, output.stderr));
    }
}

/// The text of one file.
pub fn read_text(path: &str, options: &Options) -> Result<String, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::from_error(Exit::Failed, error).context(&format!("{path} cannot be read"))
    };
    let bytes = FileLoader { max_bytes: options.max_file_bytes }.read(path).map_err(|error| failed(&error))?;
    if bytes.len() > options.max_file_bytes {
        return Err(Failure::new(Exit::Failed, format!("{path} is larger than {} MiB", options.max_file_bytes >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| failed(&error))
}

/// The description of the site that is used where no other is given.
const EMBEDDED_SITE: &str = include_str!("site/embedded.kdl");
/// The path under which it is shown.
const EMBEDDED_SITE_PATH: &str = "embedded.kdl";

/// Loads the description of the site that commands talk to: the one given by `--site`, or the embedded one.
pub fn load_site(output: &Output) -> Result<Site, Failure> {
    let options = Options::default();
    let loaded = match &output.site {
        Some(path) => {
            let loader = FileLoader { max_bytes: options.max_file_bytes };
            tycoon_lang::load_site(path, &loader, &options)
        }
        None => {
            let loader = MemoryLoader::new().with(EMBEDDED_SITE_PATH, EMBEDDED_SITE);
            tycoon_lang::load_site(EMBEDDED_SITE_PATH, &loader, &options)
        }
    };
    Ok(loaded.map_err(Failure::description)?.site)
}

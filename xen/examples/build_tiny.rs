//! Builds the image `std:tiny` from this host's packages: `build_tiny FOLDER`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: build_tiny FOLDER");
        return ExitCode::from(2);
    };
    match tycoon_xen::tiny::build_tiny(Path::new("/"), Path::new(&folder)) {
        Ok(image) => {
            println!("{image:#?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

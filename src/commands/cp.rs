//! `tycoon cp`: files to and from a domain.

use std::process::Command;
use std::str::FromStr;

use clap::Args;

use super::ssh::{EntryArgs, become_client};
use crate::domains::DomainName;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::site::Session;

/// Arguments of `tycoon cp`.
#[derive(Args, Debug)]
pub struct CpArgs {
    /// What to copy, and at last where to: files here, and POOL/DOMAIN:PATH for those in a domain
    #[arg(value_name = "FILE", num_args = 2.., required = true)]
    files: Vec<Operand>,
    /// Copy folders with all that is in them
    #[arg(long, short = 'r')]
    recursive: bool,
    /// How the domain is entered
    #[command(flatten)]
    entry: EntryArgs,
}

/// A file here, or in a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Operand {
    Here(String),
    There(DomainName, String),
}

impl Operand {
    /// The domain that it is in; `None` for a file here.
    const fn domain(&self) -> Option<&DomainName> {
        match self {
            Self::Here(_) => None,
            Self::There(domain, _) => Some(domain),
        }
    }
}

impl FromStr for Operand {
    type Err = String;

    /// What has a colon is in a domain, but what begins with `/` or `.` is here, whatever it is called.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a file must have a name".to_owned());
        }
        match text.split_once(':') {
            Some((domain, path)) if !text.starts_with(['/', '.']) => Ok(Self::There(
                domain.parse().map_err(|error| format!("{error}; write ./{text} for a file here with this name"))?,
                path.to_owned(),
            )),
            _ => Ok(Self::Here(text.to_owned())),
        }
    }
}

/// Becomes OpenSSH's `scp`, with the way into the domain.
pub fn run(arguments: &CpArgs, output: &Output) -> Result<Exit, Failure> {
    let domain = domain_of(&arguments.files)?;
    let session = Session::open(output, "tycoon cp")?;
    let way = arguments.entry.way(&session, domain, output)?;
    let mut scp = Command::new("scp");
    if arguments.recursive {
        scp.arg("-r");
    }
    scp.args(way.options).arg("--");
    for operand in &arguments.files {
        scp.arg(match operand {
            // So that scp does not take a colon in it for a host.
            Operand::Here(path) if path.starts_with('/') => path.clone(),
            Operand::Here(path) => format!("./{path}"),
            Operand::There(_, path) => format!("{}@{}:{path}", arguments.entry.login(), way.address),
        });
    }
    become_client(scp, session)
}

/// The one domain that files are copied to or from.
fn domain_of(files: &[Operand]) -> Result<&DomainName, Failure> {
    let wrong = |message: &str| {
        Failure::new(Exit::Usage, message).help(
            "write `tycoon cp notes.txt hello/web.0:/srv/` to copy into a domain, `tycoon cp hello/web.0:/var/log/syslog .` \
             to copy out of one; from one domain to another by way of a file here",
        )
    };
    let (target, sources) = files.split_last().ok_or_else(|| wrong("nothing is to be copied"))?;
    let there: Vec<&DomainName> = sources.iter().filter_map(Operand::domain).collect();
    match (target.domain(), &there[..]) {
        (Some(domain), []) => Ok(domain),
        (Some(_), _) => Err(wrong("both sides are in domains")),
        (None, []) => Err(wrong("neither side is in a domain")),
        (None, _) if there.len() < sources.len() => {
            Err(wrong("some of what is to be copied is here, and the target is here too"))
        }
        (None, [one, others @ ..]) if others.iter().all(|other| other == one) => Ok(one),
        (None, _) => Err(wrong("the files are in several domains: copy from one after the other")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[&str]) -> Vec<Operand> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_file_is_here_or_in_a_domain() {
        let there: DomainName = "hello/web.0".parse().unwrap();
        assert_eq!("hello/web.0:/etc/hosts".parse(), Ok(Operand::There(there.clone(), "/etc/hosts".into())));
        assert_eq!("hello/web.0:".parse(), Ok(Operand::There(there, String::new())));
        for here in ["notes.txt", "./a:b", "/tmp/a:b", "../x", "dir/file"] {
            assert_eq!(here.parse(), Ok(Operand::Here(here.into())));
        }
        let error = "A B:c".parse::<Operand>().unwrap_err();
        assert!(error.contains("./A B:c"), "{error}");
    }

    #[test]
    fn exactly_one_side_is_in_one_domain() {
        let domain: DomainName = "hello/web.0".parse().unwrap();
        assert_eq!(domain_of(&files(&["a", "b", "hello/web.0:/srv/"])).unwrap(), &domain);
        assert_eq!(domain_of(&files(&["hello/web.0:a", "hello/web.0:b", "."])).unwrap(), &domain);
        for wrong in [
            &["a", "b"][..],
            &["hello/web.0:a", "hello/web.1:b"],
            &["hello/web.0:a", "hello/web.1:b", "."],
            &["hello/web.0:a", "b", "."],
        ] {
            assert!(domain_of(&files(wrong)).is_err(), "{wrong:?}");
        }
    }
}

//! What is said of a host that becomes a member of a site.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use kdl::KdlValue;
use tycoon_market::{HostName, PublicKey};

/// What the owner says of the host. What is not given stays as it is in the machine's settings, or as it usually is.
#[derive(Args, Debug, Clone, Default)]
pub struct MemberArgs {
    /// The name by which the host is known [the machine's own]
    #[arg(long, value_name = "NAME")]
    pub name: Option<HostName>,
    /// The owner's keys, separated by commas: the account of the first one earns
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    pub owner: Vec<PublicKey>,
    /// The address of the bank that pays the host
    #[arg(long, value_name = "URL", requires = "bank_key")]
    pub bank: Option<String>,
    /// The key that the bank must have
    #[arg(long, value_name = "KEY", requires = "bank")]
    pub bank_key: Option<PublicKey>,
    /// The addresses of the service location services to register with, separated by commas
    #[arg(long, value_name = "URLS", value_delimiter = ',', requires = "sls_key")]
    pub sls: Vec<String>,
    /// The keys that they must have, in the same order
    #[arg(long, value_name = "KEYS", value_delimiter = ',', requires = "sls")]
    pub sls_key: Vec<PublicKey>,
    /// Where the host listens
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// The addresses at which clients reach the host, separated by commas
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    pub address: Vec<String>,
    /// What the owner says of the host, by which pools choose it: rack=a,disk=ssd
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',')]
    pub label: Vec<String>,
    /// The TLS certificate of the host and those that vouch for it (PEM) [one that it makes for its own key]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificates: Option<PathBuf>,
    /// The key of the TLS certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_certificates")]
    pub tls_key: Option<PathBuf>,
    /// A proxy in front speaks TLS: listen beyond the machine without it
    #[arg(long)]
    pub behind_proxy: bool,
    /// The TLS certificates (PEM) that the host trusts, instead of those that its operating system trusts
    #[arg(long, value_name = "FILE")]
    pub trusted_certificates: Option<PathBuf>,
    /// The base price of a CPU, in credits for an hour
    #[arg(long, value_name = "PRICE")]
    pub cpu_price: Option<f64>,
    /// The base price of a GiB of memory, in credits for an hour
    #[arg(long, value_name = "PRICE")]
    pub memory_price: Option<f64>,
    /// The base price of a GiB of disk, in credits for an hour
    #[arg(long, value_name = "PRICE")]
    pub disk_price: Option<f64>,
}

impl MemberArgs {
    /// Whether anything is said.
    pub fn is_silent(&self) -> bool {
        self.host_settings().is_empty() && self.prices().is_empty()
    }

    /// The settings of the market that are given, by name.
    pub fn host_settings(&self) -> Vec<(&'static str, KdlValue)> {
        let keys = |keys: &[PublicKey]| keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let texts = [
            ("name", self.name.as_ref().map(ToString::to_string)),
            ("owner", (!self.owner.is_empty()).then(|| keys(&self.owner))),
            ("bank", self.bank.clone()),
            ("bank-key", self.bank_key.map(|key| key.to_string())),
            ("sls", (!self.sls.is_empty()).then(|| self.sls.join(","))),
            ("sls-key", (!self.sls_key.is_empty()).then(|| keys(&self.sls_key))),
            ("listen", self.listen.map(|listen| listen.to_string())),
            ("address", (!self.address.is_empty()).then(|| self.address.join(","))),
            ("labels", (!self.label.is_empty()).then(|| self.label.join(","))),
            ("tls-certificates", self.tls_certificates.as_ref().map(path)),
            ("tls-key", self.tls_key.as_ref().map(path)),
            ("trusted-certificates", self.trusted_certificates.as_ref().map(path)),
        ];
        let given = texts.into_iter().filter_map(|(name, value)| Some((name, KdlValue::from(value?))));
        let proxy = self.behind_proxy.then_some(("behind-proxy", KdlValue::from(true)));
        given.chain(proxy).collect()
    }

    /// The prices that are given, by name.
    pub fn prices(&self) -> Vec<(&'static str, KdlValue)> {
        let prices =
            [("cpu-price", self.cpu_price), ("memory-price", self.memory_price), ("disk-price", self.disk_price)];
        prices.into_iter().filter_map(|(name, price)| Some((name, KdlValue::from(price?)))).collect()
    }

    /// The same as options of a command line.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (name, value) in self.host_settings().into_iter().chain(self.prices()) {
            let option = if name == "labels" { "label" } else { name };
            words.push(format!("--{option}"));
            match value {
                KdlValue::String(text) => words.push(text),
                KdlValue::Float(number) => words.push(number.to_string()),
                _ => {}
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        member: MemberArgs,
    }

    #[test]
    fn what_is_said_here_is_said_there() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
        let said = [
            "x",
            "--name",
            "xen1",
            "--owner",
            key,
            "--bank",
            "https://b:1",
            "--bank-key",
            key,
            "--sls",
            "https://s:1,https://t:1",
            "--sls-key",
            &format!("{key},{key}"),
            "--label",
            "rack=a,disk=ssd",
            "--behind-proxy",
            "--cpu-price",
            "0.25",
        ]
        .map(str::to_owned);
        let member = Line::parse_from(&said).member;
        let words = member.words();
        let again = Line::parse_from(std::iter::once("x".to_owned()).chain(words.clone())).member;
        assert_eq!(again.words(), words);
        assert_eq!(again.host_settings(), member.host_settings());
        assert!(!member.is_silent() && MemberArgs::default().is_silent());
    }
}

//! The rules that every hypervisor driver keeps, as checks that run on any of them.
//!
//! A driver's test gives its [`Surroundings`] and runs [`check_all`]. The checks make domains of an account of their
//! own and remove them again, so they can run on a real host beside others' domains. They need room for two small
//! domains, and an image.

use std::fmt;
use std::io::{self, Read as _};

use tycoon_market::{AccountId, PublicKey, ResourceKind, TimeSpan, Timestamp};

use crate::hypervisor::{Hypervisor, HypervisorError};
use crate::spec::{Addressing, Boot, CloudInit, DomainSpec, KeepVolumes, NicSpec, Ownership, RunRules, VolumeSpec};
use crate::status::{DomainState, DomainStatus, Kept};

/// Where a driver is checked.
pub trait Surroundings {
    /// Opens the host. It is called again after the one before is dropped, and must give the same host.
    fn open(&self) -> Result<Box<dyn Hypervisor>, HypervisorError>;

    /// The time.
    fn now(&self) -> Timestamp;

    /// Lets a time pass: a simulated one, or really.
    fn pass(&self, span: TimeSpan);

    /// An image that the host can provide and that boots.
    fn image(&self) -> String {
        "std:tiny".to_owned()
    }

    /// How long a guest may take to boot or to shut down.
    fn patience(&self) -> TimeSpan {
        TimeSpan::from_seconds(120)
    }
}

/// A rule, and how it is checked.
#[derive(Clone, Copy)]
pub struct Rule {
    /// The rule as a sentence.
    pub name: &'static str,
    check: fn(&Bench<'_>) -> Result<(), Violation>,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What was found instead of what the rule says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(String);

impl From<HypervisorError> for Violation {
    fn from(error: HypervisorError) -> Self {
        Self(error.to_string())
    }
}

/// All rules.
pub const RULES: &[Rule] = &[
    Rule { name: "facts are plain and say what there is to sell", check: facts_are_plain },
    Rule { name: "an image is fetched once", check: images_are_fetched_once },
    Rule { name: "an unknown image is refused by its name", check: unknown_images_are_refused },
    Rule { name: "volumes are made once, grow, and never shrink", check: volumes_grow_and_never_shrink },
    Rule { name: "volumes that do not fit are refused as a whole", check: too_large_volumes_leave_nothing },
    Rule { name: "a domain lives from definition to removal, each step once", check: a_whole_life },
    Rule { name: "a defined domain tells spec and ownership, also after reopening", check: definitions_last },
    Rule { name: "memory, weight and cap are set at once", check: running_domains_take_changes },
    Rule {
        name: "a suspended domain keeps its memory and goes on where it is started",
        check: suspended_domains_go_on,
    },
    Rule { name: "a running domain gets new CPUs at its next start", check: cpus_wait_for_the_next_start },
    Rule { name: "a domain keeps its address, and no two share one", check: addresses_are_stable_and_unique },
    Rule { name: "the name of somebody else's domain is refused", check: names_of_others_are_refused },
    Rule { name: "what does not exist is named in the refusal", check: missing_domains_are_refused },
    Rule { name: "a domain without its volumes does not start", check: no_start_without_volumes },
    Rule { name: "a volume that must be there already is not made", check: missing_volumes_are_not_made },
    Rule { name: "volumes that are kept are found again, by their owner alone", check: kept_volumes_are_found_again },
    Rule { name: "the blocks of a volume are read while nobody writes them", check: quiet_volumes_are_read },
    Rule { name: "the volumes of a suspended domain are read", check: suspended_volumes_are_read },
    Rule { name: "CPU time never falls and needs a running domain", check: cpu_time_counts_running },
    Rule { name: "foreign domains are listed and untouched", check: foreign_domains_stay },
];

/// Checks every rule, and returns the names of the broken ones with what was found.
pub fn check_all(surroundings: &dyn Surroundings) -> Vec<(&'static str, Violation)> {
    RULES.iter().filter_map(|rule| check(rule, surroundings).err().map(|violation| (rule.name, violation))).collect()
}

/// Checks one rule, and removes what the check made, also where the rule is broken.
pub fn check(rule: &Rule, surroundings: &dyn Surroundings) -> Result<(), Violation> {
    let bench = Bench { surroundings };
    bench.clear()?;
    let result = (rule.check)(&bench);
    let cleared = bench.clear();
    result.and(cleared)
}

/// What the checks work with: two small domains, `a` and `b`.
struct Bench<'a> {
    surroundings: &'a dyn Surroundings,
}

const MIB: u64 = 1 << 20;
/// Longer than any guest takes to stop, for graceful stops.
const GRACE_MS: u64 = 30_000;

impl Bench<'_> {
    fn open(&self) -> Result<Box<dyn Hypervisor>, Violation> {
        Ok(self.surroundings.open()?)
    }

    fn now(&self) -> Timestamp {
        self.surroundings.now()
    }

    fn account(&self, number: u8) -> Result<AccountId, Violation> {
        // Any valid point of the curve will do; nobody has its secret.
        (0..=u8::MAX)
            .find_map(|byte| {
                let mut bytes = [number; 32];
                bytes[31] = byte & 0x7f;
                PublicKey::from_bytes(bytes).ok()
            })
            .map(|key| AccountId::of(&key))
            .ok_or_else(|| Violation("no key could be made for the check".to_owned()))
    }

    fn spec(&self, path: &str) -> Result<DomainSpec, Violation> {
        let volume = |name: &str, mib: u64| VolumeSpec {
            name: name.to_owned(),
            size_bytes: mib * MIB,
            filesystem: None,
            copy_on_write: false,
            store: None,
            existing: false,
        };
        Ok(DomainSpec {
            path: path.parse().map_err(|error| Violation(format!("{error}")))?,
            hostname: path.to_owned(),
            vcpus: 1,
            memory_bytes: 128 * MIB,
            image: self.surroundings.image(),
            boot: Boot::default(),
            volumes: vec![volume("root", 256), volume("data", 16)],
            nics: vec![NicSpec::dhcp("eth0")],
            cloud_init: CloudInit::default(),
            keep_volumes: KeepVolumes::default(),
            save_image: None,
            rules: RunRules::default(),
        })
    }

    fn ownership(&self, spec: &DomainSpec) -> Result<Ownership, Violation> {
        Ok(Ownership {
            account: self.account(1)?,
            pool: "conformance".parse().map_err(|error| Violation(format!("{error}")))?,
            path: spec.path.clone(),
            generation: 1,
            digest: spec.digest(),
        })
    }

    /// Image, volumes and definition of a domain; its hypervisor name.
    fn define(&self, host: &dyn Hypervisor, spec: &DomainSpec) -> Result<String, Violation> {
        let ownership = self.ownership(spec)?;
        host.ensure_image(&spec.image)?;
        host.ensure_volumes(spec, &ownership)?;
        host.define(spec, &ownership, self.now())?;
        Ok(ownership.hypervisor_name())
    }

    fn status(&self, host: &dyn Hypervisor, name: &str) -> Result<DomainStatus, Violation> {
        host.domain(name, self.now())?.ok_or_else(|| Violation(format!("`{name}` is gone")))
    }

    fn wait_for(&self, host: &dyn Hypervisor, name: &str, state: DomainState) -> Result<DomainStatus, Violation> {
        let deadline = self.now().plus(self.surroundings.patience());
        loop {
            let status = self.status(host, name)?;
            if status.state == state {
                return Ok(status);
            }
            if self.now() >= deadline {
                let is = status.state.word();
                return Err(Violation(format!("`{name}` is {is} and did not become {} in time", state.word())));
            }
            self.surroundings.pass(TimeSpan::from_micros(500_000));
        }
    }

    /// Waits until the guest has given or taken what its memory differs by.
    fn wait_for_memory(&self, host: &dyn Hypervisor, name: &str, bytes: u64) -> Result<(), Violation> {
        let deadline = self.now().plus(self.surroundings.patience());
        loop {
            let has = self.status(host, name)?.memory_bytes;
            if has == bytes {
                return Ok(());
            }
            if self.now() >= deadline {
                return Err(Violation(format!(
                    "`{name}` has {has} bytes of memory and did not come to {bytes} in time"
                )));
            }
            self.surroundings.pass(TimeSpan::from_micros(500_000));
        }
    }

    /// Removes all domains of the checks.
    fn clear(&self) -> Result<(), Violation> {
        let host = self.open()?;
        let accounts = [self.account(1)?, self.account(2)?];
        for domain in host.domains(self.now())? {
            if domain.ownership.is_some_and(|owner| accounts.contains(&owner.account)) {
                host.remove(&domain.name, self.now())?;
            }
        }
        Ok(())
    }
}

fn same<T: PartialEq + fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), Violation> {
    if found == expected { Ok(()) } else { Err(Violation(format!("{what}: found {found:?}, expected {expected:?}"))) }
}

fn that(holds: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation(what())) }
}

fn facts_are_plain(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let facts = host.facts()?;
    that(!facts.architecture.is_empty() && !facts.hypervisor.is_empty(), || "architecture or name is empty".into())?;
    for kind in [ResourceKind::Cpu, ResourceKind::Memory, ResourceKind::Disk] {
        let entries = facts.capacity.iter().filter(|(of, _)| *of == kind).count();
        same(&format!("entries for {kind}"), entries, 1)?;
    }
    that(facts.images.is_sorted(), || format!("images are not in order: {:?}", facts.images))?;
    let image = bench.surroundings.image();
    that(facts.images.contains(&image), || format!("`{image}` is not among {:?}", facts.images))?;
    same("facts asked again", host.facts()?, facts)
}

fn images_are_fetched_once(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let image = bench.surroundings.image();
    host.ensure_image(&image)?;
    same("a second fetch", host.ensure_image(&image)?, false)?;
    drop(host);
    same("a fetch after reopening", bench.open()?.ensure_image(&image)?, false)
}

fn unknown_images_are_refused(bench: &Bench<'_>) -> Result<(), Violation> {
    let image = "no-such-image-anywhere";
    same("an unknown image", bench.open()?.ensure_image(image), Err(HypervisorError::NoImage(image.to_owned())))
}

fn volumes_grow_and_never_shrink(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let mut spec = bench.spec("a")?;
    let name = bench.define(&*host, &spec)?;
    let ownership = bench.ownership(&spec)?;
    same("the same volumes again", host.ensure_volumes(&spec, &ownership)?, false)?;
    let sizes = vec![("root".to_owned(), 256 * MIB), ("data".to_owned(), 16 * MIB)];
    same("the volumes", bench.status(&*host, &name)?.volumes, sizes)?;
    spec.volumes[1].size_bytes = 32 * MIB;
    same("a larger volume", host.ensure_volumes(&spec, &ownership)?, true)?;
    same("the larger volume again", host.ensure_volumes(&spec, &ownership)?, false)?;
    spec.volumes[1].size_bytes = 8 * MIB;
    same("a smaller volume", host.ensure_volumes(&spec, &ownership)?, false)?;
    let sizes = vec![("root".to_owned(), 256 * MIB), ("data".to_owned(), 32 * MIB)];
    same("the volumes afterwards", bench.status(&*host, &name)?.volumes, sizes)
}

fn too_large_volumes_leave_nothing(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let mut spec = bench.spec("a")?;
    let ownership = bench.ownership(&spec)?;
    host.ensure_image(&spec.image)?;
    spec.volumes[1].size_bytes = 1 << 60;
    match host.ensure_volumes(&spec, &ownership) {
        Err(HypervisorError::Full { kind: ResourceKind::Disk, .. }) => {}
        other => return Err(Violation(format!("a volume of an exbibyte: {other:?}"))),
    }
    same("what is left of it", host.domain(&ownership.hypervisor_name(), bench.now())?, None)?;
    same("removing what is left of it", host.remove(&ownership.hypervisor_name(), bench.now())?, false)
}

fn a_whole_life(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let spec = bench.spec("a")?;
    let ownership = bench.ownership(&spec)?;
    let name = ownership.hypervisor_name();
    host.ensure_image(&spec.image)?;
    same("the first volumes", host.ensure_volumes(&spec, &ownership)?, true)?;
    same("the first definition", host.define(&spec, &ownership, bench.now())?, true)?;
    same("the same definition again", host.define(&spec, &ownership, bench.now())?, false)?;
    same("a defined domain", bench.status(&*host, &name)?.state, DomainState::Stopped)?;
    same("stopping what does not run", host.stop(&name, GRACE_MS, bench.now())?, false)?;
    same("the first start", host.start(&name, bench.now())?, true)?;
    same("a second start", host.start(&name, bench.now())?, false)?;
    bench.wait_for(&*host, &name, DomainState::Running)?;
    same("defining a running domain again", host.define(&spec, &ownership, bench.now())?, false)?;
    same("the first stop", host.stop(&name, GRACE_MS, bench.now())?, true)?;
    bench.wait_for(&*host, &name, DomainState::Stopped)?;
    same("a second stop", host.stop(&name, GRACE_MS, bench.now())?, false)?;
    same("starting it again", host.start(&name, bench.now())?, true)?;
    same("a stop without grace", host.stop(&name, 0, bench.now())?, true)?;
    same("state after a stop without grace", bench.status(&*host, &name)?.state, DomainState::Stopped)?;
    same("starting it once more", host.start(&name, bench.now())?, true)?;
    same("removing it while it runs", host.remove(&name, bench.now())?, true)?;
    same("removing it again", host.remove(&name, bench.now())?, false)?;
    same("the removed domain", host.domain(&name, bench.now())?, None)
}

fn definitions_last(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let spec = bench.spec("a")?;
    let name = bench.define(&*host, &spec)?;
    let status = bench.status(&*host, &name)?;
    same("the spec", status.spec.as_ref(), Some(&spec))?;
    same("the ownership", status.ownership.clone(), Some(bench.ownership(&spec)?))?;
    same("CPUs and memory", (status.vcpus, status.memory_bytes), (spec.vcpus, spec.memory_bytes))?;
    drop(host);
    let host = bench.open()?;
    same("the domain after reopening", bench.status(&*host, &name)?, status)?;
    let newer = Ownership { generation: 2, ..bench.ownership(&spec)? };
    same("a newer generation", host.define(&spec, &newer, bench.now())?, true)?;
    same("the ownership afterwards", bench.status(&*host, &name)?.ownership, Some(newer))
}

fn running_domains_take_changes(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let mut spec = bench.spec("a")?;
    let name = bench.define(&*host, &spec)?;
    host.start(&name, bench.now())?;
    bench.wait_for(&*host, &name, DomainState::Running)?;
    host.set_cpu(&name, 512, 50, bench.now())?;
    host.set_cpu(&name, 512, 50, bench.now())?;
    let status = bench.status(&*host, &name)?;
    same("weight and cap", (status.weight, status.cap_percent), (512, 50))?;
    host.set_memory(&name, 112 * MIB, bench.now())?;
    bench.wait_for_memory(&*host, &name, 112 * MIB)?;
    spec.memory_bytes = 120 * MIB;
    let ownership = bench.ownership(&spec)?;
    same("a spec with other memory", host.define(&spec, &ownership, bench.now())?, true)?;
    bench.wait_for_memory(&*host, &name, 120 * MIB)?;
    same("the same spec again", host.define(&spec, &ownership, bench.now())?, false)?;
    let refusal = host.set_cpu(&name, 0, 0, bench.now());
    that(matches!(refusal, Err(HypervisorError::Refused { .. })), || format!("a weight of zero: {refusal:?}"))
}

fn suspended_domains_go_on(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let name = bench.define(&*host, &bench.spec("a")?)?;
    let refusal = host.suspend(&name, bench.now());
    that(matches!(refusal, Err(HypervisorError::Refused { .. })), || format!("one that does not run: {refusal:?}"))?;
    host.start(&name, bench.now())?;
    let memory = bench.wait_for(&*host, &name, DomainState::Running)?.memory_bytes;
    same("suspending it", host.suspend(&name, bench.now())?, true)?;
    same("suspending it again", host.suspend(&name, bench.now())?, false)?;
    let status = bench.status(&*host, &name)?;
    same("what it is then", (status.state, status.memory_bytes), (DomainState::Paused, memory))?;
    same("having it go on", host.start(&name, bench.now())?, true)?;
    same("having it go on again", host.start(&name, bench.now())?, false)?;
    bench.wait_for(&*host, &name, DomainState::Running)?;
    host.suspend(&name, bench.now())?;
    same("stopping it while it is suspended", host.stop(&name, GRACE_MS, bench.now())?, true)?;
    bench.wait_for(&*host, &name, DomainState::Stopped)?;
    Ok(())
}

fn quiet_volumes_are_read(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let spec = bench.spec("a")?;
    let name = bench.define(&*host, &spec)?;
    let begin = |volume: &str| begin_of(&*host, &name, volume);
    let root = begin("root")?;
    same("the size of the root volume", root.0, spec.volumes[0].size_bytes)?;
    that(begin("root")? == root, || "another content where nobody wrote".to_owned())?;
    let mut data = host.open_volume(&name, "data")?;
    let all = io::copy(&mut data.content, &mut io::sink());
    same("all bytes of another volume", all.ok(), Some(spec.volumes[1].size_bytes))?;
    let refusal = host.open_volume(&name, "none").map(drop);
    that(matches!(refusal, Err(HypervisorError::Refused { .. })), || {
        format!("a volume that is not there: {refusal:?}")
    })?;
    that(host.open_volume("no-such-domain", "root").is_err(), || "a domain that is not there".to_owned())?;
    let mut stream = host.open_volume(&name, "root")?;
    host.start(&name, bench.now())?;
    bench.wait_for(&*host, &name, DomainState::Running)?;
    let refusal = host.open_volume(&name, "root").map(drop);
    that(matches!(refusal, Err(HypervisorError::Refused { .. })), || format!("of one that runs: {refusal:?}"))?;
    let broken = io::copy(&mut stream.content, &mut io::sink());
    that(broken.is_err(), || "a domain was started while its volume was read, and nobody said so".to_owned())?;
    host.stop(&name, 0, bench.now())?;
    Ok(())
}

/// The size of a volume in bytes, and its first blocks.
fn begin_of(host: &dyn Hypervisor, name: &str, volume: &str) -> Result<(u64, Vec<u8>), Violation> {
    const BEGIN_BYTES: usize = 64 << 10;
    let mut stream = host.open_volume(name, volume)?;
    let mut begin = vec![0; BEGIN_BYTES];
    let read = stream.content.read_exact(&mut begin);
    read.map_err(|error| Violation(format!("`{volume}` of `{name}` cannot be read: {error}")))?;
    Ok((stream.bytes, begin))
}

fn suspended_volumes_are_read(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let spec = bench.spec("a")?;
    let name = bench.define(&*host, &spec)?;
    host.start(&name, bench.now())?;
    bench.wait_for(&*host, &name, DomainState::Running)?;
    host.suspend(&name, bench.now())?;
    let size = begin_of(&*host, &name, "root")?.0;
    same("the size of the root volume", size, spec.volumes[0].size_bytes)?;
    let mut stream = host.open_volume(&name, "root")?;
    host.start(&name, bench.now())?;
    let broken = io::copy(&mut stream.content, &mut io::sink());
    that(broken.is_err(), || "it went on while its volume was read, and nobody said so".to_owned())?;
    host.stop(&name, 0, bench.now())?;
    Ok(())
}

fn cpus_wait_for_the_next_start(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let mut spec = bench.spec("a")?;
    let name = bench.define(&*host, &spec)?;
    host.start(&name, bench.now())?;
    spec.vcpus = 2;
    bench.define(&*host, &spec)?;
    same("CPUs while it runs", bench.status(&*host, &name)?.vcpus, 1)?;
    host.stop(&name, 0, bench.now())?;
    host.start(&name, bench.now())?;
    same("CPUs after the next start", bench.status(&*host, &name)?.vcpus, 2)
}

fn addresses_are_stable_and_unique(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let mut addresses = Vec::new();
    for path in ["a", "b"] {
        let name = bench.define(&*host, &bench.spec(path)?)?;
        host.start(&name, bench.now())?;
        let first = bench.wait_for(&*host, &name, DomainState::Running)?.address;
        host.stop(&name, 0, bench.now())?;
        host.start(&name, bench.now())?;
        let second = bench.wait_for(&*host, &name, DomainState::Running)?.address;
        that(first.is_some(), || format!("`{name}` has no address"))?;
        same("the address after another start", second, first)?;
        addresses.push(first);
    }
    that(addresses[0] != addresses[1], || format!("both domains have the address {:?}", addresses[0]))?;
    let mut thief = bench.spec("thief")?;
    if let Some(address) = addresses[0] {
        thief.nics[0].address = Addressing::Static { address, prefix: 24, gateway: None };
        let refusal = host.define(&thief, &bench.ownership(&thief)?, bench.now());
        same("a static address that is taken", refusal, Err(HypervisorError::AddressTaken(address)))?;
    }
    Ok(())
}

fn names_of_others_are_refused(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let spec = bench.spec("a")?;
    let name = bench.define(&*host, &spec)?;
    let before = bench.status(&*host, &name)?;
    // Another account is another name, unless its id begins alike; then the driver must look closer.
    let other = Ownership { account: bench.account(2)?, ..bench.ownership(&spec)? };
    that(other.hypervisor_name() != name, || "the names of two accounts are alike".into())?;
    host.ensure_volumes(&spec, &other)?;
    same("the other's domain has its own place", host.define(&spec, &other, bench.now())?, true)?;
    same("the first domain", bench.status(&*host, &name)?, before)
}

fn missing_domains_are_refused(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let name = bench.ownership(&bench.spec("a")?)?.hypervisor_name();
    let missing = HypervisorError::NoDomain(name.clone());
    same("start", host.start(&name, bench.now()), Err(missing.clone()))?;
    same("stop", host.stop(&name, GRACE_MS, bench.now()), Err(missing.clone()))?;
    same("set_cpu", host.set_cpu(&name, 256, 0, bench.now()), Err(missing.clone()))?;
    same("set_memory", host.set_memory(&name, 128 * MIB, bench.now()), Err(missing))?;
    same("remove", host.remove(&name, bench.now()), Ok(false))
}

fn missing_volumes_are_not_made(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let mut spec = bench.spec("a")?;
    spec.volumes[1].existing = true;
    let ownership = bench.ownership(&spec)?;
    host.ensure_image(&spec.image)?;
    let refusal = host.ensure_volumes(&spec, &ownership);
    that(matches!(refusal, Err(HypervisorError::Refused { .. })), || format!("a volume that is missing: {refusal:?}"))?;
    same("what is left of it", host.domain(&ownership.hypervisor_name(), bench.now())?, None)
}

fn no_start_without_volumes(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let spec = bench.spec("a")?;
    let ownership = bench.ownership(&spec)?;
    host.ensure_image(&spec.image)?;
    host.define(&spec, &ownership, bench.now())?;
    let refusal = host.start(&ownership.hypervisor_name(), bench.now());
    that(matches!(refusal, Err(HypervisorError::Failed { .. })), || format!("a start without volumes: {refusal:?}"))?;
    host.ensure_volumes(&spec, &ownership)?;
    same("a start with volumes", host.start(&ownership.hypervisor_name(), bench.now())?, true)
}

fn kept_volumes_are_found_again(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let spec = bench.spec("a")?;
    let ownership = bench.ownership(&spec)?;
    let name = bench.define(&*host, &spec)?;
    host.start(&name, bench.now())?;
    let until = bench.now().plus(TimeSpan::from_seconds(1_000));
    let names = |volumes: &[(String, u64)]| volumes.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let wanted = bench.status(&*host, &name)?.leaving(&["data".to_owned()], until);
    let kept = wanted.ok_or_else(|| Violation("there is no volume `data` to be kept".to_owned()))?;
    same("keeping a volume of a running domain", host.keep(&name, &kept, bench.now())?, true)?;
    same("keeping it again", host.keep(&name, &kept, bench.now())?, false)?;
    let later = Kept { until: until.plus(TimeSpan::from_seconds(1_000)), ..kept.clone() };
    same("keeping it for longer", host.keep(&name, &later, bench.now())?, false)?;
    drop(host);
    let host = bench.open()?;
    let left = bench.status(&*host, &name)?;
    same("what is kept, after reopening", left.kept.clone(), Some(kept))?;
    same("what is left of the volumes", names(&left.volumes), vec!["data".to_owned()])?;
    same("whose it is", left.ownership.clone(), Some(ownership.clone()))?;
    same(
        "what is left of the domain",
        (left.spec.clone(), left.state, left.memory_bytes),
        (None, DomainState::Stopped, 0),
    )?;
    let missing = HypervisorError::NoDomain(name.clone());
    same("starting what is left", host.start(&name, bench.now()), Err(missing))?;
    same("the volumes of the next domain", host.ensure_volumes(&spec, &ownership)?, true)?;
    same("what is kept until it is defined", bench.status(&*host, &name)?.kept, left.kept)?;
    same("its definition", host.define(&spec, &ownership, bench.now())?, true)?;
    let again = bench.status(&*host, &name)?;
    same("what is kept then", again.kept.clone(), None)?;
    same("what it has found", again.adopted.clone(), vec!["data".to_owned()])?;
    same("what stays of it", again.stays_under(KeepVolumes::IfPreexisting), vec!["data".to_owned()])?;
    same("its start", host.start(&name, bench.now())?, true)?;
    let nothing = Kept { until, image: String::new(), volumes: vec![VolumeSpec::plain("other", MIB)] };
    same("keeping nothing that exists", host.keep(&name, &nothing, bench.now())?, true)?;
    same("what is left then", host.domain(&name, bench.now())?, None)
}

fn cpu_time_counts_running(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let name = bench.define(&*host, &bench.spec("a")?)?;
    let pause = TimeSpan::from_seconds(2);
    bench.surroundings.pass(pause);
    same("CPU time of a domain that never ran", bench.status(&*host, &name)?.cpu_time, TimeSpan::ZERO)?;
    let started = bench.now();
    host.start(&name, started)?;
    let mut last = bench.wait_for(&*host, &name, DomainState::Running)?.cpu_time;
    for _ in 0..3 {
        bench.surroundings.pass(pause);
        let used = bench.status(&*host, &name)?.cpu_time;
        that(used >= last, || format!("CPU time fell from {last} to {used}"))?;
        last = used;
    }
    that(!last.is_zero(), || "a running domain used no CPU at all".into())?;
    let most = bench.now().since(started);
    that(last <= most, || format!("one CPU gave {last} in {most}"))?;
    host.stop(&name, 0, bench.now())?;
    let stopped = bench.status(&*host, &name)?.cpu_time;
    bench.surroundings.pass(pause);
    same("CPU time of a stopped domain", bench.status(&*host, &name)?.cpu_time, stopped)
}

fn foreign_domains_stay(bench: &Bench<'_>) -> Result<(), Violation> {
    let host = bench.open()?;
    let now = bench.now();
    for foreign in host.domains(now)?.into_iter().filter(|domain| domain.ownership.is_none()) {
        let name = foreign.name.as_str();
        let taken = HypervisorError::NameTaken(name.to_owned());
        same("start of a foreign domain", host.start(name, now), Err(taken.clone()))?;
        same("stop of a foreign domain", host.stop(name, 0, now), Err(taken.clone()))?;
        same("set_cpu of a foreign domain", host.set_cpu(name, 1, 1, now), Err(taken.clone()))?;
        same("set_memory of a foreign domain", host.set_memory(name, MIB, now), Err(taken.clone()))?;
        same("remove of a foreign domain", host.remove(name, now), Err(taken))?;
        let after = bench.status(&*host, name)?;
        let unchanged = (after.state, after.memory_bytes, after.weight, after.cap_percent, after.volumes);
        let before = (foreign.state, foreign.memory_bytes, foreign.weight, foreign.cap_percent, foreign.volumes);
        same("the foreign domain", unchanged, before)?;
    }
    Ok(())
}

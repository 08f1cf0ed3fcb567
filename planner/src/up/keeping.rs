//! Volumes that outlive their domain: which stay where a domain is made anew, and how one that was removed takes up what
//! its host has kept of it.

use tycoon_xen::save::SaveImage;
use tycoon_xen::spec::{DomainSpec, VolumeSpec};
use tycoon_xen::status::{DomainStatus, Kept};

use super::{Draft, Placed};
use crate::difference::{self, Shrinking};
use crate::error::PlanError;
use crate::fit::Candidate;
use crate::plan::Change;
use crate::world::World;

impl Draft<'_> {
    /// A domain whose volumes a host has kept is made there or not at all: elsewhere it would begin with empty ones.
    pub(super) fn check_takes_up(
        &self,
        candidate: &Candidate<'_>,
        number: usize,
        now: &DomainStatus,
    ) -> Result<(), PlanError> {
        let host = &self.world.hosts[number];
        let Some(misfit) = self.rules.misfit(host, &self.rooms[number], candidate) else { return Ok(()) };
        let path = &candidate.spec.path;
        let pool = now.ownership.as_ref().map(|own| format!("{}/", own.pool)).unwrap_or_default();
        Err(PlanError::Unsound {
            problem: format!(
                "the volumes of `{path}` are kept on {}, and it cannot be there: {} {}",
                host.name,
                host.name,
                misfit.reason()
            ),
            help: format!(
                "change that; or give the volumes up with `tycoon volumes remove {pool}{path}`, and it begins anew elsewhere"
            ),
            span: Some(candidate.domain.span),
        })
    }

    /// Refuses what describes a volume as existing that no host has.
    pub(super) fn check_existing(&self) -> Result<(), PlanError> {
        for candidate in self.wanted {
            let placed = self.domains.get(&candidate.spec.path);
            if placed.is_some_and(|placed| placed.now.is_none()) {
                // Its host does not answer, and it is left as it is.
                continue;
            }
            let has = |name: &str| {
                let now = placed.and_then(|placed| placed.now);
                now.is_some_and(|now| now.volumes.iter().any(|(volume, _)| volume == name))
            };
            let lacking = candidate.domain.volumes.iter().find(|volume| volume.existing && !has(&volume.name));
            let Some(volume) = lacking else { continue };
            return Err(PlanError::Unsound {
                problem: format!(
                    "the volume `{}` of `{}` is described as existing, and no host that can be asked has it",
                    volume.name, candidate.spec.path
                ),
                help: "`tycoon volumes` lists what there is; take `existing=#true` away, and the volume is made".into(),
                span: Some(volume.span),
            });
        }
        Ok(())
    }

    /// Refuses to make a domain anew from an image that its host lacks, where it has volumes that are to be kept.
    pub(super) fn check_stays(&self, placed: &Placed<'_>) -> Result<(), PlanError> {
        if !placed.is_bound() {
            return Ok(());
        }
        let (host, spec) = (&self.world.hosts[placed.host].name, &placed.candidate.spec);
        Err(PlanError::Unsound {
            problem: format!(
                "{host} has no image `{}`, and the volumes of `{}`, which are to be kept there, do not move",
                spec.image, spec.path
            ),
            help: "take an image that the host has, or take the pool down and give the volumes up with `tycoon volumes remove`"
                .into(),
            span: Some(placed.candidate.domain.span),
        })
    }
}

impl Placed<'_> {
    /// True where it has volumes that are to be kept: then it stays on their host.
    pub(super) fn is_bound(&self) -> bool {
        self.now.is_some_and(|now| !keepable(now, self.candidate).is_empty())
    }
}

/// A spec whose existing volumes are what was found: as they were made, and as large at least.
pub(super) fn as_found(mut spec: DomainSpec, world: &World) -> DomainSpec {
    let is_its = |status: &&DomainStatus| status.ownership.as_ref().is_some_and(|own| own.path == spec.path);
    let copies: Vec<&DomainStatus> = world.hosts.iter().flat_map(|host| &host.domains).filter(is_its).collect();
    for volume in spec.volumes.iter_mut().filter(|volume| volume.existing) {
        let described = |status: &&DomainStatus| {
            let of_domain = status.spec.as_ref().map(|spec| &spec.volumes);
            let all = of_domain.or(status.kept.as_ref().map(|kept| &kept.volumes));
            all.and_then(|all| all.iter().find(|known| known.name == volume.name)).cloned()
        };
        if let Some(found) = copies.iter().find_map(described) {
            *volume = VolumeSpec { existing: true, size_bytes: found.size_bytes.max(volume.size_bytes), ..found };
        }
    }
    spec
}

/// The volumes of a domain that its description, as it was or as it is, keeps at its end, or takes as existing.
pub(super) fn keepable(now: &DomainStatus, candidate: &Candidate<'_>) -> Vec<String> {
    let wanted = &candidate.spec;
    let (stayed, stays) = (now.stays_at_end(), now.stays_under(wanted.keep_volumes));
    let is_existing = |name: &str| wanted.volumes.iter().any(|volume| volume.existing && volume.name == name);
    let is_kept = |name: &String| stayed.contains(name) || stays.contains(name) || is_existing(name);
    now.volumes.iter().map(|(name, _)| name).filter(|name| is_kept(name)).cloned().collect()
}

/// The volumes that stay where a domain is made anew.
pub(super) fn keeps(placed: &Placed<'_>) -> Vec<String> {
    match (&placed.change, placed.now) {
        (Change::Replace { from: None, .. }, Some(now)) => {
            let before = before(now, placed.candidate);
            difference::survivors(&before, &placed.candidate.spec, keepable(now, placed.candidate))
        }
        _ => Vec::new(),
    }
}

/// Where the root volume of a domain that is made anew is saved first, as the description said when it was last brought up. A
/// root volume that stays is not lost, and a domain of which only volumes are kept was saved when it was removed.
pub(super) fn saves(placed: &Placed<'_>) -> Option<SaveImage> {
    match (&placed.change, placed.now) {
        (Change::Replace { .. }, Some(now)) if !keeps(placed).iter().any(|name| name == "root") => now.saved_at_end(),
        _ => None,
    }
}

/// What a domain was made from, as far as something of it is there; for the rest, what it should be.
fn before(now: &DomainStatus, candidate: &Candidate<'_>) -> DomainSpec {
    let wanted = &candidate.spec;
    match (&now.spec, &now.kept) {
        (Some(spec), _) => spec.clone(),
        (None, Some(kept)) => {
            let image = if kept.has("root") { &kept.image } else { &wanted.image };
            DomainSpec { image: image.clone(), volumes: kept.volumes.clone(), ..wanted.clone() }
        }
        (None, None) => wanted.clone(),
    }
}

/// What happens to a domain of which a host has kept volumes.
pub(super) fn taken_up(kept: &Kept, now: &DomainStatus, candidate: &Candidate<'_>) -> Result<Change, Shrinking> {
    let volumes = kept.volumes.iter().map(|volume| volume.name.clone()).collect();
    Ok(match difference::change(&before(now, candidate), &candidate.spec, None)? {
        Change::Update { fields, .. } => Change::TakeUp { volumes, fields },
        change @ Change::Replace { .. } => change,
        _ => Change::TakeUp { volumes, fields: Vec::new() },
    })
}

//! A plan: what will change, where, for how much, in which order, and why.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tycoon_market::bid::Bid;
use tycoon_market::ids::EscrowId;
use tycoon_market::{
    AccountId, Credits, HostId, HostName, PoolName, Quantity, Rate, ResourceKind, TimeSpan, Timestamp,
};
use tycoon_xen::save::SaveImage;
use tycoon_xen::spec::{DomainPath, DomainSpec};

use crate::world::{HostView, Period};

/// A plan, complete: the executor has no choice left to make. It never changes once made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The digest of all of it.
    pub id: PlanId,
    /// The plan it follows on.
    pub parent: Option<PlanId>,
    /// One more than the newest generation known; hosts refuse older ones.
    pub generation: u64,
    /// The pool.
    pub pool: PoolName,
    /// Whose it is.
    pub account: AccountId,
    /// When it was made.
    pub created_at: Timestamp,
    /// What it is for.
    pub goal: Goal,
    /// The budget period it belongs to; none for a pool that goes down.
    pub period: Option<Period>,
    /// Every domain of the pool, and every one that is no longer in it, ordered by path.
    pub domains: Vec<DomainPlan>,
    /// Every host that the pool uses or leaves, ordered by name.
    pub hosts: Vec<HostPlan>,
    /// What is done; a step comes after those it needs.
    pub steps: Vec<Step>,
    /// Why it is so.
    pub report: Report,
    /// The money in it.
    pub money: Money,
}

impl Plan {
    /// True where the world already is as it should be.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How many domains change in the given way.
    pub fn count(&self, matches: impl Fn(&Change) -> bool) -> usize {
        self.domains.iter().filter(|domain| matches(&domain.change)).count()
    }

    /// True where carrying it out deletes a disk.
    pub fn destroys(&self) -> bool {
        self.domains.iter().any(DomainPlan::destroys)
    }

    /// The plan of one host.
    pub fn host(&self, id: &HostId) -> Option<&HostPlan> {
        self.hosts.iter().find(|host| host.id == *id)
    }

    /// True where any host in it is simulated.
    pub fn is_simulated(&self) -> bool {
        self.hosts.iter().any(|host| host.is_simulated) || self.report.hosts.iter().any(|verdict| verdict.is_simulated)
    }
}

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// The pool as described.
    Up,
    /// No pool.
    Down,
}

/// The id of a plan: the digest of its content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlanId(u128);

impl PlanId {
    /// The id of a digest.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The id's bytes.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The first eight digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlanId({self})")
    }
}

impl TryFrom<String> for PlanId {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(Self)
    }
}

impl From<PlanId> for String {
    fn from(id: PlanId) -> Self {
        id.to_string()
    }
}

/// What happens to one domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DomainPlan {
    /// The domain.
    pub path: DomainPath,
    /// What happens to it.
    pub change: Change,
    /// Where it will be; where it was, for one that is removed.
    pub host: HostId,
    /// That host's name.
    pub host_name: HostName,
    /// What it should be; none for one that is removed.
    pub spec: Option<DomainSpec>,
    /// The CPU it can expect while everybody is busy, in micro-CPUs.
    pub expected_cpu: Option<Quantity>,
    /// Its part of what its host account pays at most.
    pub rate: Option<Rate>,
    /// The names of its volumes that exist and stay on their host when it is removed, or removed and made anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keeps: Vec<String>,
    /// Where its root volume is saved before it is removed, or removed and made anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saves: Option<SaveImage>,
    /// True where one of its volumes is deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletes: bool,
}

impl DomainPlan {
    /// True where a disk is deleted.
    pub const fn destroys(&self) -> bool {
        self.deletes
    }
}

/// What happens to a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Change {
    /// Nothing.
    Keep,
    /// It is made and started.
    Create,
    /// It was removed, and its host has kept volumes of it: it is made again with them, and started.
    TakeUp {
        /// The names of the volumes that it finds.
        volumes: Vec<String>,
        /// What of them changes: they grow, others are added.
        fields: Vec<FieldChange>,
    },
    /// It exists and does not run: it is started.
    Start {
        /// What it was found to be.
        found: String,
    },
    /// It is changed where it is.
    Update {
        /// What differs.
        fields: Vec<FieldChange>,
        /// True where it has to be stopped and started for it.
        restart: bool,
    },
    /// It is removed with its disks and made anew, on the same host or another.
    Replace {
        /// What differs.
        fields: Vec<FieldChange>,
        /// The host it leaves, where that is another.
        from: Option<(HostId, HostName)>,
        /// Why it cannot be changed where it is.
        why: String,
    },
    /// It is stopped and removed with its disks.
    Remove,
}

impl Change {
    /// The sign it is listed with.
    pub const fn sign(&self) -> char {
        match self {
            Self::Keep => ' ',
            Self::Create | Self::TakeUp { .. } => '+',
            Self::Start { .. } | Self::Update { .. } => '~',
            Self::Replace { .. } => '±',
            Self::Remove => '-',
        }
    }
}

/// One value that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// What it is: `memory`, `root size`.
    pub field: String,
    /// What it is now, for people.
    pub from: String,
    /// What it will be, for people.
    pub to: String,
}

/// What happens on the market of one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostPlan {
    /// The host.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
    /// True where it exists only in a process.
    pub is_simulated: bool,
    /// The bid that will stand, and whether it is new; none where the pool leaves the host.
    pub bid: Option<PlannedBid>,
    /// What the minima of the bid reserve: what a quote must hold.
    pub minima: BTreeMap<ResourceKind, Quantity>,
    /// What the plan expects to hold of each resource while everybody is busy.
    pub expected: BTreeMap<ResourceKind, Quantity>,
    /// What is put in escrow anew.
    pub escrow: Option<PlannedEscrow>,
    /// Escrows left by an interrupted plan that are used now.
    pub redeem: Vec<EscrowId>,
    /// What is taken out of the host account.
    pub refund: Credits,
    /// What is left to bid with after a refund.
    pub leave: Credits,
    /// True where the host account is closed and everything in it comes back.
    pub closes: bool,
}

impl HostPlan {
    /// A host on whose market nothing happens.
    pub(crate) fn untouched(host: &HostView) -> Self {
        Self {
            id: host.id,
            name: host.name.clone(),
            is_simulated: host.is_simulated,
            bid: None,
            minima: BTreeMap::new(),
            expected: BTreeMap::new(),
            escrow: None,
            redeem: Vec::new(),
            refund: Credits::ZERO,
            leave: Credits::ZERO,
            closes: false,
        }
    }
}

/// The bid a plan leaves standing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedBid {
    /// What it pays at most, all resources together.
    pub rate: Rate,
    /// What of it goes to each resource.
    pub rates: BTreeMap<ResourceKind, Rate>,
    /// The bid to send; none where the one that stands is kept.
    pub bid: Option<Bid>,
}

/// Money to be set aside at the bank for one host account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedEscrow {
    /// The id the client gives it, so that a repeated request is the same escrow.
    pub id: EscrowId,
    /// How much.
    pub amount: Credits,
    /// For how long at most.
    pub longest: TimeSpan,
    /// The highest rate at which the host may draw it.
    pub highest_rate: Rate,
}

/// The number of a step in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub u32);

/// One thing to do. Every step is an *ensure*: it may be repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its number.
    pub id: StepId,
    /// The host it concerns.
    pub host: HostId,
    /// What is done.
    pub action: Action,
    /// The steps that must have succeeded before it.
    pub needs: Vec<StepId>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// Sets money aside at the bank.
    OpenEscrow {
        /// The escrow.
        escrow: PlannedEscrow,
    },
    /// Hands the bank's receipt to the host, which credits the host account.
    Fund {
        /// The escrow whose receipt it is.
        escrow: EscrowId,
    },
    /// Sets the bid.
    Bid {
        /// The bid.
        bid: Bid,
    },
    /// Takes money out of the host account, back to the payer.
    Refund {
        /// What shall be left, so that the step may be repeated.
        leave: Credits,
        /// How much that takes out, as the plan sees it.
        amount: Credits,
    },
    /// Closes the host account; what is left returns to the payer.
    CloseAccount,
    /// Has the image in the host's cache.
    EnsureImage {
        /// The image.
        image: String,
    },
    /// Has the volumes of a domain.
    EnsureVolumes {
        /// The domain.
        spec: DomainSpec,
    },
    /// Has the domain defined.
    EnsureDomain {
        /// The domain.
        spec: DomainSpec,
    },
    /// Has the domain running, and waits until it is.
    EnsureRunning {
        /// The domain.
        path: DomainPath,
    },
    /// Waits until something in the domain listens.
    EnsureListening {
        /// The domain.
        path: DomainPath,
        /// The TCP port.
        port: u16,
        /// The longest that may take.
        within: TimeSpan,
    },
    /// Has the domain stopped.
    EnsureStopped {
        /// The domain.
        path: DomainPath,
    },
    /// Saves the root volume of the domain, which is stopped, on the machine that carries the plan out.
    SaveImage {
        /// The domain.
        path: DomainPath,
        /// Where and how.
        save: SaveImage,
    },
    /// Has the domain and its disks gone, but for those that are kept.
    EnsureAbsent {
        /// The domain.
        path: DomainPath,
        /// The names of the volumes that stay.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keep: Vec<String>,
    },
}

impl Action {
    /// The domain it concerns, where it concerns one.
    pub const fn domain(&self) -> Option<&DomainPath> {
        match self {
            Self::EnsureVolumes { spec } | Self::EnsureDomain { spec } => Some(&spec.path),
            Self::EnsureRunning { path }
            | Self::EnsureListening { path, .. }
            | Self::EnsureStopped { path }
            | Self::SaveImage { path, .. }
            | Self::EnsureAbsent { path, .. } => Some(path),
            _ => None,
        }
    }

    /// What is being done, for progress: `funding`, `starting web.0`.
    pub fn describe(&self) -> String {
        match self {
            Self::OpenEscrow { escrow } => format!("putting {} credits in escrow", escrow.amount.rounded(2)),
            Self::Fund { .. } => "funding the host account".into(),
            Self::Bid { .. } => "bidding".into(),
            Self::Refund { amount, .. } => format!("taking back {} credits", amount.rounded(2)),
            Self::CloseAccount => "closing the host account".into(),
            Self::EnsureImage { image } => format!("fetching image {image}"),
            Self::EnsureVolumes { spec } => format!("making the disks of {}", spec.path),
            Self::EnsureDomain { spec } => format!("defining {}", spec.path),
            Self::EnsureRunning { path } => format!("starting {path}"),
            Self::EnsureListening { path, port, .. } => format!("waiting for TCP port {port} of {path}"),
            Self::EnsureStopped { path } => format!("stopping {path}"),
            Self::SaveImage { path, .. } => format!("saving the root volume of {path}"),
            Self::EnsureAbsent { path, .. } => format!("removing {path}"),
        }
    }
}

/// Why a plan is as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Every host that was looked at, ordered by name.
    pub hosts: Vec<HostVerdict>,
    /// What else is worth saying.
    pub notes: Vec<String>,
    /// Hosts that could not be asked and may hold something of the pool. While there are any, the pool is not known to
    /// be as described, and not known to be gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreached: Vec<Unreached>,
}

/// A host that could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreached {
    /// The host.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
    /// Why, as the rest of a sentence that starts with its name: `cannot be asked: …`.
    pub why: String,
}

/// What was found of one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostVerdict {
    /// The host.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
    /// True where it exists only in a process.
    pub is_simulated: bool,
    /// True where domains of the pool will be on it.
    pub is_taken: bool,
    /// Why, or why not.
    pub why: String,
    /// What one more of the pool's first domain would cost there, where it could be there: with all the CPU that it can
    /// use; on a host that is crowded with the least that it is content with.
    pub price: Option<Rate>,
    /// True where one more would make the pool's domains want more CPU than the host has for one pool.
    #[serde(default)]
    pub is_crowded: bool,
}

/// The money in a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// What the pool pays at most once the plan is carried out, all hosts together.
    pub rate: Rate,
    /// What is put in escrow by this plan.
    pub escrow: Credits,
    /// What this plan takes back, at least: a closed account returns all it has left.
    pub refund: Credits,
    /// What the account holds before it.
    pub balance: Credits,
}

/// The id of a plan: the digest of what it is for, where it comes from, and everything it does.
pub(crate) fn digest(plan: &Plan) -> PlanId {
    let mut hash = Sha256::new();
    let mut field = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    // `Debug` of plain data is deterministic; the id only has to be the same for the same plan of the same program.
    field(&format!("{:?}{:?}{}{:?}", plan.parent, plan.goal, plan.generation, plan.created_at));
    field(&format!("{}{}", plan.account, plan.pool));
    field(&format!("{:?}", plan.steps));
    PlanId::from_bytes(first_half(hash))
}

/// Gives every escrow of a plan its id, made from the plan's: the same plan opens the same escrow, however often.
pub(crate) fn name_escrows(plan: &mut Plan) {
    let mut names = BTreeMap::new();
    for host in &mut plan.hosts {
        if let Some(escrow) = &mut host.escrow {
            let hash = Sha256::new()
                .chain_update(b"tycoon escrow of a plan v1\0")
                .chain_update(plan.id.to_bytes())
                .chain_update(host.id.as_bytes());
            escrow.id = EscrowId::from_bytes(first_half(hash));
            names.insert(host.id, *escrow);
        }
    }
    let unnamed = EscrowId::from_bytes([0; 16]);
    for step in &mut plan.steps {
        let Some(named) = names.get(&step.host) else { continue };
        match &mut step.action {
            Action::OpenEscrow { escrow } => *escrow = *named,
            Action::Fund { escrow } if *escrow == unnamed => *escrow = named.id,
            _ => {}
        }
    }
}

fn first_half(hash: Sha256) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

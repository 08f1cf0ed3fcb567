//! From the generic tree to the typed pool.

use std::net::IpAddr;
use std::sync::Arc;

use tycoon_market::{Credits, PoolName, Quantity, ResourceKind, TimeSpan};

use crate::pool::{
    Address, Bid, BidResource, BidStrategy, BidWeight, Budget, CloudFile, CloudInit, Domain, FileSystem, Forward,
    Group, Host, KeepVolumes, Liveness, Need, Nic, Output, Placement, Pool, PriceModel, ReBid, Ready, Restart,
    RestartWhen, SaveImage, Scheduler, SchedulerPolicy, StartAfter, Store, UpState, Volume, WhenSpent, workflow,
};
use crate::tree::{Component, NodeKind};
use crate::value::Value;

/// The path inside the pool of a component that a value names.
pub(crate) fn inside(value: &Value, pool: &str) -> Option<String> {
    match value {
        Value::Component(component) => {
            let path = component.path();
            Some(path.strip_prefix(pool).map_or(path, |rest| rest.trim_start_matches('.')).to_owned())
        }
        _ => None,
    }
}

/// The paths inside the pool of the components that a value names.
pub(crate) fn paths(value: &Value, pool: &str) -> Vec<String> {
    value.as_list().iter().filter_map(|value| inside(value, pool)).collect()
}

fn text(node: &Component, name: &str) -> Option<String> {
    node.value(name).as_text().map(str::to_owned)
}

fn word<'a>(node: &'a Component, name: &str) -> &'a str {
    node.value(name).as_text().unwrap_or_default()
}

fn number(node: &Component, name: &str) -> f64 {
    node.value(name).as_number().unwrap_or_default()
}

fn whole(node: &Component, name: &str) -> Option<u32> {
    node.value(name).as_integer().map(|value| u32::try_from(value).unwrap_or(u32::MAX))
}

fn flag(node: &Component, name: &str) -> bool {
    node.value(name).as_boolean().unwrap_or_default()
}

fn span_of(node: &Component, name: &str) -> TimeSpan {
    node.value(name).as_duration().unwrap_or(TimeSpan::ZERO)
}

/// What a domain takes over from what is around it.
#[derive(Clone, Default)]
struct Around {
    placement: Placement,
    start_after: Vec<StartAfter>,
    by_workflow: bool,
    host: Option<String>,
}

/// The typed pool of a checked tree. The schemas guarantee what is looked up here; what they leave open has a
/// neutral value.
pub(crate) fn pool(root: &Component, name: PoolName, assertions: Vec<super::Assertion>) -> Pool {
    let mut pool = Pool {
        name,
        budget: root.child("budget").map(budget),
        bid: root.child("bid").map(bid),
        placement: placement(root, &root.name),
        groups: Vec::new(),
        domains: Vec::new(),
        needs: Vec::new(),
        hosts: Vec::new(),
        schedulers: Vec::new(),
        workflows: Vec::new(),
        assertions,
        outputs: Vec::new(),
        span: root.span,
    };
    outputs("", root, &mut pool);
    visit("", root, &Around::default(), &mut pool, &root.name);
    pool
}

fn outputs(path: &str, component: &Component, pool: &mut Pool) {
    for attribute in component.attributes().filter(|attribute| attribute.output) {
        pool.outputs.push(Output {
            path: path.to_owned(),
            name: attribute.name.to_string(),
            value: attribute.value.clone(),
            span: attribute.span,
        });
    }
}

fn visit(path: &str, parent: &Component, around: &Around, pool: &mut Pool, root: &str) {
    // Domains of one class share what they contain, and stand one after another.
    let mut contents: Option<(&Arc<[Component]>, Contents)> = None;
    for child in parent.children.iter().filter(|child| child.node == NodeKind::Component) {
        let mut own_path = String::with_capacity(path.len() + 24);
        if !path.is_empty() {
            own_path.push_str(path);
            own_path.push('.');
        }
        child.write_label(&mut own_path);
        if let Some(need) = child.need {
            let count = parent.children.iter().filter(|other| other.name == child.name && other.key.is_some()).count();
            let component = if path.is_empty() { child.name.to_string() } else { format!("{path}.{}", child.name) };
            pool.needs.push(Need { component, count: u32::try_from(count).unwrap_or(u32::MAX), need });
        }
        outputs(&own_path, child, pool);
        match &*child.kind {
            "domain" => {
                let known = match contents.take() {
                    Some((of, known)) if Arc::ptr_eq(of, &child.children) => known,
                    _ => Contents::of(child, around, root),
                };
                pool.domains.push(domain(own_path, child, around, known.clone()));
                contents = Some((&child.children, known));
            }
            "group" => {
                let own = placement(child, root);
                let inner = within(around, child, &own, root);
                if !own.is_empty() {
                    pool.groups.push(Group { path: own_path.clone(), placement: own, span: child.span });
                }
                visit(&own_path, child, &inner, pool, root);
            }
            "host" => {
                let address = text(child, "address").unwrap_or_default();
                let mut inner = within(around, child, &Placement::default(), root);
                inner.host = Some(address.clone());
                pool.hosts.push(Host { path: own_path.clone(), address, span: child.span });
                visit(&own_path, child, &inner, pool, root);
            }
            "scheduler" => pool.schedulers.push(scheduler(&own_path, child)),
            "workflow" => pool.workflows.push(workflow::workflow(&own_path, child, root)),
            _ => {}
        }
    }
}

/// What the inside of a group or host takes over.
fn within(around: &Around, component: &Component, own: &Placement, root: &str) -> Around {
    let mut inner = around.clone();
    inner.placement = joined(&around.placement, own);
    inner.start_after.extend(start_after(component, root, false));
    inner.by_workflow |= word(component, "start") == "by-workflow";
    inner
}

/// Conditions add up; a nearer scheduler wins; `max-per-host` counts the domains of its own component only.
fn joined(outer: &Placement, inner: &Placement) -> Placement {
    let mut result = outer.clone();
    result.max_per_host = None;
    result.require.extend(inner.require.iter().cloned());
    result.prefer.extend(inner.prefer.iter().cloned());
    result.avoid.extend(inner.avoid.iter().cloned());
    result.by = inner.by.clone().or(result.by);
    result
}

fn budget(node: &Component) -> Budget {
    let credits = |name: &str| node.value(name).as_credits().unwrap_or(Credits::ZERO);
    Budget {
        amount: credits("amount"),
        duration: span_of(node, "for"),
        reserve: credits("reserve"),
        when_spent: match word(node, "when-spent") {
            "suspend" => WhenSpent::Suspend,
            "terminate" => WhenSpent::Terminate,
            _ => WhenSpent::Drain,
        },
        span: node.span,
    }
}

fn bid(node: &Component) -> Bid {
    let weight = match node.child("weight") {
        Some(weight) => BidWeight {
            cpu: number(weight, "cpu"),
            memory: number(weight, "memory"),
            disk: number(weight, "disk"),
            network_in: number(weight, "network-in"),
            network_out: number(weight, "network-out"),
        },
        None => BidWeight { cpu: 1.0, memory: 0.0, disk: 0.0, network_in: 0.0, network_out: 0.0 },
    };
    Bid {
        strategy: if word(node, "strategy") == "fixed" { BidStrategy::Fixed } else { BidStrategy::BestResponse },
        confidence: number(node, "confidence"),
        model: match word(node, "model") {
            "maximum-entropy" => PriceModel::MaximumEntropy,
            "cantelli" => PriceModel::Cantelli,
            "empirical" => PriceModel::Empirical,
            _ => PriceModel::Normal,
        },
        weight,
        resources: node.items("resource").filter_map(resource).collect(),
        re_bid: node.child("re-bid").map(|node| ReBid { every: span_of(node, "every"), when: condition(node, "when") }),
        span: node.span,
    }
}

fn resource(node: &Component) -> Option<BidResource> {
    let kind = match word(node, "kind") {
        "cpu" => ResourceKind::Cpu,
        "memory" => ResourceKind::Memory,
        "disk" => ResourceKind::Disk,
        "network-in" => ResourceKind::NetworkIn,
        "network-out" => ResourceKind::NetworkOut,
        _ => return None,
    };
    let amount = |bound: &str| {
        let plain = node.value(bound).as_number().map(|cpus| Quantity::new((cpus * 1e6).round() as u64));
        let bytes = node.value(&format!("{bound}-bytes")).as_bytes().map(Quantity::from_bytes);
        let bits = match node.value(&format!("{bound}-bandwidth")) {
            Value::Bandwidth(bits) => Some(Quantity::new(*bits)),
            _ => None,
        };
        match kind {
            ResourceKind::Cpu => plain,
            ResourceKind::Memory | ResourceKind::Disk => bytes,
            ResourceKind::NetworkIn | ResourceKind::NetworkOut => bits,
        }
    };
    Some(BidResource {
        kind,
        weight: number(node, "weight"),
        min: amount("min"),
        max: amount("max"),
        contingency: number(node, "contingency"),
        span: node.span,
    })
}

fn condition(node: &Component, name: &str) -> Option<Arc<crate::condition::Condition>> {
    match node.value(name) {
        Value::Condition(condition) => Some(Arc::clone(condition)),
        _ => None,
    }
}

fn placement(component: &Component, root: &str) -> Placement {
    let Some(place) = component.child("place") else { return Placement::default() };
    Placement {
        max_per_host: whole(place, "max-per-host"),
        by: inside(place.value("by"), root),
        require: place.items("require").filter_map(|item| condition(item, "condition")).collect(),
        prefer: place
            .items("prefer")
            .filter_map(|item| condition(item, "condition").map(|condition| (condition, number(item, "weight"))))
            .collect(),
        avoid: place.items("avoid").filter_map(|item| text(item, "host")).collect(),
    }
}

fn start_after(component: &Component, root: &str, is_own: bool) -> Vec<StartAfter> {
    let items = component.items("start-after").flat_map(|item| {
        let state = if word(item, "state") == "ready" { UpState::Ready } else { UpState::Started };
        let value = item.value("component");
        let span = item.attribute("component").map_or(item.span, |attribute| attribute.span);
        let several = paths(value, root);
        let named = if several.is_empty() { inside(value, root).into_iter().collect() } else { several };
        named.into_iter().map(move |path| StartAfter { path, state, span, is_own })
    });
    items.collect()
}

/// What follows from what a domain contains and what is around it, whatever its own values are.
#[derive(Clone)]
struct Contents {
    volumes: Vec<Volume>,
    nics: Vec<Nic>,
    save_image: Option<SaveImage>,
    liveness: Liveness,
    restart: Option<Restart>,
    ready: Option<Ready>,
    cloud_init: Option<CloudInit>,
    start_after: Vec<StartAfter>,
    placement: Placement,
}

impl Contents {
    fn of(node: &Component, around: &Around, root: &str) -> Self {
        let own = placement(node, root);
        let mut all = joined(&around.placement, &own);
        all.max_per_host = own.max_per_host;
        let mut volumes: Vec<Volume> = children_of_kind(node, "volume").map(volume).collect();
        volumes.sort_by_key(|volume| volume.name != "root");
        let mut nics: Vec<Nic> = children_of_kind(node, "nic").map(nic).collect();
        nics.sort_by_key(|nic| nic.name != "eth0");
        let mut after = around.start_after.clone();
        after.extend(start_after(node, root, true));
        Self {
            volumes,
            nics,
            save_image: node.child("save-image").map(|save| SaveImage {
                to: text(save, "to").unwrap_or_default(),
                format: text(save, "format").unwrap_or_default(),
                name: text(save, "name"),
            }),
            liveness: node.child("liveness").map_or_else(Liveness::default, |liveness| Liveness {
                every: span_of(liveness, "every"),
                misses: whole(liveness, "misses").unwrap_or(2),
            }),
            restart: node.child("restart").map(|restart| Restart {
                when: match word(restart, "when") {
                    "always" => RestartWhen::Always,
                    "never" => RestartWhen::Never,
                    _ => RestartWhen::OnFailure,
                },
                times: whole(restart, "times").unwrap_or(3),
                within: span_of(restart, "within"),
                backoff: span_of(restart, "backoff"),
                max_backoff: span_of(restart, "max-backoff"),
            }),
            ready: node.child("ready").map(|ready| Ready {
                tcp: whole(ready, "tcp").and_then(|port| u16::try_from(port).ok()),
                within: span_of(ready, "within"),
            }),
            cloud_init: node.child("cloud-init").map(cloud_init),
            start_after: after,
            placement: all,
        }
    }
}

fn domain(path: String, node: &Component, around: &Around, contents: Contents) -> Domain {
    let Contents { volumes, nics, save_image, liveness, restart, ready, cloud_init, start_after, placement } = contents;
    Domain {
        path,
        component: node.name.to_string(),
        image: text(node, "image").unwrap_or_default(),
        memory_bytes: node.value("memory").as_bytes().unwrap_or_default(),
        memory_max_bytes: node.value("memory-max").as_bytes(),
        memory_max_span: node.attribute("memory-max").map_or(node.span, |attribute| attribute.span),
        vcpus: whole(node, "vcpus").unwrap_or(1),
        hostname: text(node, "hostname").unwrap_or_default(),
        volumes,
        nics,
        kernel: text(node, "kernel"),
        ramdisk: text(node, "ramdisk"),
        kernel_args: node.value("kernel-args").as_list().iter().map(Value::to_string).collect(),
        burst: flag(node, "burst"),
        weight: number(node, "weight"),
        starts_by_workflow: around.by_workflow || word(node, "start") == "by-workflow",
        keep_volumes: match word(node, "keep-volumes") {
            "always" => KeepVolumes::Always,
            "if-preexisting" => KeepVolumes::IfPreexisting,
            _ => KeepVolumes::Never,
        },
        save_image,
        liveness,
        restart,
        ready,
        cloud_init,
        start_after,
        placement,
        host: around.host.clone(),
        span: node.span,
    }
}

fn children_of_kind<'a>(node: &'a Component, kind: &'a str) -> impl Iterator<Item = &'a Component> {
    node.children.iter().filter(move |child| child.node == NodeKind::Component && &*child.kind == kind)
}

fn volume(node: &Component) -> Volume {
    Volume {
        name: node.label(),
        size_bytes: node.value("size").as_bytes().unwrap_or_default(),
        format: match word(node, "fs") {
            "ext2" => Some(FileSystem::Ext2),
            "ext3" => Some(FileSystem::Ext3),
            "ext4" => Some(FileSystem::Ext4),
            "xfs" => Some(FileSystem::Xfs),
            "btrfs" => Some(FileSystem::Btrfs),
            "swap" => Some(FileSystem::Swap),
            _ => None,
        },
        copy_on_write: flag(node, "copy-on-write"),
        image: text(node, "image"),
        store: None,
        read_only: flag(node, "read-only"),
        existing: flag(node, "existing"),
        span: node.span,
    }
}

fn nic(node: &Component) -> Nic {
    let ip = |name: &str| match node.value(name) {
        Value::Ip(address) => Some(*address),
        _ => None,
    };
    let address = match ip("ip") {
        Some(address) => Address::Static {
            ip: address,
            netmask: ip("netmask").and_then(|mask| match mask {
                IpAddr::V4(mask) => Some(mask),
                IpAddr::V6(_) => None,
            }),
            gateway: ip("gateway"),
        },
        None => Address::Dhcp,
    };
    let written = |name: &str| node.attribute(name).map_or(node.span, |attribute| attribute.span);
    Nic {
        name: node.label(),
        address,
        address_span: written("ip"),
        mac: text(node, "mac"),
        mac_span: written("mac"),
        bridge: text(node, "bridge"),
        bandwidth: match node.value("bandwidth") {
            Value::Bandwidth(bits) => Some(*bits),
            _ => None,
        },
        forwards: node
            .items("forward")
            .filter_map(|item| {
                let number = |name| item.value(name).as_integer().and_then(|port| u16::try_from(port).ok());
                let port = number("port")?;
                Some(Forward { port, to: number("to").unwrap_or(port) })
            })
            .collect(),
        span: node.span,
    }
}

fn cloud_init(node: &Component) -> CloudInit {
    CloudInit {
        packages: node.items("package").filter_map(|item| text(item, "name")).collect(),
        files: node
            .items("file")
            .map(|item| CloudFile {
                path: text(item, "path").unwrap_or_default(),
                content: item.value("content").clone(),
                mode: text(item, "mode").unwrap_or_default(),
                owner: text(item, "owner").unwrap_or_default(),
            })
            .collect(),
        commands: node.items("command").map(|item| item.value("command").as_list().to_vec()).collect(),
        ssh_keys: node.items("ssh-key").filter_map(|item| Some((text(item, "user")?, text(item, "key")?))).collect(),
    }
}

fn scheduler(path: &str, node: &Component) -> Scheduler {
    Scheduler {
        path: path.to_owned(),
        hosts: node.value("hosts").as_list().iter().map(Value::to_string).collect(),
        policy: match word(node, "policy") {
            "cheapest" => SchedulerPolicy::Cheapest,
            "round-robin" => SchedulerPolicy::RoundRobin,
            "fewest-hosts" => SchedulerPolicy::FewestHosts,
            "random" => SchedulerPolicy::Random,
            _ => SchedulerPolicy::LeastLoaded,
        },
        span: node.span,
    }
}

/// Fills in where the volumes of all domains are kept: a volume names its store by path.
pub(crate) fn stores(root: &Component, pool: &mut Pool) {
    let mut known: std::collections::BTreeMap<String, Store> = std::collections::BTreeMap::new();
    let mut wanted: std::collections::BTreeMap<String, Vec<(String, String)>> = std::collections::BTreeMap::new();
    let mut unkept: Option<&Arc<[Component]>> = None;
    root.walk(&mut |path, node| match &*node.kind {
        "loopback" => {
            known.insert(path.to_owned(), Store::Loopback { directory: text(node, "directory").unwrap_or_default() });
        }
        "lvm" => {
            known.insert(path.to_owned(), Store::Lvm { group: text(node, "group").unwrap_or_default() });
        }
        "domain" => {
            // Domains of one class share their volumes: what was found in one is not looked for in the next.
            if unkept.is_some_and(|unkept| Arc::ptr_eq(unkept, &node.children)) {
                return;
            }
            let volumes = children_of_kind(node, "volume").filter_map(|volume| match volume.value("on") {
                Value::Component(store) => Some((volume.label(), store.path().to_owned())),
                _ => None,
            });
            let volumes: Vec<(String, String)> = volumes.collect();
            if volumes.is_empty() {
                unkept = Some(&node.children);
            } else {
                let inner = path.strip_prefix(&*root.name).unwrap_or(path).trim_start_matches('.');
                wanted.insert(inner.to_owned(), volumes);
            }
        }
        _ => {}
    });
    if wanted.is_empty() {
        return;
    }
    for domain in &mut pool.domains {
        for (volume, store) in wanted.get(&domain.path).into_iter().flatten() {
            if let Some(found) = domain.volumes.iter_mut().find(|known| known.name == *volume) {
                found.store = known.get(store).cloned();
            }
        }
    }
}

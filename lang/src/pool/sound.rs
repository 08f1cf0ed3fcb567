//! What contradicts itself in a pool whose every value is right: starts that wait for each other, addresses given
//! twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::diagnostic::Diagnostic;
use crate::pool::{Address, Domain, Pool};
use crate::source::Span;
use crate::value::Value;

/// The most steps of a circle that are shown one by one.
const STEPS_SHOWN_MAX: usize = 12;

/// Everything that contradicts itself.
pub(crate) fn contradictions(pool: &Pool) -> Vec<Diagnostic> {
    let mut found = circles(&pool.domains);
    found.extend(addresses(&pool.domains));
    found.extend(memories(&pool.domains));
    found
}

/// Domains whose most memory is less than what they start with.
fn memories(domains: &[Domain]) -> Vec<Diagnostic> {
    let mut told = BTreeSet::new();
    let limits = domains.iter().filter_map(|domain| Some((domain, domain.memory_max_bytes?)));
    let wrong = limits.filter(|(domain, most)| *most < domain.memory_bytes && told.insert(domain.memory_max_span));
    let found = wrong.map(|(domain, most)| {
        let show = |bytes| Value::Bytes(bytes).to_string();
        let (most, least) = (show(most), show(domain.memory_bytes));
        let message = format!("`{}` has {least} of memory from its start, and at most {most}", domain.path);
        Diagnostic::new("E0403", message, domain.memory_max_span, "less than `memory`")
            .help(format!("write {least} or more, or leave `memory-max` out: then it has {least} at all times"))
    });
    found.collect()
}

/// Fixed addresses, of the network and of the hardware, that two interfaces have.
fn addresses(domains: &[Domain]) -> Vec<Diagnostic> {
    let mut owners: BTreeMap<String, (String, Span)> = BTreeMap::new();
    let mut found = Vec::new();
    for domain in domains {
        for nic in &domain.nics {
            let ip = match &nic.address {
                Address::Static { ip, .. } => Some((ip.to_string(), nic.address_span, "address", "ip")),
                Address::Dhcp => None,
            };
            let mac = nic.mac.as_ref().map(|mac| (mac.to_ascii_lowercase(), nic.mac_span, "hardware address", "mac"));
            for (address, span, what, attribute) in ip.into_iter().chain(mac) {
                let owner = format!("{}.{}", domain.path, nic.name);
                let Some((first, first_span)) = owners.get(&address) else {
                    owners.insert(address, (owner, span));
                    continue;
                };
                let message = format!("`{first}` and `{owner}` have the same {what} {address}");
                let error = Diagnostic::new("E0509", message, span, "the second time");
                found.push(if *first_span == span {
                    let next = "`($)\"nth-address(192.0.2.10, index)\"` gives each instance the next one";
                    error.help(match attribute {
                        "ip" => format!("this line is that of several domains; {next}; without `ip` they ask by DHCP"),
                        _ => "this line is that of several domains; without `mac` each gets one of its own".to_owned(),
                    })
                } else {
                    let otherwise = if attribute == "ip" { "it asks by DHCP" } else { "one is chosen" };
                    error
                        .label(*first_span, "the first time")
                        .help(format!("give one of them another; without `{attribute}` {otherwise}"))
                });
            }
        }
    }
    found
}

/// A step of the graph of starts: a domain waits for all domains of a component.
struct Wait<'a> {
    /// The component.
    target: &'a str,
    /// Where that is written.
    span: Span,
    /// It is written in the domain itself, not in what is around it.
    is_own: bool,
}

/// Domains that start after each other, one circle for each knot of them. A domain that starts after a component it
/// is part of does not wait for itself, and a domain that a workflow starts waits for nobody.
fn circles(domains: &[Domain]) -> Vec<Diagnostic> {
    if domains.iter().all(|domain| domain.start_after.is_empty()) {
        return Vec::new();
    }
    let graph = Graph::of(domains);
    let mut found = Vec::new();
    for knot in graph.knots() {
        let members: Vec<usize> = knot.iter().copied().filter(|node| *node < domains.len()).collect();
        let Some(start) = members.iter().copied().min() else { continue };
        let itself = graph.waits_for_itself(start);
        if members.len() > 1 {
            found.extend(graph.circle(start, &knot).map(|circle| graph.diagnostic(&circle)));
        } else if let Some(span) = itself {
            let message = format!("`{}` starts after itself", domains[start].path);
            found.push(Diagnostic::new("E0508", message, span, "this is the domain itself").help("remove this line"));
        }
    }
    found
}

/// Domains, and behind them the components that they wait for.
struct Graph<'a> {
    domains: &'a [Domain],
    targets: Vec<&'a str>,
    /// From each domain to what it waits for, and from each component to its domains.
    edges: Vec<Vec<usize>>,
    waits: Vec<Vec<Wait<'a>>>,
}

impl<'a> Graph<'a> {
    fn of(domains: &'a [Domain]) -> Self {
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        let mut targets = Vec::new();
        let mut edges: Vec<Vec<usize>> = vec![Vec::new(); domains.len()];
        let mut waits: Vec<Vec<Wait<'_>>> = Vec::with_capacity(domains.len());
        for (number, domain) in domains.iter().enumerate() {
            let mut own = Vec::new();
            for after in domain.start_after.iter().filter(|_| !domain.starts_by_workflow) {
                let target = *known.entry(&after.path).or_insert_with(|| {
                    targets.push(after.path.as_str());
                    domains.len() + targets.len() - 1
                });
                edges[number].push(target);
                own.push(Wait { target: &after.path, span: after.span, is_own: after.is_own });
            }
            waits.push(own);
        }
        let mut inside: Vec<Vec<usize>> = vec![Vec::new(); targets.len()];
        for (number, domain) in domains.iter().enumerate().filter(|(_, domain)| !domain.starts_by_workflow) {
            // The domain itself and everything around it.
            let mut path = domain.path.as_str();
            loop {
                if let Some(target) = known.get(path) {
                    inside[*target - domains.len()].push(number);
                }
                match path.rsplit_once('.') {
                    Some((around, _)) => path = around,
                    None => break,
                }
            }
        }
        edges.extend(inside);
        Self { domains, targets, edges, waits }
    }

    /// The sets of nodes that all lead to each other (Tarjan 1972, without recursion), of more than one node.
    fn knots(&self) -> Vec<Vec<usize>> {
        const NEW: usize = usize::MAX;
        let count = self.edges.len();
        let (mut order, mut low) = (vec![NEW; count], vec![0; count]);
        let mut is_open = vec![false; count];
        let (mut open, mut next, mut knots) = (Vec::new(), 0, Vec::new());
        for root in 0..count {
            if order[root] != NEW {
                continue;
            }
            let mut path: Vec<(usize, usize)> = vec![(root, 0)];
            while let Some((node, at)) = path.last_mut() {
                let node = *node;
                if *at == 0 {
                    order[node] = next;
                    low[node] = next;
                    next += 1;
                    open.push(node);
                    is_open[node] = true;
                }
                if let Some(to) = self.edges[node].get(*at).copied() {
                    *at += 1;
                    if order[to] == NEW {
                        path.push((to, 0));
                    } else if is_open[to] {
                        low[node] = low[node].min(order[to]);
                    }
                    continue;
                }
                path.pop();
                if let Some((before, _)) = path.last() {
                    low[*before] = low[*before].min(low[node]);
                }
                if low[node] == order[node] {
                    let start = open.iter().rposition(|other| *other == node).unwrap_or(open.len());
                    let knot = open.split_off(start);
                    knot.iter().for_each(|member| is_open[*member] = false);
                    if knot.len() > 1 {
                        knots.push(knot);
                    }
                }
            }
        }
        knots.sort_by_key(|knot| knot.iter().min().copied());
        knots
    }

    /// Where a domain that stands once, and does so by its own words, is said to start after itself.
    fn waits_for_itself(&self, domain: usize) -> Option<Span> {
        let path = self.domains[domain].path.as_str();
        let is_one_of_several = path.rsplit('.').next().is_some_and(|last| *last != self.domains[domain].component);
        let own = self.waits[domain].iter().find(|wait| wait.target == path && wait.is_own);
        // A line that another domain has as well comes from a prototype, where it means something.
        let is_shared = |wait: &&Wait<'_>| {
            let mut others = self.waits.iter().enumerate().filter(|(number, _)| *number != domain);
            others.any(|(_, waits)| waits.iter().any(|other| other.span == wait.span))
        };
        own.filter(|wait| !is_one_of_several && !is_shared(wait)).map(|wait| wait.span)
    }

    /// The shortest way from a domain back to it that leads through another one, inside a knot: domains and the waits
    /// between them.
    fn circle(&self, start: usize, knot: &[usize]) -> Option<Vec<(usize, &Wait<'a>)>> {
        let members: BTreeSet<usize> = knot.iter().copied().collect();
        // How each domain was reached: from which one, by which component that it waits for.
        let mut reached: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        // Which domain was the first to wait for a component. It does not wait for itself; the next one waits for it.
        let mut first_at: BTreeMap<usize, usize> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        let mut step = 'search: loop {
            let domain = queue.pop_front()?;
            for target in self.edges[domain].iter().copied().filter(|target| members.contains(target)) {
                if let Some(first) = first_at.get(&target) {
                    if *first == start && domain != start {
                        break 'search (domain, target);
                    }
                    continue;
                }
                first_at.insert(target, domain);
                for next in self.edges[target].iter().copied().filter(|next| *next != domain && members.contains(next))
                {
                    if next == start {
                        break 'search (domain, target);
                    }
                    reached.entry(next).or_insert_with(|| {
                        queue.push_back(next);
                        (domain, target)
                    });
                }
            }
        };
        let mut way = vec![step];
        while let Some(before) = reached.get(&step.0).filter(|_| step.0 != start) {
            step = *before;
            way.push(step);
        }
        way.reverse();
        let waits = way.into_iter().filter_map(|(domain, target)| {
            let target = self.targets.get(target.checked_sub(self.domains.len())?)?;
            self.waits[domain].iter().find(|wait| wait.target == *target).map(|wait| (domain, wait))
        });
        Some(waits.collect())
    }

    fn diagnostic(&self, circle: &[(usize, &Wait<'a>)]) -> Diagnostic {
        let name = |at: usize| format!("`{}`", self.domains[circle[at % circle.len()].0].path);
        let names: Vec<String> = (0..circle.len().min(STEPS_SHOWN_MAX)).map(name).collect();
        let more = if circle.len() > names.len() { " and others" } else { "" };
        let message = format!("{}{more} start after each other: none can be the first", names.join(", "));
        let edge = |at: usize| {
            let (first, next) = (name(at), name(at + 1));
            let target = circle[at].1.target;
            let part =
                if next == format!("`{target}`") { String::new() } else { format!(", of which {next} is a part") };
            format!("{first} starts after `{target}`{part}")
        };
        let mut error = Diagnostic::new("E0508", message, circle[0].1.span, edge(0));
        for (at, (_, wait)) in circle.iter().enumerate().take(STEPS_SHOWN_MAX).skip(1) {
            error = error.label(wait.span, edge(at));
        }
        if circle.len() > STEPS_SHOWN_MAX {
            error = error.note(format!("the circle has {} domains", circle.len()));
        }
        error.help("remove one of these `start-after`")
    }
}

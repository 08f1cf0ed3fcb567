//! What the market enforces on a real host: CPU by bids, and charges by what Xen measured.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::town::Town;

/// The groups, and the pool of each.
const GROUPS: [&str; 2] = ["physics", "biology"];
/// Between two allocations.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long use is measured, how often at most, and what the domains must have of the CPU to tell anything.
const MEASURED: Duration = Duration::from_secs(60);
const MINUTES_MAX: usize = 4;
const LEAST_FOR_DOMAINS: f64 = 0.6;

/// A host of a site, on which both groups have a domain.
fn competing() -> Town {
    let town = Town::with_groups(1);
    for group in GROUPS {
        let pool = format!(
            "pool {group} {{\n    budget 8 for=\"2h\"\n    domain busy {{ image \"std:tiny\"; memory \"128MiB\"; }}\n}}\n"
        );
        fs::write(town.lab.path().join(group).join("pool.kdl"), pool).expect("the file can be written");
        town.run(group, "tycoon up pool.kdl --yes").ok();
        town.is_up(group, 1);
    }
    town
}

/// The only domain of a group.
struct Busy<'t> {
    town: &'t Town,
    group: &'static str,
    name: String,
    address: String,
}

impl<'t> Busy<'t> {
    fn of(town: &'t Town, group: &'static str) -> Self {
        let (_, name) = town.running(group).pop().expect("a domain");
        let status = town.json(group, &format!("tycoon status {group}"));
        let address = status["domains"][0]["address"].as_str().expect("an address").to_owned();
        Self { town, group, name, address }
    }

    /// Has it compute for ever.
    fn begin(&self) {
        let script = "setsid sh -c 'echo $$ >/tmp/busy; while :; do :; done' </dev/null >/dev/null 2>&1 & sleep 1; \
                      kill -0 $(cat /tmp/busy)";
        self.town.inside(self.group, &self.address, script).ok();
    }

    /// Bids so much on CPU, by the time that its money shall last.
    fn bid(&self, duration: &str) {
        let bid = format!("tycoon host bid xen1 {duration} CPU:1,0.01CPU,1CPU --pool {}", self.group);
        self.town.run(self.group, &bid).ok();
    }

    /// Has it compute no more.
    fn end(&self) {
        self.town.inside(self.group, &self.address, "kill -9 $(cat /tmp/busy)").ok();
    }

    /// Its account at the host, with what was charged.
    fn account(&self) -> Value {
        let mut accounts = self.town.json(self.group, &format!("tycoon host account xen1 --pool {}", self.group));
        accounts[0].take()
    }

    /// The CPU that it was given, in CPUs.
    fn share(&self) -> f64 {
        let shown = self.town.json(self.group, &format!("tycoon host status xen1 --pool {}", self.group));
        shown[0]["allocation"]["CPU"].as_f64().expect("a share") / 1e6
    }
}

/// The CPUs that each domain has for a minute, as Xen counts it. A minute in which the control domain took much of the only
/// CPU, because this machine does other things too, says little of how the domains divide it, and is followed by another.
fn used(town: &Town, domains: &[Busy<'_>]) -> Vec<f64> {
    let look = "xl list; cut -d' ' -f1 /proc/uptime";
    let script = format!("{look}; sleep {}; {look}", MEASURED.as_secs());
    for _ in 1..MINUTES_MAX {
        let used = used_in(&town.lab.on(1, &script), domains);
        if used.iter().sum::<f64>() >= LEAST_FOR_DOMAINS {
            return used;
        }
    }
    used_in(&town.lab.on(1, &script), domains)
}

/// The same, of two lists of what all domains have used, each with the host's time behind it.
fn used_in(lists: &str, domains: &[Busy<'_>]) -> Vec<f64> {
    let seconds = |line: &str| line.split_whitespace().last().and_then(|word| word.parse::<f64>().ok());
    let passed = |is_one: &dyn Fn(&str) -> bool| {
        let found: Vec<f64> = lists.lines().filter(|line| is_one(line)).filter_map(seconds).collect();
        assert_eq!(found.len(), 2, "{lists}");
        found[1] - found[0]
    };
    let time = passed(&|line| line.split_whitespace().count() == 1);
    let used = domains.iter().map(|domain| passed(&|line| line.split_whitespace().next() == Some(&domain.name)) / time);
    let used: Vec<f64> = used.collect();
    println!("in {time:.1} s the domains used {used:.3?} CPUs");
    used
}

/// `a` is `b` times `ratio`, within a tenth.
#[track_caller]
fn near(a: f64, b: f64, ratio: f64) {
    assert!((a / b / ratio - 1.0).abs() < 0.1, "{a:.3} to {b:.3} is {:.3}, not {ratio}", a / b);
}

/// Every line of a charge is what its rate, use and time make it, and the lines of an account and what is left explain
/// all its money.
#[track_caller]
fn adds_up(account: &Value) {
    let number = |value: &Value, name: &str| value[name].as_f64().unwrap_or_else(|| panic!("{name} in {value}"));
    let lines = account["lines"].as_array().expect("lines");
    let mut sum = number(account, "earlier_micro");
    for line in lines.iter() {
        let (amount, seconds) = (number(line, "amount_micro"), number(line, "seconds"));
        sum += amount;
        if line["is_average"] == true {
            continue;
        }
        let degree = match line["for"].as_str().expect("an item") {
            what if what.starts_with("CPU") && number(line, "share") > 0.0 => {
                (number(line, "used") / number(line, "share")).clamp(0.1, 1.0)
            }
            _ => 1.0,
        };
        let due = number(line, "rate_credits_per_hour") / 3_600.0 * seconds * degree * 1e6;
        assert!((amount - due).abs() < 2.0 + due * 0.001, "{amount} is not {due}: {line}");
    }
    assert_eq!(sum, number(account, "charged_micro"), "{account}");
    assert_eq!(number(account, "funded_micro"), sum + number(account, "balance_micro"), "{account}");
}

/// The CPU seconds that were charged for in the intervals after `since`, and their time.
fn charged(account: &Value, since: i64) -> (f64, f64) {
    let (mut all, mut time) = (0.0, 0.0);
    for line in account["lines"].as_array().expect("lines") {
        if line["until_us"].as_i64().expect("a time") <= since {
            continue;
        }
        let seconds = line["seconds"].as_f64().expect("seconds");
        let used = line["used"].as_f64().expect("use") / 1e6 * seconds;
        if line["item"]["bid"] == "cpu" {
            (all, time) = (all + used, time + seconds);
        }
    }
    (all, time)
}

/// The CPU time beyond the share that was charged for after `since`, for each second, and what a CPU hour of it cost.
fn beyond(account: &Value, since: i64) -> (f64, f64) {
    let (mut all, mut time, mut paid) = (0.0, 0.0, 0.0);
    for line in account["lines"].as_array().expect("lines") {
        if line["until_us"].as_i64().expect("a time") <= since {
            continue;
        }
        let seconds = line["seconds"].as_f64().expect("seconds");
        if line["item"]["bid"] == "cpu" {
            time += seconds;
        }
        if line["item"] == "beyond-share" {
            all += line["used"].as_f64().expect("use") / 1e6 * seconds;
            paid += line["amount_micro"].as_f64().expect("an amount") / 1e6;
        }
    }
    (all / time, paid / (all / 3_600.0))
}

/// The end of the last interval that was charged.
fn last_charge(account: &Value) -> i64 {
    let lines = account["lines"].as_array().expect("lines");
    lines.iter().filter_map(|line| line["until_us"].as_i64()).max().expect("a line")
}

/// What was charged for is what Xen gave, over the same minute; at its ends an interval may be counted on either side.
#[track_caller]
fn measures_agree(account: &Value, since: i64, used: f64) {
    let (seconds, time) = charged(account, since);
    println!("charged for {seconds:.1} CPU seconds in {time:.1} s; Xen says {used:.3} of a CPU");
    assert!(time > MEASURED.as_secs_f64() / 2.0, "{time} s are charged: {account}");
    near(seconds / time, used, 1.0);
}

#[test]
#[ignore = "needs the lab: `make test`"]
fn bids_divide_a_cpu_and_charges_are_what_xen_measured() {
    let town = competing();
    let [physics, biology] = GROUPS.map(|group| Busy::of(&town, group));
    let control = town.lab.on(1, "virsh schedinfo Domain-0 | awk '/^weight/ { print $3 }'");
    assert_eq!(control.trim(), "65535", "busy domains leave the control domain what it needs");

    // 1:2, within a tenth over a minute.
    physics.bid("4h");
    biology.bid("2h");
    physics.begin();
    biology.begin();
    thread::sleep(INTERVAL * 2);
    near(biology.share(), physics.share(), 2.0);
    let both = [physics, biology];
    let since = both.each_ref().map(|domain| last_charge(&domain.account()));
    let first = used(&town, &both);
    near(first[1], first[0], 2.0);
    for ((domain, since), used) in both.iter().zip(since).zip(&first) {
        let account = domain.account();
        measures_agree(&account, since, *used);
        adds_up(&account);
    }

    // 2:1, two intervals after another bid.
    let [physics, biology] = both;
    physics.bid("1h");
    thread::sleep(INTERVAL * 2);
    near(physics.share(), biology.share(), 2.0);
    let both = [physics, biology];
    let second = used(&town, &both);
    near(second[0], second[1], 2.0);

    an_idle_cpu_is_lent(&town, &both);
    who_runs_dry_keeps_her_disk(&town);

    for group in GROUPS {
        town.run(group, &format!("tycoon down {group} --yes")).ok();
        assert_eq!(town.money(group).1, 0, "nothing of hers is set aside");
    }
    let left = GROUPS.map(|group| town.money(group).0);
    town.run("operator", "tycoon host withdraw all").ok();
    // What she issued, less what she granted, with what her host earned.
    assert_eq!(town.money("operator").0, 1_000_000_000 - left[0] - left[1], "{left:?}");
    town.run("operator", "tycoon bank audit --store sled:/var/lib/tycoon-bank/books").ok().says(&["It adds up"]);
}

/// What one leaves idle the other uses, and pays for what is beyond her share at the base price.
fn an_idle_cpu_is_lent(town: &Town, both: &[Busy<'_>; 2]) {
    let [physics, biology] = both;
    physics.bid("12h");
    biology.end();
    thread::sleep(INTERVAL * 2);
    let share = physics.share();
    assert!(share < 0.3, "physics has little of its own: {share}");
    let since = last_charge(&physics.account());
    let used = used(town, both);
    assert!(used[0] > share * 2.0 && used[1] < 0.1, "{used:?} of {share}");
    let account = physics.account();
    adds_up(&account);
    let prices = town.json("physics", "tycoon host prices xen1");
    let base = prices[0]["offers"]["CPU"]["base_price_credits_per_hour"].as_f64().expect("a price");
    let (more, price) = beyond(&account, since);
    println!("{more:.3} CPUs beyond a share of {share:.3}, at {price:.4} credits for an hour of a CPU");
    near(more, used[0] - share, 1.0);
    assert!((price / base - 1.0).abs() < 0.01, "{price} for an hour of a CPU, where the base price is {base}");
    physics.end();
}

/// Who has no money left is warned, and her domain shut down in order; what is on its disk waits for her.
fn who_runs_dry_keeps_her_disk(town: &Town) {
    let who = Busy::of(town, "biology");
    town.run("operator", "tycoon host set xen1 warning-grace=10s").ok();
    town.inside("biology", &who.address, "echo mine >/data/mine; sync").ok();
    town.run("biology", "tycoon host refund xen1 --leave 0.0005 --pool biology").ok();
    town.until("the end of the domain", || {
        let is_gone = town.running("biology").is_empty();
        is_gone.then_some(())
    });
    let history = town.run("biology", "tycoon host history xen1 --pool biology").ok();
    history.says(&["warned", "stopped"]);
    assert!(town.lab.on(1, "lvs --noheadings -o lv_name").contains("biology"), "its disk stays");
    town.run("biology", "tycoon up pool.kdl --yes").ok();
    town.is_up("biology", 1);
    let again = Busy::of(town, "biology");
    let read = town.until("her data", || {
        let ran = town.inside("biology", &again.address, "cat /data/mine");
        (ran.code == Some(0)).then_some(ran)
    });
    assert_eq!(read.stdout.trim(), "mine");
}

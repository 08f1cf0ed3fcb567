//! The codes of planning errors, explained: what `tycoon explain P0201` prints.

/// A code and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// The code.
    pub code: &'static str,
    /// What it is in a few words.
    pub title: &'static str,
    /// Why there is no plan.
    pub explanation: &'static str,
    /// What to do.
    pub cure: &'static str,
}

/// Every code.
pub const ALL: &[Code] = &[
    Code {
        code: "P0101",
        title: "a pool without a budget",
        explanation: "Hosts are paid, and nothing is paid that the description does not allow.",
        cure: "Write how much it may cost and for how long: `budget 10 for=\"1h\"`.",
    },
    Code {
        code: "P0201",
        title: "no host can have a domain",
        explanation: "Every host was looked at, and each has a reason why it cannot have the domain: too little memory, \
                      disk or CPU beside what the pool has there already, an image that it lacks, a condition that does \
                      not hold there, a limit that is reached.",
        cure: "Read the reasons: `tycoon hosts` lists what the hosts have. Ask for less, for another image, or for fewer \
               domains; take a condition away; or take another site with `--site`.",
    },
    Code {
        code: "P0301",
        title: "a budget too small",
        explanation: "Memory, disk and a tenth of a CPU per virtual CPU cost more than the budget allows for the time that \
                      is left of it.",
        cure: "Write the budget that the message names, a shorter time, or fewer or smaller domains.",
    },
    Code {
        code: "P0302",
        title: "a balance too small",
        explanation: "What the bids need is put into escrow when the pool comes up, and the account has less.",
        cure: "Lower the budget, take another pool down, or ask the bank's operator for credits.",
    },
    Code {
        code: "P0401",
        title: "a description that cannot be carried out",
        explanation: "The description is sound by itself, and asks for what cannot be: two machines with one address, \
                      domains that start after each other in a circle, a growth for which no host has room, a disk that would have to shrink, volumes that are kept on a host which cannot \
                      have their domain.",
        cure: "Change what the message names.",
    },
    Code {
        code: "P0501",
        title: "more than can be paid",
        explanation: "A bid or a sum of escrows is beyond what credits can express.",
        cure: "Ask for less, or for a longer time.",
    },
];

/// The code of this name.
pub fn find(code: &str) -> Option<&'static Code> {
    ALL.iter().find(|known| known.code == code)
}

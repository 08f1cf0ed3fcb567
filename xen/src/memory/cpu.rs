//! Who gets how much CPU: the long-run behaviour of Xen's credit2 scheduler.
//!
//! Credit2 is proportional to the weights under contention, work-conserving (what one domain leaves, others use)
//! and bounded by caps. Over times much longer than its time slice that is weighted water-filling, which is
//! what this computes: `xᵢ = min(limitᵢ, level · weightᵢ)`, with the level at which either all the capacity or all
//! the demand is used up.

use tycoon_market::Quantity;

/// What one domain brings to the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuClaim {
    /// Its weight, at least 1.
    pub weight: u16,
    /// The most it can or wants to use: the least of its virtual CPUs, its cap, and its demand.
    pub limit: Quantity,
}

/// Distributes `capacity` over the claims; the result is in their order. Exact to a micro-CPU per claim; the sum is
/// never more than the capacity and no part is more than its claim's limit.
pub fn distribute(capacity: Quantity, claims: &[CpuClaim]) -> Vec<Quantity> {
    let weight_of = |index: usize| u128::from(claims[index].weight.max(1));
    let limit_of = |index: usize| u128::from(claims[index].limit.amount());
    // In the order in which a rising water level reaches the limits, each is either full or gets its weight's part
    // of what is left, and so do all after it.
    let mut order: Vec<usize> = (0..claims.len()).collect();
    order.sort_by(|&a, &b| (limit_of(a) * weight_of(b)).cmp(&(limit_of(b) * weight_of(a))).then(a.cmp(&b)));

    let mut capacity_left = u128::from(capacity.amount());
    let mut weight_left: u128 = order.iter().map(|&index| weight_of(index)).sum();
    let mut parts = vec![Quantity::ZERO; claims.len()];
    for index in order {
        let part = limit_of(index).min(capacity_left * weight_of(index) / weight_left);
        // A limit is a u64, and the part is at most the limit.
        parts[index] = Quantity::new(part as u64);
        capacity_left -= part;
        weight_left -= weight_of(index);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn claim(weight: u16, milli_cpus: u64) -> CpuClaim {
        CpuClaim { weight, limit: Quantity::new(milli_cpus * 1000) }
    }

    #[test]
    fn cpu_goes_by_weight_and_what_is_left_goes_on() {
        for (why, cpus, claims, expected) in [
            ("enough for all", 4, vec![claim(1, 1000), claim(65535, 2000)], vec![1000, 2000]),
            ("equal weights share equally", 1, vec![claim(256, 1000), claim(256, 1000)], vec![500, 500]),
            ("weights are proportions", 1, vec![claim(256, 1000), claim(768, 1000)], vec![250, 750]),
            ("what one leaves, others use", 1, vec![claim(256, 100), claim(256, 1000)], vec![100, 900]),
            (
                "a limit reached passes the rest on by weight",
                2,
                vec![claim(100, 300), claim(100, 2000), claim(200, 2000)],
                vec![300, 566, 1133],
            ),
            ("nothing to give", 0, vec![claim(256, 1000)], vec![0]),
            ("nobody to give to", 4, vec![], vec![]),
        ] {
            let parts = distribute(Quantity::from_cpus(cpus), &claims);
            let milli: Vec<u64> = parts.iter().map(|part| part.amount() / 1000).collect();
            assert_eq!(milli, expected, "{why}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_scheduler_conserves_work_and_keeps_limits(
            capacity in 0_u64..64_000_000,
            raw in proptest::collection::vec((1_u16.., 0_u64..8_000_000), 0..20),
        ) {
            let claims: Vec<CpuClaim> =
                raw.iter().map(|&(weight, limit)| CpuClaim { weight, limit: Quantity::new(limit) }).collect();
            let parts = distribute(Quantity::new(capacity), &claims);
            let used: u64 = parts.iter().map(|part| part.amount()).sum();
            let wanted: u64 = claims.iter().map(|claim| claim.limit.amount()).sum();
            proptest::prop_assert!(used <= capacity.min(wanted));
            proptest::prop_assert!(used + claims.len() as u64 >= capacity.min(wanted), "CPU was left idle");
            for (part, claim) in parts.iter().zip(&claims) {
                proptest::prop_assert!(*part <= claim.limit);
            }
            // Whoever does not reach her limit has at least as much per weight as anybody else (up to rounding).
            for (index, claim) in claims.iter().enumerate() {
                let got = parts[index].amount();
                if got + 1 < claim.limit.amount() {
                    for (other, part) in claims.iter().zip(&parts) {
                        let fair = u128::from(got + 2) * u128::from(other.weight)
                            + (claims.len() as u128 + 1) * u128::from(claim.weight.max(other.weight));
                        proptest::prop_assert!(u128::from(part.amount()) * u128::from(claim.weight) <= fair);
                    }
                }
            }
        }
    }
}

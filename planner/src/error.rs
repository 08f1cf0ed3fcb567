//! Why there is no plan.

use thiserror::Error;
use tycoon_lang::Span;
use tycoon_market::{Credits, HostName, Rate, TimeSpan};
use tycoon_xen::spec::DomainPath;

/// What could help where no host can have a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cure {
    /// To ask for less, or for fewer.
    Less,
    /// Another image: one of these, which hosts have.
    Image(Vec<String>),
    /// To ask something else of hosts.
    OtherHosts,
}

/// Why there is no plan. Nothing was spent and nothing has changed.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PlanError {
    /// The pool says nothing of money.
    #[error("pool `{pool}` has no budget")]
    NoBudget {
        /// The pool.
        pool: String,
        /// Where it is created.
        span: Span,
    },
    /// No host can have a domain.
    #[error("no host can have {count} more {domain}")]
    NoHost {
        /// The first domain that found no host.
        path: DomainPath,
        /// What is asked, for people: `web.2 (1 vCPU, 64 MiB memory, 1 GiB disk)`.
        domain: String,
        /// How many domains of the pool found none.
        count: usize,
        /// Every host and why it cannot.
        reasons: Vec<(HostName, String)>,
        /// What could help.
        cure: Box<Cure>,
        /// Where the domain is created.
        span: Span,
    },
    /// The budget is below what the pool's minima cost.
    #[error("a budget of {budget} credits for {duration} is too small: {} would do at today's prices", round_up(*needed))]
    BudgetTooSmall {
        /// The budget.
        budget: Credits,
        /// How long it should last.
        duration: TimeSpan,
        /// What would do for that time.
        needed: Credits,
        /// What of the budget has been charged already.
        spent: Credits,
        /// Where the budget is written.
        span: Span,
    },
    /// The account holds less than what has to be put in escrow.
    #[error("your account holds {balance} credits, and {needed} must be put in escrow")]
    BalanceTooSmall {
        /// What the account holds.
        balance: Credits,
        /// What the plan puts in escrow.
        needed: Credits,
        /// Where the budget is written.
        span: Span,
    },
    /// What the pool asks for cannot be carried out.
    #[error("{problem}")]
    Unsound {
        /// What is wrong.
        problem: String,
        /// What to do about it.
        help: String,
        /// Where, if it is one place.
        span: Option<Span>,
    },
    /// A rate or sum is beyond what money can express.
    #[error("{what} is more than can be paid in credits")]
    Overflow {
        /// What overflowed.
        what: &'static str,
    },
}

impl PlanError {
    /// The stable code of this error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoBudget { .. } => "P0101",
            Self::NoHost { .. } => "P0201",
            Self::BudgetTooSmall { .. } => "P0301",
            Self::BalanceTooSmall { .. } => "P0302",
            Self::Unsound { .. } => "P0401",
            Self::Overflow { .. } => "P0501",
        }
    }

    /// True where more money, and nothing else, would do.
    pub const fn is_about_money(&self) -> bool {
        matches!(self, Self::BudgetTooSmall { .. } | Self::BalanceTooSmall { .. })
    }

    /// Where in the description the reason is, if it is one place.
    pub const fn span(&self) -> Option<&Span> {
        match self {
            Self::NoBudget { span, .. }
            | Self::NoHost { span, .. }
            | Self::BudgetTooSmall { span, .. }
            | Self::BalanceTooSmall { span, .. } => Some(span),
            Self::Unsound { span, .. } => span.as_ref(),
            Self::Overflow { .. } => None,
        }
    }

    /// What the place in the description is said to be.
    pub fn label(&self) -> String {
        match self {
            Self::NoBudget { .. } => "this pool".into(),
            Self::NoHost { path, .. } => format!("`{path}` finds no host"),
            Self::BudgetTooSmall { spent, .. } if spent.is_zero() => "this budget".into(),
            Self::BudgetTooSmall { spent, .. } => {
                format!("this budget, of which {} credits have been charged already", spent.rounded(2))
            }
            Self::BalanceTooSmall { .. } => "this budget is more than the account holds".into(),
            Self::Unsound { .. } | Self::Overflow { .. } => "here".into(),
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::NoBudget { .. } => {
                "write how much it may cost and for how long, for example `budget 10 for=\"1h\"`".into()
            }
            Self::NoHost { reasons, .. } if reasons.is_empty() => {
                "no host is registered; ask the site's operator, or look with `tycoon sls list`".into()
            }
            Self::NoHost { reasons, cure, .. } => {
                let hosts: Vec<String> = reasons.iter().map(|(name, why)| format!("  {name} {why}")).collect();
                let cure = match &**cure {
                    Cure::Less => "ask for less, or for fewer domains".to_owned(),
                    Cure::OtherHosts => {
                        "change what the description asks of its hosts; `tycoon hosts` lists what there is".to_owned()
                    }
                    Cure::Image(images) => {
                        format!("write an image that there is ({}), or bring this one to a host", images.join(", "))
                    }
                };
                format!("the hosts that were looked at:\n{}\n{cure}", hosts.join("\n"))
            }
            Self::BudgetTooSmall { needed, duration, .. } => {
                let for_duration = duration.to_string().replace(' ', "");
                format!(
                    "write `budget {} for=\"{for_duration}\"`, a shorter time, or fewer or smaller domains",
                    round_up(*needed)
                )
            }
            Self::BalanceTooSmall { .. } => {
                "lower the budget, take another pool down, or ask the bank's operator for credits".into()
            }
            Self::Unsound { help, .. } => help.clone(),
            Self::Overflow { .. } => "ask for less, or for a longer time".into(),
        }
    }
}

/// An amount rounded up to cents, so that what an error proposes is enough.
fn round_up(credits: Credits) -> String {
    const CENT: i64 = 10_000;
    let cents = credits.micros().saturating_add(CENT - 1) / CENT;
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// A float of pico-credits per second as a rate.
pub(crate) fn rate_of(picos_per_second: f64) -> Result<Rate, PlanError> {
    // A float of 2⁶⁴ or more, and what is not a number, do not fit.
    if picos_per_second >= 0.0 && picos_per_second < u64::MAX as f64 {
        Ok(Rate::from_picos_per_second(picos_per_second.ceil() as u64))
    } else {
        Err(PlanError::Overflow { what: "a bid" })
    }
}

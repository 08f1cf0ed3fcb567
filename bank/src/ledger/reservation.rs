//! Reservations: transfers in two steps. The money leaves the payer at once, and reaches the payee when the reservation
//! is posted, in whole or in part.
//!
//! ```text
//!   open ──post (amount)──▶ posted     a transfer of the amount; the rest went back to the payer
//!     ├──void──────────────▶ voided     all of it went back
//!     └──its time is over──▶ expired    likewise
//! ```
//!
//! A reservation is resolved once: repeating how it was resolved gives the same answer, anything else is refused.

use serde::{Deserialize, Serialize};
use tycoon_market::{AccountId, Credits, TimeSpan, Timestamp, TransferId};

/// The longest that a reservation may last: 30 days.
pub const RESERVATION_MAX: TimeSpan = TimeSpan::from_seconds(30 * 24 * 3600);
/// Reservations that one account may have open at a time.
pub const RESERVATIONS_OPEN_MAX: u64 = 10_000;

/// Who posts or voids a reservation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolver {
    /// The payer: she sees her order through, and nobody else can spend the money meanwhile.
    #[default]
    Payer,
    /// The payee: he can be sure of the money, and give it back.
    Payee,
    /// Both.
    Either,
}

/// What a payer reserves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReservationOrder {
    /// The client's own id, of the same kind as those of transfers: the transfer that comes of it has it too.
    pub id: TransferId,
    /// The account that pays.
    pub payer: AccountId,
    /// The account that receives.
    pub payee: AccountId,
    /// The most that can be posted.
    pub amount: Credits,
    /// What for.
    #[serde(default)]
    pub memo: String,
    /// How long the reservation lasts.
    pub timeout: TimeSpan,
    /// Who posts or voids it.
    #[serde(default)]
    pub resolver: Resolver,
}

/// How a reservation is to be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Resolution {
    /// The payee receives `amount`, or all of it; the rest goes back.
    Post {
        /// How much.
        #[serde(default)]
        amount: Option<Credits>,
    },
    /// All of it goes back.
    Void {},
}

/// How a reservation was resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ReservationEnd {
    /// The payee received this.
    Posted {
        /// How much.
        amount: Credits,
    },
    /// It was voided.
    Voided,
    /// Its time was over.
    Expired,
}

/// A reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// What was ordered.
    pub order: ReservationOrder,
    /// When.
    pub at: Timestamp,
    /// When it expires unless it is resolved.
    pub expires_at: Timestamp,
    /// How it was resolved; `None` while it is open.
    pub end: Option<ReservationEnd>,
}

impl Reservation {
    /// When it expires; `None` once it is resolved.
    pub fn due_at(&self) -> Option<Timestamp> {
        self.end.is_none().then_some(self.expires_at)
    }
}

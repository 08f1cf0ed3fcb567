//! What a price was, point by point.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{Rate, TimeSpan};

/// The points of a history.
pub const POINTS: usize = 24;

/// The mean price of the last [`POINTS`] stretches of time, each as long as the window's points are, and of the one
/// that has begun. It is counted in integers, so that it is the same in many small steps and in one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct PriceHistory {
    /// The oldest first.
    points: VecDeque<Rate>,
    /// Price × time in the point that has begun, in pico-credits per second × microseconds, as a text.
    #[serde(with = "crate::fine::decimal")]
    sum: u128,
    /// The time of it.
    time: TimeSpan,
}

impl PriceHistory {
    /// Notes that the price was `price` for `span`, where a point is `point` long.
    pub(super) fn note(&mut self, price: Rate, span: TimeSpan, point: TimeSpan) {
        let mut left = span.micros();
        let point = point.micros().max(1);
        // A long time fills every point there is with the same price.
        let whole = point.saturating_mul(POINTS as u64);
        if left > whole.saturating_add(point) {
            left = whole + left % point;
            self.points.clear();
        }
        while left > 0 {
            let part = left.min(point.saturating_sub(self.time.micros()));
            let cost = u128::from(price.picos_per_second()) * u128::from(part);
            self.sum = self.sum.saturating_add(cost);
            self.time = TimeSpan::from_micros(self.time.micros().saturating_add(part));
            left -= part;
            if self.time.micros() >= point {
                self.push(point);
            }
        }
    }

    fn push(&mut self, point: u64) {
        let mean = self.sum / u128::from(point);
        if self.points.len() >= POINTS {
            self.points.pop_front();
        }
        self.points.push_back(Rate::from_picos_per_second(u64::try_from(mean).unwrap_or(u64::MAX)));
        self.sum = 0;
        self.time = TimeSpan::ZERO;
    }

    /// The points, the oldest first. The last is the one that has begun, where anything is known of it; there are
    /// [`POINTS`] at most.
    pub fn points(&self) -> Vec<Rate> {
        let begun = self.sum.checked_div(u128::from(self.time.micros()));
        let begun = begun.map(|mean| Rate::from_picos_per_second(u64::try_from(mean).unwrap_or(u64::MAX)));
        let all: Vec<Rate> = self.points.iter().copied().chain(begun).collect();
        all[all.len().saturating_sub(POINTS)..].to_vec()
    }
}

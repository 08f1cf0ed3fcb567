//! Memory that a sled database has let go of.
//!
//! sled frees what it has replaced by epochs (crossbeam-epoch): when no thread can still see it, some of it is freed by
//! whoever comes to the database next, a few hundred pieces with every 128th visit. One batch of writes is one visit, and
//! leaves thousands of pieces: a service that writes in batches would keep every version of every page it ever wrote (a
//! million rows in batches of 16,384: 2.7 GiB, and 0.6 GiB where this is called after each).

/// Rows whose old versions are freed in one round: a round frees some 500 pieces at most, and a row leaves a few.
const ROWS_A_ROUND: usize = 64;
/// Rounds for the fewest rows: memory is freed two epochs after it was let go of, and a round is an epoch at most.
const ROUNDS_MIN: usize = 4;

/// Frees what a database let go of while `rows` rows of it were written. It takes microseconds for a few, and changes nothing
/// that anybody sees.
pub fn after_writing(rows: usize) {
    for _ in 0..ROUNDS_MIN + rows / ROWS_A_ROUND {
        crossbeam_epoch::pin().flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// As many pieces as rows, let go of by one visit, as by a batch.
    #[test]
    fn what_a_batch_lets_go_of_is_freed() {
        const ROWS: usize = 10_000;
        let freed = Arc::new(AtomicUsize::new(0));
        {
            let visit = crossbeam_epoch::pin();
            for _ in 0..ROWS {
                let freed = freed.clone();
                visit.defer(move || {
                    freed.fetch_add(1, Ordering::Relaxed);
                });
            }
        }
        let before = freed.load(Ordering::Relaxed);
        assert!(before < ROWS / 2, "nothing of it would be needed: {before} are freed anyway");
        super::after_writing(ROWS);
        assert_eq!(freed.load(Ordering::Relaxed), ROWS);
    }

    #[test]
    fn the_database_frees_by_the_same_library() {
        let lock = include_str!("../../Cargo.lock");
        assert_eq!(lock.matches("name = \"crossbeam-epoch\"").count(), 1);
    }
}

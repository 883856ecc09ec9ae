//! Measuring several things in turn.

use std::io::{IsTerminal, Write};

use landline_testbed::Result;

/// Measures each of `kinds` once per round; the results of the first `warm_ups` rounds are thrown away. Each round
/// starts with another kind, so that none always comes behind the same one. The results are in the order of `kinds`,
/// and for each kind in the order of the rounds.
///
/// # Errors
/// The first that `measure` meets.
pub(super) fn in_turn<K, T>(
    warm_ups: usize,
    runs: usize,
    kinds: &[K],
    mut measure: impl FnMut(&K) -> Result<T>,
) -> Result<Vec<Vec<T>>> {
    let mut results: Vec<Vec<T>> = kinds.iter().map(|_| Vec::with_capacity(runs)).collect();
    for round in 0..warm_ups + runs {
        show_progress(round, warm_ups + runs);
        for step in 0..kinds.len() {
            let which = (round + step) % kinds.len();
            let result = measure(&kinds[which])?;
            if round >= warm_ups {
                results[which].push(result);
            }
        }
    }
    show_progress(warm_ups + runs, warm_ups + runs);
    Ok(results)
}

/// A line that somebody who waits can look at; it is gone at the end.
fn show_progress(round: usize, of: usize) {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        let _ =
            if round < of { write!(err, "\rround {} of {of} ", round + 1) } else { write!(err, "\r\x1b[K") };
        let _ = err.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_measured_in_every_round_and_warm_ups_do_not_count() {
        let mut order = String::new();
        let results = in_turn(1, 3, &['a', 'b', 'c'], |kind| {
            order.push(*kind);
            Ok(order.len())
        });
        assert_eq!(order, "abcbcacababc");
        // Which measurement it was, counted from 1, warm-up included.
        assert_eq!(results.ok(), Some(vec![vec![6, 8, 10], vec![4, 9, 11], vec![5, 7, 12]]));
    }
}

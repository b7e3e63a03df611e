//! Looking for the highest rate that is still good.

/// Doubles the rate until it is too much, then halves what is left in between.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    from: f64,
    good: Option<f64>,
    bad: Option<f64>,
}

impl Search {
    /// Begins at a rate.
    pub fn new(from: f64) -> Self {
        Self { from, good: None, bad: None }
    }

    /// The rate to try next; `None` when the answer is close enough, or nothing is good.
    pub fn next(&self) -> Option<f64> {
        match (self.good, self.bad) {
            (None, None) => Some(self.from),
            (Some(good), None) => Some(good * 2.0),
            (None, Some(bad)) => Some(bad / 2.0).filter(|&rate| rate >= self.from / SLOWER_MAX),
            (Some(good), Some(bad)) => Some(f64::midpoint(good, bad)).filter(|_| bad / good > CLOSE_ENOUGH),
        }
    }

    /// What came of trying a rate. On a machine that others use too a rate may be good after a lower one was bad; what was
    /// seen last counts.
    pub fn on_result(&mut self, rate: f64, is_good: bool) {
        if is_good {
            self.good = Some(rate);
            self.bad = self.bad.filter(|&bad| bad > rate);
        } else {
            self.bad = Some(rate);
            self.good = self.good.filter(|&good| good < rate);
        }
    }

    /// The highest good rate.
    pub fn best(&self) -> Option<f64> {
        self.good
    }
}

/// The first rate that is too much is no more than this times the answer.
const CLOSE_ENOUGH: f64 = 1.1;
/// How far below the first rate is still looked.
const SLOWER_MAX: f64 = 64.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found on a server that can do so much, and in how many runs.
    fn found(from: f64, capacity: f64) -> (Option<f64>, usize) {
        let (mut search, mut runs) = (Search::new(from), 0);
        while let Some(rate) = search.next() {
            search.on_result(rate, rate <= capacity);
            runs += 1;
        }
        (search.best(), runs)
    }

    #[test]
    fn the_capacity_is_found_from_below_and_from_above_in_a_few_runs() {
        for (from, capacity) in [(1_000.0, 37_000.0), (1_000.0, 1_000.0), (1_000.0, 90.0), (500.0, 1_000_000.0)] {
            let (best, runs) = found(from, capacity);
            let best = best.unwrap_or(0.0);
            assert!(best <= capacity && best * CLOSE_ENOUGH >= capacity, "{best} for {capacity}");
            assert!(runs <= 17, "{runs} runs for {capacity}");
        }
    }

    #[test]
    fn a_server_that_can_do_nothing_is_given_up() {
        let (best, runs) = found(1_000.0, 0.0);
        assert_eq!(best, None);
        assert!(runs <= 8, "{runs}");
    }

    #[test]
    fn a_run_that_contradicts_an_earlier_one_does_not_confuse_the_search() {
        let mut search = Search::new(100.0);
        search.on_result(100.0, true);
        search.on_result(200.0, false);
        search.on_result(250.0, true);
        assert_eq!((search.best(), search.next()), (Some(250.0), Some(500.0)));
        search.on_result(90.0, false);
        assert_eq!((search.best(), search.next()), (None, Some(45.0)));
    }
}

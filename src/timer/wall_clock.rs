//! What is due by the time of day, on a wheel that knows only monotonic time.

use super::Tick;

/// By how much the clocks must have come apart before the owner is told. Reading them one after the other takes part of
/// a millisecond, and a time server that slews a clock by the usual 500 ppm takes 20 seconds to move it so far.
pub const STEP_MS_MIN: u64 = 10;

/// The wall clock as it was last read, beside the monotonic clock at that moment.
///
/// The owner reads both clocks once a turn and hands them to [`observe`](Self::observe). What is due by wall time then
/// waits on the wheel until [`tick_of`](Self::tick_of), and is asked about again when it fires:
///
/// * [`is_due`](Self::is_due): it happens. So nothing is early by the wall clock, wherever that went meanwhile.
/// * Not due: it is inserted again, at its new `tick_of`, which is later than now. The wall clock went back.
///
/// Where the wall clock goes forward, or monotonic time stands still while the machine is suspended, no wheel can know.
/// Then `observe` says so, and the owner derives the ticks anew of all that waits by wall time. Whatever it does not derive
/// anew is late by the step and never lost.
#[derive(Debug, Clone)]
pub struct WallClock {
    wall_ms: u64,
    now: Tick,
    /// Wall time less monotonic time when the owner was last told, in milliseconds.
    told_offset: i128,
}

/// The wall clock moved against the monotonic one since ticks were last derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStep {
    /// Above 0: things are due earlier than their ticks. Below 0: later.
    pub by_ms: i64,
}

impl WallClock {
    /// From one reading of both clocks. Wall time is in milliseconds since the Unix epoch.
    pub fn new(wall_ms: u64, now: Tick) -> Self {
        Self { wall_ms, now, told_offset: offset(wall_ms, now) }
    }

    /// Takes a reading of both clocks, and says whether ticks must be derived anew: the clocks came apart by
    /// [`STEP_MS_MIN`] or more, at once or little by little, since the last time it said so.
    pub fn observe(&mut self, wall_ms: u64, now: Tick) -> Option<ClockStep> {
        (self.wall_ms, self.now) = (wall_ms, now);
        let by_ms = offset(wall_ms, now) - self.told_offset;
        if by_ms.unsigned_abs() < u128::from(STEP_MS_MIN) {
            return None;
        }
        self.told_offset += by_ms;
        Some(ClockStep { by_ms: by_ms.clamp(i64::MIN.into(), i64::MAX.into()) as i64 })
    }

    /// The time of day when the clocks were last read.
    pub fn wall_ms(&self) -> u64 {
        self.wall_ms
    }

    /// Whether something was due by the wall clock when the clocks were last read.
    pub fn is_due(&self, due_ms: u64) -> bool {
        due_ms <= self.wall_ms
    }

    /// When something falls due, if the wall clock goes as the monotonic one does from now on. Later than now unless it
    /// [is due](Self::is_due); what has been due for longer has the earlier tick, as long as there are ticks so early.
    pub fn tick_of(&self, due_ms: u64) -> Tick {
        let tick = i128::from(due_ms) - offset(self.wall_ms, self.now);
        Tick(tick.clamp(0, u64::MAX.into()) as u64)
    }
}

fn offset(wall_ms: u64, now: Tick) -> i128 {
    i128::from(wall_ms) - i128::from(now.0)
}

#[cfg(test)]
mod tests {
    use super::{super::Wheel, *};

    const WALL_MS: u64 = 1_700_000_000_000;
    const HOUR_MS: u64 = 3_600_000;

    /// What waits by wall time on a wheel, as its owner treats it.
    struct Waiting {
        clock: WallClock,
        wheel: Wheel<u64>,
    }

    impl Waiting {
        /// At monotonic time 0.
        fn until(dues_ms: &[u64]) -> Self {
            let mut waiting = Self { clock: WallClock::new(WALL_MS, Tick(0)), wheel: Wheel::new(Tick(0)) };
            dues_ms.iter().for_each(|due_ms| waiting.insert(*due_ms));
            waiting
        }

        fn insert(&mut self, due_ms: u64) {
            self.wheel.insert(self.clock.tick_of(due_ms), due_ms);
        }

        /// What happens in a turn at these times. Nothing early, or it panics.
        fn turn(&mut self, wall_ms: u64, now: u64) -> Vec<u64> {
            let mut fired = Vec::new();
            if self.clock.observe(wall_ms, Tick(now)).is_some() {
                // Everything that waits is taken out and derived anew, in whatever order.
                self.wheel.advance(Tick(u64::MAX), usize::MAX, &mut |_, due_ms| fired.push(due_ms));
                self.wheel = Wheel::new(Tick(now));
                std::mem::take(&mut fired).into_iter().for_each(|due_ms| self.insert(due_ms));
            }
            self.wheel.advance(Tick(now), usize::MAX, &mut |_, due_ms| fired.push(due_ms));
            let (due, early) = fired.into_iter().partition(|due_ms| self.clock.is_due(*due_ms));
            Vec::into_iter(early).for_each(|due_ms| self.insert(due_ms));
            assert!(due.iter().all(|due_ms| *due_ms <= wall_ms));
            due
        }
    }

    #[test]
    fn clocks_that_go_alike_fire_on_the_millisecond() {
        let mut waiting = Waiting::until(&[WALL_MS + HOUR_MS]);
        assert_eq!(waiting.turn(WALL_MS + HOUR_MS - 1, HOUR_MS - 1), [0; 0]);
        assert_eq!(waiting.turn(WALL_MS + HOUR_MS, HOUR_MS), [WALL_MS + HOUR_MS]);
    }

    #[test]
    fn a_wall_clock_set_forward_fires_what_it_passed_at_once() {
        let (soon, late) = (WALL_MS + 1_000, WALL_MS + 2 * HOUR_MS);
        let mut waiting = Waiting::until(&[late, soon]);
        assert_eq!(waiting.turn(WALL_MS + HOUR_MS + 5, 5), [soon]);
        assert_eq!(waiting.turn(late - 1, HOUR_MS - 1), [0; 0]);
        assert_eq!(waiting.turn(late, HOUR_MS), [late]);
    }

    #[test]
    fn a_suspended_machine_fires_what_fell_due_meanwhile_in_due_order() {
        // Monotonic time stood still for an hour.
        let dues = [WALL_MS + 3_000, WALL_MS + 1_000, WALL_MS + 2_000];
        let mut waiting = Waiting::until(&dues);
        assert_eq!(waiting.turn(WALL_MS + HOUR_MS, 500_000), [dues[1], dues[2], dues[0]]);
    }

    #[test]
    fn a_wall_clock_set_back_fires_nothing_before_it_gets_there_again() {
        let due = WALL_MS + 1_000;
        let mut waiting = Waiting::until(&[due]);
        assert_eq!(waiting.turn(WALL_MS - HOUR_MS + 500, 500), [0; 0]);
        assert_eq!(waiting.turn(WALL_MS - HOUR_MS + 1_000, 1_000), [0; 0]);
        assert_eq!(waiting.turn(due - 1, HOUR_MS + 999), [0; 0]);
        assert_eq!(waiting.turn(due, HOUR_MS + 1_000), [due]);
    }

    #[test]
    fn a_wall_clock_set_back_by_less_than_is_told_makes_nothing_early_either() {
        let due = WALL_MS + 1_000;
        let mut waiting = Waiting::until(&[due]);
        let back = STEP_MS_MIN - 1;
        assert_eq!(waiting.turn(due - back, 1_000), [0; 0]);
        assert_eq!(waiting.wheel.next_at(), Some(Tick(1_000 + back)));
        assert_eq!(waiting.turn(due, 1_000 + back), [due]);
    }

    #[test]
    fn clocks_that_drift_apart_slowly_are_told_of_each_time_they_are_so_far_apart() {
        let mut clock = WallClock::new(WALL_MS, Tick(0));
        // The wall clock gains one millisecond a second.
        let told: Vec<u64> =
            (1..=35).filter(|s| clock.observe(WALL_MS + s * 1_001, Tick(s * 1_000)).is_some()).collect();
        assert_eq!(told, [10, 20, 30]);
    }

    #[test]
    fn a_step_says_how_far_and_which_way() {
        let mut clock = WallClock::new(WALL_MS, Tick(7));
        assert_eq!(clock.observe(WALL_MS + HOUR_MS, Tick(7)), Some(ClockStep { by_ms: HOUR_MS as i64 }));
        assert_eq!(clock.observe(WALL_MS, Tick(7)), Some(ClockStep { by_ms: -(HOUR_MS as i64) }));
        assert_eq!(clock.observe(WALL_MS + 1, Tick(8)), None);
    }

    #[test]
    fn what_was_due_before_ticks_began_is_due_at_the_first() {
        let clock = WallClock::new(WALL_MS, Tick(5));
        assert_eq!([0, WALL_MS - 6, WALL_MS - 5, WALL_MS - 2].map(|due| clock.tick_of(due)), [0, 0, 0, 3].map(Tick));
        assert_eq!(WallClock::new(0, Tick(5)).tick_of(u64::MAX), Tick(u64::MAX));
    }
}

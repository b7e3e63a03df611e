//! Strokes of fate, and their end.

use crate::{
    network::ConnectionId,
    world::{Event, World},
};

/// How wrong a clock may be set: not at all, within what a core waits for, by more than that, by more than a core reads ahead.
const CLOCK_WRONG_MS: [u64; 5] = [0, 100, 900, 10_000, 7_200_000];

/// In a thousand, where there is a cluster: it is that which something happens to.
const OF_CLUSTER: u64 = 400;

impl World {
    pub(crate) fn chaos(&mut self) {
        if self.calm {
            return;
        }
        let open: Vec<ConnectionId> =
            self.connections.iter().filter(|(_, connection)| connection.client_end).map(|(id, _)| *id).collect();
        let settings = self.settings;
        if self.cluster.is_some() && self.rng.chance(OF_CLUSTER) {
            self.cluster_chaos();
            let delay_ms = 1 + self.rng.below(settings.chaos_ms_max);
            return self.after(delay_ms, Event::Chaos);
        }
        match self.rng.below(10) {
            0 | 1 if settings.crashes => {
                // Between any two effects.
                let effects = self.rng.below(20);
                self.note(b"fuse", || format!("the server dies after {effects} effects"));
                if let Some(process) = self.serving_process() {
                    process.light_fuse(effects);
                }
            }
            2 if settings.crashes && self.rng.chance(300) => {
                self.note(b"stop", || "the server is asked to stop".into());
                if let Some(process) = self.serving_process() {
                    process.stop();
                }
            }
            3..6 if settings.disconnects && !open.is_empty() => {
                let id = self.rng.pick(&open);
                self.break_connection(id);
            }
            6 | 7 if settings.stalls && !open.is_empty() => {
                let id = self.rng.pick(&open);
                let connection = self.connections.get_mut(&id).expect("just listed");
                connection.reading = !connection.reading;
                let reading = connection.reading;
                self.note(&[u8::from(reading)], || format!("{id:?} reads: {reading}"));
                self.write_down(id);
            }
            8 if settings.clock_jumps => {
                let most_ms = self.rng.pick(&CLOCK_WRONG_MS);
                let ahead_ms = self.rng.below(2 * most_ms + 1) as i64 - most_ms as i64;
                self.store.lock().disk.schedules.clock.set(self.now_ms, ahead_ms);
                self.note(b"clock", || format!("the clock is set {ahead_ms} ms ahead"));
            }
            _ => {
                let mut inner = self.store.lock();
                inner.faulty = !inner.faulty;
                let faulty = inner.faulty;
                drop(inner);
                self.note(&[u8::from(faulty)], || format!("the store is faulty: {faulty}"));
            }
        }
        let delay_ms = 1 + self.rng.below(settings.chaos_ms_max);
        self.after(delay_ms, Event::Chaos);
    }

    /// No more trouble: from here on everything must come right.
    pub(crate) fn calm_down(&mut self) {
        self.note(b"calm", || "trouble ends".into());
        self.calm = true;
        let mut inner = self.store.lock();
        inner.faulty = false;
        // A clock that is behind would keep everything from being due for as long.
        let clock = &mut inner.disk.schedules.clock;
        clock.set(self.now_ms, clock.ahead_ms().max(0));
        drop(inner);
        self.heal_cluster();
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.connections.get_mut(&id).expect("just listed").reading = true;
            self.write_down(id);
        }
    }
}

//! Strokes of fate, and their end.

use crate::{
    network::ConnectionId,
    world::{Event, World},
};

impl World {
    pub(crate) fn chaos(&mut self) {
        if self.calm {
            return;
        }
        let open: Vec<ConnectionId> =
            self.connections.iter().filter(|(_, connection)| connection.client_end).map(|(id, _)| *id).collect();
        let settings = self.settings;
        match self.rng.below(10) {
            0 | 1 if settings.crashes => {
                // Between any two effects.
                let effects = self.rng.below(20);
                self.note(b"fuse", || format!("the server dies after {effects} effects"));
                if let Some(process) = &mut self.process {
                    process.light_fuse(effects);
                }
            }
            2 if settings.crashes && self.rng.chance(300) => {
                self.note(b"stop", || "the server is asked to stop".into());
                if let Some(process) = &mut self.process {
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
                let jump_ms = self.rng.below(20_000) as i64 - 10_000;
                self.clock_ahead_ms += jump_ms;
                self.note(b"clock", || format!("the clock jumps by {jump_ms} ms"));
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
        self.store.lock().faulty = false;
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.connections.get_mut(&id).expect("just listed").reading = true;
            self.write_down(id);
        }
    }
}

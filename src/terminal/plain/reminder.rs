//! Reminders, line by line.

use super::{Plain, lines, schedule::now_ms};
use crate::terminal::{
    local_time,
    reminders::{self, Reminding},
    when::When,
};
use godwit_client::{ConversationId, Seq, v1::Reminder};

impl Plain<'_> {
    pub(super) async fn remind(&self, when: When, seq: Option<Seq>, note: Option<String>, number: u64) {
        let Some(conversation) = self.current.get() else {
            return self.error("NO_CONVERSATION", "no conversation is chosen: /to NAME", number).await;
        };
        let due = match when.resolve(now_ms(), &self.zone) {
            Ok(due) => due,
            Err(error) => return self.error("INVALID_TIME", &error.to_string(), number).await,
        };
        if let Some(choice) = due.choice {
            self.output.print(lines::note(&choice.to_string(), number)).await;
        }
        let asked = Reminding { conversation, seq, due_ms: due.unix_ms, note };
        match reminders::set(self.client, &asked).await {
            Ok(reminder) => self.print_reminder(&reminder, Some(number)).await,
            Err(error) => self.request_failed(&error, number).await,
        }
    }

    /// One that is set: by line `number`, or on another device; or that is due.
    pub(super) async fn print_reminder(&self, reminder: &Reminder, number: Option<u64>) {
        let Ok(conversation) = ConversationId::from_slice(&reminder.conversation_id) else { return };
        self.learn(self.peer(conversation)).await;
        let due = local_time::iso(reminder.due_ms, &self.zone);
        self.output.print(lines::reminder(&self.name(conversation), &due, reminder, number)).await;
    }

    pub(super) async fn list_reminders(&self, number: u64) {
        match self.client.reminders().await {
            Ok(listed) => {
                for (index, reminder) in listed.iter().enumerate() {
                    self.print_reminder(reminder, Some(index as u64 + 1)).await;
                }
                *self.reminders.borrow_mut() = listed;
                self.output.print(format!("done\t{number}")).await;
            }
            Err(error) => self.request_failed(&error.into(), number).await,
        }
    }

    /// After a connect: those that became due while nobody was there.
    pub(super) async fn print_due(&self) {
        // A server that knows no reminders has none.
        for reminder in self.client.reminders().await.unwrap_or_default().iter().filter(|one| one.is_due) {
            self.print_reminder(reminder, None).await;
        }
    }

    pub(super) async fn dismiss(&self, which: usize, number: u64) {
        let reminder = reminders::numbered(&self.reminders.borrow(), which).cloned();
        let dismissed = match reminder {
            Ok(reminder) => reminders::dismiss(self.client, &reminder).await,
            Err(error) => Err(error),
        };
        match dismissed {
            Ok(()) => self.output.print(format!("done\t{number}")).await,
            Err(error) => self.request_failed(&error, number).await,
        }
    }
}

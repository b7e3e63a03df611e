//! The rules of chat, as pure state machines: no I/O, no clock, no tokio, no quinn, no store.
//!
//! Whatever happens to a conversation goes in as an input together with the time; what is to be done comes out as effects.
//! The same code runs on the server's cores and in the simulator.

mod bans;
mod conversation;
mod entry;
mod expiry;
mod input;
mod member;
mod membership;
mod ordinals;
mod sanctions;
mod scheduled;
mod sending;
mod typing;
mod window;

pub use bans::{BANS_PER_GROUP_MAX, Ban, Bans};
pub use conversation::{Conversation, ConversationLimits};
pub use entry::{LogEntry, MessageBody, NEVER_MS, withdraw};
pub use expiry::{Expiry, Wait, WaitFor, is_expired};
pub use input::{Accepted, Action, Change, Effect, Input, NewMessage, Question, Refusal, Reply, SentBy};
pub use member::{ConversationDetails, Member, MemberChange, Position, Role};
pub use membership::recipients_of;
pub use ordinals::Ordinals;
pub use sanctions::{SANCTION_AHEAD_MS_MAX, Sanction};
pub use scheduled::{SCHEDULED_UNREAD_MAX, Scheduled};
pub use typing::TYPING_MEMBERS_MAX;
use window::DedupeWindow;

#[cfg(test)]
mod tests;

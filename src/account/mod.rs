//! Who somebody is: names, passwords, tokens and invitations. Only the rules; the store keeps the rows.

mod display_name;
mod invitation;
mod invitation_secret;
mod password;
mod password_pool;
mod token;
mod username;

pub use display_name::{DISPLAY_NAME_BYTES_MAX, DisplayName, InvalidDisplayName};
pub use invitation::{InvalidInvitation, Invitation};
pub use invitation_secret::{InvitationSecret, SecretError};
pub use password::{InvalidPassword, PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN, Password};
pub use password_pool::{PasswordError, PasswordPool, PasswordSettings};
pub use token::{InvalidToken, Token};
pub use username::{InvalidUsername, USERNAME_BYTES_MAX, USERNAME_CHARS_MAX, Username};

//! Finding out who a session is: registration, password, token.

use super::{
    Identity, Limits,
    parse::invalid,
    services::{Registration, Services, refusal},
    session::Device,
};
use crate::{
    account::{DisplayName, Password, PasswordError, Token, Username},
    chat::Refusal,
    store::{CreateUserOutcome, NewToken, TokenHash, TokenRecord, UserRecord},
};
use bytes::Bytes;
use godwit_proto::{UserId, v1, v1::ErrorCode};

/// How long a client waits before it tries again while every hashing thread is busy.
const PASSWORDS_BUSY_RETRY_MS: u32 = 1_000;

/// A token's end is moved only when it moves by this much, so that a resume is seldom a write.
const TOKEN_EXTENSION_MIN_MS: u64 = 24 * 3_600_000;

/// What a client showed.
pub enum Attempt {
    Register(v1::RegisterRequest),
    Login(v1::LoginRequest),
    Resume(v1::ResumeRequest),
}

/// Decides an attempt. Everything it writes is durable when it returns.
pub async fn authenticate(
    services: Services,
    limits: Limits,
    now_ms: u64,
    device: Device,
    attempt: Attempt,
) -> Result<Identity, Refusal> {
    match attempt {
        Attempt::Register(request) => {
            let user = register(&services, now_ms, request).await?;
            issue_token(&services, &limits, now_ms, device, user).await
        }
        Attempt::Login(request) => {
            let user = log_in(&services, request).await?;
            issue_token(&services, &limits, now_ms, device, user).await
        }
        Attempt::Resume(request) => resume(&services, &limits, now_ms, &device, &request.token).await,
    }
}

async fn register(services: &Services, now_ms: u64, request: v1::RegisterRequest) -> Result<UserRecord, Refusal> {
    let invitation = match &services.registration {
        Registration::Open => None,
        Registration::Closed => {
            return Err(Refusal::new(ErrorCode::RegistrationClosed, "this server registers nobody"));
        }
        Registration::Invitation(check) => match check(&request.invitation, now_ms) {
            Some(invitation) => Some(invitation),
            None => return Err(invitation_refused()),
        },
    };
    let username = Username::parse(&request.username)
        .map_err(|error| Refusal::new(ErrorCode::InvalidUsername, error.to_string()))?;
    let display_name = DisplayName::parse(&request.display_name, username.as_str()).map_err(invalid)?.into_string();
    let password =
        Password::new(request.password).map_err(|error| Refusal::new(ErrorCode::InvalidPassword, error.to_string()))?;
    let password_hash = services.passwords.hash(password).await.map_err(|error| password_refusal(&error))?;
    loop {
        let user = UserRecord {
            id: random_user_id(services),
            username: username.as_str().to_owned(),
            name_key: username.key().to_owned(),
            display_name: display_name.clone(),
            password_hash: password_hash.clone(),
            created_ms: now_ms,
        };
        match services.store.create_user(user.clone(), invitation).await.map_err(|error| refusal(&error))? {
            CreateUserOutcome::Created => return Ok(user),
            CreateUserOutcome::IdTaken => {}
            CreateUserOutcome::InvitationUsed => return Err(invitation_refused()),
            CreateUserOutcome::NameTaken => {
                return Err(Refusal::new(ErrorCode::UsernameTaken, "somebody has this name"));
            }
        }
    }
}

async fn log_in(services: &Services, request: v1::LoginRequest) -> Result<UserRecord, Refusal> {
    let user = match Username::parse(&request.username) {
        Ok(name) => services.store.user_by_name(name.key().to_owned()).await.map_err(|error| refusal(&error))?,
        Err(_) => None,
    };
    // An unknown user costs as much time as a wrong password, so that names cannot be guessed by the clock.
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let refused = || Refusal::new(ErrorCode::InvalidCredentials, "no such user, or a wrong password");
    let password = Password::new(request.password).map_err(|_| refused())?;
    let matches = services.passwords.verify(hash, password).await.map_err(|error| password_refusal(&error))?;
    user.filter(|_| matches).ok_or_else(refused)
}

async fn resume(
    services: &Services,
    limits: &Limits,
    now_ms: u64,
    device: &Device,
    shown: &Bytes,
) -> Result<Identity, Refusal> {
    let refused = || Refusal::new(ErrorCode::InvalidToken, "the token is unknown, expired or another device's");
    let token_hash = Token::from_slice(shown).map_err(|_| refused())?.hash();
    let found = services.store.token(token_hash).await.map_err(|error| refusal(&error))?;
    let record = found.filter(|record| record.device == device.id && record.expires_ms > now_ms).ok_or_else(refused)?;
    let users = services.store.users(vec![record.user]).await.map_err(|error| refusal(&error))?;
    let user = users.into_iter().next().ok_or_else(refused)?;
    let extended_ms = now_ms + limits.token_lifetime_ms;
    let mut expires_ms = record.expires_ms;
    if extended_ms >= expires_ms + TOKEN_EXTENSION_MIN_MS.min(limits.token_lifetime_ms) {
        services.store.extend_token(token_hash, extended_ms).await.map_err(|error| refusal(&error))?;
        expires_ms = extended_ms;
    }
    Ok(identity(user, token_hash, Bytes::new(), expires_ms))
}

async fn issue_token(
    services: &Services,
    limits: &Limits,
    now_ms: u64,
    device: Device,
    user: UserRecord,
) -> Result<Identity, Refusal> {
    let mut random = [0; 32];
    (services.random)(&mut random);
    let token = Token::from_random(random);
    let hash = token.hash();
    let expires_ms = now_ms + limits.token_lifetime_ms;
    let record = TokenRecord { hash, user: user.id, device: device.id, device_name: device.name, expires_ms };
    let row = NewToken { record, devices_max: limits.devices_per_user_max, now_ms };
    if !services.store.put_token(row).await.map_err(|error| refusal(&error))? {
        let message = format!("a user has at most {} devices; log one out first", limits.devices_per_user_max);
        return Err(Refusal::new(ErrorCode::TooManySessions, message));
    }
    Ok(identity(user, hash, token.to_bytes(), expires_ms))
}

fn identity(user: UserRecord, token_hash: TokenHash, token: Bytes, token_expires_ms: u64) -> Identity {
    let response = v1::AuthenticateResponse {
        user_id: user.id.as_u64(),
        username: user.username,
        display_name: user.display_name,
        token,
        token_expires_ms,
    };
    Identity { user: user.id, token_hash, token_expires_ms, response }
}

fn password_refusal(error: &PasswordError) -> Refusal {
    match error {
        PasswordError::Overloaded => {
            Refusal::retry(ErrorCode::Overloaded, "too many logins at once", PASSWORDS_BUSY_RETRY_MS)
        }
        _ => {
            tracing::error!(%error, "a password could not be checked");
            Refusal::new(ErrorCode::Internal, "the password could not be checked")
        }
    }
}

fn invitation_refused() -> Refusal {
    Refusal::new(ErrorCode::InvalidInvitation, "the invitation is missing, unknown, used or expired")
}

fn random_user_id(services: &Services) -> UserId {
    loop {
        let mut bytes = [0; 8];
        (services.random)(&mut bytes);
        if let Ok(id) = UserId::new(u64::from_be_bytes(bytes) & UserId::MAX.as_u64()) {
            return id;
        }
    }
}

/// Names go through the same rules whoever looks for them; one that no user can have finds nobody.
pub fn name_keys(names: &[String], limits: &Limits) -> Result<Vec<String>, Refusal> {
    if names.len() > limits.users_per_request_max {
        return Err(invalid(format!("at most {} users in one request", limits.users_per_request_max)));
    }
    Ok(names.iter().filter_map(|name| Username::parse(name).ok()).map(|name| name.key().to_owned()).collect())
}

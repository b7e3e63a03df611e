//! What a crash or a former owner leaves of accounts and tokens.

use super::{
    blob, open,
    owner::{Owner, Turn, fence, fence_from},
    store_suite::{build::*, wait},
};
use godwit::store::{
    AckedPosition,
    CreateUserOutcome::*,
    InvitationId, NewToken, Revoke, StoreError, TokenHash, TokenRecord, UserStore,
    scylla::users::{AccountLimits, Accounts},
};
use godwit_proto::Seq;

const INVITATION: InvitationId = InvitationId([3; 16]);

/// What a server does first that registers a user with the invitation, before it takes the name.
fn claim_by_hand(turn: &Turn, user: u64, name_key: &str) {
    let invitation = blob(&INVITATION.0);
    turn.owner.run(async {
        let owner = &turn.owner;
        let id = format!("INSERT INTO users (user_id, name_key, claim) VALUES ({user}, '{name_key}', 1) IF NOT EXISTS");
        owner.execute(id).await;
        owner
            .execute(format!(
                "INSERT INTO invitations (invitation, user_id, name_key, claim) VALUES ({invitation}, {user}, '{name_key}', 2) \
                 IF NOT EXISTS"
            ))
            .await;
    });
}

/// What it does last. Says whether it got the name.
fn take_name_by_hand(turn: &Turn, user: i64, name_key: &str) -> bool {
    let insert = "INSERT INTO user_names (name_key, user_id, record) VALUES (?, ?, ?) IF NOT EXISTS";
    let session = turn.owner.session();
    let rows = turn.owner.run(session.query_unpaged(insert, (name_key, user, [1_u8; 9].as_slice()))).unwrap();
    let rows = rows.into_rows_result().unwrap();
    rows.first_row::<scylla::value::Row>().unwrap().columns[0].as_ref().unwrap().as_boolean().unwrap()
}

#[test]
fn a_registration_that_ended_before_it_got_the_name_leaves_nothing() {
    let Some(turn) = Owner::turn() else { return };
    claim_by_hand(&turn, 7, "ada");
    let store = open(&turn, fence());
    assert_eq!(wait(store.users(vec![user(7)])), Ok(vec![]));
    assert_eq!(wait(store.user_by_name("ada".to_owned())), Ok(None));
    assert_eq!(wait(store.create_user(account(7, "Bob"), Some(INVITATION))), Ok(Created), "id and invitation are free");
    assert_eq!(wait(store.create_user(account(8, "Ada"), Some(INVITATION))), Ok(InvitationUsed));
    assert_eq!(wait(store.create_user(account(7, "Ada"), None)), Ok(IdTaken));
    assert_eq!(wait(store.create_user(account(8, "Ada"), None)), Ok(Created), "the name is free");
    assert_eq!(wait(store.users(vec![user(7), user(8)])), Ok(vec![account(7, "Bob"), account(8, "Ada")]));
}

#[test]
fn a_registration_may_be_made_again_after_it_was_interrupted() {
    let Some(turn) = Owner::turn() else { return };
    claim_by_hand(&turn, 7, "ada");
    let store = open(&turn, fence());
    assert_eq!(wait(store.create_user(account(7, "Ada"), Some(INVITATION))), Ok(Created));
    assert_eq!(wait(store.users(vec![user(7)])), Ok(vec![account(7, "Ada")]));
    assert_eq!(wait(store.create_user(account(8, "Bob"), Some(INVITATION))), Ok(InvitationUsed));
}

#[test]
fn whoever_was_too_slow_does_not_get_the_name_when_its_invitation_was_used_meanwhile() {
    let Some(turn) = Owner::turn() else { return };
    claim_by_hand(&turn, 7, "ada");
    let store = open(&turn, fence());
    assert_eq!(wait(store.create_user(account(8, "Bob"), Some(INVITATION))), Ok(Created));
    assert!(!take_name_by_hand(&turn, 7, "ada"), "two accounts with one invitation");
    assert_eq!(wait(store.user_by_name("ada".to_owned())), Ok(None));
    assert_eq!(wait(store.create_user(account(9, "Ada"), None)), Ok(Created));
}

fn put_token(store: &impl UserStore, record: TokenRecord) {
    assert_eq!(wait(store.put_token(NewToken { record, devices_max: 9, now_ms: 0 })), Ok(true));
}

fn find(store: &impl UserStore, hash: u8) -> Option<TokenRecord> {
    wait(store.token(TokenHash([hash; 32]))).unwrap()
}

#[test]
fn what_a_former_owner_writes_late_does_not_bring_a_token_back() {
    let Some(turn) = Owner::turn() else { return };
    let former = fence();
    let store = open(&turn, former.clone());
    put_token(&store, token(1, 7, 1, 100));
    // On its way: the device's token is extended.
    let late_us = former.timestamp().unwrap();
    let store = open(&turn, fence_from(late_us + 1));
    assert_eq!(wait(store.revoke_tokens(user(7), Revoke::AllDevices)), Ok(vec![device(1)]));
    let (device, hash) = (blob(&device(1).0), blob(&[1; 32]));
    turn.owner.run(turn.owner.execute(format!(
        "INSERT INTO devices (user_id, device, hash, name, expires_ms) VALUES (7, {device}, {hash}, 'phone 1', 900) \
         USING TIMESTAMP {late_us}"
    )));
    assert_eq!(find(&store, 1), None);
}

#[test]
fn an_index_without_a_device_is_no_token() {
    let Some(turn) = Owner::turn() else { return };
    let (device_blob, hash) = (blob(&device(1).0), blob(&[1; 32]));
    let index = format!("INSERT INTO tokens (hash, user_id, device) VALUES ({hash}, 7, {device_blob})");
    turn.owner.run(turn.owner.execute(index));
    let store = open(&turn, fence());
    assert_eq!(find(&store, 1), None);
    assert_eq!(wait(store.extend_token(TokenHash([1; 32]), 900)), Ok(()));
    assert_eq!(find(&store, 1), None);
    assert_eq!(wait(store.revoke_tokens(user(7), Revoke::AllDevices)), Ok(vec![]));
}

fn acked(seq: u64) -> AckedPosition {
    AckedPosition { user: user(7), device: device(1), conversation: group(1), seq: Seq(seq) }
}

#[test]
fn an_acked_position_is_not_moved_back_by_a_write_that_comes_late() {
    let Some(turn) = Owner::turn() else { return };
    let store = open(&turn, fence());
    wait(store.put_acked(vec![acked(9)])).unwrap();
    wait(store.0.accounts.settle()).unwrap();
    let (device_blob, conversation) = (blob(&device(1).0), blob(group(1).as_bytes()));
    turn.owner.run(turn.owner.execute(format!(
        "INSERT INTO acked (user_id, device, conversation, seq) VALUES (7, {device_blob}, {conversation}, 5) \
         USING TIMESTAMP 5"
    )));
    let store = open(&turn, fence());
    assert_eq!(wait(store.acked(user(7), device(1), vec![group(1)])), Ok(vec![Seq(9)]));
}

#[test]
fn acked_positions_in_memory_are_limited() {
    let Some(turn) = Owner::turn() else { return };
    let (cql, runtime, limits) = (&turn.owner.cql, turn.owner.runtime(), AccountLimits { acked_pending_max: 2 });
    let store = turn.owner.run(Accounts::open(cql.clone(), fence(), runtime, limits)).unwrap();
    assert_eq!(wait(store.put_acked(vec![acked(1), acked(2), acked(3)])), Err(StoreError::Overloaded));
    assert_eq!(wait(store.put_acked(vec![acked(1), acked(2)])), Ok(()));
}

#[test]
fn nothing_is_said_or_done_past_the_fence() {
    let Some(turn) = Owner::turn() else { return };
    let fence = fence();
    let store = open(&turn, fence.clone());
    put_token(&store, token(1, 7, 1, 100));
    fence.end();
    let lapsed = |error: StoreError| error.to_string().contains("lapsed");
    assert!(wait(store.token(TokenHash([1; 32]))).is_err_and(lapsed));
    assert!(wait(store.user_by_name("ada".to_owned())).is_err_and(lapsed));
    assert!(wait(store.create_user(account(7, "Ada"), None)).is_err_and(lapsed));
    assert!(wait(store.revoke_tokens(user(7), Revoke::AllDevices)).is_err_and(lapsed));
    let store = open(&turn, super::fence());
    assert_eq!(find(&store, 1), Some(token(1, 7, 1, 100)));
    assert_eq!(wait(store.user_by_name("ada".to_owned())), Ok(None));
}

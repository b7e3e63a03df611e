//! Accounts, tokens and acked positions.

use super::{Harness, build::*, wait};
use godwit::store::{
    AckedPosition, CreateUserOutcome::*, InvitationId, NewToken, Revoke, TokenHash, TokenRecord, UserStore,
};
use godwit_proto::Seq;

const INVITATION: Option<InvitationId> = Some(InvitationId([3; 16]));

fn put_token(store: &impl UserStore, record: TokenRecord, devices_max: usize, now_ms: u64) -> bool {
    wait(store.put_token(NewToken { record, devices_max, now_ms })).unwrap()
}

fn find(store: &impl UserStore, hash: u8) -> Option<TokenRecord> {
    wait(store.token(TokenHash([hash; 32]))).unwrap()
}

pub fn a_user_is_found_by_name_and_by_id<H: Harness>(h: &H) {
    let store = h.open();
    assert_eq!(wait(store.create_user(account(7, "Ada"), None)), Ok(Created));
    assert_eq!(wait(store.create_user(account(8, "Bob"), None)), Ok(Created));
    let store = h.between(store);
    assert_eq!(wait(store.user_by_name("ada".to_owned())), Ok(Some(account(7, "Ada"))));
    assert_eq!(wait(store.user_by_name("Ada".to_owned())), Ok(None));
    let found = wait(store.users(vec![user(8), user(99), user(7), user(8)])).unwrap();
    assert_eq!(found, [account(8, "Bob"), account(7, "Ada"), account(8, "Bob")]);
}

pub fn a_name_an_id_and_an_invitation_are_used_once<H: Harness>(h: &H) {
    let store = h.open();
    assert_eq!(wait(store.create_user(account(7, "Ada"), INVITATION)), Ok(Created));
    let store = h.between(store);
    assert_eq!(wait(store.create_user(account(8, "ADA"), None)), Ok(NameTaken));
    assert_eq!(wait(store.create_user(account(7, "Bob"), None)), Ok(IdTaken));
    assert_eq!(wait(store.create_user(account(8, "Bob"), INVITATION)), Ok(InvitationUsed));
    assert_eq!(wait(store.users(vec![user(7), user(8)])), Ok(vec![account(7, "Ada")]));
    assert_eq!(wait(store.user_by_name("bob".to_owned())), Ok(None));
}

pub fn of_two_at_once_one_gets_the_name<H: Harness>(h: &H) {
    let store = h.open();
    let calls: Vec<_> = (1..=50).map(|id| store.create_user(account(id, "Ada"), None)).collect();
    let outcomes: Vec<_> = calls.into_iter().map(|call| wait(call).unwrap()).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Created).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == NameTaken).count(), 49);
    let store = h.between(store);
    let ids = (1..=50).map(user).collect();
    assert_eq!(wait(store.users(ids)).unwrap().len(), 1);
}

pub fn a_refused_registration_leaves_the_invitation_unused<H: Harness>(h: &H) {
    let store = h.open();
    wait(store.create_user(account(7, "Ada"), None)).unwrap();
    assert_eq!(wait(store.create_user(account(8, "ada"), INVITATION)), Ok(NameTaken));
    let store = h.between(store);
    assert_eq!(wait(store.create_user(account(8, "Bob"), INVITATION)), Ok(Created));
}

pub fn a_token_is_found_expired_or_not<H: Harness>(h: &H) {
    let store = h.open();
    assert!(put_token(&store, token(1, 7, 1, 100), 3, 50));
    assert!(put_token(&store, token(2, 7, 2, 10), 3, 50));
    let store = h.between(store);
    assert_eq!(find(&store, 1), Some(token(1, 7, 1, 100)));
    assert_eq!(find(&store, 2), Some(token(2, 7, 2, 10)));
    assert_eq!(find(&store, 3), None);
}

pub fn a_device_has_one_token<H: Harness>(h: &H) {
    let store = h.open();
    assert!(put_token(&store, token(1, 7, 1, 100), 1, 0));
    let store = h.between(store);
    assert!(put_token(&store, token(2, 7, 1, 200), 1, 0));
    let store = h.between(store);
    assert_eq!(find(&store, 1), None);
    assert_eq!(find(&store, 2), Some(token(2, 7, 1, 200)));
    // The same device id at another user is another device.
    assert!(put_token(&store, token(3, 8, 1, 300), 1, 0));
    assert_eq!(find(&store, 2), Some(token(2, 7, 1, 200)));
}

pub fn devices_are_limited_and_expired_ones_do_not_count<H: Harness>(h: &H) {
    let store = h.open();
    assert!(put_token(&store, token(1, 7, 1, 100), 2, 0));
    assert!(put_token(&store, token(2, 7, 2, 200), 2, 0));
    let store = h.between(store);
    assert!(!put_token(&store, token(3, 7, 3, 300), 2, 99));
    assert!(put_token(&store, token(4, 7, 2, 200), 2, 99), "its own token does not count against a device");
    assert!(put_token(&store, token(3, 7, 3, 300), 2, 100), "a token is dead when its time has come");
    let store = h.between(store);
    assert_eq!(find(&store, 1), None, "expired tokens are dropped");
    assert_eq!(find(&store, 3), Some(token(3, 7, 3, 300)));
    assert!(!put_token(&store, token(5, 8, 1, 300), 0, 0));
}

pub fn a_refused_token_changes_nothing<H: Harness>(h: &H) {
    let store = h.open();
    put_token(&store, token(1, 7, 1, 10), 9, 0);
    put_token(&store, token(2, 7, 2, 100), 9, 0);
    let store = h.between(store);
    assert!(!put_token(&store, token(3, 7, 3, 100), 1, 50));
    let store = h.between(store);
    assert_eq!(find(&store, 1), Some(token(1, 7, 1, 10)));
    assert_eq!(find(&store, 3), None);
}

pub fn a_token_is_extended_but_not_revived<H: Harness>(h: &H) {
    let store = h.open();
    put_token(&store, token(1, 7, 1, 10), 9, 0);
    let store = h.between(store);
    assert_eq!(wait(store.extend_token(TokenHash([1; 32]), 500)), Ok(()));
    assert_eq!(wait(store.extend_token(TokenHash([2; 32]), 500)), Ok(()));
    let store = h.between(store);
    assert_eq!(find(&store, 1), Some(token(1, 7, 1, 500)));
    assert_eq!(find(&store, 2), None);
}

pub fn an_extended_token_counts_as_living<H: Harness>(h: &H) {
    let store = h.open();
    put_token(&store, token(1, 7, 1, 10), 1, 0);
    wait(store.extend_token(TokenHash([1; 32]), 500)).unwrap();
    let store = h.between(store);
    assert!(!put_token(&store, token(2, 7, 2, 900), 1, 100));
    assert!(put_token(&store, token(2, 7, 2, 900), 1, 500));
}

pub fn revoking_names_the_devices<H: Harness>(h: &H) {
    let store = h.open();
    for n in 1..=4 {
        put_token(&store, token(n, 7, n, 100), 9, 0);
    }
    put_token(&store, token(5, 8, 1, 100), 9, 0);
    let store = h.between(store);
    assert_eq!(wait(store.revoke_tokens(user(7), Revoke::Device(device(2)))), Ok(vec![device(2)]));
    assert_eq!(wait(store.revoke_tokens(user(7), Revoke::Device(device(2)))), Ok(vec![]));
    assert_eq!(find(&store, 2), None);
    let store = h.between(store);
    let mut ended = wait(store.revoke_tokens(user(7), Revoke::AllDevices)).unwrap();
    ended.sort_unstable();
    assert_eq!(ended, [device(1), device(3), device(4)]);
    let store = h.between(store);
    for n in 1..=4 {
        assert_eq!(find(&store, n), None);
    }
    assert_eq!(find(&store, 5), Some(token(5, 8, 1, 100)));
}

pub fn acked_positions_never_move_back<H: Harness>(h: &H) {
    let store = h.open();
    let at = |conversation, n, seq| AckedPosition {
        user: user(7),
        device: device(n),
        conversation: group(conversation),
        seq: Seq(seq),
    };
    let acked = |store: &H::Store, n| {
        let asked = vec![group(2), group(9), group(1)];
        wait(store.acked(user(7), device(n), asked)).unwrap().into_iter().map(|seq| seq.0).collect::<Vec<_>>()
    };
    wait(store.put_acked(vec![at(1, 1, 5), at(2, 1, 8), at(1, 2, 3), at(1, 1, 4)])).unwrap();
    assert_eq!(acked(&store, 1), [8, 0, 5]);
    let store = h.between(store);
    wait(store.put_acked(vec![at(1, 1, 2), at(2, 1, 9)])).unwrap();
    assert_eq!(acked(&store, 1), [9, 0, 5]);
    let store = h.between(store);
    assert_eq!(acked(&store, 1), [9, 0, 5]);
    assert_eq!(acked(&store, 2), [0, 0, 3]);
}

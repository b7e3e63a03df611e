//! What every store must do, whatever is behind it. `conformance!` makes a test of each function here.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

pub mod build;
pub mod disk;
pub mod large;
pub mod log;
pub mod model;
pub mod model_store;
pub mod rewritten;
pub mod timers;
pub mod users;

use godwit::store::Store;
use std::future::Future;

/// How the suite gets at the store under test.
pub trait Harness {
    type Store: Store;

    /// Opens the one store of this harness, empty at first.
    fn open(&self) -> Self::Store;

    /// Called between writing and reading: may write what is pending, or close and open again. What was answered must
    /// be there afterwards.
    fn between(&self, store: Self::Store) -> Self::Store;
}

/// Waits for a future. Stores need no runtime.
pub fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Makes a test of every function of the suite, or of one part of it, given an expression that makes a fresh harness.
#[macro_export]
macro_rules! conformance {
    ($harness:expr) => {
        conformance!(@log $harness);
        conformance!(@users $harness);
        conformance!(@timers $harness);
    };
    (@log $harness:expr) => {
        conformance!(@tests $harness, log:
            a_commit_is_there_once_it_is_answered,
            the_same_commit_again_is_already_durable,
            an_old_commit_again_is_already_durable,
            a_commit_from_elsewhere_conflicts_and_writes_nothing,
            a_commit_of_members_alone_conflicts_too,
            commits_of_one_call_build_on_each_other,
            commits_of_different_conversations_stand_apart,
            a_duplicate_within_one_call_is_already_durable,
            calls_commit_in_the_order_they_were_made,
            an_unknown_conversation_is_empty,
            pages_run_forward_and_backward_through_a_long_log,
            a_page_ends_at_its_bytes_but_is_never_empty,
            a_page_never_skips_an_entry_that_does_not_fit,
            an_entry_is_found_by_what_its_sender_called_it,
            loading_gives_details_members_and_tail,
            a_member_is_overwritten_and_removed,
            what_schedules_sent_for_a_member_is_part_of_the_row,
            a_member_changed_twice_in_one_commit_ends_as_the_last_says,
            summaries_come_in_the_order_asked,
            member_counts_follow_joins_and_leaves,
            conversations_of_a_user_come_in_pages,
            details_change,
        );
        conformance!(@tests $harness, large:
            a_log_of_thousands_is_one_log,
            a_group_of_hundreds_is_one_group,
            what_was_left_does_not_shorten_a_page,
            commits_of_many_conversations_at_once_stand_apart,
            whoever_reads_sees_a_commit_whole_or_not_at_all,
            summaries_of_many_conversations_are_of_each,
        );
        conformance!(@tests $harness, rewritten:
            a_rewritten_entry_is_read_everywhere,
            what_is_rewritten_before_it_is_a_row_is_read_as_it_is_now,
            an_entry_may_be_rewritten_again,
            a_page_counts_the_bytes_of_what_stands_there_now,
            a_commit_that_was_rewritten_since_is_not_there_any_more,
            timers_come_with_a_commit,
            a_commit_that_is_not_written_writes_neither_timers_nor_rewritten_entries,
            a_summary_shows_the_newest_entry_that_there_is_something_to_show_of,
            a_summary_looks_for_it_no_further_than_it_says,
            what_expires_is_part_of_details_and_members,
        );
    };
    (@users $harness:expr) => {
        conformance!(@tests $harness, users:
            a_user_is_found_by_name_and_by_id,
            a_name_an_id_and_an_invitation_are_used_once,
            of_two_at_once_one_gets_the_name,
            a_refused_registration_leaves_the_invitation_unused,
            a_token_is_found_expired_or_not,
            a_device_has_one_token,
            devices_are_limited_and_expired_ones_do_not_count,
            a_refused_token_changes_nothing,
            a_token_is_extended_but_not_revived,
            an_extended_token_counts_as_living,
            revoking_names_the_devices,
            acked_positions_never_move_back,
        );
    };
    (@timers $harness:expr) => {
        conformance!(@tests $harness, timers:
            a_timer_is_there_once_it_is_answered,
            timers_come_in_the_order_asked,
            a_timer_that_is_put_again_is_due_at_its_new_time_alone,
            a_removed_timer_is_gone,
            removing_what_is_not_there_is_fine,
            changes_of_one_call_take_effect_in_order,
            timers_of_calls_change_in_the_order_they_were_made,
            due_are_those_from_the_start_up_to_the_end,
            due_are_those_of_the_vshards_asked_for,
            due_timers_come_in_pages_and_in_order_within_a_vshard,
            a_page_of_due_timers_starts_where_both_bounds_say,
            timers_of_an_owner_come_in_pages_by_due_time_and_id,
            an_owners_timers_are_counted_by_kind,
            a_timer_may_carry_nothing_or_as_much_as_allowed,
        );
        conformance!(@tests $harness, large:
            timers_days_apart_are_due_in_order,
        );
    };
    (@tests $harness:expr, $group:ident: $($name:ident,)*) => {
        $(
            #[test]
            fn $name() {
                store_suite::$group::$name(&$harness);
            }
        )*
    };
}

//! The store's contract: one set of functions, run on SQLite and on PostgreSQL.

mod bench;
mod classes;
mod compliance;
mod exclusion_reports;
mod failures;
mod harm_signals;
mod integrity;
mod keys;
mod model_shadows;
mod notices;
mod proof;
mod quarantine;
mod reads;
mod risk_models;
mod rule_inputs;
mod rules;
mod schema;
mod writes;

use bench::Kind;

/// Runs each function of a module on both databases, as tests of their own names.
macro_rules! both {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        mod sqlite { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$module::$name(super::Kind::Sqlite).await; }
        )+ }
        mod postgres { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$module::$name(super::Kind::Postgres).await; }
        )+ }
    };
}

both!(
    writes::sequences_are_gapless_and_published_in_order,
    writes::a_refused_member_fails_alone,
    writes::an_alert_revision_is_stored_once,
    writes::records_are_found_by_operator_and_time,
    writes::how_far_a_source_was_read_is_stored_with_its_records,
    writes::an_idempotency_key_stands_once_and_is_forgotten,
    writes::events_of_another_process_are_published_in_order,
    writes::a_closed_writer_takes_nothing_and_loses_nothing,
    proof::any_flipped_byte_of_the_journal_is_named,
    proof::a_missing_a_swapped_and_a_cut_off_row_are_named,
    proof::a_forged_checkpoint_is_named,
    proof::the_journal_takes_no_change,
    integrity::a_state_that_was_overtaken_is_refused_with_its_batch,
    integrity::counts_of_a_source_outlive_the_process,
    integrity::a_days_sums_are_those_of_a_naive_count,
    integrity::declarations_are_kept_and_the_newest_counts,
    integrity::intervals_in_which_something_came_are_counted,
    quarantine::what_a_source_was_refused_is_known_by_its_digest,
    quarantine::refused_records_are_listed_page_by_page,
    quarantine::a_record_is_settled_once_and_with_the_records_that_come_of_it,
    quarantine::what_is_refused_again_stays_open_with_the_last_attempt,
    keys::what_was_made_before_a_step_is_refused_alone,
    keys::versions_go_one_way_and_a_retired_number_begins_anew,
    keys::a_seal_takes_the_place_of_the_one_it_was_made_of_and_of_no_other,
    notices::a_notice_is_stored_once_a_channel_and_with_its_reason_or_not_at_all,
    notices::notices_are_due_in_order_and_none_before_the_beginning_of_its_group,
    notices::the_log_is_read_newest_first_page_by_page,
    notices::the_log_forgets_what_is_old_and_nothing_that_waits,
    reads::a_sources_last_success_only_moves_on,
    reads::of_an_operators_states_the_newest_two_are_kept_and_only_as_they_were,
    rule_inputs::inputs_of_rules_are_numbered_and_read_with_their_batches,
    rule_inputs::a_batch_is_heard_once,
    rule_inputs::findings_are_kept_once_and_read_newest_first,
    rule_inputs::what_inputs_led_to_is_read_by_their_places,
    rule_inputs::inputs_are_held_against_the_journal,
    rule_inputs::exclusions_are_counted_by_who_reported_them,
    rule_inputs::the_newest_count_of_exclusions_is_found,
    rules::backtests_are_kept_with_their_results,
    rule_inputs::an_input_is_scored_once,
    rule_inputs::silences_of_feeds_are_read_newest_first,
    rules::changes_of_rules_have_their_place_in_the_journal,
    rules::what_a_version_found_is_counted_and_shown,
    rules::what_a_version_of_the_market_said_is_counted_in_its_alerts,
    rules::sets_that_a_market_took_are_read_by_their_inputs,
    compliance::a_day_is_as_it_was_counted_last,
    compliance::scores_are_kept_with_their_revisions,
    compliance::what_a_score_is_worked_out_of_is_read,
    compliance::silences_are_kept_with_their_ends,
    harm_signals::signs_of_harm_stand_as_they_were_told_last,
    exclusion_reports::reported_exclusions_stand_as_they_were_set_last,
    exclusion_reports::a_report_is_settled_once_and_with_all_of_its_commit,
    exclusion_reports::what_a_person_asked_for_stands_first_and_waits_without_end,
    risk_models::a_model_is_kept_whole_and_once,
    risk_models::one_version_is_promoted_by_a_second_person,
    risk_models::a_version_is_judged_while_it_does_not_score,
    risk_models::one_goes_back_to_what_scored_before_and_one_step_alone,
    risk_models::each_jurisdiction_has_its_own_and_an_act_of_before_counts_in_every_one,
    risk_models::what_scored_for_all_scores_in_every_jurisdiction_after_the_upgrade,
    risk_models::drift_is_kept_by_day,
    model_shadows::one_version_of_a_kind_scores_in_the_shadow,
    model_shadows::a_day_in_the_shadow_is_kept_by_operator,
    risk_models::the_last_score_of_a_player_is_read_and_every_one_is_an_input,
    classes::sales_are_summed_by_day_and_outlet,
    classes::an_older_record_never_overwrites_a_newer_one,
    classes::accounts_in_a_state_are_looked_up_by_it,
    classes::a_batch_is_projected_once_or_not_at_all,
    classes::a_break_in_a_statement_is_found_at_the_line_behind_it,
    classes::lists_are_read_page_by_page,
    classes::play_is_read_by_its_batches,
    failures::a_database_that_hangs_leaves_nothing_behind,
    failures::a_full_disk_refuses_cleanly_and_writing_goes_on_when_there_is_space,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_of_unknown_outcome_are_neither_lost_nor_doubled() {
    failures::commits_of_unknown_outcome_are_neither_lost_nor_doubled().await;
}

#[tokio::test]
async fn a_lost_claim_is_taken_anew_or_found_taken() {
    failures::a_lost_claim_is_taken_anew_or_found_taken().await;
}

#[tokio::test]
async fn a_server_that_does_not_sync_is_refused() {
    failures::a_server_that_does_not_sync_is_refused().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_answer_alike() {
    reads::both_databases_answer_alike().await;
}

#[tokio::test]
async fn both_schemas_say_the_same() {
    schema::both_schemas_say_the_same().await;
}

//! Notices on their way out: real stores, real servers on loopback, a clock that is set by hand.

mod bench;
mod channels;
mod email;
mod sending;

/// Runs each function of a module on both databases, as tests of their own names.
macro_rules! both {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        mod sqlite { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$module::$name(super::bench::Kind::Sqlite).await; }
        )+ }
        mod postgres { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$module::$name(super::bench::Kind::Postgres).await; }
        )+ }
    };
}

both!(
    sending::what_is_due_is_sent_once_and_in_order,
    sending::what_is_not_taken_is_tried_again_later_and_later_and_given_up_after_three_days,
    sending::what_is_refused_is_not_tried_again_and_holds_nothing_up,
    sending::what_some_have_is_sent_and_says_who_has_it_not,
    sending::an_end_between_sending_and_marking_repeats_that_one_with_its_id_and_no_other,
    sending::a_channel_that_fails_is_left_alone_whatever_waits,
    sending::no_more_than_the_rate_goes_out_and_the_rest_waits,
    sending::a_slow_channel_holds_no_other,
    sending::a_channel_that_panics_goes_on,
    sending::what_waits_for_a_channel_that_is_gone_is_dropped_and_counted,
    sending::an_end_is_told_to_everybody_who_heard_of_the_beginning,
);

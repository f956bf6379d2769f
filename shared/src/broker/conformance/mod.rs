//! The laws of the broker contract: one function per law, run by every implementation.
//!
//! An implementation writes a [`Fixture`] and runs all of them, one test per law:
//!
//! ```text
//! filefleet_shared::broker_conformance_tests!(MyFixture::new());
//! ```
//!
//! No law depends on how fast a broker is: each asserts what must happen within
//! [`PATIENCE`], what must not happen before an instant, or what must never happen at all.

mod consuming;
mod control;
mod putting_off;
mod queues;
mod settling;
mod subject;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::{Broker, BrokerError, SettleError};

pub use consuming::*;
pub use control::*;
pub use putting_off::*;
pub use queues::*;
pub use settling::*;

/// How long a law waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Brokers on a namespace of their own.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// A broker on this fixture's namespace, which nobody has used. Called once.
    ///
    /// # Errors
    /// The broker cannot be reached.
    async fn broker(&self) -> Result<Arc<dyn Broker>, BrokerError>;

    /// Ends every session of `broker` as the death of its process would, though consumers and
    /// deliveries are still held, and gives another broker on the same durable state.
    ///
    /// # Errors
    /// The broker cannot be reached again.
    async fn crash(&self, broker: Arc<dyn Broker>) -> Result<Arc<dyn Broker>, BrokerError>;
}

/// A law that was broken, and what was seen instead.
pub struct Violation(String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// Test runners print errors with `Debug`: quotes and escapes would hide what was seen.
impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

impl From<BrokerError> for Violation {
    fn from(error: BrokerError) -> Self {
        Self(format!("a call that must succeed failed: {error}"))
    }
}

impl From<SettleError> for Violation {
    fn from(error: SettleError) -> Self {
        Self(format!("a settlement that must succeed failed: {error}"))
    }
}

fn ensure(holds: bool, seen: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(Violation(seen()))
    }
}

/// One law.
pub type Law = for<'a> fn(&'a dyn Fixture) -> BoxFuture<'a, Result<(), Violation>>;

macro_rules! list_laws {
    ($($law:ident)*) => {
        /// Every law with its name. A fixture serves one law.
        #[must_use]
        pub fn all() -> Vec<(&'static str, Law)> {
            vec![$((stringify!($law), |fixture| Box::pin($law(fixture)))),*]
        }
    };
}

crate::for_each_broker_law!([list_laws]);

/// Hands the names of all laws to a macro: the one list of them.
#[macro_export]
macro_rules! for_each_broker_law {
    ([$($callback:tt)*] $($argument:tt)*) => {
        $($callback)*! {
            $($argument)*
            a_publish_survives_a_crash_after_it_returned
            publishing_to_a_missing_queue_is_an_error_and_loses_nothing_else
            a_message_over_the_limit_is_refused_with_its_whole_batch
            id_body_and_headers_arrive_as_published
            bytes_that_are_not_a_message_pass_through_untouched
            declaring_twice_changes_nothing
            queues_are_apart
            inspecting_counts_what_is_ready_and_who_consumes
            deleting_a_queue_removes_what_is_in_it
            a_deleted_queue_ends_its_consumer
            a_closed_broker_refuses_to_publish
            first_deliveries_come_in_the_order_of_publishing
            no_more_than_prefetch_are_unsettled
            each_message_goes_to_one_of_many_consumers
            closing_a_consumer_hands_back_what_was_not_received
            a_lost_consumer_gives_back_everything_unsettled
            an_exclusive_consumer_is_the_only_one
            consuming_a_missing_queue_is_an_error
            a_crash_brings_deliveries_back_and_counts_them
            done_is_settled_for_ever
            done_publishes_what_follows_before_the_delivery_is_gone
            a_crash_before_settling_publishes_nothing_and_delivers_again
            done_that_cannot_publish_delivers_again
            a_delivery_of_a_lost_session_cannot_be_settled
            release_delivers_again_and_costs_no_attempt
            a_dropped_delivery_comes_back
            dead_keeps_the_body_and_says_why
            later_comes_back_after_its_delay_as_the_same_message
            later_that_is_not_counted_costs_no_attempt
            later_keeps_the_first_attempt_and_counts_every_one
            later_may_change_what_the_message_carries
            later_lets_others_overtake_it
            later_survives_a_crash_and_is_not_early
            what_waits_is_counted_until_it_comes_back
            late_joiners_read_the_control_log_from_its_start
            followers_see_control_records_as_they_are_appended
            a_follower_that_joins_amid_appends_misses_and_repeats_nothing
        }
    };
}

/// One test per law, on a fixture of its own each: `broker_conformance_tests!(expression)`.
#[macro_export]
macro_rules! broker_conformance_tests {
    (@each ($fixture:expr) $($law:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                let fixture = $fixture;
                if let Err(seen) = $crate::broker::conformance::$law(&fixture).await {
                    panic!("{}: {seen}", stringify!($law));
                }
            }
        )*
    };
    ($fixture:expr) => {
        $crate::for_each_broker_law! { [$crate::broker_conformance_tests] @each ($fixture) }
    };
}

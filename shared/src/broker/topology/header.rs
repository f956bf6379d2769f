//! Names of headers.

/// 1 for the first attempt.
pub const ATTEMPT: &str = "x-filefleet-attempt";
/// Times put off without costing an attempt.
pub const DEFERRED: &str = "x-filefleet-deferred";
/// Unix milliseconds.
pub const FIRST_ATTEMPT: &str = "x-filefleet-first-attempt";
/// Why the last attempt was put off.
pub const RETRY_CAUSE: &str = "x-filefleet-retry-cause";
/// Unix milliseconds.
pub const NOT_BEFORE: &str = "x-filefleet-not-before";
/// Why it is a dead letter.
pub const DEATH_REASON: &str = "x-filefleet-death-reason";
/// The same for a person.
pub const DEATH_DETAIL: &str = "x-filefleet-death-detail";
/// The queue it came from.
pub const DEATH_FROM: &str = "x-filefleet-death-from";
/// The process that gave it up.
pub const DEATH_BY: &str = "x-filefleet-death-by";
/// Unix milliseconds.
pub const DEATH_AT: &str = "x-filefleet-death-at";
/// A record of the control stream that only says how far its reader has come.
pub const MARKER: &str = "x-filefleet-marker";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// The broker's: times a message came back unsettled to a quorum queue.
pub const DELIVERY_COUNT: &str = "x-delivery-count";
/// The broker's: place in a stream; also the consumer argument that says where to start.
pub const STREAM_OFFSET: &str = "x-stream-offset";
/// The broker's: its own dead-lettering, latest first.
pub const BROKER_DEATH: &str = "x-death";

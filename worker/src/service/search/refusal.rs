//! What a refusal of AI Search means, as one table: the first row that fits decides.

use crate::service::refusal::{Mark, Meaning, Row, row};

pub(super) const TABLE: &[Row] = &[
    row(300..=399, Mark::Any, Meaning::Misconfigured),
    row(400..=400, Mark::Says("api-version"), Meaning::Misconfigured),
    // A field that the index does not have: all documents have it.
    row(
        400..=400,
        Mark::Says("does not exist on type"),
        Meaning::Misconfigured,
    ),
    row(401..=401, Mark::Any, Meaning::Unauthorized),
    row(402..=402, Mark::Any, Meaning::QuotaExhausted),
    row(403..=403, Mark::Says("quota"), Meaning::QuotaExhausted),
    row(403..=403, Mark::Any, Meaning::Unauthorized),
    row(404..=405, Mark::Any, Meaning::Misconfigured),
    row(408..=409, Mark::Any, Meaning::Overloaded),
    row(413..=413, Mark::Any, Meaning::Rejected("too_large")),
    row(429..=429, Mark::Any, Meaning::RateLimited),
    row(431..=431, Mark::Any, Meaning::Misconfigured),
    row(400..=499, Mark::Any, Meaning::Rejected("invalid_request")),
    // It throttles with this, and names no time.
    row(503..=503, Mark::Any, Meaning::RateLimited),
    row(500..=599, Mark::Any, Meaning::Overloaded),
    row(0..=u16::MAX, Mark::Any, Meaning::Malformed),
];

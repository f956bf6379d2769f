//! What a refusal of AI Search means, beyond what a status means everywhere: the first row that
//! fits decides.

use crate::service::refusal::{Mark, Meaning, Row, row};

pub(super) const OWN: &[Row] = &[
    row(400..=400, Mark::Says("api-version"), Meaning::Misconfigured),
    // A field that the index does not have: all documents have it.
    row(
        400..=400,
        Mark::Says("does not exist on type"),
        Meaning::Misconfigured,
    ),
    row(403..=403, Mark::Says("quota"), Meaning::QuotaExhausted),
    row(413..=413, Mark::Any, Meaning::Rejected("too_large")),
    // It throttles with this, and names no time.
    row(503..=503, Mark::Any, Meaning::RateLimited),
];

//! `[retry]`, and `retry` of a step: when to try again.

use filefleet_shared::config::Section;

use crate::retry::RetryPolicy;

/// `[retry]`: for all steps, and how many calls of a service may be repeated.
pub(super) fn read_all(mut section: Section<'_>) -> RetryPolicy {
    let default = RetryPolicy::default();
    let budget = section.opt_number("budget", 0.0..=100.0);
    RetryPolicy {
        budget: budget.unwrap_or(default.budget),
        ..read(section, &default)
    }
}

/// What is not said there is as in `default`.
pub(super) fn read(mut section: Section<'_>, default: &RetryPolicy) -> RetryPolicy {
    let attempts = section.opt_integer("attempts", 1..=1000);
    let base = section.opt_duration("base");
    let cap = section.opt_duration("cap");
    let hold = section.opt_duration("hold");
    let total = section.opt_duration("total");
    let policy = RetryPolicy {
        attempts: attempts.unwrap_or(default.attempts),
        base: base.unwrap_or(default.base),
        cap: cap.unwrap_or(default.cap),
        hold: hold.unwrap_or_else(|| default.hold.min(cap.unwrap_or(default.cap))),
        total: total.unwrap_or(default.total),
        // Services have one, not steps.
        budget: default.budget,
    };
    // The key that stands there is to blame; with both there, the one that should be less.
    for (key, value) in [("base", policy.base), ("hold", policy.hold)] {
        if value > policy.cap {
            let blamed = if section.has(key) { key } else { "cap" };
            section.error(blamed, format!("`{key}` must not be more than `cap`"));
        }
    }
    if policy.total < policy.base {
        section.error("total", "must not be less than `base`");
    }
    section.finish();
    policy
}

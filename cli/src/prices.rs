//! What a configuration does not say of prices, told before anything is paid.

use filefleet_shared::wire::Cost;
use filefleet_worker::config::Config;

use crate::exit::CommandError;

/// Refuses a budget of a pipeline of which not all calls would count.
///
/// # Errors
/// What has no price, and how to give it one.
pub(crate) fn check_budget(
    budget: Option<Cost>,
    config: &Config,
    pipeline: &str,
) -> Result<(), CommandError> {
    let unpriced = config.unpriced(pipeline);
    if budget.is_none() || unpriced.is_empty() {
        return Ok(());
    }
    let lines = unpriced.iter().map(|what| {
        // What stands at the service holds for its deployments.
        let service = what.service.split('/').next().unwrap_or_default();
        format!(
            "no price of {what} is known (step {}): write `price` or `prices` in [service.{service}]",
            what.step
        )
    });
    let lines: Vec<String> = lines.collect();
    Err(CommandError::usage(format!(
        "--budget would not count every call\n  {}\n  `price = {{ per_call = 0 }}` says that a \
         service costs nothing",
        lines.join("\n  ")
    )))
}

/// Warns of prices that apply to nothing.
pub(crate) fn warn_of_unused(config: &Config) {
    for unused in config.unused_prices() {
        tracing::warn!(
            service = unused.service,
            "no step names {:?}, of which there is a price; steps name {}",
            unused.model,
            unused.named.join(", ")
        );
    }
}

//! Which pipeline, and where its first step goes.

use filefleet_worker::config::Config;

use crate::exit::CommandError;

/// What a producer has to know of a pipeline.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Name of the pipeline.
    pub(crate) pipeline: String,
    /// Name of its first step.
    pub(crate) step: String,
    /// Service of that step.
    pub(crate) service: String,
    /// Services of all steps.
    pub(crate) services: Vec<String>,
}

/// Finds the pipeline by name, or the only one.
///
/// # Errors
/// There is none of that name, or several and no name; the message lists them.
pub(crate) fn find(config: &Config, name: Option<&str>) -> Result<Entry, CommandError> {
    let names = || {
        config
            .pipelines
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let name = match name {
        Some(name) => name,
        None => match config.pipelines.keys().next() {
            Some(only) if config.pipelines.len() == 1 => only,
            Some(_) => {
                let message = format!("several pipelines: choose one with -p ({})", names());
                return Err(CommandError::usage(message));
            }
            None => {
                let message = format!("{}: has no [[pipeline.NAME]]", config.source);
                return Err(CommandError::usage(message));
            }
        },
    };
    let steps = config.pipelines.get(name).ok_or_else(|| {
        let there = match config.pipelines.len() {
            0 => "there is none".to_owned(),
            _ => format!("there are {}", names()),
        };
        CommandError::usage(format!("{}: no pipeline {name:?}: {there}", config.source))
    })?;
    let first = steps
        .first()
        .ok_or_else(|| CommandError::usage(format!("pipeline {name:?} has no step")))?;
    let mut services: Vec<String> = steps.iter().map(|step| step.service.clone()).collect();
    services.sort();
    services.dedup();
    Ok(Entry {
        pipeline: name.to_owned(),
        step: first.name.clone(),
        service: first.service.clone(),
        services,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_the_pipeline_is_named() {
        let config = Config::parse("letters.toml", "").unwrap();
        let message = |name| find(&config, name).unwrap_err().message;
        assert_eq!(message(None), "letters.toml: has no [[pipeline.NAME]]");
        assert_eq!(
            message(Some("sum")),
            "letters.toml: no pipeline \"sum\": there is none"
        );
    }
}

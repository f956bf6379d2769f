//! A local program per file, for work that needs this machine's processors.

mod folder;
mod group;
mod output;
mod program;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use filefleet_shared::wire::Usage;
use tokio::io::AsyncWriteExt;

use super::{Answer, CallError, Identity, Prompt, Reply, Service, StepInput, prompt::Inputs, text};
use folder::Folder;
use group::Group;
use output::{Ended, Said};
pub use output::{OtherCodes, Output};
pub(crate) use program::{DEFAULT_PATH, PRLIMIT, Program, find};

/// What a step asks of a program.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// Its arguments.
    pub args: Vec<Argument>,
    /// The file comes on standard input.
    pub stdin: bool,
    /// What its standard output is.
    pub output: Output,
    /// Exit codes by which the file has failed, whatever `other_codes` says.
    pub fail_codes: Vec<i32>,
    /// What the other exit codes above 0 mean.
    pub other_codes: OtherCodes,
}

/// An argument of a program.
#[derive(Clone, Debug)]
pub struct Argument {
    /// Its template.
    pub template: Arc<Prompt>,
    /// It is written as an option; none may become one by what a file is called.
    pub option: bool,
}

/// One program step.
pub(crate) struct Run {
    program: Arc<Program>,
    config: RunConfig,
}

impl Run {
    pub(crate) fn new(program: Arc<Program>, config: RunConfig) -> Self {
        Self { program, config }
    }

    fn mentions(&self, what: impl Fn(&Prompt) -> bool) -> bool {
        self.config.args.iter().any(|arg| what(&arg.template))
    }

    fn arguments(
        &self,
        input: &StepInput<'_>,
        path: Option<&str>,
    ) -> Result<Vec<String>, CallError> {
        let text = if self.mentions(Prompt::mentions_text) {
            text::read(&input.content, &input.message.file.media_type)?
        } else {
            "".into()
        };
        let inputs = Inputs {
            text: Some(&text),
            path,
            operation: None,
        };
        let rendered = self
            .config
            .args
            .iter()
            .enumerate()
            .map(|(index, argument)| {
                let rendered = argument
                    .template
                    .render_with(input.message, inputs)
                    .map_err(|error| error.into_call("template"))?;
                if rendered.starts_with('-') && rendered.len() > 1 && !argument.option {
                    let detail = format!("argument {} would be taken for an option", index + 1);
                    return Err(CallError::rejected("template", detail));
                }
                Ok(rendered)
            });
        rendered.collect()
    }

    /// Runs the program to its end. Dropped before, it takes the whole process group with it.
    async fn run(&self, args: &[String], input: Bytes, folder: Folder) -> Result<Ended, CallError> {
        let command = self.program.command(args, folder.path())?;
        let private = folder.path().to_owned();
        let (mut group, pipes) = Group::start(command, folder).map_err(program::not_started)?;
        let feed = async move {
            let mut stdin = pipes.stdin;
            // A program may well not read to the end, or not at all.
            drop(stdin.write_all(&input).await);
            drop(stdin);
            Ok(())
        };
        let limit = self.program.max_output_bytes;
        let read = output::read_whole(pipes.stdout, limit);
        let said = async { Ok(output::read_end(pipes.stderr).await) };
        let (status, output, said, ()) = tokio::try_join!(group.ended(), read, said, feed)?;
        Ok(Ended {
            status,
            output,
            said: Said::new(&said, &private),
        })
    }
}

#[async_trait]
impl Service for Run {
    async fn call(&self, input: StepInput<'_>) -> Result<Reply, CallError> {
        let copied = self.mentions(Prompt::mentions_path);
        let copy = copied.then(|| (input.content.clone(), input.message.file.key.clone()));
        let folder = Folder::new(copy).await?;
        let args = self.arguments(&input, folder.file())?;
        let fed = if self.config.stdin {
            input.content
        } else {
            Bytes::new()
        };
        let ended = self.run(&args, fed, folder).await?;
        let output = ended.judge(&self.config).map_err(CallError::called)?;
        Ok(Reply::Answered(Answer {
            output,
            usage: Usage {
                calls: 1,
                ..Usage::default()
            },
        }))
    }

    fn identity(&self, input: &StepInput<'_>) -> Option<Identity> {
        // Where the copy is differs from call to call, but for its name.
        let copy = folder::name(&input.message.file.key);
        let args = self.arguments(input, Some(&copy)).ok()?;
        let args = args.iter().map(String::as_bytes);
        if self.needs_content() {
            return Some(Identity::of(args.chain([&*input.content])));
        }
        // The program may read the file by itself.
        let file = Identity::of_file(&input.message.file)?;
        Some(Identity::of(args.chain([file.bytes()])))
    }

    fn needs_content(&self) -> bool {
        self.config.stdin
            || self.mentions(|prompt| prompt.mentions_path() || prompt.mentions_text())
    }
}

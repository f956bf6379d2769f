//! What a person or a machine sees while a run goes on: a bar, plain lines, or JSON lines.

use std::{
    fmt,
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use filefleet_shared::{
    time::UnixMillis,
    wire::{Cost, is_zero},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// A moment of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Moment {
    /// Files of the run; absent while the directory is still being scanned.
    pub(crate) total: Option<u64>,
    /// Files published so far.
    pub(crate) published: u64,
    /// Files that succeeded.
    pub(crate) succeeded: u64,
    /// Files that failed or were cancelled.
    pub(crate) failed: u64,
    /// Steps in hand of this process.
    pub(crate) in_flight: u64,
    /// Tokens of prompts and answers.
    pub(crate) tokens: u64,
    /// Answers that came from the journal.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) from_journal: u64,
    /// What they cost, where prices are known.
    #[serde(skip_serializing_if = "Cost::is_zero")]
    pub(crate) cost: Cost,
    /// Services that are paused, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) paused: Vec<String>,
}

impl Moment {
    fn done(&self) -> u64 {
        self.succeeded + self.failed
    }
}

/// How often plain lines and JSON lines come.
const LINES_EVERY: Duration = Duration::from_secs(5);
/// Files per second is taken over this long.
const RATE_OVER: Duration = Duration::from_secs(10);

/// Shows moments.
#[derive(Debug)]
pub(crate) struct Progress {
    kind: Kind,
    verb: &'static str,
    shown: Instant,
    rate: Rate,
}

#[derive(Debug)]
enum Kind {
    Bar(ProgressBar),
    Lines,
    Json,
}

impl Progress {
    /// A bar on a terminal, plain lines elsewhere, JSON lines if asked for.
    pub(crate) fn new(json: bool, verb: &'static str) -> Self {
        let kind = if json {
            Kind::Json
        } else if std::io::stderr().is_terminal() {
            Kind::Bar(ProgressBar::with_draw_target(
                None,
                ProgressDrawTarget::stderr_with_hz(5),
            ))
        } else {
            Kind::Lines
        };
        Self {
            kind,
            verb,
            shown: Instant::now(),
            rate: Rate::new(),
        }
    }

    /// Shows a moment, as often as its kind does.
    pub(crate) fn show(&mut self, moment: &Moment) {
        self.rate
            .add(moment.done().max(if self.verb == "published" {
                moment.published
            } else {
                0
            }));
        let text = self.text(moment);
        match &self.kind {
            Kind::Bar(bar) => {
                let done = if self.verb == "published" {
                    moment.published
                } else {
                    moment.done()
                };
                match moment.total {
                    Some(total) => {
                        bar.set_length(total);
                        bar.set_style(style("{bar:30.green/dim} {percent:>3}% {msg}"));
                    }
                    None => bar.set_style(style("{spinner} {msg}")),
                }
                bar.set_position(done);
                bar.set_message(text);
            }
            Kind::Lines if self.shown.elapsed() >= LINES_EVERY => {
                self.shown = Instant::now();
                tell(&text);
            }
            Kind::Json if self.shown.elapsed() >= LINES_EVERY => {
                self.shown = Instant::now();
                print_json("progress", moment);
            }
            Kind::Lines | Kind::Json => {}
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        if let Kind::Bar(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }

    fn text(&self, moment: &Moment) -> String {
        if self.verb == "published" {
            return format!(
                "{} files published, {:.0}/s",
                moment.published,
                self.rate.per_second()
            );
        }
        let mut text = match (moment.total, moment.published, moment.done()) {
            (Some(total), _, done) => format!("{done}/{total} files"),
            (None, 0, 0) if self.verb == "collected" => "collecting…".to_owned(),
            (None, 0, 0) => "starting…".to_owned(),
            (None, 0, done) => format!("{done} files so far"),
            (None, published, done) => format!("{done}/{published}+ files"),
        };
        let mut say = |part: String| {
            text.push_str(", ");
            text.push_str(&part);
        };
        if moment.failed > 0 {
            say(format!("{} failed", moment.failed));
        }
        if moment.in_flight > 0 {
            say(format!("{} in flight", moment.in_flight));
        }
        let rate = self.rate.per_second();
        say(format!("{rate:.1}/s"));
        if let Some(left) = moment
            .total
            .map(|total| total.saturating_sub(moment.done()))
            && rate > 0.0
            && left > 0
        {
            #[expect(clippy::cast_precision_loss, reason = "a rough time for a person")]
            let seconds = Duration::try_from_secs_f64((left as f64 / rate).ceil());
            if let Ok(seconds) = seconds {
                say(format!("{} left", humantime::format_duration(seconds)));
            }
        }
        if moment.from_journal > 0 {
            say(format!("{} from the journal", moment.from_journal));
        }
        if moment.tokens > 0 {
            say(format!("{} tokens", moment.tokens));
        }
        if !moment.cost.is_zero() {
            say(format!("cost {}", moment.cost));
        }
        for paused in &moment.paused {
            say(format!("PAUSED {paused}"));
        }
        text
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates above are constants that parse; a plain bar is the answer if one did not.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Prints one JSON object on a line of standard output, with its `event`.
pub(crate) fn print_json(event: &str, body: &impl Serialize) {
    #[derive(Serialize)]
    struct Line<'a, B> {
        event: &'a str,
        #[serde(flatten)]
        body: &'a B,
    }
    match serde_json::to_string(&Line { event, body }) {
        Ok(line) => print_line(&line),
        Err(error) => tracing::error!(%error, event, "cannot print as JSON"),
    }
}

/// Prints a line to standard output; a closed pipe is the reader's choice, not an error.
pub(crate) fn print_line(line: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        tracing::debug!(%error, "standard output is closed");
    }
}

/// Prints a line to standard error. One that is closed or full must not end a run, and there is
/// no other place to say so.
pub(crate) fn tell(line: &str) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

/// A date and time in UTC. A damaged one is the last that can be written.
pub(crate) fn utc(at: UnixMillis) -> impl fmt::Display {
    const LAST: UnixMillis = UnixMillis(253_402_300_799_000);
    humantime::format_rfc3339_seconds(at.min(LAST).into())
}

/// Entries of a directory, counted in words.
pub(crate) fn entries(count: u64) -> String {
    match count {
        1 => "1 entry".to_owned(),
        _ => format!("{count} entries"),
    }
}

/// Symbolic links that were passed over, in words.
pub(crate) fn links(count: u64) -> String {
    let links = match count {
        1 => "1 symbolic link".to_owned(),
        _ => format!("{count} symbolic links"),
    };
    format!("{links} passed over; --follow takes them")
}

/// Warns of them, if there are any.
pub(crate) fn warn_of_links(json: bool, count: u64) {
    if count == 0 {
        return;
    }
    if json {
        print_json("links_passed_over", &serde_json::json!({ "links": count }));
    } else {
        tell(&links(count));
    }
}

/// Files per second over the last seconds.
#[derive(Debug)]
struct Rate {
    points: std::collections::VecDeque<(Instant, u64)>,
}

impl Rate {
    fn new() -> Self {
        Self {
            points: std::collections::VecDeque::new(),
        }
    }

    fn add(&mut self, count: u64) {
        let now = Instant::now();
        // Two points a second are enough, and bound the memory.
        if self
            .points
            .back()
            .is_none_or(|(at, _)| now - *at >= RATE_OVER / 20)
        {
            self.points.push_back((now, count));
        }
        while self.points.len() > 2
            && self
                .points
                .front()
                .is_some_and(|(at, _)| now - *at > RATE_OVER)
        {
            self.points.pop_front();
        }
    }

    fn per_second(&self) -> f64 {
        let (Some((from, first)), Some((to, last))) = (self.points.front(), self.points.back())
        else {
            return 0.0;
        };
        let seconds = (*to - *from).as_secs_f64();
        if seconds <= 0.0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for a person")]
        let files = last.saturating_sub(*first) as f64;
        files / seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_that_is_not_known_is_not_shown_as_one() {
        let moment = |total, published, succeeded| Moment {
            total,
            published,
            succeeded,
            ..Moment::default()
        };
        for (verb, moment, said) in [
            ("collected", moment(None, 0, 0), "collecting…"),
            ("collected", moment(None, 0, 7), "7 files so far"),
            ("collected", moment(Some(9), 0, 7), "7/9 files"),
            ("finished", moment(None, 0, 0), "starting…"),
            ("finished", moment(None, 9, 7), "7/9+ files"),
        ] {
            let text = Progress::new(true, verb).text(&moment);
            assert!(text.starts_with(said), "{text}");
        }
    }
}

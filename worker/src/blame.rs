//! Whether a refusal that could be every file's is: told by what other files are answered.

use std::sync::{Mutex, PoisonError};

use filefleet_shared::time::UnixMillis;

/// Refusals in a row, at a place that is known to answer, before they are every file's.
const IN_A_ROW: u32 = 3;

/// Whose fault a refusal is that says nothing of its file, like a 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Nothing was answered since: every file would be refused.
    Service,
    /// It is too early to say.
    Unclear,
    /// Others were answered since the file was first refused.
    File,
}

/// What one step's calls came to at one place.
#[derive(Debug, Default)]
pub(crate) struct Record(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// When the latest call began that was answered.
    answered: Option<UnixMillis>,
    /// Refusals since the last answer.
    refused: u32,
}

impl Record {
    /// A call that began then was answered.
    pub(crate) fn answered(&self, began: UnixMillis) {
        self.change(|known| {
            known.answered = known.answered.max(Some(began));
            known.refused = 0;
        });
    }

    /// A call was refused. The first of its file's that was began at `first`; `before`, if this is
    /// another one.
    ///
    /// What began before a refusal says nothing: the key may have been taken back since.
    pub(crate) fn refused(&self, first: UnixMillis, before: bool) -> Blame {
        self.change(|known| {
            if known.answered.is_some_and(|answered| answered > first) {
                return Blame::File;
            }
            known.refused = known.refused.saturating_add(1);
            let may_answer = known.answered.is_some() || before;
            if may_answer && known.refused < IN_A_ROW {
                Blame::Unclear
            } else {
                Blame::Service
            }
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        // Whole after every operation.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: [UnixMillis; 3] = [UnixMillis(1), UnixMillis(2), UnixMillis(3)];

    #[test]
    fn a_service_that_has_answered_nothing_is_to_blame_at_once() {
        assert_eq!(Record::default().refused(AT[0], false), Blame::Service);
    }

    #[test]
    fn only_an_answer_to_a_call_after_the_first_refusal_blames_the_file() {
        let record = Record::default();
        record.answered(AT[0]);
        assert_eq!(record.refused(AT[1], false), Blame::Unclear);
        // It was in flight when the file was refused.
        record.answered(AT[0]);
        assert_eq!(record.refused(AT[1], true), Blame::Unclear);
        record.answered(AT[2]);
        assert_eq!(record.refused(AT[1], true), Blame::File);
        assert_eq!(record.refused(AT[2], false), Blame::Unclear, "of another");
    }

    #[test]
    fn refusals_of_several_files_in_a_row_are_every_files() {
        let record = Record::default();
        record.answered(AT[0]);
        let blames = [(); 3].map(|()| record.refused(AT[1], false));
        assert_eq!(blames, [Blame::Unclear, Blame::Unclear, Blame::Service]);
        record.answered(AT[1]);
        assert_eq!(record.refused(AT[2], false), Blame::Unclear);
    }
}

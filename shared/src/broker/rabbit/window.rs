//! Which published messages are safe: the decision behind a confirm channel, without the channel.
//!
//! The client hands a returned message to whichever confirm completes next, so a single confirm
//! proves nothing. What holds: a message is returned before it is confirmed, and confirms take
//! returns from a queue, oldest first. So a confirm without a return found that queue empty, and
//! its message was returned if and only if an earlier confirm carried it. Once any return was
//! seen, nothing more is decided, and nothing more must be sent, until every confirm is in: then
//! the set of returned ids is complete.

use std::{
    collections::{HashSet, VecDeque},
    time::Instant,
};

/// What the broker answered to one publish.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// It has the message, or has returned it.
    pub(super) ack: bool,
    /// The id of the returned message that came along; often another's.
    pub(super) returned: Option<String>,
}

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Durable in its queue.
    Safe,
    /// In no queue.
    Returned,
    /// The broker could not take it now.
    Nacked,
}

#[derive(Debug)]
struct Slot<T> {
    message: T,
    sent: Instant,
    answered: bool,
}

/// Messages that were sent and are not decided; `T` says which message it is.
#[derive(Debug)]
pub(super) struct Window<T> {
    slots: VecDeque<Slot<T>>,
    /// Number of the front slot; the others follow.
    first: u64,
    unanswered: usize,
    undecided: Vec<(T, bool)>,
    returned: HashSet<String>,
}

impl<T: Clone> Window<T> {
    pub(super) fn new() -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            unanswered: 0,
            undecided: Vec::new(),
            returned: HashSet::new(),
        }
    }

    /// Sent and not answered.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// A return was seen: nothing may be sent until everything is answered.
    pub(super) fn is_tainted(&self) -> bool {
        !self.returned.is_empty()
    }

    /// When the oldest unanswered message was sent.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.slots.front().map(|slot| slot.sent)
    }

    /// Notes a message as sent; its number is for [`Window::answer`].
    pub(super) fn send(&mut self, message: T, now: Instant) -> u64 {
        let number = self.first + self.slots.len() as u64;
        self.slots.push_back(Slot {
            message,
            sent: now,
            answered: false,
        });
        self.unanswered += 1;
        number
    }

    /// Notes the answer to a message.
    pub(super) fn answer(&mut self, number: u64, answer: Answer) {
        self.returned.extend(answer.returned);
        let slot = number
            .checked_sub(self.first)
            .and_then(|place| usize::try_from(place).ok())
            .and_then(|place| self.slots.get_mut(place));
        let Some(slot) = slot.filter(|slot| !slot.answered) else {
            return;
        };
        slot.answered = true;
        self.undecided.push((slot.message.clone(), answer.ack));
        self.unanswered -= 1;
        while self.slots.front().is_some_and(|slot| slot.answered) {
            self.slots.pop_front();
            self.first += 1;
        }
    }

    /// Decides what can be decided, once all answers that are there were noted.
    pub(super) fn decide(&mut self, id: impl Fn(&T) -> String) -> Vec<(T, Fate)> {
        if self.is_tainted() && self.unanswered > 0 {
            return Vec::new();
        }
        let returned = std::mem::take(&mut self.returned);
        let fate = |message: &T, ack| match ack {
            _ if !returned.is_empty() && returned.contains(&id(message)) => Fate::Returned,
            true => Fate::Safe,
            false => Fate::Nacked,
        };
        self.undecided
            .drain(..)
            .map(|(message, ack)| {
                let fate = fate(&message, ack);
                (message, fate)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(returned: Option<&str>) -> Answer {
        Answer {
            ack: true,
            returned: returned.map(str::to_owned),
        }
    }

    fn sent(names: &[&'static str]) -> (Window<&'static str>, Vec<u64>) {
        let mut window = Window::new();
        let now = Instant::now();
        let numbers = names.iter().map(|name| window.send(*name, now)).collect();
        (window, numbers)
    }

    fn decide(window: &mut Window<&'static str>) -> Vec<(&'static str, Fate)> {
        let mut decided = window.decide(ToString::to_string);
        decided.sort_by_key(|(name, _)| *name);
        decided
    }

    #[test]
    fn without_returns_each_message_is_safe_as_soon_as_it_is_confirmed() {
        let (mut window, n) = sent(&["a", "b", "c"]);
        window.answer(n[1], ack(None));
        assert_eq!(decide(&mut window), [("b", Fate::Safe)]);
        assert_eq!(window.unanswered(), 2);
        assert!(window.oldest().is_some());
        window.answer(n[0], ack(None));
        window.answer(n[2], ack(None));
        assert_eq!(decide(&mut window), [("a", Fate::Safe), ("c", Fate::Safe)]);
        assert_eq!(window.oldest(), None);
    }

    #[test]
    fn a_return_on_the_wrong_confirm_is_charged_to_the_message_it_names() {
        let (mut window, n) = sent(&["routed", "unroutable"]);
        window.answer(n[0], ack(Some("unroutable")));
        assert_eq!(
            decide(&mut window),
            [],
            "the other return may still be queued"
        );
        assert!(window.is_tainted());
        window.answer(n[1], ack(None));
        assert_eq!(
            decide(&mut window),
            [("routed", Fate::Safe), ("unroutable", Fate::Returned)]
        );
    }

    #[test]
    fn swapped_returns_are_both_found_when_the_window_is_empty() {
        let (mut window, n) = sent(&["x", "y", "ok"]);
        window.answer(n[1], ack(Some("x")));
        window.answer(n[2], ack(Some("y")));
        assert_eq!(decide(&mut window), []);
        window.answer(n[0], ack(None));
        assert_eq!(
            decide(&mut window),
            [
                ("ok", Fate::Safe),
                ("x", Fate::Returned),
                ("y", Fate::Returned)
            ]
        );
    }

    #[test]
    fn an_id_that_was_returned_can_be_safe_when_it_is_sent_again() {
        let (mut window, n) = sent(&["a"]);
        window.answer(n[0], ack(Some("a")));
        assert_eq!(decide(&mut window), [("a", Fate::Returned)]);
        assert!(!window.is_tainted());
        let again = window.send("a", Instant::now());
        window.answer(again, ack(None));
        assert_eq!(decide(&mut window), [("a", Fate::Safe)]);
    }

    #[test]
    fn a_nack_is_not_safe_and_not_returned() {
        let (mut window, n) = sent(&["a"]);
        let nack = Answer {
            ack: false,
            returned: None,
        };
        window.answer(n[0], nack);
        assert_eq!(decide(&mut window), [("a", Fate::Nacked)]);
    }
}

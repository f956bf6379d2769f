use std::sync::mpsc::{Receiver, Sender, channel};

use async_trait::async_trait;
use bytes::Bytes;
use filefleet_shared::broker::{Headers, Settle, SettleError, Verdict};

use super::*;

/// Says its name when it is dropped unsettled: that is how a delivery is handed back.
struct Way {
    name: &'static str,
    handed_back: Sender<&'static str>,
}

#[async_trait]
impl Settle for Way {
    async fn settle(self: Box<Self>, _: Envelope, _: Verdict) -> Result<(), SettleError> {
        Ok(())
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.handed_back.send(self.name).unwrap();
    }
}

/// Makes deliveries, and knows which of them were handed back.
struct Stand {
    steps: InFlight,
    sender: Sender<&'static str>,
    handed_back: Receiver<&'static str>,
}

impl Stand {
    fn new() -> Self {
        let (sender, handed_back) = channel();
        Self {
            steps: InFlight::default(),
            sender,
            handed_back,
        }
    }

    fn delivery(&self, name: &'static str, change: impl FnOnce(&mut Envelope)) -> Delivery {
        let mut envelope = Envelope {
            id: "run/1:answer".to_owned(),
            queue: Queue::Work("gpt".to_owned()),
            headers: Headers::default(),
            body: Bytes::new(),
            deliveries: 1,
        };
        change(&mut envelope);
        let handed_back = self.sender.clone();
        Delivery::new(envelope, Box::new(Way { name, handed_back }))
    }

    fn take(&self, name: &'static str) -> Taken {
        self.steps.take(self.delivery(name, |_| {}))
    }

    fn start(&self, name: &'static str) -> (Delivery, Slot) {
        match self.take(name) {
            Taken::Start(delivery, slot) => (delivery, slot),
            other => panic!("{name} did not start: {other:?}"),
        }
    }

    fn handed_back(&self) -> Vec<&'static str> {
        self.handed_back.try_iter().collect()
    }
}

#[test]
fn a_redelivery_of_a_running_step_waits_for_its_end_and_starts_no_second_one() {
    let stand = Stand::new();
    let (_first, slot) = stand.start("first");
    assert!(matches!(stand.take("again"), Taken::Joined));
    let again = slot.end(true).expect("the redelivery");
    assert_eq!(stand.handed_back(), [""; 0]);
    drop(again);
    assert_eq!(stand.handed_back(), ["again"]);
    // It came, so none is still to come: the next one is a step of its own.
    assert!(matches!(stand.take("later"), Taken::Start(..)));
}

#[test]
fn of_several_redeliveries_the_newest_is_kept_and_the_stale_ones_go_back() {
    let stand = Stand::new();
    let (_first, slot) = stand.start("first");
    assert!(matches!(stand.take("second"), Taken::Joined));
    assert!(matches!(stand.take("third"), Taken::Joined));
    assert_eq!(stand.handed_back(), ["second"]);
    drop(slot.end(false));
    assert_eq!(stand.handed_back(), ["third"]);
}

#[test]
fn a_step_whose_settlement_was_lost_is_finished_when_it_comes_again() {
    let stand = Stand::new();
    let (_first, slot) = stand.start("first");
    assert!(slot.end(true).is_none());
    for _ in 0..2 {
        // A settlement can be lost again and again.
        assert!(matches!(stand.take("again"), Taken::Finished(_)));
    }
}

#[test]
fn a_settled_step_is_forgotten_so_that_the_same_message_can_be_worked_on_again() {
    let stand = Stand::new();
    let (_first, slot) = stand.start("first");
    assert!(slot.end(false).is_none());
    assert!(matches!(stand.take("again"), Taken::Start(..)));
}

#[test]
fn another_attempt_queue_or_step_is_not_a_redelivery() {
    let stand = Stand::new();
    let (_first, _slot) = stand.start("first");
    let others: [fn(&mut Envelope); 4] = [
        |envelope| envelope.id = "run/2:answer".to_owned(),
        |envelope| envelope.queue = Queue::Quarantine("gpt".to_owned()),
        |envelope| envelope.headers.attempt += 1,
        |envelope| envelope.headers.deferred += 1,
    ];
    let started: Vec<Taken> = others
        .map(|change| stand.steps.take(stand.delivery("other", change)))
        .into();
    assert!(
        started
            .iter()
            .all(|taken| matches!(taken, Taken::Start(..)))
    );
}

#[test]
fn a_step_that_was_cut_off_hands_its_redelivery_back_and_can_start_anew() {
    let stand = Stand::new();
    let (first, slot) = stand.start("first");
    assert!(matches!(stand.take("again"), Taken::Joined));
    drop(slot);
    assert_eq!(stand.handed_back(), ["again"]);
    drop(first);
    assert!(matches!(stand.take("later"), Taken::Start(..)));
}

#[test]
fn what_is_remembered_is_bounded_and_the_oldest_is_forgotten_first() {
    let stand = Stand::new();
    let lose = |number: usize| {
        let id = move |envelope: &mut Envelope| envelope.id = format!("run/{number}:answer");
        match stand.steps.take(stand.delivery("lost", id)) {
            Taken::Start(_, slot) => assert!(slot.end(true).is_none()),
            other => panic!("{number} did not start: {other:?}"),
        }
    };
    (0..=REMEMBERED).for_each(lose);
    assert_eq!(stand.steps.lock().published.len(), REMEMBERED);
    let again = |number: usize| {
        let id = move |envelope: &mut Envelope| envelope.id = format!("run/{number}:answer");
        stand.steps.take(stand.delivery("again", id))
    };
    assert!(matches!(again(0), Taken::Start(..)));
    assert!(matches!(again(1), Taken::Finished(_)));
    assert!(matches!(again(REMEMBERED), Taken::Finished(_)));
}

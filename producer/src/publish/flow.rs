//! The flow of one publish: windows come from the planner, go out, and are journalled.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use filefleet_shared::{
    broker::{Broker, BrokerError, Headers, Message, ResultKey, Route},
    time::UnixMillis,
    wire::{RunClosed, RunClosedTag, VERSION, encode},
};
use futures_util::stream::{FuturesOrdered, StreamExt};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    PublishError, PublishOptions, PublishProgress, Published,
    open::open_run,
    plan::{Plan, Planner, lock},
    window::{Sent, Window},
};
use crate::{
    durable::{joined, off_runtime},
    manifest::{Header, Journal, ManifestError, Progress, Record},
    patience::{persist, stopped},
    scan::ScanError,
};

pub(super) struct Flow {
    broker: Arc<dyn Broker>,
    journal: Arc<Mutex<Journal>>,
    header: Header,
    service: Arc<str>,
    services: Vec<String>,
    epoch: Option<u64>,
    /// Windows to send before those of the planner: what an earlier producer planned and did not
    /// see confirmed.
    first: VecDeque<Window>,
    confirmed: u64,
    in_flight: usize,
    windows: mpsc::Receiver<Window>,
    planner: JoinHandle<Result<Plan, PublishError>>,
    progress: watch::Sender<PublishProgress>,
    stop: watch::Receiver<bool>,
}

/// How sending ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The broker has every task of the scan.
    Complete,
    /// The scan found no file, so no run was opened.
    Empty,
    Stopped,
}

/// What happened next.
enum Event {
    Window(Option<Window>),
    Sent(Result<Sent, BrokerError>),
    Stop,
}

impl Flow {
    /// Starts the planner on a thread of its own.
    pub(super) fn start(
        broker: Arc<dyn Broker>,
        options: PublishOptions,
        journal: Journal,
        mut so_far: Progress,
        progress: watch::Sender<PublishProgress>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let journal = Arc::new(Mutex::new(journal));
        let window = options.windows.messages.max(1);
        let mut pending = std::mem::take(&mut so_far.pending);
        let mut first = VecDeque::new();
        while !pending.is_empty() {
            let rest = pending.split_off(window.min(pending.len()));
            first.push_back(Window::new(std::mem::replace(&mut pending, rest)));
        }
        let header = so_far.header.clone();
        let (epoch, confirmed) = (so_far.epoch, so_far.confirmed);
        // One window waits here while the planner makes the next: sending never waits for either.
        let (windows, receiver) = mpsc::channel(1);
        let planner = Planner {
            journal: Arc::clone(&journal),
            so_far,
            source: options.source,
            runtime: tokio::runtime::Handle::current(),
            stop: stop.clone(),
            scan: options.scan,
            skip: options.skip,
            window,
            windows,
            progress: progress.clone(),
            skipped: 0,
            links: 0,
        };
        Self {
            broker,
            journal,
            service: header.service.as_str().into(),
            services: options.services,
            header,
            epoch,
            first,
            confirmed,
            in_flight: options.windows.in_flight.max(1),
            windows: receiver,
            planner: tokio::task::spawn_blocking(|| planner.run()),
            progress,
            stop,
        }
    }

    pub(super) async fn run(mut self) -> Result<Published, PublishError> {
        let sent = self.send_all().await;
        // The planner has the journal: it must have ended before anybody publishes again.
        self.windows.close();
        let plan = joined(&mut self.planner).await;
        let ended = sent?;
        let plan = match plan {
            // It heard of it before this did, or it does not matter any more.
            Err(PublishError::Scan(ScanError::Stopped)) => return Err(self.interrupted()),
            plan => plan?,
        };
        match ended {
            Ended::Complete => self.close(&plan.so_far).await?,
            Ended::Empty => lock(&self.journal).remove()?,
            Ended::Stopped => return Err(self.interrupted()),
        }
        Ok(Published {
            run: self.header.run,
            epoch: self.epoch,
            total: plan.so_far.planned,
            digest: plan.so_far.digest.to_string(),
            unreadable: plan.so_far.unreadable,
            skipped: plan.skipped,
            links: plan.links,
        })
    }

    fn interrupted(&self) -> PublishError {
        PublishError::Interrupted {
            confirmed: self.confirmed,
        }
    }

    async fn send_all(&mut self) -> Result<Ended, PublishError> {
        if self.first.is_empty() {
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return Ok(Ended::Stopped),
                window = self.windows.recv() => match window {
                    Some(window) => self.first.push_back(window),
                    // The planner may also have failed; then its error is what counts.
                    None if self.confirmed == 0 => return Ok(Ended::Empty),
                    None => {}
                },
            }
        }
        if !self.open().await? {
            return Ok(Ended::Stopped);
        }
        self.pump().await
    }

    /// Opens the run at the broker; `false` if told to stop.
    async fn open(&mut self) -> Result<bool, PublishError> {
        let waiting = |why| self.progress.send_modify(|shown| shown.waiting = why);
        let (header, services, known) = (&self.header, &self.services, self.epoch);
        let outage = self.broker.outage();
        let opened = persist(outage, &mut self.stop, waiting, || {
            open_run(&*self.broker, header, services, known)
        })
        .await?;
        let Some(epoch) = opened else {
            return Ok(false);
        };
        if known != Some(epoch) {
            self.epoch = Some(epoch);
            self.journal(Record::Opened { epoch }).await?;
        }
        Ok(true)
    }

    /// Keeps windows in flight until the planner has no more, or told to stop.
    async fn pump(&mut self) -> Result<Ended, PublishError> {
        let mut in_flight = FuturesOrdered::new();
        let mut ended = None;
        loop {
            let room = ended.is_none() && in_flight.len() < self.in_flight;
            if room && let Some(window) = self.first.pop_front() {
                in_flight.push_back(self.send(window));
                continue;
            }
            if let Some(ended) = ended
                && in_flight.is_empty()
            {
                return Ok(ended);
            }
            let event = tokio::select! {
                biased;
                () = stopped(&mut self.stop), if ended != Some(Ended::Stopped) => Event::Stop,
                Some(sent) = in_flight.next() => Event::Sent(sent),
                window = self.windows.recv(), if room => Event::Window(window),
            };
            match event {
                Event::Window(Some(window)) => in_flight.push_back(self.send(window)),
                Event::Window(None) => ended = Some(Ended::Complete),
                Event::Stop => ended = Some(Ended::Stopped),
                Event::Sent(sent) => match sent? {
                    Sent::Upto(upto) => self.confirm(upto).await?,
                    Sent::Stopped => return Ok(Ended::Stopped),
                },
            }
        }
    }

    fn send(&self, window: Window) -> impl Future<Output = Result<Sent, BrokerError>> + use<> {
        window.send(
            Arc::clone(&self.broker),
            Arc::clone(&self.service),
            self.progress.clone(),
            self.stop.clone(),
        )
    }

    /// Journals that the broker has all before `upto`; only then the next window goes out.
    async fn confirm(&mut self, upto: u64) -> Result<(), PublishError> {
        self.confirmed = upto;
        self.journal(Record::Confirmed { upto }).await?;
        self.progress.send_modify(|shown| shown.confirmed = upto);
        Ok(())
    }

    async fn journal(&self, record: Record) -> Result<(), ManifestError> {
        let journal = Arc::clone(&self.journal);
        off_runtime(move || lock(&journal).append(&record)).await
    }

    /// Publishes the sentinel, then closes the manifest.
    async fn close(&mut self, plan: &Progress) -> Result<(), PublishError> {
        let run = self.header.run;
        let closed = RunClosed {
            v: VERSION,
            kind: RunClosedTag::RunClosed,
            run,
            total: plan.planned,
            digest: plan.digest.to_string(),
            unreadable: plan.unreadable,
            opened: self.header.opened,
            closed: UnixMillis::now(),
        };
        let message = Message {
            id: format!("{run}:closed"),
            route: Route::Result {
                run,
                key: ResultKey::Closed,
            },
            headers: Headers::default(),
            body: encode(&closed)?,
        };
        let waiting = |why| self.progress.send_modify(|shown| shown.waiting = why);
        let outage = self.broker.outage();
        let sent = persist(outage, &mut self.stop, waiting, || {
            self.broker.publish(vec![message.clone()])
        })
        .await?;
        if sent.is_none() {
            return Err(PublishError::Interrupted {
                confirmed: self.confirmed,
            });
        }
        let (journal, at) = (Arc::clone(&self.journal), closed.closed);
        off_runtime(move || lock(&journal).append_synced(&Record::Closed { at })).await?;
        Ok(())
    }
}

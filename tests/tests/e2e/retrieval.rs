//! A thousand documents to an index on RabbitMQ, while workers die.

use std::{
    collections::BTreeSet,
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    time::{Duration, Instant},
};

use filefleet_simulator::{Latency, OcrConfig, SimulatorConfig};
use filefleet_tests::{
    pdf,
    process::{Process, pause},
    results::{self, Results},
};
use serde_json::Value;

use crate::support::{Fleet, LIMIT, Sim};

const FILES: u64 = 1000;
/// Calls in flight of one worker and service, and a quarter more in hand.
const IN_FLIGHT: u64 = 8;
const IN_HAND: u64 = 10;

/// Which worker dies, and when; another one in every run of the test.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }

    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// From one to three seconds from now.
    fn soon(&mut self) -> Instant {
        Instant::now() + Duration::from_millis(1000 + self.below(2000))
    }
}

/// Letters of one to four chunks.
fn write_documents(fleet: &Fleet) {
    for number in 0..FILES {
        let line = |n| {
            format!(
                "Paragraph {n} of letter {number} tells of invoice {}, the total of which is \
                 {}.50 EUR.",
                number * 31 + n,
                number * 7 + n
            )
        };
        let lines: Vec<String> = (0..1 + number % 5).map(line).collect();
        let path = fleet.place.files().join(format!("letter {number:04}.pdf"));
        fs::write(path, pdf::with_lines(&lines)).expect("a file");
    }
}

/// The example as it is, but for its endpoints, and cut finer, as the documents are small.
fn configure(fleet: &mut Fleet, sim: &Sim) {
    let place = &mut fleet.place;
    place.take_example("knowledge", &sim.url());
    let limits = format!("limits = {{ in_flight = {IN_FLIGHT}, polls = {IN_FLIGHT} }}");
    place.reconfigure(
        "limits = { requests_per_second = 15, polls_per_second = 50 }",
        &limits,
    );
    let limits = format!("limits = {{ in_flight = {IN_FLIGHT} }}");
    place.reconfigure(
        "limits = { requests_per_minute = 3000, tokens_per_minute = 1_000_000 }",
        &limits,
    );
    place.reconfigure("tokens = 400, overlap = 50", "tokens = 48, overlap = 8");
}

/// Kills one of the workers every few seconds and starts another in its place, until everything
/// is collected; how often.
fn kill_until_collected(
    fleet: &Fleet,
    workers: &mut Vec<Process>,
    collector: &mut Process,
    dice: &mut Dice,
) -> u64 {
    let start = Instant::now();
    let mut next = dice.soon();
    let mut kills = 0;
    while collector.try_wait().is_none() {
        assert!(
            start.elapsed() < LIMIT,
            "not collected after {kills} kills: {}",
            collector.log()
        );
        if Instant::now() < next {
            pause();
            continue;
        }
        let victim = usize::try_from(dice.below(3)).expect("one of three");
        workers.swap_remove(victim).kill9();
        kills += 1;
        let number = 2 + usize::try_from(kills).expect("a few");
        workers.push(fleet.worker(number));
        next = dice.soon();
    }
    kills
}

/// Keys of the documents that the results say are in the index; none may be there twice.
fn keys(results: &Results) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for line in &results.succeeded {
        let output = &line["output"];
        let of_file = output["keys"].as_array().expect("keys");
        assert_eq!(output["documents"], of_file.len(), "{line}");
        assert!(!of_file.is_empty(), "{line}");
        for key in of_file {
            let key = key.as_str().expect("a key").to_owned();
            assert!(keys.insert(key), "a key twice: {line}");
        }
    }
    keys
}

fn assert_paid_once(stats: &Value, kind: &str, kills: u64) {
    let of = |key: &str| {
        stats["kinds"][kind][key]
            .as_u64()
            .unwrap_or_else(|| panic!("{kind}.{key} in {stats}"))
    };
    println!(
        "{kind}: {} paid, {} of them again",
        of("paid"),
        of("repeated")
    );
    assert_eq!(of("distinct_tasks"), FILES, "{stats}");
    assert_eq!(of("untagged"), 0, "{stats}");
    // What was in flight in a killed worker may have been paid, and is sent again.
    assert!(of("repeated") <= kills * IN_HAND, "{kills} kills: {stats}");
}

#[test]
fn a_thousand_documents_are_indexed_once_while_workers_are_killed_every_few_seconds() {
    let sim = Sim::start(SimulatorConfig {
        latency: Latency::Fixed(Duration::from_millis(250)),
        ocr: OcrConfig {
            processing: Duration::from_secs(2),
            quotas: None,
        },
        ..SimulatorConfig::default()
    });
    let mut fleet = Fleet::new(0);
    write_documents(&fleet);
    configure(&mut fleet, &sim);
    let mut workers = fleet.workers(3);
    let url = fleet.url();
    let publish = ["publish", "files", "-p", "index", "--broker", &url];
    fleet.place.ends_with(0, "publish", &publish);
    let start = Instant::now();
    let mut collector = fleet.collector("collect", &[]);
    sim.wait_for_paid(50);
    let mut dice = Dice::new();
    println!("dice: {}", dice.0);
    let kills = kill_until_collected(&fleet, &mut workers, &mut collector, &mut dice);
    assert_eq!(collector.wait(LIMIT), 0, "{}", collector.log());
    println!("{kills} kills in {:.1} s", start.elapsed().as_secs_f64());
    assert!(kills >= 3, "{kills} kills: it was over too soon");

    let results = Results::read(&fleet.place.out());
    results.assert_exactly_once(FILES);
    let summary = results::summary(&fleet.place.out());
    assert_eq!(summary["succeeded"], FILES, "{summary}");
    let keys = keys(&results);
    assert!(keys.len() as u64 > FILES, "{}: nothing was cut", keys.len());
    assert_eq!(sim.count("knowledge"), keys.len() as u64);
    let written: BTreeSet<String> = sim.index("knowledge").writes.into_keys().collect();
    assert_eq!(written, keys);
    let stats = sim.stats();
    assert_paid_once(&stats, "ocr", kills);
    assert_paid_once(&stats, "embeddings", kills);
    fleet.dismiss(workers);
}

//! Collectors that panic and hang, and what becomes of the others.

use std::{
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bbt_agent::{
    collect::{Collector, Runner, Section},
    platform::{Platform, Roots, fake::FakePlatform},
};
use bbt_proto::report::v1::{Problem, Software};

/// Long enough for a slow machine; nobody waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of collectors that are meant to run into it.
const SHORT: Duration = Duration::from_millis(20);

/// Closed until opened; whoever passes it waits till then.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let open = self.open.lock().unwrap();
        let (open, timeout) = self.opened.wait_timeout_while(open, PATIENCE, |open| !*open).unwrap();
        assert!(*open && !timeout.timed_out(), "the gate was never opened");
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

type Act = Box<dyn Fn() + Send + Sync>;

/// Does one thing, then finds one fact.
struct Stub {
    name: &'static str,
    deadline: Duration,
    starts: AtomicUsize,
    act: Act,
}

impl Stub {
    fn new(name: &'static str, deadline: Duration, act: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { name, deadline, starts: AtomicUsize::new(0), act: Box::new(act) })
    }

    fn honest(name: &'static str) -> Arc<Self> {
        Self::new(name, PATIENCE, || {})
    }

    fn hanging(name: &'static str, gate: &Arc<Gate>) -> Arc<Self> {
        let gate = Arc::clone(gate);
        Self::new(name, SHORT, move || gate.pass())
    }

    fn starts(&self) -> usize {
        self.starts.load(Ordering::SeqCst)
    }
}

impl Collector for Stub {
    fn name(&self) -> &'static str {
        self.name
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    fn collect(&self, _platform: &dyn Platform) -> Section {
        self.starts.fetch_add(1, Ordering::SeqCst);
        (self.act)();
        Section::Software(Software { kernel: Some(self.name.into()), ..Software::default() })
    }

    fn failed(&self, problem: Problem) -> Section {
        Section::Software(Software { problems: vec![problem], ..Software::default() })
    }
}

fn runner(stubs: &[&Arc<Stub>]) -> Runner {
    let collectors = stubs.iter().map(|stub| Arc::clone(stub) as Arc<dyn Collector>).collect();
    Runner::new(Arc::new(FakePlatform::new(Roots::under(Path::new("/nowhere")), 1)), collectors)
}

/// The facts found, or why there are none, in one word each.
fn words(sections: &[Section]) -> Vec<String> {
    let word = |section: &Section| match (section, section.problems()) {
        (_, [problem]) => problem.code.clone(),
        (Section::Software(found), _) => found.kernel.clone().unwrap_or_default(),
        other => panic!("{other:?}"),
    };
    sections.iter().map(word).collect()
}

#[tokio::test]
async fn a_panic_is_told_and_takes_nobody_down() {
    let (first, last) = (Stub::honest("first"), Stub::honest("last"));
    let panicking = Stub::new("broken", PATIENCE, || panic!("disk\u{7} says no"));
    let runner = runner(&[&first, &panicking, &last]);
    let found = runner.run(&["first", "broken", "last"]).await;
    assert_eq!(words(&found), ["first", "panicked", "last"]);
    assert!(found[1].problems()[0].message.contains("disk says no"), "{:?}", found[1]);
    assert_eq!(words(&runner.run(&["broken", "first"]).await), ["panicked", "first"]);
    assert_eq!(panicking.starts(), 2, "a panic is over; the next pass may do better");
}

#[tokio::test]
async fn a_hung_collector_is_told_and_not_started_again_until_it_returns() {
    let gate = Arc::new(Gate::default());
    let (hanging, honest) = (Stub::hanging("slow", &gate), Stub::honest("quick"));
    let runner = runner(&[&hanging, &honest]);
    assert_eq!(words(&runner.run(&["slow", "quick"]).await), ["hung", "quick"]);
    assert_eq!(words(&runner.run(&["slow", "quick"]).await), ["hung", "quick"]);
    assert_eq!(hanging.starts(), 1);
    gate.open();
    let started = Instant::now();
    while words(&runner.run(&["slow"]).await) != ["slow"] {
        assert!(started.elapsed() < PATIENCE, "the collector returned and was not started again");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_others_get_their_turn_though_more_hang_than_run_at_a_time() {
    let gate = Arc::new(Gate::default());
    let hanging = ["one", "two", "three"].map(|name| Stub::hanging(name, &gate));
    let honest = Stub::honest("last");
    let runner = runner(&[&hanging[0], &hanging[1], &hanging[2], &honest]);
    let found = runner.run(&["one", "two", "three", "last"]).await;
    assert_eq!(words(&found), ["hung", "hung", "hung", "last"]);
    gate.open();
}

#[tokio::test]
async fn at_most_two_run_at_a_time() {
    let running = Arc::new((Mutex::new(0), Condvar::new()));
    let crowds = Arc::new(AtomicUsize::new(0));
    let stubs = ["a", "b", "c", "d", "e", "f"].map(|name| {
        let (running, crowds) = (Arc::clone(&running), Arc::clone(&crowds));
        // Each stays a little for a third to come, and leaves at once when it does.
        Stub::new(name, PATIENCE, move || {
            let (count, changed) = &*running;
            *count.lock().unwrap() += 1;
            changed.notify_all();
            let wait = changed.wait_timeout_while(count.lock().unwrap(), SHORT, |count| *count < 3);
            let (mut count, timeout) = wait.unwrap();
            if !timeout.timed_out() {
                crowds.fetch_add(1, Ordering::SeqCst);
            }
            *count -= 1;
        })
    });
    let runner = runner(&stubs.each_ref());
    let both = tokio::join!(runner.run(&["a", "b", "c"]), runner.run(&["d", "e", "f"]));
    assert_eq!(words(&[both.0, both.1].concat()), ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(crowds.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn sections_come_in_the_order_asked_and_unknown_names_give_none() {
    let (one, two) = (Stub::honest("one"), Stub::honest("two"));
    let runner = runner(&[&one, &two]);
    assert_eq!(words(&runner.run(&["two", "nobody", "one"]).await), ["two", "one"]);
}

//! Where the blocking API is called from: async code, clocks, many threads, destructors.

use std::cell::RefCell;
use std::io::Read as _;
use std::sync::{Barrier, OnceLock};
use std::thread;

use blindbox_attestation::blocking::{BodyReader, Request, Response, Session, Verifier};
use blindbox_attestation::emulator::{Fault, Gate};
use blindbox_attestation::{AttestationError, UnixTime};
use tokio::runtime::{Builder, Runtime};

use super::{Bench, Kit, assert_in_async_code, hello};

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn async_code_gets_an_error_and_sends_nothing() {
    let bench = Bench::start();
    let other = current_thread();
    let local = tokio::task::LocalSet::new();
    let several = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let traffic = bench.lab.blindbox.traffic();
    let untouched = || assert_eq!(traffic.requests().len(), 0);

    let kit = bench.kit();
    let (session, mut reader) = other.block_on(async { kit.refuses_here() });
    untouched();
    // What was refused there is as good as before where blocking is allowed.
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello from a BlindBox");
    assert_eq!(hello(&session).unwrap(), "hello from a BlindBox");

    let kit = bench.kit();
    other.block_on(async { tokio::spawn(async { kit.refuses() }).await.unwrap() });
    untouched();
    let kit = bench.kit();
    other.block_on(local.run_until(async { tokio::task::spawn_local(async { kit.refuses() }).await.unwrap() }));
    untouched();
    let kit = bench.kit();
    several.block_on(async { kit.refuses() });
    untouched();
    let kit = bench.kit();
    several.block_on(async { tokio::spawn(async { kit.refuses() }).await.unwrap() });
    untouched();
    // Also after an await, among others, and when the task has nothing left to spend.
    let kit = bench.kit();
    several.block_on(async {
        for _ in 0..1_000 {
            tokio::task::consume_budget().await;
        }
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::consume_budget().await;
        }
        tokio::join!(async { kit.refuses() }, tokio::task::yield_now());
    });
    untouched();
    // A runtime below `spawn_blocking` is one like any other.
    let kit = bench.kit();
    several.block_on(async {
        tokio::task::spawn_blocking(|| current_thread().block_on(async { kit.refuses() })).await.unwrap();
    });
    untouched();
}

#[test]
fn where_a_runtime_allows_blocking_it_works() {
    let bench = Bench::start();
    let other = current_thread();
    bench.kit().works();

    let kit = bench.kit();
    other.block_on(async { tokio::task::spawn_blocking(|| kit.works()).await.unwrap() });
    let kit = bench.kit();
    bench.runtime.block_on(async { tokio::task::spawn_blocking(|| kit.works()).await.unwrap() });
    let kit = bench.kit();
    bench.runtime.block_on(async { tokio::task::block_in_place(|| kit.works()) });
    let kit = bench.kit();
    let task = bench.runtime.spawn(async { tokio::task::block_in_place(|| kit.works()) });
    bench.runtime.block_on(task).unwrap();

    let kit = bench.kit();
    let entered = other.enter();
    kit.works();
    drop(entered);
}

/// What the documentation says cannot be seen: it takes its time there, and that is all.
#[test]
fn where_async_code_cannot_be_seen_it_neither_hangs_nor_panics() {
    let bench = Bench::start();
    let several = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let kit = bench.kit();
    current_thread().block_on(tokio::task::unconstrained(async { kit.works() }));
    let kit = bench.kit();
    let task = several.spawn(tokio::task::unconstrained(async { kit.works() }));
    several.block_on(task).unwrap();
}

#[test]
fn the_verifiers_own_clock_cannot_wait_for_the_verifier() {
    static SESSION: OnceLock<Session> = OnceLock::new();
    static SEEN: OnceLock<Result<String, AttestationError>> = OnceLock::new();
    let bench = Bench::start();
    let clock = bench.lab.blindbox.clock().clone();
    let builder = bench.lab.builder().clock(move || {
        if let Some(session) = SESSION.get() {
            SEEN.get_or_init(|| hello(session));
        }
        clock.now()
    });
    let session = builder.build_blocking().unwrap().connect(bench.lab.blindbox.url(), &bench.lab.policy()).unwrap();
    SESSION.get_or_init(|| session.clone());
    assert_eq!(hello(&session).unwrap(), "hello from a BlindBox");
    assert_in_async_code(SEEN.get().unwrap().as_ref().unwrap_err());
}

#[test]
fn a_clock_that_panics_is_an_error() {
    let bench = Bench::start();
    let verifier =
        bench.lab.builder().clock(|| -> UnixTime { panic!("a clock without hands") }).build_blocking().unwrap();
    let error = verifier.connect(bench.lab.blindbox.url(), &bench.lab.policy()).unwrap_err();
    assert!(matches!(&error, AttestationError::Misconfigured { reason } if reason.contains("panicked")), "{error:?}");
    assert_eq!(hello(&bench.connect()).unwrap(), "hello from a BlindBox");
}

#[test]
fn many_threads_work_at_the_same_time() {
    const THREADS: usize = 40;
    let bench = Bench::start();
    let (url, policy, verifier) = (bench.lab.blindbox.url(), bench.lab.policy(), bench.verifier());
    let start = Barrier::new(THREADS);
    let fetches = bench.lab.maa.key_set_fetches();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (verifier, policy, url, start) = (verifier.clone(), &policy, &url, &start);
            scope.spawn(move || {
                start.wait();
                let session = verifier.connect(url, policy).unwrap();
                for again in 0..5 {
                    let text = format!("{number} {again}");
                    let answer = session.post("/echo").body(text.clone()).send().unwrap();
                    assert_eq!(answer.text().unwrap(), text);
                }
            });
        }
    });
    assert_eq!(bench.lab.maa.key_set_fetches(), fetches + 1);

    // One session: no request has a response before the last one is there.
    let session = verifier.connect(&url, &policy).unwrap();
    let gate = Gate::closed();
    bench.lab.blindbox.fail("/slow", Fault::Held(gate.clone()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let session = session.clone();
            scope.spawn(move || assert_eq!(session.get("/slow").send().unwrap().text().unwrap(), "at last"));
        }
        bench.runtime.block_on(gate.arrived(THREADS));
        gate.open();
    });
    assert_few_threads();
}

/// By their names, of which Linux keeps 15 characters.
fn assert_few_threads() {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return };
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let ours = names.filter(|name| name.starts_with("blindbox-block")).count();
    assert!((1..=20).contains(&ours), "{ours} threads");
}

#[test]
fn verifiers_and_sessions_leave_no_threads_behind() {
    let bench = Bench::start();
    for _ in 0..10 {
        assert_eq!(hello(&bench.connect()).unwrap(), "hello from a BlindBox");
    }
    assert_few_threads();
}

#[test]
fn it_can_be_dropped_anywhere() {
    thread_local!(static KEPT: RefCell<Option<Kit>> = const { RefCell::new(None) });
    let bench = Bench::start();
    let (one, several) = (current_thread(), Builder::new_multi_thread().worker_threads(1).build().unwrap());
    // With a body half read each time.
    let kit = || {
        let mut kit = bench.kit();
        kit.response = kit.session.get("/large?bytes=5000000").send().unwrap();
        kit.reader = kit.session.get("/large?bytes=5000000").send().unwrap().reader();
        assert_eq!(kit.reader.read(&mut [0; 10]).unwrap(), 10);
        kit
    };
    let dropped = kit();
    one.block_on(async { drop(dropped) });
    let dropped = kit();
    one.block_on(async { tokio::spawn(async { drop(dropped) }).await.unwrap() });
    let dropped = kit();
    several.block_on(async { tokio::spawn(async { drop(dropped) }).await.unwrap() });
    let dropped = kit();
    several.block_on(async {
        let task = tokio::spawn(async {
            let _dropped = dropped;
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    });
    // With the runtime that held it, and at the end of a thread, and while it panics.
    let dropped = kit();
    let ending = current_thread();
    ending.spawn(async {
        let _dropped = dropped;
        std::future::pending::<()>().await;
    });
    ending.block_on(tokio::task::yield_now());
    drop(ending);
    let dropped = kit();
    thread::spawn(|| KEPT.set(Some(dropped))).join().unwrap();
    let dropped = kit();
    let panicked = thread::spawn(|| {
        let _dropped = dropped;
        panic!("with a session at hand");
    });
    assert!(panicked.join().is_err());
    // While another thread waits for a response.
    let session = bench.connect();
    let waiting = session.get("/slow?ms=500");
    let answer = thread::spawn(|| waiting.send().unwrap().text().unwrap());
    drop(session);
    assert_eq!(answer.join().unwrap(), "at last");

    assert_eq!(hello(&bench.connect()).unwrap(), "hello from a BlindBox");
}

#[test]
fn it_is_made_to_be_shared() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<Verifier>();
    shared::<Session>();
    shared::<Request>();
    sent::<Response>();
    sent::<BodyReader>();
}

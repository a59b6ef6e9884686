//! Threads that call, which drive the connections themselves, beside work that goes on without them.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use blindbox_attestation::emulator::Fault;
use blindbox_facade::{Call, Error, Request, Started, Upload};

use crate::common::{LONG, Scene, get, post, read, start, until, wait};

/// Lets the background thread take over, sometimes.
fn moment() {
    thread::sleep(Duration::from_millis(8));
}

async fn later(after: Duration) {
    tokio::time::sleep(after).await;
}

#[test]
fn callers_started_work_and_cancellations_do_not_wait_for_each_other() {
    let scene = Scene::new();
    let session = Arc::new(scene.session().unwrap());
    scene.blindbox.fail("/hangs", Fault::Hang);
    let threads: Vec<_> = (0..12)
        .map(|number| {
            let session = Arc::clone(&session);
            thread::spawn(move || {
                for round in 0..20 {
                    match (number + round) % 4 {
                        0 => assert_eq!(wait(session.send(get("/"))).unwrap().status, 200),
                        1 => {
                            let (_, outcomes) = start(session.send(get("/")));
                            assert_eq!(outcomes.recv_timeout(LONG).unwrap().unwrap().status, 200);
                        }
                        2 => {
                            let started = Started::new(session.send(post("/echo", &[7; 100_000]))).unwrap();
                            assert_eq!(read(&started.wait().unwrap()).0.len(), 100_000);
                            assert_eq!(started.wait().unwrap_err().code, "closed");
                        }
                        _ => {
                            let call = Call::new(session.send(get("/hangs"))).unwrap();
                            let cancel = call.cancel();
                            let other = thread::spawn(move || cancel.cancel());
                            assert_eq!(call.wait().unwrap_err().code, "cancelled");
                            other.join().unwrap();
                        }
                    }
                    if round % 7 == number % 7 {
                        moment();
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_call_that_hangs_is_cancelled_by_another_thread() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    scene.blindbox.fail("/", Fault::Hang);
    let call = Call::new(session.send(get("/"))).unwrap();
    let cancel = call.cancel();
    let waiting = thread::spawn(move || call.wait().map(|response| response.status));
    until("the request arrives", || scene.blindbox.traffic().count("/") == 1);
    cancel.cancel();
    let error = waiting.join().unwrap().unwrap_err();
    assert_eq!((error.code, error.request_sent), ("cancelled", true));
    // Before it began.
    let call = Call::new(session.send(get("/"))).unwrap();
    call.cancel().cancel();
    let error = call.wait().map(|response| response.status).unwrap_err();
    assert_eq!((error.code, error.request_sent), ("cancelled", false));
    assert_eq!(scene.blindbox.traffic().count("/"), 1);
}

#[test]
fn started_work_goes_on_while_nobody_calls_and_can_be_cancelled() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    scene.blindbox.fail("/", Fault::Hang);
    let started = Started::new(session.send(get("/"))).unwrap();
    until("the request arrives", || scene.blindbox.traffic().count("/") == 1);
    started.cancel().cancel();
    let error = started.wait().map(|response| response.status).unwrap_err();
    assert_eq!((error.code, error.request_sent), ("cancelled", true));
}

#[test]
fn tasks_of_connections_go_on_while_nobody_calls() {
    // The background thread sleeps during a call that takes longer than it looks for others.
    for takes in [Duration::ZERO, Duration::from_millis(20)] {
        let (sender, went_on) = channel();
        let work = async move {
            later(takes).await;
            tokio::spawn(async move {
                later(Duration::from_millis(1)).await;
                sender.send(()).unwrap();
            });
            Ok::<_, Error>(())
        };
        wait(work).unwrap();
        went_on.recv_timeout(LONG).unwrap();
    }
}

#[test]
fn work_is_dropped_with_its_call() {
    let held = Arc::new(());
    let work = || {
        let held = Arc::clone(&held);
        async move {
            let _held = held;
            pending::<Result<(), Error>>().await
        }
    };
    let stopped = blindbox_facade::wait(work(), Duration::from_millis(1), || Err("a signal came"));
    assert_eq!(stopped.unwrap_err(), "a signal came");
    assert_eq!(Arc::strong_count(&held), 1);
    let call = Call::new(work()).unwrap();
    call.cancel().cancel();
    assert_eq!(call.wait().unwrap_err().code, "cancelled");
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn code_of_the_host_makes_calls_between_the_steps_of_one() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    scene.blindbox.fail("/hangs", Fault::Hang);
    let mut statuses = Vec::new();
    let stopped = blindbox_facade::wait(session.send(get("/hangs")), Duration::from_millis(1), || {
        statuses.push(wait(session.send(get("/"))).unwrap().status);
        if statuses.len() < 3 { Ok(()) } else { Err("a signal came") }
    });
    assert_eq!((stopped.unwrap_err(), statuses), ("a signal came", vec![200; 3]));
    let upload = Upload::new(None);
    let request = Request { body: Some(upload.clone().into()), ..post("/echo", b"") };
    let mut pieces = vec!["two", "one"];
    let source = || {
        assert_eq!(wait(session.send(get("/"))).unwrap().status, 200);
        Ok::<_, Infallible>(pieces.pop().map(Into::into))
    };
    let response = blindbox_facade::wait_writing(session.send(request), &upload, LONG, source, || Ok(()));
    assert_eq!(read(&response.unwrap().unwrap()).0, b"onetwo");
}

#[test]
fn a_thread_of_another_runtime_may_call() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    let own = tokio::runtime::Runtime::new().unwrap();
    let status = own.block_on(async { wait(session.send(get("/"))).unwrap().status });
    assert_eq!(status, 200);
    let error = own.block_on(async {
        let call = Call::new(pending::<Result<(), Error>>()).unwrap();
        let cancel = call.cancel();
        thread::spawn(move || cancel.cancel());
        call.wait().unwrap_err()
    });
    assert_eq!((error.code, error.request_sent), ("cancelled", false));
}

#[test]
fn a_call_needs_little_stack() {
    let scene = Scene::new();
    // The threads of some systems have no more.
    let small = thread::Builder::new().stack_size(512 << 10);
    thread::scope(|scope| {
        let calling = small.spawn_scoped(scope, || {
            let session = scene.session().unwrap();
            read(&wait(session.send(post("/echo", &[7; 100_000]))).unwrap()).0.len()
        });
        assert_eq!(calling.unwrap().join().unwrap(), 100_000);
    });
}

//! Objects in another process than the one that made them. A binary of its own: a noted fork is one for every test in it.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use blindbox_facade::{Error, Upload, note_fork, within_process};
use common::{Scene, get, wait};

#[test]
fn objects_of_the_parent_are_refused_and_new_ones_work() {
    let scene = Scene::new();
    let (verifier, session) = (scene.verifier(), scene.session().unwrap());
    let response = wait(session.send(get("/large?bytes=1000000"))).unwrap();
    let before = scene.blindbox.traffic().application_requests();
    note_fork();
    for error in [
        wait(session.send(get("/"))).unwrap_err(),
        wait(response.chunk()).unwrap_err(),
        wait(verifier.connect(&scene.blindbox.url(), &scene.policy)).unwrap_err(),
        session.attestation_json().unwrap_err(),
    ] {
        assert_eq!((error.code, error.number, error.category), ("forked", 904, "misconfigured"));
    }
    session.close();
    response.close();
    assert_eq!(scene.blindbox.traffic().application_requests(), before);
    a_call_that_forks_leaves_its_work_alone();
    a_noted_fork_is_seen_at_once();
    let own = scene.session().unwrap();
    assert_eq!(wait(own.send(get("/"))).unwrap().status, 200);
}

/// Code of the host runs between the steps of a call, and may go on in a child.
fn a_call_that_forks_leaves_its_work_alone() {
    let work = Arc::new(());
    let held = Arc::clone(&work);
    let pending = async move {
        let _held = held;
        std::future::pending::<Result<(), Error>>().await
    };
    let outcome = blindbox_facade::wait(pending, Duration::from_millis(1), || {
        note_fork();
        Ok::<_, Infallible>(())
    });
    assert_eq!(outcome.unwrap().unwrap_err().code, "forked");
    // Dropping it could wait for a lock that a thread of the parent held.
    assert_eq!(Arc::strong_count(&work), 2);
}

/// Also where the process is not asked for again.
fn a_noted_fork_is_seen_at_once() {
    let upload = Upload::new(None);
    within_process(|| {
        note_fork();
        assert_eq!(wait(upload.ready()).unwrap_err().code, "forked");
    });
    assert_eq!(wait(upload.ready()).unwrap_err().code, "forked");
}

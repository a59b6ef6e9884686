//! Objects in another process than the one that made them. A binary of its own: a noted fork is one for every test in it.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use blindbox_facade::note_fork;
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
    let own = scene.session().unwrap();
    assert_eq!(wait(own.send(get("/"))).unwrap().status, 200);
}

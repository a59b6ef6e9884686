//! What is sent over an attested connection, and what comes back.

use blindbox_attestation::emulator::Fault;

use crate::lab::Lab;

#[tokio::test]
async fn a_request_is_sent_as_it_was_made() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let request = session.post("/echo?a=b").query("c", "d e").header("x-one", "1").header("x-one", "2").body("bytes");
    let answer = request.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "bytes"));
    let sent = lab.blindbox.traffic().requests().pop().unwrap();
    assert_eq!((sent.method.as_str(), sent.path.as_str(), sent.body.as_slice()), ("POST", "/echo", &b"bytes"[..]));
    let mut headers: Vec<_> = sent.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    headers.sort();
    // Nothing that could identify the caller, and nothing that the caller did not ask for.
    assert_eq!(headers, ["accept: */*", "content-length: 5", "x-one: 1", "x-one: 2"]);

    for (request, answer) in [
        (session.get("/"), "hello from a BlindBox"),
        (session.put("/echo").body("put"), "put"),
        (session.patch("/echo").json("patch"), "\"patch\""),
        (session.delete("/echo"), "DELETE"),
        (session.options("/echo"), "OPTIONS"),
        (session.request(http::Method::DELETE, "/echo"), "DELETE"),
    ] {
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), answer);
    }
    let response = session.head("/").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.headers()["content-length"], "21");
    assert_eq!(response.bytes().await.unwrap(), "");
}

#[tokio::test]
async fn a_base_path_is_kept() {
    let lab = Lab::start().await;
    let url = format!("{}/some/base/", lab.blindbox.url());
    let session = lab.verifier().connect(url, &lab.policy()).await.unwrap();
    assert_eq!(session.get("/x").send().await.unwrap().status().as_u16(), 404);
    assert_eq!(lab.blindbox.traffic().count("/some/base/x"), 1);
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);
}

#[tokio::test]
async fn redirects_and_encodings_are_given_back_as_they_are() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let answer = session.get("/redirect?to=https://evil.example/").send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()),
        (302, "https://evil.example/")
    );
    assert_eq!(lab.blindbox.traffic().application_requests(), 1);
    lab.blindbox.fail("/", Fault::Gzip);
    let answer = session.get("/").send().await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    assert!(answer.bytes().await.unwrap().starts_with(&[0x1f, 0x8b]));
}

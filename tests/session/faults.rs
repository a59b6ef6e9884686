//! Every fault of `docs/faults.md`: its row says what comes of it, and this is what comes of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::lab::{Lab, hello, lasting, noticed};
use blindbox_attestation::emulator::{
    Fault, HardwareKnob, HttpVersions, Kds, Knob, OpenConnections, Platform, ServerCertificate, TcpProxy, Transport,
};
use blindbox_attestation::{AttestationError, Product, UnixTime, VerifierBuilder};
use tokio::io::AsyncWriteExt as _;

const FAULTS: &str = include_str!("../../docs/faults.md");

/// For faults that only a deadline ends.
const SHORT: Duration = Duration::from_millis(600);

/// Longer than any of it takes on any machine, and shorter than a server hangs.
const HANG: Duration = Duration::from_secs(120);

/// For faults that end by themselves: far more than they take.
const LONG: Duration = Duration::from_secs(60);

/// The rows of the table: where and what, to outcome and whether it is worth another try.
fn documented() -> BTreeMap<(String, String), (String, String)> {
    let rows = FAULTS.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = rows.map(|row| row.split(" | ").map(str::trim).map(|cell| cell.replace('`', "")).collect::<Vec<_>>());
    let rows = rows.filter(|row| row.len() == 4 && !row[0].starts_with("---") && row[0] != "where");
    rows.map(|row| ((row[0].clone(), row[1].clone()), (row[2].clone(), row[3].clone()))).collect()
}

/// What came of each fault.
#[derive(Default)]
struct Outcomes(BTreeMap<(String, String), (String, String)>);

impl Outcomes {
    fn add(&mut self, (place, fault): (&str, &str), took: Duration, deadline: Duration, outcome: Outcome) {
        // What counts is that the deadline ends it, and no other timer; how late a busy machine wakes up does not. One that never
        // does is a hang.
        assert!(took < HANG, "{place}, {fault}: {took:?}");
        if let Err(AttestationError::Timeout { after, .. }) = &outcome {
            assert_eq!(*after, deadline, "{place}, {fault}");
            assert!(took >= deadline, "{place}, {fault}: {took:?}");
        }
        let outcome = match outcome {
            Ok(()) => ("recovers".to_owned(), String::new()),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                (error.code().to_owned(), if error.is_retryable() { "yes" } else { "no" }.to_owned())
            }
        };
        let before = self.0.insert((place.to_owned(), fault.replace('`', "")), outcome);
        assert_eq!(before, None, "{place}, {fault}: twice");
    }

    fn assert_documented(&self, places: &[&str]) {
        let documented: BTreeMap<_, _> =
            documented().into_iter().filter(|((place, _), _)| places.contains(&place.as_str())).collect();
        let shown = |rows: &BTreeMap<(String, String), (String, String)>| {
            let row = |((a, b), (c, d)): (&(String, String), &(String, String))| {
                if d.is_empty() { format!("| {a} | {b} | {c} | {d} |") } else { format!("| {a} | {b} | `{c}` | {d} |") }
            };
            rows.iter().map(row).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(shown(&self.0), shown(&documented), "docs/faults.md is not what happens");
    }
}

type Outcome = Result<(), AttestationError>;

/// An outcome, and how long it took.
async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let begun = Instant::now();
    let outcome = work.await;
    (begun.elapsed(), outcome)
}

/// A fresh verifier, and a session with one request that succeeds; or why not, and then nothing reached the application.
async fn attempt(lab: &Lab, builder: VerifierBuilder, url: &str, deadline: Duration) -> (Duration, Outcome) {
    let verifier = builder.deadline(deadline).build().unwrap();
    lab.blindbox.traffic().clear_requests();
    let (took, outcome) = timed(verifier.connect(url, &lab.both_policy())).await;
    let outcome = match outcome {
        Ok(session) => {
            assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
            Ok(())
        }
        Err(error) => {
            assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
            Err(error)
        }
    };
    (took, outcome)
}

/// What any server can do wrong, and how long to wait for what becomes of it. `times` is for how many responses.
fn server_faults() -> Vec<(&'static str, Fault, Option<u32>, Duration)> {
    let for_good = None;
    vec![
        ("responds after 200 ms", Fault::Slow(Duration::from_millis(200)), for_good, LONG),
        ("never responds", Fault::Hang, for_good, SHORT),
        ("sends its response slowly, a byte at a time", Fault::Drip(Duration::from_millis(10)), for_good, SHORT),
        ("closes the connection without a response", Fault::CloseEarly, for_good, LONG),
        ("closes the connection in the middle of a response", Fault::Truncated, for_good, LONG),
        ("is overloaded once (429, `Retry-After: 0`)", Fault::too_many_requests(0), Some(1), LONG),
        ("is overloaded for a second (429, `Retry-After: 1`)", Fault::too_many_requests(1), Some(1), LONG),
        ("is overloaded for an hour (429, `Retry-After: 3600`)", Fault::too_many_requests(3600), for_good, LONG),
        ("is unavailable for two requests (503)", Fault::status(503), Some(2), LONG),
        ("is unavailable (503)", Fault::status(503), for_good, LONG),
        ("fails (500)", Fault::status(500), for_good, LONG),
        ("does not support the request (404)", Fault::status(404), for_good, LONG),
        ("sends 100 MB", Fault::Oversized(100 << 20), for_good, LONG),
        ("announces 100 MB", Fault::OversizedAnnounced(100 << 20), for_good, LONG),
        ("sends gzip, which was not requested", Fault::Gzip, for_good, LONG),
        ("redirects", Fault::Redirect("https://127.0.0.1:9/".to_owned()), for_good, LONG),
        ("sends another document", Fault::Body("<html>maintenance</html>".to_owned()), for_good, LONG),
    ]
}

/// What a server of JSON can do wrong besides.
fn json_faults() -> Vec<(&'static str, Fault, Option<u32>, Duration)> {
    vec![
        ("sends another content type", Fault::ContentType("text/html".to_owned()), None, LONG),
        ("sends no content type", Fault::ContentType(String::new()), None, LONG),
        ("sends two JSON objects", Fault::TrailingJson, None, LONG),
        ("sends a member twice", Fault::DuplicateMember, None, LONG),
        ("sends JSON that does not end", Fault::MalformedJson, None, LONG),
    ]
}

/// At the same time, since most of it is waiting. Each has servers of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_of_each_fault_is_what_is_written() {
    let tests = [
        tokio::spawn(faults_of_the_agent()),
        tokio::spawn(faults_of_maa()),
        tokio::spawn(faults_of_amds_service()),
        tokio::spawn(faults_of_thim()),
        tokio::spawn(faults_of_the_way_to_the_application()),
        tokio::spawn(clocks_that_disagree()),
        tokio::spawn(faults_during_a_request()),
    ];
    for test in tests {
        test.await.unwrap();
    }
}

async fn faults_of_the_agent() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    let mut outcomes = Outcomes::default();
    let mut faults = server_faults();
    faults.extend(json_faults());
    faults.extend([
        ("refuses (403)", Fault::forbidden(), None, LONG),
        ("refuses with two JSON objects (403)", Fault::forbidden_twice(), None, LONG),
    ]);
    for (name, fault, times, deadline) in faults {
        match times {
            None => lab.blindbox.fail("/attest/", fault),
            Some(times) => lab.blindbox.fail_times("/attest/", times, fault),
        }
        let (took, outcome) = attempt(&lab, lab.builder(), &lab.blindbox.url(), deadline).await;
        outcomes.add(("agent", name), took, deadline, outcome);
        lab.blindbox.recover();
    }
    outcomes.assert_documented(&["agent"]);
}

async fn faults_of_maa() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    let mut outcomes = Outcomes::default();
    let mut faults = server_faults();
    faults.extend(json_faults());
    for (name, fault, times, deadline) in faults {
        match times {
            None => lab.maa.fail(fault),
            Some(times) => lab.maa.fail_times(times, fault),
        }
        let (took, outcome) = attempt(&lab, lab.builder(), &lab.blindbox.url(), deadline).await;
        outcomes.add(("MAA", name), took, deadline, outcome);
        lab.maa.recover();
    }
    let only_kds = lab.builder().collateral_roots(lab.kds().tls_root_pem());
    let (took, outcome) = attempt(&lab, only_kds, &lab.blindbox.url(), LONG).await;
    outcomes.add(("MAA", "presents a certificate that is not issued by a trusted authority"), took, LONG, outcome);
    lab.maa.stop().await;
    let (took, outcome) = attempt(&lab, lab.builder(), &lab.blindbox.url(), LONG).await;
    outcomes.add(("MAA", "is down"), took, LONG, outcome);
    lab.maa.restart().await.unwrap();

    // The key set was fetched long ago, or just now, when the key changes.
    for (name, later) in [
        ("changes its key later than 10 s after the key set was fetched", 11),
        ("changes its key within 10 s after the key set was fetched", 0),
    ] {
        let verifier = lab.verifier();
        let policy = lab.both_policy();
        let _ = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
        lab.maa.rotate_key();
        lab.blindbox.clock().advance(later);
        let (took, outcome) = timed(verifier.connect(lab.blindbox.url(), &policy)).await;
        outcomes.add(("MAA", name), took, LONG, outcome.map(drop));
    }
    outcomes.assert_documented(&["MAA"]);
}

async fn faults_of_amds_service() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    let mut outcomes = Outcomes::default();
    for (name, fault, times, deadline) in server_faults() {
        match times {
            None => lab.kds().fail("/", fault),
            Some(times) => lab.kds().fail_times("/", times, fault),
        }
        let (took, outcome) = attempt(&lab, lab.builder(), &lab.blindbox.url(), deadline).await;
        outcomes.add(("KDS", name), took, deadline, outcome);
        lab.kds().recover();
    }
    let only_maa = lab.builder().collateral_roots(lab.maa.tls_root_pem());
    let (took, outcome) = attempt(&lab, only_maa, &lab.blindbox.url(), LONG).await;
    outcomes.add(("KDS", "presents a certificate that is not issued by a trusted authority"), took, LONG, outcome);
    lab.kds().stop().await;
    let (took, outcome) = attempt(&lab, lab.builder(), &lab.blindbox.url(), LONG).await;
    outcomes.add(("KDS", "is down"), took, LONG, outcome);
    outcomes.assert_documented(&["KDS"]);
}

/// What a service with one host's certificates may do wrong, AMD's being there for what it does not give.
async fn faults_of_thim() {
    let platform = Platform::new(Product::Milan);
    let lab = Lab::on(&platform).await;
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    let thim = Kds::builder().plain_http().thim(&platform).start().await.unwrap();
    let mut outcomes = Outcomes::default();
    for (name, fault) in [
        ("never responds", Fault::Hang),
        ("fails (500)", Fault::status(500)),
        ("closes the connection without a response", Fault::CloseEarly),
        ("redirects", Fault::Redirect(lab.kds().url().to_owned())),
        ("sends 100 MB", Fault::Oversized(100 << 20)),
        ("sends another document", Fault::Body("<html>maintenance</html>".to_owned())),
    ] {
        thim.fail("/", fault);
        let (took, outcome) = attempt(&lab, lab.builder().thim(thim.thim_url()), &lab.blindbox.url(), LONG).await;
        outcomes.add(("THIM", name), took, LONG, outcome);
        thim.recover();
    }
    thim.stop().await;
    let (took, outcome) = attempt(&lab, lab.builder().thim(thim.thim_url()), &lab.blindbox.url(), LONG).await;
    outcomes.add(("THIM", "is down"), took, LONG, outcome);
    outcomes.assert_documented(&["THIM"]);
}

/// Someone who accepts connections and says this, or nothing.
async fn stranger(says: &'static [u8]) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(says).await;
            open.push(stream);
        }
    });
    address
}

async fn faults_of_the_way_to_the_application() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    let mut outcomes = Outcomes::default();
    let network = TcpProxy::start(&[lab.blindbox.address()]).await.unwrap();
    for (name, says, deadline) in [
        ("the server accepts the connection and sends nothing", &b""[..], SHORT),
        ("the server does not speak TLS", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", LONG),
    ] {
        let url = format!("https://{}", stranger(says).await);
        let (took, outcome) = attempt(&lab, lab.builder(), &url, deadline).await;
        outcomes.add(("application", name), took, deadline, outcome);
    }
    for (name, delay) in [
        ("every packet is delayed by 40 ms", Duration::from_millis(40)),
        ("every packet is delayed by 400 ms, with a deadline of 600 ms", Duration::from_millis(400)),
    ] {
        let deadline = if delay > Duration::from_millis(100) { SHORT } else { LONG };
        network.delay(delay);
        let (took, outcome) = attempt(&lab, lab.builder(), &network.url(), deadline).await;
        outcomes.add(("application", name), took, deadline, outcome);
    }
    network.delay(Duration::ZERO);
    for (name, bytes) in
        [("the connection is cut in the handshake", 100), ("the connection is cut after the handshake", 4000)]
    {
        network.cut_after(Some(bytes));
        let (took, outcome) = attempt(&lab, lab.builder(), &network.url(), LONG).await;
        outcomes.add(("application", name), took, LONG, outcome);
    }
    network.cut_after(None);
    network.refuse(true);
    let (took, outcome) = attempt(&lab, lab.builder(), &network.url(), LONG).await;
    outcomes.add(("application", "the connection is closed at once"), took, LONG, outcome);

    lab.blindbox.stop().await;
    let (took, outcome) = attempt(&lab, lab.builder(), &lab.blindbox.url(), LONG).await;
    outcomes.add(("application", "the connection is refused"), took, LONG, outcome);
    let (took, outcome) = attempt(&lab, lab.builder(), "https://no-such-host.invalid", LONG).await;
    outcomes.add(("application", "the name does not resolve"), took, LONG, outcome);
    for (name, certificate) in [
        ("the certificate is for another name", ServerCertificate::WrongName),
        ("the certificate has expired", ServerCertificate::Expired),
        ("the certificate is not issued by a trusted authority", ServerCertificate::UnknownAuthority),
    ] {
        let platform = Platform::new(Product::Milan);
        let other = Lab::with(|blindbox| blindbox.platform(&platform).name("my-app.example").certificate(certificate));
        let other = other.await;
        let builder = other.builder().resolve("my-app.example", other.blindbox.address());
        let url = format!("https://my-app.example:{}", other.blindbox.address().port());
        let (took, outcome) = attempt(&other, builder, &url, LONG).await;
        outcomes.add(("application", name), took, LONG, outcome);
    }
    let platform = Platform::new(Product::Milan);
    let other = Lab::with(|blindbox| blindbox.platform(&platform).transport(Transport::Tls12)).await;
    let (took, outcome) = attempt(&other, other.builder(), &other.blindbox.url(), LONG).await;
    outcomes.add(("application", "the server supports TLS 1.2 only"), took, LONG, outcome);
    outcomes.assert_documented(&["application"]);
}

async fn clocks_that_disagree() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    let mut outcomes = Outcomes::default();
    let (clock, hour) = (lab.blindbox.clock().clone(), 3600_i64);
    for (name, skew) in [
        ("ours is 30 s behind", -30),
        ("ours is 30 s ahead", 30),
        ("ours is two minutes behind", -120),
        ("ours is two minutes ahead", 120),
        ("ours is a day ahead", 24 * hour),
        ("ours is at 1970", i64::MIN),
    ] {
        let clock = clock.clone();
        let skewed = move || {
            let now = i64::try_from(clock.now().as_secs()).unwrap();
            UnixTime::from_secs(u64::try_from(now.saturating_add(skew)).unwrap_or(0))
        };
        let (took, outcome) = attempt(&lab, lab.builder().clock(skewed), &lab.blindbox.url(), LONG).await;
        outcomes.add(("clock", name), took, LONG, outcome);
    }
    outcomes.assert_documented(&["clock"]);
}

/// Faults of an application whose peer is attested.
async fn faults_during_a_request() {
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        let mut outcomes = Outcomes::default();
        let lab = Lab::with(|blindbox| blindbox.http(http)).await;
        let session = lab.connect().await.unwrap();
        for (name, fault, timeout) in [
            ("the response takes 200 ms", Fault::Slow(Duration::from_millis(200)), LONG),
            ("the response takes longer than the request's timeout", Fault::Hang, SHORT),
            ("the connection is closed without a response", Fault::CloseEarly, LONG),
        ] {
            lab.blindbox.fail("/echo", fault.clone());
            let mut timeout = timeout;
            loop {
                lab.blindbox.traffic().clear_requests();
                let (took, outcome) = timed(session.post("/echo").body("x").timeout(timeout).send()).await;
                let arrived = lab.blindbox.traffic().count("/echo");
                // On a busy machine the time may be over before the request is sent.
                if arrived == 0 && outcome.as_ref().is_err_and(|error| error.code() == "timeout") && timeout < HANG {
                    timeout *= 3;
                    continue;
                }
                outcomes.add(("request", name), took, timeout, outcome.map(drop));
                // Once, whatever came of it.
                assert_eq!(arrived, 1, "{http:?} {fault:?}");
                break;
            }
            lab.blindbox.recover();
            noticed().await;
            assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
        }
        // The application's own response is not judged.
        for (name, fault) in [
            ("the application fails (500)", Fault::status(500)),
            ("the application redirects", Fault::Redirect("https://127.0.0.1:9/".to_owned())),
            ("the application is overloaded (429)", Fault::too_many_requests(3600)),
        ] {
            lab.blindbox.traffic().clear_requests();
            lab.blindbox.fail("/echo", fault);
            let answer = session.post("/echo").body("x").send().await.unwrap();
            assert!([500, 307, 429].contains(&answer.status().as_u16()));
            assert_eq!(lab.blindbox.traffic().count("/echo"), 1);
            let outcome = ("the response, unchanged".to_owned(), String::new());
            outcomes.0.insert(("request".to_owned(), name.to_owned()), outcome);
            lab.blindbox.recover();
        }
        lab.blindbox.rotate_tls_key(OpenConnections::Drop);
        noticed().await;
        let (took, outcome) = timed(session.post("/echo").body("x").send()).await;
        outcomes.add(("request", "the server has a new key"), took, LONG, outcome.map(drop));
        lab.blindbox.set(Knob::Debug);
        lab.blindbox.rotate_tls_key(OpenConnections::Drop);
        noticed().await;
        let (took, outcome) = timed(session.post("/echo").body("x").send()).await;
        outcomes.add(("request", "the server has a new key that is refused"), took, LONG, outcome.map(drop));
        let (took, outcome) = timed(session.post("/echo").body("x").send()).await;
        let name = "the server has a new key that was refused within 30 s";
        outcomes.add(("request", name), took, LONG, outcome.map(drop));
        outcomes.assert_documented(&["request"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_one_deadline_for_everything() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    // Each of these is well below it, and they come one after the other.
    let network = TcpProxy::start(&[lab.blindbox.address()]).await.unwrap();
    network.delay(Duration::from_millis(50));
    lab.blindbox.fail_times("/attest/", 1, Fault::status(503));
    lab.blindbox.fail("/attest/", Fault::Slow(Duration::from_millis(300)));
    lab.kds().fail("/", Fault::Slow(Duration::from_millis(400)));
    let deadline = Duration::from_millis(800);
    let verifier = lab.builder().deadline(deadline).build().unwrap();
    let error = lasting(deadline, verifier.connect(network.url(), &lab.both_policy())).await.unwrap_err();
    assert!(matches!(error, AttestationError::Timeout { after, .. } if after == deadline), "{error:?}");
    // With enough of it, it works out.
    let verifier = lab.verifier();
    let session = verifier.connect(network.url(), &lab.both_policy()).await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

#[test]
fn every_row_has_a_test() {
    let places = ["agent", "MAA", "KDS", "THIM", "application", "clock", "request"];
    let documented = documented();
    assert!(documented.len() > 60, "{}", documented.len());
    for ((place, fault), _) in documented {
        assert!(places.contains(&place.as_str()), "{place}: {fault}");
    }
}

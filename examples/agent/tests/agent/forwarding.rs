//! What reaches the application, and how.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response};

use crate::client::{Client, get, http2};
use crate::lab::{TestServer, agent_without_machine, application, config, echo, passing};

fn request(headers: &str) -> String {
    format!("POST /a//b?c=d%20e HTTP/1.1\r\nhost: my-app.example\r\ncontent-length: 4\r\n{headers}\r\nbody")
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent_and_says_who_sent_it() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let mut client = Client::connect(agent.address()).await;
    let answer = client.send(&request("x-mine: 1\r\nauthorization: Bearer t\r\n")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "/a//b?c=d%20e body"));
    assert!(answer.head.contains("x-application: yes"));
    let (head, body) = application.arrived().remove(0);
    assert_eq!((head.method.as_str(), head.version), ("POST", hyper::Version::HTTP_11));
    assert_eq!(body, "body");
    for (name, value) in [
        ("host", "my-app.example"),
        ("x-mine", "1"),
        ("authorization", "Bearer t"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
    ] {
        assert_eq!(head.headers[name], value, "{name}");
    }
}

#[tokio::test]
async fn http_2_arrives_as_http_1_1_and_its_reserved_paths_do_not() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let (mut sender, _connection) = http2(agent.address()).await;
    let mut ask = async |path: &str| {
        let request =
            Request::get(format!("https://my-app.example{path}")).header("cookie", "a=1").header("cookie", "b=2");
        sender.send_request(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap().status().as_u16()
    };
    assert_eq!(ask("/a?b").await, 200);
    assert_eq!(ask("/%61ttest/raw").await, 404);
    assert_eq!(ask("/x/../attest/raw").await, 400);
    let arrived = application.arrived();
    let (head, _) = &arrived[0];
    assert_eq!((arrived.len(), head.version, head.uri.to_string()), (1, hyper::Version::HTTP_11, "/a?b".to_owned()));
    assert_eq!(head.headers["host"], "my-app.example");
    assert_eq!(head.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
}

#[tokio::test]
async fn headers_of_one_connection_stay_on_it() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let mut client = Client::connect(agent.address()).await;
    let headers = "connection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=9\r\nte: trailers\r\n\
                   proxy-authorization: Basic eA==\r\nproxy-connection: keep-alive\r\ntrailer: x\r\n";
    let answer = client.send(&request(headers)).await;
    assert!(!answer.head.contains("keep-alive:"), "{}", answer.head);
    let (head, _) = application.arrived().remove(0);
    for name in
        ["connection", "x-hop", "keep-alive", "te", "proxy-authorization", "proxy-connection", "trailer", "upgrade"]
    {
        assert!(!head.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_caller_cannot_say_that_it_is_another() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let mut client = Client::connect(agent.address()).await;
    let headers = "x-forwarded-for: 10.0.0.1\r\nx-forwarded-proto: http\r\nforwarded: for=10.0.0.1\r\n\
                   x-forwarded-host: evil\r\nx-real-ip: 10.0.0.1\r\n\
                   x_forwarded_for: 10.0.0.1\r\nX-Forwarded_Proto: http\r\nproxy_authorization: x\r\n\
                   x-forwarded-prefix: /evil\r\nx-original-url: /attest/raw\r\nx-rewrite-url: /key\r\n\
                   connection: x-forwarded-for, content-length, host\r\n";
    assert_eq!(client.send(&request(headers)).await.status, 200);
    let (head, body) = application.arrived().remove(0);
    assert_eq!(head.headers.get_all("x-forwarded-for").iter().collect::<Vec<_>>(), ["127.0.0.1"]);
    assert_eq!(head.headers["x-forwarded-proto"], "https");
    assert_eq!((head.headers["host"].as_bytes(), body.as_ref()), (b"my-app.example".as_slice(), b"body".as_slice()));
    // Gateways in the manner of CGI take an underscore for a hyphen.
    let arrived: Vec<&str> = head.headers.keys().map(hyper::header::HeaderName::as_str).collect();
    let mut rest: Vec<&str> =
        arrived.iter().copied().filter(|name| !["content-length", "host"].contains(name)).collect();
    rest.sort_unstable();
    assert_eq!(rest, ["x-forwarded-for", "x-forwarded-proto"]);
}

#[tokio::test]
async fn nothing_arrives_that_only_an_intermediary_should_say_or_that_has_an_underscore() {
    let application = application().await;
    let withheld = "Via X-Host X-Original-Host X-Original-URL X-HTTP-Method-Override X-HTTP-Method X-Method-Override Client-IP \
        CF-Connecting-IP CF-IPCountry X-Azure-ClientIP X-Azure-SocketIP True-Client-IP X-Real-IP X-Rewrite-URL Forwarded \
        X-Forwarded X-Forwarded-Server X-Cluster-Client-IP Fastly-Client-IP X-Envoy-External-Address X-MS-CLIENT-PRINCIPAL \
        X-MS-CLIENT-PRINCIPAL-NAME Client-Cert SSL-Client-Verify X-ARR-ClientCert X-Remote-User Proxy Front-End-Https \
        X-SSL-Client-Verify X-SSL-Client-S-DN X-Client-Certificate X-Client-Verify X-Amzn-Mtls-Clientcert X-Auth-Request-User \
        X-Auth-Request-Groups Remote-Groups Remote-Email X-Remote-Group X-Remote-Extra-Scopes X-WEBAUTH-ROLE OIDC-CLAIM-sub \
        Tailscale-User-Login X-Authentik-Username X-MS-TOKEN-AAD-ID-TOKEN X-MS-Original-URL X-Accel-Mapping X-Sendfile-Type \
        Fly-Client-IP \
        x_mine content_length proxy_connection http_x";
    let names: Vec<&str> = withheld.split_ascii_whitespace().collect();
    let headers: String = names.iter().map(|name| format!("{name}: forged\r\n")).collect();
    let arrived = async |top: &str| {
        let (agent, _) = agent_without_machine(&application, top, "").await;
        let before = application.count();
        assert_eq!(Client::connect(agent.address()).await.send(&request(&headers)).await.status, 200);
        let (head, _) = application.arrived().remove(before);
        let mut names: Vec<String> = head.headers.keys().map(ToString::to_string).collect();
        names.sort_unstable();
        names
    };
    let always = ["content-length", "host", "x-forwarded-for", "x-forwarded-proto"];
    assert_eq!(arrived("").await, always);
    let passed = arrived(r#"pass-headers = ["X-Host", "x_mine"]"#).await;
    assert_eq!(passed, ["content-length", "host", "x-forwarded-for", "x-forwarded-proto", "x-host", "x_mine"]);
}

/// As Java's client and curl offer it in ordinary requests (RFC 9110 section 7.8).
#[tokio::test]
async fn an_offer_of_http_2_in_clear_is_ignored() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let mut client = Client::connect(agent.address()).await;
    for offer in ["h2c", "H2C", "h2c, h2c"] {
        let headers =
            format!("connection: Upgrade, HTTP2-Settings\r\nupgrade: {offer}\r\nhttp2-settings: AAMAAABk\r\n");
        let answer = client.send(&request(&headers)).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "/a//b?c=d%20e body"));
        let (head, _) = application.arrived().pop().unwrap();
        for name in ["connection", "upgrade", "http2-settings"] {
            assert!(!head.headers.contains_key(name), "{name}");
        }
    }
}

#[tokio::test]
async fn what_follows_a_request_is_a_request_of_its_own() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let mut client = Client::connect(agent.address()).await;
    // Both framings at once: whichever wins, the agent and the application have to agree on it.
    client.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.write("0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n").await;
    while client.read().await.is_some_and(|answer| answer.body != "/smuggled ") {}
    let arrived = application.arrived();
    assert!(arrived.iter().all(|(head, body)| body.is_empty() && head.method != "SMUGGLED"), "{arrived:?}");
    assert!(arrived.len() <= 2, "{arrived:?}");
}

#[tokio::test]
async fn a_body_in_pieces_arrives_whole_whatever_the_method_and_its_trailers_do_not() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    for method in ["GET", "POST"] {
        let mut client = Client::connect(agent.address()).await;
        let head = "HTTP/1.1\r\nhost: a\r\ntransfer-encoding: Chunked\r\ntrailer: x-forwarded-for, x-late\r\n\r\n";
        client.write(&format!("{method} / {head}")).await;
        client.write("4\r\nbody\r\n0\r\nx-forwarded-for: 10.0.0.1\r\nx-late: 1\r\n\r\n").await;
        assert_eq!(client.read().await.unwrap().body, "/ body", "{method}");
        let (head, _) = application.arrived().remove(0);
        assert_eq!(head.headers.get_all("x-forwarded-for").iter().collect::<Vec<_>>(), ["127.0.0.1"]);
        assert!(!head.headers.contains_key("content-length") && !head.headers.contains_key("x-late"));
    }
}

#[tokio::test]
async fn an_empty_body_stays_one() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let mut client = Client::connect(agent.address()).await;
    assert_eq!(client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 00\r\n\r\n").await.body, "/ ");
    let (head, _) = application.arrived().remove(0);
    assert_eq!((&head.headers["content-length"], head.headers.get("transfer-encoding")), (&"0".parse().unwrap(), None));
}

#[tokio::test]
async fn a_host_that_http_2_says_twice() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let (mut sender, _connection) = http2(agent.address()).await;
    for (authority, host, status) in
        [("a.example", "a.example", 200), ("a.example", "evil.example", 400), ("evil@a.example", "evil@a.example", 400)]
    {
        let request = Request::get(format!("https://{authority}/")).header("host", host);
        let answer = sender.send_request(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{authority} {host}");
    }
    assert_eq!(application.count(), 1);
}

#[tokio::test]
async fn a_body_that_turns_out_too_long_is_cut_off() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "[limits]\nbody-bytes = 10").await;
    let mut client = Client::connect(agent.address()).await;
    client.write("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.write("8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n").await;
    assert_eq!(client.read().await.unwrap().status, 413);
    assert_eq!(application.count(), 0);
}

#[tokio::test]
async fn a_request_that_stops_coming_is_given_up() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let mut client = Client::connect(agent.address()).await;
    client.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n1").await;
    let answer = passing(10, client.read()).await;
    assert!(answer.is_none_or(|answer| answer.status == 502));
    assert_eq!(application.count(), 0);
    let mut silent = Client::connect(agent.address()).await;
    silent.write("GET / HT").await;
    let ended = passing(10, silent.read()).await;
    assert!(ended.is_none_or(|answer| answer.status == 408));
}

#[tokio::test]
async fn an_application_behind_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("application.sock");
    let application = TestServer::unix(&path, echo());
    let maa = std::sync::Arc::new(blindbox_attestation::emulator::Maa::start().await.unwrap());
    let sidecar = crate::lab::sidecar(&crate::lab::Machine::new(), &maa).await;
    let config = config(&format!("unix:{}", path.display()), "", "");
    let agent = blindbox_agent::Agent::start(&config, crate::lab::sidecar_source(&sidecar)).await.unwrap();
    let mut client = Client::connect(agent.address()).await;
    assert_eq!(client.send(&get("/over/unix")).await.body, "/over/unix ");
    assert_eq!(application.count(), 1);
}

#[tokio::test]
async fn an_application_that_does_not_answer() {
    let application = application().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nobody.sock");
    let (gone, _) = agent_without_machine(&application, "", "").await;
    let maa = Arc::new(blindbox_attestation::emulator::Maa::start().await.unwrap());
    let sidecar = crate::lab::sidecar(&crate::lab::Machine::new(), &maa).await;
    let config = config(&format!("unix:{}", path.display()), "", "");
    let agent = blindbox_agent::Agent::start(&config, crate::lab::sidecar_source(&sidecar)).await.unwrap();
    let answer = Client::connect(agent.address()).await.send(&get("/")).await;
    assert_eq!((answer.status, answer.json()["error"].as_str()), (502, Some("the application does not respond")));
    // The other one still does.
    assert_eq!(Client::connect(gone.address()).await.send(&get("/")).await.status, 200);
}

#[tokio::test]
async fn an_application_that_would_switch_protocols() {
    let switching = TestServer::plain(Arc::new(|_, _| {
        Response::builder().status(101).header("upgrade", "x").body(Full::new(Bytes::new())).unwrap()
    }))
    .await;
    let (agent, _) = agent_without_machine(&switching, "", "").await;
    assert_eq!(Client::connect(agent.address()).await.send(&get("/")).await.status, 502);
}

//! `verify`: its output, its exit codes and the settings of the connection.

use std::net::TcpListener;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::tool::{Emulator, command, free_port, run, skipped, steady};

#[test]
fn an_accepted_peer_as_a_table() {
    let mut emulator = Emulator::start(&[]);
    let outcome = emulator.verify(&[]);
    assert_eq!((outcome.exit, outcome.err.as_str()), (0, ""));
    assert_eq!(steady(&outcome.out), ACCEPTED.trim());
    assert_eq!(emulator.application_bytes(), 0);
}

#[test]
fn a_rejected_peer_as_a_table() {
    let mut emulator = Emulator::start(&["--knob", "debug"]);
    let outcome = emulator.verify(&[]);
    assert_eq!(outcome.exit, 1);
    assert_eq!(steady(&outcome.out), REJECTED.trim());
    let message = "error[debug-mode]: attestation validation failed (enclave is in debug mode): expected a guest \
                   policy without debugging, found debugging allowed; deploy without debugging, or use `allow_debug` \
                   in development\n";
    assert_eq!(outcome.err, message);
    assert_eq!(emulator.application_bytes(), 0);
}

#[test]
fn an_untrusted_peer_has_no_table() {
    let emulator = Emulator::start(&["--knob", "token-alg-none"]);
    let outcome = emulator.verify(&[]);
    assert_eq!((outcome.exit, outcome.out.as_str()), (2, ""));
    let message = "error[invalid-token]: attestation validation failed (invalid token): the header names the \
                   algorithm \"none\", expected RS256\n";
    assert_eq!(outcome.err, message);
}

#[test]
fn an_accepted_peer_in_json() {
    let emulator = Emulator::start(&[]);
    let outcome = emulator.verify(&["--json"]);
    assert_eq!((outcome.exit, outcome.err.as_str()), (0, ""));
    assert_eq!(steady(&outcome.out), include_str!("accepted.json").trim());
}

#[test]
fn a_rejected_peer_in_json() {
    let emulator = Emulator::start(&["--knob", "vmpl=1"]);
    let outcome = emulator.verify(&["--json"]);
    assert_eq!((outcome.exit, outcome.err.as_str()), (1, ""));
    let json = outcome.json();
    let members: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["appraisal", "error", "url", "verdict"]);
    assert_eq!(json["verdict"], "rejected");
    let expected = r#"{"category":"rejected","code":"wrong-vmpl","message":"attestation validation failed (wrong vmpl): expected 0, found 1","number":110,"request_sent":false,"retryable":false,"violations":[{"code":"wrong-vmpl","message":"attestation validation failed (wrong vmpl): expected 0, found 1","number":110}]}"#;
    assert_eq!(json["error"].to_string(), expected);
    let checks = json["appraisal"].as_array().unwrap();
    let failed: Vec<_> = checks.iter().filter(|check| check["verdict"] == "failed").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].to_string(), r#"{"actual":"1","expected":"0","name":"vmpl","verdict":"failed"}"#);
}

#[test]
fn an_untrusted_peer_in_json() {
    let emulator = Emulator::start(&["--knob", "token-sgx"]);
    let outcome = emulator.verify(&["--json"]);
    assert_eq!(outcome.exit, 2);
    let expected = r#"{
  "appraisal": null,
  "error": {
    "category": "untrusted",
    "code": "not-an-enclave",
    "message": "attestation validation failed (not an enclave): expected evidence of a TEE of SEV-SNP or Intel TDX in a supported form, found attestation type \"sgx\"",
    "number": 201,
    "request_sent": false,
    "retryable": false
  },
  "url": "https://127.0.0.1:<port>",
  "verdict": "untrusted"
}"#;
    assert_eq!(steady(&outcome.out), expected);
}

#[test]
fn each_trust_and_each_processor() {
    for (arguments, report) in [
        (["--product", "milan", "--trust", "maa"], "not asked: the policy trusts MAA's check of it"),
        (["--product", "genoa", "--trust", "amd"], "signed down to the CALLER'S OWN Genoa root"),
        (["--product", "turin", "--trust", "both"], "signed down to the CALLER'S OWN Turin root"),
    ] {
        let outcome = Emulator::start(&arguments).verify(&[]);
        assert_eq!(outcome.exit, 0, "{arguments:?}: {}", outcome.err);
        assert!(outcome.out.contains(&format!("hardware report           {report}")), "{}", outcome.out);
        // Roots and endorser are not the real ones, and the result says so.
        assert!(outcome.out.contains("CUSTOM"), "{}", outcome.out);
    }
}

#[test]
fn a_vlek_comes_along() {
    let outcome = Emulator::start(&["--product", "genoa", "--vlek"]).verify(&["--full"]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
}

#[test]
fn a_confidential_vm_says_first_what_is_not_evaluated() {
    let outcome = Emulator::start(&["--guest", "vm"]).verify(&[]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    assert!(outcome.out.contains("workload                  Azure CVM: the evidence"), "{}", outcome.out);
}

#[test]
fn each_man_in_the_middle() {
    for (mode, exit, code) in [
        ("tunnel", 0, "-"),
        ("forward", 2, "channel-mismatch"),
        ("replay", 2, "false-attestation-report"),
        ("legacy-form", 2, "channel-not-bound"),
    ] {
        let mut emulator = Emulator::start(&["--relay", mode]);
        let url = emulator.serving.text("relay_url").to_owned();
        let outcome = emulator.verify_at(&url, &["--json"]);
        assert_eq!((outcome.exit, outcome.code().as_str()), (exit, code), "{mode}: {}", outcome.out);
        assert_eq!(emulator.order("traffic")["relay_application_bytes"], 0);
        assert_eq!(emulator.application_bytes(), 0);
    }
}

/// It relays what names the key alone, and gets nothing where the evidence names the connection.
#[test]
fn a_man_in_the_middle_with_the_stolen_key() {
    for (agent, exit, code) in [("bound", 0, "-"), ("bound-connection", 2, "connection-mismatch")] {
        let mut emulator = Emulator::start(&["--agent", agent, "--relay", "forward", "--stolen-key"]);
        let url = emulator.serving.text("relay_url").to_owned();
        let outcome = emulator.verify_at(&url, &["--json"]);
        assert_eq!((outcome.exit, outcome.code().as_str()), (exit, code), "{agent}: {}", outcome.out);
        assert_eq!(emulator.order("traffic")["relay_application_bytes"], 0);
    }
}

#[test]
fn a_legacy_agent_on_a_chosen_address_and_port() {
    if !cfg!(target_os = "linux") {
        return skipped("only 127.0.0.1 is on loopback here");
    }
    let free = free_port("127.0.0.2").to_string();
    let emulator = Emulator::start(&["--agent", "legacy", "--ip", "127.0.0.2", "--agent-port", &free]);
    let agent = emulator.serving.text("agent_url").to_owned();
    assert_eq!(agent, format!("https://127.0.0.2:{free}"));
    assert!(emulator.url().starts_with("https://127.0.0.2:"));
    let outcome = emulator.verify(&["--agent", &agent]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    assert!(outcome.out.contains("ALLOWED        channel"), "{}", outcome.out);

    // Its evidence says nothing of the channel, so a policy for one that binds has no use for it.
    let policy = std::fs::read_to_string(emulator.file("policy.toml")).unwrap();
    let policy = policy.replace("binding = \"none\"", "binding = \"own-key\"").replace("unbound-channel = true", "");
    std::fs::write(emulator.file("policy.toml"), policy).unwrap();
    assert_eq!(emulator.verify(&["--agent", &agent, "--json"]).code(), "channel-not-bound");
}

#[test]
fn a_dns_name_is_validated_under_the_roots_that_are_given() {
    let emulator = Emulator::start(&["--certificate", "unknown-authority"]);
    let port = emulator.url().rsplit(':').next().unwrap();
    let (url, resolve) = (format!("https://my-app.example:{port}"), format!("my-app.example=127.0.0.1:{port}"));
    let outcome = emulator.verify_at(&url, &["--resolve", &resolve, "--json"]);
    assert_eq!((outcome.exit, outcome.code().as_str()), (2, "server-name-not-validated"), "{}", outcome.out);

    let emulator = Emulator::start(&["--host", "my-app.example"]);
    let address = emulator.url().replace("https://my-app.example:", "my-app.example=127.0.0.1:");
    let outcome = emulator.verify(&["--resolve", &address]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    assert!(outcome.out.contains("passed         server name"), "{}", outcome.out);
}

#[test]
fn a_pinned_key_set_asks_no_one() {
    let mut emulator = Emulator::start(&[]);
    let key_set = emulator.path("key-set.json");
    let outcome = emulator.verify(&["--key-set", &key_set]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    assert_eq!(emulator.order("traffic")["key_set_fetches"], 0);
    emulator.order("rotate-maa-key");
    assert_eq!(emulator.verify(&["--key-set", &key_set, "--json"]).code(), "invalid-token");
    assert_eq!(emulator.verify(&["--json"]).exit, 0);
}

#[test]
fn certificates_of_thim_and_a_folder_for_them() {
    use std::io::{Read, Write};
    // Nothing but a refusal, which is no reason to give up: AMD's service is asked then.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let thim = format!("http://{}/certification", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let read = stream.read(&mut head).unwrap();
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    let emulator = Emulator::start(&["--product", "milan", "--knob", "no-certificates"]);
    let cache = emulator.path("cache");
    let outcome = emulator.verify(&["--thim", &thim, "--cache-dir", &cache]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("GET /certification HTTP/1.1"), "{asked}");
    assert!(std::fs::read_dir(&cache).unwrap().next().is_some());
    let outcome = emulator.verify(&["--cache-dir", &emulator.path("policy.toml")]);
    assert_eq!(outcome.exit, 4, "{} {}", outcome.out, outcome.err);
}

/// AMD's service is out of reach: what THIM sends, and what is kept, is all that there is.
#[test]
fn thim_and_a_cache_directory_take_the_place_of_amds_service() {
    use std::io::{Read, Write};
    let emulator = Emulator::start(&["--product", "milan", "--knob", "no-certificates"]);
    let without_kds = |arguments: &[&str]| {
        let mut all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut trusting = emulator.trusting();
        let kds = trusting.iter().position(|option| option == "--kds").unwrap();
        // Nothing listens on port 1.
        trusting[kds + 1] = "http://127.0.0.1:1".to_owned();
        all.extend(trusting);
        run(&all)
    };
    let url = emulator.url();
    let none = without_kds(&["verify", url, "--json"]);
    assert_eq!((none.exit, none.code().as_str()), (3, "kds-unreachable"), "{}", none.out);

    let cache = emulator.path("cache");
    let outcome = emulator.verify(&["--cache-dir", &cache]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    let outcome = without_kds(&["verify", url, "--cache-dir", &cache]);
    assert_eq!(outcome.exit, 0, "{} {}", outcome.out, outcome.err);
    assert!(outcome.out.contains("passed         revocation"), "{}", outcome.out);

    // The certificate of the machine, as `fetch` saves it. THIM has no CRL.
    let saved = emulator.file("saved");
    let mut fetch = vec!["fetch".to_owned(), url.to_owned(), "--out".to_owned(), saved.to_str().unwrap().to_owned()];
    fetch.extend(emulator.trusting());
    assert_eq!(run(&fetch).exit, 0);
    let der = STANDARD.encode(std::fs::read(saved.join("vcek.der")).unwrap());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n");
    let body = serde_json::json!({ "vcekCert": pem, "certificateChain": "", "tcbm": "0", "cacheControl": "86400" })
        .to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let thim = format!("http://{}/certification", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
            .unwrap();
    });
    let policy = std::fs::read_to_string(emulator.file("policy.toml")).unwrap();
    let policy = policy.replace("[trust.amd]\n", "[trust.amd]\nrevocation = \"allow-off\"\n");
    assert!(policy.contains("allow-off"), "{policy}");
    std::fs::write(emulator.file("policy.toml"), policy).unwrap();
    let outcome = without_kds(&["verify", url, "--json"]);
    assert_eq!((outcome.exit, outcome.code().as_str()), (3, "kds-unreachable"), "{}", outcome.out);
    let outcome = without_kds(&["verify", url, "--thim", &thim]);
    assert_eq!(outcome.exit, 0, "{} {}", outcome.out, outcome.err);
    serving.join().unwrap();
}

#[test]
fn no_one_listens() {
    let mut emulator = Emulator::start(&[]);
    emulator.order("stop");
    let outcome = emulator.verify(&["--json"]);
    assert_eq!((outcome.exit, outcome.code().as_str()), (3, "application-unreachable"), "{}", outcome.out);
    assert_eq!(outcome.json()["error"]["retryable"], true);
    emulator.order("restart");
    assert_eq!(emulator.verify(&["--json"]).exit, 0);
}

#[test]
fn what_is_not_usable_has_the_exit_code_of_its_kind() {
    let emulator = Emulator::start(&[]);
    let policy = emulator.path("policy.toml");
    let file = |name: &str, text: &str| {
        std::fs::write(emulator.file(name), text).unwrap();
        emulator.path(name)
    };
    for (arguments, exit, what) in [
        (vec![], 64, "Usage"),
        (vec!["verify"], 64, "required"),
        (vec!["verify", "https://my-app.example"], 64, "--policy"),
        (vec!["verify", "https://my-app.example", "--policy", &policy, "--timeout", "0"], 64, "0.001 to 3600"),
        (vec!["verify", "https://my-app.example", "--policy", &policy, "--resolve", "x"], 64, "HOST=IP:PORT"),
        (vec!["verify", "https://my-app.example", "--policy", "/none"], 4, "error[misconfigured]: /none"),
        (vec!["verify", "https://my-app.example", "--policy", &file("empty", "")], 4, "error[invalid-policy]"),
        (vec!["verify", "my-app.example", "--policy", &policy], 4, "error[invalid-url]"),
        (vec!["verify", "http://my-app.example", "--policy", &policy], 4, "error[invalid-url]"),
        (
            vec!["verify", "https://my-app.example", "--policy", &policy, "--amd-roots", &file("x.pem", "x")],
            4,
            "error[misconfigured]",
        ),
        (
            vec!["verify", "https://my-app.example", "--policy", &policy, "--collateral-root", &file("x.pem", "x")],
            4,
            "error[misconfigured]",
        ),
    ] {
        let outcome = run(&arguments);
        assert_eq!(outcome.exit, exit, "{arguments:?}: {}", outcome.err);
        assert!(outcome.err.contains(what), "{arguments:?}: {}", outcome.err);
    }
    for help in ["--help", "--version"] {
        let outcome = run(&[help]);
        assert_eq!((outcome.exit, outcome.err.as_str()), (0, ""));
        assert!(outcome.out.contains("blindbox-attest"));
    }
    for command in ["verify", "fetch", "proxy"] {
        for help in ["--help", "-h"] {
            let out = run(&[command, help]).out;
            assert!(out.contains("   2  untrusted       not genuine"), "{command} {help}: {out}");
            assert!(out.contains("--thim <URL>") && out.contains("--cache-dir <DIR>"), "{command} {help}: {out}");
        }
    }
}

/// A name is compared as URLs have it: another spelling of it would be ignored without a word.
#[test]
fn hosts_are_compared_as_urls_have_them() {
    let emulator = Emulator::start(&["--host", "b\u{fc}cher.example"]);
    let (url, port) = (emulator.url().to_owned(), emulator.url().rsplit_once(':').unwrap().1.to_owned());
    assert_eq!(url, format!("https://xn--bcher-kva.example:{port}"));
    for spelling in ["b\u{fc}cher.example", "B\u{dc}CHER.example", "xn--bcher-kva.example"] {
        let outcome = emulator.verify(&["--resolve", &format!("{spelling}=127.0.0.1:{port}")]);
        assert_eq!(outcome.exit, 0, "{spelling}: {}", outcome.err);
    }
    for host in ["a b", "127.0.0.1", "[::1]", ""] {
        let outcome = emulator.verify(&["--resolve", &format!("{host}=127.0.0.1:{port}")]);
        assert_eq!((outcome.exit, outcome.err.contains("as the host to resolve")), (4, true), "{}", outcome.err);
    }
    for option in ["--host", "--maa-host"] {
        for host in ["*.example", "example.", "a b", "https://a.example", "a.example:1", ""] {
            let outcome = run(&["emulate", option, host]);
            let expected = outcome.err.contains("expected the name of a host, or its address");
            assert_eq!((outcome.exit, expected), (64, true), "{option} {host}: {}", outcome.err);
        }
    }
}

/// The instances of Azure Government are shared ones too.
#[test]
fn a_policy_of_azure_government() {
    let emulator = Emulator::start(&[]);
    let text = std::fs::read_to_string(emulator.path("policy.toml")).unwrap();
    let without_hash: String =
        text.lines().filter(|line| !line.starts_with("policy-hash")).map(|line| format!("{line}\n")).collect();
    let issuer = emulator.serving.said["maa"]["issuer"].as_str().unwrap();
    let file = emulator.path("government.toml");
    for (instance, exit) in [("https://sharedugv.ugv.attest.azure.us", 0), ("https://mine.ugv.attest.azure.us", 4)] {
        std::fs::write(&file, without_hash.replace(issuer, instance)).unwrap();
        let outcome = run(&["policy", "show", &file]);
        assert_eq!(outcome.exit, exit, "{instance}: {}", outcome.err);
    }
}

#[test]
fn an_emulator_ends_with_its_input() {
    let mut command = command();
    command.arg("emulate").stdin(std::process::Stdio::null());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
}

const ACCEPTED: &str = "
https://127.0.0.1:<port> is attested until <time>

passed         channel                   bound to the attested TLS key
not evaluated  server name               goes by the attested key alone (proves what runs, not whose instance it is)
passed         key exchange              X25519MLKEM768
passed         freshness                 made for our nonce
passed         workload                  host data <64 digits>
passed         maa token                 signed by https://127.0.0.1:<port>, key <base64>=
passed         key set                   fetched from the instance, under the caller's own roots
not evaluated  hardware report           not asked: the policy trusts MAA's check of it
ALLOWED        anchors                   CUSTOM, the caller's own: web roots of the key set
passed         debug                     off
passed         migration                 off
not evaluated  launch measurement        no reference value: the endorsement vouches for it
passed         uvm issuer                did:x509:0:sha256:<base64>::eku:1.3.6.1.4.1.311.76.59.1.2
passed         uvm feed                  ContainerPlat-AMD-UVM
passed         uvm endorsement           security version 104
passed         kind of tee               a confidential container
passed         compliance                azure-compliant-uvm
passed         maa policy hash           <64 digits>
passed         vmpl                      0
not evaluated  reported tcb              no minimum in the policy
";

const REJECTED: &str = "
https://127.0.0.1:<port> is REFUSED

passed         channel                   bound to the attested TLS key
not evaluated  server name               goes by the attested key alone (proves what runs, not whose instance it is)
passed         key exchange              X25519MLKEM768
passed         freshness                 made for our nonce
passed         workload                  host data <64 digits>
passed         maa token                 signed by https://127.0.0.1:<port>, key <base64>=
passed         key set                   fetched from the instance, under the caller's own roots
not evaluated  hardware report           not asked: the policy trusts MAA's check of it
ALLOWED        anchors                   CUSTOM, the caller's own: web roots of the key set
FAILED         debug                     expected off, found on
passed         migration                 off
not evaluated  launch measurement        no reference value: the endorsement vouches for it
passed         uvm issuer                did:x509:0:sha256:<base64>::eku:1.3.6.1.4.1.311.76.59.1.2
passed         uvm feed                  ContainerPlat-AMD-UVM
passed         uvm endorsement           security version 104
passed         kind of tee               a confidential container
passed         compliance                azure-compliant-uvm
passed         maa policy hash           <64 digits>
passed         vmpl                      0
not evaluated  reported tcb              no minimum in the policy
";

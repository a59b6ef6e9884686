//! Access tokens that are given, and pages of other origins that are let in.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::{Answer, Proxy};
use crate::tool::{Emulator, Serving, command, run};

const TOKEN: &str = "0123456789abcdef-._~+/=0123456789";

fn status(proxy: &Proxy, headers: &[&str]) -> u16 {
    proxy.ask_plainly("GET /", headers, "").status
}

#[test]
fn a_token_file_is_made_once_and_kept() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("token");
    let option = ["--access-token-file", file.to_str().unwrap()];
    let proxy = Proxy::start(&option);
    let text = fs::read_to_string(&file).unwrap();
    let token = text.strip_suffix('\n').unwrap();
    assert_eq!((token.len(), &proxy.serving.said["token"]), (64, &Value::Null));
    assert_eq!(proxy.serving.text("token_header"), "X-Blindbox-Token");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(status(&proxy, &[&format!("Authorization: Bearer {token}")]), 200);
    assert_eq!(status(&proxy, &[&format!("Authorization: Bearer {}", "0".repeat(64))]), 401);
    let again = Proxy::start(&option);
    assert_eq!(status(&again, &[&format!("X-Blindbox-Token: {token}")]), 200);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn token_files_that_are_refused() {
    let emulator = Emulator::start(&[]);
    let file = emulator.file("token");
    let refusal = |content: &str, mode: u32| {
        let _ = fs::remove_file(&file);
        fs::write(&file, content).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let mut arguments = vec!["proxy".to_owned(), emulator.url().to_owned()];
        arguments.extend(emulator.trusting());
        arguments.extend(["--access-token-file".to_owned(), file.to_str().unwrap().to_owned()]);
        let outcome = run(&arguments);
        assert_eq!((outcome.exit, outcome.out.as_str()), (4, ""), "{content:?}");
        outcome.err
    };
    let long = "x".repeat(513);
    for (content, reason) in [
        ("short", "expected an access token of 32 to 512 characters, found 5"),
        ("", "expected an access token of 32 to 512 characters, found 0"),
        (&long, "expected an access token of 32 to 512 characters, found 513"),
        (&format!("{TOKEN} "), "expected an access token of letters, digits and -._~+/= on one line"),
        (&format!("{TOKEN}\n\n"), "expected an access token of letters, digits and -._~+/= on one line"),
    ] {
        let error = refusal(content, 0o600);
        assert!(error.contains(reason) && error.contains(file.to_str().unwrap()), "{error}");
        assert!(content.len() < 6 || !error.contains(content), "the token is not shown: {error}");
    }
    if cfg!(unix) {
        for mode in [0o640, 0o604, 0o620] {
            let error = refusal(TOKEN, mode);
            let reason = format!("only its owner can read and write; its mode is {mode:04o}: chmod 600");
            assert!(error.contains(&reason), "{error}");
        }
    }
}

#[test]
fn a_token_from_the_environment() {
    let emulator = Emulator::start(&[]);
    let mut given = Proxy::command("", &emulator, &[]);
    given.env("BLINDBOX_ACCESS_TOKEN", TOKEN);
    let proxy = Proxy { serving: Serving::start(given), emulator };
    assert_eq!(proxy.serving.said["token"], Value::Null);
    assert_eq!(status(&proxy, &[&format!("X-Blindbox-Token: {TOKEN}")]), 200);
    assert_eq!(status(&proxy, &[]), 401);

    let failure = |token: &str, options: &[&str]| {
        let mut command = command();
        command.args(["proxy", proxy.emulator.url()]).args(proxy.emulator.trusting()).args(options);
        let output = command.env("BLINDBOX_ACCESS_TOKEN", token).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (exit, error) = failure("short", &[]);
    let reason = "BLINDBOX_ACCESS_TOKEN: expected an access token of 32 to 512 characters, found 5";
    assert_eq!((exit, error.contains(reason)), (64, true), "{error}");
    for option in [&["--no-access-token"][..], &["--access-token-file", "/none/token"]] {
        let (exit, error) = failure(TOKEN, option);
        let reason = format!("BLINDBOX_ACCESS_TOKEN is set, and {} is given: leave one of them out", option[0]);
        assert_eq!((exit, error.contains(&reason)), (64, true), "{error}");
    }
}

/// A client that has an API key of the application beside the token of the proxy.
#[test]
fn credentials_of_the_application_are_its_own() {
    let proxy = Proxy::start(&[]);
    let token = proxy.serving.text("token").to_owned();
    let received = |headers: &[&str]| proxy.ask_plainly("GET /headers", headers, "").body;
    let body = received(&[&proxy.token(), "Authorization: Bearer sk-application"]);
    assert!(body.contains(r#"["authorization","Bearer sk-application"]"#) && !body.contains(&token), "{body}");
    let body = received(&[&format!("authorization: bearer {token}"), "api-key: sk-application"]);
    assert!(body.contains(r#"["api-key","sk-application"]"#), "{body}");
    assert!(!body.contains(&token) && !body.contains("authorization"), "{body}");
}

const PAGE: &str = "Origin: https://chat.example";

fn is_shared(answer: &Answer) -> bool {
    let headers = ["access-control-allow-origin", "access-control-expose-headers"].map(|name| answer.header(name));
    assert!(!answer.head.contains("access-control-allow-credentials"), "{answer:?}");
    assert_eq!(headers[0].is_some(), answer.head.contains("\r\nvary: origin\r\n"), "{answer:?}");
    headers == [Some("https://chat.example"), Some("*")]
}

#[test]
fn pages_of_an_origin_that_is_let_in() {
    let mut proxy =
        Proxy::start(&["--allow-origin", "https://chat.example", "--allow-origin", "http://localhost:3000"]);
    let preflight = [
        PAGE,
        "Sec-Fetch-Site: cross-site",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization,content-type",
        "Access-Control-Request-Private-Network: true",
    ];
    // Browsers send no token with it, and it is not for the application.
    let answer = proxy.ask_plainly("OPTIONS /echo", &preflight, "");
    assert_eq!((answer.status, answer.body.as_str(), is_shared(&answer)), (204, "", true), "{answer:?}");
    for (name, value) in [
        ("access-control-allow-methods", "post"),
        ("access-control-allow-headers", "authorization,content-type"),
        ("access-control-allow-private-network", "true"),
        ("access-control-max-age", "600"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{answer:?}");
    }
    // The request itself needs the token; the page can read either response.
    let asked = [PAGE, "Sec-Fetch-Site: cross-site", "Content-Length: 2"];
    let refused = proxy.ask_plainly("POST /echo", &asked, "{}");
    assert_eq!((refused.code().as_str(), is_shared(&refused)), ("wrong-access-token", true));
    assert_eq!(proxy.emulator.application_bytes(), 0);
    let token = proxy.token();
    let accepted = proxy.ask_plainly("POST /echo", &[&asked[..], &[&token]].concat(), "{}");
    assert_eq!((accepted.status, accepted.body.as_str(), is_shared(&accepted)), (200, "{}", true), "{accepted:?}");

    for header in ["Origin: https://evil.example", "Origin: null", "Origin: https://chat.example.evil.example"] {
        let answer = proxy.ask("GET /", &[header]);
        assert_eq!((answer.code().as_str(), is_shared(&answer)), ("cross-site", false), "{header}");
        let answer = proxy.ask("GET /", &[PAGE, header]);
        assert_eq!((answer.code().as_str(), is_shared(&answer)), ("cross-site", false), "{header}");
        let answer = proxy.ask_plainly("OPTIONS /", &[header, "Access-Control-Request-Method: POST"], "");
        assert_eq!((answer.code().as_str(), is_shared(&answer)), ("cross-site", false), "{header}");
    }
    // Without an `Origin` no response could be read, and the request would be made all the same.
    assert_eq!(proxy.ask("GET /", &["Sec-Fetch-Site: cross-site"]).code(), "cross-site");
    // What is no preflight needs the token.
    assert_eq!(proxy.ask_plainly("OPTIONS /echo", &[PAGE], "").code(), "wrong-access-token");
    assert_eq!(
        proxy.ask_plainly("GET /", &[PAGE, "Access-Control-Request-Method: GET"], "").code(),
        "wrong-access-token"
    );
}

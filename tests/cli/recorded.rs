//! The way back from `fetch`: `verify --evidence`, and `inspect` of all that a directory holds.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::tool::{Emulator, Outcome, command, run, steady};

fn fetched(emulator: &Emulator, to: &Path) {
    let mut arguments = vec!["fetch".to_owned(), emulator.url().to_owned()];
    arguments.extend(["--out".to_owned(), to.to_str().unwrap().to_owned(), "--json".to_owned()]);
    arguments.extend(emulator.trusting());
    run(&arguments).json();
}

fn verify(folder: &Path, more: &[&str]) -> Outcome {
    let policy = folder.join("policy.toml");
    let evidence = ["verify", "--evidence", folder.to_str().unwrap(), "--policy", policy.to_str().unwrap()];
    run(&[&evidence[..], more].concat())
}

#[test]
fn what_was_fetched_is_verified_without_a_network() {
    let mut emulator = Emulator::start(&["--product", "milan"]);
    let folder = TempDir::new().unwrap();
    let to = folder.path().join("evidence");
    fetched(&emulator, &to);
    let roots = emulator.path("amd-roots.pem");
    emulator.order("stop");
    let keys = emulator.path("key-set.json");
    let outcome = verify(&to, &["--amd-roots", &roots, "--key-set", &keys]);
    assert_eq!((outcome.exit, outcome.err.as_str()), (0, ""));
    let begin = format!("recorded: neither fresh nor bound\n{} is accepted as of ", to.display());
    assert!(outcome.out.starts_with(&begin), "{}", outcome.out);
    let unproven = "Z\ntaken from the directory without proof: the time (about.json; else --at), the nonce (at most about.json \
                    says which one was sent), the policy (else a --policy of your own)\n\n";
    assert!(outcome.out.contains(unproven), "{}", outcome.out);
    assert!(outcome.out.contains("passed         workload"), "{}", outcome.out);

    let outcome = verify(&to, &["--amd-roots", &roots, "--key-set", &keys, "--json"]);
    let json = outcome.json();
    assert_eq!((outcome.exit, &json["verdict"]), (0, &"accepted".into()), "{json}");
    assert_eq!(json["recorded"], "neither fresh nor bound");
    let about: serde_json::Value = serde_json::from_slice(&fs::read(to.join("about.json")).unwrap()).unwrap();
    assert_eq!(json["attestation"]["verified_for"], about["asked_at"]);
    assert_eq!(json["unproven"], serde_json::json!(["time", "nonce", "policy"]));

    // AMD's own roots know nothing of an emulated AMD.
    let outcome = verify(&to, &["--key-set", &keys, "--json"]);
    assert_eq!((outcome.exit, outcome.code().as_str()), (2, "invalid-report"), "{}", outcome.out);
    // For a time at which the token is of no use any more.
    let outcome = verify(&to, &["--amd-roots", &roots, "--key-set", &keys, "--at", "4000000000", "--json"]);
    assert_eq!((outcome.exit, outcome.code().as_str()), (2, "invalid-token"), "{}", outcome.out);
    // What vouched for it is gone.
    fs::remove_file(to.join("certificates.pem")).unwrap();
    let outcome = verify(&to, &["--amd-roots", &roots, "--key-set", &keys, "--json"]);
    assert_eq!((outcome.exit, outcome.code().as_str()), (2, "missing-evidence"), "{}", outcome.out);
}

#[test]
fn recorded_evidence_that_is_refused() {
    let emulator = Emulator::start(&["--knob", "debug"]);
    let folder = TempDir::new().unwrap();
    let to = folder.path();
    fetched(&emulator, to);
    let keys = emulator.path("key-set.json");
    let outcome = verify(to, &["--key-set", &keys]);
    assert_eq!(outcome.exit, 1);
    let begin = format!("recorded: neither fresh nor bound\n{} is REFUSED\n\n", to.display());
    assert!(outcome.out.starts_with(&begin), "{}", outcome.out);
    assert!(outcome.out.contains("FAILED         debug                     expected off, found on"), "{}", outcome.out);
    assert!(outcome.err.starts_with("error[debug-mode]: "), "{}", outcome.err);
    let json = verify(to, &["--key-set", &keys, "--json"]).json();
    assert_eq!((&json["verdict"], &json["recorded"]), (&"rejected".into(), &"neither fresh nor bound".into()));
    assert_eq!(json["error"]["code"], "debug-mode");
    assert!(json["appraisal"].as_array().unwrap().iter().any(|check| check["verdict"] == "failed"));

    // Evidence that someone has changed.
    let token = fs::read_to_string(to.join("token.jwt")).unwrap();
    fs::write(to.join("token.jwt"), token.replacen('.', ".A", 1)).unwrap();
    assert_eq!(verify(to, &["--key-set", &keys, "--json"]).code(), "invalid-token");
    fs::write(to.join("token.jwt"), token).unwrap();
    fs::write(to.join("runtime-data.json"), "{}").unwrap();
    assert_eq!(verify(to, &["--key-set", &keys, "--json"]).code(), "false-attestation-report");
    fs::write(to.join("key-set.json"), "{}").unwrap();
    let outcome = verify(to, &[]);
    let begin = format!("error[invalid-key-set]: {}: ", to.join("key-set.json").display());
    assert_eq!((outcome.exit, outcome.err.starts_with(&begin)), (2, true), "{}", outcome.err);
}

/// Anyone who can write the directory can write a token, and the key set that it verifies under, with a key of their own.
#[test]
fn a_directory_does_not_vouch_for_itself() {
    // Everything in it is forged: the emulated MAA is no one's, and signs what it is asked to.
    let forger = Emulator::start(&[]);
    let directory = TempDir::new().unwrap();
    let to = directory.path();
    fetched(&forger, to);
    let outcome = verify(to, &[]);
    assert_eq!((outcome.exit, outcome.out.as_str()), (3, ""), "{}", outcome.err);
    assert!(outcome.err.starts_with("error[key-set-not-authenticated]: no verdict: "), "{}", outcome.err);
    assert!(outcome.err.contains("--key-set") && outcome.err.contains("--trust-saved-key-set"), "{}", outcome.err);
    let json = verify(to, &["--json"]).json();
    assert_eq!((&json["verdict"], &json["error"]["number"]), (&"no-verdict".into(), &312.into()));
    assert_eq!((&json["error"]["retryable"], &json["appraisal"]), (&false.into(), &serde_json::Value::Null));

    // Nor does a forger's "rejected" mean that evidence is genuine.
    let rejected = TempDir::new().unwrap();
    fetched(&Emulator::start(&["--knob", "debug"]), rejected.path());
    assert_eq!(verify(rejected.path(), &["--json"]).code(), "key-set-not-authenticated");

    // The caller's own word for it, which the result says.
    let outcome = verify(to, &["--trust-saved-key-set"]);
    assert_eq!((outcome.exit, outcome.err.as_str()), (0, ""));
    assert!(outcome.out.contains("without proof: the time (about.json; else --at), the nonce (at most "));
    assert!(outcome.out.contains("not evaluated  key set                   given by the caller"), "{}", outcome.out);
    assert_eq!(
        verify(to, &["--trust-saved-key-set", "--at", &at(to), "--json"]).json()["unproven"],
        serde_json::json!(["nonce", "key-set", "policy"])
    );
    let (url, keys) = (forger.url(), to.join("key-set.json"));
    for more in [&["--trust-saved-key-set", "--key-set", keys.to_str().unwrap()][..], &["--trust-saved-key-set", url]] {
        let outcome = verify(to, more);
        assert_eq!((outcome.exit, outcome.err.contains("cannot be used with")), (64, true), "{}", outcome.err);
    }

    // Named by an option, by whichever path, it is the same file.
    for path in ["key-set.json", "./sub/../key-set.json"] {
        fs::create_dir_all(to.join("sub")).unwrap();
        let outcome = verify(to, &["--key-set", to.join(path).to_str().unwrap(), "--json"]);
        assert_eq!((outcome.exit, outcome.code().as_str()), (3, "key-set-not-authenticated"), "{}", outcome.out);
    }

    // A policy from elsewhere that pins the key by its digest needs no key set from elsewhere.
    let policy = fs::read_to_string(to.join("policy.toml")).unwrap();
    let kid = serde_json::from_slice::<serde_json::Value>(&fs::read(&keys).unwrap()).unwrap()["keys"][0]["kid"].clone();
    let pinning = |kid: &str| {
        let pinned = policy.replace("[trust.maa]\n", &format!("[trust.maa]\nkey-id = \"{kid}\"\n"));
        let file = forger.path("pinning.toml");
        fs::write(&file, pinned).unwrap();
        run(&["verify", "--evidence", to.to_str().unwrap(), "--policy", &file, "--json"])
    };
    let outcome = pinning(kid.as_str().unwrap());
    assert_eq!(
        (outcome.exit, &outcome.json()["unproven"]),
        (0, &serde_json::json!(["time", "nonce"])),
        "{}",
        outcome.out
    );
    // An id that is no digest can be written over any key.
    let named = fs::read_to_string(&keys).unwrap().replace(kid.as_str().unwrap(), "key-1");
    fs::write(&keys, named).unwrap();
    assert_eq!(pinning("key-1").code(), "invalid-token");
}

/// Whatever stands in the directory was written by who wrote the evidence, in a directory below it or by a link too.
#[cfg(unix)]
#[test]
fn roots_and_policies_of_the_directory_are_said_to_be_unproven() {
    let emulator = Emulator::start(&["--product", "milan"]);
    let (directory, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let to = directory.path();
    fetched(&emulator, to);
    let (keys, roots) = (emulator.path("key-set.json"), emulator.path("amd-roots.pem"));
    let unproven = |policy: &Path, roots: &str| {
        let arguments = ["verify", "--evidence", to.to_str().unwrap(), "--policy", policy.to_str().unwrap()];
        let time = at(to);
        let outcome =
            run(&[&arguments[..], &["--key-set", &keys, "--amd-roots", roots, "--at", &time, "--json"]].concat());
        assert_eq!(outcome.exit, 0, "{}", outcome.out);
        outcome.json()["unproven"].clone()
    };
    fs::create_dir(to.join("below")).unwrap();
    fs::copy(to.join("policy.toml"), to.join("below/policy.toml")).unwrap();
    fs::copy(to.join("policy.toml"), elsewhere.path().join("policy.toml")).unwrap();
    fs::copy(&roots, to.join("roots.pem")).unwrap();
    std::os::unix::fs::symlink(to.join("policy.toml"), elsewhere.path().join("link.toml")).unwrap();
    assert_eq!(unproven(&elsewhere.path().join("policy.toml"), &roots), serde_json::json!(["nonce"]));
    assert_eq!(unproven(&to.join("below/policy.toml"), &roots), serde_json::json!(["nonce", "policy"]));
    assert_eq!(unproven(&elsewhere.path().join("link.toml"), &roots), serde_json::json!(["nonce", "policy"]));
    let roots = to.join("roots.pem");
    let both = unproven(&to.join("policy.toml"), roots.to_str().unwrap());
    assert_eq!(both, serde_json::json!(["nonce", "amd-roots", "policy"]));
}

/// A link in the directory is its author's: it says which of the files elsewhere counts.
#[cfg(unix)]
#[test]
fn a_path_through_the_directory_is_of_its_author_wherever_it_leads() {
    use std::os::unix::fs::symlink;
    let emulator = Emulator::start(&["--product", "milan"]);
    let (directory, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (to, other) = (directory.path(), elsewhere.path());
    fetched(&emulator, to);
    for (from, name) in [("key-set.json", "ks.json"), ("amd-roots.pem", "roots.pem"), ("policy.toml", "policy.toml")] {
        fs::copy(emulator.path(from), other.join(name)).unwrap();
        fs::remove_file(to.join(name)).ok();
        symlink(other.join(name), to.join(name)).unwrap();
        // A link elsewhere to the link in the directory.
        symlink(to.join(name), other.join(format!("to-{name}"))).unwrap();
    }
    symlink(other, to.join("sub")).unwrap();
    // A directory elsewhere that leads through the evidence, and comes back.
    symlink(to.join("sub"), other.join("detour")).unwrap();
    let verify = |policy: &Path, keys: &Path, roots: &Path| {
        let [to, policy, keys, roots] = [to, policy, keys, roots].map(|path| path.to_str().unwrap());
        let options =
            ["verify", "--json", "--evidence", to, "--policy", policy, "--key-set", keys, "--amd-roots", roots];
        run(&[&options[..], &["--at", &at(Path::new(to))]].concat())
    };
    let [keys, roots, policy] = ["ks.json", "roots.pem", "policy.toml"];
    let own = verify(&other.join(policy), &other.join(keys), &other.join(roots));
    assert_eq!((own.exit, &own.json()["unproven"]), (0, &serde_json::json!(["nonce"])), "{}", own.out);
    for through in ["to/", "to/sub/", "to/./sub/", "other/to-", "other/detour/"] {
        let through = |name: &str| {
            let path = format!("{through}{name}");
            match path.split_once('/').unwrap() {
                ("to", rest) => to.join(rest),
                (_, rest) => other.join(rest),
            }
        };
        let outcome = verify(&other.join(policy), &through(keys), &other.join(roots));
        assert_eq!((outcome.exit, outcome.code().as_str()), (3, "key-set-not-authenticated"), "{}", outcome.out);
        let outcome = verify(&through(policy), &other.join(keys), &through(roots));
        let unproven = serde_json::json!(["nonce", "amd-roots", "policy"]);
        assert_eq!((outcome.exit, &outcome.json()["unproven"]), (0, &unproven), "{}", outcome.out);
    }
}

/// Standard input is there once: the policy that decides is the one that the result is about.
#[test]
fn a_policy_from_standard_input_is_read_once() {
    let emulator = Emulator::start(&[]);
    let directory = TempDir::new().unwrap();
    let to = directory.path();
    fetched(&emulator, to);
    let mut command = command();
    command.args(["verify", "--json", "--evidence", to.to_str().unwrap(), "--policy", "-", "--trust-saved-key-set"]);
    let output = command.stdin(fs::File::open(emulator.path("policy.toml")).unwrap()).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["verdict"], &json["unproven"]),
        (&"accepted".into(), &serde_json::json!(["time", "nonce", "key-set"]))
    );
}

/// Who wrote the directory can put a pipe there, which no one ever writes to.
#[cfg(unix)]
#[test]
fn a_pipe_in_the_directory_is_not_waited_for() {
    let emulator = Emulator::start(&["--product", "milan"]);
    let directory = TempDir::new().unwrap();
    let to = directory.path();
    fetched(&emulator, to);
    let files = ["policy.toml", "key-set.json", "amd-roots.pem"].map(|name| emulator.path(name));
    let verify = |[policy, keys, roots]: [&str; 3]| {
        let evidence = ["verify", "--json", "--evidence", to.to_str().unwrap(), "--at", "1"];
        run(&[&evidence[..], &["--policy", policy, "--key-set", keys, "--amd-roots", roots]].concat())
    };
    let refused = |path: &Path, given: [&str; 3]| {
        let outcome = verify(given);
        assert_eq!((outcome.exit, outcome.code().as_str()), (4, "misconfigured"), "{}", outcome.out);
        let message = format!("{}: is no regular file", path.display());
        assert_eq!(outcome.json()["error"]["message"], message);
    };
    let pipe = |path: &Path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    let own = files.each_ref().map(String::as_str);
    for name in ["token.jwt", "about.json", "report.bin", "runtime-data.json"] {
        let (path, kept) = (to.join(name), fs::read(to.join(name)));
        fs::remove_file(&path).ok();
        pipe(&path);
        refused(&path, own);
        fs::remove_file(&path).unwrap();
        // A link to something without an end, a directory.
        for target in ["/dev/zero", "/"] {
            std::os::unix::fs::symlink(target, &path).unwrap();
            refused(&path, own);
            fs::remove_file(&path).unwrap();
        }
        kept.map(|bytes| fs::write(&path, bytes).unwrap()).ok();
    }
    // What an option names in the directory.
    let path = to.join("given");
    pipe(&path);
    for index in 0..3 {
        let mut given = own;
        given[index] = path.to_str().unwrap();
        refused(&path, given);
    }
}

/// A shell gives a pipe for `<(command)`.
#[cfg(unix)]
#[test]
fn a_pipe_that_an_option_names_is_read() {
    let emulator = Emulator::start(&["--product", "milan"]);
    let directory = TempDir::new().unwrap();
    let to = directory.path();
    fetched(&emulator, to);
    let [policy, keys, roots] = ["policy.toml", "key-set.json", "amd-roots.pem"].map(|name| emulator.path(name));
    let script = format!(
        "exec {} verify --json --evidence {} --policy <(cat {policy}) --key-set /dev/stdin --amd-roots <(cat {roots})",
        env!("CARGO_BIN_EXE_blindbox-attest"),
        to.display()
    );
    let mut bash = std::process::Command::new("bash");
    let output = bash.args(["-c", &script]).stdin(fs::File::open(keys).unwrap()).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["verdict"], &json["unproven"]),
        (&"accepted".into(), &serde_json::json!(["time", "nonce"])),
        "{json}"
    );
}

/// The time that `fetch` noted.
fn at(directory: &Path) -> String {
    let about: serde_json::Value = serde_json::from_slice(&fs::read(directory.join("about.json")).unwrap()).unwrap();
    about["asked_at"].to_string()
}

#[test]
fn evidence_for_another_nonce_than_was_sent() {
    let emulator = Emulator::start(&[]);
    let (first, second) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fetched(&emulator, first.path());
    fetched(&emulator, second.path());
    let (to, keys) = (second.path(), emulator.path("key-set.json"));
    for name in ["token.jwt", "runtime-data.json"] {
        fs::copy(first.path().join(name), to.join(name)).unwrap();
    }
    let outcome = verify(to, &["--key-set", &keys, "--json"]);
    assert_eq!((outcome.exit, outcome.code().as_str()), (2, "false-attestation-report"), "{}", outcome.out);
    assert!(outcome.out.contains("the nonce of about.json, which was sent, "), "{}", outcome.out);
    fs::remove_file(to.join("runtime-data.json")).unwrap();
    assert_eq!(verify(to, &["--key-set", &keys, "--json"]).code(), "missing-evidence");
}

/// The nonce that was sent is compared where `about.json` names it. That is the word of who wrote the directory, as is its absence.
#[test]
fn a_nonce_that_is_null_is_refused_and_any_other_is_unproven() {
    let emulator = Emulator::start(&[]);
    let directory = TempDir::new().unwrap();
    let to = directory.path();
    fetched(&emulator, to);
    let (keys, policy, at) = (emulator.path("key-set.json"), emulator.path("policy.toml"), at(to));
    let verify = |more: &[&str]| {
        let options = ["verify", "--json", "--evidence", to.to_str().unwrap(), "--policy", &policy, "--key-set", &keys];
        run(&[&options[..], more].concat())
    };
    assert_eq!(verify(&[]).json()["unproven"], serde_json::json!(["time", "nonce"]));

    fs::write(to.join("about.json"), format!("{{\"asked_at\": {at}, \"nonce\": null}}")).unwrap();
    for more in [&[][..], &["--at", &at]] {
        let outcome = verify(more);
        assert_eq!((outcome.exit, outcome.code().as_str()), (4, "misconfigured"), "{}", outcome.out);
        let message = outcome.json()["error"]["message"].as_str().unwrap().to_owned();
        let begin = format!("{}: invalid type: null, expected a string", to.join("about.json").display());
        assert!(message.starts_with(&begin), "{message}");
    }
    fs::write(to.join("about.json"), format!("[{at}]")).unwrap();
    let outcome = verify(&[]);
    assert_eq!((outcome.exit, outcome.code().as_str()), (4, "misconfigured"), "{}", outcome.out);
    assert!(outcome.out.contains("about.json: expected a JSON object"), "{}", outcome.out);
    fs::write(to.join("about.json"), format!("{{\"asked_at\": {at}}}")).unwrap();
    assert_eq!(verify(&[]).json()["unproven"], serde_json::json!(["time", "nonce"]));
    assert_eq!(verify(&["--at", &at]).json()["unproven"], serde_json::json!(["nonce"]));
    fs::remove_file(to.join("about.json")).unwrap();
    assert_eq!(verify(&["--at", &at]).json()["unproven"], serde_json::json!(["nonce"]));
}

#[test]
fn a_pinned_key_set_stands_in_for_the_recorded_one() {
    let mut emulator = Emulator::start(&[]);
    let folder = TempDir::new().unwrap();
    fetched(&emulator, folder.path());
    let key_set = emulator.path("key-set.json");
    let outcome = verify(folder.path(), &["--key-set", &key_set]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    assert!(steady(&outcome.out).contains("key set                   pinned"), "{}", outcome.out);
    emulator.order("rotate-maa-key");
    let other = TempDir::new().unwrap();
    fetched(&emulator, other.path());
    assert_eq!(verify(other.path(), &["--key-set", &key_set, "--json"]).code(), "invalid-token");
}

#[test]
fn a_folder_without_evidence() {
    let emulator = Emulator::start(&[]);
    let folder = TempDir::new().unwrap();
    let to = folder.path();
    let policy = emulator.path("policy.toml");
    let verify =
        |more: &[&str]| run(&[&["verify", "--evidence", to.to_str().unwrap(), "--policy", &policy][..], more].concat());
    let outcome = verify(&["--at", "1"]);
    assert_eq!(
        (outcome.exit, outcome.err.contains("expected at least one of token.jwt, report.bin and hcl-report.bin")),
        (4, true),
        "{}",
        outcome.err
    );
    fs::write(to.join("token.jwt"), "x").unwrap();
    let outcome = verify(&[]);
    assert_eq!((outcome.exit, outcome.err.contains("say with --at")), (4, true), "{}", outcome.err);
    for about in ["{}", "{\"asked_at\": \"1\"}", "{\"asked_at\": 1, \"asked_at\": 2}", "x"] {
        fs::write(to.join("about.json"), about).unwrap();
        let outcome = verify(&[]);
        assert_eq!((outcome.exit, outcome.err.contains("about.json: ")), (4, true), "{about}: {}", outcome.err);
    }
    assert_eq!(verify(&["--at", "1", "--json"]).code(), "misconfigured");
    fs::remove_file(to.join("about.json")).unwrap();
    assert_eq!(verify(&["--at", "1", "--json"]).code(), "missing-evidence");
    fs::write(to.join("report.bin"), "x").unwrap();
    for name in ["certificates.pem", "vcek.der"] {
        fs::write(to.join(name), "x").unwrap();
    }
    let outcome = verify(&["--at", "1"]);
    assert_eq!(
        (outcome.exit, outcome.err.contains("expected either certificates.pem or vcek.der, found both")),
        (4, true),
        "{}",
        outcome.err
    );
    // For a directory nothing is fetched.
    for (more, what) in [
        (&["https://my-app.example"][..], "cannot be used with"),
        (&["--kds", "http://127.0.0.1:1"], "cannot be used with"),
        (&["--agent", "http://127.0.0.1:1"], "cannot be used with"),
        (&["--at", "x"], "invalid value"),
    ] {
        let outcome = verify(more);
        assert_eq!((outcome.exit, outcome.err.contains(what)), (64, true), "{more:?}: {}", outcome.err);
    }
    let outcome = run(&["verify", "https://my-app.example", "--policy", &policy, "--at", "1"]);
    assert_eq!(outcome.exit, 64, "{}", outcome.err);
}

#[test]
fn all_of_a_folder_can_be_looked_at() {
    let folder = TempDir::new().unwrap();
    fetched(&Emulator::start(&["--product", "milan"]), folder.path());
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let arguments: Vec<_> = ["inspect"].into_iter().chain(files.iter().map(|file| file.to_str().unwrap())).collect();
    let outcome = run(&arguments);
    assert_eq!((outcome.exit, outcome.err.as_str()), (0, ""));
    let found: Vec<serde_json::Value> =
        serde_json::Deserializer::from_str(&outcome.out).into_iter().map(Result::unwrap).collect();
    let kinds: std::collections::BTreeSet<_> = found.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    let expected = [
        "about",
        "certificate",
        "endorsement",
        "key-set",
        "policy",
        "report",
        "revocation-list",
        "runtime-data",
        "token",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected);
    assert!(found.iter().all(|one| one["verified"] == false), "{}", outcome.out);
    // Under another name these are what they look like.
    for name in ["about.json", "policy.toml", "runtime-data.json"] {
        let other = folder.path().join(format!("x-{name}"));
        fs::rename(folder.path().join(name), &other).unwrap();
        assert_eq!(run(&["inspect", other.to_str().unwrap()]).exit, 4, "{name}");
        // And what only has the name is nothing.
        let bad = folder.path().join(name);
        fs::write(&bad, "hello").unwrap();
        assert_eq!(run(&["inspect", bad.to_str().unwrap()]).exit, 4, "{name}");
    }
}

/// The evidence of a confidential VM has files of its own, each of which is refused with its own error.
#[test]
fn a_confidential_vm_is_verified_from_its_files() {
    let mut emulator = Emulator::start(&["--guest", "vm", "--product", "milan", "--trust", "amd"]);
    assert_eq!(emulator.verify(&[]).exit, 0, "{}", emulator.verify(&[]).err);
    let folder = TempDir::new().unwrap();
    let to = folder.path().join("evidence");
    fetched(&emulator, &to);
    let (roots, ak_root) = (emulator.path("amd-roots.pem"), emulator.path("ak-root.pem"));
    emulator.order("stop");
    let read = |name: &str| fs::read(to.join(name)).unwrap();
    assert_eq!(read("hcl-report.bin").len(), 2600);
    assert_eq!(read("tpm-quote.sig").len(), 256);
    let pcrs: Vec<String> = serde_json::from_slice(&read("pcrs.json")).unwrap();
    assert_eq!((pcrs.len(), pcrs.iter().all(|value| value.len() == 64)), (24, true));
    let trusting = ["--amd-roots", roots.as_str(), "--ak-root", ak_root.as_str()];
    let outcome = verify(&to, &trusting);
    assert_eq!((outcome.exit, outcome.err.as_str()), (0, ""));
    for check in ["tpm quote", "report of this boot", "ak certificate", "paravisor"] {
        assert!(outcome.out.contains(&format!("  {check:<24}  ")), "{check}: {}", outcome.out);
    }

    // Azure's own root knows nothing of an emulated one.
    let outcome = verify(&to, &["--amd-roots", &roots, "--json"]);
    assert_eq!((outcome.exit, outcome.code().as_str()), (2, "invalid-ak-certificate"), "{}", outcome.out);
    let flip = |at: usize| move |bytes: &mut Vec<u8>| bytes[at] ^= 1;
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let changes: [(&str, Change, &str); 6] = [
        ("hcl-report.bin", Box::new(flip(0x600)), "invalid-hcl-report"),
        ("hcl-report.bin", Box::new(flip(0x20 + 0x90)), "invalid-report"),
        ("tpm-quote.msg", Box::new(flip(50)), "invalid-tpm-quote"),
        ("tpm-quote.sig", Box::new(flip(100)), "invalid-tpm-quote"),
        (
            "pcrs.json",
            Box::new(|bytes| *bytes = [b"[\"", "0".repeat(64).as_bytes(), b"\"]"].concat()),
            "invalid-tpm-quote",
        ),
        ("runtime-data.json", Box::new(flip(12)), "false-attestation-report"),
    ];
    for (name, change, code) in changes {
        let kept = read(name);
        let mut changed = kept.clone();
        change(&mut changed);
        fs::write(to.join(name), changed).unwrap();
        let outcome = verify(&to, &[&trusting[..], &["--json"]].concat());
        assert_eq!((outcome.exit, outcome.code().as_str()), (2, code), "{name}: {}", outcome.out);
        fs::write(to.join(name), kept).unwrap();
    }
    // A quote is three files.
    fs::remove_file(to.join("pcrs.json")).unwrap();
    let outcome = verify(&to, &trusting);
    assert_eq!(outcome.exit, 4, "{}", outcome.out);
    assert!(
        outcome.err.contains("expected all or none of tpm-quote.msg, tpm-quote.sig and pcrs.json"),
        "{}",
        outcome.err
    );
    for name in ["tpm-quote.msg", "tpm-quote.sig"] {
        fs::remove_file(to.join(name)).unwrap();
    }
    let outcome = verify(&to, &[&trusting[..], &["--json"]].concat());
    assert_eq!((outcome.exit, outcome.code().as_str()), (2, "missing-evidence"), "{}", outcome.out);
}

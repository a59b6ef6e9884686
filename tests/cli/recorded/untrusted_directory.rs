//! What a directory of evidence cannot decide, with its files, links and pipes: the author of the evidence wrote all of it.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{at, fetched, verify};
use crate::tool::{Emulator, run};

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

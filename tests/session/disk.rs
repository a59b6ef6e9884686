//! Certificates and revocation lists on disk: read by later processes, believed no more than the network.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::lab::Lab;
use blindbox_attestation::emulator::amd::AmdHierarchy;
use blindbox_attestation::emulator::{HardwareKnob, Kds, KdsKnob, Knob, Platform};
use blindbox_attestation::snp::{CertificateRole, CrlError, ReportError};
use blindbox_attestation::{AttestationError, Product, SigningKey, Trust, UnixTime, Verifier};
use tempfile::TempDir;

struct Scene {
    lab: Lab,
    place: TempDir,
}

impl Scene {
    async fn new(product: Product) -> Self {
        Self::on(&Platform::new(product)).await
    }

    async fn on(platform: &Platform) -> Self {
        let lab = Lab::on(platform).await;
        lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
        Self { lab, place: tempfile::tempdir().unwrap() }
    }

    fn folder(&self) -> PathBuf {
        self.place.path().join("cache")
    }

    /// As a process that starts again: with nothing in memory.
    fn verifier(&self) -> Verifier {
        self.lab.builder().cache_dir(self.folder()).build().unwrap()
    }

    async fn connect(&self) -> Result<(), AttestationError> {
        self.connect_by(&self.verifier()).await
    }

    async fn connect_by(&self, verifier: &Verifier) -> Result<(), AttestationError> {
        verifier.connect(self.lab.blindbox.url(), &self.lab.amd_policy()).await.map(drop)
    }

    /// How often certificates and lists were fetched.
    fn fetches(&self) -> (usize, usize) {
        (self.lab.kds().vcek_fetches(), self.lab.kds().crl_fetches())
    }

    fn file(&self, kind: &str) -> PathBuf {
        let files = names(&self.folder());
        self.folder().join(files.iter().find(|name| name.starts_with(kind)).unwrap())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn a_second_process_fetches_nothing() {
    for product in Product::ALL {
        let scene = Scene::new(product).await;
        for _ in 0..3 {
            scene.connect().await.unwrap();
            assert_eq!(scene.fetches(), (1, 1), "{product}");
        }
        assert_eq!(mode(&scene.folder()), 0o700);
        let chip = scene.lab.blindbox.platform().unwrap().chip_id().unwrap();
        for name in names(&scene.folder()) {
            assert!(name == "lock" || name.starts_with("vcek-") || name.starts_with("crl-"), "{name}");
            assert!(!name.contains(&hex::encode(&chip.as_bytes()[..4])), "{name}");
            assert_eq!(mode(&scene.folder().join(name)), 0o600);
        }
        assert_eq!(names(&scene.folder()).len(), 3);
    }
}

#[tokio::test]
async fn key_sets_and_verdicts_are_never_written() {
    let scene = Scene::new(Product::Milan).await;
    let maa = || async {
        let policy = scene.lab.both_policy();
        scene.verifier().connect(scene.lab.blindbox.url(), &policy).await.map(drop)
    };
    maa().await.unwrap();
    maa().await.unwrap();
    assert_eq!((scene.lab.maa.key_set_fetches(), scene.fetches()), (2, (1, 1)));
    assert_eq!(names(&scene.folder()).len(), 3);
    // What lies there saves no one from the verdict of today.
    scene.lab.blindbox.set(Knob::Hardware(HardwareKnob::Unsigned));
    let error = maa().await.unwrap_err();
    assert_eq!(error, AttestationError::InvalidReport(ReportError::Unsigned));
}

/// What someone did to a file.
type Damage = fn(&Path, &[u8]);

#[tokio::test]
async fn a_file_that_does_not_verify_is_replaced() {
    let scene = Scene::new(Product::Milan).await;
    scene.connect().await.unwrap();
    let damages: &[(&str, Damage)] = &[
        ("missing", |path, _| fs::remove_file(path).unwrap()),
        ("empty", |path, _| fs::write(path, []).unwrap()),
        ("without a head", |path, good| fs::write(path, &good[16..]).unwrap()),
        ("head only", |path, good| fs::write(path, &good[..16]).unwrap()),
        ("truncated", |path, good| fs::write(path, &good[..good.len() - 1]).unwrap()),
        ("with something after it", |path, good| fs::write(path, [good, b"\0"].concat()).unwrap()),
        ("oversized", |path, good| fs::write(path, [good, &vec![0; 2 << 20]].concat()).unwrap()),
        ("text", |path, _| fs::write(path, "not a certificate").unwrap()),
        ("a format to come", |path, good| fs::write(path, [b"blindbx\x02", &good[8..]].concat()).unwrap()),
        ("a bit of the signed part", |path, good| {
            let mut bytes = good.to_vec();
            bytes[16 + 60] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("a bit of the signature", |path, good| {
            let mut bytes = good.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("a link to a good one", |path, good| {
            let elsewhere = path.parent().unwrap().join("../elsewhere");
            fs::write(&elsewhere, good).unwrap();
            fs::remove_file(path).unwrap();
            symlink(elsewhere, path).unwrap();
        }),
        ("a link to a device", |path, _| {
            fs::remove_file(path).unwrap();
            symlink("/dev/zero", path).unwrap();
        }),
        ("a pipe", |path, _| {
            fs::remove_file(path).unwrap();
            let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
            assert!(made.success());
        }),
        ("a new file that a crash left", |path, _| {
            fs::write(path.with_file_name(format!("{}.new", path.file_name().unwrap().to_str().unwrap())), "x")
                .unwrap();
            fs::remove_file(path).unwrap();
        }),
    ];
    let (vcek, crl) = (scene.file("vcek-"), scene.file("crl-"));
    for (name, damage) in damages {
        for (path, expected) in [(&vcek, (1, 0)), (&crl, (0, 1))] {
            let (before, good) = (scene.fetches(), fs::read(path).unwrap());
            damage(path, &good);
            scene.connect().await.unwrap();
            assert_eq!(scene.fetches(), (before.0 + expected.0, before.1 + expected.1), "{name} {path:?}");
            assert!(fs::symlink_metadata(path).unwrap().is_file(), "{name}");
            // The same certificate or CRL; each time it is requested, the CRL is signed again.
            let signed = good.len() - 512;
            assert_eq!(fs::read(path).unwrap()[16..signed], good[16..signed], "{name}");
            scene.connect().await.unwrap();
            assert_eq!(scene.fetches(), (before.0 + expected.0, before.1 + expected.1), "{name} {path:?}");
            assert_eq!(names(&scene.folder()).len(), 3, "{name}");
        }
    }
    // The file that a link led to was not written to.
    let elsewhere = fs::read(scene.place.path().join("elsewhere")).unwrap();
    assert!(elsewhere.starts_with(b"blindbx\x01"));
}

#[tokio::test]
async fn what_cannot_be_replaced_costs_a_fetch_and_nothing_else() {
    let scene = Scene::new(Product::Milan).await;
    scene.connect().await.unwrap();
    let vcek = scene.file("vcek-");
    fs::remove_file(&vcek).unwrap();
    fs::create_dir(&vcek).unwrap();
    for fetches in 2..4 {
        scene.connect().await.unwrap();
        assert_eq!(scene.fetches(), (fetches, 1));
    }
}

/// What is stored may be a later list than the one of the network, which is genuine and current too.
#[tokio::test]
async fn a_list_that_can_be_neither_read_nor_replaced_may_be_a_later_one() {
    let scene = Scene::new(Product::Milan).await;
    let unreadable = AttestationError::RevocationUnavailable { reason: CrlError::StoredUnreadable };
    let best_effort = scene.lab.hardware_policy(Trust::amd().allow_best_effort_revocation().unwrap());
    let by_best_effort = || async {
        let verifier = scene.verifier();
        verifier.connect(scene.lab.blindbox.url(), &best_effort).await.map(drop)
    };
    scene.connect().await.unwrap();
    let crl = scene.file("crl-");
    let good = fs::read(&crl).unwrap();

    fs::remove_file(&crl).unwrap();
    fs::create_dir(&crl).unwrap();
    let verifier = scene.verifier();
    for _ in 0..2 {
        assert_eq!(scene.connect_by(&verifier).await, Err(unreadable.clone()));
    }
    by_best_effort().await.unwrap();
    // The same verifier, when it can be read again.
    fs::remove_dir(&crl).unwrap();
    fs::write(&crl, &good).unwrap();
    scene.connect_by(&verifier).await.unwrap();

    // A fault of the system, with which it is not known what is there, replaces nothing.
    fs::remove_file(&crl).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(&crl).unwrap();
    assert_eq!(scene.connect().await, Err(unreadable));
    by_best_effort().await.unwrap();
    assert!(fs::symlink_metadata(&crl).unwrap().file_type().is_socket());

    // A list that was read before is known, whatever is there by now.
    fs::remove_file(&crl).unwrap();
    fs::write(&crl, &good).unwrap();
    let verifier = scene.verifier();
    scene.connect_by(&verifier).await.unwrap();
    fs::remove_file(&crl).unwrap();
    fs::create_dir(&crl).unwrap();
    scene.connect_by(&verifier).await.unwrap();
}

#[tokio::test]
async fn what_is_forged_or_of_another_is_not_believed() {
    let platform = Platform::new(Product::Milan);
    let scene = Scene::on(&platform).await;
    scene.connect().await.unwrap();
    let (vcek, crl) = (scene.file("vcek-"), scene.file("crl-"));
    let head = fs::read(&vcek).unwrap()[..16].to_vec();
    let (chip, tcb) = (platform.chip_id().unwrap(), platform.tcb());
    let (amd, forger) = (AmdHierarchy::new(Product::Milan), AmdHierarchy::impostor(Product::Milan));
    let other = Platform::new(Product::Milan).chip_id().unwrap();
    let mut older = tcb;
    older.snp -= 1;
    let planted = [
        (&vcek, forger.vcek().chip_id(chip).tcb(tcb).issue().der().to_vec(), (1, 0)),
        (&vcek, amd.vcek().chip_id(other).tcb(tcb).issue().der().to_vec(), (1, 0)),
        (&vcek, amd.vcek().chip_id(chip).tcb(older).issue().der().to_vec(), (1, 0)),
        (&vcek, amd.vlek().tcb(tcb).issue().der().to_vec(), (1, 0)),
        (&vcek, amd.crl().issue(), (1, 0)),
        (&crl, forger.crl().issue(), (0, 1)),
        (&crl, AmdHierarchy::new(Product::Genoa).crl().issue(), (0, 1)),
        (&crl, amd.ask().to_vec(), (0, 1)),
    ];
    for (place, (path, der, expected)) in planted.into_iter().enumerate() {
        let before = scene.fetches();
        fs::write(path, [&head[..], &der].concat()).unwrap();
        scene.connect().await.unwrap();
        assert_eq!(scene.fetches(), (before.0 + expected.0, before.1 + expected.1), "{place}");
        scene.connect().await.unwrap();
        assert_eq!(scene.fetches(), (before.0 + expected.0, before.1 + expected.1), "{place}");
    }
    // Nor a genuine certificate for the same chip and TCB, of another key.
    let before = scene.fetches();
    fs::write(&vcek, [&head[..], amd.vcek().chip_id(chip).tcb(tcb).issue().der()].concat()).unwrap();
    scene.connect().await.unwrap();
    assert_eq!(scene.fetches(), (before.0 + 1, before.1));
}

#[tokio::test]
async fn a_list_that_the_network_brings_does_not_replace_a_later_one() {
    let scene = Scene::new(Product::Milan).await;
    let made = |day: u64| KdsKnob::CrlMadeAt(UnixTime::from_secs(1_700_000_000 + day * 86_400));
    let revoked = AttestationError::InvalidReport(ReportError::Revoked {
        role: CertificateRole::Ask,
        serial: hex::encode(AmdHierarchy::new(Product::Milan).serial(CertificateRole::Ask)),
    });
    let mirror = |knobs: Vec<KdsKnob>| async {
        knobs.into_iter().fold(Kds::builder().plain_http(), |kds, knob| kds.knob(knob)).start().await.unwrap()
    };
    let by = |kds: &Kds| scene.lab.builder().kds(kds.url()).cache_dir(scene.folder()).build().unwrap();
    let (first, revoking) = (mirror(vec![made(1)]).await, mirror(vec![made(2), KdsKnob::IssuerRevoked]).await);
    scene.connect_by(&by(&first)).await.unwrap();

    // A list counts for an hour, wherever it was fetched from; then the later one is found.
    let kept = by(&revoking);
    scene.connect_by(&kept).await.unwrap();
    assert_eq!(revoking.crl_fetches(), 0);
    scene.lab.blindbox.clock().advance(3600);
    assert_eq!(scene.connect_by(&kept).await.unwrap_err(), revoked);
    let file = fs::read(scene.file("crl-")).unwrap();

    // Someone on the path plays the old one again, to a new process and to one that runs.
    for hours in 0..3 {
        let verifier = by(&first);
        assert_eq!(scene.connect_by(&verifier).await.unwrap_err(), revoked, "{hours}");
        scene.lab.blindbox.clock().advance(3600);
        assert_eq!(scene.connect_by(&verifier).await.unwrap_err(), revoked, "{hours}");
        assert_eq!(fs::read(scene.file("crl-")).unwrap()[16..], file[16..]);
    }
    assert!(first.crl_fetches() > 1);

    // A later one takes its place.
    let latest = mirror(vec![made(3)]).await;
    scene.connect_by(&by(&latest)).await.unwrap();
    assert_ne!(fs::read(scene.file("crl-")).unwrap()[16..], file[16..]);
    assert_eq!(latest.crl_fetches(), 1);
}

#[tokio::test]
async fn a_list_is_fetched_again_after_an_hour_and_when_its_time_is_not_to_be_believed() {
    let scene = Scene::new(Product::Milan).await;
    scene.connect().await.unwrap();
    scene.lab.blindbox.clock().advance(3500);
    let verifier = scene.verifier();
    scene.connect_by(&verifier).await.unwrap();
    assert_eq!(scene.fetches(), (1, 1));
    // Not an hour from its load: from its fetch.
    scene.lab.blindbox.clock().advance(200);
    scene.connect_by(&verifier).await.unwrap();
    assert_eq!(scene.fetches(), (1, 2));
    scene.connect().await.unwrap();
    assert_eq!(scene.fetches(), (1, 2));

    let crl = scene.file("crl-");
    for time in [u64::MAX, scene.lab.blindbox.clock().now().as_secs() + 60, 0] {
        let before = scene.fetches().1;
        let mut file = fs::read(&crl).unwrap();
        file[8..16].copy_from_slice(&time.to_be_bytes());
        fs::write(&crl, file).unwrap();
        scene.connect().await.unwrap();
        assert_eq!(scene.fetches(), (1, before + 1), "{time}");
    }
}

#[tokio::test]
async fn a_folder_that_others_may_use_is_refused() {
    let scene = Scene::new(Product::Milan).await;
    let refused = |path: &Path| match scene.lab.builder().cache_dir(path).build() {
        Err(AttestationError::Misconfigured { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let folder = scene.place.path().join("shared");
    fs::create_dir(&folder).unwrap();
    for (mode, shown) in [(0o755, "0755"), (0o770, "0770"), (0o701, "0701"), (0o702, "0702"), (0o740, "0740")] {
        fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        let expected = format!("expected permissions for its owner alone (0700), found {shown}");
        assert!(refused(&folder).ends_with(&expected), "{}", refused(&folder));
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    let _ = scene.lab.builder().cache_dir(&folder).build().unwrap();

    // A link to a good directory, with and without a slash at the end; a link to nothing; a file.
    let link = scene.place.path().join("link");
    symlink(&folder, &link).unwrap();
    let dangling = scene.place.path().join("dangling");
    symlink("nowhere", &dangling).unwrap();
    let file = scene.place.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [link.clone(), link.join(""), link.join("."), dangling, file.clone(), file.join("below")] {
        let reason = refused(&path);
        assert!(reason.ends_with("expected a directory, found a link or a file"), "{path:?}: {reason}");
    }
    assert!(!scene.place.path().join("nowhere").exists());

    // Only root can give a directory away.
    if std::os::unix::fs::chown(&folder, Some(12_345), None).is_ok() {
        assert!(refused(&folder).contains("found one of user 12345"), "{}", refused(&folder));
    } else {
        eprintln!("SKIPPED: a directory of another user, since this user cannot make one");
    }
}

#[tokio::test]
async fn the_folder_that_was_checked_is_the_one_that_is_used() {
    let scene = Scene::new(Product::Milan).await;
    let verifier = scene.verifier();
    let moved = scene.place.path().join("moved");
    fs::rename(scene.folder(), &moved).unwrap();
    let trap = scene.place.path().join("trap");
    fs::create_dir(&trap).unwrap();
    symlink(&trap, scene.folder()).unwrap();
    scene.connect_by(&verifier).await.unwrap();
    assert_eq!((names(&trap).len(), names(&moved).len()), (0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_share_a_folder() {
    let scene = std::sync::Arc::new(Scene::new(Product::Milan).await);
    let tasks: Vec<_> = (0..12)
        .map(|_| {
            let scene = std::sync::Arc::clone(&scene);
            tokio::spawn(async move { scene.connect().await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(names(&scene.folder()).len(), 3);
    let before = scene.fetches();
    scene.connect().await.unwrap();
    assert_eq!(scene.fetches(), before);
    // Another kind of key has a list of its own.
    let platform = Platform::builder(Product::Milan).vlek().build();
    assert_eq!(platform.signing_key(), SigningKey::Vlek);
    let lab = Lab::on(&platform).await;
    let verifier = lab.builder().cache_dir(scene.folder()).build().unwrap();
    let _ = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
    assert_eq!(names(&scene.folder()).len(), 4);
}

//! Which key serves now, and when the next one takes over.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::{Config, KeyConfig};
use crate::key::{ChainError, Identity, KeyError, TlsKey};
use crate::say;

/// How often the certificate file is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// The most bytes of a certificate file: a chain has a few kilobytes.
const MAX_CHAIN: u64 = 64 * 1024;

/// The keys of an agent: the one in use and, while its certificate is awaited, the next.
pub(crate) struct Rotation {
    names: Vec<String>,
    settings: KeyConfig,
    current: Aged,
    next: Option<Aged>,
    last_file: Option<Vec<u8>>,
    serving: watch::Sender<Arc<Identity>>,
}

struct Aged {
    key: TlsKey,
    made: Instant,
}

impl Rotation {
    /// Makes the first key.
    pub(crate) fn start(config: &Config) -> Result<(Self, watch::Receiver<Arc<Identity>>), KeyError> {
        let (names, settings) = (config.names.clone(), config.key.clone());
        let current = Aged::new(&names, &settings)?;
        let (serving, identities) = watch::channel(Arc::new(current.key.self_signed()?));
        let rotation = Self { names, settings, current, next: None, last_file: None, serving };
        rotation.announce(&rotation.current.key)?;
        Ok((rotation, identities))
    }

    /// Goes on for ever.
    pub(crate) async fn run(mut self) {
        loop {
            let end = self.current.made + self.lifetime();
            let early = self.current.made + self.lifetime() * 2 / 3;
            let certified = self.settings.certificate_file.is_some();
            tokio::select! {
                () = tokio::time::sleep_until(end) => self.take_over(),
                () = tokio::time::sleep_until(early), if certified && self.next.is_none() => self.prepare(),
                () = tokio::time::sleep(LOOK), if certified => {}
            }
            self.look_for_certificate();
        }
    }

    fn lifetime(&self) -> Duration {
        Duration::from_secs(self.settings.lifetime_seconds)
    }

    /// Makes the next key while there is time to have it certified.
    fn prepare(&mut self) {
        match Aged::new(&self.names, &self.settings).and_then(|next| self.announce(&next.key).map(|()| next)) {
            Ok(next) => self.next = Some(next),
            Err(error) => say(error),
        }
    }

    /// The life of the current key is over. Whether or not a certificate came for the next one, it does not go on.
    fn take_over(&mut self) {
        if self.next.is_none() {
            self.prepare();
        }
        let Some(next) = self.next.take() else {
            // No randomness, most likely. Try again soon; the old key stays meanwhile.
            self.current.made += Duration::from_secs(5);
            return;
        };
        if self.settings.certificate_file.is_some() {
            say("no certificate has come for the next key in time; it serves with one that it signed itself");
        }
        self.promote(next, None);
    }

    fn promote(&mut self, next: Aged, identity: Option<Identity>) {
        match identity.map_or_else(|| next.key.self_signed(), Ok) {
            Ok(identity) => {
                self.current = next;
                self.serving.send_replace(Arc::new(identity));
            }
            Err(error) => say(error),
        }
    }

    fn look_for_certificate(&mut self) {
        let Some(path) = &self.settings.certificate_file else { return };
        let Ok(pem) = read(path) else { return };
        if self.last_file.as_ref() == Some(&pem) {
            return;
        }
        let next = self.next.as_ref().map(|next| next.key.with_chain(&pem));
        match next {
            Some(Ok(identity)) => {
                if let Some(next) = self.next.take() {
                    self.promote(next, Some(identity));
                }
            }
            _ => match self.current.key.with_chain(&pem) {
                Ok(identity) => drop(self.serving.send_replace(Arc::new(identity))),
                // What is there while the next certificate is awaited is the one of a key before.
                Err(ChainError::AnotherKey) if self.next.is_some() => {}
                Err(error) => say(error),
            },
        }
        self.last_file = Some(pem);
    }

    /// Says which key there is, and asks for a certificate where one is wanted.
    fn announce(&self, key: &TlsKey) -> Result<(), KeyError> {
        say(format_args!("new TLS key, SHA-256 of its SubjectPublicKeyInfo {}", key.spki_digest()));
        if let Some(path) = &self.settings.csr_file
            && let Err(error) = replace(path, &key.request_pem()?)
        {
            say(format_args!("the certificate signing request cannot be written: {error}"));
        }
        Ok(())
    }
}

impl Aged {
    fn new(names: &[String], settings: &KeyConfig) -> Result<Self, KeyError> {
        let key = TlsKey::generate(names, Duration::from_secs(settings.lifetime_seconds))?;
        Ok(Self { key, made: Instant::now() })
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut pem = Vec::new();
    std::fs::File::open(path)?.take(MAX_CHAIN).read_to_end(&mut pem)?;
    Ok(pem)
}

/// Whoever reads the file sees the old text or the new one, never half of it. The directory may be one that the host writes to:
/// a link that it put there is replaced, not followed to a file of this container.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    use io::Write as _;
    let beside = path.with_extension("new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&beside)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(beside, path)
}

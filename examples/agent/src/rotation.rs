//! Which key serves now, and when the next one takes over.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::azure_vm::AzureVm;
use crate::cert_files::Files;
use crate::config::{Config, KeyConfig};
use crate::key::{ChainError, Identity, KeyError, TlsKey};
use crate::log;

/// The keys of an agent: the one in use and, while its certificate is awaited, the next.
pub(crate) struct Rotation {
    names: Vec<String>,
    settings: KeyConfig,
    current: TimedKey,
    next: Option<TimedKey>,
    files: Files,
    serving: watch::Sender<Arc<Identity>>,
    /// In a confidential VM each key needs a report of its own.
    vm: Option<Arc<AzureVm>>,
}

struct TimedKey {
    key: TlsKey,
    made: Instant,
}

impl Rotation {
    /// Makes the first key.
    pub(crate) fn start(config: &Config, files: Files) -> Result<(Self, watch::Receiver<Arc<Identity>>), KeyError> {
        let (names, settings) = (config.names.clone(), config.key.clone());
        let current = TimedKey::new(&names, &settings)?;
        let (serving, identities) = watch::channel(Arc::new(current.key.self_signed()?));
        let rotation = Self { names, settings, current, next: None, files, serving, vm: None };
        rotation.announce(&rotation.current.key)?;
        Ok((rotation, identities))
    }

    /// Has a report made for each key from now on, before it is used.
    pub(crate) fn state_keys_to(&mut self, vm: Arc<AzureVm>) {
        self.vm = Some(vm);
    }

    /// Ends only when no key can be made: no randomness, most likely. The agent ends with it, since the last key must not
    /// serve beyond its lifetime.
    pub(crate) async fn run(mut self) {
        let Err(error) = self.run_loop().await;
        log(error);
    }

    async fn run_loop(&mut self) -> Result<Infallible, KeyError> {
        loop {
            let end = self.current.made + self.lifetime();
            let early = self.current.made + self.lifetime() * 2 / 3;
            let prepares = self.settings.certificate_file.is_some() || self.vm.is_some();
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(end) => self.take_over()?,
                () = tokio::time::sleep_until(early), if prepares && self.next.is_none() => {
                    self.next = Some(self.prepare()?);
                }
                pem = self.files.certificate() => self.certified(&pem),
            }
        }
    }

    fn lifetime(&self) -> Duration {
        self.settings.lifetime()
    }

    fn prepare(&self) -> Result<TimedKey, KeyError> {
        let next = TimedKey::new(&self.names, &self.settings)?;
        self.announce(&next.key)?;
        Ok(next)
    }

    /// The lifetime of the current key is over. Whether or not a certificate came for the next one, it does not go on.
    fn take_over(&mut self) -> Result<(), KeyError> {
        let next = self.next.take().map_or_else(|| self.prepare(), Ok)?;
        if self.settings.certificate_file.is_some() {
            log("no certificate has come for the next key in time; it serves with one that it signed itself");
        }
        let identity = next.key.self_signed()?;
        self.activate(next, identity);
        Ok(())
    }

    fn activate(&mut self, next: TimedKey, identity: Identity) {
        self.current = next;
        self.serving.send_replace(Arc::new(identity));
    }

    /// Something new is in the certificate file.
    fn certified(&mut self, pem: &[u8]) {
        if let Some(next) = self.next.take() {
            match next.key.with_chain(pem) {
                Ok(identity) => return self.activate(next, identity),
                Err(_) => self.next = Some(next),
            }
        }
        match self.current.key.with_chain(pem) {
            Ok(identity) => drop(self.serving.send_replace(Arc::new(identity))),
            // What is there while the next certificate is awaited is the one of a key before.
            Err(ChainError::AnotherKey) if self.next.is_some() => {}
            Err(error) => log(error),
        }
    }

    /// Says which key there is, and asks for a certificate where one is wanted.
    fn announce(&self, key: &TlsKey) -> Result<(), KeyError> {
        log(format_args!("new TLS key, SHA-256 of its SubjectPublicKeyInfo {}", key.spki_digest()));
        if let Some(vm) = &self.vm {
            vm.state(key.spki_digest());
        }
        self.files.ask(key.request_pem()?);
        Ok(())
    }
}

impl TimedKey {
    fn new(names: &[String], settings: &KeyConfig) -> Result<Self, KeyError> {
        let key = TlsKey::generate(names, settings.lifetime())?;
        Ok(Self { key, made: Instant::now() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    fn config() -> Config {
        let text = "listen = \"127.0.0.1:0\"\napplication = \"http://127.0.0.1:1\"\nnames = [\"localhost\"]\n\
                    [key]\nlifetime-seconds = 60\ncsr-file = \"/csr\"\ncertificate-file = \"/certificate\"";
        Config::from_toml(text).unwrap()
    }

    #[tokio::test]
    async fn only_a_certificate_for_its_own_key_is_used() {
        let files = Files::with(|_| None).unwrap();
        let (mut rotation, mut keys) = Rotation::start(&config(), files).unwrap();
        let issued = |key: &TlsKey| key.issued_by_a_test().into_bytes();
        let foreign = issued(&TlsKey::generate(&["localhost".to_owned()], Duration::from_secs(60)).unwrap());
        let good = issued(&rotation.current.key);
        let with_key = [&good[..], b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"].concat();
        for bad in [&foreign[..], &with_key, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b""] {
            rotation.certified(bad);
            assert!(!keys.has_changed().unwrap());
        }
        let digest = keys.borrow_and_update().spki_digest.clone();
        rotation.certified(&good);
        assert!(keys.has_changed().unwrap());
        assert_eq!(keys.borrow().spki_digest, digest);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_end_in_time_while_files_hang_and_only_one_look_ever_hangs() {
        let (calls, (let_go, hanging)) = (Arc::<AtomicUsize>::default(), channel::<()>());
        let counted = Arc::clone(&calls);
        let files = Files::with(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = hanging.recv();
            None
        });
        let begun = Instant::now();
        let (rotation, mut keys) = Rotation::start(&config(), files.unwrap()).unwrap();
        let mut last = keys.borrow_and_update().spki_digest.clone();
        let running = tokio::spawn(rotation.run());
        for n in 1..=5 {
            keys.changed().await.unwrap();
            let next = keys.borrow_and_update().spki_digest.clone();
            assert_ne!(std::mem::replace(&mut last, next), last);
            assert!(begun.elapsed() <= Duration::from_secs(60 * n + 1));
        }
        assert!(calls.load(Ordering::SeqCst) <= 1);
        running.abort();
        drop(let_go);
    }

    #[tokio::test(start_paused = true)]
    async fn when_no_key_can_be_made_the_last_one_does_not_serve_on() {
        let files = Files::with(|_| None).unwrap();
        let (mut rotation, mut keys) = Rotation::start(&config(), files).unwrap();
        rotation.names = vec!["not a name\u{fffd}".to_owned()];
        tokio::time::timeout(Duration::from_secs(61), rotation.run()).await.unwrap();
        assert!(keys.changed().await.is_err());
    }
}

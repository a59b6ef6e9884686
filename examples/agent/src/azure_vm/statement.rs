//! One report of the paravisor for each TLS key: it states the digest of a statement about the key, so it was made after the key.

use std::sync::Arc;
use std::time::Duration;

use super::report::ParavisorReport;
use super::{AK_HANDLE, AzureVm, AzureVmError, REPORT_INDEX, USER_DATA_INDEX};
use crate::evidence::{EvidenceError, report_data};
use crate::log;

/// The paravisor makes a new report at most once in two seconds, when its index is read from the start. In between it serves the old
/// one without an error.
const WINDOW: Duration = Duration::from_millis(2_100);

/// How often the statement is written and the report read.
const ATTEMPTS: u32 = 4;

/// When a report could not be made, for the next attempt.
const RETRY: Duration = Duration::from_secs(5);

/// The keys that are remembered: the one in use, the next one, and one that has just retired.
const KEYS: usize = 3;

/// A TLS key and the report that was made for it.
pub(super) struct StatedKey {
    spki_digest: String,
    report: Report,
}

enum Report {
    /// Being made.
    Pending,
    Made(Arc<ParavisorReport>),
    /// Could not be made; tried again.
    Failed,
}

/// What the agent says about its TLS key: these bytes and no others.
fn statement(spki_digest: &str) -> String {
    format!(r#"{{"protocol":"blindbox-bound-key/1","tls-spki-sha256":"{spki_digest}"}}"#)
}

impl AzureVm {
    /// Begins to have a report made for a TLS key, again and again until there is one or the key is forgotten.
    pub(crate) fn state(self: &Arc<Self>, spki_digest: &str) {
        let spki_digest = spki_digest.to_owned();
        self.keys.send_modify(|keys| {
            keys.push(StatedKey { spki_digest: spki_digest.clone(), report: Report::Pending });
            keys.drain(..keys.len().saturating_sub(KEYS));
        });
        let vm = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(vm) = vm.upgrade()
                && vm.is_known(&spki_digest)
            {
                match vm.make_report(&spki_digest).await {
                    Ok(report) => return vm.set_report(&spki_digest, Report::Made(Arc::new(report))),
                    Err(error) => {
                        log(format_args!("no report for the new TLS key, to be tried again: {error}"));
                        vm.set_report(&spki_digest, Report::Failed);
                    }
                }
                drop(vm);
                tokio::time::sleep(RETRY).await;
            }
        });
    }

    /// Makes the report for the first TLS key, or says why there is none: an agent that cannot attest does not start.
    pub(crate) async fn start(self: &Arc<Self>, spki_digest: &str) -> Result<(), EvidenceError> {
        let report = Report::Made(Arc::new(self.make_report(spki_digest).await?));
        self.keys.send_modify(|keys| keys.push(StatedKey { spki_digest: spki_digest.to_owned(), report }));
        Ok(())
    }

    async fn make_report(self: &Arc<Self>, spki_digest: &str) -> Result<ParavisorReport, EvidenceError> {
        let (vm, user_data) = (Arc::clone(self), report_data(statement(spki_digest).as_bytes()));
        let made = tokio::task::spawn_blocking(move || vm.report_stating(&user_data)).await;
        Ok(made.map_err(|error| EvidenceError::Device(error.to_string()))??)
    }

    fn is_known(&self, spki_digest: &str) -> bool {
        self.keys.borrow().iter().any(|key| key.spki_digest == spki_digest)
    }

    fn set_report(&self, spki_digest: &str, report: Report) {
        self.keys.send_modify(|keys| {
            if let Some(key) = keys.iter_mut().find(|key| key.spki_digest == spki_digest) {
                key.report = report;
            }
        });
    }

    /// The report that was made for a TLS key.
    pub(super) fn report_of(&self, spki_digest: &str) -> Result<Arc<ParavisorReport>, EvidenceError> {
        let keys = self.keys.borrow();
        let key = keys.iter().find(|key| key.spki_digest == spki_digest);
        match key.map(|key| &key.report) {
            Some(Report::Made(report)) => Ok(Arc::clone(report)),
            Some(Report::Pending) => {
                Err(EvidenceError::Away("the paravisor: the report for this TLS key is being made".to_owned()))
            }
            Some(Report::Failed) | None => {
                Err(EvidenceError::Away("the paravisor: no report could be made for this TLS key yet".to_owned()))
            }
        }
    }

    /// Has the paravisor make a report that states these bytes. Blocks for up to three times [`WINDOW`].
    fn report_stating(&self, user_data: &[u8; 64]) -> Result<ParavisorReport, AzureVmError> {
        let expected = hex::encode(user_data);
        self.with_tpm(|tpm| {
            let ak = tpm.rsa_modulus(AK_HANDLE).map_err(|error| match error.is_missing_handle() {
                true => AzureVmError::NoAttestationKey,
                false => AzureVmError::Tpm { what: "reading the attestation key", error },
            })?;
            let mut found = None;
            for attempt in 0..ATTEMPTS {
                if attempt > 0 {
                    std::thread::sleep(WINDOW);
                }
                // Each time, since the index is one for all programs of the VM. A failed write is an error: the report would state what
                // was there before.
                let written = tpm.nv_write(USER_DATA_INDEX, user_data);
                written.map_err(AzureVmError::tpm("writing user-data to NV index 0x01400002"))?;
                let blob = tpm.nv_read(REPORT_INDEX).map_err(|error| match error.is_missing_handle() {
                    true => AzureVmError::NoReport,
                    false => AzureVmError::Tpm { what: "reading the report of the paravisor", error },
                })?;
                let report = ParavisorReport::read(blob)?;
                if report.ak_modulus != ak {
                    return Err(AzureVmError::AnotherKey);
                }
                if report.user_data.as_ref() == Some(&expected) {
                    return Ok(report);
                }
                found = report.user_data;
            }
            let found = found.unwrap_or_else(|| "of none".to_owned());
            Err(AzureVmError::StaleReport { expected, found, attempts: ATTEMPTS })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of `docs/protocol-vectors.md`.
    #[test]
    fn the_statement_is_that_of_the_protocols_test_vector() {
        let statement = statement("5a7a78cca4a0f420d9bc62bb669c3c2759e39f723d3ae10dcbe0f0815a07ecd4");
        assert_eq!(statement.len(), 120);
        let expected = "b19a08cb7722984a36951908c3168136b7a4a8aaf4c8de751d6e9e544f6cf0fe";
        assert_eq!(hex::encode(report_data(statement.as_bytes())), expected.to_owned() + &"0".repeat(64));
    }
}

//! The files of recorded evidence: their names, and how each is read. `blindbox-attest fetch` writes them into a directory, and every
//! binding takes and gives them by these names.

#[cfg(feature = "client")]
mod write;

#[cfg(feature = "client")]
pub(crate) use write::{CollectedDocuments, files_of};

use std::collections::BTreeMap;

use crate::azure_vm::Quote;
use crate::error::AttestationError;
use crate::evidence::{Endorsements, Evidence, KeySetSource};
use crate::files::{
    FileError, read_certificates, read_crl, read_hcl_report, read_key_set, read_pcrs, read_report, read_token,
    read_tpm_quote, read_tpm_signature, read_uvm_endorsement,
};
use crate::maa::KeySet;
use crate::snp::{Crl, Vek, certificates_from_pem_or_der};

const TOKEN: &str = "token.jwt";
const RUNTIME_DATA: &str = "runtime-data.json";
const REPORT: &str = "report.bin";
const UVM_ENDORSEMENT: &str = "uvm-endorsement.cose";
const HCL_REPORT: &str = "hcl-report.bin";
const QUOTE_MESSAGE: &str = "tpm-quote.msg";
const QUOTE_SIGNATURE: &str = "tpm-quote.sig";
const PCRS: &str = "pcrs.json";
const AK_CHAIN: &str = "ak-chain.pem";
const CERTIFICATES: &str = "certificates.pem";
const VCEK: &str = "vcek.der";
const REVOCATION_LISTS: [&str; 3] = ["revocation-list.der", "revocation-list-other.der", "revocation-list-maa.der"];
const KEY_SET: &str = "key-set.json";

/// The reason why files are no recorded evidence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceFilesError {
    /// A name that no file of recorded evidence has.
    #[error("expected the names of files that `blindbox-attest fetch` writes, found {name:?}")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// A name that was added before.
    #[error("expected one {name}, found two")]
    Duplicate {
        /// The name.
        name: &'static str,
    },
    /// There is nothing to verify.
    #[error("expected at least one of token.jwt, report.bin and hcl-report.bin, found none")]
    NoEvidence,
    /// The message, signature and PCR values of a quote mean nothing without each other.
    #[error("expected all or none of tpm-quote.msg, tpm-quote.sig and pcrs.json, found only a part")]
    PartOfQuote,
    /// Two files have the certificates of the report's key.
    #[error("expected either certificates.pem or vcek.der, found both")]
    TwoCertificateFiles,
    /// The content of a file is something else.
    #[error("{name}: {reason}")]
    Unreadable {
        /// The name of the file.
        name: &'static str,
        /// What was expected, and what was found.
        reason: String,
    },
    /// An endorsement cannot be parsed.
    #[error("{name}: {error}")]
    Invalid {
        /// The name of the file.
        name: &'static str,
        /// Its fault.
        error: Box<AttestationError>,
    },
}

impl From<EvidenceFilesError> for AttestationError {
    fn from(error: EvidenceFilesError) -> Self {
        match error {
            EvidenceFilesError::Invalid { error, .. } => *error,
            other => Self::Misconfigured { reason: other.to_string() },
        }
    }
}

/// The files of recorded evidence and what vouches for it, by the names that `blindbox-attest fetch` gives them. Nothing of them is
/// verified; [`crate::verify_recorded`] does it.
///
/// ```
/// use blindbox_attestation::{EvidenceFiles, EvidenceFilesError};
///
/// let mut files = EvidenceFiles::default();
/// files.insert("runtime-data.json", *b"{}")?;
/// let misspelt = files.insert("runtime-data.jsn", *b"{}");
/// assert_eq!(misspelt, Err(EvidenceFilesError::UnknownName { name: "runtime-data.jsn".to_owned() }));
/// // Neither a token nor a report.
/// assert_eq!(files.evidence().unwrap_err(), EvidenceFilesError::NoEvidence);
/// # Ok::<(), blindbox_attestation::EvidenceFilesError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvidenceFiles(BTreeMap<&'static str, Vec<u8>>);

impl EvidenceFiles {
    /// The names of evidence and endorsements, in the order in which the files are listed.
    pub const NAMES: [&str; 15] = [
        TOKEN,
        RUNTIME_DATA,
        REPORT,
        UVM_ENDORSEMENT,
        HCL_REPORT,
        QUOTE_MESSAGE,
        QUOTE_SIGNATURE,
        PCRS,
        AK_CHAIN,
        CERTIFICATES,
        VCEK,
        REVOCATION_LISTS[0],
        REVOCATION_LISTS[1],
        REVOCATION_LISTS[2],
        KEY_SET,
    ];

    /// The names of files about the request: its policy, and when, how and with which nonce it was made. They are accepted and not
    /// read: neither is evidence.
    pub const OF_REQUEST: [&str; 2] = ["policy.toml", "about.json"];

    fn names() -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().chain(Self::OF_REQUEST)
    }

    /// Adds a file.
    ///
    /// # Errors
    ///
    /// [`EvidenceFilesError::UnknownName`] or [`EvidenceFilesError::Duplicate`]: a file that is ignored could be taken for one that
    /// was verified.
    pub fn insert(&mut self, name: &str, content: impl Into<Vec<u8>>) -> Result<(), EvidenceFilesError> {
        let known = Self::names().find(|known| *known == name);
        let name = known.ok_or_else(|| EvidenceFilesError::UnknownName { name: name.chars().take(64).collect() })?;
        match self.0.insert(name, content.into()) {
            None => Ok(()),
            Some(_) => Err(EvidenceFilesError::Duplicate { name }),
        }
    }

    /// Returns the content of a file.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Returns all files, in the order of [`Self::NAMES`], then of [`Self::OF_REQUEST`].
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        Self::names().filter_map(|name| Some((name, self.get(name)?)))
    }

    /// Reads the evidence: each file in any form that [`crate::files`] reads.
    ///
    /// # Errors
    ///
    /// [`EvidenceFilesError::NoEvidence`], [`EvidenceFilesError::PartOfQuote`] or [`EvidenceFilesError::Unreadable`].
    pub fn evidence(&self) -> Result<Evidence, EvidenceFilesError> {
        let quote = (
            self.read(QUOTE_MESSAGE, read_tpm_quote)?,
            self.read(QUOTE_SIGNATURE, read_tpm_signature)?,
            self.read(PCRS, read_pcrs)?,
        );
        let quote = match quote {
            (None, None, None) => None,
            (Some(message), Some(signature), Some(pcrs)) => Some(Quote::new(message, signature, pcrs)),
            _ => return Err(EvidenceFilesError::PartOfQuote),
        };
        let ak_chain =
            self.read(AK_CHAIN, read_certificates)?.map(|read| certificates_from_pem_or_der(&read)).transpose();
        let evidence = Evidence {
            token: self.read(TOKEN, read_token)?,
            report: self.read(REPORT, read_report)?,
            uvm_endorsement: self.read(UVM_ENDORSEMENT, read_uvm_endorsement)?,
            hcl_report: self.read(HCL_REPORT, read_hcl_report)?,
            quote,
            ak_chain: ak_chain.map_err(|error| unreadable(AK_CHAIN, error))?.unwrap_or_default(),
            runtime_data: self.get(RUNTIME_DATA).map(<[u8]>::to_vec),
            // The certificates of the agent are among the endorsements.
            ..Evidence::default()
        };
        if evidence.token.is_none() && evidence.report.is_none() && evidence.hcl_report.is_none() {
            return Err(EvidenceFilesError::NoEvidence);
        }
        Ok(evidence)
    }

    /// Reads what vouches for the evidence, under the built-in roots. The key set is [`KeySetSource::BesideEvidence`]: its author
    /// could have written the evidence too. A caller who knows its origin sets [`Endorsements::key_set_source`].
    ///
    /// # Errors
    ///
    /// [`EvidenceFilesError::TwoCertificateFiles`], [`EvidenceFilesError::Unreadable`] or [`EvidenceFilesError::Invalid`].
    pub fn endorsements(&self) -> Result<Endorsements, EvidenceFilesError> {
        let mut endorsements = Endorsements { key_set_source: KeySetSource::BesideEvidence, ..Endorsements::default() };
        if let Some(document) = self.read(KEY_SET, read_key_set)? {
            let key_set = KeySet::from_json(&document).map_err(|error| invalid(KEY_SET, error.into()))?;
            endorsements.key_set = Some(key_set);
        }
        let name = match (self.get(CERTIFICATES), self.get(VCEK)) {
            (Some(_), Some(_)) => return Err(EvidenceFilesError::TwoCertificateFiles),
            (None, _) => VCEK,
            (Some(_), None) => CERTIFICATES,
        };
        if let Some(bytes) = self.read(name, read_certificates)? {
            let vek = Vek::from_pem_or_der(&bytes)
                .map_err(|error| AttestationError::InvalidAgentAnswer { reason: error.to_string() });
            endorsements.vek = Some(vek.map_err(|error| invalid(name, error))?);
        }
        for name in REVOCATION_LISTS {
            endorsements.crls.extend(self.read(name, read_crl)?.map(Crl::Received));
        }
        Ok(endorsements)
    }

    fn read<T>(
        &self,
        name: &'static str,
        read: impl Fn(&[u8]) -> Result<T, FileError>,
    ) -> Result<Option<T>, EvidenceFilesError> {
        self.get(name).map(read).transpose().map_err(|error| unreadable(name, error))
    }
}

fn unreadable(name: &'static str, reason: impl std::fmt::Display) -> EvidenceFilesError {
    EvidenceFilesError::Unreadable { name, reason: reason.to_string() }
}

fn invalid(name: &'static str, error: AttestationError) -> EvidenceFilesError {
    EvidenceFilesError::Invalid { name, error: Box::new(error) }
}

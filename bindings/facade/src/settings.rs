//! The settings of a verifier, as JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use blindbox_attestation::{Verifier, VerifierBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::endorsements::{ak_anchors, amd_anchors, certificates, key_set};
use crate::error::Error;
use crate::members::distinct;

/// The largest settings that are read, in bytes.
const MAX_BYTES: usize = 4 << 20;

/// Every setting of [`VerifierBuilder`] but its clock. Certificates are PEM. `blindbox_attestation::VerifierBuilder` says what each
/// of them means.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    deadline_ms: Option<u64>,
    request_timeout_ms: Option<u64>,
    application_roots: Option<String>,
    extra_application_roots: Option<String>,
    collateral_roots: Option<String>,
    platform_collateral_roots: bool,
    /// A JWK set, as text.
    key_set: Option<String>,
    amd_roots: Option<String>,
    ak_root: Option<String>,
    agent: Option<String>,
    proxy: Option<String>,
    /// Host to `IP:PORT`.
    #[serde(deserialize_with = "distinct")]
    resolve: BTreeMap<String, SocketAddr>,
    /// Name to value, for a front end that ends TLS.
    #[serde(deserialize_with = "distinct")]
    front_end_headers: BTreeMap<String, String>,
    kds: Option<String>,
    thim: Option<String>,
    cache_dir: Option<String>,
}

/// Builds a verifier from settings in JSON; an empty text stands for the defaults.
pub(crate) fn verifier(json: &str) -> Result<Verifier, Error> {
    if json.len() > MAX_BYTES {
        return Err(Error::argument(format!("settings: expected at most {MAX_BYTES} bytes, found {}", json.len())));
    }
    let json = if json.trim().is_empty() { "{}" } else { json };
    // An array would be read as the fields in their order.
    if !json.trim_start().starts_with('{') {
        return Err(Error::argument("settings: expected a JSON object"));
    }
    let given: BTreeMap<String, Value> = read(json)?;
    // It would be read as not given: a program whose variable is empty would get the roots of the platform.
    if let Some((name, _)) = given.iter().find(|(_, value)| value.is_null()) {
        return Err(Error::argument(format!(
            "settings: expected a value for {name}, found null; leave out what is not set"
        )));
    }
    let settings: Settings = read(json)?;
    Ok(settings.builder()?.build()?)
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| Error::argument(format!("settings: {error}")))
}

impl Settings {
    fn builder(self) -> Result<VerifierBuilder, Error> {
        let mut builder = Verifier::builder();
        if let Some(milliseconds) = self.deadline_ms {
            builder = builder.deadline(Duration::from_millis(milliseconds));
        }
        if let Some(milliseconds) = self.request_timeout_ms {
            builder = builder.request_timeout(Duration::from_millis(milliseconds));
        }
        if self.application_roots.is_some() && self.extra_application_roots.is_some() {
            return Err(Error::argument(
                "settings: expected either application_roots, which replace the platform's, or extra_application_roots",
            ));
        }
        if let Some(roots) = &self.application_roots {
            builder = builder.only_application_roots(certificates("application_roots", roots)?);
        }
        if let Some(roots) = &self.extra_application_roots {
            builder = builder.extra_application_roots(certificates("extra_application_roots", roots)?);
        }
        if self.platform_collateral_roots && self.collateral_roots.is_some() {
            return Err(Error::argument(
                "settings: expected either collateral_roots or platform_collateral_roots, found both",
            ));
        }
        if let Some(roots) = &self.collateral_roots {
            builder = builder.collateral_roots(certificates("collateral_roots", roots)?);
        }
        if self.platform_collateral_roots {
            builder = builder.platform_collateral_roots();
        }
        if let Some(text) = &self.key_set {
            builder = builder.pin_key_set(key_set(text.as_bytes())?);
        }
        if let Some(pem) = &self.amd_roots {
            builder = builder.amd_anchors(amd_anchors(pem)?);
        }
        if let Some(pem) = &self.ak_root {
            builder = builder.ak_anchors(ak_anchors(pem)?);
        }
        if let Some(url) = self.agent {
            builder = builder.agent(url);
        }
        if let Some(url) = self.proxy {
            builder = builder.proxy(url);
        }
        for (host, address) in self.resolve {
            builder = builder.resolve(host, address);
        }
        for (name, value) in self.front_end_headers {
            builder = builder.front_end_header(name, value);
        }
        if let Some(url) = self.kds {
            builder = builder.kds(url);
        }
        if let Some(url) = self.thim {
            builder = builder.thim(url);
        }
        if let Some(path) = self.cache_dir {
            builder = builder.cache_dir(path);
        }
        Ok(builder)
    }
}

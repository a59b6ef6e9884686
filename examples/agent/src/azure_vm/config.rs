//! The table `[azure-vm]` of the configuration.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use blindbox_attestation::azure_vm::AkAnchors;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::issuer_host::IssuerHosts;
use crate::config::InvalidConfig;
use crate::tpm::TpmAddress;

/// Settings of an agent in a confidential VM. The table alone, without members, is enough on Azure.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct AzureVmConfig {
    /// The virtual TPM: `/dev/tpmrm0`.
    pub tpm: TpmAddress,
    /// Azure's metadata service, which has the certificate of the chip: `http://169.254.169.254`.
    pub metadata: MetadataService,
    /// Certificates of authorities (PEM) that may have issued the certificate of the attestation key, for VMs that cannot reach the
    /// addresses in it.
    pub ak_issuers: Option<PathBuf>,
    /// The hosts that these certificates are fetched from otherwise: those in Azure's certificates unless set. The certificate that
    /// names the addresses is not verified by then, and the host of the VM can write it.
    pub ak_issuer_hosts: IssuerHosts,
    /// The root of virtual TPMs (PEM) in place of Azure's, for an emulated Azure. A chain that does not lead to it is not sent. Clients
    /// need the same one.
    pub ak_root: Option<PathBuf>,
}

/// `http://` and an address. A name could come to mean another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataService(pub(super) SocketAddr);

impl Default for MetadataService {
    fn default() -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80))
    }
}

impl AzureVmConfig {
    /// The certificates of the file in DER.
    pub(super) fn issuers(&self) -> Result<Vec<Vec<u8>>, InvalidConfig> {
        let Some(path) = &self.ak_issuers else { return Ok(Vec::new()) };
        let unusable = |_| InvalidConfig::Value("azure-vm.ak-issuers is not a file of certificates in PEM");
        let certificates = CertificateDer::pem_file_iter(path).map_err(unusable)?;
        let certificates: Result<Vec<_>, _> = certificates.map(|der| der.map(|der| der.to_vec())).collect();
        match certificates.map_err(unusable)? {
            none if none.is_empty() => Err(InvalidConfig::Value("azure-vm.ak-issuers has no certificate")),
            certificates => Ok(certificates),
        }
    }
}

impl AzureVmConfig {
    /// What a chain has to lead to.
    pub(super) fn ak_anchors(&self) -> Result<AkAnchors, InvalidConfig> {
        let Some(path) = &self.ak_root else { return Ok(AkAnchors::builtin()) };
        let unusable = InvalidConfig::Value("azure-vm.ak-root is not the certificate of a root in PEM");
        let root =
            CertificateDer::from_pem_file(path).map_err(|_| ()).and_then(|der| AkAnchors::custom(&der).map_err(|_| ()));
        root.map_err(|()| unusable)
    }
}

impl FromStr for MetadataService {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form =
            "a metadata service is written as http://169.254.169.254: an address with or without a port, no name";
        let address = text.strip_prefix("http://").ok_or(form)?;
        let with_port = address.parse().or_else(|_| address.parse().map(|ip| SocketAddr::new(ip, 80)));
        let address: SocketAddr = with_port.map_err(|_| form)?;
        let of_this_machine = match address.ip() {
            IpAddr::V4(ip) => ip.is_link_local() || ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback(),
        };
        if of_this_machine {
            Ok(Self(address))
        } else {
            Err("a metadata service has a link-local address, or loopback")
        }
    }
}

impl<'de> Deserialize<'de> for MetadataService {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metadata_service_is_at_an_address_of_this_machine() {
        let port = |text: &str| text.parse::<MetadataService>().map(|MetadataService(address)| address.to_string());
        assert_eq!(port("http://169.254.169.254").as_deref(), Ok("169.254.169.254:80"));
        assert_eq!(port("http://127.0.0.1:8123").as_deref(), Ok("127.0.0.1:8123"));
        let form =
            "a metadata service is written as http://169.254.169.254: an address with or without a port, no name";
        for text in ["169.254.169.254", "https://169.254.169.254", "http://metadata", "http://169.254.169.254/"] {
            assert_eq!(port(text), Err(form), "{text}");
        }
        assert_eq!(port("http://192.0.2.1"), Err("a metadata service has a link-local address, or loopback"));
    }
}

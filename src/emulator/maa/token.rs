//! Signing tokens, properly and in every way that a verifier must refuse.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::claims::{TOKEN_LIFETIME, TokenClaims};
use crate::emulator::keys::hmac_sha256;
use crate::emulator::maa::MaaState;
use crate::emulator::network::response::quoted;

/// What is wrong with a token. Several faults together act in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenFault {
    /// Issued nine hours ago, expired an hour ago.
    Expired,
    /// `nbf` is an hour ahead; `iat` is now.
    NotYetValid,
    /// `iat` is an hour ahead; `nbf` is now.
    IssuedInTheFuture,
    /// `iat` and `nbf` are so many seconds ago, `exp` lies ahead: genuine, but made before the request.
    IssuedAgo(u64),
    /// Another `iss`, with the key and signature of this instance.
    Issuer(String),
    /// A `kid` that no key set has.
    UnknownKid,
    /// Another `kid`, as given.
    Kid(String),
    /// The right `kid`, signed with another RSA-2048 key.
    ForeignKey,
    /// One bit of the signature is flipped.
    BadSignature,
    /// One character of the claims is changed after signing.
    TamperedClaims,
    /// `alg: none` and no signature.
    AlgNone,
    /// `alg: HS256`, with the public key's PEM as the secret.
    Hs256,
    /// Another `alg` in the header (`RS384`, `PS256`, `rs256`, ...), signed as RS256.
    Alg(String),
    /// Claims of an Intel SGX enclave.
    Sgx,
    /// Sets a claim, by its path as in [`TokenClaims`].
    Claim(String, Value),
    /// Removes a claim.
    WithoutClaim(String),
    /// Writes a claim twice, the second time with this value.
    DuplicateClaim(String, Value),
    /// Replaces the first occurrence of a text in the claims' JSON, before signing.
    ReplaceInClaims(String, String),
    /// Sets a member of the header: `jku`, `crit`, `jwk`, `x5c`, ...
    Header(String, Value),
    /// Removes a member of the header.
    WithoutHeader(String),
    /// Replaces the first occurrence of a text in the header's JSON, before signing.
    ReplaceInHeader(String, String),
    /// Replaces the first occurrence of a text in the finished token: dots, padding, foreign characters.
    ReplaceInToken(String, String),
    /// Cuts the finished token after so many bytes.
    CutToken(usize),
    /// This text in place of a token.
    NotAToken(String),
}

impl TokenFault {
    /// Writes a member of the header twice, the second time with this text as its value.
    #[must_use]
    pub fn duplicate_header(name: &str, second: &str) -> Self {
        let start = format!("{}:", quoted(name));
        Self::ReplaceInHeader("}".to_owned(), format!(",{start}{}}}", quoted(second)))
    }
}

/// Signs claims with the instance's key, each fault applied.
pub(crate) fn sign(maa: &MaaState, claims: TokenClaims, faults: &[TokenFault]) -> String {
    let mut draft = Draft { header: maa.header(), header_edits: Vec::new(), claims, signing: Signing::Properly };
    for fault in faults {
        draft.spoil(maa, fault);
    }
    let mut token = draft.sign(maa);
    for fault in faults {
        match fault {
            TokenFault::ReplaceInToken(from, to) => token = token.replacen(from, to, 1),
            TokenFault::CutToken(length) => token.truncate(*length),
            TokenFault::NotAToken(text) => token.clone_from(text),
            _ => {}
        }
    }
    token
}

pub(crate) fn sign_raw(maa: &MaaState, header: &str, payload: &str) -> String {
    let input = signing_input(header, payload);
    let signature = maa.signing_key().sign_rs256(input.as_bytes());
    compact(&input, &signature)
}

struct Draft {
    header: Value,
    header_edits: Vec<(String, String)>,
    claims: TokenClaims,
    signing: Signing,
}

enum Signing {
    Properly,
    WithForeignKey,
    WithBitFlipped,
    WithClaimsChanged,
    WithPublicKeyAsSecret,
    Not,
}

impl Draft {
    fn spoil(&mut self, maa: &MaaState, fault: &TokenFault) {
        const HOUR: u64 = 60 * 60;
        let now = maa.clock().now();
        match fault {
            TokenFault::Expired => {
                self.set("iat", now.minus(TOKEN_LIFETIME + HOUR).as_secs());
                self.set("nbf", now.minus(TOKEN_LIFETIME + HOUR).as_secs());
                self.set("exp", now.minus(HOUR).as_secs());
            }
            TokenFault::NotYetValid => self.set("nbf", now.plus(HOUR).as_secs()),
            TokenFault::IssuedInTheFuture => self.set("iat", now.plus(HOUR).as_secs()),
            TokenFault::IssuedAgo(seconds) => {
                self.set("iat", now.minus(*seconds).as_secs());
                self.set("nbf", now.minus(*seconds).as_secs());
            }
            TokenFault::Issuer(issuer) => self.set("iss", issuer.clone()),
            TokenFault::UnknownKid => self.header["kid"] = "bm9ib2R5IGhhcyBldmVyIHNlZW4gdGhpcyBrZXkgaWQ=".into(),
            TokenFault::Kid(kid) => self.header["kid"] = kid.clone().into(),
            TokenFault::ForeignKey => self.signing = Signing::WithForeignKey,
            TokenFault::BadSignature => self.signing = Signing::WithBitFlipped,
            TokenFault::TamperedClaims => self.signing = Signing::WithClaimsChanged,
            TokenFault::AlgNone => {
                self.header["alg"] = "none".into();
                self.signing = Signing::Not;
            }
            TokenFault::Hs256 => {
                self.header["alg"] = "HS256".into();
                self.signing = Signing::WithPublicKeyAsSecret;
            }
            TokenFault::Alg(name) => self.header["alg"] = name.clone().into(),
            TokenFault::Sgx => self.claims = sgx(&self.claims),
            TokenFault::Claim(path, value) => self.set(path, value.clone()),
            TokenFault::WithoutClaim(path) => self.claims = self.claims.clone().without(path),
            TokenFault::DuplicateClaim(path, second) => {
                self.claims = self.claims.clone().duplicate(path, second.clone());
            }
            TokenFault::ReplaceInClaims(from, to) => self.claims = self.claims.clone().replace_text(from, to),
            TokenFault::Header(name, value) => self.header[name.as_str()] = value.clone(),
            TokenFault::WithoutHeader(name) => {
                self.header.as_object_mut().map(|header| header.remove(name));
            }
            TokenFault::ReplaceInHeader(from, to) => self.header_edits.push((from.clone(), to.clone())),
            // These wait until the token is made.
            TokenFault::ReplaceInToken(..) | TokenFault::CutToken(_) | TokenFault::NotAToken(_) => {}
        }
    }

    fn set(&mut self, path: &str, value: impl Into<Value>) {
        self.claims = self.claims.clone().claim(path, value);
    }

    fn sign(&self, maa: &MaaState) -> String {
        let header = self.header.to_string();
        let header = self.header_edits.iter().fold(header, |text, (from, to)| text.replacen(from, to, 1));
        let payload = self.claims.to_text();
        let input = signing_input(&header, &payload);
        let message = input.as_bytes();
        match self.signing {
            Signing::Properly => compact(&input, &maa.signing_key().sign_rs256(message)),
            Signing::WithForeignKey => compact(&input, &maa.unpublished_key().sign_rs256(message)),
            Signing::WithBitFlipped => {
                let mut signature = maa.signing_key().sign_rs256(message);
                if let Some(byte) = signature.get_mut(100) {
                    *byte ^= 0x10;
                }
                compact(&input, &signature)
            }
            Signing::WithClaimsChanged => {
                let signature = maa.signing_key().sign_rs256(message);
                let changed = payload.replacen(r#""x-ms-ver":"1.0""#, r#""x-ms-ver":"1.1""#, 1);
                compact(&signing_input(&header, &changed), &signature)
            }
            Signing::WithPublicKeyAsSecret => {
                compact(&input, &hmac_sha256(maa.signing_key().public_pem().as_bytes(), message))
            }
            Signing::Not => compact(&input, &[]),
        }
    }
}

pub(crate) fn header(issuer: &str, kid: &str) -> Value {
    json!({ "alg": "RS256", "jku": format!("{issuer}/certs"), "kid": kid, "typ": "JWT" })
}

/// What MAA says about an SGX enclave, with the registered claims kept.
fn sgx(claims: &TokenClaims) -> TokenClaims {
    let of = |name: &str| claims.value().get(name).cloned().unwrap_or_default();
    TokenClaims::from_value(json!({
        "exp": of("exp"), "iat": of("iat"), "iss": of("iss"), "jti": of("jti"), "nbf": of("nbf"),
        "x-ms-attestation-type": "sgx",
        "x-ms-policy-hash": of("x-ms-policy-hash"),
        "x-ms-runtime": of("x-ms-runtime"),
        "x-ms-sgx-is-debuggable": false,
        "x-ms-sgx-mrenclave": "11".repeat(32),
        "x-ms-sgx-mrsigner": "22".repeat(32),
        "x-ms-sgx-product-id": 1,
        "x-ms-sgx-svn": 1,
        "x-ms-ver": "1.0",
    }))
}

fn signing_input(header: &str, payload: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

fn compact(input: &str, signature: &[u8]) -> String {
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

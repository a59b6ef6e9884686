//! RSA keys of the emulator: making them takes most of the time of a test in a debug build, so the copy of the crate keeps them in
//! files from one process to the next. Within a process all of them differ, as they do without this.

/// What is appended to the root of the crate. `MUTANT_KEYS` names the directory.
pub const KEPT_KEY: &str = r#"
#[cfg(feature = "emulator")]
pub(crate) fn kept_key(size: aws_lc_rs::rsa::KeySize) -> Result<aws_lc_rs::rsa::KeyPair, aws_lc_rs::error::Unspecified> {
    use aws_lc_rs::{encoding::{AsDer, Pkcs8V1Der}, rsa::KeyPair};
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let Some(directory) = std::env::var_os("MUTANT_KEYS") else { return KeyPair::generate(size) };
    let path = std::path::Path::new(&directory).join(format!("{size:?}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    if let Some(key) = std::fs::read(&path).ok().and_then(|der| KeyPair::from_pkcs8(&der).ok()) {
        return Ok(key);
    }
    let key = KeyPair::generate(size)?;
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key)?;
    let temporary = path.with_extension(format!("{}", std::process::id()));
    let _ = std::fs::write(&temporary, der.as_ref()).and_then(|()| std::fs::rename(&temporary, &path));
    Ok(key)
}
"#;

/// Returns a source file that gets its RSA keys from `kept_key`; none if it generates none.
pub fn keep(source: &[u8]) -> Option<Vec<u8>> {
    const GENERATE: &str = "KeyPair::generate(KeySize::";
    let source = String::from_utf8_lossy(source);
    let kept = "crate::kept_key(KeySize::";
    source
        .contains(GENERATE)
        .then(|| source.replace(&format!("Rsa{GENERATE}"), kept).replace(GENERATE, kept).into_bytes())
}

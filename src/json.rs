//! placeholder until merged
pub(crate) fn check(_: &[u8]) -> Result<(), std::fmt::Error> {
    Ok(())
}

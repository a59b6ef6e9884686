use crate::outcome::Failure;
use clap::Args;
use std::process::ExitCode;
#[derive(Args)]
pub struct Arguments {}
pub async fn run(_: Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::setting("todo"))
}

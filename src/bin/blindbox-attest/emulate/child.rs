//! `emulate -- COMMAND`: runs a command while the emulator serves, and exits with its exit code.

use std::ffi::OsString;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use tokio::process::{Child, Command};

use super::Emulation;
use super::saved::Saved;
use crate::exit::Failure;
use crate::signals::Stop;

/// How long the command may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the command with its environment extended by the URL and by the options of a client, such as `BLINDBOX_POLICY`.
pub async fn run(
    command: &[OsString],
    emulation: &Emulation,
    saved: &Saved,
    stop: &mut Stop,
) -> Result<ExitCode, Failure> {
    let [program, arguments @ ..] = command else { return Err(Failure::usage("expected a command behind --")) };
    let variables = saved.options(emulation).into_iter().map(|(option, value)| (variable(option), value));
    let mut child = Command::new(program)
        .args(arguments)
        .env("BLINDBOX_URL", emulation.url())
        .envs(variables)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::setting(format!("{}: {error}", program.display())))?;
    let status = tokio::select! {
        status = child.wait() => status,
        () = stop.asked() => {
            terminate(&child);
            match tokio::time::timeout(GRACE, child.wait()).await {
                Ok(status) => status,
                Err(_) => {
                    let _ = child.start_kill();
                    child.wait().await
                }
            }
        }
    };
    status.map(exit_code).map_err(|error| Failure::setting(format!("{}: {error}", program.display())))
}

/// The environment variable of an option.
fn variable(option: &str) -> String {
    format!("BLINDBOX_{}", option.to_uppercase().replace('-', "_"))
}

/// The code of the command itself; as in a shell, 128 and the number of the signal that ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    #[cfg(unix)]
    let code =
        status.code().or_else(|| Some(std::os::unix::process::ExitStatusExt::signal(&status)?.saturating_add(128)));
    #[cfg(not(unix))]
    let code = status.code();
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(unix)]
fn terminate(child: &Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(id) = id {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    }
}

#[cfg(not(unix))]
fn terminate(child: &Child) {
    let _ = child;
}

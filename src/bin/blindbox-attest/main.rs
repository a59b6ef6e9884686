//! `blindbox-attest`: verifies what a BlindBox runs, from a shell.

#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

mod advisories;
mod cce_policy;
mod connect_args;
#[cfg(feature = "emulator")]
mod emulate;
mod evidence_directory;
mod exit;
mod fetch;
mod files;
mod host_data;
mod inspect;
mod log;
mod policy;
mod proxy;
mod saved_evidence;
mod settings;
mod signals;
mod terminal;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use exit::{Failure, USAGE};
use settings::Unparsed;
use terminal::Colour;

/// What stands below the help of every command.
const EXIT_CODES: &str = "\
Exit codes and, with --json, the `verdict`. They do not depend on whether the output is read:
   0  accepted        or done
   1  rejected        genuine evidence that the policy does not accept
   2  untrusted       not genuine, or not about this peer; assume an attack
   3  no-verdict      none could be reached (unavailable); a retry may help
   4  misconfigured   a file, a policy or a setting cannot be used
  64                  the command line is wrong; not reported in JSON";

#[cfg(not(feature = "emulator"))]
const ABOUT_EMULATE: &str = "This build has no `emulate`: it comes with the crate's feature `emulator`.\n\n";
#[cfg(feature = "emulator")]
const ABOUT_EMULATE: &str = "";

/// What stands below the help of the program.
const ABOUT_VARIABLES: &str = "\
The environment variable of an option is BLINDBOX_ and its long name, such as BLINDBOX_POLICY for --policy; a flag takes true or \
false from it. An option on the command line overrides its variable, and variables that conflict with it.
Options that decide what is trusted (roots, key sets, --allow-...) have no variable: one that is set without the option is an \
error.\n\n";

/// Prove what a BlindBox (an application in an AMD SEV-SNP TEE on Azure) runs before sending it one byte.
#[derive(Parser)]
#[command(name = "blindbox-attest", version = version(), after_help = format!("{ABOUT_EMULATE}{ABOUT_VARIABLES}{EXIT_CODES}"))]
#[command(propagate_version = true, max_term_width = 120)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,

    /// When to use colour.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    color: Colour,

    #[command(flatten)]
    log: log::Options,
}

#[derive(Subcommand)]
enum Command {
    /// Attest a peer, or verify saved evidence, and show every check of the policy.
    #[command(after_help = EXIT_CODES)]
    Verify(verify::Arguments),
    /// Save a peer's evidence, and what vouches for it, in a directory; then report whether the policy accepts it.
    #[command(after_help = EXIT_CODES)]
    Fetch(fetch::Arguments),
    /// Say what files of evidence are and print them in full, verified or not.
    Inspect(inspect::Arguments),
    /// Say which published attacks the platform of a hardware report still allows, and by which source.
    Advisories(advisories::Arguments),
    /// Write, check and show policy files.
    Policy(policy::Arguments),
    /// Print the host data that a CCE policy becomes, what the CCE policy leaves to others, and how it differs from another.
    HostData(host_data::Arguments),
    /// Serve a local plain-HTTP port whose other end is an attested session.
    #[command(after_help = EXIT_CODES)]
    Proxy(Box<proxy::Arguments>),
    /// Serve an emulated BlindBox, MAA and AMD on loopback, for tests.
    #[cfg(feature = "emulator")]
    Emulate(emulate::Arguments),
    /// Print shell completions.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write a manual page for each command into a directory.
    #[command(hide = true)]
    ManPages {
        /// The directory, which must exist.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// The version of the package, with the commit if `BLINDBOX_COMMIT` was set for the build.
fn version() -> &'static str {
    match option_env!("BLINDBOX_COMMIT") {
        // clap wants it for as long as the program runs.
        Some(commit) => format!("{} ({commit})", env!("CARGO_PKG_VERSION")).leak(),
        None => env!("CARGO_PKG_VERSION"),
    }
}

fn main() -> ExitCode {
    let parsed = settings::parse(CommandLine::command(), std::env::args_os().collect());
    let arguments = match parsed.and_then(|matches| Ok(CommandLine::from_arg_matches(&matches)?)) {
        Ok(arguments) => arguments,
        Err(Unparsed::Arguments(error)) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
        Err(Unparsed::File(failure, json)) => return failure.report(json),
    };
    terminal::set_colour(arguments.color);
    arguments.log.install();
    let json = arguments.command.json();
    run(arguments.command).unwrap_or_else(|failure| failure.report(json))
}

impl Command {
    /// Whether a machine reads what is printed.
    fn json(&self) -> bool {
        match self {
            Self::Verify(arguments) => arguments.json,
            Self::Fetch(arguments) => arguments.json,
            Self::Advisories(arguments) => arguments.json,
            Self::Policy(arguments) => arguments.json(),
            Self::HostData(arguments) => arguments.json,
            Self::Proxy(arguments) => arguments.json,
            Self::Inspect(_) | Self::Completions { .. } | Self::ManPages { .. } => false,
            #[cfg(feature = "emulator")]
            Self::Emulate(_) => false,
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Verify(arguments) => wait_for(verify::run(arguments)),
        Command::Fetch(arguments) => wait_for(fetch::run(arguments)),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Advisories(arguments) => advisories::run(&arguments),
        Command::Policy(arguments) => wait_for(policy::run(arguments)),
        Command::HostData(arguments) => host_data::run(&arguments),
        Command::Proxy(arguments) => wait_for(proxy::run(*arguments)),
        #[cfg(feature = "emulator")]
        Command::Emulate(arguments) => wait_for(emulate::run(arguments)),
        Command::Completions { shell } => Ok(exit::ended(0, exit::print_styled(&completions(shell)))),
        Command::ManPages { directory } => {
            match clap_mangen::generate_to(settings::with_variables(CommandLine::command()), &directory) {
                Ok(()) => Ok(ExitCode::SUCCESS),
                Err(error) => Err(files::about(&directory, error)),
            }
        }
    }
}

/// A script for a shell. The one for bash comes to nothing behind a hyphen in a program's name: the parts of clap_complete write
/// it in two ways (found in 4.6.11). So that script is made for a name without one, and registered for the right one.
fn completions(shell: Shell) -> String {
    let name = if shell == Shell::Bash { "blindbox_attest" } else { "blindbox-attest" };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), name, &mut script);
    let script = String::from_utf8_lossy(&script);
    let registered = |line: &str| match line.strip_suffix(" blindbox_attest") {
        Some(registers) if line.trim_start().starts_with("complete ") => format!("{registers} blindbox-attest\n"),
        _ => format!("{line}\n"),
    };
    script.lines().map(registered).collect()
}

fn wait_for(work: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::setting(format!("the threads of the runtime cannot be started: {error}")))?;
    let done = runtime.block_on(work);
    // A task may still wait for a response that is not needed any more.
    runtime.shutdown_background();
    done
}

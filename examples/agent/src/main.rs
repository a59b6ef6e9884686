//! `blindbox-agent --config agent.toml`

use std::path::PathBuf;
use std::process::ExitCode;

use blindbox_agent::{Agent, AzureVm, Config, Loopback, SecurityContext, Sidecar, Source};
use clap::Parser;

/// Ends TLS with a key made here, attests that key, and passes everything else to the application
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration, TOML
    #[arg(long)]
    config: PathBuf,
    /// Take evidence from Microsoft's SKR sidecar at this address, such as http://127.0.0.1:8080, in place of the guest
    /// device. Weaker: whatever can post to it can forge the binding
    #[arg(long)]
    sidecar: Option<Loopback>,
    /// Read the configuration, report whether it can be used, and stop. Needs no TEE
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| {
        let ended = runtime.block_on(run(arguments));
        // A device that does not respond must not hold up the end of the process.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("blindbox-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::read(&arguments.config)?;
    config.sidecar = arguments.sidecar.or(config.sidecar);
    config.check()?;
    if arguments.check {
        eprintln!("blindbox-agent: {} can be used", arguments.config.display());
        return Ok(());
    }
    let source = source(&config)?;
    let mut agent = Agent::start(&config, source).await?;
    eprintln!("blindbox-agent: listening on {}", agent.address());
    tokio::select! {
        () = agent.finished() => Err("a part of the agent ended".into()),
        () = asked_to_end() => Ok(()),
    }
}

fn source(config: &Config) -> Result<Source, Box<dyn std::error::Error>> {
    if let Some(address) = config.sidecar {
        eprintln!("blindbox-agent: evidence from the sidecar: any code in this container group can forge the binding");
        return Ok(Source::Sidecar(Sidecar::new(address)));
    }
    if let Some(vm) = &config.azure_vm {
        return Ok(Source::AzureVm(std::sync::Arc::new(AzureVm::new(vm)?)));
    }
    let context = SecurityContext::find(config.security_context.as_deref())?;
    #[cfg(target_os = "linux")]
    return Ok(Source::Device(std::sync::Arc::new(blindbox_agent::GuestDevice), context));
    #[cfg(not(target_os = "linux"))]
    return Err(format!("there is no guest device on this system, only {context:?}").into());
}

async fn asked_to_end() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = terminate.recv() => return,
            _ = tokio::signal::ctrl_c() => return,
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

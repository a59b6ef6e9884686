//! Generates the classes over the native part: `bindgen kotlin|swift LIBRARY CONFIG DIRECTORY`. The library must not be stripped: what is
//! generated is described in it.

use std::process::ExitCode;

use uniffi_bindgen::bindings::{GenerateOptions, TargetLanguage, generate};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bindgen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let [language, library, config, directory] = arguments else {
        return Err("expected kotlin or swift, a library, a file of settings, and a directory".into());
    };
    let language = match language.as_str() {
        "kotlin" => TargetLanguage::Kotlin,
        "swift" => TargetLanguage::Swift,
        other => return Err(format!("expected kotlin or swift, found {other}").into()),
    };
    Ok(generate(GenerateOptions {
        languages: vec![language],
        source: library.into(),
        out_dir: directory.into(),
        config_override: Some(config.into()),
        ..GenerateOptions::default()
    })?)
}

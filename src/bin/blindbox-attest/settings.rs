//! Where options come from: the command line, then the environment, then a configuration file.
//!
//! Each option has a variable, `BLINDBOX_` and its long name, and each setting of a file has the name of an option. What stands
//! higher wins, also over a lower setting that conflicts with it; within one place conflicts are errors, as on the command line.
//!
//! What decides what is trusted is the exception ([`decides_trust`]): the environment is inherited from processes that no one who
//! reads the command line sees, so it neither sets such an option nor names the file that does.
//!
//! The arguments are parsed more than once, because clap decides conflicts and required options during a parse and its result
//! cannot be added to afterwards. A first parse without these rules says which options the command line has, and so which variables and
//! settings count; each setting is parsed alone, so that its error names the file; the last parse has all of it, under every rule.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::builder::{BoolishValueParser, Resettable, TypedValueParser as _};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Id};
use toml::{Table, Value};

use crate::exit::Failure;
use crate::files;

/// The option that names a configuration file, of the commands that have one.
const CONFIG: &str = "config";

/// Why there are no options.
pub enum Unparsed {
    /// The command line or a variable; a request for help is one too.
    Arguments(clap::Error),
    /// The configuration file, and whether the failure is to be reported in JSON.
    File(Box<Failure>, bool),
}

impl From<clap::Error> for Unparsed {
    fn from(error: clap::Error) -> Self {
        Self::Arguments(error)
    }
}

/// The options of this process.
pub fn parse(command: Command, arguments: Vec<OsString>) -> Result<ArgMatches, Unparsed> {
    let mut command = with_variables(command);
    // Which options are on the command line can be asked only of one that is accepted.
    let given = match relaxed(command.clone()).try_get_matches_from(&arguments) {
        Ok(given) => given,
        Err(error) => return Err(command.try_get_matches_from(arguments).err().unwrap_or(error).into()),
    };
    let (path, matches) = called(&given);
    let on_line: Vec<Id> = matches.ids().filter(|id| is_on_line(matches, id)).cloned().collect();
    let conflicts = Conflicts::of(&command, &path);
    let is_open = |arg: &&Arg| !on_line.contains(arg.get_id()) && !conflicts.any(arg.get_id(), &on_line);
    let refused = options(&command, &path).into_iter().filter(is_open).find_map(refused_variable);
    if let Some(message) = refused {
        return Err(command.error(ErrorKind::ArgumentConflict, message).into());
    }
    command = with_subcommand(command, &path, &|command| {
        // A variable that says nothing, or that something on the command line excludes, is none.
        command.mut_args(|arg| {
            let gives_way = conflicts.any(arg.get_id(), &on_line) || !says_something(&arg);
            if gives_way { arg.env(Resettable::Reset) } else { arg }
        })
    });
    let mut settings = Vec::new();
    if let Some(file) = config_file(&command, &path, matches) {
        let json = matches.try_get_one::<bool>("json").ok().flatten().copied().unwrap_or_default();
        let options = options(&command, &path);
        let variables = options.iter().filter(|arg| variable_of(arg).is_some()).map(|arg| arg.get_id().clone());
        let higher: Vec<Id> = on_line.iter().cloned().chain(variables).collect();
        let in_file = |failure| Unparsed::File(Box::new(failure), json);
        let read = read(&file, &command, &path).map_err(in_file)?;
        let trust = options.iter().find(|arg| decides_trust(arg) && read.iter().any(|(id, _)| id == arg.get_id()));
        if let Some(option) = trust.filter(|_| !on_line.iter().any(|id| id == CONFIG)) {
            let why = "decides what is trusted, and BLINDBOX_CONFIG names this file; name it with --config";
            return Err(in_file(files::about(&file, format!("{}: {why}", name(option).unwrap_or_default()))));
        }
        let needed = |id: &Id| !higher.contains(id) && !conflicts.any(id, &higher);
        settings = read.into_iter().filter(|(id, _)| needed(id)).flat_map(|(_, arguments)| arguments).collect();
    }
    Ok(command.try_get_matches_from(inserted(arguments, settings))?)
}

/// The same command whose options have variables, and whose flags take `true` and `false` from them.
pub fn with_variables(command: Command) -> Command {
    let own = |arg: Arg| {
        let own_variable = variable(&arg).filter(|_| arg.get_env().is_none() && !decides_trust(&arg));
        let Some(name) = own_variable else { return arg };
        let arg = if is_flag(&arg) { arg.value_parser(BoolishValueParser::new()) } else { arg };
        let hidden = arg.is_hide_set();
        arg.env(name).hide_env_values(true).hide_env(hidden)
    };
    command.mut_args(own).mut_subcommands(with_variables)
}

/// `BLINDBOX_POLICY` of `--policy`. Of what has no long name only the URL has one.
fn variable(arg: &Arg) -> Option<String> {
    if matches!(arg.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version) {
        return None;
    }
    let name = name(arg)?;
    Some(format!("BLINDBOX_{}", name.to_uppercase().replace('-', "_")))
}

/// Whether an option says whose statements are believed, or relaxes a check.
fn decides_trust(arg: &Arg) -> bool {
    let relaxes = |name: &str| name.starts_with("allow-") || name.starts_with("trust-");
    matches!(arg.get_help_heading(), Some("Trust" | "Relaxations")) || arg.get_long().is_some_and(relaxes)
}

/// What is wrong where the variable is set that an option which decides what is trusted does not have.
fn refused_variable(arg: &Arg) -> Option<String> {
    let variable = variable(arg).filter(|_| decides_trust(arg))?;
    let value = std::env::var_os(&variable)?;
    let option = name(arg).unwrap_or_default();
    is_given(arg, &value).then(|| {
        format!("{variable} is set, and the environment does not decide what is trusted; give --{option} \"${variable}\", or unset it")
    })
}

/// What a setting is called in a file.
fn name(arg: &Arg) -> Option<&str> {
    arg.get_long().or_else(|| (arg.get_id() == "url").then_some("url"))
}

fn is_flag(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

fn variable_of(arg: &Arg) -> Option<OsString> {
    std::env::var_os(arg.get_env()?)
}

/// Whether a variable sets an option: an empty one does not, nor a flag that is `false`, nor one that Kubernetes set.
fn says_something(arg: &Arg) -> bool {
    variable_of(arg).is_none_or(|value| is_given(arg, &value))
}

/// Kubernetes gives the containers of a cluster with a Service named `blindbox` the variable `BLINDBOX_PORT=tcp://10.0.0.1:443`, and
/// similar ones for other names: not a port, and not meant for this program.
fn is_of_kubernetes(arg: &Arg, value: &OsStr) -> bool {
    let is_port = name(arg).is_some_and(|name| name == "port" || name.ends_with("-port"));
    is_port
        && value
            .to_str()
            .is_some_and(|value| ["tcp://", "udp://", "sctp://"].iter().any(|start| value.starts_with(start)))
}

fn is_given(arg: &Arg, value: &OsStr) -> bool {
    let is_false =
        |value: &OsStr| BoolishValueParser::new().parse_ref(&Command::new(""), None, value).is_ok_and(|set| !set);
    !(value.is_empty() || is_flag(arg) && is_false(value) || is_of_kubernetes(arg, value))
}

/// The command without what options require or exclude, and without variables.
fn relaxed(command: Command) -> Command {
    let free = |arg: Arg| {
        let none = || Resettable::<Id>::Reset;
        let arg = arg.required(false).env(Resettable::Reset);
        arg.conflicts_with(none()).requires(none()).required_unless_present(none())
    };
    command.mut_args(free).mut_subcommands(relaxed)
}

/// The names of the subcommand that is called, and what it is given.
fn called(given: &ArgMatches) -> (Vec<String>, &ArgMatches) {
    let (mut path, mut matches) = (Vec::new(), given);
    while let Some((name, below)) = matches.subcommand() {
        path.push(name.to_owned());
        matches = below;
    }
    (path, matches)
}

/// The command with every command on the way to a subcommand changed.
fn with_subcommand(command: Command, path: &[String], change: &dyn Fn(Command) -> Command) -> Command {
    let command = change(command);
    match path {
        [name, below @ ..] => command.mut_subcommand(name, |subcommand| with_subcommand(subcommand, below, change)),
        [] => command,
    }
}

/// The options of a subcommand, with those of every command.
fn options<'c>(command: &'c Command, path: &[String]) -> Vec<&'c Arg> {
    let mut options: Vec<&Arg> = command.get_arguments().filter(|arg| arg.is_global_set()).collect();
    let subcommand = path.iter().try_fold(command, |command, name| command.find_subcommand(name));
    options.extend(subcommand.into_iter().flat_map(Command::get_arguments));
    options
}

/// Which options of a subcommand exclude each other.
struct Conflicts(Vec<(Id, Id)>);

impl Conflicts {
    fn of(command: &Command, path: &[String]) -> Self {
        let Some(subcommand) = path.iter().try_fold(command, |command, name| command.find_subcommand(name)) else {
            return Self(Vec::new());
        };
        let of = |arg| subcommand.get_arg_conflicts_with(arg).into_iter().map(Arg::get_id);
        let pairs =
            subcommand.get_arguments().flat_map(|arg| of(arg).map(|other| (arg.get_id().clone(), other.clone())));
        Self(pairs.collect())
    }

    fn any(&self, id: &Id, with: &[Id]) -> bool {
        let Self(pairs) = self;
        pairs.iter().any(|(one, other)| one == id && with.contains(other) || other == id && with.contains(one))
    }
}

fn is_on_line(matches: &ArgMatches, id: &Id) -> bool {
    matches.value_source(id.as_str()) == Some(ValueSource::CommandLine)
}

fn config_file(command: &Command, path: &[String], given: &ArgMatches) -> Option<PathBuf> {
    let option = options(command, path).into_iter().find(|arg| arg.get_id() == CONFIG)?;
    given.get_one::<PathBuf>(CONFIG).cloned().or_else(|| variable_of(option).map(PathBuf::from))
}

/// The settings of a file, as the options that they are.
fn read(file: &Path, command: &Command, path: &[String]) -> Result<Vec<(Id, Vec<OsString>)>, Failure> {
    let text = files::read_text(file)?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        files::about(file, format!("line {line}: {}", error.message()))
    })?;
    let (options, mut settings) = (options(command, path), Vec::new());
    for (key, value) in &table {
        let wrong = |why: String| files::about(file, format!("{key}: {why}"));
        let known = options.iter().find(|arg| name(arg) == Some(key) && arg.get_id() != CONFIG);
        let option =
            known.ok_or_else(|| wrong("unknown setting; expected the long name of an option, or url".to_owned()))?;
        let arguments = as_arguments(option, value).map_err(wrong)?;
        // Alone, so that what is wrong with a value is reported with the name of the file.
        let mut alone = vec![OsString::from(command.get_name())];
        alone.extend(path.iter().map(OsString::from).chain(arguments.iter().cloned()));
        let check = relaxed(command.clone()).try_get_matches_from(alone);
        check.map_err(|error| files::about(file, first_line(&error)))?;
        settings.push((option.get_id().clone(), arguments));
    }
    Ok(settings)
}

fn as_arguments(option: &Arg, value: &Value) -> Result<Vec<OsString>, String> {
    let with_value = |value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            other => return Err(format!("expected a string or a number, found a {}", other.type_str())),
        };
        Ok(match option.get_long() {
            Some(name) => OsString::from(format!("--{name}={text}")),
            // A value that looks like an option must not become one.
            None if text.starts_with('-') => return Err("expected a URL".to_owned()),
            None => text.into(),
        })
    };
    match (option.get_action(), value) {
        (ArgAction::SetTrue, Value::Boolean(false)) => Ok(Vec::new()),
        (ArgAction::SetTrue, Value::Boolean(true)) => {
            Ok(vec![format!("--{}", name(option).unwrap_or_default()).into()])
        }
        (ArgAction::SetTrue, other) => Err(format!("expected true or false, found a {}", other.type_str())),
        (ArgAction::Count, Value::Integer(times @ 0..=8)) => {
            let flag = OsString::from(format!("--{}", name(option).unwrap_or_default()));
            Ok(vec![flag; usize::try_from(*times).unwrap_or_default()])
        }
        (ArgAction::Count, _) => Err("expected a number from 0 to 8".to_owned()),
        (ArgAction::Append, Value::Array(values)) => values.iter().map(with_value).collect(),
        (_, value) => with_value(value).map(|argument| vec![argument]),
    }
}

/// What clap says is wrong, without the advice that is for a command line.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Options behind those of the command line, before the `--` that ends options.
fn inserted(mut arguments: Vec<OsString>, settings: Vec<OsString>) -> Vec<OsString> {
    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let rest = arguments.split_off(end);
    arguments.into_iter().chain(settings).chain(rest).collect()
}

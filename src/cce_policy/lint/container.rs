//! Findings: one container.

use super::super::finding::ContainerFinding;
use super::super::framework::{self, Version};
use super::super::pattern::{Openness, openness};
use super::super::rego::Data;
use super::rules::Rules;
use super::{SHOWN, listed};
use crate::types::shorten;

/// Every member that a container has, in framework 0.5.0, but those of Windows.
const MEMBERS: [&str; 16] = [
    "allow_elevated",
    "allow_stdio_access",
    "capabilities",
    "command",
    "env_rules",
    "exec_processes",
    "id",
    "layers",
    "mounts",
    "name",
    "no_new_privileges",
    "seccomp_profile_sha256",
    "signals",
    "user",
    "working_dir",
    "mounted_cim",
];

pub(super) fn findings(container: &Data, place: &str, framework: Option<Version>) -> Rules {
    let mut rules = Rules::new(place);
    let known: Vec<&str> = MEMBERS.into_iter().chain(framework::WINDOWS).collect();
    rules.members(container, &known);
    for (name, finding) in
        [("allow_elevated", ContainerFinding::Elevated), ("allow_stdio_access", ContainerFinding::StdioAccess)]
    {
        rules.switch(name, container.member(name), finding);
    }
    processes(container.member("exec_processes"), &mut rules);
    rules.environment(container.member("env_rules"));
    rules.mounts(container.member("mounts"));
    user(container.member("user"), framework, &mut rules);
    capabilities(container.member("capabilities"), &mut rules);
    hardening(container, framework, &mut rules);
    image(container, &mut rules);
    signals(container.member("signals"), &mut rules);
    for member in framework::WINDOWS.into_iter().filter(|member| container.member(member).is_some()) {
        rules.add(ContainerFinding::WindowsMember { member: member.to_owned() });
    }
    rules
}

/// A command as it is typed, shortened. Windows has it as one text.
pub(super) fn command(value: Option<&Data>) -> String {
    let words = match value {
        Some(Data::Text(line)) => line.clone(),
        Some(value) => value.texts().map_or_else(|| "(not read)".to_owned(), |words| words.join(" ")),
        None => "(none)".to_owned(),
    };
    shorten(&words, SHOWN)
}

fn processes(value: Option<&Data>, rules: &mut Rules) {
    let mut commands = Vec::new();
    match value {
        None => {}
        Some(Data::Array(processes)) => {
            for process in processes {
                rules.members_at("exec_processes[]", process, &framework::PROCESS);
                commands.push(command(process.member("command")));
            }
        }
        Some(_) => rules.not_read("exec_processes"),
    }
    if !commands.is_empty() {
        rules.add(ContainerFinding::ExecProcesses { commands: listed(commands) });
    }
}

/// Whether a member that is not there is one that older frameworks leave open. Newer ones refuse the container.
fn open_if_absent(member: &str, framework: Option<Version>) -> bool {
    let introduced = framework::OPEN_BEFORE.into_iter().find(|(name, _)| *name == member);
    introduced.is_some_and(|(_, introduced)| framework.is_none_or(|framework| framework < introduced))
}

fn user(value: Option<&Data>, framework: Option<Version>, rules: &mut Rules) {
    let mut open = Vec::new();
    match value {
        None if open_if_absent("user", framework) => open.push("no user is named".to_owned()),
        None => {}
        // As Windows containers have it: one name.
        Some(Data::Text(_)) => rules.add(ContainerFinding::WindowsMember { member: "user".to_owned() }),
        Some(user @ Data::Object(_)) => {
            rules.members_at("user", user, &framework::USER);
            match user.member("user_idname") {
                Some(name) => identity("user_idname", name, &mut open, rules),
                None => rules.not_read("user.user_idname"),
            }
            match user.member("group_idnames").map(Data::items) {
                Some(Some(groups)) => {
                    groups.iter().for_each(|group| identity("group_idnames", group, &mut open, rules))
                }
                Some(None) => rules.not_read("user.group_idnames"),
                None => {}
            }
        }
        Some(_) => rules.not_read("user"),
    }
    if !open.is_empty() {
        rules.add(ContainerFinding::UserOpen { rules: listed(open) });
    }
}

fn identity(member: &str, rule: &Data, open: &mut Vec<String>, rules: &mut Rules) {
    rules.members_at(&format!("user.{member}"), rule, &["pattern", "strategy"]);
    let text = |name: &str| rule.member(name).and_then(Data::text);
    match (text("strategy"), text("pattern")) {
        (Some("any"), _) => open.push(format!("{member} any")),
        (Some("id" | "name"), Some(_)) => {}
        (Some("re2"), Some(pattern)) => {
            if openness(pattern) != Openness::Literal {
                open.push(format!("{member} {:?}", shorten(pattern, SHOWN)));
            }
        }
        _ => rules.not_read(&format!("user.{member}")),
    }
}

fn capabilities(value: Option<&Data>, rules: &mut Rules) {
    let mut names = Vec::new();
    match value {
        // Null stands for the defaults, which follow `allow_elevated`.
        None | Some(Data::Null) => {}
        Some(sets @ Data::Object(members)) => {
            rules.members_at("capabilities", sets, &framework::CAPABILITIES);
            for (name, set) in members {
                match set.texts() {
                    Some(listed) => names.extend(
                        listed
                            .into_iter()
                            .filter(|name| !framework::UNPRIVILEGED.contains(name))
                            .map(|name| shorten(name, SHOWN)),
                    ),
                    None => rules.not_read(&format!("capabilities.{}", shorten(name, SHOWN))),
                }
            }
        }
        Some(_) => rules.not_read("capabilities"),
    }
    names.sort_unstable();
    names.dedup();
    if !names.is_empty() {
        rules.add(ContainerFinding::Capabilities { names: listed(names) });
    }
}

fn hardening(container: &Data, framework: Option<Version>, rules: &mut Rules) {
    match container.member("no_new_privileges") {
        Some(Data::Bool(true)) => {}
        Some(Data::Bool(false)) => rules.add(ContainerFinding::NewPrivileges),
        Some(_) => rules.not_read("no_new_privileges"),
        None if open_if_absent("no_new_privileges", framework) => rules.add(ContainerFinding::NewPrivileges),
        None => {}
    }
    match container.member("seccomp_profile_sha256") {
        Some(Data::Text(digest)) if digest.is_empty() => rules.add(ContainerFinding::NoSeccompProfile),
        Some(Data::Text(_)) => {}
        Some(_) => rules.not_read("seccomp_profile_sha256"),
        None if open_if_absent("seccomp_profile_sha256", framework) => rules.add(ContainerFinding::NoSeccompProfile),
        None => {}
    }
}

/// What the image, its command and its directory must be. Without one of them the framework refuses the container; of another
/// shape they are not read.
fn image(container: &Data, rules: &mut Rules) {
    match container.member("layers").map(Data::texts) {
        Some(Some(layers)) if layers.is_empty() => rules.add(ContainerFinding::NoLayers),
        Some(None) => rules.not_read("layers"),
        _ => {}
    }
    if container.member("command").is_some_and(|command| command.texts().is_none() && command.text().is_none()) {
        rules.not_read("command");
    }
    if container.member("working_dir").is_some_and(|path| path.text().is_none()) {
        rules.not_read("working_dir");
    }
}

/// 9 and 15 end a container, which its host can do in any case; frameworks before 0.4.1 add them to every list.
fn signals(value: Option<&Data>, rules: &mut Rules) {
    let mut signals = Vec::new();
    for signal in value.and_then(Data::items).unwrap_or_default() {
        match signal {
            Data::Number(number) | Data::Text(number) => signals.push(shorten(number, SHOWN)),
            _ => rules.not_read("signals"),
        }
    }
    if value.is_some_and(|value| value.items().is_none()) {
        rules.not_read("signals");
    }
    signals.retain(|signal| signal != "9" && signal != "15");
    if !signals.is_empty() {
        rules.add(ContainerFinding::Signals { signals: listed(signals) });
    }
}

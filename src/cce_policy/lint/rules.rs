//! Findings: rules for variables and mounts, which containers, processes and the platform have alike.

use std::collections::BTreeSet;

use super::super::finding::{ContainerFinding, MountOrigin};
use super::super::framework;
use super::super::pattern::{Openness, Variable, is_anchored, openness, variable};
use super::super::rego::Data;
use super::{SHOWN, listed};
use crate::types::shorten;

/// The findings at one place of a policy.
pub(super) struct Rules {
    place: String,
    findings: Vec<ContainerFinding>,
    unknown: BTreeSet<String>,
    not_read: BTreeSet<String>,
}

impl Rules {
    pub(super) fn new(place: impl Into<String>) -> Self {
        Self { place: place.into(), findings: Vec::new(), unknown: BTreeSet::new(), not_read: BTreeSet::new() }
    }

    pub(super) fn take_findings(&mut self) -> Vec<ContainerFinding> {
        std::mem::take(&mut self.findings)
    }

    /// What is not known, and what is known and of another shape.
    pub(super) fn into_unread(self) -> (BTreeSet<String>, BTreeSet<String>) {
        (self.unknown, self.not_read)
    }

    pub(super) fn add(&mut self, finding: ContainerFinding) {
        self.findings.push(finding);
    }

    pub(super) fn not_read(&mut self, member: &str) {
        self.not_read.insert(format!("{}: {member}", self.place));
    }

    fn unknown(&mut self, member: &str) {
        self.unknown.insert(format!("{}: {member}", self.place));
    }

    /// Every member must be known, and stand once.
    pub(super) fn members(&mut self, object: &Data, known: &[&str]) {
        self.members_at("", object, known);
    }

    pub(super) fn members_at(&mut self, at: &str, object: &Data, known: &[&str]) {
        let Data::Object(members) = object else {
            self.not_read(if at.is_empty() { "an entry" } else { at });
            return;
        };
        let mut seen = BTreeSet::new();
        let dot = if at.is_empty() { "" } else { "." };
        for (name, _) in members {
            if !known.contains(&name.as_str()) {
                self.unknown(&format!("{at}{dot}{}", shorten(name, SHOWN)));
            } else if !seen.insert(name) {
                self.not_read(&format!("{at}{dot}{name} (twice)"));
            }
        }
    }

    fn list<'a>(&mut self, name: &str, value: Option<&'a Data>) -> &'a [Data] {
        match value {
            None => &[],
            Some(Data::Array(items)) => items,
            Some(_) => {
                self.not_read(name);
                &[]
            }
        }
    }

    /// Both forms of rules, the older `pattern` for `NAME=VALUE` and the newer one with `name` and `value`. A rule that has
    /// both is met by either.
    pub(super) fn environment(&mut self, value: Option<&Data>) {
        let (mut names, mut values, mut unanchored) = (Vec::new(), Vec::new(), Vec::new());
        for rule in self.list("env_rules", value) {
            self.members_at("env_rules[]", rule, &framework::ENV_RULE);
            let text = |name: &str| rule.member(name).and_then(Data::text);
            let mut read = false;
            if let (Some(pattern), Some(strategy)) = (text("pattern"), text("strategy")) {
                read = true;
                let shown = shorten(pattern, SHOWN);
                match strategy {
                    "string" => {}
                    "re2" => {
                        let found = variable(pattern);
                        self.sort(found, &shown, &mut names, &mut values);
                        // Where it matches anywhere, a literal one admits any name and value around it.
                        if found.name != Openness::Anything && !is_anchored(pattern) {
                            unanchored.push(shown);
                        }
                    }
                    _ => self.unknown("env_rules[].strategy"),
                }
            }
            let newer = ["name", "name_strategy", "value", "value_strategy"].map(text);
            if let [Some(name), Some(name_strategy), Some(value), Some(value_strategy)] = newer {
                read = true;
                let openness =
                    [(name, name_strategy), (value, value_strategy)].map(|(pattern, strategy)| match strategy {
                        "string" => Openness::Literal,
                        "re2" => openness(pattern),
                        _ => {
                            self.unknown("env_rules[].name_strategy or value_strategy");
                            Openness::Anything
                        }
                    });
                let shown = shorten(&format!("{name}={value}"), SHOWN);
                let [name, value] = openness;
                self.sort(Variable { name, value }, &shown, &mut names, &mut values);
            }
            // What has no whole form of rule matches nothing today, and is not known.
            if !read {
                self.not_read("env_rules[]");
            }
        }
        if !names.is_empty() {
            self.add(ContainerFinding::EnvironmentNamesOpen { patterns: listed(names) });
        }
        if !values.is_empty() {
            self.add(ContainerFinding::EnvironmentValuesOpen { patterns: listed(values) });
        }
        if !unanchored.is_empty() {
            self.add(ContainerFinding::UnanchoredPatterns { patterns: listed(unanchored) });
        }
    }

    fn sort(&mut self, open: Variable, shown: &str, names: &mut Vec<String>, values: &mut Vec<String>) {
        match (open.name, open.value) {
            (Openness::Anything, _) => self.add(ContainerFinding::EnvironmentOpen { pattern: shown.to_owned() }),
            (Openness::Partial, _) => names.push(shown.to_owned()),
            (Openness::Literal, Openness::Literal) => {}
            (Openness::Literal, _) => values.push(shown.to_owned()),
        }
    }

    /// A switch that is on, which is a finding.
    pub(super) fn switch(&mut self, name: &str, value: Option<&Data>, finding: ContainerFinding) {
        match value {
            None | Some(Data::Bool(false)) => {}
            Some(Data::Bool(true)) => self.add(finding),
            Some(_) => self.not_read(name),
        }
    }

    pub(super) fn mounts(&mut self, value: Option<&Data>) {
        // Kinds of file systems that hold what the kernel makes: nothing comes from elsewhere.
        const OF_THE_KERNEL: [&str; 8] = ["cgroup", "cgroup2", "devpts", "mqueue", "proc", "ramfs", "sysfs", "tmpfs"];
        for mount in self.list("mounts", value) {
            self.members_at("mounts[]", mount, &framework::MOUNT);
            let text = |name: &str| mount.member(name).and_then(Data::text);
            let options = mount.member("options").and_then(Data::texts);
            let (Some(source), Some(destination), Some(kind), Some(options)) =
                (text("source"), text("destination"), text("type"), options)
            else {
                self.not_read("mounts[]");
                continue;
            };
            // Runtimes take no notice of the type of a bind mount (`runc`, specconv).
            let is_bind = options.iter().any(|option| matches!(*option, "bind" | "rbind"));
            if is_bind || !OF_THE_KERNEL.contains(&kind) {
                self.add(ContainerFinding::Mount {
                    source: shorten(source, SHOWN),
                    destination: shorten(destination, SHOWN),
                    writable: options.contains(&"rw") || !options.contains(&"ro"),
                    origin: origin(source),
                });
            }
        }
    }
}

/// By the directories that Azure Container Instances makes for each kind of volume. The source is a pattern, so what its fixed
/// part does not name, it may be.
fn origin(source: &str) -> MountOrigin {
    const KINDS: [(&str, MountOrigin); 5] = [
        ("azurefilevolume", MountOrigin::AzureFiles),
        ("secretsvolume", MountOrigin::Secrets),
        ("emptydir", MountOrigin::EmptyDir),
        ("resolvconf", MountOrigin::NameServers),
        ("gitrepovolume", MountOrigin::GitRepository),
    ];
    if source.starts_with("plan9://") {
        return MountOrigin::Host;
    }
    let Some(path) = source.strip_prefix("sandbox://") else { return MountOrigin::Unknown };
    let fixed = path.to_ascii_lowercase();
    // Which leads out of any directory.
    if fixed.split('/').any(|part| part == "..") {
        return MountOrigin::AnyShared;
    }
    // A directory counts only if all before it is fixed too: `.*/emptydir/` may be any.
    let mut parts = fixed.split('/').take_while(|part| openness(part) == Openness::Literal);
    let kind = parts.find_map(|part| KINDS.into_iter().find(|(name, _)| *name == part));
    kind.map_or(MountOrigin::AnyShared, |(_, origin)| origin)
}

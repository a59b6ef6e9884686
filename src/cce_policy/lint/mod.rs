//! Findings: what stands at the top level of a policy.
//!
//! By shape: every name is either known and of the shape that is expected, or a finding.

mod container;
mod rules;

use super::CcePolicy;
use super::finding::{CcePolicyFinding, CcePolicyFlag, ContainerFinding};
use super::framework::{self, Version};
use super::rego::{Data, Module};
use crate::types::shorten;

/// Characters of a name or pattern in a finding.
const SHOWN: usize = 100;

/// Items of a list in a finding; the rest is counted.
const LISTED: usize = 20;

pub(super) fn findings(policy: &CcePolicy) -> Vec<CcePolicyFinding> {
    let module = policy.module();
    let mut lint = Lint { findings: Vec::new(), framework: framework_version(&module) };
    if policy.digest().is_known_allow_all() {
        lint.add(CcePolicyFinding::KnownAllowAll);
    }
    lint.enforcement_points(&module);
    lint.flags(&module);
    lint.processes(&module);
    lint.containers(&module);
    lint.platform_rules(&module);
    lint.fragments(&module);
    lint.other_names(&module);
    lint.versions(&module);
    if let Some(first) = module.not_read.first() {
        lint.add(CcePolicyFinding::StatementsNotRead {
            count: module.not_read.len(),
            line: first.line,
            text: shorten(&first.text, 60),
        });
    }
    lint.findings
}

struct Lint {
    findings: Vec<CcePolicyFinding>,
    /// None if it is not said, which stands for the oldest.
    framework: Option<Version>,
}

fn framework_version(module: &Module) -> Option<Version> {
    let written = module.get("framework_version").or_else(|| module.get("framework_svn"));
    framework::version(written?.text()?)
}

/// Whether a value is `{"allowed": true, ...}`, or `{"allowed": false, ...}`.
fn allowed(value: &Data) -> Option<bool> {
    match value.member("allowed") {
        Some(Data::Bool(allowed)) => Some(*allowed),
        _ => None,
    }
}

/// At most [`LISTED`] items, and how many more there are.
fn listed(mut items: Vec<String>) -> Vec<String> {
    let more = items.len().saturating_sub(LISTED);
    if more > 0 {
        items.truncate(LISTED);
        items.push(format!("and {more} more"));
    }
    items
}

impl Lint {
    fn add(&mut self, finding: CcePolicyFinding) {
        self.findings.push(finding);
    }

    fn not_read(&mut self, place: impl Into<String>) {
        self.add(CcePolicyFinding::NotRead { place: place.into() });
    }

    fn unknown(&mut self, place: impl Into<String>) {
        self.add(CcePolicyFinding::Unknown { place: place.into() });
    }

    /// The list of a top-level name. Another shape is a finding.
    fn list<'a>(&mut self, module: &'a Module, name: &str) -> &'a [Data] {
        match module.get(name) {
            None => &[],
            Some(Data::Array(items)) => items,
            Some(_) => {
                self.not_read(name);
                &[]
            }
        }
    }

    fn enforcement_points(&mut self, module: &Module) {
        let always = |name: &str| module.get(name).and_then(allowed) == Some(true);
        if always("create_container") {
            self.add(CcePolicyFinding::AllowsEveryContainer);
        } else if module.get("containers").and_then(Data::items).is_none_or(<[Data]>::is_empty) {
            self.add(CcePolicyFinding::ContainersNotRead);
        }
        let mut others = Vec::new();
        let mut replaced = Vec::new();
        // By shape: whatever is always allowed, whether its name is known or not.
        for (name, value) in &module.assignments {
            match allowed(value) {
                Some(true) if name == "create_container" => {}
                Some(true) if name == "exec_in_container" || name == "exec_external" => {
                    self.add(CcePolicyFinding::AllowsEveryExec { enforcement_point: name.clone() });
                }
                Some(true) => others.push(shorten(name, SHOWN)),
                Some(false) => {}
                None if framework::ENFORCEMENT_POINTS.contains(&name.as_str())
                    && *value != Data::Path(format!("data.framework.{name}")) =>
                {
                    replaced.push(name.clone());
                }
                None => {}
            }
        }
        if !others.is_empty() {
            self.add(CcePolicyFinding::AllowsUnconditionally { enforcement_points: listed(others) });
        }
        for enforcement_point in replaced {
            self.add(CcePolicyFinding::EnforcementPointReplaced { enforcement_point });
        }
    }

    fn flags(&mut self, module: &Module) {
        for (name, value) in module.assignments.iter().filter(|(name, _)| name.starts_with("allow_")) {
            let known = CcePolicyFlag::ALL.into_iter().find(|flag| flag.name() == name);
            match (known, value) {
                (_, Data::Bool(false)) => {}
                (Some(flag), Data::Bool(true)) => self.add(CcePolicyFinding::FlagSet(flag)),
                (None, Data::Bool(true)) => {
                    self.add(CcePolicyFinding::UnknownFlagSet { name: shorten(name, SHOWN) });
                }
                _ => self.not_read(shorten(name, SHOWN)),
            }
        }
    }

    fn processes(&mut self, module: &Module) {
        let processes = self.list(module, "external_processes");
        let mut commands = Vec::new();
        let mut within = Vec::new();
        for process in processes {
            let command = container::command(process.member("command"));
            let mut rules = rules::Rules::new("external_processes[]");
            rules.members(process, &framework::EXTERNAL_PROCESS);
            rules.environment(process.member("env_rules"));
            let stdio = process.member("allow_stdio_access");
            rules.switch("allow_stdio_access", stdio, ContainerFinding::StdioAccess);
            within.push((command.clone(), rules));
            commands.push(command);
        }
        if !commands.is_empty() {
            self.add(CcePolicyFinding::ExternalProcesses { commands: listed(commands) });
        }
        for (command, rules) in within {
            self.take(rules, |finding| CcePolicyFinding::ExternalProcess { command: command.clone(), finding });
        }
    }

    fn containers(&mut self, module: &Module) {
        for (place, container) in self.list(module, "containers").iter().enumerate() {
            let name =
                ["name", "id"].iter().find_map(|name| container.member(name)?.text().filter(|text| !text.is_empty()));
            let label = name.map_or_else(|| format!("containers[{place}]"), |name| shorten(name, SHOWN));
            let found = container::findings(container, &format!("container {label:?}"), self.framework);
            self.take(found, |finding| CcePolicyFinding::Container { container: label.clone(), finding });
        }
    }

    fn platform_rules(&mut self, module: &Module) {
        for (place, rule) in self.list(module, "platform_rules").iter().enumerate() {
            let mut rules = rules::Rules::new(format!("platform_rules[{place}]"));
            rules.members(rule, &["env_rules", "mounts"]);
            rules.environment(rule.member("env_rules"));
            rules.mounts(rule.member("mounts"));
            self.take(rules, |finding| CcePolicyFinding::AnyContainer { rule: place, finding });
        }
    }

    fn members(&mut self, place: &str, object: &Data, known: &[&str]) {
        let mut rules = rules::Rules::new(place);
        rules.members(object, known);
        self.take_unread(rules);
    }

    fn take(&mut self, mut rules: rules::Rules, finding: impl Fn(ContainerFinding) -> CcePolicyFinding) {
        self.findings.extend(rules.take_findings().into_iter().map(finding));
        self.take_unread(rules);
    }

    fn take_unread(&mut self, rules: rules::Rules) {
        let (unknown, not_read) = rules.into_unread();
        unknown.into_iter().for_each(|place| self.unknown(place));
        not_read.into_iter().for_each(|place| self.not_read(place));
    }

    fn fragments(&mut self, module: &Module) {
        for (place, fragment) in self.list(module, "fragments").iter().enumerate() {
            let text = |name: &str| fragment.member(name).and_then(Data::text);
            let includes = fragment.member("includes").and_then(Data::texts);
            let (Some(issuer), Some(feed), Some(includes)) = (text("issuer"), text("feed"), includes) else {
                self.not_read(format!("fragments[{place}]"));
                continue;
            };
            self.members("fragments[]", fragment, &framework::FRAGMENT);
            let is_infrastructure = issuer == framework::INFRASTRUCTURE_ISSUER
                && feed == framework::INFRASTRUCTURE_FEED
                && includes.iter().all(|name| framework::INFRASTRUCTURE_INCLUDES.contains(name));
            if !is_infrastructure {
                let minimum_svn = match fragment.member("minimum_svn") {
                    Some(Data::Text(svn) | Data::Number(svn)) => shorten(svn, SHOWN),
                    _ => "(none)".to_owned(),
                };
                self.add(CcePolicyFinding::Fragment {
                    issuer: shorten(issuer, 200),
                    feed: shorten(feed, SHOWN),
                    minimum_svn,
                    includes: listed(includes.iter().map(|name| shorten(name, SHOWN)).collect()),
                });
            }
        }
        for list in self.list(module, "transparency_trust_lists") {
            let text = |name: &str| list.member(name).and_then(Data::text).unwrap_or_default();
            let (issuer, subject) = (shorten(text("issuer"), 200), shorten(text("subject"), SHOWN));
            self.members("transparency_trust_lists[]", list, &framework::TRUST_LIST);
            self.add(CcePolicyFinding::TrustList { issuer, subject });
        }
        let providers = self.list(module, "allowed_log_providers");
        if !providers.is_empty() {
            let names = providers.iter().map(|name| shorten(name.text().unwrap_or("(not a text)"), SHOWN)).collect();
            self.add(CcePolicyFinding::LogProviders { names: listed(names) });
        }
    }

    fn other_names(&mut self, module: &Module) {
        const READ: [&str; 11] = [
            "allowed_log_providers",
            "api_svn",
            "api_version",
            "containers",
            "external_processes",
            "fragments",
            "framework_svn",
            "framework_version",
            "platform_rules",
            "reason",
            "transparency_trust_lists",
        ];
        for (name, value) in &module.assignments {
            let name = name.as_str();
            let read = READ.contains(&name)
                || name.starts_with("allow_")
                || framework::ENFORCEMENT_POINTS.contains(&name)
                || allowed(value).is_some();
            if !read {
                self.unknown(shorten(name, SHOWN));
            }
        }
    }

    fn versions(&mut self, module: &Module) {
        const NAMES: [([&str; 2], Version, CcePolicyFinding); 2] = [
            (["api_version", "api_svn"], framework::API, CcePolicyFinding::NoApiVersion),
            (["framework_version", "framework_svn"], framework::FRAMEWORK, CcePolicyFinding::NoFrameworkVersion),
        ];
        for (names, known, missing) in NAMES {
            let found: Vec<_> = module.assignments.iter().filter(|(name, _)| names.contains(&name.as_str())).collect();
            if found.is_empty() {
                self.add(missing);
            }
            for (name, value) in found {
                let Some(written) = value.text() else {
                    self.not_read(name.clone());
                    continue;
                };
                match framework::version(written) {
                    None => self.not_read(name.clone()),
                    Some(version) if version > known => self
                        .add(CcePolicyFinding::NewerVersion { name: name.clone(), version: shorten(written, SHOWN) }),
                    Some(version) if known == framework::API => self.old_api(written, version),
                    Some(_) => {}
                }
            }
        }
    }

    fn old_api(&mut self, written: &str, version: Version) {
        let older = framework::ALLOWED_BEFORE.into_iter().filter(|(_, introduced)| version < *introduced);
        let enforcement_points: Vec<_> = older.map(|(name, _)| name).collect();
        if !enforcement_points.is_empty() {
            self.add(CcePolicyFinding::AllowedByOldApi { api_version: shorten(written, SHOWN), enforcement_points });
        }
    }
}

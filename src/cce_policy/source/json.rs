//! Policies in JSON: templates of Azure Resource Manager, files of parameters, manifests of Kubernetes.
//!
//! Azure Resource Manager takes names of members in any case, so they are compared without it here.

use super::{ANNOTATION, CcePolicySourceError, FoundCcePolicy, MEMBER, value};
use crate::json::{Object, Value};
use crate::types::shorten;

pub(super) fn policies(document: &Value<'_>) -> Result<Vec<FoundCcePolicy>, CcePolicySourceError> {
    let mut search = Search { found: Vec::new() };
    search.walk(document, &Scope { path: String::new(), name: None, template: None })?;
    if search.found.is_empty() {
        let found = format!("JSON with neither ({})", document.json_type());
        return Err(CcePolicySourceError::NoCcePolicy { found });
    }
    Ok(search.found)
}

/// Where the search is. The parser bounds the depth.
struct Scope<'a> {
    path: String,
    /// The name of the closest resource.
    name: Option<String>,
    /// The closest template, whose parameters and variables its expressions mean.
    template: Option<&'a Object<'a>>,
}

struct Search {
    found: Vec<FoundCcePolicy>,
}

impl Search {
    fn walk(&mut self, value: &Value<'_>, scope: &Scope<'_>) -> Result<(), CcePolicySourceError> {
        match value {
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    let path = format!("{}[{place}]", scope.path);
                    self.walk(item, &Scope { path, name: scope.name.clone(), template: scope.template })?;
                }
                Ok(())
            }
            Value::Object(object) => self.object(object, scope),
            _ => Ok(()),
        }
    }

    fn object(&mut self, object: &Object<'_>, scope: &Scope<'_>) -> Result<(), CcePolicySourceError> {
        let own = text(only(object, "name")).or_else(|| text(only(object, "metadata").and_then(member("name"))));
        let name = own.map(|name| shorten(name, 100)).or_else(|| scope.name.clone());
        let template = if has(object, "resources") { Some(object) } else { scope.template };
        for (key, value) in object.members() {
            let path =
                if scope.path.is_empty() { key.to_owned() } else { format!("{}.{}", scope.path, shorten(key, 100)) };
            let within = Scope { path, name: name.clone(), template };
            // A parameter may have this name and a default of its own; what the template makes of it is found where it is used.
            let is_place =
                key.eq_ignore_ascii_case(ANNOTATION) || (key.eq_ignore_ascii_case(MEMBER) && !is_declaration(value));
            if is_place { self.place(value, within)? } else { self.walk(value, &within)? }
        }
        Ok(())
    }

    fn place(&mut self, value: &Value<'_>, scope: Scope<'_>) -> Result<(), CcePolicySourceError> {
        super::check_count(&self.found)?;
        let mut notes = Vec::new();
        let policy = match value {
            Value::String(text) => resolve(text, scope.template, &mut notes),
            // A file of parameters.
            Value::Object(object) => match only(object, "value") {
                Some(Value::String(text)) => super::value(text),
                other => Err(CcePolicySourceError::WrongType { found: other.map_or("no value", type_name) }),
            },
            other => Err(CcePolicySourceError::WrongType { found: type_name(other) }),
        };
        self.found.push(FoundCcePolicy { name: scope.name, place: scope.path, notes, policy });
        Ok(())
    }
}

fn type_name(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The declaration of a parameter of a template: an object with a `type` and no value.
fn is_declaration(value: &Value<'_>) -> bool {
    matches!(value, Value::Object(object) if has(object, "type") && !has(object, "value"))
}

/// Whether an object has a member of this name, in any case.
fn has(object: &Object<'_>, name: &str) -> bool {
    object.members().any(|(key, _)| key.eq_ignore_ascii_case(name))
}

/// The member of this name, in any case: none where there are two, of which a deployment takes one.
fn only<'a>(object: &'a Object<'a>, name: &str) -> Option<&'a Value<'a>> {
    let mut found = object.members().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    }
}

fn member<'a>(name: &'static str) -> impl Fn(&'a Value<'a>) -> Option<&'a Value<'a>> {
    move |value| match value {
        Value::Object(object) => only(object, name),
        _ => None,
    }
}

fn text<'a>(value: Option<&'a Value<'a>>) -> Option<&'a str> {
    match value {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// A policy that is written out, or one that the template itself gives by name. Other expressions are not evaluated.
fn resolve<'a>(
    written: &str,
    template: Option<&'a Object<'a>>,
    notes: &mut Vec<String>,
) -> Result<super::CcePolicy, CcePolicySourceError> {
    let Some(expression) = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return value(written);
    };
    let named = |function: &str| {
        let argument = expression.trim().strip_prefix(function)?.trim().strip_prefix('(')?.strip_suffix(')')?;
        argument.trim().strip_prefix('\'')?.strip_suffix('\'').map(str::to_owned)
    };
    let unresolved = || CcePolicySourceError::Expression { expression: shorten(written, 100) };
    let template = template.ok_or_else(unresolved)?;
    let given = |table: &str, name: &str| match only(template, table) {
        Some(Value::Object(table)) => only(table, name),
        _ => None,
    };
    if let Some(name) = named("variables") {
        let found = text(given("variables", &name)).filter(|text| !text.starts_with('['));
        return value(found.ok_or_else(unresolved)?);
    }
    let name = named("parameters").ok_or_else(unresolved)?;
    let default = given("parameters", &name).and_then(member("defaultValue"));
    let found = text(default).filter(|text| !text.starts_with('[')).ok_or_else(unresolved)?;
    notes.push(format!(
        "the policy is the default of the template's parameter {:?}; a deployment may give another",
        shorten(&name, 100)
    ));
    value(found)
}

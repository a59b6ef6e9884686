//! The lines between this program and a runner: fields `NAME=VALUE` with tabs between, so that a language without JSON in its library
//! reads and writes them as easily as one that has it.

use serde_json::{Map, Value, json};

use crate::scenario::Failure;

/// What an outcome states of an error, all of it.
const OF_ERROR: [&str; 8] = ["code", "number", "category", "name", "retryable", "request_sent", "message", "checks"];

/// The line of a command: its members that are set.
pub(crate) fn of_command(command: &Value) -> Result<String, Failure> {
    let mut fields = Vec::new();
    for (name, value) in command.as_object().ok_or("a command has members")? {
        let value = match value {
            Value::Null | Value::Bool(false) => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if value.contains(['\t', '\n', '\r']) {
            return Err(format!("expected the member {name} without tabs and line ends, found {value:?}").into());
        }
        fields.push(format!("{name}={value}"));
    }
    Ok(fields.join("\t"))
}

/// The outcome of a line, whose values are JSON. The members of an error get one of their own.
pub(crate) fn outcome(line: &str) -> Result<Value, String> {
    let mut outcome = Map::new();
    for field in line.split(['\t', '\r']).filter(|field| !field.is_empty()) {
        let parsed = field.split_once('=').and_then(|(name, value)| Some((name, serde_json::from_str(value).ok()?)));
        let (name, value): (_, Value) = parsed.ok_or_else(|| format!("expected a field NAME=JSON, found {field:?}"))?;
        if outcome.insert(name.to_owned(), value).is_some() {
            return Err(format!("expected the field {name} once, found it twice"));
        }
    }
    if outcome.contains_key("code") {
        let mut error = Map::new();
        for name in OF_ERROR {
            let value =
                outcome.remove(name).ok_or_else(|| format!("expected {name} of an error, found none in {line:?}"))?;
            error.insert(name.to_owned(), value);
        }
        outcome.insert("error".to_owned(), Value::Object(error));
    }
    // Some languages have an error of their own for what is cancelled, others have the code.
    let is_cancelled = outcome.get("cancelled") == Some(&json!(true));
    if is_cancelled || outcome.get("error").is_some_and(|error| error["code"] == "cancelled") {
        return Ok(json!({ "cancelled": true }));
    }
    Ok(Value::Object(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_its_members_that_are_set() -> Result<(), Failure> {
        let command = json!({ "do": "request", "body": null, "streamed": true, "beside": false, "cancel_ms": 5, "target": "/?a=b" });
        let line = of_command(&command)?;
        let mut fields: Vec<&str> = line.split('\t').collect();
        fields.sort_unstable();
        assert_eq!(fields, ["cancel_ms=5", "do=request", "streamed=true", "target=/?a=b"]);
        for text in ["a\tb", "a\nb"] {
            assert!(of_command(&json!({ "target": text })).is_err(), "{text:?}");
        }
        Ok(())
    }

    #[test]
    fn an_outcome_is_its_fields_with_an_error_as_one_member() {
        assert_eq!(outcome(""), Ok(json!({})));
        assert_eq!(outcome("status=200\tcontent=\"61\"\t"), Ok(json!({ "status": 200, "content": "61" })));
        let error = "code=\"a\"\tnumber=1\tcategory=\"b\"\tname=\"c\"\tretryable=true\trequest_sent=false\tmessage=\"d=\\te\"\tchecks=null";
        let found = json!({ "code": "a", "number": 1, "category": "b", "name": "c", "retryable": true, "request_sent": false,
            "message": "d=\te", "checks": null });
        assert_eq!(outcome(error), Ok(json!({ "error": found })));
        assert_eq!(outcome(&format!("status=200\t{error}")), Ok(json!({ "status": 200, "error": found })));
        assert_eq!(outcome(&error.replace("\"a\"", "\"cancelled\"")), Ok(json!({ "cancelled": true })));
        assert_eq!(outcome("status=200\tcancelled=true"), Ok(json!({ "cancelled": true })));
    }

    #[test]
    fn what_is_no_outcome_is_refused() {
        for line in ["status", "status=x", "status=200\tstatus=200", "code=\"a\"\tnumber=1"] {
            assert!(outcome(line).is_err(), "{line}");
        }
    }
}

//! Policies in the documents that carry them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blindbox_attestation::cce_policy::{
    CcePolicy, CcePolicyError, CcePolicySourceError, FoundCcePolicy, find_cce_policies,
};

const TEXT: &str = "package policy\n\napi_version := \"0.10.0\"\ncontainers := []\n";

fn base64() -> String {
    STANDARD.encode(TEXT)
}

fn policy() -> CcePolicy {
    CcePolicy::from_rego(TEXT).unwrap()
}

#[track_caller]
fn only(document: &str) -> FoundCcePolicy {
    let mut found = find_cce_policies(document.as_bytes()).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[track_caller]
fn refused(document: impl AsRef<[u8]>) -> CcePolicySourceError {
    find_cce_policies(document.as_ref()).unwrap_err()
}

#[test]
fn what_confcom_prints_is_read_in_each_form() {
    let base64 = base64();
    for (document, notes) in [
        (base64.clone(), 0),
        (format!("{base64}\n"), 0),
        (format!("{base64}\n\n\n"), 0),
        (format!("\u{feff}{base64}\r\n"), 0),
        (format!("\"{base64}\""), 1),
        (format!("'{base64}'\n"), 1),
        (format!("WARNING: Using local image\nWARNING: another\n{base64}\n"), 1),
        (TEXT.to_owned(), 0),
    ] {
        let found = only(&document);
        assert_eq!(found.policy, Ok(policy()), "{document}");
        assert_eq!((found.place.as_str(), found.name, found.notes.len()), ("document", None, notes), "{document}");
    }
    // What is printed for a reader is not what is deployed: every byte is hashed, and it is said.
    let printed = format!("{}\n\n\n", TEXT.trim_end());
    let found = only(&printed);
    assert_eq!(found.policy.unwrap().text(), printed);
    let deployed = CcePolicy::from_rego(TEXT.trim_end()).unwrap().digest().to_string();
    assert!(found.notes[0].contains(&deployed), "{:?}", found.notes);
    let pretty = "package policy\n\ncontainers := [\n  {}\n]\n";
    assert!(only(pretty).notes[0].contains("--outraw-pretty-print"), "{:?}", only(pretty).notes);
    assert!(only("package policy\r\nx := 1\r\n").notes[0].contains("CR LF"));
}

#[test]
fn several_printed_policies_are_several() {
    let other = STANDARD.encode("package policy\nx := 1\n");
    let found = find_cce_policies(format!("{}\n\n\n{other}\n\n\n", base64()).as_bytes()).unwrap();
    let places: Vec<_> = found.iter().map(|found| found.place.as_str()).collect();
    assert_eq!(places, ["policy 1", "policy 2"]);
    assert_eq!(found[0].policy, Ok(policy()));
    let warned = format!("WARNING: x\n{}\n\n\n{other}\n", base64());
    let notes: Vec<_> = find_cce_policies(warned.as_bytes()).unwrap().into_iter().map(|found| found.notes).collect();
    assert_eq!(notes, [vec!["1 lines that begin with `WARNING:` were passed over".to_owned()], vec![]]);
    assert_eq!(refused(format!("{TEXT}\n{TEXT}")), CcePolicySourceError::SeveralTexts { line: 6 });
}

fn group(name: &str, policy: &str) -> String {
    format!(
        r#"{{"type": "Microsoft.ContainerInstance/containerGroups", "name": "{name}", "properties": {{"confidentialComputeProperties": {{"ccePolicy": "{policy}"}}, "containers": []}}}}"#
    )
}

#[test]
fn a_template_gives_the_policies_of_its_container_groups() {
    let template = |resources: &str, more: &str| format!(r#"{{"$schema": "x", {more}"resources": [{resources}]}}"#);
    let found = only(&template(&group("g", &base64()), ""));
    assert_eq!(found.policy, Ok(policy()));
    assert_eq!(found.name.as_deref(), Some("g"));
    assert_eq!(found.place, "resources[0].properties.confidentialComputeProperties.ccePolicy");

    let both = format!("{}, {}", group("a", &base64()), group("b", ""));
    let found = find_cce_policies(template(&both, "").as_bytes()).unwrap();
    let names: Vec<_> = found.iter().map(|found| found.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(found[1].policy, Err(CcePolicySourceError::NotFilled));

    // As Bicep builds it: from a variable, or from a parameter that a deployment may give.
    let variables = format!(r#""variables": {{"cce": "{}"}}, "#, base64());
    assert_eq!(only(&template(&group("g", "[variables('cce')]"), &variables)).policy, Ok(policy()));
    let default = format!(r#""parameters": {{"ccePolicy": {{"type": "string", "defaultValue": "{}"}}}}, "#, base64());
    let found = only(&template(&group("g", "[parameters('ccePolicy')]"), &default));
    assert_eq!(found.policy, Ok(policy()));
    assert!(found.notes[0].contains("a deployment may give another"), "{:?}", found.notes);
    for expression in ["[parameters('ccePolicy')]", "[concat('a', 'b')]", "[variables('none')]"] {
        let declared = r#""parameters": {"ccePolicy": {"type": "string"}}, "#;
        let error = CcePolicySourceError::Expression { expression: expression.into() };
        assert_eq!(only(&template(&group("g", expression), declared)).policy, Err(error));
    }
    let parameters = format!(r#"{{"parameters": {{"ccePolicy": {{"value": "{}"}}}}}}"#, base64());
    assert_eq!(only(&parameters).policy, Ok(policy()));
    assert_eq!(only(r#"{"ccePolicy": 1}"#).policy, Err(CcePolicySourceError::WrongType { found: "a number" }));
}

const ANNOTATION: &str = "microsoft.containerinstance.virtualnode.ccepolicy";

#[test]
fn yaml_gives_the_policies_of_its_pods() {
    let base64 = base64();
    for value in [
        format!(" {base64}"),
        format!(" {base64} # a comment"),
        format!(" \"{base64}\""),
        format!(" '{base64}'"),
        format!(" |\n      {base64}"),
        format!(" >-\n      {base64}"),
        format!("\n      {base64}"),
    ] {
        for key in [ANNOTATION.to_owned(), format!("\"{ANNOTATION}\""), format!("'{ANNOTATION}'")] {
            let yaml = format!(
                "apiVersion: v1\nkind: Pod\nmetadata:\n  name: pod\n  annotations:\n    # {ANNOTATION}: none\n    {key}:{value}\n    other: x\nspec: {{}}\n"
            );
            let found = only(&yaml);
            assert_eq!(found.policy, Ok(policy()), "{yaml}");
            assert_eq!((found.name.as_deref(), found.place.as_str()), (Some("pod"), "line 7"));
        }
    }
    let two = format!(
        "metadata:\n  name: a\n  annotations:\n    {ANNOTATION}: {base64}\n---\nmetadata:\n  name: b\n  annotations:\n    {ANNOTATION}: ''\n"
    );
    let found = find_cce_policies(two.as_bytes()).unwrap();
    let names: Vec<_> = found.iter().map(|found| found.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(found[1].policy, Err(CcePolicySourceError::NotFilled));

    // Of Azure Container Instances, and a part of JSON.
    let yaml = format!("name: g\nproperties:\n  confidentialComputeProperties:\n    ccePolicy: {base64}\n");
    assert_eq!((only(&yaml).policy, only(&yaml).name), (Ok(policy()), Some("g".into())));
    assert_eq!(only(&format!("\"ccePolicy\": \"{base64}\"")).policy, Ok(policy()));
}

#[test]
fn a_value_in_yaml_that_is_not_read_is_an_error_and_never_passed_over() {
    let base64 = base64();
    for (yaml, line) in [
        (format!("annotations: {{{ANNOTATION}: {base64}}}\n"), 1),
        (format!("x: 1\n{ANNOTATION}: &a {base64}\n"), 2),
        (format!("{ANNOTATION}: !!str {base64}\n"), 1),
        (format!("{ANNOTATION}: \"{base64}\\n\"\n"), 1),
        (format!("{ANNOTATION}: |\n  {}\n  {}\n", &base64[..8], &base64[8..]), 1),
        (format!("{ANNOTATION}: {}\n  {}\n", &base64[..8], &base64[8..]), 1),
        (format!("x: 1\n? ccePolicy\n: {base64}\n"), 2),
        (format!("? \"ccePolicy\" # a comment\n\n# another\n: {base64}\n"), 1),
        (format!("?\n  ccePolicy\n: {base64}\n"), 2),
        (format!("- ? {ANNOTATION}\n  : {base64}\n"), 1),
        (format!("{{a: b, ? ccePolicy : {base64}}}\n"), 1),
        (format!("{{a: b, ccePolicy\n: {base64}}}\n"), 1),
        (format!("\"cce\\x50olicy\": {base64}\n"), 1),
        (format!("\"cce\\u0050olicy\": {base64}\n"), 1),
        (format!("&a ccePolicy: {base64}\n"), 1),
    ] {
        assert_eq!(only(&yaml).policy, Err(CcePolicySourceError::YamlForm { line }), "{yaml}");
    }
    let cut = format!("{ANNOTATION}: {}\n", &base64[..base64.len() - 2]);
    assert_eq!(only(&cut).policy, Err(CcePolicySourceError::Policy(CcePolicyError::NotBase64)));
}

/// Azure Resource Manager takes names of members in any case: a policy beside the one that is shown could be deployed.
#[test]
fn names_are_compared_without_case() {
    let base64 = base64();
    let both = format!(r#"{{"ccePolicy": "{base64}", "ccepolicy": "", "CCEPOLICY": 1}}"#);
    let found = find_cce_policies(both.as_bytes()).unwrap();
    let places: Vec<_> = found.iter().map(|found| found.place.as_str()).collect();
    assert_eq!(places, ["CCEPOLICY", "ccePolicy", "ccepolicy"]);
    let policies: Vec<_> = found.into_iter().map(|found| found.policy).collect();
    let number = CcePolicySourceError::WrongType { found: "a number" };
    assert_eq!(policies, [Err(number), Ok(policy()), Err(CcePolicySourceError::NotFilled)]);

    let template = |resource: &str| {
        format!(r#"{{"Variables": {{"CCE": "{base64}"}}, "Resources": [{{"Name": "g", "CcePolicy": {resource}}}]}}"#)
    };
    let found = only(&template(r#""[variables('cce')]""#));
    assert_eq!((found.policy, found.name.as_deref()), (Ok(policy()), Some("g")));
    assert_eq!(only(&template(&format!(r#"{{"Value": "{base64}"}}"#))).policy, Ok(policy()));
    // A value with its type, as deployments report parameters.
    assert_eq!(only(&template(&format!(r#"{{"type": "String", "value": "{base64}"}}"#))).policy, Ok(policy()));
    // Of two names a deployment takes one, and it is not guessed which.
    let two = only(&template(&format!(r#"{{"value": "{base64}", "Value": "{base64}"}}"#)));
    assert_eq!(two.policy, Err(CcePolicySourceError::WrongType { found: "no value" }));

    let yaml = format!("name: g\nccepolicy: {base64}\nCCEPolicy: ''\n");
    let policies: Vec<_> = find_cce_policies(yaml.as_bytes()).unwrap().into_iter().map(|found| found.policy).collect();
    assert_eq!(policies, [Ok(policy()), Err(CcePolicySourceError::NotFilled)]);
}

#[test]
fn a_document_without_a_policy_is_refused_by_name() {
    let base64 = base64();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    for document in [[vec![0xff, 0xfe], utf16(TEXT)].concat(), utf16(&base64)] {
        assert_eq!(refused(document), CcePolicySourceError::Utf16);
    }
    assert_eq!(refused([0xc3]), CcePolicyError::NotUtf8.into());
    assert_eq!(refused(" \n"), CcePolicyError::Empty.into());
    assert_eq!(refused(format!("\u{feff}{TEXT}")), CcePolicyError::ByteOrderMark.into());
    assert_eq!(refused(format!("\nWARNING: x\n{TEXT}")), CcePolicySourceError::LinesBeforePackage { line: 2 });
    let wrapped = format!("{}\n{}", &base64[..16], &base64[16..]);
    assert_eq!(refused(wrapped), CcePolicyError::NotBase64.into());
    let in_array = refused(format!("[\n\"{base64}\"\n]"));
    assert_eq!(in_array, CcePolicySourceError::NoCcePolicy { found: "JSON with neither (an array)".into() });
    for text in ["{", "hello, world", "ccePolicyName: x\n", "kind: Pod\n", "{}"] {
        assert!(matches!(refused(text), CcePolicySourceError::NoCcePolicy { .. }), "{text}: {}", refused(text));
    }
    // Base64 of something else is said to be that.
    assert_eq!(only(&STANDARD.encode("package other\nx := 1\n")).policy, Err(CcePolicyError::NotRego.into()));
    let large = vec![b' '; (4 << 20) + 1];
    assert_eq!(refused(&large), CcePolicySourceError::TooLarge { found: large.len(), max: 4 << 20 });
}

#[test]
fn large_documents_are_read_in_one_pass() {
    let max = 1 << 20;
    for piece in [
        "ccePolicy:\n",
        "a: b\n",
        "metadata:\n",
        " \n",
        "---\nccePolicy: x\n",
        "WARNING: \n",
        "[",
        "ccePolicy",
        "ccePolicy ",
        "ccePolicy\n\n",
        "\\x50",
    ] {
        let document = piece.repeat(max / piece.len());
        let _ = find_cce_policies(document.as_bytes());
    }
}

/// The recorded cases, where they are available: the policy in the file is found, or an error.
#[test]
fn the_recorded_cases_are_read_or_refused() {
    let Some(cases) = crate::common::cases() else { return };
    let directory = cases.join("01-host-data-not-a-policy");
    let expected =
        find_cce_policies(&std::fs::read(directory.join("arm.json")).unwrap()).unwrap().remove(0).policy.unwrap();
    for name in ["b64_json.txt", "b64_jsonpair.txt", "b64_quoted.txt", "b64_squoted.txt", "warned.txt", "yaml.txt"] {
        let document = std::fs::read_to_string(directory.join(name)).unwrap();
        assert_eq!(only(&document).policy.as_ref(), Ok(&expected), "{name}");
    }
    let error = |name: &str| refused(std::fs::read(directory.join(name)).unwrap());
    assert_eq!(error("rego_bom.rego"), CcePolicyError::ByteOrderMark.into());
    assert_eq!(error("rego_utf16.rego"), CcePolicySourceError::Utf16);
    assert!(matches!(error("b64_wronglines.txt"), CcePolicySourceError::NoCcePolicy { .. }));
}

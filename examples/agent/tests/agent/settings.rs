//! Settings that cannot be used together, each with what the operator reads.

use blindbox_agent::{Config, InvalidConfig};

/// A configuration with these lines, which may begin tables.
fn config(lines: &str) -> Result<Config, InvalidConfig> {
    let good = "listen = \"127.0.0.1:0\"\napplication = \"http://127.0.0.1:8000\"\nnames = [\"a.example\"]\n";
    Config::from_toml(&format!("{good}{lines}"))
}

fn accepted(lines: &str) -> bool {
    config(lines).is_ok()
}

fn refusal(lines: &str) -> String {
    config(lines).unwrap_err().to_string()
}

#[test]
fn certificates_are_not_fetched_from_the_application() {
    let shown = "azure-vm.ak-issuer-hosts has the application's address: the host of the VM could send requests to it";
    assert_eq!(refusal("[azure-vm]\nak-issuer-hosts = [\"10.0.0.4:80\", \"127.0.0.1:8000\"]"), shown);
}

/// An agent has eight keys at most: with more within their time, the oldest would be erased before it.
#[test]
fn message_keys_are_kept_as_long_as_stated() {
    let shown = "message.kept-seconds is more than 7 times message.lifetime-seconds: an agent has 8 keys at most, so that keys would end earlier";
    let message = |kept: u64| format!("[message]\nlifetime-seconds = 600\nkept-seconds = {kept}");
    assert_eq!(refusal(&message(4201)), shown);
    assert!(accepted(&message(4200)));
}

/// Clients refuse such evidence, and `message.only` would leave no way to the application.
#[test]
fn a_confidential_vm_has_no_message_keys() {
    let shown = "message is for a confidential container: no policy of a client accepts a message key of a confidential VM, since the VM \
                 could be the front end's own; drop azure-vm or message";
    for message in ["[message]", "[message]\nonly = false"] {
        assert_eq!(refusal(&format!("[azure-vm]\n{message}")), shown);
    }
    assert!(accepted("[azure-vm]") && accepted("[message]"));
}

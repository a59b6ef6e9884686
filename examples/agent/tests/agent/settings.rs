//! Settings that cannot be used together, each with what the operator reads.

use blindbox_agent::Config;

/// Why a configuration with these lines, which may begin tables, is refused.
fn refusal(lines: &str) -> String {
    let good = "listen = \"127.0.0.1:0\"\napplication = \"http://127.0.0.1:8000\"\nnames = [\"a.example\"]\n";
    Config::from_toml(&format!("{good}{lines}")).unwrap_err().to_string()
}

#[test]
fn certificates_are_not_fetched_from_the_application() {
    let shown = "azure-vm.ak-issuer-hosts has the application's address: the host of the VM could send requests to it";
    assert_eq!(refusal("[azure-vm]\nak-issuer-hosts = [\"10.0.0.4:80\", \"127.0.0.1:8000\"]"), shown);
}

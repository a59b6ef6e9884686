//! The documents of the repository, as pages of the documentation. There is no code here.
//!
//! Start with the [cookbook]. Before you state [`Workload::binds_its_own_key`](crate::Workload::binds_its_own_key), read what
//! this crate [does not prove](readme#what-it-does-not-prove).

// `refused=ERROR` behind a block of TOML is read by the tests of the documents.
#![allow(rustdoc::invalid_codeblock_attributes)]

// A page links to another one by a label that is the file's name. The first definition of a label holds: here that of
// `links.md`, with items of this module; where the file is read by itself, the one at its own end.
macro_rules! pages {
    ($($page:ident = $file:literal, $summary:literal;)*) => {$(
        #[doc = $summary]
        #[doc = ""]
        #[doc = include_str!("manual/links.md")]
        #[doc = ""]
        #[doc = include_str!($file)]
        pub mod $page {}
    )*};
}

pages! {
    readme = "../README.md", "What a session proves and what it does not, and how the parts are used.";
    glossary = "../docs/glossary.md", "Terms of attestation, AMD, Azure and this crate, one line each.";
    cookbook = "../docs/cookbook.md", "Recipes: containers, VMs, replicas, evidence from files, tests.";
    front_ends = "../docs/front-ends.md", "Behind a load balancer, CDN or API gateway that ends TLS: its settings.";
    clients = "../docs/clients.md", "Clients in Python, Node, Java, Go and others, through the local proxy.";
    languages = "../docs/languages.md", "What each language has, from Rust to the local proxy; settings of the verifier.";
    python_client = "../docs/python-client.md", "Migrating from the Python client.";
    policy = "../docs/policy.md", "Policies: every field and method except the requirements.";
    policy_requirements = "../docs/policy-requirements.md", "Policies: the fields of `[require]`, TCB minima, bits.";
    policy_examples = "../docs/policy-examples.md", "Policies: examples, what is refused, where values come from, and every lint.";
    cce_policy = "../docs/cce-policy.md", "CCE policies: where they are read from, host data, findings.";
    trust = "../docs/trust.md", "Trust: who judges the evidence; roots, revocation, advisories, caches.";
    troubleshooting = "../docs/troubleshooting.md", "How to debug a refusal.";
    platforms = "../docs/platforms.md", "Platforms: what is proven where, and who asserts it; the checks of the virtual TPM.";
    errors = "../docs/errors.md", "Errors: every code, what it means and what to do.";
    observability = "../docs/observability.md", "Spans, events and counters.";
    performance = "../docs/performance.md", "Round trips of a connection, and its cost.";
    cli = "../docs/cli.md", "The command `blindbox-attest`: commands, exit codes, proxy, emulator.";
    knobs = "../docs/knobs.md", "Knobs and faults of the emulator, with the outcome of each.";
    session = "../docs/session.md", "Sessions: connections, renewal, refusal, the end; the states, and what is sent again.";
    faults = "../docs/faults.md", "Failures of network, agent, MAA, AMD and clocks; deadlines, retries, limits.";
    proxy = "../docs/proxy.md", "The local port of `blindbox-attest proxy`: what it forwards, changes and refuses.";
    checks = "../docs/checks.md", "Every check in its order, with its source and its error; limits of input.";
    checks_hardware = "../docs/checks-hardware.md", "Checks of hardware reports and endorsements, and decisions about them.";
    checks_appraisal = "../docs/checks-appraisal.md", "Checks of the appraisal by the policy, by name.";
    protocol = "../docs/protocol.md", "The protocol between client and agent.";
    protocol_vectors = "../docs/protocol-vectors.md", "Test vectors of the protocol between client and agent.";
    protocol_message = "../docs/protocol-message.md", "Sealed messages: the protocol behind front ends that end TLS.";
    threat_model = "../docs/threat-model.md", "Attackers, what stops each, and what remains.";
    assurance = "../docs/assurance.md", "For an auditor: threats and their tests, measurements, what never ran.";
    security = "../SECURITY.md", "How to report a weakness, and what counts as one.";
    changelog = "../CHANGELOG.md", "What changed in each release.";
}

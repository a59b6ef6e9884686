package blindbox

// #include <blindbox.h>
import "C"

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"unsafe"
)

// The largest file that is read; a larger one is refused before it is read whole.
const maxFile = 4 << 20

// Policy is what must be proven. It was checked when it was made. Goroutines may share it.
type Policy struct {
	handle *handle
}

// Lint is something that a policy does not restrict.
type Lint struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// ParsePolicy parses a policy file: JSON if it begins with a brace, otherwise TOML.
func ParsePolicy(content string) (*Policy, error) {
	given, err := text("policy", content)
	if err != nil {
		return nil, err
	}
	defer freeText(given)
	var policy *C.bb_policy
	var failure *C.bb_error
	if number := C.bb_policy_parse(given, &policy, &failure); number != 0 {
		return nil, failed(number, failure)
	}
	free := func(pointer unsafe.Pointer) { C.bb_policy_free((*C.bb_policy)(pointer)) }
	return &Policy{newHandle(unsafe.Pointer(policy), free)}, nil
}

// ReadPolicy reads a policy file.
func ReadPolicy(path string) (*Policy, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxFile {
		return nil, misconfigured(fmt.Sprintf("%s: expected at most %d bytes", path, maxFile))
	}
	return ParsePolicy(string(content))
}

// Binding says what ties a connection to the evidence.
type Binding string

const (
	// OwnKey asserts that the workload attests only its own TLS key.
	OwnKey Binding = "own-key"
	// OwnConnection asserts that it attests each connection.
	OwnConnection Binding = "own-connection"
	// OwnMessageKey asserts that it attests only its own key of sealed messages, behind a front end that ends TLS.
	OwnMessageKey Binding = "own-message-key"
	// Unbound ties it to nothing; Allow needs unbound-channel.
	Unbound Binding = "none"
)

// Trust says who is trusted to judge the evidence. The zero value trusts nothing, and makes no policy.
type Trust struct {
	maa map[string]any
	amd bool
	// Whether two policies of the MAA instance were required.
	hashedTwice bool
}

// TrustMAA trusts an MAA instance, such as https://sharedneu.neu.attest.azure.net.
func TrustMAA(issuer string) Trust { return Trust{maa: map[string]any{"issuer": issuer}} }

// TrustAMD verifies the hardware report down to AMD's root.
func TrustAMD() Trust { return Trust{amd: true} }

// TrustMAAAndAMD requires both.
func TrustMAAAndAMD(issuer string) Trust {
	trust := TrustMAA(issuer)
	trust.amd = true
	return trust
}

// RequireMAAPolicyHash requires the attestation policy of the MAA instance, by its SHA-256 in hexadecimal. A second one is refused by
// ConfidentialContainer.
func (t Trust) RequireMAAPolicyHash(hash string) Trust {
	_, given := t.maa["policy-hash"]
	t.hashedTwice = t.hashedTwice || given
	return t.withMAA("policy-hash", hash)
}

// AllowTestAttester accepts an instance of Azure's test ring (*.test.attest.azure.net).
func (t Trust) AllowTestAttester() Trust { return t.withMAA("allow-test-attester", true) }

// withMAA adds to a copy: a Trust is a value. Without an instance the policy is refused for the missing issuer.
func (t Trust) withMAA(name string, value any) Trust {
	maa := map[string]any{name: value}
	for name, value := range t.maa {
		maa[name] = value
	}
	t.maa = maa
	return t
}

// Container is a policy for a confidential container, field by field.
type Container struct {
	// Trust says who is trusted to judge the evidence.
	Trust Trust
	// HostData are the digests of the accepted CCE policies.
	HostData []HostData
	// MinimumSVN is the lowest accepted version of the utility VM.
	MinimumSVN uint64
	// Binding is your assertion about what the workload attests, which evidence cannot show. It must be set.
	Binding Binding
	// UVMIssuer is the did:x509 of the utility VM's vendor, if it is not Microsoft.
	UVMIssuer string
	// Require and Allow are the tables of a policy file, which docs/policy.md describes.
	Require map[string]any
	Allow   map[string]bool
}

// ConfidentialContainer makes a policy.
func ConfidentialContainer(container Container) (*Policy, error) {
	if container.Trust.hashedTwice {
		return nil, misconfigured("RequireMAAPolicyHash: expected one value, found a second one")
	}
	trust := map[string]any{}
	if container.Trust.maa != nil {
		trust["maa"] = container.Trust.maa
	}
	if container.Trust.amd {
		trust["amd"] = map[string]any{}
	}
	hostData := []string{}
	for _, digest := range container.HostData {
		hostData = append(hostData, digest.hex)
	}
	uvm := map[string]any{"minimum-svn": container.MinimumSVN}
	if container.UVMIssuer != "" {
		uvm["issuer"] = container.UVMIssuer
	}
	fields := map[string]any{
		"version":  1,
		"kind":     "confidential-container",
		"trust":    trust,
		"workload": map[string]any{"binding": container.Binding, "host-data": hostData},
		"uvm":      uvm,
	}
	if container.Require != nil {
		fields["require"] = container.Require
	}
	if container.Allow != nil {
		fields["allow"] = container.Allow
	}
	content, err := json.Marshal(fields)
	if err != nil {
		return nil, misconfigured(err.Error())
	}
	return ParsePolicy(string(content))
}

// property returns a text about a policy. A policy that was made by one of the functions of this package has all.
func (p *Policy) property(of func(*C.bb_policy, **C.char, **C.bb_error) C.uint32_t) string {
	var value *C.char
	var failure *C.bb_error
	var number C.uint32_t
	p.handle.with(func(policy unsafe.Pointer) { number = of((*C.bb_policy)(policy), &value, &failure) })
	if number != 0 {
		panic(failed(number, failure))
	}
	return taken(value)
}

// TOML returns the policy as TOML.
func (p *Policy) TOML() string {
	return p.property(func(policy *C.bb_policy, value **C.char, failure **C.bb_error) C.uint32_t {
		return C.bb_policy_to_toml(policy, value, failure)
	})
}

// JSON returns the policy as JSON.
func (p *Policy) JSON() string {
	return p.property(func(policy *C.bb_policy, value **C.char, failure **C.bb_error) C.uint32_t {
		return C.bb_policy_to_json(policy, value, failure)
	})
}

// Digest returns the SHA-256 of the policy: two policies have the same one exactly if they require the same.
func (p *Policy) Digest() string {
	return p.property(func(policy *C.bb_policy, value **C.char, failure **C.bb_error) C.uint32_t {
		return C.bb_policy_digest(policy, value, failure)
	})
}

// MAAIssuer returns the trusted MAA instance; "" under AMD trust alone.
func (p *Policy) MAAIssuer() string {
	return p.property(func(policy *C.bb_policy, value **C.char, failure **C.bb_error) C.uint32_t {
		return C.bb_policy_maa_issuer(policy, value, failure)
	})
}

// Lint returns what the policy does not restrict, the most severe first.
func (p *Policy) Lint() []Lint {
	var found []Lint
	lints := p.property(func(policy *C.bb_policy, value **C.char, failure **C.bb_error) C.uint32_t {
		return C.bb_policy_lint(policy, value, failure)
	})
	if err := json.Unmarshal([]byte(lints), &found); err != nil {
		panic(err)
	}
	return found
}

// HostData is the host data of a container: the SHA-256 of its CCE policy.
type HostData struct {
	hex      string
	known    bool
	findings []string
}

// ParseHostData parses 64 hexadecimal digits.
func ParseHostData(hex string) (HostData, error) {
	return hostData("host data", hex, func(given *C.char, json **C.char, failure **C.bb_error) C.uint32_t {
		return C.bb_host_data(given, json, failure)
	})
}

// HostDataFromCCEPolicy returns the host data of a container with this CCE policy, in base64 as it is deployed.
func HostDataFromCCEPolicy(base64 string) (HostData, error) {
	return hostData("CCE policy", base64, func(given *C.char, json **C.char, failure **C.bb_error) C.uint32_t {
		return C.bb_cce_policy(given, json, failure)
	})
}

func hostData(name, value string, parse func(*C.char, **C.char, **C.bb_error) C.uint32_t) (HostData, error) {
	given, err := text(name, value)
	if err != nil {
		return HostData{}, err
	}
	defer freeText(given)
	var described *C.char
	var failure *C.bb_error
	if number := parse(given, &described, &failure); number != 0 {
		return HostData{}, failed(number, failure)
	}
	var parsed struct {
		HostData string   `json:"host_data"`
		Known    bool     `json:"known_allow_all"`
		Findings []string `json:"findings"`
	}
	if err := json.Unmarshal([]byte(taken(described)), &parsed); err != nil {
		return HostData{}, own("internal", err.Error())
	}
	return HostData{parsed.HostData, parsed.Known, parsed.Findings}, nil
}

// String returns the 64 hexadecimal digits.
func (h HostData) String() string {
	return h.hex
}

// IsKnownAllowAll returns whether it is the digest of a published CCE policy that allows everything, which requires nothing.
func (h HostData) IsKnownAllowAll() bool {
	return h.known
}

// Findings returns what the CCE policy allows that it should not; nil if only the digest is known.
func (h HostData) Findings() []string {
	return h.findings
}

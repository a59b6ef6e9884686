package blindbox

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func digest(t *testing.T) HostData {
	t.Helper()
	made, err := ParseHostData(strings.Repeat("ab", 32))
	must(t, err)
	return made
}

func TestPolicies(t *testing.T) {
	policy, err := ConfidentialContainer(Container{
		Trust:      TrustMAAAndAMD("https://sharedneu.neu.attest.azure.net"),
		HostData:   []HostData{digest(t)},
		MinimumSVN: 101,
		Binding:    OwnKey,
	})
	must(t, err)
	equal(t, policy.MAAIssuer(), "https://sharedneu.neu.attest.azure.net")
	for _, form := range []string{policy.TOML(), policy.JSON()} {
		again, err := ParsePolicy(form)
		must(t, err)
		equal(t, again.Digest(), policy.Digest())
	}
	for _, lint := range policy.Lint() {
		equal(t, lint.Code != "" && lint.Message != "", true)
	}
	host := digest(t)
	equal(t, host.String(), strings.Repeat("ab", 32))
	equal(t, host.IsKnownAllowAll(), false)
	equal(t, host.Findings() == nil, true)
	fromPolicy, err := HostDataFromCCEPolicy("cGFja2FnZSBwb2xpY3k=")
	must(t, err)
	equal(t, len(fromPolicy.String()), 64)
	equal(t, fromPolicy.Findings() != nil, true)
}

func TestRecordedEvidence(t *testing.T) {
	emulator := emulate(t)
	verifier, err := NewVerifier(emulator.options...)
	must(t, err)
	collected, err := verifier.Collect(context.Background(), emulator.url, emulator.policy)
	must(t, err)
	attestation, err := collected.Verify(emulator.policy)
	must(t, err)
	equal(t, len(attestation.Appraisal()) > 10, true)
	about, err := collected.About()
	must(t, err)
	equal(t, strings.Contains(string(about), `"nonce"`), true)
	documents := collected.Documents()
	recorded := Recorded{Documents: documents, KeySet: documents["key-set.json"]}
	now := time.Now()
	attestation, err = VerifyRecorded(recorded, emulator.policy, now)
	must(t, err)
	equal(t, attestation.Channel, "")
	equal(t, len(attestation.Claims()) > 0, true)
	claims, err := VerifyUnappraised(recorded, emulator.policy.MAAIssuer(), now)
	must(t, err)
	equal(t, len(claims) > 0, true)
	found, err := Inspect(documents["token.jwt"])
	must(t, err)
	equal(t, strings.Contains(string(found), `"kind":"token"`), true)
	if _, err := VerifyRecorded(Recorded{Documents: documents}, emulator.policy, now); !errors.Is(err, ErrKeySetNotAuthenticated) {
		t.Fatal(err)
	}
	if _, err := VerifyRecorded(recorded, emulator.policy, now.AddDate(30, 0, 0)); !errors.Is(err, ErrInvalidToken) {
		t.Fatal(err)
	}
	if _, err := VerifyRecorded(recorded, emulator.policy, time.Unix(-1, 0)); !errors.Is(err, ErrUntrusted) {
		t.Fatal(err)
	}
}

func TestRecordedReport(t *testing.T) {
	emulator := emulate(t, "--product", "milan")
	verifier, err := NewVerifier(emulator.options...)
	must(t, err)
	collected, err := verifier.Collect(context.Background(), emulator.url, emulator.policy)
	must(t, err)
	documents := collected.Documents()
	recorded := Recorded{Documents: documents, KeySet: documents["key-set.json"], AMDRoots: emulator.amdRoots}
	attestation, err := VerifyRecorded(recorded, emulator.policy, time.Now())
	must(t, err)
	equal(t, len(attestation.Claims()) > 0, true)
	// The report needs its certificates, and they AMD's root.
	refused := func(name string, content []byte, code error) {
		t.Helper()
		changed := recorded
		changed.Documents = map[string][]byte{}
		for name, content := range documents {
			changed.Documents[name] = content
		}
		if content == nil {
			delete(changed.Documents, name)
		} else {
			changed.Documents[name] = content
		}
		if _, err := VerifyRecorded(changed, emulator.policy, time.Now()); !errors.Is(err, code) {
			t.Fatal(name, err)
		}
	}
	refused("certificates.pem", nil, ErrMissingEvidence)
	// The CRL of the other kind of key says nothing of this one.
	refused("revocation-list.der", nil, ErrInvalidReport)
	delete(documents, "revocation-list-other.der")
	refused("revocation-list.der", nil, ErrRevocationUnavailable)
	refused("revocation-list.der", []byte{}, ErrInvalidReport)
	refused("vcek.der", []byte("x"), ErrMisconfigured)
	refused("token.jwx", []byte("x"), ErrMisconfigured)
	without := recorded
	without.AMDRoots = nil
	if _, err := VerifyRecorded(without, emulator.policy, time.Now()); !errors.Is(err, ErrInvalidReport) {
		t.Fatal(err)
	}
}

func TestRecordedConfidentialVM(t *testing.T) {
	emulator := emulate(t, "--guest", "vm", "--product", "milan", "--trust", "amd")
	verifier, err := NewVerifier(emulator.options...)
	must(t, err)
	collected, err := verifier.Collect(context.Background(), emulator.url, emulator.policy)
	must(t, err)
	recorded := Recorded{Documents: collected.Documents(), AMDRoots: emulator.amdRoots, AKRoot: emulator.akRoot}
	for _, name := range []string{"hcl-report.bin", "tpm-quote.msg", "tpm-quote.sig", "pcrs.json", "ak-chain.pem"} {
		equal(t, len(recorded.Documents[name]) > 0, true)
	}
	attestation, err := VerifyRecorded(recorded, emulator.policy, time.Now())
	must(t, err)
	equal(t, len(attestation.Claims()) > 0, true)
	recorded.AKRoot = nil
	if _, err := VerifyRecorded(recorded, emulator.policy, time.Now()); !errors.Is(err, ErrInvalidAkCertificate) {
		t.Fatal(err)
	}
}

func TestEmptyAndClosedValues(t *testing.T) {
	emulator := emulate(t)
	verifier, err := NewVerifier(emulator.options...)
	must(t, err)
	ctx := context.Background()
	expect := func(err error) {
		t.Helper()
		if !errors.Is(err, ErrMisconfigured) {
			t.Fatal(err)
		}
	}
	_, err = verifier.Connect(ctx, emulator.url, &Policy{})
	expect(err)
	_, err = (&Verifier{}).Connect(ctx, emulator.url, emulator.policy)
	expect(err)
	_, err = VerifyRecorded(Recorded{}, &Policy{}, time.Now())
	expect(err)
	_, err = (&Session{}).Attestation()
	expect(err)
	must(t, (&Session{}).Close())
	collected, err := verifier.Collect(ctx, emulator.url, emulator.policy)
	must(t, err)
	equal(t, len(collected.Documents()) > 1, true)
	must(t, collected.Close())
	must(t, collected.Close())
	for none, kind := range map[*Collected]error{collected: ErrClosed, {}: ErrMisconfigured} {
		equal(t, len(none.Documents()), 0)
		_, err = none.About()
		equal(t, errors.Is(err, kind), true)
		_, err = none.Verify(emulator.policy)
		equal(t, errors.Is(err, kind), true)
	}
}

// C would end the text there: another document, or fewer roots.
func TestTextsWithAZeroByteAreRefused(t *testing.T) {
	emulator := emulate(t)
	for _, recorded := range []Recorded{
		{Documents: map[string][]byte{"token.jwt\x00.bak": {}}},
		{AMDRoots: append([]byte{0}, emulator.amdRoots...)},
		{AKRoot: append([]byte{0}, emulator.akRoot...)},
	} {
		_, err := VerifyRecorded(recorded, emulator.policy, time.Now())
		equal(t, errors.Is(err, ErrMisconfigured), true)
		equal(t, strings.Contains(err.Error(), "expected text without a zero byte"), true)
		_, err = VerifyUnappraised(recorded, "", time.Now())
		equal(t, errors.Is(err, ErrMisconfigured), true)
	}
}

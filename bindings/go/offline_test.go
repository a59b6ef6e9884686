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
		MAA:            "https://sharedneu.neu.attest.azure.net",
		AMD:            true,
		HostData:       []HostData{digest(t)},
		MinimumSVN:     101,
		BindsItsOwnKey: true,
	})
	must(t, err)
	equal(t, policy.Attester(), "https://sharedneu.neu.attest.azure.net")
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
	evidence := Evidence{Token: documents["token.jwt"], RuntimeData: documents["runtime-data.json"]}
	endorsements := Endorsements{KeySet: documents["key-set.json"]}
	now := time.Now()
	attestation, err = VerifyRecorded(evidence, endorsements, emulator.policy, now)
	must(t, err)
	equal(t, attestation.Channel, "")
	equal(t, len(attestation.Claims()) > 0, true)
	claims, err := VerifyUnappraised(evidence, endorsements, emulator.policy.Attester(), now)
	must(t, err)
	equal(t, len(claims) > 0, true)
	found, err := Inspect(evidence.Token)
	must(t, err)
	equal(t, strings.Contains(string(found), `"kind":"token"`), true)
	beside := Endorsements{KeySet: endorsements.KeySet, KeySetBesideEvidence: true}
	if _, err := VerifyRecorded(evidence, beside, emulator.policy, now); !errors.Is(err, ErrKeySetNotAuthenticated) {
		t.Fatal(err)
	}
	if _, err := VerifyRecorded(evidence, endorsements, emulator.policy, now.AddDate(30, 0, 0)); !errors.Is(err, ErrInvalidToken) {
		t.Fatal(err)
	}
	if _, err := VerifyRecorded(evidence, endorsements, emulator.policy, time.Unix(-1, 0)); !errors.Is(err, ErrUntrusted) {
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
	evidence := Evidence{
		Token:          documents["token.jwt"],
		Report:         documents["report.bin"],
		UVMEndorsement: documents["uvm-endorsement.cose"],
		RuntimeData:    documents["runtime-data.json"],
	}
	endorsements := Endorsements{
		KeySet:          documents["key-set.json"],
		Certificates:    documents["certificates.pem"],
		RevocationLists: [][]byte{documents["revocation-list.der"]},
		AMDRoots:        emulator.amdRoots,
	}
	attestation, err := VerifyRecorded(evidence, endorsements, emulator.policy, time.Now())
	must(t, err)
	equal(t, len(attestation.Claims()) > 0, true)
	// The report needs its certificates, and they AMD's root.
	without := endorsements
	without.Certificates = nil
	if _, err := VerifyRecorded(evidence, without, emulator.policy, time.Now()); !errors.Is(err, ErrMissingEvidence) {
		t.Fatal(err)
	}
	without = endorsements
	without.AMDRoots = nil
	if _, err := VerifyRecorded(evidence, without, emulator.policy, time.Now()); !errors.Is(err, ErrInvalidReport) {
		t.Fatal(err)
	}
	without = endorsements
	without.RevocationLists = [][]byte{nil}
	if _, err := VerifyRecorded(evidence, without, emulator.policy, time.Now()); err == nil {
		t.Fatal("an empty CRL was accepted")
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
	_, err = VerifyRecorded(Evidence{}, Endorsements{}, &Policy{}, time.Now())
	expect(err)
	_, err = (&Session{}).Attestation()
	expect(err)
	must(t, (&Session{}).Close())
	collected, err := verifier.Collect(ctx, emulator.url, emulator.policy)
	must(t, err)
	equal(t, len(collected.Documents()) > 1, true)
	must(t, collected.Close())
	must(t, collected.Close())
	for _, closed := range []*Collected{collected, {}} {
		equal(t, len(closed.Documents()), 0)
		_, err = closed.About()
		expect(err)
		_, err = closed.Verify(emulator.policy)
		expect(err)
	}
}

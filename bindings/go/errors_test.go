package blindbox

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestRefusals(t *testing.T) {
	emulator := emulate(t)
	for _, refusal := range []struct {
		knob     string
		code     ErrorCode
		name     string
		category Category
	}{
		{"debug", ErrDebugMode, "DebugMode", ErrRejected},
		{"no-compliance-status", ErrNonCompliantUvm, "NonCompliantUvm", ErrRejected},
		{"host-data=" + strings.Repeat("66", 32), ErrInvalidEnclaveCode, "InvalidEnclaveCode", ErrRejected},
		{"uvm-svn=1", ErrUvmTooOld, "UvmTooOld", ErrRejected},
		{"token-bad-signature", ErrInvalidToken, "InvalidToken", ErrUntrusted},
		{"old-nonce", ErrFalseAttestationReport, "FalseAttestationReport", ErrUntrusted},
		{"token-issuer=https://evil.example", ErrWrongAttester, "WrongAttester", ErrUntrusted},
		{"no-token", ErrMaaTokenNotFound, "MaaTokenNotFound", ErrUnavailable},
	} {
		emulator.order("reset")
		before := emulator.traffic("application_bytes")
		emulator.order("knob " + refusal.knob)
		session, err := emulator.connect()
		var failure *Error
		if session != nil || !errors.Is(err, refusal.code) || !errors.Is(err, refusal.category) || !errors.As(err, &failure) {
			t.Fatalf("%s: %v", refusal.knob, err)
		}
		equal(t, failure.Name, refusal.name)
		equal(t, failure.RequestSent, false)
		equal(t, errors.Is(err, ErrMisconfigured), false)
		if refusal.category == ErrRejected {
			failedChecks := 0
			for _, check := range failure.Appraisal() {
				if check.Verdict == "failed" {
					failedChecks++
				}
			}
			equal(t, failedChecks > 0, true)
		} else {
			equal(t, len(failure.Appraisal()), 0)
		}
		equal(t, emulator.traffic("application_bytes"), before)
	}
}

func TestNoTextShowsTheAppraisal(t *testing.T) {
	emulator := emulate(t, "--knob", "debug")
	_, err := emulator.connect()
	var failure *Error
	if !errors.As(err, &failure) || len(failure.Appraisal()) == 0 {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(format, failure); strings.Contains(text, "verdict") {
			t.Fatalf("%s: %s", format, text)
		}
	}
	equal(t, failure.Number, 101)
	equal(t, failure.Retryable, false)
	equal(t, failure.Temporary(), false)
	equal(t, fmt.Sprintf("%v %v", failure.Code, failure.Category), "debug-mode rejected")
}

func TestContextEndsAConnection(t *testing.T) {
	emulator := emulate(t, "--fail", "/=hang")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := Connect(ctx, emulator.url, emulator.policy, emulator.options...)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	// The limit of the verifier.
	_, err = Connect(context.Background(), emulator.url, emulator.policy, append(emulator.options, WithDeadline(50*time.Millisecond))...)
	if !errors.Is(err, ErrTimeout) || errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestArgumentsThatCannotBeUsed(t *testing.T) {
	policy, err := ConfidentialContainer(Container{Trust: TrustAMD(), HostData: []HostData{digest(t)}, MinimumSVN: 1, Binding: OwnKey})
	must(t, err)
	ctx := context.Background()
	refused := func(trust Trust, binding Binding) error {
		_, err := ConfidentialContainer(Container{Trust: trust, HostData: []HostData{digest(t)}, MinimumSVN: 1, Binding: binding})
		return err
	}
	for name, attempt := range map[string]func() error{
		"no policy": func() error { _, err := Connect(ctx, "https://a.example", nil); return err },
		"url":       func() error { _, err := Connect(ctx, "no url", policy); return err },
		"zero byte": func() error { _, err := Connect(ctx, "https://a.example/\x00", policy); return err },
		"roots":     func() error { _, err := NewVerifier(WithAMDRoots([]byte("nonsense"))); return err },
		"twice": func() error {
			_, err := NewVerifier(WithKDS("https://a.example"), WithKDS("https://a.example"))
			return err
		},
		"host twice": func() error {
			address := netip.MustParseAddrPort("127.0.0.1:1")
			_, err := NewVerifier(WithResolve("a.example", address), WithResolve("b.example", address), WithResolve("a.example", address))
			return err
		},
		"policy":       func() error { _, err := ParsePolicy("kind = 1"); return err },
		"UTF-8":        func() error { _, err := ParsePolicy("kind = \"\xff\""); return err },
		"host data":    func() error { _, err := ParseHostData("ab"); return err },
		"CCE policy":   func() error { _, err := HostDataFromCCEPolicy("%"); return err },
		"hash, no MAA": func() error { return refused(TrustAMD().RequireMAAPolicyHash(strings.Repeat("ab", 32)), OwnKey) },
		"no trust":     func() error { return refused(Trust{}, OwnKey) },
		"empty MAA":    func() error { return refused(TrustMAAAndAMD(""), OwnKey) },
		"empty hash": func() error {
			return refused(TrustMAA("https://sharedneu.neu.attest.azure.net").RequireMAAPolicyHash(""), OwnKey)
		},
		"two hashes": func() error {
			pinned := TrustMAA("https://sharedneu.neu.attest.azure.net").RequireMAAPolicyHash(strings.Repeat("ab", 32))
			return refused(pinned.RequireMAAPolicyHash(strings.Repeat("cd", 32)).AllowTestAttester(), OwnKey)
		},
		"no binding":    func() error { return refused(TrustAMD(), "") },
		"inspection":    func() error { _, err := Inspect(nil); return err },
		"level":         func() error { return Log(ctx, "loud", func(Event) {}) },
		"nil to record": func() error { _, err := VerifyRecorded(Recorded{}, nil, time.Now()); return err },
	} {
		if err := attempt(); !errors.Is(err, ErrMisconfigured) {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func TestEvents(t *testing.T) {
	emulator := emulate(t, "--knob", "debug")
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	ended := make(chan error)
	events := make(chan Event, 1000)
	go func() { ended <- Log(ctx, "info", func(event Event) { events <- event }) }()
	found := false
	for !found {
		// Events before the level was set are not kept.
		if _, err := emulator.connect(); !errors.Is(err, ErrDebugMode) {
			t.Fatal(err)
		}
		select {
		case event := <-events:
			for _, value := range event.Fields {
				found = found || fmt.Sprint(value) == "debug-mode"
			}
		case <-time.After(time.Second):
		case <-ctx.Done():
			t.Fatal("no event of the refusal came")
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestANativeLibraryOfAnotherVersionIsRefused(t *testing.T) {
	must(t, checkVersion(Version))
	err := checkVersion("0.0.1")
	equal(t, err != nil, true)
	equal(t, err.Error(), "blindbox: expected the native library "+Version+", found 0.0.1: run bindings/go/build again")
}

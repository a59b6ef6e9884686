package blindbox

// #include <blindbox.h>
import "C"

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"
	"unsafe"
)

// Option is a setting of a verifier. The core's documentation of VerifierBuilder says what each means. One that is given twice is refused:
// which of the two holds would depend on their order.
type Option func(*settings)

// settings are what options have set, by the names of the core.
type settings struct {
	values map[string]any
	// repeated is the name of a setting that was given twice.
	repeated string
}

func setting(name string, value any) Option {
	return func(given *settings) {
		if _, found := given.values[name]; found {
			given.repeated = name
		}
		given.values[name] = value
	}
}

// WithApplicationRoots replaces the roots of the application's certificate, in PEM.
func WithApplicationRoots(pem []byte) Option { return setting("application_roots", string(pem)) }

// WithExtraApplicationRoots adds roots of the application's certificate, in PEM.
func WithExtraApplicationRoots(pem []byte) Option {
	return setting("extra_application_roots", string(pem))
}

// WithCollateralRoots replaces the TLS roots for the connections to MAA and AMD's service, in PEM.
func WithCollateralRoots(pem []byte) Option { return setting("collateral_roots", string(pem)) }

// WithPlatformCollateralRoots takes the roots of the platform as the TLS roots for the connections to MAA and AMD's service.
func WithPlatformCollateralRoots() Option { return setting("platform_collateral_roots", true) }

// WithKeySet pins the key set of the MAA instance, a JWK set.
func WithKeySet(json []byte) Option { return setting("key_set", string(json)) }

// WithAMDRoots replaces AMD's roots, in PEM.
func WithAMDRoots(pem []byte) Option { return setting("amd_roots", string(pem)) }

// WithAKRoot replaces Azure's root of virtual TPMs, in PEM.
func WithAKRoot(pem []byte) Option { return setting("ak_root", string(pem)) }

// WithAgent sets the URL of the agent, where it is not the application's.
func WithAgent(url string) Option { return setting("agent", url) }

// WithProxy sets the URL of an HTTP proxy. The environment is not read.
func WithProxy(url string) Option { return setting("proxy", url) }

// member adds to a setting that is an object.
func member(setting, name, value string) Option {
	return func(given *settings) {
		members, _ := given.values[setting].(map[string]string)
		if members == nil {
			members = map[string]string{}
			given.values[setting] = members
		}
		if _, found := members[name]; found {
			given.repeated = setting
		}
		members[name] = value
	}
}

// WithResolve sets the address of a host in place of DNS.
func WithResolve(host string, address netip.AddrPort) Option {
	return member("resolve", host, address.String())
}

// WithFrontEndHeader adds a header for a front end that ends TLS, such as a key of a gateway: the front end reads it, and the
// application does not get it.
func WithFrontEndHeader(name, value string) Option { return member("front_end_headers", name, value) }

// WithKDS sets the URL of AMD's Key Distribution Service or a mirror of it.
func WithKDS(url string) Option { return setting("kds", url) }

// WithTHIM sets the URL of Azure's service for certificates.
func WithTHIM(url string) Option { return setting("thim", url) }

// WithCacheDir keeps certificates and CRLs in a directory.
func WithCacheDir(path string) Option { return setting("cache_dir", path) }

// WithDeadline limits the time of an attestation.
func WithDeadline(limit time.Duration) Option { return setting("deadline_ms", limit.Milliseconds()) }

// WithRequestTimeout limits the time of a request, to the end of the response body.
func WithRequestTimeout(limit time.Duration) Option {
	return setting("request_timeout_ms", limit.Milliseconds())
}

// Verifier opens sessions. One serves a whole program: its sessions share key sets, certificates and attestations under way. Goroutines
// may share it.
type Verifier struct {
	handle *handle
}

// NewVerifier makes a verifier.
func NewVerifier(options ...Option) (*Verifier, error) {
	made := settings{values: map[string]any{}}
	for _, option := range options {
		option(&made)
	}
	if made.repeated != "" {
		return nil, misconfigured("settings: expected one value for " + made.repeated + ", found a second one")
	}
	content, err := json.Marshal(made.values)
	if err != nil {
		return nil, misconfigured(err.Error())
	}
	given, err := text("settings", string(content))
	if err != nil {
		return nil, err
	}
	defer freeText(given)
	var verifier *C.bb_verifier
	var failure *C.bb_error
	if number := C.bb_verifier_new(given, &verifier, &failure); number != 0 {
		return nil, failed(number, failure)
	}
	free := func(pointer unsafe.Pointer) { C.bb_verifier_free((*C.bb_verifier)(pointer)) }
	return &Verifier{newHandle(unsafe.Pointer(verifier), free)}, nil
}

// Connect attests the peer behind a URL and opens a session with it, before any application data is sent. With options it makes a
// verifier of its own: use one Verifier for several connections. When the context ends, the attestation ends too.
func Connect(ctx context.Context, url string, policy *Policy, options ...Option) (*Session, error) {
	verifier, err := NewVerifier(options...)
	if err != nil {
		return nil, err
	}
	defer verifier.handle.close()
	return verifier.Connect(ctx, url, policy)
}

// under runs a call about a URL and a policy under a context.
func (v *Verifier) under(
	ctx context.Context,
	url string,
	policy *Policy,
	call func(*C.bb_verifier, *C.char, *C.bb_policy, *C.bb_cancel, **C.bb_error) C.uint32_t,
) error {
	if policy == nil {
		return misconfigured("expected a policy, found nil")
	}
	given, err := text("url", url)
	if err != nil {
		return err
	}
	defer freeText(given)
	watch, err := watchContext(ctx)
	if err != nil {
		return err
	}
	defer watch.end()
	cancel := watch.use()
	defer watch.done(cancel)
	var failure *C.bb_error
	var number C.uint32_t
	v.handle.with(func(verifier unsafe.Pointer) {
		policy.handle.with(func(policy unsafe.Pointer) {
			number = call((*C.bb_verifier)(verifier), given, (*C.bb_policy)(policy), cancel, &failure)
		})
	})
	if number != 0 {
		return failedIn(ctx, number, failure)
	}
	return nil
}

// Connect attests the peer behind a URL and opens a session with it.
func (v *Verifier) Connect(ctx context.Context, url string, policy *Policy) (*Session, error) {
	var session *C.bb_session
	err := v.under(ctx, url, policy, func(
		verifier *C.bb_verifier, url *C.char, policy *C.bb_policy, cancel *C.bb_cancel, failure **C.bb_error,
	) C.uint32_t {
		return C.bb_connect(verifier, url, policy, cancel, &session, failure)
	})
	if err != nil {
		return nil, err
	}
	return newSession(session)
}

// Collect collects the evidence of the peer behind a URL without verifying it. Nothing but the attestation request is sent.
func (v *Verifier) Collect(ctx context.Context, url string, policy *Policy) (*Collected, error) {
	var collected *C.bb_collected
	err := v.under(ctx, url, policy, func(
		verifier *C.bb_verifier, url *C.char, policy *C.bb_policy, cancel *C.bb_cancel, failure **C.bb_error,
	) C.uint32_t {
		return C.bb_collect(verifier, url, policy, cancel, &collected, failure)
	})
	if err != nil {
		return nil, err
	}
	free := func(pointer unsafe.Pointer) { C.bb_collected_free((*C.bb_collected)(pointer)) }
	return &Collected{newHandle(unsafe.Pointer(collected), free)}, nil
}

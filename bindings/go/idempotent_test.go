package blindbox

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestARequestIsSentAgainIfTheCallerPermitsIt(t *testing.T) {
	// It delivers a request, and says that the instance does not know the key.
	emulator := emulate(t, "--agent", "bound-message", "--front-end", "--knob", "front-end-report-unknown-key")
	session := emulator.session()
	processed := func(request *http.Request, err error) float64 {
		t.Helper()
		must(t, err)
		before := emulator.traffic("application_requests")
		_, err = session.RoundTrip(request)
		var failed *Error
		if !errors.As(err, &failed) || !errors.Is(err, ErrApplicationUnreachable) || !failed.RequestSent {
			t.Fatal(err)
		}
		return emulator.traffic("application_requests") - before
	}
	post := func(body io.Reader) (*http.Request, error) {
		return http.NewRequest("POST", session.URL("/echo"), body)
	}
	idempotent := func(request *http.Request, err error) (*http.Request, error) {
		must(t, err)
		return Idempotent(request), nil
	}
	equal(t, processed(post(strings.NewReader("x"))), 1)
	equal(t, processed(idempotent(post(strings.NewReader("x")))), 3)
	// It can be read once.
	equal(t, processed(idempotent(post(io.MultiReader(strings.NewReader("x"))))), 1)
	// What a client makes of a redirect is another request.
	request, err := idempotent(post(strings.NewReader("x")))
	must(t, err)
	request.Response = &http.Response{}
	equal(t, processed(request, nil), 1)
}

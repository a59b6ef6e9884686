package blindbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestSessionSendsRequestsToTheAttestedPeer(t *testing.T) {
	emulator := emulate(t)
	session := emulator.session()
	response, err := session.Client().Post(session.URL("/generate"), "application/json", strings.NewReader(`{"prompt": "hi"}`))
	must(t, err)
	equal(t, content(t, response.Body), `{"text":"a response to: hi"}`)
	equal(t, response.Status, "200 OK")
	equal(t, response.Proto, "HTTP/2.0")
	equal(t, response.ProtoMajor, 2)
	equal(t, response.ContentLength, 28)
	equal(t, strings.HasPrefix(response.Header.Get("Content-Type"), "application/json"), true)
	equal(t, response.Request.URL.String(), session.URL("/generate"))
	attestation, err := session.Attestation()
	must(t, err)
	equal(t, attestation.Channel, "bound")
	equal(t, len(attestation.Appraisal()) > 10, true)
	equal(t, strings.Contains(attestation.String(), "debug"), true)
	_, err = session.Reattest(context.Background())
	must(t, err)
}

func TestMethodsAndStatuses(t *testing.T) {
	session := emulate(t).session()
	for _, method := range []string{"DELETE", "OPTIONS"} {
		request, err := http.NewRequest(method, session.URL("/echo"), nil)
		must(t, err)
		response, err := session.RoundTrip(request)
		must(t, err)
		equal(t, content(t, response.Body), method)
	}
	response, err := session.Client().Head(session.URL("/"))
	must(t, err)
	equal(t, content(t, response.Body), "")
	response, err = session.Client().Get(session.URL("/nowhere"))
	must(t, err)
	equal(t, response.StatusCode, 404)
	must(t, response.Body.Close())
}

func TestHeaders(t *testing.T) {
	emulator := emulate(t)
	session := emulator.session()
	request, err := http.NewRequest("GET", session.URL("/headers"), nil)
	must(t, err)
	request.Header.Set("X-Latin", "\xe4")
	request.Header.Add("X-Mine", "1")
	request.Header.Add("X-Mine", "2")
	request.Header.Set("Content-Length", "7")
	request.Header.Set("Host", request.URL.Host)
	response, err := session.RoundTrip(request)
	must(t, err)
	headers := content(t, response.Body)
	equal(t, strings.Contains(headers, `["x-mine","1"],["x-mine","2"]`), true)
	equal(t, strings.Contains(headers, `["x-latin","`), true)
	equal(t, strings.Contains(headers, "content-length"), false)
	before := emulator.traffic("application_requests")
	for name, change := range map[string]func(*http.Request){
		"host":      func(r *http.Request) { r.Host = "evil.example" },
		"header":    func(r *http.Request) { r.Header.Set("Host", "evil.example") },
		"upgrade":   func(r *http.Request) { r.Header.Set("Upgrade", "websocket") },
		"injection": func(r *http.Request) { r.Header["X"] = []string{"a\r\nb: c"} },
		"trailer":   func(r *http.Request) { r.Trailer = http.Header{"X": nil} },
		"opaque":    func(r *http.Request) { r.URL.Opaque = "//evil.example/" },
		"user":      func(r *http.Request) { r.URL.User = url.User("me") },
		"method":    func(r *http.Request) { r.Method = "G T" },
	} {
		request, err := http.NewRequest("GET", session.URL("/"), nil)
		must(t, err)
		change(request)
		if _, err := session.RoundTrip(request); !errors.Is(err, ErrInvalidRequest) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	request, err = http.NewRequest("GET", session.URL("/"), nil)
	must(t, err)
	request.Header["X\x00y"] = []string{"1"}
	if _, err := session.RoundTrip(request); !errors.Is(err, ErrMisconfigured) {
		t.Fatal(err)
	}
	equal(t, emulator.traffic("application_requests"), before)
}

func TestHeadersOfResponsesOfAnySize(t *testing.T) {
	session := emulate(t).session()
	var names []string
	for _, length := range []int{1, 1900, 2048, 5000} {
		to := "/" + strings.Repeat("x", length)
		request, err := http.NewRequest("GET", session.URL("/redirect?to="+to), nil)
		must(t, err)
		response, err := session.RoundTrip(request)
		must(t, err)
		must(t, response.Body.Close())
		equal(t, response.Header.Get("Location"), to)
		var found []string
		for name := range response.Header {
			found = append(found, name)
		}
		sort.Strings(found)
		if names == nil {
			names = found
		}
		// Those behind a long one too.
		equal(t, strings.Join(found, " "), strings.Join(names, " "))
	}
}

func TestOtherOriginsAndRedirects(t *testing.T) {
	received := 0
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { received++ }))
	defer canary.Close()
	emulator := emulate(t)
	session := emulator.session()
	before := emulator.traffic("application_requests")
	for _, target := range []string{canary.URL, strings.Replace(emulator.url, "https", "http", 1), "https://evil.example/"} {
		if _, err := session.Client().Get(target); !errors.Is(err, ErrInvalidRequest) {
			t.Fatalf("%s: %v", target, err)
		}
	}
	equal(t, emulator.traffic("application_requests"), before)
	// The transport returns a redirect; the client follows it within the origin only.
	request, err := http.NewRequest("GET", session.URL("/redirect?to="+canary.URL), nil)
	must(t, err)
	response, err := session.RoundTrip(request)
	must(t, err)
	must(t, response.Body.Close())
	equal(t, response.StatusCode, 302)
	equal(t, response.Header.Get("Location"), canary.URL)
	if _, err = session.Client().Do(request); !errors.Is(err, ErrInvalidRequest) {
		t.Fatal(err)
	}
	response, err = session.Client().Get(session.URL("/redirect?to=/echo"))
	must(t, err)
	must(t, response.Body.Close())
	equal(t, response.Request.URL.Path, "/echo")
	equal(t, received, 0)
}

func TestBodiesOfAMegabyte(t *testing.T) {
	session := emulate(t).session()
	sent := make([]byte, 3<<20)
	rand.New(rand.NewSource(1)).Read(sent)
	for name, body := range map[string]io.Reader{
		"in memory":       bytes.NewReader(sent[:1<<20]),
		"of known length": bytes.NewReader(sent),
		"as a stream":     io.MultiReader(bytes.NewReader(sent)),
	} {
		response, err := session.Client().Post(session.URL("/echo"), "application/octet-stream", body)
		must(t, err)
		received := content(t, response.Body)
		if !bytes.HasPrefix(sent, []byte(received)) || len(received) < 1<<20 {
			t.Fatalf("%s: %d bytes came back", name, len(received))
		}
	}
	response, err := session.Client().Get(session.URL("/large?bytes=3000000"))
	must(t, err)
	equal(t, len(content(t, response.Body)), 3_000_000)
}

type source struct {
	io.Reader
	closed chan struct{}
	once   sync.Once
}

func newSource(reader io.Reader) *source {
	return &source{Reader: reader, closed: make(chan struct{})}
}

func (s *source) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *source) wait(t *testing.T) {
	t.Helper()
	select {
	case <-s.closed:
	case <-time.After(long):
		t.Fatal("the body was not closed")
	}
}

func TestRequestBodyWhoseSourceFails(t *testing.T) {
	session := emulate(t).session()
	gone := errors.New("the disk is gone")
	body := newSource(io.MultiReader(strings.NewReader("begin"), failing{gone}))
	_, err := session.Client().Post(session.URL("/echo"), "text/plain", body)
	if !errors.Is(err, gone) || !errors.Is(err, ErrRequestBodyFailed) {
		t.Fatal(err)
	}
	body.wait(t)
	// Fewer bytes and more bytes than were announced.
	for _, length := range []int64{4, 6} {
		request, err := http.NewRequest("POST", session.URL("/echo"), newSource(strings.NewReader("12345")))
		must(t, err)
		request.ContentLength = length
		if _, err := session.RoundTrip(request); !errors.Is(err, ErrRequestBodyFailed) {
			t.Fatal(err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestRequestBodyIsClosedOnEachError(t *testing.T) {
	session := emulate(t).session()
	body := newSource(strings.NewReader("x"))
	request, err := http.NewRequest("POST", "https://evil.example/", body)
	must(t, err)
	if _, err := session.RoundTrip(request); !errors.Is(err, ErrInvalidRequest) {
		t.Fatal(err)
	}
	body.wait(t)
	must(t, session.Close())
	body = newSource(strings.NewReader("x"))
	request, err = http.NewRequest("POST", session.URL("/echo"), body)
	must(t, err)
	if _, err := session.RoundTrip(request); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	body.wait(t)
}

// stalled has a mebibyte, and no more until it is closed.
type stalled struct {
	*source
	left    int
	drained chan struct{}
}

func newStalled() *stalled {
	return &stalled{source: newSource(nil), left: 1 << 20, drained: make(chan struct{})}
}

func (s *stalled) Read(buffer []byte) (int, error) {
	if s.left == 0 {
		close(s.drained)
		<-s.closed
		return 0, io.ErrClosedPipe
	}
	if len(buffer) > s.left {
		buffer = buffer[:s.left]
	}
	for i := range buffer {
		buffer[i] = 'x'
	}
	s.left -= len(buffer)
	return len(buffer), nil
}

// sending sends a request in the background, and gives its error.
func sending(session *Session, request *http.Request) <-chan error {
	outcome := make(chan error, 1)
	go func() {
		_, err := session.RoundTrip(request)
		outcome <- err
	}()
	return outcome
}

func TestUploadThatIsWaitedForEndsWithItsContext(t *testing.T) {
	session := emulate(t).session()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	body := newStalled()
	request, err := http.NewRequestWithContext(ctx, "POST", session.URL("/echo"), body)
	must(t, err)
	outcome := sending(session, request)
	<-body.drained
	cancel()
	if err := <-outcome; !errors.Is(err, context.Canceled) || !errors.Is(err, ErrCancelled) {
		t.Fatal(err)
	}
	body.wait(t)
}

func TestContextEndsACallThatHangs(t *testing.T) {
	emulator := emulate(t)
	session := emulator.session()
	emulator.order("fail /=hang")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "GET", session.URL("/"), nil)
	must(t, err)
	outcome := sending(session, request)
	eventually(t, "the request did not arrive", func() bool { return emulator.traffic("application_requests") > 0 })
	cancel()
	var failure *Error
	if err := <-outcome; !errors.Is(err, context.Canceled) || !errors.As(err, &failure) || !failure.RequestSent {
		t.Fatal(err)
	}
	// A deadline: whether the request was sent by then is not known.
	short, stop := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer stop()
	request, err = http.NewRequestWithContext(short, "GET", session.URL("/"), nil)
	must(t, err)
	_, err = session.Client().Do(request)
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &failure) || !failure.Timeout() {
		t.Fatal(err)
	}
	// The limit of a client.
	client := session.Client()
	client.Timeout = 50 * time.Millisecond
	var failed *url.Error
	if _, err = client.Get(session.URL("/")); !errors.As(err, &failed) || !failed.Timeout() {
		t.Fatal(err)
	}
	emulator.order("reset")
	response, err := session.Client().Get(session.URL("/"))
	must(t, err)
	equal(t, content(t, response.Body), "hello from a BlindBox")
}

func TestNothingIsSentForAContextThatHasEnded(t *testing.T) {
	emulator := emulate(t)
	session := emulator.session()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	request, err := http.NewRequestWithContext(ctx, "GET", session.URL("/"), nil)
	must(t, err)
	var failure *Error
	if _, err := session.RoundTrip(request); !errors.Is(err, context.Canceled) || !errors.As(err, &failure) || failure.RequestSent {
		t.Fatal(err)
	}
	// What the session sends after it arrives alone.
	response, err := session.Client().Get(session.URL("/"))
	must(t, err)
	equal(t, content(t, response.Body), "hello from a BlindBox")
	equal(t, emulator.traffic("application_requests"), 1)
}

func TestContextEndsTheReadingOfABody(t *testing.T) {
	emulator := emulate(t)
	session := emulator.session()
	emulator.order("fail /=drip:60000")
	ctx, cancel := context.WithCancel(context.Background())
	request, err := http.NewRequestWithContext(ctx, "GET", session.URL("/"), nil)
	must(t, err)
	response, err := session.RoundTrip(request)
	must(t, err)
	timer := time.AfterFunc(50*time.Millisecond, cancel)
	defer timer.Stop()
	for i := 0; i < 2; i++ {
		if _, err := io.ReadAll(response.Body); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	must(t, response.Body.Close())
	// Closing from another goroutine ends a reading too.
	response, err = session.Client().Get(session.URL("/"))
	must(t, err)
	time.AfterFunc(50*time.Millisecond, func() { _ = response.Body.Close() })
	if _, err := io.ReadAll(response.Body); !errors.Is(err, ErrClosed) && !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Fatal(err)
	}
}

func TestBodyThatBreaksOffIsNeverAnEnd(t *testing.T) {
	emulator := emulate(t)
	session := emulator.session()
	emulator.order("fail /large=truncated")
	response, err := session.Client().Get(session.URL("/large?bytes=100000"))
	must(t, err)
	for i := 0; i < 2; i++ {
		_, err := io.ReadAll(response.Body)
		var failure *Error
		if !errors.Is(err, ErrApplicationUnreachable) || !errors.As(err, &failure) || !failure.RequestSent {
			t.Fatal(err)
		}
	}
}

func TestGoroutinesShareASession(t *testing.T) {
	session := emulate(t).session()
	var group sync.WaitGroup
	failures := make(chan error, 400)
	for i := 0; i < 20; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for j := 0; j < 20; j++ {
				response, err := session.Client().Post(session.URL("/echo"), "text/plain", strings.NewReader("x"))
				if err == nil {
					_, err = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
				}
				failures <- err
			}
		}()
	}
	group.Wait()
	close(failures)
	for err := range failures {
		must(t, err)
	}
}

func TestUploadEndsWithTheResponseThatIsGivenUp(t *testing.T) {
	session := emulate(t, "--application", respondEarly(t)).session()
	for name, giveUp := range map[string]func(*http.Response, context.CancelFunc){
		"closed":    func(response *http.Response, _ context.CancelFunc) { must(t, response.Body.Close()) },
		"cancelled": func(_ *http.Response, cancel context.CancelFunc) { cancel() },
	} {
		handles := openHandles.Load()
		ctx, cancel := context.WithCancel(context.Background())
		// It ends by itself never, and Close does not end a Read that waits.
		reader, writer := io.Pipe()
		body := newSource(reader)
		request, err := http.NewRequestWithContext(ctx, "POST", session.URL("/"), body)
		must(t, err)
		written := make(chan error, 1)
		go func() {
			var err error
			for err == nil {
				_, err = writer.Write(make([]byte, 1<<16))
			}
			written <- err
		}()
		response, err := session.RoundTrip(request)
		must(t, err)
		equal(t, len(response.Header["X-Empty"]), 1)
		equal(t, response.Header.Get("X-Empty"), "")
		giveUp(response, cancel)
		body.wait(t)
		must(t, reader.Close())
		if err := <-written; !errors.Is(err, io.ErrClosedPipe) {
			t.Fatal(err)
		}
		if name == "cancelled" {
			if _, err := io.ReadAll(response.Body); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			must(t, response.Body.Close())
		}
		cancel()
		eventually(t, name+": the upload goes on", func() bool { return openHandles.Load() <= handles })
	}
}

// The body has GetBody, and yet reading it waits.
func TestContextEndsARequestWhoseBodyCanBeReplayed(t *testing.T) {
	session := emulate(t).session()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	body := newStalled()
	request, err := http.NewRequestWithContext(ctx, "POST", session.URL("/echo"), body)
	must(t, err)
	request.ContentLength = wholeBody
	body.left = 1000
	request.GetBody = func() (io.ReadCloser, error) { return newStalled(), nil }
	outcome := sending(session, request)
	<-body.drained
	cancel()
	select {
	case err = <-outcome:
	case <-time.After(long):
	}
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	emulator := emulate(t)
	session := emulator.session()
	emulator.order("fail /slow=hang")
	before, handles := runtime.NumGoroutine(), openHandles.Load()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i := 0; i < 200; i++ {
		request, err := http.NewRequestWithContext(ctx, "POST", session.URL("/echo"), io.MultiReader(strings.NewReader("x")))
		must(t, err)
		response, err := session.RoundTrip(request)
		must(t, err)
		// Read to its end, or closed early.
		if i%2 == 0 {
			_, err = io.Copy(io.Discard, response.Body)
			must(t, err)
		} else {
			must(t, response.Body.Close())
		}
	}
	for i := 0; i < 20; i++ {
		short, stop := context.WithTimeout(ctx, time.Millisecond)
		request, err := http.NewRequestWithContext(short, "POST", session.URL("/slow"), newStalled())
		must(t, err)
		if _, err := session.RoundTrip(request); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		stop()
	}
	eventually(t, "goroutines are left", func() bool { return runtime.NumGoroutine() <= before })
	eventually(t, "objects of the library are left", func() bool { return openHandles.Load() <= handles })
}

func TestReverseProxy(t *testing.T) {
	session := emulate(t).session()
	target, err := url.Parse(session.URL(""))
	must(t, err)
	proxy := &httputil.ReverseProxy{Transport: session, Director: func(request *http.Request) {
		request.URL.Scheme, request.URL.Host, request.Host = target.Scheme, target.Host, ""
	}}
	server := httptest.NewServer(proxy)
	defer server.Close()
	response, err := http.Post(server.URL+"/echo", "text/plain", io.MultiReader(strings.NewReader("through")))
	must(t, err)
	equal(t, content(t, response.Body), "through")
}

func TestASessionThatIsClosedWhileItIsUsed(t *testing.T) {
	emulator := emulate(t)
	session, err := emulator.connect()
	must(t, err)
	response, err := session.Client().Get(session.URL("/large?bytes=1000000"))
	must(t, err)
	must(t, session.Close())
	must(t, session.Close())
	// Responses that are being read are not cut off.
	equal(t, len(content(t, response.Body)), 1_000_000)
	if _, err := session.Client().Get(session.URL("/")); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if _, err := session.Attestation(); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

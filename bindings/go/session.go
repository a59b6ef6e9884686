package blindbox

/*
#include <blindbox.h>

// Makes a request in one call: to enter C costs more than each of these functions. The texts are its method, its target, and names and
// values of headers, each with a zero behind it; their lengths do not count it.
static uint32_t request_new(
	const char *texts, const size_t *lengths, size_t headers, bool idempotent, bb_request **request, bb_error **error
) {
	const char *target = texts + lengths[0] + 1;
	uint32_t number = bb_request_new(texts, target, request, error);
	if (number) return number;
	if (idempotent) number = bb_request_idempotent(*request, error);
	const char *name = target + lengths[1] + 1;
	for (size_t i = 0; i < headers && !number; i++) {
		const size_t *of = lengths + 2 + 2 * i;
		const char *value = name + of[0] + 1;
		number = bb_request_header(*request, name, (const uint8_t *)value, of[1], error);
		name = value + of[1] + 1;
	}
	if (number) bb_request_free(*request);
	return number;
}
*/
import "C"

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"unsafe"
)

// Session is an HTTP session with an attested peer. It is an http.RoundTripper for the origin of its URL, and refuses every other. It
// follows no redirects. Goroutines may share it.
type Session struct {
	handle *handle
	url    string
}

func newSession(session *C.bb_session) (*Session, error) {
	var url *C.char
	var failure *C.bb_error
	if number := C.bb_session_url(session, &url, &failure); number != 0 {
		C.bb_session_free(session)
		return nil, failed(number, failure)
	}
	free := func(pointer unsafe.Pointer) { C.bb_session_free((*C.bb_session)(pointer)) }
	return &Session{newHandle(unsafe.Pointer(session), free), taken(url)}, nil
}

// Client returns a client whose requests go through the session. It follows redirects within the origin; one that leads elsewhere is
// an error.
func (s *Session) Client() *http.Client {
	return &http.Client{Transport: s}
}

// URL returns the URL of a target that begins with a slash, such as /generate.
func (s *Session) URL(target string) string {
	return s.url + target
}

// Close closes the session: further requests fail with ErrClosed. Responses that are being read are not cut off.
func (s *Session) Close() error {
	if session := (*C.bb_session)(s.handle.use()); session != nil {
		C.bb_session_close(session)
		s.handle.done()
	}
	s.handle.close()
	return nil
}

// with runs a call with the session.
func (s *Session) with(call func(*C.bb_session) error) error {
	if s.handle == nil {
		return misconfigured("expected a session of Connect, found an empty one")
	}
	session := (*C.bb_session)(s.handle.use())
	if session == nil {
		return own(ErrClosed, "the session is closed")
	}
	defer s.handle.done()
	return call(session)
}

// Attestation returns the latest attestation of the peer.
func (s *Session) Attestation() (*Attestation, error) {
	var attestation *Attestation
	err := s.with(func(session *C.bb_session) error {
		var json, table *C.char
		var failure *C.bb_error
		if number := C.bb_session_attestation(session, &json, &failure); number != 0 {
			return failed(number, failure)
		}
		fields := taken(json)
		if number := C.bb_session_attestation_table(session, &table, &failure); number != 0 {
			return failed(number, failure)
		}
		var err error
		attestation, err = newAttestation(fields, taken(table))
		return err
	})
	return attestation, err
}

// Reattest opens a new connection and attests its peer again, whatever is known of it.
func (s *Session) Reattest(ctx context.Context) (*Attestation, error) {
	watch, err := watchContext(ctx)
	if err != nil {
		return nil, err
	}
	defer watch.end()
	var attestation *Attestation
	err = s.with(func(session *C.bb_session) error {
		cancel := watch.use()
		defer watch.done(cancel)
		var json *C.char
		var failure *C.bb_error
		if number := C.bb_session_reattest(session, cancel, &json, &failure); number != 0 {
			return failedIn(ctx, number, failure)
		}
		attestation, err = newAttestation(taken(json), "")
		return err
	})
	return attestation, err
}

// RoundTrip sends a request to the attested peer, and returns when the head of the response is there. The body of the request is sent
// as it is read, and that of the response is received as it is read. When the context of the request ends, the request or the reading
// of its response ends too; the peer may have received it.
//
// Another origin, another Host, user information in the URL and trailers are refused with ErrInvalidRequest.
func (s *Session) RoundTrip(request *http.Request) (*http.Response, error) {
	var response *http.Response
	err := s.with(func(session *C.bb_session) error {
		var err error
		response, err = s.roundTrip(session, request)
		return err
	})
	if err != nil && request.Body != nil {
		// A round tripper always closes it. A source that is being read is also ended by that.
		_ = request.Body.Close()
	}
	// A session that is used is not finalized.
	runtime.KeepAlive(s)
	return response, err
}

func (s *Session) roundTrip(session *C.bb_session, request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	prepared, err := prepare(request)
	if err != nil {
		return nil, err
	}
	defer C.bb_request_free(prepared)
	upload, err := addBody(prepared, request)
	if err != nil {
		return nil, err
	}
	watch, err := watchContext(ctx)
	if err != nil {
		upload.abandon()
		return nil, err
	}
	cancel := watch.use()
	response, number, failure := send(session, prepared, cancel, upload)
	watch.done(cancel)
	if number != 0 {
		watch.end()
		upload.abandon()
		return nil, upload.explain(failedIn(ctx, number, failure))
	}
	return newResponse(request, response, watch, upload), nil
}

// send sends a request and waits for the head of its response.
func send(
	session *C.bb_session, request *C.bb_request, cancel *C.bb_cancel, upload *upload,
) (*C.bb_response, C.uint32_t, *C.bb_error) {
	var response *C.bb_response
	var failure *C.bb_error
	if upload == nil {
		number := C.bb_session_send(session, request, cancel, &response, &failure)
		return response, number, failure
	}
	var exchange *C.bb_exchange
	if number := C.bb_session_start(session, request, cancel, &exchange, &failure); number != 0 {
		return nil, number, failure
	}
	defer C.bb_exchange_free(exchange)
	go upload.run()
	number := C.bb_exchange_wait(exchange, &response, &failure)
	return response, number, failure
}

// idempotentKey is the key of a context's value.
type idempotentKey struct{}

// Idempotent returns a copy of a request with the statement that to process it twice has the same effect as to process it once. It counts
// in sessions with sealed messages (own-message-key): after an error that the front end may have made up, the request is sent again, at
// most twice. One whose body is read while it is sent is sent once: any but a buffer, bytes or a string of at most 1 MiB. GET, HEAD and
// OPTIONS are idempotent without it.
//
// The statement is a value of the request's context. It is not about the requests that a client makes of redirects.
func Idempotent(request *http.Request) *http.Request {
	return request.WithContext(context.WithValue(request.Context(), idempotentKey{}, true))
}

// Headers that belong to the message and not to its content. The core writes them; net/http leaves them out too.
var excluded = map[string]bool{"Content-Length": true, "Transfer-Encoding": true, "Trailer": true}

// prepare makes a request without its body. What it may be, the core decides.
func prepare(request *http.Request) (*C.bb_request, error) {
	switch {
	case request.URL == nil:
		return nil, invalidRequest("expected a URL, found nil")
	case request.URL.Opaque != "":
		return nil, invalidRequest("expected a URL without an opaque part")
	case request.Host != "" && request.Host != request.URL.Host:
		return nil, invalidRequest("expected no Host other than that of the URL: set Request.Host to \"\"")
	case len(request.Trailer) > 0:
		return nil, invalidRequest("expected no trailers")
	}
	name := request.Method
	if name == "" {
		name = http.MethodGet
	}
	var texts texts
	if err := texts.add("method", name); err != nil {
		return nil, err
	}
	if err := texts.add("url", request.URL.String()); err != nil {
		return nil, err
	}
	for name, values := range request.Header {
		// net/http leaves out every Host. The core refuses one: its caller expects another server than the one that is attested.
		if http.CanonicalHeaderKey(name) == "Host" && areHost(values, request.URL.Host) {
			continue
		}
		if err := addHeader(&texts, name, values); err != nil {
			return nil, err
		}
	}
	// A client keeps the context for the redirect that it follows, which has the response that it comes from.
	idempotent := request.Context().Value(idempotentKey{}) != nil && request.Response == nil
	var prepared *C.bb_request
	var failure *C.bb_error
	number := C.request_new(
		(*C.char)(unsafe.Pointer(&texts.bytes[0])), &texts.lengths[0], C.size_t(len(texts.lengths)/2-1), C.bool(idempotent),
		&prepared, &failure,
	)
	if number != 0 {
		return nil, failed(number, failure)
	}
	return prepared, nil
}

// texts are texts for C, with their lengths and a zero behind each.
type texts struct {
	bytes   []byte
	lengths []C.size_t
}

// add adds a text that a zero would end early.
func (t *texts) add(name, value string) error {
	if err := checkText(name, value); err != nil {
		return err
	}
	t.addBytes(value)
	return nil
}

// addBytes adds what has its length.
func (t *texts) addBytes(value string) {
	t.bytes = append(append(t.bytes, value...), 0)
	t.lengths = append(t.lengths, C.size_t(len(value)))
}

// areHost returns whether each value of a header is the host of the URL.
func areHost(values []string, host string) bool {
	for _, found := range values {
		if !strings.EqualFold(found, host) {
			return false
		}
	}
	return true
}

func addHeader(texts *texts, name string, values []string) error {
	if excluded[http.CanonicalHeaderKey(name)] {
		return nil
	}
	for _, value := range values {
		// An empty User-Agent stands for none, as in net/http.
		if value == "" && http.CanonicalHeaderKey(name) == "User-Agent" {
			continue
		}
		if err := texts.add("header", name); err != nil {
			return err
		}
		texts.addBytes(value)
	}
	return nil
}

// A body that is in memory already, up to this many bytes, is given whole: one call instead of one for each piece.
const wholeBody = 1 << 20

// The types that io.NopCloser makes, one for readers that write themselves.
var (
	noCloser         = reflect.TypeOf(io.NopCloser(nil))
	noCloserOfWriter = reflect.TypeOf(io.NopCloser(new(bytes.Buffer)))
)

// inMemory returns the source of a body that never waits, or nil: one that http.NewRequest makes of a buffer, of bytes or of a string. A
// body that has GetBody may be any other.
func inMemory(body io.Reader) io.WriterTo {
	if kind := reflect.TypeOf(body); kind == noCloser || kind == noCloserOfWriter {
		body, _ = reflect.ValueOf(body).Field(0).Interface().(io.Reader)
	}
	switch source := body.(type) {
	case *bytes.Buffer:
		return source
	case *bytes.Reader:
		return source
	case *strings.Reader:
		return source
	}
	return nil
}

// addBody adds the body of a request. The result is nil unless the body is written while it is sent.
func addBody(prepared *C.bb_request, request *http.Request) (*upload, error) {
	if request.Body == nil || request.Body == http.NoBody {
		return nil, nil
	}
	length := request.ContentLength
	source := inMemory(request.Body)
	if length <= 0 || length > wholeBody || source == nil {
		return newUpload(prepared, request.Body, length)
	}
	added := wholeWriter{request: prepared, length: length}
	_, err := source.WriteTo(&added)
	_ = request.Body.Close()
	if err == nil && !added.done {
		err = wrongLength()
	}
	return nil, err
}

// wholeWriter is written to once, with all of a body, which is not copied in between unless it is a string.
type wholeWriter struct {
	request *C.bb_request
	length  int64
	done    bool
}

func (w *wholeWriter) Write(content []byte) (int, error) {
	if int64(len(content)) != w.length || w.done {
		return 0, wrongLength()
	}
	var failure *C.bb_error
	if number := C.bb_request_body(w.request, first(content), C.size_t(len(content)), &failure); number != 0 {
		return 0, failed(number, failure)
	}
	w.done = true
	return len(content), nil
}

func wrongLength() error {
	return invalidRequest("expected a body as long as ContentLength")
}

package blindbox

/*
#include <string.h>
#include <blindbox.h>

// A head without pointers, which cgo would check: names and values of the headers, as far as there is room, one behind the other.
typedef struct {
	int status, major, minor;
	size_t count, copied, used;
	size_t lengths[2 * 32];
	char texts[2048];
} head;

typedef struct {
	const char *name;
	const uint8_t *value;
	size_t length;
} header;

static header header_at(const bb_response *response, size_t index) {
	header found;
	found.name = bb_response_header_name(response, index);
	found.value = bb_response_header_value(response, index, &found.length);
	return found;
}

// Reads a head in one call: to enter C costs more than each of these functions.
static void head_of(const bb_response *response, head *head) {
	const char *version = bb_response_version(response);
	head->status = bb_response_status(response);
	head->major = strcmp(version, "HTTP/2") ? 1 : 2;
	head->minor = strcmp(version, "HTTP/1.1") ? 0 : 1;
	head->count = bb_response_header_count(response);
	head->copied = head->used = 0;
	for (size_t i = 0; i < head->count && i < sizeof head->lengths / sizeof *head->lengths / 2; i++) {
		header found = header_at(response, i);
		size_t length = strlen(found.name);
		if (length + found.length > sizeof head->texts - head->used) break;
		memcpy(head->texts + head->used, found.name, length);
		memcpy(head->texts + head->used + length, found.value, found.length);
		head->lengths[2 * i] = length;
		head->lengths[2 * i + 1] = found.length;
		head->used += length + found.length;
		head->copied = i + 1;
	}
}
*/
import "C"

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"unsafe"
)

// newResponse makes the response of a request, whose body takes over what ends the request.
func newResponse(request *http.Request, native *C.bb_response, watch *watch, upload *upload) *http.Response {
	free := func(pointer unsafe.Pointer) { C.bb_response_free((*C.bb_response)(pointer)) }
	var head C.head
	C.head_of(native, &head)
	status, major, minor := int(head.status), int(head.major), int(head.minor)
	response := &http.Response{
		Status:        strconv.Itoa(status) + " " + http.StatusText(status),
		StatusCode:    status,
		Proto:         "HTTP/" + strconv.Itoa(major) + "." + strconv.Itoa(minor),
		ProtoMajor:    major,
		ProtoMinor:    minor,
		Header:        headers(native, &head),
		ContentLength: -1,
		Request:       request,
	}
	if length, err := strconv.ParseInt(response.Header.Get("Content-Length"), 10, 64); err == nil && length >= 0 {
		response.ContentLength = length
	}
	body := &body{handle: newHandle(unsafe.Pointer(native), free), watch: watch, upload: upload, ctx: request.Context()}
	if request.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified {
		_ = body.Close()
		response.Body = http.NoBody
		if request.Method != http.MethodHead {
			response.ContentLength = 0
		}
		return response
	}
	response.Body = body
	if upload != nil {
		// A peer may respond before it has all of the request, and the caller not read what it says.
		watch.alsoEnd(body.giveUp)
	}
	return response
}

func headers(native *C.bb_response, head *C.head) http.Header {
	count, copied := int(head.count), int(head.copied)
	headers := make(http.Header, count)
	// One string, which all of them are parts of.
	texts := C.GoStringN(&head.texts[0], C.int(head.used))
	next := func(length C.size_t) string {
		text := texts[:length]
		texts = texts[length:]
		return text
	}
	for i := 0; i < copied; i++ {
		name := next(head.lengths[2*i])
		headers.Add(name, next(head.lengths[2*i+1]))
	}
	for i := copied; i < count; i++ {
		found := C.header_at(native, C.size_t(i))
		// A copy, since the response may be freed before the header.
		value := string(unsafe.Slice((*byte)(unsafe.Pointer(found.value)), int(found.length)))
		headers.Add(C.GoString(found.name), value)
	}
	headers.Del("Transfer-Encoding")
	return headers
}

// body is the body of a response.
type body struct {
	handle *handle
	watch  *watch
	upload *upload
	ctx    context.Context
	mutex  sync.Mutex
	// Why nothing more can be read.
	ended error
}

// Read reads the next bytes. A body that broke off is an error on every call, and never io.EOF.
func (b *body) Read(buffer []byte) (int, error) {
	if len(buffer) == 0 {
		return 0, nil
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.ended != nil {
		return 0, b.ended
	}
	native := (*C.bb_response)(b.handle.use())
	if native == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	defer b.handle.done()
	cancel := b.watch.use()
	defer b.watch.done(cancel)
	var length C.size_t
	var failure *C.bb_error
	number := C.bb_response_read(native, first(buffer), C.size_t(len(buffer)), cancel, &length, &failure)
	if number != 0 {
		b.ended = b.upload.explain(failedIn(b.ctx, number, failure))
	} else if length == 0 {
		b.ended = io.EOF
	} else {
		return int(length), nil
	}
	b.end()
	return 0, b.ended
}

// giveUp ends the request and its response, but leaves it to Read to say why.
func (b *body) giveUp() {
	b.closeNative()
	b.upload.abandon()
}

// Close gives up the rest of the body, and that of the request's. A Read that waits ends with ErrClosed.
func (b *body) Close() error {
	b.closeNative()
	b.end()
	return nil
}

func (b *body) closeNative() {
	if native := (*C.bb_response)(b.handle.use()); native != nil {
		C.bb_response_close(native)
		b.handle.done()
	}
}

func (b *body) end() {
	b.upload.abandon()
	b.watch.end()
	b.handle.close()
}

package blindbox

// #include <blindbox.h>
import "C"

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"unsafe"
)

// newResponse makes the response of a request, whose body takes over what ends the request.
func newResponse(request *http.Request, native *C.bb_response, watch *watch, upload *upload) *http.Response {
	free := func(pointer unsafe.Pointer) { C.bb_response_free((*C.bb_response)(pointer)) }
	status := int(C.bb_response_status(native))
	response := &http.Response{
		Status:        fmt.Sprintf("%d %s", status, http.StatusText(status)),
		StatusCode:    status,
		Proto:         C.GoString(C.bb_response_version(native)),
		Header:        headers(native),
		ContentLength: -1,
		Request:       request,
	}
	response.ProtoMajor, response.ProtoMinor = 1, 1
	switch response.Proto {
	case "HTTP/2":
		response.Proto, response.ProtoMajor, response.ProtoMinor = "HTTP/2.0", 2, 0
	case "HTTP/1.0":
		response.ProtoMinor = 0
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

func headers(native *C.bb_response) http.Header {
	headers := http.Header{}
	for i := C.size_t(0); i < C.bb_response_header_count(native); i++ {
		var length C.size_t
		value := C.bb_response_header_value(native, i, &length)
		// A copy, since the response may be freed before the header.
		text := string(unsafe.Slice((*byte)(unsafe.Pointer(value)), int(length)))
		headers.Add(C.GoString(C.bb_response_header_name(native, i)), text)
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

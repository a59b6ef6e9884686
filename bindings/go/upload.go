package blindbox

// #include <blindbox.h>
import "C"

import (
	"errors"
	"io"
	"sync"
	"unsafe"
)

// The size of the pieces in which a body is read.
const pieceBytes = 64 << 10

// upload is a request body that is written while it is sent.
type upload struct {
	handle *handle
	source io.ReadCloser
	once   sync.Once
	mutex  sync.Mutex
	cause  error
}

func newUpload(prepared *C.bb_request, source io.ReadCloser, length int64) (*upload, error) {
	announced := C.uint64_t(C.BB_LENGTH_UNKNOWN)
	if length > 0 {
		announced = C.uint64_t(length)
	}
	var made *C.bb_upload
	var failure *C.bb_error
	if number := C.bb_upload_new(announced, &made, &failure); number != 0 {
		return nil, failed(number, failure)
	}
	free := func(pointer unsafe.Pointer) { C.bb_upload_free((*C.bb_upload)(pointer)) }
	upload := &upload{handle: newHandle(unsafe.Pointer(made), free), source: source}
	if number := C.bb_request_upload(prepared, made, &failure); number != 0 {
		upload.handle.close()
		return nil, failed(number, failure)
	}
	return upload, nil
}

// run reads the source to its end, or until the request takes no more.
func (u *upload) run() {
	native := (*C.bb_upload)(u.handle.use())
	if native == nil {
		return
	}
	// Whatever ends this, also a panic of the source: freeing the upload fails a body that has not ended.
	defer u.handle.close()
	defer u.handle.done()
	defer u.closeSource()
	piece := make([]byte, pieceBytes)
	for {
		length, err := u.source.Read(piece)
		if length > 0 && !write(native, piece[:length]) {
			return
		}
		if errors.Is(err, io.EOF) {
			C.bb_upload_finish(native)
			return
		}
		if err != nil {
			u.fail(native, err)
			return
		}
	}
}

// write gives the request the next piece, and returns whether it takes more.
func write(native *C.bb_upload, piece []byte) bool {
	var taken C.bool
	var failure *C.bb_error
	if number := C.bb_upload_write(native, first(piece), C.size_t(len(piece)), nil, &taken, &failure); number != 0 {
		C.bb_error_free(failure)
		return false
	}
	return bool(taken)
}

func (u *upload) fail(native *C.bb_upload, err error) {
	u.mutex.Lock()
	u.cause = err
	u.mutex.Unlock()
	reason, textErr := text("reason", err.Error())
	if textErr == nil {
		defer freeText(reason)
	}
	// The body fails also where the reason cannot be reported.
	C.bb_upload_fail(native, reason, nil)
}

// abandon ends the upload of a request that is over. A source that is being read is closed, as by net/http.
func (u *upload) abandon() {
	if u != nil {
		u.closeSource()
		u.handle.close()
	}
}

func (u *upload) closeSource() {
	u.once.Do(func() { _ = u.source.Close() })
}

// explain makes an error that comes from the source wrap the source's own.
func (u *upload) explain(err error) error {
	var made *Error
	if u != nil && errors.As(err, &made) && made.Code == ErrRequestBodyFailed {
		u.mutex.Lock()
		made.cause = u.cause
		u.mutex.Unlock()
	}
	return err
}

package blindbox

// #include <blindbox.h>
import "C"

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

// handle is an object of the library. It is freed when it was closed and no call uses it any more. The finalizer is for objects that
// were not closed.
type handle struct {
	mutex   sync.Mutex
	pointer unsafe.Pointer
	users   int
	closed  bool
	free    func(unsafe.Pointer)
}

// openHandles counts the handles that were not freed; tests look at it.
var openHandles atomic.Int64

func newHandle(pointer unsafe.Pointer, free func(unsafe.Pointer)) *handle {
	openHandles.Add(1)
	made := &handle{pointer: pointer, free: free}
	runtime.SetFinalizer(made, (*handle).close)
	return made
}

// use returns the pointer until done is called. After close, and of an empty value of an exported type, it returns nil, and done must not
// be called.
func (h *handle) use() unsafe.Pointer {
	if h == nil {
		return nil
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.closed {
		return nil
	}
	h.users++
	return h.pointer
}

func (h *handle) done() {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.users--
	h.freeUnused()
}

// with runs a call with the pointer, which is nil where use has none: the library then reports that it expected one.
func (h *handle) with(call func(unsafe.Pointer)) {
	pointer := h.use()
	if pointer != nil {
		defer h.done()
	}
	call(pointer)
}

func (h *handle) close() {
	if h == nil {
		return
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.closed = true
	h.freeUnused()
}

func (h *handle) freeUnused() {
	if h.closed && h.users == 0 && h.pointer != nil {
		h.free(h.pointer)
		openHandles.Add(-1)
		h.pointer = nil
		runtime.SetFinalizer(h, nil)
	}
}

// watch ends calls of the library when a context ends.
type watch struct {
	// nil for a context that never ends.
	cancel *handle
	once   sync.Once
	ended  chan struct{}
	// What else ends with the context.
	also chan func()
}

func watchContext(ctx context.Context) (*watch, error) {
	if ctx.Done() == nil {
		return &watch{}, nil
	}
	// The goroutine below may see the end too late: nothing is to be sent.
	if err := ctx.Err(); err != nil {
		return nil, cancelledBefore(err)
	}
	var cancel *C.bb_cancel
	var failure *C.bb_error
	if number := C.bb_cancel_new(&cancel, &failure); number != 0 {
		return nil, failed(number, failure)
	}
	// Two references: that of this watch, and that of the goroutine, which may trigger it after the watch has ended.
	C.bb_cancel_retain(cancel)
	made := &watch{ended: make(chan struct{}), also: make(chan func(), 1)}
	made.cancel = newHandle(unsafe.Pointer(cancel), func(pointer unsafe.Pointer) { C.bb_cancel_release((*C.bb_cancel)(pointer)) })
	ended, also := made.ended, made.also
	go func() {
		defer C.bb_cancel_release(cancel)
		select {
		case <-ctx.Done():
			C.bb_cancel_trigger(cancel)
		case <-ended:
			return
		}
		select {
		case end := <-also:
			end()
		case <-ended:
		}
	}()
	return made, nil
}

// alsoEnd calls a function when the context ends before the watch does. At most once for each watch.
func (w *watch) alsoEnd(end func()) {
	if w.cancel != nil {
		w.also <- end
	}
}

// use returns the handle for a call; done must be called after it.
func (w *watch) use() *C.bb_cancel {
	if w.cancel == nil {
		return nil
	}
	return (*C.bb_cancel)(w.cancel.use())
}

func (w *watch) done(used *C.bb_cancel) {
	if used != nil {
		w.cancel.done()
	}
}

// end stops watching. It may be called twice.
func (w *watch) end() {
	if w.cancel != nil {
		w.once.Do(func() {
			close(w.ended)
			w.cancel.close()
		})
	}
}

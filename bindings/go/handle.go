package blindbox

// #include <blindbox.h>
import "C"

import (
	"context"
	"runtime"
	"sync"
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

func newHandle(pointer unsafe.Pointer, free func(unsafe.Pointer)) *handle {
	made := &handle{pointer: pointer, free: free}
	runtime.SetFinalizer(made, (*handle).close)
	return made
}

// use returns the pointer until done is called; nil after close.
func (h *handle) use() unsafe.Pointer {
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

func (h *handle) close() {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.closed = true
	h.freeUnused()
}

func (h *handle) freeUnused() {
	if h.closed && h.users == 0 && h.pointer != nil {
		h.free(h.pointer)
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
	made := &watch{ended: make(chan struct{})}
	made.cancel = newHandle(unsafe.Pointer(cancel), func(pointer unsafe.Pointer) { C.bb_cancel_release((*C.bb_cancel)(pointer)) })
	ended := made.ended
	go func() {
		select {
		case <-ctx.Done():
			C.bb_cancel_trigger(cancel)
		case <-ended:
		}
		C.bb_cancel_release(cancel)
	}()
	return made, nil
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

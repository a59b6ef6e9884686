// Package blindbox connects to a BlindBox, an application in an AMD SEV-SNP confidential container or VM on Azure. A session exists
// only if the peer has proven, over the same connection, what it runs; otherwise there is an error and nothing was sent.
//
//	session, err := blindbox.Connect(ctx, "https://my-app.example", policy)
//	if errors.Is(err, blindbox.ErrDebugMode) { ... }
//	response, err := session.Client().Post(session.URL("/generate"), "application/json", body)
//
// All checks are made by the Rust core, which is linked statically: build it with `bindings/go/build`. A call that waits holds a
// thread of the operating system, as one that reads a file does; limit how many wait at the same time.
package blindbox

/*
#cgo CFLAGS: -I${SRCDIR}/lib/include
#cgo linux,amd64 LDFLAGS: ${SRCDIR}/lib/linux_amd64/libblindbox.a
#cgo linux,arm64 LDFLAGS: ${SRCDIR}/lib/linux_arm64/libblindbox.a
#cgo linux LDFLAGS: -lgcc_s -lutil -lrt -lpthread -lm -ldl
#cgo darwin,amd64 LDFLAGS: ${SRCDIR}/lib/darwin_amd64/libblindbox.a
#cgo darwin,arm64 LDFLAGS: ${SRCDIR}/lib/darwin_arm64/libblindbox.a
#cgo darwin LDFLAGS: -framework Security -framework CoreFoundation -liconv -lSystem -lm
#include <stdlib.h>
#include <blindbox.h>
*/
import "C"

import (
	"fmt"
	"strings"
	"unsafe"
)

// Version is the version of this package. That of the native library is the same.
const Version = "0.1.0"

func init() {
	for _, found := range []string{C.BB_VERSION, C.GoString(C.bb_version())} {
		if err := checkVersion(found); err != nil {
			panic(err)
		}
	}
}

// checkVersion refuses a native library of another version.
func checkVersion(found string) error {
	if found != Version {
		return fmt.Errorf("blindbox: expected the native library %s, found %s: run bindings/go/build again", Version, found)
	}
	return nil
}

// text copies a text for C, to be freed by freeText.
func text(name, value string) (*C.char, error) {
	if err := checkText(name, value); err != nil {
		return nil, err
	}
	return C.CString(value), nil
}

// checkText refuses a text with a zero, which would end it early.
func checkText(name, value string) error {
	if strings.IndexByte(value, 0) >= 0 {
		return misconfigured(name + ": expected text without a zero byte")
	}
	return nil
}

func freeText(value *C.char) {
	C.free(unsafe.Pointer(value))
}

// taken returns a text of the library, and frees it.
func taken(value *C.char) string {
	if value == nil {
		return ""
	}
	defer C.bb_string_free(value)
	return C.GoString(value)
}

// first returns a pointer to bytes that are borrowed for a call; nil if there are none.
func first(bytes []byte) *C.uint8_t {
	if len(bytes) == 0 {
		return nil
	}
	return (*C.uint8_t)(unsafe.Pointer(&bytes[0]))
}

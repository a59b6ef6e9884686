package blindbox

// #include <blindbox.h>
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unsafe"
)

// Category says what an error means for the peer.
type Category string

// The categories. Compare with errors.Is.
const (
	// ErrRejected: the evidence is genuine, but the policy does not accept it.
	ErrRejected Category = "rejected"
	// ErrUntrusted: the evidence is not genuine or not about this peer. Assume an attack.
	ErrUntrusted Category = "untrusted"
	// ErrUnavailable: attestation or a request could not be completed; nothing is known about the peer.
	ErrUnavailable Category = "unavailable"
	// ErrMisconfigured: settings or arguments of the caller are wrong.
	ErrMisconfigured Category = "misconfigured"
	// ErrInternal: a fault of this library; nothing was verified.
	ErrInternal Category = "internal"
)

// Error returns the category.
func (c Category) Error() string {
	return string(c)
}

// ErrorCode is the frozen code of an error, such as debug-mode. Compare with errors.Is: codes.go names all.
type ErrorCode string

// Error returns the code.
func (c ErrorCode) Error() string {
	return string(c)
}

// Error is why there is no attested connection, or why a request failed. Get it with errors.As. Its fields hold nothing that identifies
// a machine.
type Error struct {
	// Code never changes between releases.
	Code ErrorCode
	// Number never changes between releases.
	Number int
	// Name is that of the error type in other languages, such as DebugMode.
	Name string
	// Category says what it means for the peer.
	Category Category
	// Retryable is whether the same call may succeed later without any change of settings or deployment. It does not say that a request
	// may be repeated: that depends on RequestSent.
	Retryable bool
	// RequestSent is whether the peer may have received the request that failed. If so, repeat it only if processing it twice does no harm.
	RequestSent bool
	// Message is the reason, for people.
	Message string

	appraisal string
	cause     error
}

// Check is one check of an appraisal.
type Check struct {
	Name string `json:"name"`
	// Verdict is passed, allowed, failed or not-evaluated.
	Verdict  string `json:"verdict"`
	Expected string `json:"expected"`
	Actual   string `json:"actual"`
	Why      string `json:"why,omitempty"`
}

// Error returns the reason.
func (e *Error) Error() string {
	return "blindbox: " + e.Message
}

// GoString returns the error without its appraisal, so that %#v does not show it.
func (e *Error) GoString() string {
	return fmt.Sprintf("&blindbox.Error{Code:%q, Number:%d, Message:%q}", e.Code, e.Number, e.Message)
}

// Appraisal returns every check, if the evidence was genuine and was appraised; otherwise nil. It holds values that identify a machine:
// do not log it.
func (e *Error) Appraisal() []Check {
	var checks []Check
	if e.appraisal == "" || json.Unmarshal([]byte(e.appraisal), &checks) != nil {
		return nil
	}
	return checks
}

// Is returns whether the target is the code or the category of the error.
func (e *Error) Is(target error) bool {
	switch target := target.(type) {
	case ErrorCode:
		return target == e.Code
	case Category:
		return target == e.Category
	}
	return false
}

// Unwrap returns the error of the context or of the request body that it comes from, if there is one.
func (e *Error) Unwrap() error {
	return e.cause
}

// Timeout returns whether a limit of time was reached, as for net.Error.
func (e *Error) Timeout() bool {
	return e.Code == ErrTimeout || errors.Is(e.cause, context.DeadlineExceeded)
}

// Temporary returns Retryable, as for net.Error.
func (e *Error) Temporary() bool {
	return e.Retryable
}

// Code describes one kind of error.
type Code struct {
	Code      ErrorCode
	Number    int
	Category  Category
	Retryable bool
	Name      string
}

// Codes returns all kinds of errors in the order of their numbers.
func Codes() []Code {
	var count C.size_t
	codes := C.bb_codes(&count)
	var made []Code
	for _, code := range unsafe.Slice(codes, int(count)) {
		made = append(made, Code{
			Code:      ErrorCode(C.GoString(code.code)),
			Number:    int(code.number),
			Category:  Category(C.GoString(code.category)),
			Retryable: bool(code.retryable),
			Name:      C.GoString(code.name),
		})
	}
	return made
}

// failed makes the error of a call, and frees that of the library.
func failed(number C.uint32_t, failure *C.bb_error) error {
	if failure == nil {
		return &Error{Code: "internal", Number: int(number), Category: ErrInternal, Message: "an error without details"}
	}
	defer C.bb_error_free(failure)
	made := &Error{
		Code:        ErrorCode(C.GoString(C.bb_error_code(failure))),
		Number:      int(C.bb_error_number(failure)),
		Name:        C.GoString(C.bb_error_name(failure)),
		Category:    Category(C.GoString(C.bb_error_category(failure))),
		Retryable:   bool(C.bb_error_retryable(failure)),
		RequestSent: bool(C.bb_error_request_sent(failure)),
		Message:     C.GoString(C.bb_error_message(failure)),
	}
	if appraisal := C.bb_error_appraisal(failure); appraisal != nil {
		made.appraisal = C.GoString(appraisal)
	}
	return made
}

// failedIn is failed for a call under a context: an error that comes from its end wraps the context's.
func failedIn(ctx context.Context, number C.uint32_t, failure *C.bb_error) error {
	err := failed(number, failure)
	var made *Error
	if errors.As(err, &made) && made.Code == ErrCancelled {
		made.cause = ctx.Err()
	}
	return err
}

// own makes an error of this package, of a kind that the library has.
func own(code ErrorCode, message string) error {
	for _, known := range Codes() {
		if known.Code == code {
			return &Error{
				Code: code, Number: known.Number, Name: known.Name, Category: known.Category, Retryable: known.Retryable, Message: message,
			}
		}
	}
	return &Error{Code: "internal", Number: 902, Category: ErrInternal, Message: message}
}

// cancelledBefore is the error of a call whose context had ended before it was made.
func cancelledBefore(cause error) error {
	err := own(ErrCancelled, "cancelled before anything was sent: "+cause.Error())
	var made *Error
	if errors.As(err, &made) {
		made.cause = cause
	}
	return err
}

func misconfigured(reason string) error {
	return own("misconfigured", "misconfigured: "+reason)
}

func invalidRequest(reason string) error {
	return own(ErrInvalidRequest, "invalid request: "+reason)
}

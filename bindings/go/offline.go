package blindbox

// #include <stdlib.h>
// #include <blindbox.h>
import "C"

import (
	"encoding/json"
	"strconv"
	"time"
	"unsafe"
)

// Attestation is verified evidence that a policy accepts. String is a table for people, in which values that identify a machine are
// shortened.
type Attestation struct {
	// Channel is how the connection is tied to the evidence: bound, or an unbound form; "" for recorded evidence.
	Channel string
	json    string
	table   string
}

func newAttestation(fields, table string) (*Attestation, error) {
	var parsed struct {
		Channel string `json:"channel"`
	}
	if err := json.Unmarshal([]byte(fields), &parsed); err != nil {
		return nil, own("internal", err.Error())
	}
	return &Attestation{parsed.Channel, fields, table}, nil
}

// JSON returns all of it, as in the JSON of the command. It holds values that identify a machine: do not log it.
func (a *Attestation) JSON() json.RawMessage {
	return json.RawMessage(a.json)
}

// Appraisal returns every check. It holds values that identify a machine: do not log it.
func (a *Attestation) Appraisal() []Check {
	var parsed struct {
		Appraisal []Check `json:"appraisal"`
	}
	if err := json.Unmarshal([]byte(a.json), &parsed); err != nil {
		return nil
	}
	return parsed.Appraisal
}

// Claims returns the state of the TEE.
func (a *Attestation) Claims() map[string]any {
	var parsed struct {
		Claims map[string]any `json:"claims"`
	}
	if err := json.Unmarshal([]byte(a.json), &parsed); err != nil {
		return nil
	}
	return parsed.Claims
}

// String returns a table for people.
func (a *Attestation) String() string {
	if a.table != "" {
		return a.table
	}
	table := ""
	for _, check := range a.Appraisal() {
		table += check.Verdict + "  " + check.Name + "\n"
	}
	return table
}

// GoString returns the same, so that %#v shows no values that identify a machine.
func (a *Attestation) GoString() string {
	return a.String()
}

// Collected is evidence as received: nothing of it is verified, and nothing leads from it to a session.
type Collected struct {
	handle *handle
}

// Close frees the evidence: Documents then returns none, and the other methods an error. What they returned stays.
func (c *Collected) Close() error {
	c.handle.close()
	return nil
}

// with runs a call with the evidence.
func (c *Collected) with(call func(*C.bb_collected) error) error {
	if c.handle == nil {
		return misconfigured("expected evidence of Collect, found an empty value")
	}
	native := (*C.bb_collected)(c.handle.use())
	if native == nil {
		return own(ErrClosed, "the evidence is closed")
	}
	defer c.handle.done()
	return call(native)
}

// Documents returns the documents by the names of the files that `blindbox-attest fetch` saves, such as token.jwt.
func (c *Collected) Documents() map[string][]byte {
	documents := map[string][]byte{}
	// Closed evidence has none.
	_ = c.with(func(native *C.bb_collected) error {
		for i := C.size_t(0); i < C.bb_collected_count(native); i++ {
			var length C.size_t
			bytes := C.bb_collected_bytes(native, i, &length)
			documents[C.GoString(C.bb_collected_name(native, i))] = C.GoBytes(unsafe.Pointer(bytes), C.int(length))
		}
		return nil
	})
	return documents
}

// About returns how and when the peer was asked, as JSON.
func (c *Collected) About() (json.RawMessage, error) {
	var about *C.char
	err := c.with(func(native *C.bb_collected) error {
		var failure *C.bb_error
		if number := C.bb_collected_about(native, &about, &failure); number != 0 {
			return failed(number, failure)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return json.RawMessage(taken(about)), nil
}

// Verify returns the verdict of a policy on the evidence as a record: it proves nothing about a later connection.
func (c *Collected) Verify(policy *Policy) (*Attestation, error) {
	if policy == nil {
		return nil, misconfigured("expected a policy, found nil")
	}
	var verdict *C.char
	err := c.with(func(native *C.bb_collected) error {
		var failure *C.bb_error
		var number C.uint32_t
		policy.handle.with(func(policy unsafe.Pointer) {
			number = C.bb_collected_verify(native, (*C.bb_policy)(policy), &verdict, &failure)
		})
		if number != 0 {
			return failed(number, failure)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return newAttestation(taken(verdict), "")
}

// Recorded is recorded evidence, and what the caller knows from elsewhere. What is not there is nil.
type Recorded struct {
	// Documents are evidence and endorsements by the names of the files that `blindbox-attest fetch` writes, those of a confidential VM
	// included, each in any form that the command reads. Its policy and its notes about the request (policy.toml, about.json) may be
	// among them, and are not read; other names are refused. key-set.json proves nothing: it is used only if KeySet is nil, and refused
	// unless the policy pins the key.
	Documents map[string][]byte
	// KeySet is that of the MAA instance, whose origin the caller knows.
	KeySet []byte
	// AMDRoots replace AMD's roots, in PEM.
	AMDRoots []byte
	// AKRoot replaces Azure's root of virtual TPMs, in PEM.
	AKRoot []byte
}

// native holds copies of what a call is about, in memory of C: Go pointers within Go pointers must not cross.
type native struct {
	recorded *C.bb_recorded
	copies   []unsafe.Pointer
}

// bytes copies content, and one byte more, so that text ends with a zero and no copy is empty.
func (n *native) bytes(content []byte) unsafe.Pointer {
	copied := C.CBytes(append(append([]byte{}, content...), 0))
	n.copies = append(n.copies, copied)
	return copied
}

// text copies text in PEM, of which there may be none.
func (n *native) text(content []byte) *C.char {
	if content == nil {
		return nil
	}
	return (*C.char)(n.bytes(content))
}

func (n *native) room(size C.size_t) unsafe.Pointer {
	room := C.calloc(1, size)
	n.copies = append(n.copies, room)
	return room
}

func (n *native) free() {
	for _, copied := range n.copies {
		C.free(copied)
	}
}

// newNative copies recorded evidence, to be freed. A text that C would cut at a zero byte is refused.
func newNative(recorded Recorded) (*native, error) {
	texts := map[string]string{"AMDRoots": string(recorded.AMDRoots), "AKRoot": string(recorded.AKRoot)}
	for name := range recorded.Documents {
		texts["Documents: the name "+strconv.Quote(name)] = name
	}
	for name, value := range texts {
		if err := checkText(name, value); err != nil {
			return nil, err
		}
	}
	n := &native{}
	n.recorded = (*C.bb_recorded)(n.room(C.sizeof_bb_recorded))
	if recorded.KeySet != nil {
		n.recorded.key_set = (*C.uint8_t)(n.bytes(recorded.KeySet))
		n.recorded.key_set_length = C.size_t(len(recorded.KeySet))
	}
	n.recorded.amd_roots = n.text(recorded.AMDRoots)
	n.recorded.ak_root = n.text(recorded.AKRoot)
	if count := len(recorded.Documents); count > 0 {
		n.recorded.documents = (*C.bb_document)(n.room(C.size_t(count) * C.sizeof_bb_document))
		n.recorded.document_count = C.size_t(count)
		documents := unsafe.Slice(n.recorded.documents, count)
		i := 0
		for name, content := range recorded.Documents {
			documents[i].name = n.text([]byte(name))
			documents[i].data = (*C.uint8_t)(n.bytes(content))
			documents[i].length = C.size_t(len(content))
			i++
		}
	}
	return n, nil
}

// VerifyRecorded verifies recorded evidence and appraises it against a policy, for a time. The result proves neither freshness nor
// whose connection it was.
func VerifyRecorded(recorded Recorded, policy *Policy, at time.Time) (*Attestation, error) {
	if policy == nil {
		return nil, misconfigured("expected a policy, found nil")
	}
	given, err := newNative(recorded)
	if err != nil {
		return nil, err
	}
	defer given.free()
	var verdict *C.char
	var failure *C.bb_error
	var number C.uint32_t
	policy.handle.with(func(policy unsafe.Pointer) {
		number = C.bb_verify_recorded(given.recorded, (*C.bb_policy)(policy), seconds(at), &verdict, &failure)
	})
	if number != 0 {
		return nil, failed(number, failure)
	}
	return newAttestation(taken(verdict), "")
}

// VerifyUnappraised verifies evidence without appraising it: its content is genuine, and nothing says that it is acceptable.
// maaIssuer is the MAA instance of the token, "" without a token. It returns claims as JSON.
func VerifyUnappraised(recorded Recorded, maaIssuer string, at time.Time) (json.RawMessage, error) {
	given, err := newNative(recorded)
	if err != nil {
		return nil, err
	}
	defer given.free()
	var issuer *C.char
	if maaIssuer != "" {
		if issuer, err = text("maaIssuer", maaIssuer); err != nil {
			return nil, err
		}
		defer freeText(issuer)
	}
	var claims *C.char
	var failure *C.bb_error
	if number := C.bb_verify_unappraised(given.recorded, issuer, seconds(at), &claims, &failure); number != 0 {
		return nil, failed(number, failure)
	}
	return json.RawMessage(taken(claims)), nil
}

// seconds is a time for the core, which has none before 1970.
func seconds(at time.Time) C.uint64_t {
	if at.Unix() < 0 {
		return 0
	}
	return C.uint64_t(at.Unix())
}

// Inspect returns what the bytes of a file are, for display: a JSON array of objects with kind, verified, why and the contents. What
// they say is not verified.
func Inspect(content []byte) (json.RawMessage, error) {
	var found *C.char
	var failure *C.bb_error
	if number := C.bb_inspect(first(content), C.size_t(len(content)), &found, &failure); number != 0 {
		return nil, failed(number, failure)
	}
	return json.RawMessage(taken(found)), nil
}

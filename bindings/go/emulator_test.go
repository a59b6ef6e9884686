package blindbox

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// So long a test waits for what must happen.
const long = time.Minute

// emulator is a running `blindbox-attest emulate`: a BlindBox and an MAA on loopback, with real signatures.
type emulator struct {
	t        *testing.T
	url      string
	options  []Option
	policy   *Policy
	amdRoots []byte
	akRoot   []byte
	orders   io.WriteCloser
	outcomes *bufio.Reader
}

func emulate(t *testing.T, arguments ...string) *emulator {
	t.Helper()
	program := os.Getenv("BLINDBOX_ATTEST")
	if program == "" {
		program = "../../target/debug/blindbox-attest"
	}
	directory := t.TempDir()
	command := exec.Command(program, append([]string{"emulate", "--out", directory}, arguments...)...)
	orders, err := command.StdinPipe()
	must(t, err)
	outcomes, err := command.StdoutPipe()
	must(t, err)
	must(t, command.Start())
	t.Cleanup(func() {
		// It ends when its standard input does.
		_ = orders.Close()
		_ = command.Wait()
	})
	made := &emulator{t: t, orders: orders, outcomes: bufio.NewReader(outcomes)}
	var about struct {
		URL string
		KDS struct{ URL string }
	}
	must(t, json.Unmarshal([]byte(made.line()), &about))
	made.url = about.URL
	read := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(directory, name))
		must(t, err)
		return content
	}
	made.policy, err = ReadPolicy(filepath.Join(directory, "policy.toml"))
	must(t, err)
	made.options = []Option{
		WithApplicationRoots(read("application-root.pem")), WithCollateralRoots(read("collateral-root.pem")),
	}
	if about.KDS.URL != "" {
		made.amdRoots = read("amd-roots.pem")
		made.options = append(made.options, WithAMDRoots(made.amdRoots), WithKDS(about.KDS.URL))
	}
	if content, err := os.ReadFile(filepath.Join(directory, "ak-root.pem")); err == nil {
		made.akRoot = content
		made.options = append(made.options, WithAKRoot(content))
	}
	return made
}

func (e *emulator) line() string {
	e.t.Helper()
	line, err := e.outcomes.ReadString('\n')
	must(e.t, err)
	return line
}

// order gives an order, and returns its outcome.
func (e *emulator) order(text string) map[string]any {
	e.t.Helper()
	_, err := fmt.Fprintln(e.orders, text)
	must(e.t, err)
	outcome := map[string]any{}
	must(e.t, json.Unmarshal([]byte(e.line()), &outcome))
	if outcome["ok"] != true {
		e.t.Fatal(outcome)
	}
	return outcome
}

func (e *emulator) traffic(name string) float64 {
	e.t.Helper()
	return e.order("traffic")[name].(float64)
}

func (e *emulator) connect() (*Session, error) {
	return Connect(context.Background(), e.url, e.policy, e.options...)
}

func (e *emulator) session() *Session {
	e.t.Helper()
	session, err := e.connect()
	must(e.t, err)
	e.t.Cleanup(func() { _ = session.Close() })
	return session
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, found, expected T) {
	t.Helper()
	if found != expected {
		t.Fatalf("expected %v, found %v", expected, found)
	}
}

// respondEarly returns the URL of an application that responds as soon as it has the headers of a request, with the beginning of a body,
// and reads and sends nothing more as long as the connection is open.
func respondEarly(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = connection.Close() })
			reader := bufio.NewReaderSize(connection, 1024)
			for line := ""; err == nil && line != "\r\n"; {
				line, err = reader.ReadString('\n')
			}
			_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nX-Empty:\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n")
		}
	}()
	return "http://" + listener.Addr().String()
}

// eventually waits for what happens after a call has returned.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(long); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func content(t *testing.T, reader io.ReadCloser) string {
	t.Helper()
	text, err := io.ReadAll(reader)
	must(t, err)
	must(t, reader.Close())
	return string(text)
}

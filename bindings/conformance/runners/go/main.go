// Carries out the commands of the conformance suite with the Go package: an http.Client over a session, contexts, errors.As.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"blindbox-attestation/bindings/go"
)

type object = map[string]any

type command struct {
	Do, URL, Policy, KDS, Method, Target, Header, Show, Directory string
	Streamed, Beside                                              bool
	Bytes                                                         *int
	At, Later                                                     int64
	ApplicationRoots                                              string        `json:"application_roots"`
	CollateralRoots                                               string        `json:"collateral_roots"`
	AMDRoots                                                      string        `json:"amd_roots"`
	AKRoot                                                        string        `json:"ak_root"`
	KeySet                                                        string        `json:"key_set"`
	Deadline                                                      time.Duration `json:"deadline_ms"`
	RequestTimeout                                                time.Duration `json:"request_timeout_ms"`
	Cancel                                                        time.Duration `json:"cancel_ms"`
}

var session *blindbox.Session

func main() {
	for lines := bufio.NewReader(os.Stdin); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var c command
		must(json.Unmarshal(line, &c))
		outcome, err := do(&c)
		if err != nil {
			outcome = object{"error": described(err)}
		}
		must(json.NewEncoder(os.Stdout).Encode(outcome))
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// read returns the content of a file, and nil without one.
func read(path string) []byte {
	if path == "" {
		return nil
	}
	content, err := os.ReadFile(path)
	must(err)
	return content
}

func do(c *command) (object, error) {
	switch c.Do {
	case "request":
		return request(c)
	case "start":
		go request(c)
		return object{}, nil
	case "reattest":
		return attested(session.Reattest(context.Background()))
	case "close":
		if session != nil {
			session.Close()
		}
		session = nil
		return object{}, nil
	}
	policy, err := blindbox.ParsePolicy(c.Policy)
	if err != nil {
		return nil, err
	}
	if c.Do == "policy" {
		return object{"digest": policy.Digest()}, nil
	}
	if c.Do == "recorded" {
		return recorded(c, policy)
	}
	verifier, err := verifier(c)
	if err != nil {
		return nil, err
	}
	if session, err = verifier.Connect(context.Background(), c.URL, policy); err != nil {
		return nil, err
	}
	return attested(session.Attestation())
}

func attested(attestation *blindbox.Attestation, err error) (object, error) {
	if err != nil {
		return nil, err
	}
	return object{"attestation": attestation.JSON()}, nil
}

func verifier(c *command) (*blindbox.Verifier, error) {
	options := []blindbox.Option{
		blindbox.WithApplicationRoots(read(c.ApplicationRoots)), blindbox.WithCollateralRoots(read(c.CollateralRoots)),
	}
	if c.KDS != "" {
		options = append(options, blindbox.WithKDS(c.KDS), blindbox.WithAMDRoots(read(c.AMDRoots)))
	}
	if c.AKRoot != "" {
		options = append(options, blindbox.WithAKRoot(read(c.AKRoot)))
	}
	if c.Deadline > 0 {
		options = append(options, blindbox.WithDeadline(c.Deadline*time.Millisecond))
	}
	if c.RequestTimeout > 0 {
		options = append(options, blindbox.WithRequestTimeout(c.RequestTimeout*time.Millisecond))
	}
	return blindbox.NewVerifier(options...)
}

func request(c *command) (object, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	limit := c.Cancel * time.Millisecond
	if limit > 0 {
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	start := time.Now()
	outcome, err := exchange(ctx, c)
	if limit > 0 && errors.Is(err, context.DeadlineExceeded) {
		return object{"cancelled": true, "milliseconds": (time.Since(start) - limit).Milliseconds()}, nil
	}
	if err != nil && outcome != nil {
		outcome["error"] = described(err)
		return outcome, nil
	}
	return outcome, err
}

// exchange sends a request and reads its response. Where its body breaks off, both results are there.
func exchange(ctx context.Context, c *command) (object, error) {
	target := c.Target
	if target[0] == '/' {
		target = session.URL(target)
	}
	var body io.Reader
	if c.Bytes != nil {
		body = bytes.NewReader(bytes.Repeat([]byte("abcdefghijklmnopqrstuvw"), *c.Bytes/23+1)[:*c.Bytes])
		if c.Streamed {
			body = io.MultiReader(body)
		}
	}
	request, err := http.NewRequestWithContext(ctx, c.Method, target, body)
	must(err)
	if name, value, found := strings.Cut(c.Header, ": "); found && name == "host" {
		request.Host = value
	} else if found {
		request.Header.Add(name, bytesOf(value))
	}
	client := session.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	outcome := object{"status": response.StatusCode}
	for _, name := range strings.Fields(c.Show) {
		outcome[name] = nil
		if values := response.Header.Values(name); len(values) > 0 {
			outcome[name] = latin1(values[0])
		}
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return outcome, err
	}
	outcome["length"], outcome["crc32"], outcome["begins"] = len(content), crc32.ChecksumIEEE(content), begins(content)
	return outcome, nil
}

func begins(content []byte) string {
	if len(content) > 30 {
		content = content[:30]
	}
	return string(content)
}

// bytesOf returns the bytes of a text in Latin-1.
func bytesOf(text string) (made string) {
	for _, r := range text {
		made += string([]byte{byte(r)})
	}
	return made
}

func latin1(value string) (made string) {
	for _, b := range []byte(value) {
		made += string(rune(b))
	}
	return made
}

func recorded(c *command, policy *blindbox.Policy) (object, error) {
	given := blindbox.Recorded{KeySet: read(c.KeySet), AMDRoots: read(c.AMDRoots), AKRoot: read(c.AKRoot)}
	at := c.At
	if c.Directory != "" {
		paths, err := filepath.Glob(filepath.Join(c.Directory, "*"))
		must(err)
		given.Documents = map[string][]byte{}
		for _, path := range paths {
			given.Documents[filepath.Base(path)] = read(path)
		}
	} else {
		verifier, err := verifier(c)
		if err != nil {
			return nil, err
		}
		collected, err := verifier.Collect(context.Background(), c.URL, policy)
		if err != nil {
			return nil, err
		}
		about, err := collected.About()
		must(err)
		var asked struct {
			At int64 `json:"asked_at"`
		}
		must(json.Unmarshal(about, &asked))
		at, given.Documents = asked.At, collected.Documents()
		if !c.Beside {
			given.KeySet = given.Documents["key-set.json"]
		}
	}
	return attested(blindbox.VerifyRecorded(given, policy, time.Unix(at+c.Later, 0)))
}

func described(err error) object {
	var failure *blindbox.Error
	if !errors.As(err, &failure) || !errors.Is(err, failure.Code) || !errors.Is(err, failure.Category) {
		log.Fatal(err)
	}
	return object{
		"code": failure.Code, "number": failure.Number, "category": failure.Category, "name": failure.Name,
		"retryable": failure.Retryable, "request_sent": failure.RequestSent, "message": failure.Message,
		"checks": failure.Appraisal(),
	}
}

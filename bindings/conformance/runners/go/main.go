// Carries out the commands of the conformance suite with the Go package: an http.Client over a session, errors.As.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"blindbox-attestation/bindings/go"
)

type object = map[string]any

type command struct {
	Do, URL, Policy, KDS, Method, Target string
	ApplicationRoots                     string `json:"application_roots"`
	CollateralRoots                      string `json:"collateral_roots"`
	AMDRoots                             string `json:"amd_roots"`
	DeadlineMS                           int    `json:"deadline_ms"`
	RequestTimeoutMS                     int    `json:"request_timeout_ms"`
	Headers                              []struct{ Name, Value string }
	Bytes                                *int
	Streamed, Beside                     bool
	Show                                 []string
	Later                                int64
}

var session *blindbox.Session

func main() {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var c command
		check(json.Unmarshal(line, &c))
		outcome, err := do(&c)
		if err != nil {
			outcome = object{"error": described(err)}
		}
		check(json.NewEncoder(os.Stdout).Encode(outcome))
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func do(c *command) (object, error) {
	switch c.Do {
	case "request":
		return request(c)
	case "reattest":
		attestation, err := session.Reattest(context.Background())
		return attested(attestation, err)
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
	verifier, err := verifier(c)
	if err != nil {
		return nil, err
	}
	if c.Do == "recorded" {
		return recorded(c, verifier, policy)
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
	return object{"channel": attestation.Channel, "checks": checks(attestation.Appraisal())}, nil
}

func read(path string) []byte {
	content, err := os.ReadFile(path)
	check(err)
	return content
}

func verifier(c *command) (*blindbox.Verifier, error) {
	options := []blindbox.Option{
		blindbox.WithApplicationRoots(read(c.ApplicationRoots)), blindbox.WithCollateralRoots(read(c.CollateralRoots)),
	}
	if c.KDS != "" {
		options = append(options, blindbox.WithKDS(c.KDS), blindbox.WithAMDRoots(read(c.AMDRoots)))
	}
	if c.DeadlineMS > 0 {
		options = append(options, blindbox.WithDeadline(time.Duration(c.DeadlineMS)*time.Millisecond))
	}
	if c.RequestTimeoutMS > 0 {
		options = append(options, blindbox.WithRequestTimeout(time.Duration(c.RequestTimeoutMS)*time.Millisecond))
	}
	return blindbox.NewVerifier(options...)
}

func request(c *command) (object, error) {
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
	request, err := http.NewRequest(c.Method, target, body)
	check(err)
	for _, header := range c.Headers {
		if header.Name == "host" {
			request.Host = header.Value
			continue
		}
		request.Header.Add(header.Name, bytesOf(header.Value))
	}
	client := session.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	outcome := object{"status": response.StatusCode}
	for _, name := range c.Show {
		outcome[name] = nil
		if values := response.Header.Values(name); len(values) > 0 {
			outcome[name] = latin1(values[0])
		}
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		outcome["error"] = described(err)
		return outcome, nil
	}
	digest := sha256.Sum256(content)
	outcome["length"], outcome["sha256"] = len(content), hex.EncodeToString(digest[:])
	if len(content) > 30 {
		content = content[:30]
	}
	outcome["begins"] = string(content)
	return outcome, nil
}

// bytesOf returns the bytes of a text in Latin-1.
func bytesOf(text string) string {
	var made []byte
	for _, r := range text {
		made = append(made, byte(r))
	}
	return string(made)
}

func latin1(value string) string {
	var made []rune
	for _, b := range []byte(value) {
		made = append(made, rune(b))
	}
	return string(made)
}

func recorded(c *command, verifier *blindbox.Verifier, policy *blindbox.Policy) (object, error) {
	collected, err := verifier.Collect(context.Background(), c.URL, policy)
	if err != nil {
		return nil, err
	}
	about, err := collected.About()
	check(err)
	var asked struct {
		At int64 `json:"asked_at"`
	}
	check(json.Unmarshal(about, &asked))
	recorded := blindbox.Recorded{Documents: collected.Documents()}
	if !c.Beside {
		recorded.KeySet = recorded.Documents["key-set.json"]
	}
	if c.AMDRoots != "" {
		recorded.AMDRoots = read(c.AMDRoots)
	}
	verdict, err := blindbox.VerifyRecorded(recorded, policy, time.Unix(asked.At+c.Later, 0))
	if err != nil {
		return nil, err
	}
	return object{"checks": checks(verdict.Appraisal())}, nil
}

func checks(found []blindbox.Check) []object {
	var made []object
	for _, c := range found {
		one := object{"name": c.Name, "verdict": c.Verdict, "expected": c.Expected, "actual": c.Actual}
		if c.Why != "" {
			one["why"] = c.Why
		}
		made = append(made, one)
	}
	return made
}

func described(err error) object {
	var failure *blindbox.Error
	if !errors.As(err, &failure) || !errors.Is(err, failure.Code) || !errors.Is(err, failure.Category) {
		log.Fatal(err)
	}
	return object{
		"code": failure.Code, "number": failure.Number, "category": failure.Category, "name": failure.Name,
		"retryable": failure.Retryable, "request_sent": failure.RequestSent, "message": failure.Message,
		"checks": checks(failure.Appraisal()),
	}
}

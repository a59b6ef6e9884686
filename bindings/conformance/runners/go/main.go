// Carries out the commands of the conformance suite with the Go package: an http.Client over a session, contexts, errors.As.
package main

import (
	"blindbox-attestation/bindings/go"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// command has the fields of a line of the standard input.
type command map[string]string

var session *blindbox.Session

// file returns the content of the file whose path is given; nil without one.
func (c command) file(name string) []byte {
	content, _ := os.ReadFile(c[name])
	return content
}

func (c command) duration(name, unit string) time.Duration {
	return must(time.ParseDuration("0" + c[name] + unit))
}

func (c command) run() error {
	switch c["do"] {
	case "request":
		return c.request()
	case "start":
		go c.request()
		return nil
	case "reattest":
		return show(session.Reattest(context.Background()))
	case "close":
		return session.Close()
	}
	policy, err := blindbox.ParsePolicy(string(c.file("policy")))
	switch {
	case err != nil:
		return err
	case c["do"] == "policy":
		fmt.Printf("digest=%q\t", policy.Digest())
		return nil
	case c["do"] == "recorded":
		given := blindbox.Recorded{KeySet: c.file("key_set"), AMDRoots: c.file("amd_roots"), AKRoot: c.file("ak_root")}
		given.Documents = map[string][]byte{}
		for _, name := range strings.Fields(c["documents"]) {
			given.Documents[name] = must(os.ReadFile(name))
		}
		return show(blindbox.VerifyRecorded(given, policy, time.Unix(0, 0).Add(c.duration("at", "s"))))
	}
	if session, err = blindbox.Connect(context.Background(), c["url"], policy, c.options()...); err != nil {
		return err
	}
	return show(session.Attestation())
}

func (c command) options() (options []blindbox.Option) {
	for name, option := range map[string]blindbox.Option{
		"application_roots":  blindbox.WithApplicationRoots(c.file("application_roots")),
		"collateral_roots":   blindbox.WithCollateralRoots(c.file("collateral_roots")),
		"amd_roots":          blindbox.WithAMDRoots(c.file("amd_roots")),
		"ak_root":            blindbox.WithAKRoot(c.file("ak_root")),
		"kds":                blindbox.WithKDS(c["kds"]),
		"deadline_ms":        blindbox.WithDeadline(c.duration("deadline_ms", "ms")),
		"request_timeout_ms": blindbox.WithRequestTimeout(c.duration("request_timeout_ms", "ms")),
	} {
		if c[name] != "" {
			options = append(options, option)
		}
	}
	return options
}

func (c command) request() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if limit := c.duration("cancel_ms", "ms"); limit > 0 {
		time.AfterFunc(limit, cancel)
	}
	request := must(http.NewRequestWithContext(ctx, c["method"], c["url"], strings.NewReader(string(c.file("body")))))
	if c["streamed"] != "" {
		request.Body, request.ContentLength = must(os.Open(c["body"])), -1
	}
	if c["header"] != "" {
		request.Header.Add(c["header"], string(c.file("value")))
	}
	if c["idempotent"] != "" {
		request = blindbox.Idempotent(request)
	}
	client := &http.Client{Transport: session, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	for _, name := range strings.Fields(c["show"]) {
		fmt.Printf("%s=\"%x\"\t", name, response.Header.Get(name))
	}
	content, err := io.ReadAll(response.Body)
	fmt.Printf("status=%d\tcontent=\"%x\"\t", response.StatusCode, content)
	return err
}

func show(attestation *blindbox.Attestation, err error) error {
	if err == nil {
		fmt.Printf("attestation=%s\t", attestation.JSON())
	}
	return err
}

func describe(err error) {
	var failure *blindbox.Error
	if !errors.As(err, &failure) || !errors.Is(err, failure.Code) || !errors.Is(err, failure.Category) {
		panic(err)
	}
	message, checks := must(json.Marshal(failure.Message)), must(json.Marshal(failure.Appraisal()))
	fmt.Printf("code=%q\tnumber=%d\tcategory=%q\tname=%q\tmessage=%s\tchecks=%s\tretryable=%t\trequest_sent=%t\t", failure.Code,
		failure.Number, failure.Category, failure.Name, message, checks, failure.Retryable, failure.RequestSent)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); fmt.Println() {
		command := command{}
		for _, field := range strings.Split(lines.Text(), "\t") {
			name, value, _ := strings.Cut(field, "=")
			command[name] = value
		}
		if err := command.run(); errors.Is(err, context.Canceled) {
			fmt.Print("cancelled=true\t")
		} else if err != nil {
			describe(err)
		}
	}
}

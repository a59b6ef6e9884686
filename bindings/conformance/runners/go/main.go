// Carries out the commands of the conformance suite with the Go package: an http.Client over a session, contexts, errors.As.
package main

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"blindbox-attestation/bindings/go"
)

var background = context.Background()
var session *blindbox.Session

func do(c *command) (object, error) {
	switch c.Do {
	case "request":
		return request(c)
	case "start":
		go request(c)
		return nil, nil
	case "reattest":
		return attested(session.Reattest(background))
	case "close":
		if session != nil {
			session.Close()
		}
		session = nil
		return nil, nil
	}
	policy, err := blindbox.ParsePolicy(c.Policy)
	switch {
	case err != nil:
		return nil, err
	case c.Do == "policy":
		return object{"digest": policy.Digest()}, nil
	case c.Do == "recorded":
		return recorded(c, policy)
	}
	verifier, err := blindbox.NewVerifier(options(c)...)
	if err != nil {
		return nil, err
	}
	if session, err = verifier.Connect(background, c.URL, policy); err != nil {
		return nil, err
	}
	return attested(session.Attestation())
}

func options(c *command) []blindbox.Option {
	options := []blindbox.Option{blindbox.WithApplicationRoots(c.ApplicationRoots), blindbox.WithCollateralRoots(c.CollateralRoots)}
	add := func(isGiven bool, option blindbox.Option) {
		if isGiven {
			options = append(options, option)
		}
	}
	add(c.KDS != "", blindbox.WithKDS(c.KDS))
	add(c.AMDRoots != nil, blindbox.WithAMDRoots(c.AMDRoots))
	add(c.AKRoot != nil, blindbox.WithAKRoot(c.AKRoot))
	add(c.Deadline > 0, blindbox.WithDeadline(c.Deadline*time.Millisecond))
	add(c.RequestTimeout > 0, blindbox.WithRequestTimeout(c.RequestTimeout*time.Millisecond))
	return options
}

func attested(attestation *blindbox.Attestation, err error) (object, error) {
	if err != nil {
		return nil, err
	}
	return object{"attestation": attestation.JSON()}, nil
}

func request(c *command) (object, error) {
	ctx, limit := background, c.Cancel*time.Millisecond
	if limit > 0 {
		limited, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		ctx = limited
	}
	start := time.Now()
	outcome, err := exchange(ctx, c)
	if limit > 0 && errors.Is(err, context.DeadlineExceeded) {
		return object{"cancelled": true, "milliseconds": (time.Since(start) - limit).Milliseconds()}, nil
	}
	return outcome, err
}

// exchange sends a request and reads its response. Where its body breaks off, both results are there.
func exchange(ctx context.Context, c *command) (object, error) {
	target := c.Target
	if strings.HasPrefix(target, "/") {
		target = session.URL(target)
	}
	request := must(http.NewRequestWithContext(ctx, c.Method, target, c.body()))
	value := string(must(hex.DecodeString(c.Value)))
	if c.Header == "host" {
		request.Host = value
	} else if c.Header != "" {
		request.Header.Add(c.Header, value)
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
			outcome[name] = hex.EncodeToString([]byte(values[0]))
		}
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return outcome, err
	}
	outcome["content"] = hex.EncodeToString(content)
	return outcome, nil
}

func described(err error) object {
	var failure *blindbox.Error
	if !errors.As(err, &failure) || !errors.Is(err, failure.Code) || !errors.Is(err, failure.Category) {
		check(err)
	}
	return object{
		"code": failure.Code, "number": failure.Number, "category": failure.Category, "name": failure.Name,
		"retryable": failure.Retryable, "request_sent": failure.RequestSent, "message": failure.Message,
		"checks": failure.Appraisal(),
	}
}

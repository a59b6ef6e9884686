// Connects to an attested BlindBox, posts a prompt to /generate, and prints the response, or why there is no connection.
//
//	generate URL POLICY [APPLICATION_ROOT COLLATERAL_ROOT]
//
// The two files are the roots of `blindbox-attest emulate`; without them the web's roots are used.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"blindbox-attestation/bindings/go"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 && len(os.Args) != 5 {
		log.Fatalf("usage: %s URL POLICY [APPLICATION_ROOT COLLATERAL_ROOT]", os.Args[0])
	}
	err := generate(os.Args[1], os.Args[2], os.Args[3:])
	var failure *blindbox.Error
	switch {
	case errors.As(err, &failure):
		fmt.Println(failure.Name)
		log.Fatalf("%s (%d): %v", failure.Code, failure.Number, err)
	case err != nil:
		log.Fatal(err)
	}
}

func generate(url, path string, roots []string) error {
	policy, err := blindbox.ReadPolicy(path)
	if err != nil {
		return err
	}
	var options []blindbox.Option
	for i, option := range []func([]byte) blindbox.Option{blindbox.WithApplicationRoots, blindbox.WithCollateralRoots} {
		if i < len(roots) {
			pem, err := os.ReadFile(roots[i])
			if err != nil {
				return err
			}
			options = append(options, option(pem))
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	session, err := blindbox.Connect(ctx, url, policy, options...)
	if err != nil {
		return err
	}
	defer session.Close()
	response, err := session.Client().Post(session.URL("/generate"), "application/json", strings.NewReader(`{"prompt": "hi"}`))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	fmt.Println(response.Status)
	_, err = io.Copy(os.Stdout, response.Body)
	fmt.Println()
	return err
}

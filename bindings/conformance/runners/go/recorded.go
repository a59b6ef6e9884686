package main

import (
	"encoding/json"
	"time"

	"blindbox-attestation/bindings/go"
)

// recorded verifies the files of a directory, or what is collected.
func recorded(c *command, policy *blindbox.Policy) (object, error) {
	given := blindbox.Recorded{KeySet: c.KeySet, AMDRoots: c.AMDRoots, AKRoot: c.AKRoot}
	at := c.At
	if c.Directory != "" {
		given.Documents = c.documents()
	} else {
		verifier, err := blindbox.NewVerifier(options(c)...)
		if err != nil {
			return nil, err
		}
		collected, err := verifier.Collect(background, c.URL, policy)
		if err != nil {
			return nil, err
		}
		var about struct {
			AskedAt int64 `json:"asked_at"`
		}
		check(json.Unmarshal(must(collected.About()), &about))
		at, given.Documents = about.AskedAt, collected.Documents()
		if !c.Beside {
			given.KeySet = given.Documents["key-set.json"]
		}
	}
	return attested(blindbox.VerifyRecorded(given, policy, time.Unix(at+c.Later, 0)))
}

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"
)

type object = map[string]any

// command has the members of a line of the standard input.
type command struct {
	Do, URL, Policy, KDS, Method, Target, Show, Directory, Header, Value string
	Streamed, Beside                                                     bool
	At, Later                                                            int64
	Body                                                                 file
	ApplicationRoots                                                     file          `json:"application_roots"`
	CollateralRoots                                                      file          `json:"collateral_roots"`
	AMDRoots                                                             file          `json:"amd_roots"`
	AKRoot                                                               file          `json:"ak_root"`
	KeySet                                                               file          `json:"key_set"`
	Deadline                                                             time.Duration `json:"deadline_ms"`
	RequestTimeout                                                       time.Duration `json:"request_timeout_ms"`
	Cancel                                                               time.Duration `json:"cancel_ms"`
}

// file is the content of the file whose path the line has.
type file []byte

func (f *file) UnmarshalText(path []byte) (err error) {
	*f, err = os.ReadFile(string(path))
	return err
}

// body is what is sent: as a reader with a length, or without one.
func (c *command) body() io.Reader {
	switch {
	case c.Body == nil:
		return nil
	case c.Streamed:
		return io.MultiReader(bytes.NewReader(c.Body))
	default:
		return bytes.NewReader(c.Body)
	}
}

// documents are the files of the directory.
func (c *command) documents() map[string][]byte {
	documents := map[string][]byte{}
	for _, path := range must(filepath.Glob(filepath.Join(c.Directory, "*"))) {
		documents[filepath.Base(path)] = must(os.ReadFile(path))
	}
	return documents
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

// check ends the program on a failure that is none of the package's.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	for lines, outcomes := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout); ; {
		var c command
		err := lines.Decode(&c)
		if err == io.EOF {
			return
		}
		check(err)
		outcome, err := do(&c)
		if outcome == nil {
			outcome = object{}
		}
		if err != nil {
			outcome["error"] = described(err)
		}
		check(outcomes.Encode(outcome))
	}
}

// Compares a session with the transport of net/http, to the same emulated application.
//
//	beside [ROUNDS [KIND [CLIENT]]]
//
// KIND and CLIENT are the beginning of a name in the table: without them, all are measured. That of one alone is for profilers.
// Each client keeps its connection. They take turns in one run, so that what else the machine does meets all of them; the ratio of the
// medians is the result that transfers to other machines. The peer of net/http speaks HTTP/2, as a session does, and HTTP/1.1.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"blindbox-attestation/bindings/go"
)

const megabyte = 1 << 20

// kind is what is measured: what is sent, how many bytes come back, how often a turn repeats it, and how many are sent at once.
type kind struct {
	label, method, target string
	body                  []byte
	size, repeats, atOnce int
}

var kinds = []kind{
	{"GET, 21 bytes", "GET", "/", nil, 21, 50, 1},
	{"16 at once", "GET", "/", nil, 21, 320, 16},
	{"64 at once", "GET", "/", nil, 21, 640, 64},
	{"1 MB down", "GET", fmt.Sprintf("/large?bytes=%d", megabyte), nil, megabyte, 4, 1},
	{"1 MB up and down", "POST", "/echo", bytes.Repeat([]byte("blindbox"), megabyte/8), megabyte, 4, 1},
}

type client struct {
	name string
	http *http.Client
	// By kind.
	totals []totals
}

// totals is what requests of one kind have cost: the time of each, or of a turn divided by its requests where several are sent at once;
// and what all of them have used.
type totals struct {
	times    []time.Duration
	requests int
	used     usage
}

// usage is what this process has used: the processor time of its threads, and how often one of them waited, which depends little on what
// else the machine does.
type usage struct {
	processor time.Duration
	waits     int64
}

func main() {
	log.SetFlags(0)
	rounds := 20
	if len(os.Args) > 1 {
		var err error
		rounds, err = strconv.Atoi(os.Args[1])
		must(err)
	}
	if len(os.Args) > 2 {
		kinds = chosen(kinds, os.Args[2], func(k kind) string { return k.label })
	}
	url := os.Getenv("BLINDBOX_URL")
	root := read("BLINDBOX_APPLICATION_ROOT")
	policy, err := blindbox.ReadPolicy(os.Getenv("BLINDBOX_POLICY"))
	must(err)
	session, err := blindbox.Connect(context.Background(), url, policy,
		blindbox.WithApplicationRoots(root), blindbox.WithCollateralRoots(read("BLINDBOX_COLLATERAL_ROOT")))
	must(err)
	defer session.Close()
	clients := []*client{
		{name: "Session", http: session.Client()},
		{name: "net/http, HTTP/2", http: plain(root, true)},
		{name: "net/http, HTTP/1.1", http: plain(root, false)},
	}
	if len(os.Args) > 3 {
		clients = chosen(clients, os.Args[3], func(c *client) string { return c.name })
	}
	for _, c := range clients {
		c.totals = make([]totals, len(kinds))
	}
	// The first turn opens connections.
	for turn := 0; turn <= rounds; turn++ {
		for i := range clients {
			// In another order each time.
			clients[(i+turn)%len(clients)].measure(url, turn > 0)
		}
	}
	report(clients)
}

// chosen returns those whose name begins with a prefix.
func chosen[T any](all []T, prefix string, name func(T) string) []T {
	var found []T
	for _, one := range all {
		if strings.HasPrefix(name(one), prefix) {
			found = append(found, one)
		}
	}
	if len(found) == 0 {
		log.Fatalf("expected the beginning of a name, found %q", prefix)
	}
	return found
}

func (c *client) measure(url string, count bool) {
	for i, k := range kinds {
		before := used()
		times := c.turn(url, k)
		if count {
			after := used()
			total := &c.totals[i]
			total.times = append(total.times, times...)
			total.requests += k.repeats
			total.used.processor += after.processor - before.processor
			total.used.waits += after.waits - before.waits
		}
	}
}

func (c *client) turn(url string, k kind) []time.Duration {
	var times []time.Duration
	if k.atOnce == 1 {
		for n := 0; n < k.repeats; n++ {
			began := time.Now()
			c.send(url, k)
			times = append(times, time.Since(began))
		}
		return times
	}
	began := time.Now()
	var group sync.WaitGroup
	for n := 0; n < k.atOnce; n++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for n := 0; n < k.repeats/k.atOnce; n++ {
				c.send(url, k)
			}
		}()
	}
	group.Wait()
	return append(times, time.Since(began)/time.Duration(k.repeats))
}

func used() usage {
	var of syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &of))
	return usage{time.Duration(of.Utime.Nano() + of.Stime.Nano()), int64(of.Nvcsw)}
}

func (c *client) send(url string, k kind) {
	var body io.Reader
	if k.body != nil {
		body = bytes.NewReader(k.body)
	}
	request, err := http.NewRequest(k.method, url+k.target, body)
	must(err)
	response, err := c.http.Do(request)
	must(err)
	content, err := io.ReadAll(response.Body)
	must(err)
	must(response.Body.Close())
	if len(content) != k.size {
		log.Fatalf("%s, %s: expected %d bytes, found %d", c.name, k.label, k.size, len(content))
	}
}

func plain(root []byte, http2 bool) *http.Client {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(root) {
		log.Fatal("the root of the application is not in PEM")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: http2}
	// HTTP/1.1 has a connection for each request of those at once.
	transport.MaxIdleConnsPerHost = 64
	return &http.Client{Transport: transport}
}

func report(clients []*client) {
	fmt.Printf("%-20s", "")
	for _, k := range kinds {
		fmt.Printf("%18s", k.label)
	}
	fmt.Println()
	for _, c := range clients {
		fmt.Printf("%-20s", c.name)
		for _, total := range c.totals {
			fmt.Printf("%18s", fmt.Sprintf("%d us", median(total.times).Microseconds()))
		}
		fmt.Printf("\n%-20s", "  processor time")
		for _, total := range c.totals {
			each := total.used.processor / time.Duration(total.requests)
			fmt.Printf("%18s", fmt.Sprintf("%d us", each.Microseconds()))
		}
		fmt.Printf("\n%-20s", "  waits of threads")
		for _, total := range c.totals {
			fmt.Printf("%18.1f", float64(total.used.waits)/float64(total.requests))
		}
		fmt.Println()
	}
	fmt.Println()
	const goal = 1.2
	for _, peer := range clients[1:] {
		for i, k := range kinds {
			ratio := float64(median(clients[0].totals[i].times)) / float64(median(peer.totals[i].times))
			verdict := "met"
			if ratio > goal {
				verdict = "MISSED"
			}
			fmt.Printf("%-55s %5.2f  goal %.1f  %s\n", "Session / "+peer.name+", "+k.label, ratio, goal, verdict)
		}
	}
}

func median(times []time.Duration) time.Duration {
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	return (times[(len(times)-1)/2] + times[len(times)/2]) / 2
}

func read(variable string) []byte {
	content, err := os.ReadFile(os.Getenv(variable))
	must(err)
	return content
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

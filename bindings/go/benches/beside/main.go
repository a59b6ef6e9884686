// Compares a session with the transport of net/http, to the same emulated application.
//
//	beside [ROUNDS]
//
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
	"time"

	"blindbox-attestation/bindings/go"
)

const megabyte = 1 << 20

// kind is what is measured: how often a turn repeats it, what is sent, and how many bytes come back.
type kind struct {
	label, method, target string
	body                  []byte
	repeats, size         int
}

var kinds = []kind{
	{"GET, 21 bytes", "GET", "/", nil, 50, 21},
	{"1 MB down", "GET", fmt.Sprintf("/large?bytes=%d", megabyte), nil, 4, megabyte},
	{"1 MB up and down", "POST", "/echo", bytes.Repeat([]byte("blindbox"), megabyte/8), 4, megabyte},
}

type client struct {
	name string
	http *http.Client
	// By kind.
	times [][]time.Duration
}

func main() {
	log.SetFlags(0)
	rounds := 20
	if len(os.Args) > 1 {
		var err error
		rounds, err = strconv.Atoi(os.Args[1])
		must(err)
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
	for _, c := range clients {
		c.times = make([][]time.Duration, len(kinds))
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

func (c *client) measure(url string, count bool) {
	for i, k := range kinds {
		for n := 0; n < k.repeats; n++ {
			began := time.Now()
			found := c.send(url, k)
			took := time.Since(began)
			if found != k.size {
				log.Fatalf("%s, %s: expected %d bytes, found %d", c.name, k.label, k.size, found)
			}
			if count {
				c.times[i] = append(c.times[i], took)
			}
		}
	}
}

func (c *client) send(url string, k kind) int {
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
	return len(content)
}

func plain(root []byte, http2 bool) *http.Client {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(root) {
		log.Fatal("the root of the application is not in PEM")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: http2}
	return &http.Client{Transport: transport}
}

func report(clients []*client) {
	fmt.Printf("%-20s", "")
	for _, k := range kinds {
		fmt.Printf("%26s", k.label)
	}
	fmt.Println()
	for _, c := range clients {
		fmt.Printf("%-20s", c.name)
		for i := range kinds {
			fmt.Printf("%26s", fmt.Sprintf("%d us", median(c.times[i]).Microseconds()))
		}
		fmt.Println()
	}
	fmt.Println()
	const goal = 1.2
	for _, peer := range clients[1:] {
		for i, k := range kinds {
			ratio := float64(median(clients[0].times[i])) / float64(median(peer.times[i]))
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

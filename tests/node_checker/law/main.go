// Answers what containerd sees of a registry, by containerd's own code: ConfigureHosts of the version that go.mod names.
//
// Each line of the input is {"roots": [DIRECTORY], "registry": NAME}; each line of the output the view, in the order in
// which containerd asks: scheme, host, path, capabilities, headers, CAs and client certificates by their subjects,
// skip_verify, rewrites (k3s's fork). With SSL_CERT_FILE and SSL_CERT_DIR empty the CAs are those of the files alone.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"unsafe"
)

type request struct {
	Roots    []string `json:"roots"`
	Registry string   `json:"registry"`
}

type seenHost struct {
	Scheme       string              `json:"scheme"`
	Host         string              `json:"host"`
	Path         string              `json:"path"`
	Capabilities int                 `json:"capabilities"`
	Headers      map[string][]string `json:"headers"`
	CA           []string            `json:"ca"`
	Clients      []string            `json:"clients"`
	SkipVerify   bool                `json:"skip_verify"`
	HTTPFallback bool                `json:"http_fallback"`
	Rewrites     map[string]string   `json:"rewrites"`
}

type view struct {
	Error string     `json:"error"`
	Hosts []seenHost `json:"hosts"`
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var asked request
		if err := json.Unmarshal(in.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		var seen view
		hosts, err := hostsBelow(asked.Roots)(asked.Registry)
		if err != nil {
			seen.Error = err.Error()
		}
		for _, host := range hosts {
			seen.Hosts = append(seen.Hosts, see(host))
		}
		if err := out.Encode(seen); err != nil {
			os.Exit(1)
		}
	}
}

// firstOf looks below one root after the other, as the CRI plugin does with a config_path of several directories.
func firstOf(roots []string, below func(string) func(string) (string, error)) func(string) (string, error) {
	return func(registry string) (string, error) {
		dir, err := "", error(nil)
		for _, root := range roots {
			if dir, err = below(root)(registry); err == nil {
				break
			}
		}
		return dir, err
	}
}

func see(host registryHost) seenHost {
	seen := seenHost{
		Scheme:       host.Scheme,
		Host:         host.Host,
		Path:         host.Path,
		Capabilities: int(host.Capabilities),
		Headers:      host.Header,
	}
	// Only the fork has it.
	if rewrites := reflect.ValueOf(host).FieldByName("Rewrites"); rewrites.IsValid() {
		seen.Rewrites, _ = rewrites.Interface().(map[string]string)
	}
	var transport *http.Transport
	transport, seen.HTTPFallback = transportOf(host.Client.Transport)
	if transport == nil || transport.TLSClientConfig == nil {
		return seen
	}
	tls := transport.TLSClientConfig
	seen.SkipVerify = tls.InsecureSkipVerify
	if tls.RootCAs != nil {
		//lint:ignore SA1019 the pool is not the system's
		for _, subject := range tls.RootCAs.Subjects() {
			seen.CA = append(seen.CA, hex.EncodeToString(subject))
		}
	}
	for _, pair := range tls.Certificates {
		certificate, err := x509.ParseCertificate(pair.Certificate[0])
		if err == nil {
			seen.Clients = append(seen.Clients, certificate.Subject.String())
		}
	}
	return seen
}

// transportOf looks through containerd's fallback from HTTPS to HTTP, whose field is its own.
func transportOf(round http.RoundTripper) (*http.Transport, bool) {
	fallback := false
	for {
		if transport, ok := round.(*http.Transport); ok {
			return transport, fallback
		}
		value := reflect.ValueOf(round)
		if value.Kind() != reflect.Pointer || value.Elem().Kind() != reflect.Struct {
			return nil, fallback
		}
		field := value.Elem().FieldByName("super")
		if !field.IsValid() {
			return nil, fallback
		}
		fallback = true
		round = reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Interface().(http.RoundTripper)
	}
}

// Reads the node's files with the parsers of containerd and k3s and prints what they would see.
//
// The order of the hosts is found as containerd finds it: 1.x sorts the tables by their line (go-toml v1), 2.x walks
// the table headers (go-toml v2's unstable parser). k3s reads registries.yaml by gopkg.in/yaml.v2, not strict. This is
// neither containerd nor k3s, only their ways of reading; core/remotes/docker/config/hosts.go and wharfie's
// pkg/registries/types.go are the originals.
//
// Each argument is a file; the answer is one JSON object per line, in the order of the arguments.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"time"

	tomlv1 "github.com/pelletier/go-toml"
	tomlv2 "github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"gopkg.in/yaml.v2"
)

// HostFileConfig is containerd's, by its keys; exported because go-toml v1 skips embedded types that are not.
type HostFileConfig struct {
	Capabilities []string               `toml:"capabilities"`
	CACert       interface{}            `toml:"ca"`
	Client       interface{}            `toml:"client"`
	SkipVerify   *bool                  `toml:"skip_verify"`
	Header       map[string]interface{} `toml:"header"`
	OverridePath bool                   `toml:"override_path"`
	DialTimeout  string                 `toml:"dial_timeout"`
}

type hostsFile struct {
	HostFileConfig
	Server string                    `toml:"server"`
	Hosts  map[string]HostFileConfig `toml:"host"`
}

type seenHost struct {
	URL          string   `json:"url"`
	Capabilities []string `json:"capabilities"`
	OverridePath bool     `json:"override_path"`
	SkipVerify   bool     `json:"skip_verify"`
	DialTimeout  string   `json:"dial_timeout"`
	Headers      []string `json:"headers"`
	CA           []string `json:"ca"`
}

type seenFile struct {
	Error  string     `json:"error,omitempty"`
	Hosts  []seenHost `json:"hosts"`
	Server seenHost   `json:"server"`
}

type seenYAML struct {
	Error   string              `json:"error,omitempty"`
	Mirrors map[string][]string `json:"mirrors"`
}

type registries struct {
	Mirrors map[string]struct {
		Endpoints []string          `yaml:"endpoint"`
		Rewrites  map[string]string `yaml:"rewrite"`
	} `yaml:"mirrors"`
	Configs map[string]interface{} `yaml:"configs"`
	Auths   map[string]interface{} `yaml:"auths"`
}

func main() {
	out := json.NewEncoder(os.Stdout)
	for _, path := range os.Args[1:] {
		text, err := os.ReadFile(path)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if filepath.Ext(path) == ".yaml" {
			out.Encode(map[string]interface{}{"yaml": readYAML(text)})
			continue
		}
		out.Encode(map[string]interface{}{
			"containerd1": seen(readV1(text)),
			"containerd2": seen(readV2(text)),
		})
	}
}

func readYAML(text []byte) seenYAML {
	var file registries
	if err := yaml.Unmarshal(text, &file); err != nil {
		return seenYAML{Error: err.Error()}
	}
	mirrors := map[string][]string{}
	for name, mirror := range file.Mirrors {
		mirrors[name] = append([]string{}, mirror.Endpoints...)
	}
	return seenYAML{Mirrors: mirrors}
}

func readV1(text []byte) (hostsFile, []string, error) {
	var file hostsFile
	tree, err := tomlv1.LoadBytes(text)
	if err != nil {
		return file, nil, err
	}
	hosts, ok := tree.Get("host").(*tomlv1.Tree)
	if !ok {
		return file, nil, errors.New("invalid `host` tree")
	}
	order := hosts.Keys()
	line := func(key string) int {
		if table, ok := hosts.GetPath([]string{key}).(*tomlv1.Tree); ok {
			return table.Position().Line
		}
		return 0
	}
	sort.Slice(order, func(i, j int) bool { return line(order[i]) < line(order[j]) })
	return file, order, tree.Unmarshal(&file)
}

func readV2(text []byte) (hostsFile, []string, error) {
	var file hostsFile
	if err := tomlv2.Unmarshal(text, &file); err != nil {
		return file, nil, err
	}
	var order []string
	parser := unstable.Parser{}
	parser.Reset(text)
	host := ""
	for parser.NextExpression() {
		expression := parser.Expression()
		if expression.Kind != unstable.Table {
			continue
		}
		var parts []string
		for keys := expression.Key(); keys.Next(); {
			parts = append(parts, string(keys.Node().Data))
		}
		if len(parts) < 2 || parts[0] != "host" || parts[1] == host {
			continue
		}
		host = parts[1]
		order = append(order, host)
	}
	return file, order, parser.Error()
}

func seen(file hostsFile, order []string, err error) seenFile {
	if err != nil {
		return seenFile{Error: err.Error()}
	}
	var found seenFile
	all := append([]string{}, order...)
	for _, url := range append(all, "") {
		config, name := file.HostFileConfig, file.Server
		if url != "" {
			config, name = file.Hosts[url], url
		}
		host, err := check(name, config)
		if err != nil {
			return seenFile{Error: err.Error()}
		}
		if url != "" {
			found.Hosts = append(found.Hosts, host)
		} else {
			found.Server = host
		}
	}
	return found
}

// check does what containerd's parseHostConfig refuses a file for.
func check(url string, config HostFileConfig) (seenHost, error) {
	host := seenHost{URL: url, Capabilities: config.Capabilities, OverridePath: config.OverridePath}
	for _, word := range config.Capabilities {
		if word != "pull" && word != "resolve" && word != "push" {
			return host, fmt.Errorf("unknown capability %q", word)
		}
	}
	if config.SkipVerify != nil {
		host.SkipVerify = *config.SkipVerify
	}
	if config.DialTimeout != "" {
		if _, err := time.ParseDuration(config.DialTimeout); err != nil {
			return host, err
		}
		host.DialTimeout = config.DialTimeout
	}
	for name := range config.Header {
		host.Headers = append(host.Headers, name)
	}
	sort.Strings(host.Headers)
	switch ca := config.CACert.(type) {
	case nil:
	case string:
		host.CA = []string{ca}
	case []interface{}:
		for _, file := range ca {
			name, ok := file.(string)
			if !ok {
				return host, fmt.Errorf("invalid ca %v", file)
			}
			host.CA = append(host.CA, name)
		}
	default:
		return host, fmt.Errorf("invalid type for ca: %T", ca)
	}
	return host, nil
}

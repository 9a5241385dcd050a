//go:build !containerd1

package main

import (
	"context"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
)

type registryHost = docker.RegistryHost

// hostsBelow is how containerd finds the hosts of a registry below directories of host configurations.
func hostsBelow(roots []string) func(string) ([]registryHost, error) {
	options := config.HostOptions{HostDir: firstOf(roots, config.HostDirFromRoot)}
	return config.ConfigureHosts(context.Background(), options)
}

package main

import (
	"context"
	"fmt"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

// For gc the call names the one attachment that is valid; no container, no list.
func further(ctx context.Context, client *libcni.CNIConfig, list *libcni.NetworkConfigList, verb string, call *libcni.RuntimeConf) error {
	switch verb {
	case "status":
		return client.GetStatusNetworkList(ctx, list)
	case "gc":
		valid := &libcni.GCArgs{}
		if call.ContainerID != "" {
			valid.ValidAttachments = []types.GCAttachment{{ContainerID: call.ContainerID, IfName: call.IfName}}
		}
		return client.GCNetworkList(ctx, list, valid)
	}
	return fmt.Errorf("there is no %q; there are add, check, del, status, gc and version", verb)
}

package main

import (
	"context"
	"fmt"

	"github.com/containernetworking/cni/libcni"
)

func further(_ context.Context, _ *libcni.CNIConfig, _ *libcni.NetworkConfigList, verb string, _ *libcni.RuntimeConf) error {
	return fmt.Errorf("this libcni does not send %q", verb)
}

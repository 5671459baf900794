// Calls a network's plugins by libcni itself, as runtimes in Go do: the smallest client that keeps libcni's cache and its
// habits. Built against a libcni that Debian packages, without modules and without the internet; before_1_2.go or
// since_1_2.go has the verbs that not every libcni sends.
//
//	client add|check|del|status|gc|version CONFLIST CACHE CONTAINER NETNS IFNAME
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/version"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(words []string) error {
	if len(words) != 6 {
		return fmt.Errorf("client add|check|del|status|gc|version CONFLIST CACHE CONTAINER NETNS IFNAME, not %q", words)
	}
	list, err := libcni.ConfListFromFile(words[1])
	if err != nil {
		return err
	}
	client := libcni.NewCNIConfigWithCacheDir(filepath.SplitList(os.Getenv("CNI_PATH")), words[2], nil)
	call := &libcni.RuntimeConf{
		ContainerID: words[3],
		NetNS:       words[4],
		IfName:      words[5],
		Args:        [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "default"}, {"K8S_POD_NAME", words[3]}},
	}
	ctx := context.Background()
	switch words[0] {
	case "add":
		result, err := client.AddNetworkList(ctx, list, call)
		if err != nil {
			return err
		}
		return result.PrintTo(os.Stdout)
	case "check":
		return client.CheckNetworkList(ctx, list, call)
	case "del":
		return client.DelNetworkList(ctx, list, call)
	case "version":
		_, err := fmt.Println(version.Current())
		return err
	}
	return further(ctx, client, list, words[0], call)
}

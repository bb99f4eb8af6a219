// Reads a file as `docker run --env-file` does, with the package of the docker command itself, and prints what it makes
// of it: a JSON list of NAME=value.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/docker/cli/pkg/kvfile"
)

func main() {
	variables, err := kvfile.Parse(os.Args[1], os.LookupEnv)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(variables)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The same as bench/processes.lua with Go.
package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"sync"
	"time"
)

const (
	processes = 200
	atOnce    = 16
	warmUp    = 20
)

func runChild() {
	var out, err bytes.Buffer
	command := exec.Command("/bin/true")
	command.Stdout, command.Stderr = &out, &err
	if failed := command.Run(); failed != nil {
		panic(failed)
	}
}

func run(count, atOnce int) {
	var group sync.WaitGroup
	turns := make(chan struct{}, count)
	for i := 0; i < count; i++ {
		turns <- struct{}{}
	}
	close(turns)
	group.Add(atOnce)
	for i := 0; i < atOnce; i++ {
		go func() {
			defer group.Done()
			for range turns {
				runChild()
			}
		}()
	}
	group.Wait()
}

func measure(name string, atOnce int) {
	start := time.Now()
	run(processes, atOnce)
	fmt.Printf("%s %.3f\n", name, time.Since(start).Seconds()/processes*1e6)
}

func main() {
	run(warmUp, 1)
	measure("one_by_one", 1)
	measure("together", atOnce)
}

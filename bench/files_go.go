// The same as bench/files.lua with Go: 64 goroutines.
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	files  = 10000
	atOnce = 64
	chunk  = 65536
)

var content = make([]byte, 4096)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func read(path string) int {
	data, err := os.ReadFile(path)
	check(err)
	return len(data)
}

func write(path string) int {
	check(os.WriteFile(path, content, 0666))
	return len(content)
}

func eachFile(folder string, work func(path string) int) int64 {
	var group sync.WaitGroup
	var next, total int64
	group.Add(atOnce)
	for i := 0; i < atOnce; i++ {
		go func() {
			defer group.Done()
			for i := atomic.AddInt64(&next, 1); i <= files; i = atomic.AddInt64(&next, 1) {
				n := work(fmt.Sprintf("%s/%05d", folder, i-1))
				atomic.AddInt64(&total, int64(n))
			}
		}()
	}
	group.Wait()
	return total
}

func readChunks(path string) (total int64) {
	file, err := os.Open(path)
	check(err)
	defer file.Close()
	data := make([]byte, chunk)
	for {
		n, err := file.Read(data)
		if err == io.EOF {
			return total
		}
		check(err)
		total += int64(n)
	}
}

func main() {
	work, folder := os.Args[1], os.Args[2]
	bytes, err := strconv.ParseInt(os.Args[3], 10, 64)
	check(err)
	var total int64
	start := time.Now()
	switch work {
	case "sequential":
		total = readChunks(folder + "/big")
	case "read":
		total = eachFile(folder, read)
	default:
		total = eachFile(folder, write)
	}
	seconds := time.Since(start).Seconds()
	if total != bytes {
		panic(total)
	}
	fmt.Printf("file_us %.3f\n", seconds/files*1e6)
	fmt.Printf("megabytes %.3f\n", float64(total)/seconds/1e6)
}

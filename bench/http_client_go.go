// The same as bench/http_client.lua with Go's net/http, a goroutine for each request under way.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	runtime.GOMAXPROCS(1)
	requests, _ := strconv.ParseInt(os.Args[1], 10, 64)
	atOnce, _ := strconv.Atoi(os.Args[2])
	url := "http://127.0.0.1:" + os.Args[3] + "/static"
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce}}
	var taken int64
	var group sync.WaitGroup
	begin := time.Now()
	for i := 0; i < atOnce; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for atomic.AddInt64(&taken, 1) <= requests {
				response, err := client.Get(url)
				if err != nil {
					panic(err)
				}
				body, _ := io.ReadAll(response.Body)
				response.Body.Close()
				if len(body) != 13 {
					panic("a body is wrong")
				}
			}
		}()
	}
	group.Wait()
	fmt.Printf("requests %.1f\n", float64(requests)/time.Since(begin).Seconds())
}

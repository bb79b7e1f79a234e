// A web server of Go. Prints its port.
package main

import (
	"fmt"
	"net"
	"net/http"
)

func main() {
	body := []byte("Hello, World!")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("port", listener.Addr().(*net.TCPAddr).Port)
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write(body)
	})
	panic(http.Serve(listener, nil))
}

// The same as bench/coordination.lua with Go: goroutines and channels, on one thread.
package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	capacity   = 100
	contenders = 100
	batch      = 10000
	limit      = 100
)

func cpu() float64 {
	var used syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return float64(used.Utime.Nano() + used.Stime.Nano())
}

func cost(name string, n int, fn func(n int)) {
	fn(n / 20)
	runtime.GC()
	start := cpu()
	fn(n)
	fmt.Printf("%s %.3f\n", name, (cpu()-start)/float64(n))
}

func expect(x, y int) {
	if x != y {
		panic("what was received is not what was sent")
	}
}

func pingPong(size int) func(n int) {
	return func(n int) {
		there, back := make(chan int, size), make(chan int, size)
		go func() {
			for i := 0; i < n; i++ {
				back <- <-there
			}
		}()
		for i := 0; i < n; i++ {
			there <- i
			expect(<-back, i)
		}
	}
}

func produce(ch chan int, n int) {
	for i := 0; i < n; i++ {
		ch <- i
	}
	close(ch)
}

func receive(size int) func(n int) {
	return func(n int) {
		ch := make(chan int, size)
		go produce(ch, n)
		for i := 0; i < n; i++ {
			expect(<-ch, i)
		}
	}
}

func receiveInLoop(n int) {
	ch := make(chan int, capacity)
	go produce(ch, n)
	count := 0
	for x := range ch {
		expect(x, count)
		count++
	}
	expect(count, n)
}

// A channel with room for one is the semaphore: who waits to send gets the room that a receive makes.
func contend(semaphore chan struct{}, n int) {
	for i := 0; i < n; i++ {
		semaphore <- struct{}{}
		<-semaphore
	}
}

func together(count int, fn func(i int)) {
	var group sync.WaitGroup
	group.Add(count)
	for i := 0; i < count; i++ {
		go func(i int) {
			fn(i)
			group.Done()
		}(i)
	}
	group.Wait()
}

func handOver(n int) {
	semaphore := make(chan struct{}, 1)
	semaphore <- struct{}{}
	go func() {
		time.Sleep(time.Millisecond)
		<-semaphore // the contenders wait by now
	}()
	together(contenders, func(int) { contend(semaphore, n/contenders) })
}

func all(n int) {
	for i := 0; i < n/batch; i++ {
		results := make([]int, batch)
		together(batch, func(i int) {
			runtime.Gosched()
			results[i] = i
		})
	}
}

func mapLimited(n int) {
	var group sync.WaitGroup
	results := make([]int, n)
	room := make(chan struct{}, limit)
	for i := 0; i < n; i++ {
		room <- struct{}{}
		group.Add(1)
		go func(i int) {
			runtime.Gosched()
			results[i] = i
			<-room
			group.Done()
		}(i)
	}
	group.Wait()
}

func withCancel(n int) {
	for i := 0; i < n; i++ {
		_, cancel := context.WithCancel(context.Background())
		cancel()
	}
}

func main() {
	runtime.GOMAXPROCS(1)
	cost("ping_pong", 500000, pingPong(0))
	cost("ping_pong_buffer", 500000, pingPong(1))
	cost("item", 2000000, receive(capacity))
	cost("item_loop", 2000000, receiveInLoop)
	cost("item_handed", 1000000, receive(0))
	cost("semaphore", 500000, handOver)
	cost("semaphore_free", 2000000, func(n int) { contend(make(chan struct{}, 1), n) })
	cost("all", 20*batch, all)
	cost("map", 200000, mapLimited)
	cost("stream", 1000000, receive(0))
	cost("with_token", 500000, withCancel)
}

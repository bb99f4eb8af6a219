// Process 1 of the node: starts the programs of a table, restarts those that end, collects orphans. It lives in a process
// namespace of its own, so that killing it from outside ends all of the node at once, containers included.
//
// The table is JSON: [{"name", "command": [...], "log": FILE, "after": "HOST:PORT"}]; `after` delays the first start
// until that address accepts connections.
package main

import (
	"encoding/json"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	restartDelay = 500 * time.Millisecond
	pollInterval = 50 * time.Millisecond
)

type program struct {
	Name    string   `json:"name"`
	Command []string `json:"command"`
	Log     string   `json:"log"`
	After   string   `json:"after"`
}

type node struct {
	lock    sync.Mutex // held while a program is started, so that its end cannot be seen before its entry is made
	running map[int]program
}

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	content, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var programs []program
	if err := json.Unmarshal(content, &programs); err != nil {
		log.Fatal(err)
	}
	ended := make(chan os.Signal, 64)
	signal.Notify(ended, syscall.SIGCHLD)
	// Taken and dropped; ignoring them would be inherited by every program of the node.
	signal.Notify(make(chan os.Signal), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	n := &node{running: map[int]program{}}
	for _, p := range programs {
		go n.first(p)
	}
	for range ended {
		n.collect()
	}
}

func (n *node) first(p program) {
	for p.After != "" {
		connection, err := net.DialTimeout("tcp", p.After, time.Second)
		if err == nil {
			connection.Close()
			break
		}
		time.Sleep(pollInterval)
	}
	n.start(p)
}

func (n *node) start(p program) {
	output, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	defer output.Close()
	n.lock.Lock()
	defer n.lock.Unlock()
	process, err := os.StartProcess(p.Command[0], p.Command, &os.ProcAttr{
		Env:   os.Environ(),
		Files: []*os.File{nil, output, output},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		log.Fatalf("%s: %v", p.Name, err)
	}
	log.Printf("%s started, pid %d", p.Name, process.Pid)
	n.running[process.Pid] = p
}

// collect takes every ended child: programs of the table are started again, orphans of containers are just taken.
func (n *node) collect() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err != nil || pid <= 0 {
			return
		}
		n.lock.Lock()
		p, known := n.running[pid]
		delete(n.running, pid)
		n.lock.Unlock()
		if known {
			log.Printf("%s ended (exit %d, signal %d), starting it again", p.Name, status.ExitStatus(), status.Signal())
			time.AfterFunc(restartDelay, func() { n.start(p) })
		}
	}
}

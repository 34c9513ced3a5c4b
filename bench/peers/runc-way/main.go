// The method of runc in Go: starts this program again with CLONE_NEWUSER, mappings and Ptrace, which stops it before its
// first instruction, opens its namespace and kills it. The cache returns duplicates of its handles.
// `runc-way create ROUNDS MEBIBYTES`, `runc-way cached ROUNDS EXTENTS`.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type mapping struct{ uid, gid []syscall.SysProcIDMap }

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func side(maps []syscall.SysProcIDMap) string {
	texts := make([]string, 0, len(maps))
	for _, m := range maps {
		texts = append(texts, fmt.Sprintf("%d:%d:%d", m.ContainerID, m.HostID, m.Size))
	}
	sort.Strings(texts)
	return strings.Join(texts, ",")
}

// The key of the cache. It is made at each call, because a mapping does not keep it.
func (m mapping) key() string { return side(m.uid) + ";" + side(m.gid) }

func create(m mapping) *os.File {
	// A tracee may be waited for by its tracer only, which is a thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	process, err := os.StartProcess("/proc/self/exe", []string{"never-run"}, &os.ProcAttr{
		Sys: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: m.uid, GidMappings: m.gid, Ptrace: true},
	})
	check(err)
	file, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", process.Pid))
	check(err)
	check(process.Kill())
	_, err = process.Wait()
	check(err)
	return file
}

func duplicate(file *os.File) *os.File {
	fd, _, errno := syscall.Syscall(syscall.SYS_FCNTL, file.Fd(), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		check(errno)
	}
	return os.NewFile(fd, file.Name())
}

type handles map[string]*os.File

func (h handles) get(m mapping) *os.File {
	key := m.key()
	file, ok := h[key]
	if !ok {
		file = create(m)
		h[key] = file
	}
	return duplicate(file)
}

func measure(rounds, batch int, action func()) {
	times := make([]float64, rounds)
	sum := 0.0
	for i := range times {
		start := time.Now()
		for j := 0; j < batch; j++ {
			action()
		}
		times[i] = float64(time.Since(start).Nanoseconds()) / 1e3 / float64(batch)
		sum += times[i]
	}
	sort.Float64s(times)
	fmt.Printf("{\"p50\":%.3f,\"p90\":%.3f,\"mean\":%.3f}\n", times[rounds/2], times[rounds*9/10], sum/float64(rounds))
}

func extents(count int) mapping {
	maps := make([]syscall.SysProcIDMap, count)
	for i := range maps {
		maps[i] = syscall.SysProcIDMap{ContainerID: i * 3, HostID: 1000 + i*3, Size: 2}
	}
	return mapping{maps, maps}
}

func main() {
	if len(os.Args) != 4 {
		os.Exit(2)
	}
	rounds, err := strconv.Atoi(os.Args[2])
	check(err)
	number, err := strconv.Atoi(os.Args[3])
	check(err)
	switch os.Args[1] {
	case "create":
		held := make([]byte, number<<20)
		for i := 0; i < len(held); i += 4096 {
			held[i] = 1
		}
		m := mapping{
			[]syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}},
			[]syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}},
		}
		measure(rounds, 1, func() { check(create(m).Close()) })
		runtime.KeepAlive(held)
	case "cached":
		h, m := handles{}, extents(number)
		measure(rounds, 20, func() { check(h.get(m).Close()) })
	default:
		os.Exit(2)
	}
}

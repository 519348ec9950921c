//go:build !linux

package devstack

import "syscall"

// setDeathSignal does nothing: only Linux can end a child with its parent. Elsewhere a crash of ours leaves PostgreSQL behind
// (Temporal watches its pipe), and the next start of the folder ends it.
func setDeathSignal(*syscall.SysProcAttr, syscall.Signal) {}

//go:build !linux

package app

import "syscall"

// diesWithUs does nothing: only Linux can end a child with its parent.
func diesWithUs() *syscall.SysProcAttr { return nil }

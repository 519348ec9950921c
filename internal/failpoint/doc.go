// Package failpoint names the places between two effects where a crash would hurt most, so that the kill test can crash exactly there.
// Built without the tag failpoint, it does nothing at all.
package failpoint

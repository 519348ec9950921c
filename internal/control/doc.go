// Package control is the limits of a billing run: given a rated bill and what its account used and paid before, it says whether the
// bill may go out or is stopped for a person to look at, and why in words. It is pure: the same facts give the same answer. It refuses to
// price anything and to know how bills are stored; all its numbers are policy data of a site.
package control
